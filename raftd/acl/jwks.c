/* jwks.c - public keys, from PEM and from key sets (RFC 7517, 7518, 8037), and what they verify. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/json.h"
#include "raftd/acl/jwt_internal.h"

static const struct jwt_alg algs[] = {
	{ "RS256", JWT_RSA, 0, GNUTLS_SIGN_RSA_SHA256 },
	{ "RS384", JWT_RSA, 0, GNUTLS_SIGN_RSA_SHA384 },
	{ "RS512", JWT_RSA, 0, GNUTLS_SIGN_RSA_SHA512 },
	{ "ES256", JWT_EC, 256, GNUTLS_SIGN_ECDSA_SHA256 },
	{ "ES384", JWT_EC, 384, GNUTLS_SIGN_ECDSA_SHA384 },
	{ "ES512", JWT_EC, 521, GNUTLS_SIGN_ECDSA_SHA512 },
	{ "PS256", JWT_RSA, 0, GNUTLS_SIGN_RSA_PSS_SHA256 },
	{ "PS384", JWT_RSA, 0, GNUTLS_SIGN_RSA_PSS_SHA384 },
	{ "PS512", JWT_RSA, 0, GNUTLS_SIGN_RSA_PSS_SHA512 },
	{ "EdDSA", JWT_ED25519, 0, GNUTLS_SIGN_EDDSA_ED25519 },
};

const struct jwt_alg *
jwt_alg(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(algs); i++)
		if (str_eqs(name, algs[i].name))
			return &algs[i];
	return NULL;
}

unsigned
jwt_alg_bit(const struct jwt_alg *a)
{
	return 1u << (a - algs);
}

int
jwt_base64(struct str s, uint8_t *out, size_t max, size_t *ret_len)
{
	const char *end = NULL;

	if (sodium_base642bin(out, max, s.len > 0 ? s.p : "", s.len, NULL, ret_len, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return -EINVAL;
	return s.len == 0 || end == s.p + s.len ? 0 : -EINVAL;
}

int
jwt_keys_init(struct jwt_keys *k, char err[ACL_ERROR_MAX])
{
	*k = (struct jwt_keys){ .lib = gnutls_lib() };
	if (k->lib != NULL)
		return 0;
	(void)snprintf(err, ACL_ERROR_MAX, "signed tokens need GnuTLS: install the package libgnutls30");
	return -ENOENT;
}

static void
key_release(const struct gnutls_lib *lib, struct jwt_key *k)
{
	if (k->key != NULL)
		lib->pubkey_deinit(k->key);
	free(k->kid);
	*k = (struct jwt_key){ 0 };
}

void
jwt_keys_release(struct jwt_keys *k)
{
	while (k->n > 0)
		key_release(k->lib, &k->v[--k->n]);
}

/* What kind of key GnuTLS has read, and for what it may serve. */
static int
classify(const struct gnutls_lib *lib, struct jwt_key *k, char *err)
{
	int pk = lib->pubkey_get_pk_algorithm(k->key, &k->bits);

	if (pk == GNUTLS_PK_RSA)
		k->kind = JWT_RSA;
	else if (pk == GNUTLS_PK_ECDSA)
		k->kind = JWT_EC;
	else if (pk == GNUTLS_PK_EDDSA_ED25519)
		k->kind = JWT_ED25519;
	else
		return jwt_invalid(err, "a public key is neither RSA nor ECDSA nor Ed25519");
	if (k->kind == JWT_RSA && (k->bits < JWT_RSA_BITS_MIN || k->bits > JWT_RSA_BITS_MAX))
		return jwt_invalid(err, "an RSA key has %u bits: %d to %d are taken", k->bits, JWT_RSA_BITS_MIN, JWT_RSA_BITS_MAX);
	k->algs = 0;
	for (size_t i = 0; i < ARRAY_LEN(algs); i++)
		/* Whole bytes are compared: GnuTLS tells those of P-521 as 528. */
		if (algs[i].kind == k->kind && (algs[i].bits == 0 || (algs[i].bits + 7) / 8 == (k->bits + 7) / 8))
			k->algs |= jwt_alg_bit(&algs[i]);
	return k->algs != 0 ? 0 : jwt_invalid(err, "a public key is on a curve of %u bits: P-256, P-384 and P-521 are taken", k->bits);
}

static int
room(const struct jwt_keys *k, char *err)
{
	return k->n < JWT_KEYS_MAX ? 0 : jwt_invalid(err, "more than %d public keys", JWT_KEYS_MAX);
}

static int
of_gnutls(int rc, char *err, const char *what)
{
	if (rc == GNUTLS_E_MEMORY_ERROR)
		return -ENOMEM;
	return rc < 0 ? jwt_invalid(err, "%s", what) : 0;
}

/* The key of a certificate. */
static int
import_certificate(const struct gnutls_lib *lib, gnutls_pubkey_t key, const gnutls_datum_t *pem)
{
	gnutls_x509_crt_t crt;
	int rc = lib->x509_crt_init(&crt);

	if (rc < 0)
		return rc;
	rc = lib->x509_crt_import(crt, pem, GNUTLS_X509_FMT_PEM);
	if (rc >= 0)
		rc = lib->pubkey_import_x509(key, crt, 0);
	lib->x509_crt_deinit(crt);
	return rc;
}

int
jwt_keys_add_pem(struct jwt_keys *k, struct str pem, char err[ACL_ERROR_MAX])
{
	const gnutls_datum_t datum = { (unsigned char *)(uintptr_t)pem.p, (unsigned)pem.len };
	struct jwt_key new = { 0 };
	int rc = room(k, err);

	if (rc == 0 && (pem.len == 0 || pem.len > JWT_PEM_MAX))
		rc = jwt_invalid(err, "error parsing public key: it is empty, or longer than %d KiB", JWT_PEM_MAX >> 10);
	if (rc < 0)
		return rc;
	rc = k->lib->pubkey_init(&new.key);
	if (rc >= 0) {
		rc = k->lib->pubkey_import(new.key, &datum, GNUTLS_X509_FMT_PEM);
		if (rc < 0 && rc != GNUTLS_E_MEMORY_ERROR)
			rc = import_certificate(k->lib, new.key, &datum);
	}
	rc = of_gnutls(rc, err, "error parsing public key: data does not contain any valid RSA, ECDSA or Ed25519 public keys");
	if (rc == 0)
		rc = classify(k->lib, &new, err);
	if (rc < 0) {
		key_release(k->lib, &new);
		return rc;
	}
	k->v[k->n++] = new;
	return 0;
}

/* ---- key sets */

struct number {
	uint8_t bytes[JWT_RSA_BITS_MAX / 8];
	size_t len;
};

/* A member in base64url, of at most max bytes. */
static int
read_number(struct json_object *j, const char *name, size_t max, struct number *ret, char *err)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(j, name, &v) || !json_object_is_type(v, json_type_string) ||
	    jwt_base64(jwt_text(v), ret->bytes, max, &ret->len) < 0 || ret->len == 0)
		return jwt_invalid(err, "a key of the JWKS has no valid \"%s\"", name);
	return 0;
}

static gnutls_datum_t
datum_of(struct number *n)
{
	return (gnutls_datum_t){ n->bytes, (unsigned)n->len };
}

static int
read_rsa(const struct gnutls_lib *lib, struct json_object *j, gnutls_pubkey_t key, char *err)
{
	struct number n, e;
	gnutls_datum_t nd, ed;
	int rc = read_number(j, "n", sizeof(n.bytes), &n, err);

	if (rc == 0)
		rc = read_number(j, "e", 8, &e, err);
	if (rc < 0)
		return rc;
	nd = datum_of(&n);
	ed = datum_of(&e);
	return of_gnutls(lib->pubkey_import_rsa_raw(key, &nd, &ed), err, "an RSA key of the JWKS is not valid");
}

static int
read_ec(const struct gnutls_lib *lib, struct json_object *j, gnutls_ecc_curve_t curve, size_t len, gnutls_pubkey_t key, char *err)
{
	bool edwards = curve == GNUTLS_ECC_CURVE_ED25519;
	struct number x, y;
	gnutls_datum_t xd, yd;
	int rc = read_number(j, "x", len, &x, err);

	if (rc == 0 && !edwards)
		rc = read_number(j, "y", len, &y, err);
	if (rc < 0)
		return rc;
	if (x.len != len || (!edwards && y.len != len))
		return jwt_invalid(err, "a coordinate of a key of the JWKS has the wrong length");
	xd = datum_of(&x);
	yd = edwards ? (gnutls_datum_t){ NULL, 0 } : datum_of(&y);
	return of_gnutls(lib->pubkey_import_ecc_raw(key, curve, &xd, edwards ? NULL : &yd), err, "a key of the JWKS is not on its curve");
}

static struct str
member(struct json_object *j, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(j, name, &v) && json_object_is_type(v, json_type_string) ? jwt_text(v) : STR_NONE;
}

/* 1: a key of a kind that we know; 0: of another one. */
static int
read_material(const struct gnutls_lib *lib, struct json_object *j, gnutls_pubkey_t key, char *err)
{
	static const struct {
		const char *type, *name;
		gnutls_ecc_curve_t curve;
		size_t len;
	} curves[] = {
		{ "EC", "P-256", GNUTLS_ECC_CURVE_SECP256R1, 32 },
		{ "EC", "P-384", GNUTLS_ECC_CURVE_SECP384R1, 48 },
		{ "EC", "P-521", GNUTLS_ECC_CURVE_SECP521R1, 66 },
		{ "OKP", "Ed25519", GNUTLS_ECC_CURVE_ED25519, 32 },
	};
	struct str kty = member(j, "kty"), crv = member(j, "crv");
	int rc;

	if (str_eqs(kty, "RSA")) {
		rc = read_rsa(lib, j, key, err);
		return rc < 0 ? rc : 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		if (!str_eqs(kty, curves[i].type) || !str_eqs(crv, curves[i].name))
			continue;
		rc = read_ec(lib, j, curves[i].curve, curves[i].len, key, err);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

/* What the set says about the key beside its numbers: name, and for which algorithm it is. */
static int
read_labels(struct json_object *j, struct jwt_key *k, char *err)
{
	struct str kid = member(j, "kid"), name = member(j, "alg");
	const struct jwt_alg *alg = name.p != NULL ? jwt_alg(name) : NULL;

	if (name.p != NULL)
		k->algs &= alg != NULL ? jwt_alg_bit(alg) : 0;
	if (kid.p == NULL)
		return 0;
	if (kid.len > JWT_KID_MAX)
		return jwt_invalid(err, "the name of a key of the JWKS is longer than %d bytes", JWT_KID_MAX);
	k->kid = strndup(kid.p, kid.len);
	return k->kid != NULL ? 0 : -ENOMEM;
}

static int
add_jwk(struct jwt_keys *k, struct json_object *j, char *err)
{
	struct jwt_key new = { 0 };
	struct str use;
	int rc;

	if (!json_object_is_type(j, json_type_object))
		return jwt_invalid(err, "a key of the JWKS is no object");
	use = member(j, "use");
	if (use.p != NULL && !str_eqs(use, "sig"))
		return 0;
	rc = room(k, err);
	if (rc == 0)
		rc = of_gnutls(k->lib->pubkey_init(&new.key), err, "GnuTLS makes no key");
	if (rc == 0)
		rc = read_material(k->lib, j, new.key, err);
	if (rc <= 0)
		goto out;
	rc = classify(k->lib, &new, err);
	if (rc == 0)
		rc = read_labels(j, &new, err);
	if (rc == 0 && new.algs != 0) {
		k->v[k->n++] = new;
		return 0;
	}
out:
	key_release(k->lib, &new);
	return rc;
}

int
jwt_keys_add_jwks(struct jwt_keys *k, struct str text, char err[ACL_ERROR_MAX])
{
	struct json_object *j, *list = NULL;
	char why[128];
	bool is_null;
	int rc = 0;

	if (text.len > JWT_JWKS_MAX)
		return jwt_invalid(err, "the JWKS has more than %d KiB", JWT_JWKS_MAX >> 10);
	j = json_parse(text.len > 0 ? text.p : "", text.len, &is_null, why, sizeof(why));
	if (j == NULL)
		return jwt_invalid(err, "the JWKS is no JSON: %s", is_null ? "null" : why);
	if (!json_object_is_type(j, json_type_object) || !json_object_object_get_ex(j, "keys", &list) ||
	    !json_object_is_type(list, json_type_array))
		rc = jwt_invalid(err, "the JWKS has no list \"keys\"");
	for (size_t i = 0; rc == 0 && i < json_object_array_length(list); i++)
		rc = add_jwk(k, json_object_array_get_idx(list, i), err);
	json_object_put(j);
	return rc;
}

/* ---- signatures */

/* A positive INTEGER of DER. */
static size_t
put_integer(uint8_t *out, const uint8_t *v, size_t len)
{
	size_t pad;

	while (len > 1 && *v == 0) {
		v++;
		len--;
	}
	pad = *v >= 0x80;
	out[0] = 0x02;
	out[1] = (uint8_t)(len + pad);
	out[2] = 0;
	memcpy(out + 2 + pad, v, len);
	return 2 + pad + len;
}

enum { EC_BYTES_MAX = 66, DER_MAX = 3 + 2 * (3 + EC_BYTES_MAX) };

/* RFC 7518 3.4 has r and s side by side, GnuTLS wants SEQUENCE { r, s }. */
static size_t
ecdsa_to_der(struct str raw, uint8_t out[DER_MAX])
{
	uint8_t body[DER_MAX];
	size_t half = raw.len / 2, n = put_integer(body, (const uint8_t *)raw.p, half), head = 0;

	n += put_integer(body + n, (const uint8_t *)raw.p + half, half);
	out[head++] = 0x30;
	if (n >= 0x80)
		out[head++] = 0x81;
	out[head++] = (uint8_t)n;
	memcpy(out + head, body, n);
	return head + n;
}

static bool
verify_one(const struct gnutls_lib *lib, const struct jwt_key *k, const struct jwt_alg *alg, struct str text, struct str signature)
{
	const gnutls_datum_t data = { (unsigned char *)(uintptr_t)text.p, (unsigned)text.len };
	gnutls_datum_t sig = { (unsigned char *)(uintptr_t)signature.p, (unsigned)signature.len };
	uint8_t der[DER_MAX];

	if (alg->kind == JWT_EC) {
		if (signature.len != 2 * ((alg->bits + 7) / 8))
			return false;
		sig = (gnutls_datum_t){ der, (unsigned)ecdsa_to_der(signature, der) };
	}
	return lib->pubkey_verify_data2(k->key, alg->sign, 0, &data, &sig) >= 0;
}

bool
jwt_keys_verify(const struct jwt_keys *k, const struct jwt_alg *alg, struct str kid, struct str signed_part, struct str signature)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct jwt_key *key = &k->v[i];

		if ((key->algs & jwt_alg_bit(alg)) == 0 || (kid.p != NULL && key->kid != NULL && !str_eqs(kid, key->kid)))
			continue;
		if (verify_one(k->lib, key, alg, signed_part, signature))
			return true;
	}
	return false;
}
