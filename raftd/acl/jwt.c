/* jwt.c - a signed token (RFC 7515 in its compact form): taken apart, and its signature verified before anything of it is believed. */
#include "raftd/acl/jwt.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/json.h"
#include "raftd/acl/jwt_internal.h"

int
jwt_invalid(char err[ACL_ERROR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, ACL_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
jwt_denied(char err[ACL_ERROR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, ACL_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EACCES;
}

/* A token, decoded into memory of its own. */
struct parts {
	uint8_t *memory;
	size_t size;
	struct str header, payload, signature;
	struct str signed_part;		/* of the text */
};

static void
parts_release(struct parts *p)
{
	if (p->memory != NULL)
		sodium_memzero(p->memory, p->size);
	free(p->memory);
}

/* The text up to the next dot (or the end, of the last part), decoded behind *used. */
static int
decode_part(struct parts *p, struct str *rest, bool last, size_t *used, struct str *ret)
{
	const char *dot = rest->len > 0 ? memchr(rest->p, '.', rest->len) : NULL;
	struct str text = { rest->p, dot != NULL ? (size_t)(dot - rest->p) : rest->len };
	size_t n = 0;

	if ((dot == NULL) != last || text.len == 0 || jwt_base64(text, p->memory + *used, p->size - *used, &n) < 0)
		return -EINVAL;
	*ret = (struct str){ (char *)p->memory + *used, n };
	*used += n;
	if (!last)
		*rest = (struct str){ dot + 1, rest->len - text.len - 1 };
	return 0;
}

static int
take_apart(struct str token, struct parts *p, char *err)
{
	struct str rest = token;
	size_t used = 0;

	if (token.len == 0)
		return jwt_denied(err, "missing jwt");
	if (token.len > JWT_MAX)
		return jwt_denied(err, "error parsing token: it is longer than %d KiB", JWT_MAX >> 10);
	p->size = token.len;
	p->memory = malloc(p->size);
	if (p->memory == NULL)
		return -ENOMEM;
	if (decode_part(p, &rest, false, &used, &p->header) < 0 || decode_part(p, &rest, false, &used, &p->payload) < 0 ||
	    decode_part(p, &rest, true, &used, &p->signature) < 0)
		return jwt_denied(err, "error parsing token: it does not consist of three parts in base64url");
	p->signed_part = (struct str){ token.p, (size_t)(rest.p - token.p) - 1 };
	return 0;
}

/* What the header names; kid is copied, since the tree goes. */
struct header {
	const struct jwt_alg *alg;
	bool has_kid;
	size_t kid_len;
	char kid[JWT_KID_MAX];
};

static int
read_header_fields(struct json_object *j, struct header *h, char *err)
{
	struct json_object *v = NULL;

	if (!json_object_is_type(j, json_type_object))
		return jwt_denied(err, "error parsing token: its header is no JSON object");
	/* Extensions that must be understood; we know none. */
	if (json_object_object_get_ex(j, "crit", &v))
		return jwt_denied(err, "error parsing token: its header has critical extensions");
	if (!json_object_object_get_ex(j, "alg", &v) || !json_object_is_type(v, json_type_string))
		return jwt_denied(err, "error parsing token: its header names no algorithm");
	h->alg = jwt_alg(jwt_text(v));
	if (h->alg == NULL)
		return jwt_denied(err, "error verifying token: its algorithm is not supported");
	if (!json_object_object_get_ex(j, "kid", &v) || v == NULL)
		return 0;
	if (!json_object_is_type(v, json_type_string) || (size_t)json_object_get_string_len(v) > sizeof(h->kid))
		return jwt_denied(err, "error parsing token: the key that its header names is no text, or too long");
	h->has_kid = true;
	h->kid_len = (size_t)json_object_get_string_len(v);
	memcpy(h->kid, json_object_get_string(v), h->kid_len);
	return 0;
}

static int
read_header(struct str text, struct header *h, char *err)
{
	struct json_object *j;
	char why[128];
	bool is_null;
	int rc;

	*h = (struct header){ 0 };
	if (text.len > JWT_HEADER_MAX)
		return jwt_denied(err, "error parsing token: its header is longer than %d KiB", JWT_HEADER_MAX >> 10);
	j = json_parse(text.p, text.len, &is_null, why, sizeof(why));
	rc = read_header_fields(j, h, err);
	json_object_put(j);
	return rc;
}

static int
verify_signature(const struct jwt_method *m, const struct parts *p, const struct header *h, struct str jwks, char *err)
{
	struct str kid = h->has_kid ? (struct str){ h->kid, h->kid_len } : STR_NONE;
	struct jwt_keys *keys;
	bool good;
	int rc;

	if (m->algs != 0 && (m->algs & jwt_alg_bit(h->alg)) == 0)
		return jwt_denied(err, "error verifying token: its algorithm %s is none of JWTSupportedAlgs", h->alg->name);
	if (m->has_keys) {
		/* PEM has no names of keys: all that fit are tried. */
		good = jwt_keys_verify(&m->keys, h->alg, STR_NONE, p->signed_part, p->signature);
		return good ? 0 : jwt_denied(err, "no known key successfully validated the token signature");
	}
	keys = malloc(sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	rc = jwt_keys_init(keys, err);
	if (rc == 0)
		rc = jwt_keys_add_jwks(keys, jwks, err);
	if (rc == 0 && !jwt_keys_verify(keys, h->alg, kid, p->signed_part, p->signature))
		rc = jwt_denied(err, "no known key successfully validated the token signature");
	jwt_keys_release(keys);
	free(keys);
	return rc == -ENOMEM || rc == 0 ? rc : -EACCES;
}

int
jwt_verify(const struct jwt_method *m, struct str token, struct str jwks, int64_t now_ns, struct json_object **ret_claims,
    char ret_err[ACL_ERROR_MAX])
{
	struct parts p = { 0 };
	struct json_object *claims = NULL;
	struct header h;
	char why[128];
	bool is_null;
	int rc = take_apart(token, &p, ret_err);

	if (rc == 0)
		rc = read_header(p.header, &h, ret_err);
	if (rc == 0)
		rc = verify_signature(m, &p, &h, jwks, ret_err);
	if (rc < 0)
		goto out;
	claims = json_parse(p.payload.p, p.payload.len, &is_null, why, sizeof(why));
	rc = jwt_claims_check(m, claims, now_ns, ret_err);
	if (rc == 0)
		rc = jwt_claims_map(m, claims, ret_claims, ret_err);
out:
	json_object_put(claims);
	parts_release(&p);
	return rc;
}
