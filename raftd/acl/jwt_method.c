/* jwt_method.c - the Config of an auth method of type jwt, read and checked. */
#include <json-c/linkhash.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/acl/jwt_internal.h"

enum { CLAIM_LEEWAY_S = 150, SKEW_LEEWAY_S = 60 };

/* ---- kinds of fields */

static int
check_strings(const char *name, struct json_object *v, size_t max, char *err)
{
	if (!json_object_is_type(v, json_type_array))
		return jwt_invalid(err, "%s needs a list of strings", name);
	if (json_object_array_length(v) > max)
		return jwt_invalid(err, "%s has more than %zu entries", name, max);
	for (size_t i = 0; i < json_object_array_length(v); i++)
		if (!json_object_is_type(json_object_array_get_idx(v, i), json_type_string))
			return jwt_invalid(err, "%s needs a list of strings", name);
	return 0;
}

static bool
maps_twice(struct json_object *v, struct str target, const char *but)
{
	json_object_object_foreach(v, key, child) {
		if (strcmp(key, but) != 0 && json_object_is_type(child, json_type_string) && str_eq(jwt_text(child), target))
			return true;
	}
	return false;
}

/* Claims to the names that selectors know them by. */
static int
check_mappings(const char *name, struct json_object *v, char *err)
{
	if (!json_object_is_type(v, json_type_object))
		return jwt_invalid(err, "%s needs an object of strings", name);
	if (json_object_object_length(v) > JWT_LIST_MAX)
		return jwt_invalid(err, "%s has more than %d entries", name, JWT_LIST_MAX);
	json_object_object_foreach(v, key, child) {
		if (!json_object_is_type(child, json_type_string))
			return jwt_invalid(err, "%s needs an object of strings", name);
		if (maps_twice(v, jwt_text(child), key))
			return jwt_invalid(err, "%s contains multiple mappings for key \"%.64s\"", name, json_object_get_string(child));
	}
	return 0;
}

static int
set_text(const char *name, struct json_object *v, char **ret, char *err)
{
	if (!json_object_is_type(v, json_type_string))
		return jwt_invalid(err, "%s needs a string", name);
	if (json_object_get_string_len(v) == 0)
		return 0;
	*ret = strdup(json_object_get_string(v));
	return *ret != NULL ? 0 : -ENOMEM;
}

/* Nanoseconds, or "90s", into seconds: 0 the default, below 0 none. */
static int
set_leeway(const char *name, struct json_object *v, int64_t *ret, char *err)
{
	int64_t ns = 0;
	int rc = 0;

	if (json_object_is_type(v, json_type_string))
		rc = duration_parse(jwt_text(v), &ns);
	else if (json_object_is_type(v, json_type_int))
		ns = json_object_get_int64(v);
	else
		rc = -EINVAL;
	if (rc < 0)
		return jwt_invalid(err, "%s needs a duration", name);
	if (ns != 0)
		*ret = ns < 0 ? 0 : ns / NS_PER_S;
	return 0;
}

/* ---- fields */

static int
set_algs(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = check_strings("JWTSupportedAlgs", v, JWT_LIST_MAX, err);

	for (size_t i = 0; rc == 0 && i < json_object_array_length(v); i++) {
		struct json_object *name = json_object_array_get_idx(v, i);
		const struct jwt_alg *alg = jwt_alg(jwt_text(name));

		if (alg == NULL)
			return jwt_invalid(err, "Invalid supported algorithm: %.64s", json_object_get_string(name));
		m->algs |= jwt_alg_bit(alg);
	}
	return rc;
}

static int
set_keys(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = check_strings("JWTValidationPubKeys", v, JWT_KEYS_MAX, err);

	if (rc < 0 || json_object_array_length(v) == 0)
		return rc;
	rc = jwt_keys_init(&m->keys, err);
	if (rc < 0)
		return rc;
	m->has_keys = true;
	for (size_t i = 0; rc == 0 && i < json_object_array_length(v); i++)
		rc = jwt_keys_add_pem(&m->keys, jwt_text(json_object_array_get_idx(v, i)), err);
	return rc;
}

static int
set_audiences(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = check_strings("BoundAudiences", v, JWT_LIST_MAX, err);

	if (rc == 0 && json_object_array_length(v) > 0)
		m->audiences = json_object_get(v);
	return rc;
}

static int
set_values(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = check_mappings("ClaimMappings", v, err);

	if (rc == 0)
		m->values = json_object_get(v);
	return rc;
}

static int
set_lists(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = check_mappings("ListClaimMappings", v, err);

	if (rc == 0)
		m->lists = json_object_get(v);
	return rc;
}

static int
set_issuer(struct jwt_method *m, struct json_object *v, char *err)
{
	return set_text("BoundIssuer", v, &m->issuer, err);
}

static int
set_jwks_file(struct jwt_method *m, struct json_object *v, char *err)
{
	int rc = set_text("JWKSFile", v, &m->jwks_file, err);

	if (rc == 0 && m->jwks_file != NULL && m->jwks_file[0] != '/')
		rc = jwt_invalid(err, "JWKSFile needs an absolute path: a file on each server");
	return rc;
}

static int
set_expiration(struct jwt_method *m, struct json_object *v, char *err)
{
	return set_leeway("ExpirationLeeway", v, &m->expiration_leeway, err);
}

static int
set_not_before(struct jwt_method *m, struct json_object *v, char *err)
{
	return set_leeway("NotBeforeLeeway", v, &m->not_before_leeway, err);
}

static int
set_skew(struct jwt_method *m, struct json_object *v, char *err)
{
	return set_leeway("ClockSkewLeeway", v, &m->skew, err);
}

/* Where keys would have to be fetched from. Empty is as good as absent. */
static int
refuse_remote(struct jwt_method *m, struct json_object *v, char *err)
{
	(void)m;
	if (json_object_is_type(v, json_type_string) && json_object_get_string_len(v) == 0)
		return 0;
	return jwt_invalid(err, "JWKSURL and OIDCDiscoveryURL are not supported: servers fetch no keys from the network. "
	    "Keep the keys in JWTValidationPubKeys, or in a file on each server that JWKSFile names");
}

static const struct field {
	const char *name;
	int (*set)(struct jwt_method *m, struct json_object *v, char *err);
} fields[] = {
	{ "JWTValidationPubKeys", set_keys },
	{ "JWKSFile", set_jwks_file },
	{ "JWTSupportedAlgs", set_algs },
	{ "BoundIssuer", set_issuer },
	{ "BoundAudiences", set_audiences },
	{ "ClaimMappings", set_values },
	{ "ListClaimMappings", set_lists },
	{ "ExpirationLeeway", set_expiration },
	{ "NotBeforeLeeway", set_not_before },
	{ "ClockSkewLeeway", set_skew },
	{ "JWKSURL", refuse_remote },
	{ "JWKSCACert", refuse_remote },
	{ "OIDCDiscoveryURL", refuse_remote },
	{ "OIDCDiscoveryCACert", refuse_remote },
};

static int
set_field(struct jwt_method *m, const char *name, struct json_object *v, char *err)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (!str_eq_nocase(str_from(name), str_from(fields[i].name)))
			continue;
		/* null is as good as absent. */
		return v != NULL ? fields[i].set(m, v, err) : 0;
	}
	return jwt_invalid(err, "Config has an unknown field \"%.64s\"", name);
}

/* A name in two cases is one field. */
static int
check_twice(struct json_object *config, char *err)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		unsigned n = 0;

		json_object_object_foreach(config, key, v) {
			(void)v;
			n += str_eq_nocase(str_from(key), str_from(fields[i].name));
		}
		if (n > 1)
			return jwt_invalid(err, "Config has the field %s more than once", fields[i].name);
	}
	return 0;
}

int
jwt_method_new(struct json_object *config, struct jwt_method **ret, char ret_err[ACL_ERROR_MAX])
{
	struct jwt_method *m;
	int rc;

	if (!json_object_is_type(config, json_type_object))
		return jwt_invalid(ret_err, "Config needs an object");
	rc = check_twice(config, ret_err);
	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	m->expiration_leeway = m->not_before_leeway = CLAIM_LEEWAY_S;
	m->skew = SKEW_LEEWAY_S;
	json_object_object_foreach(config, name, v) {
		rc = set_field(m, name, v, ret_err);
		if (rc < 0)
			goto fail;
	}
	if (m->has_keys == (m->jwks_file != NULL)) {
		rc = jwt_invalid(ret_err, "exactly one of 'JWTValidationPubKeys' and 'JWKSFile' must be set for type \"jwt\"");
		goto fail;
	}
	*ret = m;
	return 0;
fail:
	jwt_method_free(m);
	return rc;
}

void
jwt_method_free(struct jwt_method *m)
{
	if (m == NULL)
		return;
	if (m->has_keys)
		jwt_keys_release(&m->keys);
	free(m->jwks_file);
	free(m->issuer);
	json_object_put(m->audiences);
	json_object_put(m->values);
	json_object_put(m->lists);
	free(m);
}

const char *
jwt_method_jwks_file(const struct jwt_method *m)
{
	return m->jwks_file;
}
