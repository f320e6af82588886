/*
 * jwt_internal.h - what the files of jwt.h share.
 */
#ifndef RAFTD_ACL_JWT_INTERNAL_H
#define RAFTD_ACL_JWT_INTERNAL_H

#include "lib/gnutls_lib.h"
#include "raftd/acl/jwt.h"

enum {
	JWT_RSA_BITS_MIN = 2048,	/* RFC 7518, 3.3 */
	JWT_RSA_BITS_MAX = 8192,	/* what a verification may cost */
	JWT_PEM_MAX = 16 * 1024,
	JWT_KID_MAX = 256,
	JWT_HEADER_MAX = 4 * 1024,
	JWT_LIST_MAX = 256,		/* audiences, mappings */
};

/* A sentence for whoever asked: -EINVAL with it, and -EACCES. */
int PRINTF(2, 3) jwt_invalid(char err[ACL_ERROR_MAX], const char *fmt, ...);
int PRINTF(2, 3) jwt_denied(char err[ACL_ERROR_MAX], const char *fmt, ...);

enum jwt_kind { JWT_RSA, JWT_EC, JWT_ED25519 };

struct jwt_alg {
	const char *name;
	enum jwt_kind kind;
	unsigned bits;			/* of the curve; 0: any key of the kind */
	gnutls_sign_algorithm_t sign;
};

/* NULL: not one that we verify. */
const struct jwt_alg *jwt_alg(struct str name);
/* One bit each, for sets. */
unsigned jwt_alg_bit(const struct jwt_alg *a);

struct jwt_key {
	gnutls_pubkey_t key;
	enum jwt_kind kind;
	unsigned bits;
	unsigned algs;			/* bits of those that it is for */
	char *kid;			/* NULL: none */
};

struct jwt_keys {
	const struct gnutls_lib *lib;
	size_t n;
	struct jwt_key v[JWT_KEYS_MAX];
};

/* -ENOENT when there is no GnuTLS. */
int MUST_CHECK jwt_keys_init(struct jwt_keys *k, char err[ACL_ERROR_MAX]);
void jwt_keys_release(struct jwt_keys *k);
/* A public key or a certificate. -EINVAL with a sentence, -ENOMEM. */
int MUST_CHECK jwt_keys_add_pem(struct jwt_keys *k, struct str pem, char err[ACL_ERROR_MAX]);
/* A JSON Web Key Set; keys of kinds that we don't know, and those for encryption, are left out. */
int MUST_CHECK jwt_keys_add_jwks(struct jwt_keys *k, struct str text, char err[ACL_ERROR_MAX]);

/* Whether one of the keys made this signature. kid: of the token's header, absent when it has none. */
bool jwt_keys_verify(const struct jwt_keys *k, const struct jwt_alg *alg, struct str kid, struct str signed_part, struct str signature);

/* base64url without padding into at most max bytes, which are the caller's. -EINVAL. */
int MUST_CHECK jwt_base64(struct str s, uint8_t *out, size_t max, size_t *ret_len);

struct jwt_method {
	struct jwt_keys keys;		/* of JWTValidationPubKeys */
	bool has_keys;			/* keys was initialised */
	char *jwks_file;
	unsigned algs;			/* bits; 0: whatever fits the key */
	char *issuer;			/* NULL: any */
	struct json_object *audiences;	/* array of strings, NULL: none */
	struct json_object *values, *lists;	/* claim: name; NULL: none */
	int64_t expiration_leeway, not_before_leeway, skew;	/* seconds */
};

/* Issuer, times and audience of verified claims. -EACCES with a sentence. */
int MUST_CHECK jwt_claims_check(const struct jwt_method *m, struct json_object *claims, int64_t now_ns, char err[ACL_ERROR_MAX]);
/* What selectors look at. -EACCES with a sentence, -ENOMEM. */
int MUST_CHECK jwt_claims_map(const struct jwt_method *m, struct json_object *claims, struct json_object **ret, char err[ACL_ERROR_MAX]);

static inline struct str
jwt_text(struct json_object *v)
{
	return (struct str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
}

#endif
