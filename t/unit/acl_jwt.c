/* acl_jwt.c - signed tokens: which hold, which don't, and what selectors see of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "lib/duration.h"
#include "raftd/acl/jwt.h"
#include "t/unit/jwt_make.h"

enum { TOKEN_BUF = 1 << 20 };
#define NOW INT64_C(1700000000)

static struct jwt_method *
method_of(const char *config)
{
	struct json_object *j = json_tokener_parse(config);
	struct jwt_method *m = NULL;
	char err[ACL_ERROR_MAX] = "";

	assert_non_null(j);
	if (jwt_method_new(j, &m, err) < 0)
		fail_msg("%s: %s", config, err);
	json_object_put(j);
	return m;
}

/* A method with the signer's key in its config, and more fields of it, which begin with a comma. */
static struct jwt_method *
method_with(struct signer *s, const char *more)
{
	struct buf config = BUF_INIT(1 << 16);
	struct jwt_method *m;

	assert_int_equal(buf_addf(&config, "{\"JWTValidationPubKeys\":[\"%s\"]%s}", pem_as_json(s), more), 0);
	m = method_of(buf_cstr(&config));
	buf_release(&config);
	return m;
}

/* NULL when the token holds, else the sentence. */
static const char *
verdict(const struct jwt_method *m, struct str token, struct str jwks, int64_t now_s)
{
	static char err[ACL_ERROR_MAX];
	struct json_object *claims = NULL;
	int rc;

	memset(err, 0, sizeof(err));
	rc = jwt_verify(m, token, jwks, now_s * NS_PER_S, &claims, err);
	if (rc == 0) {
		assert_non_null(claims);
		json_object_put(claims);
		return NULL;
	}
	assert_int_equal(rc, -EACCES);
	assert_null(claims);
	assert_true(strlen(err) > 0 && strlen(err) < 300);
	return err;
}

static void
holds(const struct jwt_method *m, struct str token, struct str jwks, int64_t now_s, int line)
{
	const char *why = verdict(m, token, jwks, now_s);

	if (why != NULL)
		fail_msg("line %d: %s", line, why);
}

static void
fails(const struct jwt_method *m, struct str token, struct str jwks, int64_t now_s, const char *want, int line)
{
	const char *why = verdict(m, token, jwks, now_s);

	if (why == NULL || strcmp(why, want) != 0)
		fail_msg("line %d: %s", line, why != NULL ? why : "it holds");
}

#define HOLDS(m, token, jwks, now) holds(m, token, jwks, now, __LINE__)
#define FAILS(m, token, jwks, now, why) fails(m, token, jwks, now, why, __LINE__)
#define BAD_SIGNATURE "no known key successfully validated the token signature"

/* ---- the examples of RFC 7515, A.2, A.3 and A.4, and of RFC 8037, A.4 and A.5 */

#define JOE "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static const struct {
	const char *jwk, *token;
	const char *why;	/* behind a good signature; NULL: it holds */
} vectors[] = {
	{ "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-y"
	    "RT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV"
	    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}",
	    "eyJhbGciOiJSUzI1NiJ9." JOE ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUA"
	    "r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZ"
	    "ESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw", NULL },
	{ "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
	    "eyJhbGciOiJFUzI1NiJ9." JOE ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", NULL },
	{ "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\","
	    "\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}",
	    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZ"
	    "goXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn", "error parsing token: its claims are no JSON object" },
	{ "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
	    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
	    "error parsing token: its claims are no JSON object" },
};

static void
test_vectors(void **state)
{
	struct jwt_method *m = method_of("{\"JWKSFile\":\"/keys\"}");

	(void)state;
	assert_string_equal(jwt_method_jwks_file(m), "/keys");
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct buf jwks = BUF_INIT(4096);
		char *bent = strdup(vectors[i].token);
		char *at;

		assert_non_null(bent);
		assert_int_equal(buf_addf(&jwks, "{\"keys\":[%s]}", vectors[i].jwk), 0);
		if (vectors[i].why == NULL)
			HOLDS(m, str_from(vectors[i].token), str_from(buf_cstr(&jwks)), 1300819380);
		else
			FAILS(m, str_from(vectors[i].token), str_from(buf_cstr(&jwks)), 1300819380, vectors[i].why);
		/* Another payload, and another signature. */
		at = strchr(bent, '.') + 1;
		*at = *at == 'e' ? 'f' : 'e';
		FAILS(m, str_from(bent), str_from(buf_cstr(&jwks)), 1300819380, BAD_SIGNATURE);
		memcpy(bent, vectors[i].token, strlen(vectors[i].token) + 1);
		at = strrchr(bent, '.') + 5;
		*at = *at == 'A' ? 'B' : 'A';
		FAILS(m, str_from(bent), str_from(buf_cstr(&jwks)), 1300819380, BAD_SIGNATURE);
		free(bent);
		buf_release(&jwks);
	}
	jwt_method_free(m);
}

/* ---- every algorithm, and no confusion among them */

static const char *const algs[] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA" };

static void
test_algorithms(void **state)
{
	struct buf token = BUF_INIT(TOKEN_BUF), jwks = BUF_INIT(TOKEN_BUF);
	struct jwt_method *of_file = method_of("{\"JWKSFile\":\"/keys\"}");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		struct jwt_method *m, *only, *other;
		struct signer s;
		struct str t;

		signer_init(&s, algs[i], 2048);
		m = method_with(&s, "");
		only = method_with(&s, i == 0 ? ",\"JWTSupportedAlgs\":[\"ES256\",\"RS256\"]" : ",\"JWTSupportedAlgs\":[\"RS256\"]");
		other = method_with(&s, i == 6 ? ",\"JWTSupportedAlgs\":[\"ES256\"]" : ",\"JWTSupportedAlgs\":[\"RS256\",\"EdDSA\"]");
		/* So many that r and s begin with zeros now and then. */
		for (int n = 0; n < (s.half > 0 ? 200 : 2); n++) {
			t = make_token(&s, "{\"exp\":1700000001}", &token);
			HOLDS(m, t, STR(""), NOW);
		}
		if (i == 0)
			HOLDS(only, t, STR(""), NOW);
		else
			assert_non_null(strstr(verdict(only, t, STR(""), NOW), "is none of JWTSupportedAlgs"));
		assert_true((verdict(other, t, STR(""), NOW) == NULL) == (i == 0 || i == 6 || i == 9));
		buf_clear(&jwks);
		assert_int_equal(buf_addf(&jwks, "{\"keys\":[{%s}]}", buf_cstr(&s.jwk)), 0);
		HOLDS(of_file, t, str_from(buf_cstr(&jwks)), NOW);
		/* The header claims each of the other algorithms. */
		for (size_t k = 0; k < ARRAY_LEN(algs); k++) {
			char header[64];

			(void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[k]);
			t = make_token_raw(&s, header, "{\"exp\":1700000001}", &token);
			if (k == i)
				HOLDS(m, t, STR(""), NOW);
			else
				FAILS(m, t, STR(""), NOW, BAD_SIGNATURE);
		}
		jwt_method_free(m);
		jwt_method_free(only);
		jwt_method_free(other);
		signer_release(&s);
	}
	jwt_method_free(of_file);
	buf_release(&token);
	buf_release(&jwks);
}

/* HMAC with the public key as its secret, the old trick, and no signature at all. */
static void
test_forbidden(void **state)
{
	static const char *const names[] = { "none", "None", "HS256", "HS512", "", "rs256", "RS256 ", "A128KW", "dir", "EdDSA\\u0000" };
	struct buf token = BUF_INIT(TOKEN_BUF);
	struct jwt_method *m;
	struct signer s;

	(void)state;
	signer_init(&s, "EdDSA", 0);
	m = method_with(&s, "");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char header[64];

		(void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", names[i]);
		FAILS(m, make_token_raw(&s, header, "{\"exp\":1700000001}", &token), STR(""), NOW, "error verifying token: its algorithm is not supported");
	}
	(void)make_token_raw(&s, "{\"alg\":\"HS256\"}", "{\"exp\":1700000001}", &token);
	token.len = (size_t)((char *)memrchr(token.data, '.', token.len) - (char *)token.data);
	{
		unsigned char mac[64];

		assert_int_equal(gnutls_hmac_fast(GNUTLS_MAC_SHA256, s.pem.data, s.pem.len, token.data, token.len, mac), 0);
		assert_int_equal(buf_addc(&token, '.'), 0);
		add_base64(&token, mac, 32);
	}
	FAILS(m, ((struct str){ (char *)token.data, token.len }), STR(""), NOW, "error verifying token: its algorithm is not supported");
	jwt_method_free(m);
	signer_release(&s);
	buf_release(&token);
}

static void
test_key_sets(void **state)
{
	struct jwt_method *m = method_of("{\"JWKSFile\":\"/keys\"}");
	struct buf token = BUF_INIT(TOKEN_BUF), set = BUF_INIT(TOKEN_BUF);
	struct signer a, b;
	struct str t;

	(void)state;
	signer_init(&a, "ES256", 0);
	signer_init(&b, "ES256", 0);
#define SET(...) (buf_clear(&set), assert_int_equal(buf_addf(&set, __VA_ARGS__), 0), str_from(buf_cstr(&set)))
	const char *ja = buf_cstr(&a.jwk), *jb = buf_cstr(&b.jwk);

	t = make_token_raw(&b, "{\"alg\":\"ES256\",\"kid\":\"two\"}", "{\"exp\":1700000001}", &token);
	HOLDS(m, t, SET("{\"keys\":[{%s,\"kid\":\"one\"},{%s,\"kid\":\"two\"}]}", ja, jb), NOW);
	HOLDS(m, t, SET("{\"keys\":[{%s},{%s}]}", ja, jb), NOW);
	FAILS(m, t, SET("{\"keys\":[{%s,\"kid\":\"two\"},{%s,\"kid\":\"one\"}]}", ja, jb), NOW, BAD_SIGNATURE);
	HOLDS(m, t, SET("{\"keys\":[{%s,\"alg\":\"ES256\",\"use\":\"sig\"}]}", jb), NOW);
	FAILS(m, t, SET("{\"keys\":[{%s,\"use\":\"enc\"}]}", jb), NOW, BAD_SIGNATURE);
	FAILS(m, t, SET("{\"keys\":[{%s,\"alg\":\"ES384\"}]}", jb), NOW, BAD_SIGNATURE);
	FAILS(m, t, SET("{\"keys\":[{%s,\"alg\":\"ECDH-ES\"}]}", jb), NOW, BAD_SIGNATURE);
	HOLDS(m, t, SET("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{},{%s}],\"x\":1}", jb), NOW);
	FAILS(m, t, SET("{\"keys\":[]}"), NOW, BAD_SIGNATURE);
	FAILS(m, t, SET("{}"), NOW, "the JWKS has no list \"keys\"");
	FAILS(m, t, SET("[]"), NOW, "the JWKS has no list \"keys\"");
	FAILS(m, t, SET("null"), NOW, "the JWKS is no JSON: null");
	FAILS(m, t, STR(""), NOW, "the JWKS is no JSON: EOF");
	FAILS(m, t, SET("{\"keys\":[1]}"), NOW, "a key of the JWKS is no object");
	FAILS(m, t, SET("{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\"}]}"), NOW, "a key of the JWKS has no valid \"n\"");
	FAILS(m, t, SET("{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"=\"}]}"), NOW, "a key of the JWKS has no valid \"n\"");
	FAILS(m, t, SET("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}"), NOW, "a key of the JWKS has no valid \"e\"");
	FAILS(m, t, SET("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}"), NOW, "an RSA key has 17 bits: 2048 to 8192 are taken");
	FAILS(m, t, SET("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}"), NOW, "a coordinate of a key of the JWKS has the wrong length");
	FAILS(m, t, SET("{\"keys\":[{%s,\"kid\":\"%0300d\"}]}", jb, 0), NOW, "the name of a key of the JWKS is longer than 256 bytes");
	t = make_token_raw(&b, "{\"alg\":\"ES256\"}", "{\"exp\":1700000001}", &token);
	HOLDS(m, t, SET("{\"keys\":[{%s,\"kid\":\"one\"},{%s,\"kid\":\"two\"}]}", ja, jb), NOW);
	t = make_token_raw(&b, "{\"alg\":\"ES256\",\"kid\":null}", "{\"exp\":1700000001}", &token);
	HOLDS(m, t, SET("{\"keys\":[{%s,\"kid\":\"two\"}]}", jb), NOW);
	buf_clear(&set);
	assert_int_equal(buf_adds(&set, "{\"keys\":["), 0);
	for (int i = 0; i <= JWT_KEYS_MAX; i++)
		assert_int_equal(buf_addf(&set, "%s{%s}", i > 0 ? "," : "", ja), 0);
	assert_int_equal(buf_adds(&set, "]}"), 0);
	FAILS(m, t, str_from(buf_cstr(&set)), NOW, "more than 64 public keys");
	buf_release(&set);
	buf_init(&set, 2 * JWT_JWKS_MAX);
	assert_int_equal(buf_reserve(&set, JWT_JWKS_MAX + 1), 0);
	memset(set.data, ' ', JWT_JWKS_MAX + 1);
	FAILS(m, t, ((struct str){ (char *)set.data, JWT_JWKS_MAX + 1 }), NOW, "the JWKS has more than 1024 KiB");
	jwt_method_free(m);
	signer_release(&a);
	signer_release(&b);
	buf_release(&token);
	buf_release(&set);
}

/* ---- the shape of tokens */

static void
test_malformed(void **state)
{
	static const char *const texts[] = { ".", "..", "...", "a", "a.b", "a.b.", ".b.c", "a..c", "e30.e30.e30.e30", "e30=.e30.e30", "e30. e30.e30", "e30.e30.e3",
		"e30.e30.+/8", "e30\n.e30.e30", "e31.e30.e30" };
	static const struct {
		const char *header, *why;
	} headers[] = {
		{ "{}", "error parsing token: its header names no algorithm" },
		{ "[]", "error parsing token: its header is no JSON object" },
		{ "{", "error parsing token: its header is no JSON object" },
		{ "null", "error parsing token: its header is no JSON object" },
		{ "{\"alg\":1}", "error parsing token: its header names no algorithm" },
		{ "{\"alg\":null}", "error parsing token: its header names no algorithm" },
		{ "{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}", "error parsing token: its header has critical extensions" },
		{ "{\"alg\":\"EdDSA\",\"crit\":null}", "error parsing token: its header has critical extensions" },
		{ "{\"alg\":\"EdDSA\",\"kid\":1}", "error parsing token: the key that its header names is no text, or too long" },
	};
	struct buf token = BUF_INIT(TOKEN_BUF), header = BUF_INIT(TOKEN_BUF);
	struct jwt_method *m;
	struct signer s;
	char *large = malloc(JWT_MAX + 1);

	(void)state;
	assert_non_null(large);
	signer_init(&s, "EdDSA", 0);
	m = method_with(&s, "");
	FAILS(m, STR(""), STR(""), NOW, "missing jwt");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		FAILS(m, str_from(texts[i]), STR(""), NOW, "error parsing token: it does not consist of three parts in base64url");
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		FAILS(m, make_token_raw(&s, headers[i].header, "{\"exp\":1700000001}", &token), STR(""), NOW, headers[i].why);
	assert_int_equal(buf_addf(&header, "{\"alg\":\"EdDSA\",\"kid\":\"%0300d\"}", 0), 0);
	FAILS(m, make_token_raw(&s, buf_cstr(&header), "{}", &token), STR(""), NOW, "error parsing token: the key that its header names is no text, or too long");
	buf_clear(&header);
	assert_int_equal(buf_addf(&header, "{\"alg\":\"EdDSA\",\"x\":\"%05000d\"}", 0), 0);
	FAILS(m, make_token_raw(&s, buf_cstr(&header), "{}", &token), STR(""), NOW, "error parsing token: its header is longer than 4 KiB");
	memset(large, 'a', JWT_MAX + 1);
	FAILS(m, ((struct str){ large, JWT_MAX + 1 }), STR(""), NOW, "error parsing token: it is longer than 128 KiB");
	FAILS(m, ((struct str){ large, JWT_MAX }), STR(""), NOW, "error parsing token: it does not consist of three parts in base64url");
	/* Claims that are signed and yet none. */
	FAILS(m, make_token(&s, "[]", &token), STR(""), NOW, "error parsing token: its claims are no JSON object");
	FAILS(m, make_token(&s, "null", &token), STR(""), NOW, "error parsing token: its claims are no JSON object");
	FAILS(m, make_token(&s, "{\"exp\":1700000001", &token), STR(""), NOW, "error parsing token: its claims are no JSON object");
	buf_clear(&header);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_adds(&header, "{\"a\":"), 0);
	FAILS(m, make_token(&s, buf_cstr(&header), &token), STR(""), NOW, "error parsing token: its claims are no JSON object");
	free(large);
	jwt_method_free(m);
	signer_release(&s);
	buf_release(&token);
	buf_release(&header);
}

/* Each character of a token exchanged, and each end cut off: it never holds, and no sentence repeats the claims. */
static void
test_bent(void **state)
{
	struct buf token = BUF_INIT(TOKEN_BUF);
	struct jwt_method *m;
	struct signer s;
	struct str t;

	(void)state;
	signer_init(&s, "EdDSA", 0);
	m = method_with(&s, "");
	t = make_token(&s, "{\"exp\":1700000001,\"sub\":\"very-secret\"}", &token);
	HOLDS(m, t, STR(""), NOW);
	for (size_t i = 0; i < t.len; i++) {
		char *copy = malloc(i + 1), was = (char)token.data[i];
		const char *why;

		assert_non_null(copy);
		memcpy(copy, t.p, i);
		assert_non_null(verdict(m, (struct str){ copy, i }, STR(""), NOW));
		free(copy);
		token.data[i] = was == 'A' ? 'B' : 'A';
		why = verdict(m, t, STR(""), NOW);
		if (why == NULL)
			fail_msg("character %zu", i);
		assert_null(strstr(why, "secret"));
		token.data[i] = (uint8_t)was;
	}
	HOLDS(m, t, STR(""), NOW);
	jwt_method_free(m);
	signer_release(&s);
	buf_release(&token);
}

/* ---- times, audiences, issuers */

#define LATE "error validating claims: validation failed, token is expired (exp)"
#define EARLY "error validating claims: validation failed, token not valid yet (nbf)"
#define FUTURE "error validating claims: validation failed, token issued in the future (iat)"
#define NO_TIME "no issue time, notbefore, or expiration time encoded in token"
#define NO_AUD "error validating claims: audience claim found in JWT but no audiences are bound"
#define OTHER_AUD "error validating claims: aud claim does not match any bound audience"

/* At NOW = 1700000000. */
static const struct {
	const char *more, *claims, *why;
} times[] = {
	{ "", "{}", NO_TIME },
	{ "", "{\"exp\":0,\"nbf\":0,\"iat\":0}", NO_TIME },
	{ "", "{\"exp\":null}", NO_TIME },
	{ "", "{\"exp\":\"1700000001\"}", "error validating claims: the exp claim is no number" },
	{ "", "{\"exp\":1700000001,\"nbf\":true}", "error validating claims: the nbf claim is no number" },
	{ "", "{\"exp\":1700000001,\"iat\":[]}", "error validating claims: the iat claim is no number" },
	/* One minute of skew; without nbf a token holds from 150 seconds before exp on. */
	{ "", "{\"exp\":1700000000}", NULL },
	{ "", "{\"exp\":1699999940}", NULL },
	{ "", "{\"exp\":1699999939}", LATE },
	{ "", "{\"exp\":1700000210}", NULL },
	{ "", "{\"exp\":1700000211}", EARLY },
	{ "", "{\"exp\":1700000209.9}", NULL },
	{ "", "{\"exp\":1.7e9}", NULL },
	/* Without exp it holds for 150 seconds. */
	{ "", "{\"iat\":1699999790}", NULL },
	{ "", "{\"iat\":1699999789}", LATE },
	{ "", "{\"nbf\":1699999790}", NULL },
	{ "", "{\"nbf\":1699999789}", LATE },
	{ "", "{\"nbf\":1699999789,\"iat\":1699999790}", NULL },
	{ "", "{\"nbf\":1700000060}", NULL },
	{ "", "{\"nbf\":1700000061}", EARLY },
	{ "", "{\"iat\":1700000060}", NULL },
	{ "", "{\"iat\":1700000061}", EARLY },
	{ "", "{\"iat\":1700000061,\"nbf\":1699999999,\"exp\":1700000900}", FUTURE },
	{ "", "{\"iat\":1600000000,\"exp\":1800000000}", NULL },
	{ "", "{\"nbf\":1,\"exp\":9223372036854775807}", NULL },
	{ "", "{\"nbf\":1,\"exp\":1e300}", NULL },
	{ "", "{\"nbf\":1e300,\"exp\":1e300}", EARLY },
	{ "", "{\"nbf\":-1e300,\"exp\":1700000001}", NULL },
	{ "", "{\"exp\":-9223372036854775808}", LATE },
	{ "", "{\"nbf\":1,\"exp\":99999999999999999999}", "error parsing token: its claims are no JSON object" },
	{ ",\"ExpirationLeeway\":\"10s\"", "{\"iat\":1699999930}", NULL },
	{ ",\"ExpirationLeeway\":10000000000", "{\"iat\":1699999929}", LATE },
	{ ",\"ExpirationLeeway\":-1", "{\"iat\":1699999940}", NULL },
	{ ",\"ExpirationLeeway\":-1", "{\"iat\":1699999939}", LATE },
	{ ",\"ExpirationLeeway\":0", "{\"iat\":1699999790}", NULL },
	{ ",\"NotBeforeLeeway\":\"10s\"", "{\"exp\":1700000070}", NULL },
	{ ",\"NotBeforeLeeway\":\"10s\"", "{\"exp\":1700000071}", EARLY },
	{ ",\"NotBeforeLeeway\":\"-1s\"", "{\"exp\":1700000061}", EARLY },
	{ ",\"ClockSkewLeeway\":\"5s\"", "{\"exp\":1699999995}", NULL },
	{ ",\"ClockSkewLeeway\":\"5s\"", "{\"exp\":1699999994}", LATE },
	{ ",\"ClockSkewLeeway\":-1", "{\"exp\":1700000000}", NULL },
	{ ",\"ClockSkewLeeway\":-1", "{\"exp\":1699999999}", LATE },
	{ ",\"ClockSkewLeeway\":-1", "{\"nbf\":1700000001}", EARLY },
	/* Who it is for. */
	{ "", "{\"exp\":1700000001,\"aud\":\"a\"}", NO_AUD },
	{ "", "{\"exp\":1700000001,\"aud\":[\"a\"]}", NO_AUD },
	{ "", "{\"exp\":1700000001,\"aud\":[]}", NULL },
	{ "", "{\"exp\":1700000001,\"aud\":null}", NULL },
	{ "", "{\"exp\":1700000001,\"aud\":1}", "error validating claims: the aud claim is neither a text nor a list" },
	{ ",\"BoundAudiences\":[]", "{\"exp\":1700000001,\"aud\":\"a\"}", NO_AUD },
	{ ",\"BoundAudiences\":[\"a\",\"b\"]", "{\"exp\":1700000001,\"aud\":\"b\"}", NULL },
	{ ",\"BoundAudiences\":[\"a\",\"b\"]", "{\"exp\":1700000001,\"aud\":[\"x\",\"a\"]}", NULL },
	{ ",\"BoundAudiences\":[\"a\"]", "{\"exp\":1700000001,\"aud\":[\"x\",1,null]}", OTHER_AUD },
	{ ",\"BoundAudiences\":[\"a\"]", "{\"exp\":1700000001,\"aud\":\"A\"}", OTHER_AUD },
	{ ",\"BoundAudiences\":[\"a\"]", "{\"exp\":1700000001,\"aud\":\"a\\u0000\"}", OTHER_AUD },
	{ ",\"BoundAudiences\":[\"a\"]", "{\"exp\":1700000001}", OTHER_AUD },
	/* Who made it. */
	{ ",\"BoundIssuer\":\"i\"", "{\"exp\":1700000001,\"iss\":\"i\"}", NULL },
	{ ",\"BoundIssuer\":\"i\"", "{\"exp\":1700000001,\"iss\":\"i\\u0000\"}", "invalid issuer (iss) claim" },
	{ ",\"BoundIssuer\":\"i\"", "{\"exp\":1700000001,\"iss\":1}", "invalid issuer (iss) claim" },
	{ ",\"BoundIssuer\":\"i\"", "{\"exp\":1700000001}", "invalid issuer (iss) claim" },
	{ ",\"BoundIssuer\":\"\"", "{\"exp\":1700000001,\"iss\":\"x\"}", NULL },
};

static void
test_times(void **state)
{
	struct buf token = BUF_INIT(TOKEN_BUF);
	struct jwt_method *m;
	struct signer s;

	(void)state;
	signer_init(&s, "EdDSA", 0);
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		const char *why;

		m = method_with(&s, times[i].more);
		why = verdict(m, make_token(&s, times[i].claims, &token), STR(""), NOW);
		if ((why == NULL) != (times[i].why == NULL) || (why != NULL && strcmp(why, times[i].why) != 0))
			fail_msg("%s %s: %s", times[i].more, times[i].claims, why != NULL ? why : "holds");
		jwt_method_free(m);
	}
	/* A nanosecond behind the last moment. */
	m = method_with(&s, "");
	{
		struct json_object *claims = NULL;
		char err[ACL_ERROR_MAX];

		(void)make_token(&s, "{\"exp\":1699999940}", &token);
		assert_int_equal(jwt_verify(m, str_from(buf_cstr(&token)), STR(""), NOW * NS_PER_S + 1, &claims, err), -EACCES);
		assert_string_equal(err, LATE);
	}
	jwt_method_free(m);
	signer_release(&s);
	buf_release(&token);
}

/* ---- what selectors see */

static const struct {
	const char *mappings, *claims, *seen;
} mappings[] = {
	{ "", "{\"a\":\"x\"}", "{\"value\":{},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\",\"b\":\"B\"}", "{\"a\":\"x\"}", "{\"value\":{\"A\":\"x\",\"B\":\"\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":true}", "{\"value\":{\"A\":\"true\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":-17}", "{\"value\":{\"A\":\"-17\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":1.5}", "{\"value\":{\"A\":\"1\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":null}", "{\"value\":{\"A\":\"\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":{}}", "error converting claim 'a' to string" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":[\"x\"]}", "error converting claim 'a' to string" },
	{ ",\"ClaimMappings\":{\"a\":\"A\"}", "{\"a\":1e300}", "error converting claim 'a' to string" },
	{ ",\"ClaimMappings\":{\"/a/b\":\"A\",\"/l/1\":\"B\",\"/x~1y/~0z\":\"C\"}", "{\"a\":{\"b\":\"x\"},\"l\":[\"p\",\"q\"],\"x/y\":{\"~z\":\"t\"}}",
	    "{\"value\":{\"A\":\"x\",\"B\":\"q\",\"C\":\"t\"},\"list\":{}}" },
	{ ",\"ClaimMappings\":{\"/a/b/c\":\"A\",\"/l/2\":\"B\",\"/l/-1\":\"C\",\"/l/x\":\"D\",\"/l/\":\"E\",\"/\":\"F\",\"/l/9999999999\":\"G\"}",
	    "{\"a\":{\"b\":\"x\"},\"l\":[\"p\",\"q\"]}", "{\"value\":{\"A\":\"\",\"B\":\"\",\"C\":\"\",\"D\":\"\",\"E\":\"\",\"F\":\"\",\"G\":\"\"},\"list\":{}}" },
	{ ",\"ListClaimMappings\":{\"a\":\"A\",\"b\":\"B\"}", "{\"a\":[\"x\",\"\",1,false]}", "{\"value\":{},\"list\":{\"A\":[\"x\",\"1\",\"false\"],\"B\":[]}}" },
	{ ",\"ListClaimMappings\":{\"a\":\"A\"}", "{\"a\":\"x\"}", "{\"value\":{},\"list\":{\"A\":[\"x\"]}}" },
	{ ",\"ListClaimMappings\":{\"a\":\"A\"}", "{\"a\":{}}", "\"a\" list claim could not be converted to string list" },
	{ ",\"ListClaimMappings\":{\"a\":\"A\"}", "{\"a\":[[]]}", "\"a\" list claim could not be converted to string list" },
	{ ",\"ListClaimMappings\":{\"a\":\"A\"}", "{\"a\":[null]}", "\"a\" list claim could not be converted to string list" },
};

static void
test_mappings(void **state)
{
	struct buf token = BUF_INIT(TOKEN_BUF), claims = BUF_INIT(TOKEN_BUF);
	struct signer s;

	(void)state;
	signer_init(&s, "EdDSA", 0);
	for (size_t i = 0; i < ARRAY_LEN(mappings); i++) {
		struct jwt_method *m = method_with(&s, mappings[i].mappings);
		struct json_object *seen = NULL;
		char err[ACL_ERROR_MAX] = "";
		int rc;

		buf_clear(&claims);
		assert_int_equal(buf_addf(&claims, "{\"exp\":1700000001,%s", mappings[i].claims + 1), 0);
		rc = jwt_verify(m, make_token(&s, buf_cstr(&claims), &token), STR(""), NOW * NS_PER_S, &seen, err);
		if (rc == 0)
			assert_string_equal(json_object_to_json_string_ext(seen, JSON_C_TO_STRING_PLAIN), mappings[i].seen);
		else
			assert_string_equal(err, mappings[i].seen);
		json_object_put(seen);
		jwt_method_free(m);
	}
	signer_release(&s);
	buf_release(&token);
	buf_release(&claims);
}

/* ---- configs */

static const struct {
	const char *config, *why;
} configs[] = {
	{ "[]", "Config needs an object" },
	{ "{}", "exactly one of 'JWTValidationPubKeys' and 'JWKSFile' must be set for type \"jwt\"" },
	{ "{\"JWTValidationPubKeys\":[]}", "exactly one of 'JWTValidationPubKeys' and 'JWKSFile' must be set for type \"jwt\"" },
	{ "{\"JWTValidationPubKeys\":[\"@\"],\"JWKSFile\":\"/x\"}", "exactly one of 'JWTValidationPubKeys' and 'JWKSFile' must be set for type \"jwt\"" },
	{ "{\"JWTValidationPubKeys\":\"x\"}", "JWTValidationPubKeys needs a list of strings" },
	{ "{\"JWTValidationPubKeys\":[1]}", "JWTValidationPubKeys needs a list of strings" },
	{ "{\"JWTValidationPubKeys\":[\"x\"]}", "error parsing public key: data does not contain any valid RSA, ECDSA or Ed25519 public keys" },
	{ "{\"JWTValidationPubKeys\":[\"\"]}", "error parsing public key: it is empty, or longer than 16 KiB" },
	{ "{\"JWKSFile\":\"x\"}", "JWKSFile needs an absolute path: a file on each server" },
	{ "{\"JWKSFile\":1}", "JWKSFile needs a string" },
	{ "{\"JWKSFile\":\"/x\",\"JWTSupportedAlgs\":[\"HS256\"]}", "Invalid supported algorithm: HS256" },
	{ "{\"JWKSFile\":\"/x\",\"JWTSupportedAlgs\":[\"none\"]}", "Invalid supported algorithm: none" },
	{ "{\"JWKSFile\":\"/x\",\"JWTSupportedAlgs\":\"RS256\"}", "JWTSupportedAlgs needs a list of strings" },
	{ "{\"JWKSFile\":\"/x\",\"BoundAudiences\":[{}]}", "BoundAudiences needs a list of strings" },
	{ "{\"JWKSFile\":\"/x\",\"BoundIssuer\":[]}", "BoundIssuer needs a string" },
	{ "{\"JWKSFile\":\"/x\",\"ClaimMappings\":[]}", "ClaimMappings needs an object of strings" },
	{ "{\"JWKSFile\":\"/x\",\"ClaimMappings\":{\"a\":1}}", "ClaimMappings needs an object of strings" },
	{ "{\"JWKSFile\":\"/x\",\"ClaimMappings\":{\"a\":\"x\",\"b\":\"x\"}}", "ClaimMappings contains multiple mappings for key \"x\"" },
	{ "{\"JWKSFile\":\"/x\",\"ListClaimMappings\":{\"a\":\"x\",\"b\":\"x\"}}", "ListClaimMappings contains multiple mappings for key \"x\"" },
	{ "{\"JWKSFile\":\"/x\",\"ExpirationLeeway\":\"x\"}", "ExpirationLeeway needs a duration" },
	{ "{\"JWKSFile\":\"/x\",\"NotBeforeLeeway\":[]}", "NotBeforeLeeway needs a duration" },
	{ "{\"JWKSFile\":\"/x\",\"ClockSkewLeeway\":1.5}", "ClockSkewLeeway needs a duration" },
	{ "{\"JWKSFile\":\"/x\",\"Nope\":1}", "Config has an unknown field \"Nope\"" },
	{ "{\"JWKSFile\":\"/x\",\"jwksfile\":\"/y\"}", "Config has the field JWKSFile more than once" },
	{ "{\"JWKSURL\":\"https://x\"}", "JWKSURL and OIDCDiscoveryURL are not supported: servers fetch no keys from the network. "
	    "Keep the keys in JWTValidationPubKeys, or in a file on each server that JWKSFile names" },
	{ "{\"JWKSFile\":\"/x\",\"JWKSURL\":\"\",\"OIDCDiscoveryURL\":\"\",\"BoundIssuer\":null}", NULL },
	{ "{\"jwksfile\":\"/x\",\"BOUNDISSUER\":\"i\"}", NULL },
	{ "{\"JWTValidationPubKeys\":[\"@\",\"@\"],\"JWKSFile\":\"\"}", NULL },
};

static void
check_config(const char *config, const char *why)
{
	struct json_object *j = config != NULL ? json_tokener_parse(config) : NULL;
	struct jwt_method *m = NULL;
	char err[ACL_ERROR_MAX] = "";
	int rc = jwt_method_new(j, &m, err);

	if (why == NULL && rc < 0)
		fail_msg("%s: %s", config, err);
	if (why != NULL) {
		assert_int_equal(rc, -EINVAL);
		assert_null(m);
		assert_string_equal(err, why);
	}
	jwt_method_free(m);
	json_object_put(j);
}

static void
test_configs(void **state)
{
	struct buf config = BUF_INIT(1 << 20);
	struct signer s, weak;

	(void)state;
	signer_init(&s, "EdDSA", 0);
	signer_init(&weak, "RS256", 1024);
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		buf_clear(&config);
		for (const char *p = configs[i].config; *p != 0; p++)
			assert_int_equal(*p == '@' ? buf_adds(&config, pem_as_json(&s)) : buf_addc(&config, (uint8_t)*p), 0);
		check_config(buf_cstr(&config), configs[i].why);
	}
	buf_clear(&config);
	assert_int_equal(buf_addf(&config, "{\"JWTValidationPubKeys\":[\"%s\"]}", pem_as_json(&weak)), 0);
	check_config(buf_cstr(&config), "an RSA key has 1024 bits: 2048 to 8192 are taken");
	/* A private key is none that is published. */
	{
		gnutls_x509_privkey_t key;
		gnutls_datum_t pem;

		assert_int_equal(gnutls_privkey_export_x509(weak.key, &key), 0);
		assert_int_equal(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem), 0);
		buf_clear(&weak.pem);
		assert_int_equal(buf_add(&weak.pem, pem.data, pem.size), 0);
		gnutls_free(pem.data);
		gnutls_x509_privkey_deinit(key);
	}
	buf_clear(&config);
	assert_int_equal(buf_addf(&config, "{\"JWTValidationPubKeys\":[\"%s\"]}", pem_as_json(&weak)), 0);
	check_config(buf_cstr(&config), "error parsing public key: data does not contain any valid RSA, ECDSA or Ed25519 public keys");
	check_config(NULL, "Config needs an object");
	signer_release(&s);
	signer_release(&weak);
	buf_release(&config);
}

/* A key that comes in a certificate. */
static void
test_certificate(void **state)
{
	struct buf token = BUF_INIT(TOKEN_BUF);
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	struct jwt_method *m;
	gnutls_datum_t pem;
	struct signer s;

	(void)state;
	signer_init(&s, "RS256", 2048);
	assert_int_equal(gnutls_privkey_export_x509(s.key, &key), 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
	assert_int_equal(gnutls_x509_crt_set_dn(crt, "CN=issuer", NULL), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(crt, "\1", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(crt, 1), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, 2), 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	buf_clear(&s.pem);
	assert_int_equal(buf_add(&s.pem, pem.data, pem.size), 0);
	m = method_with(&s, "");
	HOLDS(m, make_token(&s, "{\"exp\":1700000001}", &token), STR(""), NOW);
	jwt_method_free(m);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
	signer_release(&s);
	buf_release(&token);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "examples_of_the_standards", test_vectors, NULL, NULL, NULL },
		{ "every_algorithm_and_no_other_in_its_place", test_algorithms, NULL, NULL, NULL },
		{ "no_hmac_and_no_none", test_forbidden, NULL, NULL, NULL },
		{ "key_sets", test_key_sets, NULL, NULL, NULL },
		{ "malformed_tokens", test_malformed, NULL, NULL, NULL },
		{ "each_character_counts", test_bent, NULL, NULL, NULL },
		{ "times_audiences_issuers", test_times, NULL, NULL, NULL },
		{ "what_selectors_see", test_mappings, NULL, NULL, NULL },
		{ "configs", test_configs, NULL, NULL, NULL },
		{ "a_key_in_a_certificate", test_certificate, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
