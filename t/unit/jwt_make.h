/*
 * jwt_make.h - keys and signed tokens for tests, made with GnuTLS.
 */
#ifndef T_UNIT_JWT_MAKE_H
#define T_UNIT_JWT_MAKE_H

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/str.h"

struct signer {
	const char *alg;
	gnutls_privkey_t key;
	gnutls_pubkey_t pub;
	gnutls_sign_algorithm_t sign;
	size_t half;			/* bytes of r and s; 0: no ECDSA */
	struct buf pem, jwk;
};

static void
add_base64(struct buf *out, const void *p, size_t n)
{
	size_t len = sodium_base64_encoded_len(n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

	assert_int_equal(buf_reserve(out, len), 0);
	assert_non_null(sodium_bin2base64((char *)out->data + out->len, len, p, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING));
	out->len += len - 1;
}

static void
add_member(struct buf *out, const char *name, const gnutls_datum_t *d, size_t width)
{
	const unsigned char *p = d->data;
	unsigned char fixed[1024] = { 0 };
	size_t n = d->size;

	while (n > 1 && *p == 0) {
		p++;
		n--;
	}
	if (width == 0)
		width = n;
	assert_true(n <= width && width <= sizeof(fixed));
	memcpy(fixed + width - n, p, n);
	assert_int_equal(buf_addf(out, ",\"%s\":\"", name), 0);
	add_base64(out, fixed, width);
	assert_int_equal(buf_addc(out, '"'), 0);
}

/* The members of a JWK, without braces. */
static void
write_jwk(struct signer *s)
{
	gnutls_datum_t x, y;
	gnutls_ecc_curve_t curve;

	if (s->alg[0] == 'R' || s->alg[0] == 'P') {
		assert_int_equal(gnutls_pubkey_export_rsa_raw(s->pub, &x, &y), 0);
		assert_int_equal(buf_adds(&s->jwk, "\"kty\":\"RSA\""), 0);
		add_member(&s->jwk, "n", &x, 0);
		add_member(&s->jwk, "e", &y, 0);
		gnutls_free(y.data);
	} else if (s->half > 0) {
		assert_int_equal(gnutls_pubkey_export_ecc_raw(s->pub, &curve, &x, &y), 0);
		assert_int_equal(buf_addf(&s->jwk, "\"kty\":\"EC\",\"crv\":\"P-%s\"", s->half == 32 ? "256" : s->half == 48 ? "384" : "521"), 0);
		add_member(&s->jwk, "x", &x, s->half);
		add_member(&s->jwk, "y", &y, s->half);
		gnutls_free(y.data);
	} else {
		assert_int_equal(gnutls_pubkey_export_ecc_raw(s->pub, &curve, &x, NULL), 0);
		assert_int_equal(buf_adds(&s->jwk, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\""), 0);
		add_base64(&s->jwk, x.data, x.size);
		assert_int_equal(buf_addc(&s->jwk, '"'), 0);
	}
	gnutls_free(x.data);
}

static void
signer_init(struct signer *s, const char *alg, unsigned rsa_bits)
{
	static const struct {
		const char *alg;
		gnutls_pk_algorithm_t pk;
		gnutls_sign_algorithm_t sign;
		gnutls_ecc_curve_t curve;
		size_t half;
	} algs[] = {
		{ "RS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA256, 0, 0 },
		{ "RS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA384, 0, 0 },
		{ "RS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA512, 0, 0 },
		{ "PS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_SHA256, 0, 0 },
		{ "PS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_SHA384, 0, 0 },
		{ "PS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_SHA512, 0, 0 },
		{ "ES256", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_ECC_CURVE_SECP256R1, 32 },
		{ "ES384", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA384, GNUTLS_ECC_CURVE_SECP384R1, 48 },
		{ "ES512", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA512, GNUTLS_ECC_CURVE_SECP521R1, 66 },
		{ "EdDSA", GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, GNUTLS_ECC_CURVE_ED25519, 0 },
	};
	gnutls_datum_t pem;
	size_t i = 0;

	while (strcmp(algs[i].alg, alg) != 0)
		assert_true(++i < ARRAY_LEN(algs));
	*s = (struct signer){ .alg = alg, .sign = algs[i].sign, .half = algs[i].half, .pem = BUF_INIT(16384), .jwk = BUF_INIT(16384) };
	assert_int_equal(gnutls_privkey_init(&s->key), 0);
	assert_int_equal(gnutls_privkey_generate2(s->key, algs[i].pk, algs[i].pk == GNUTLS_PK_RSA ? rsa_bits : GNUTLS_CURVE_TO_BITS(algs[i].curve), 0, NULL, 0), 0);
	assert_int_equal(gnutls_pubkey_init(&s->pub), 0);
	assert_int_equal(gnutls_pubkey_import_privkey(s->pub, s->key, 0, 0), 0);
	assert_int_equal(gnutls_pubkey_export2(s->pub, GNUTLS_X509_FMT_PEM, &pem), 0);
	assert_int_equal(buf_add(&s->pem, pem.data, pem.size), 0);
	gnutls_free(pem.data);
	write_jwk(s);
}

static void
signer_release(struct signer *s)
{
	gnutls_pubkey_deinit(s->pub);
	gnutls_privkey_deinit(s->key);
	buf_release(&s->pem);
	buf_release(&s->jwk);
}

/* The PEM text as a JSON string's inside. */
static const char *
pem_as_json(struct signer *s)
{
	static char text[16384];
	size_t n = 0;

	for (size_t i = 0; i < s->pem.len; i++) {
		if (s->pem.data[i] == '\n')
			text[n++] = '\\';
		text[n++] = s->pem.data[i] == '\n' ? 'n' : (char)s->pem.data[i];
	}
	text[n] = 0;
	return text;
}

static size_t
pad_to(unsigned char *out, size_t width, const gnutls_datum_t *d)
{
	size_t skip = d->size > width ? d->size - width : 0, n = d->size - skip;

	memset(out, 0, width - n);
	memcpy(out + width - n, d->data + skip, n);
	return width;
}

/* A token, NUL-terminated, in out: header and claims as they are given. */
static struct str
make_token_raw(struct signer *s, const char *header, const char *claims, struct buf *out)
{
	unsigned char raw[2 * 66];
	gnutls_datum_t data, sig, r, v;

	buf_clear(out);
	add_base64(out, header, strlen(header));
	assert_int_equal(buf_addc(out, '.'), 0);
	add_base64(out, claims, strlen(claims));
	data = (gnutls_datum_t){ out->data, (unsigned)out->len };
	assert_int_equal(gnutls_privkey_sign_data2(s->key, s->sign, 0, &data, &sig), 0);
	assert_int_equal(buf_addc(out, '.'), 0);
	if (s->half > 0) {
		assert_int_equal(gnutls_decode_rs_value(&sig, &r, &v), 0);
		(void)pad_to(raw, s->half, &r);
		(void)pad_to(raw + s->half, s->half, &v);
		add_base64(out, raw, 2 * s->half);
		gnutls_free(r.data);
		gnutls_free(v.data);
	} else {
		add_base64(out, sig.data, sig.size);
	}
	gnutls_free(sig.data);
	assert_non_null(buf_cstr(out));
	return (struct str){ (char *)out->data, out->len };
}

static inline struct str
make_token(struct signer *s, const char *claims, struct buf *out)
{
	char header[128];

	(void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", s->alg);
	return make_token_raw(s, header, claims, out);
}

#endif
