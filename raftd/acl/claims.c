/* claims.c - what a verified token says (RFC 7519): whether it holds here, now and for us, and what selectors see of it. */
#include <json-c/linkhash.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/acl/jwt_internal.h"

/* ---- whether they hold */

/* The year 2242: leeways can be added, and who means later than that means never. */
#define CLAIM_SECONDS_MAX (INT64_C(1) << 33)

/* A time in seconds; 0 when it is not there. */
static int
read_time(struct json_object *claims, const char *name, int64_t *ret, char *err)
{
	struct json_object *v = NULL;
	double d;

	*ret = 0;
	if (!json_object_object_get_ex(claims, name, &v) || v == NULL)
		return 0;
	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
		return jwt_denied(err, "error validating claims: the %s claim is no number", name);
	d = json_object_get_double(v);
	if (d > (double)CLAIM_SECONDS_MAX)
		d = (double)CLAIM_SECONDS_MAX;
	if (d < -(double)CLAIM_SECONDS_MAX)
		d = -(double)CLAIM_SECONDS_MAX;
	*ret = (int64_t)d;
	return 0;
}

struct times {
	int64_t issued, expires, not_before;
};

static int
read_times(const struct jwt_method *m, struct json_object *claims, struct times *t, char *err)
{
	int rc = read_time(claims, "iat", &t->issued, err);

	if (rc == 0)
		rc = read_time(claims, "exp", &t->expires, err);
	if (rc == 0)
		rc = read_time(claims, "nbf", &t->not_before, err);
	if (rc < 0)
		return rc;
	if (t->issued == 0 && t->expires == 0 && t->not_before == 0)
		return jwt_denied(err, "no issue time, notbefore, or expiration time encoded in token");
	/* What is missing follows from what is there. */
	if (t->expires == 0)
		t->expires = (t->not_before > t->issued ? t->not_before : t->issued) + m->expiration_leeway;
	if (t->not_before == 0)
		t->not_before = t->issued != 0 ? t->issued : t->expires - m->not_before_leeway;
	return 0;
}

static int
check_times(const struct jwt_method *m, struct json_object *claims, int64_t now_ns, char *err)
{
	int64_t skew = m->skew, now = now_ns / NS_PER_S;
	struct times t;
	int rc = read_times(m, claims, &t, err);

	if (rc < 0)
		return rc;
	if (now + skew < t.not_before)
		return jwt_denied(err, "error validating claims: validation failed, token not valid yet (nbf)");
	/* At the very second it is still good, a nanosecond behind it no more. */
	if (now - skew > t.expires || (now - skew == t.expires && now_ns % NS_PER_S > 0))
		return jwt_denied(err, "error validating claims: validation failed, token is expired (exp)");
	if (now + skew < t.issued)
		return jwt_denied(err, "error validating claims: validation failed, token issued in the future (iat)");
	return 0;
}

static bool
is_bound(const struct jwt_method *m, struct json_object *audience)
{
	if (!json_object_is_type(audience, json_type_string))
		return false;
	for (size_t i = 0; i < json_object_array_length(m->audiences); i++)
		if (str_eq(jwt_text(json_object_array_get_idx(m->audiences, i)), jwt_text(audience)))
			return true;
	return false;
}

/* One text, or a list of them. */
static int
check_audience(const struct jwt_method *m, struct json_object *claims, char *err)
{
	struct json_object *aud = NULL;
	bool list, found = false;
	size_t n;

	(void)json_object_object_get_ex(claims, "aud", &aud);
	list = json_object_is_type(aud, json_type_array);
	if (aud != NULL && !list && !json_object_is_type(aud, json_type_string))
		return jwt_denied(err, "error validating claims: the aud claim is neither a text nor a list");
	n = list ? json_object_array_length(aud) : aud != NULL;
	if (m->audiences == NULL)
		return n == 0 ? 0 : jwt_denied(err, "error validating claims: audience claim found in JWT but no audiences are bound");
	for (size_t i = 0; i < n && !found; i++)
		found = is_bound(m, list ? json_object_array_get_idx(aud, i) : aud);
	return found ? 0 : jwt_denied(err, "error validating claims: aud claim does not match any bound audience");
}

int
jwt_claims_check(const struct jwt_method *m, struct json_object *claims, int64_t now_ns, char err[ACL_ERROR_MAX])
{
	struct json_object *iss = NULL;
	int rc;

	if (!json_object_is_type(claims, json_type_object))
		return jwt_denied(err, "error parsing token: its claims are no JSON object");
	if (m->issuer != NULL && (!json_object_object_get_ex(claims, "iss", &iss) || !json_object_is_type(iss, json_type_string) ||
	    !str_eqs(jwt_text(iss), m->issuer)))
		return jwt_denied(err, "invalid issuer (iss) claim");
	rc = check_times(m, claims, now_ns, err);
	return rc < 0 ? rc : check_audience(m, claims, err);
}

/* ---- what is seen of them */

/* One step of a JSON pointer (RFC 6901): up to the next slash, with ~1 and ~0 for / and ~. */
static struct json_object *
step(struct json_object *v, const char **p)
{
	size_t n = strcspn(*p, "/"), k = 0;
	struct json_object *child = NULL;
	char name[256], *end;
	unsigned long i;

	if (n >= sizeof(name))
		return NULL;
	for (size_t at = 0; at < n; at++) {
		bool escape = (*p)[at] == '~' && at + 1 < n && ((*p)[at + 1] == '0' || (*p)[at + 1] == '1');

		name[k++] = escape ? ((*p)[at + 1] == '0' ? '~' : '/') : (*p)[at];
		at += escape;
	}
	name[k] = 0;
	*p += n;
	if (json_object_is_type(v, json_type_object)) {
		(void)json_object_object_get_ex(v, name, &child);
		return child;
	}
	if (!json_object_is_type(v, json_type_array) || k == 0 || k > 9 || strspn(name, "0123456789") != k)
		return NULL;
	i = strtoul(name, &end, 10);
	return i < json_object_array_length(v) ? json_object_array_get_idx(v, i) : NULL;
}

/* A claim by its name, or by a JSON pointer. NULL: not there, or null. */
static struct json_object *
find(struct json_object *claims, const char *name)
{
	struct json_object *v = claims;

	if (*name != '/') {
		(void)json_object_object_get_ex(claims, name, &v);
		return v != claims ? v : NULL;
	}
	while (v != NULL && *name == '/') {
		name++;
		v = step(v, &name);
	}
	return v;
}

/* A text, number or truth as text. 0: neither. */
static int
stringify(struct json_object *v, struct json_object **ret)
{
	char number[32];

	if (json_object_is_type(v, json_type_string)) {
		*ret = json_object_new_string_len(json_object_get_string(v), json_object_get_string_len(v));
	} else if (json_object_is_type(v, json_type_boolean)) {
		*ret = json_object_new_string(json_object_get_boolean(v) ? "true" : "false");
	} else if (json_object_is_type(v, json_type_int)) {
		(void)snprintf(number, sizeof(number), "%" PRId64, json_object_get_int64(v));
		*ret = json_object_new_string(number);
	} else if (json_object_is_type(v, json_type_double) && fabs(json_object_get_double(v)) < 9e18) {
		/* Whole numbers alone are shown, as Consul does. */
		(void)snprintf(number, sizeof(number), "%" PRId64, (int64_t)json_object_get_double(v));
		*ret = json_object_new_string(number);
	} else {
		return 0;
	}
	return *ret != NULL ? 1 : -ENOMEM;
}

/* value goes, whatever happens. */
static int
put(struct json_object *obj, const char *name, struct json_object *value)
{
	if (value != NULL && json_object_object_add(obj, name, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static int
map_value(struct json_object *claims, const char *claim, const char *name, struct json_object *out, char *err)
{
	struct json_object *v = find(claims, claim), *text = NULL;
	int rc;

	if (v == NULL)
		return put(out, name, json_object_new_string(""));
	rc = stringify(v, &text);
	if (rc == 0)
		return jwt_denied(err, "error converting claim '%.64s' to string", claim);
	return rc < 0 ? rc : put(out, name, text);
}

/* Empty texts are left out. */
static int
add_entry(struct json_object *list, struct json_object *v, const char *claim, char *err)
{
	struct json_object *text = NULL;
	int rc = stringify(v, &text);

	if (rc == 0)
		return jwt_denied(err, "\"%.64s\" list claim could not be converted to string list", claim);
	if (rc < 0)
		return rc;
	if (json_object_get_string_len(text) > 0 && json_object_array_add(list, text) == 0)
		return 0;
	rc = json_object_get_string_len(text) > 0 ? -ENOMEM : 0;
	json_object_put(text);
	return rc;
}

static int
map_list(struct json_object *claims, const char *claim, const char *name, struct json_object *out, char *err)
{
	struct json_object *v = find(claims, claim), *list = json_object_new_array();
	bool many = json_object_is_type(v, json_type_array);
	size_t n = many ? json_object_array_length(v) : v != NULL;
	int rc = list != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_entry(list, many ? json_object_array_get_idx(v, i) : v, claim, err);
	if (rc == 0)
		return put(out, name, list);
	json_object_put(list);
	return rc;
}

static int
map_all(struct json_object *mappings, struct json_object *claims, struct json_object *out,
    int (*map)(struct json_object *, const char *, const char *, struct json_object *, char *), char *err)
{
	int rc;

	if (mappings == NULL)
		return 0;
	json_object_object_foreach(mappings, claim, target) {
		rc = map(claims, claim, json_object_get_string(target), out, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
jwt_claims_map(const struct jwt_method *m, struct json_object *claims, struct json_object **ret, char err[ACL_ERROR_MAX])
{
	struct json_object *out = json_object_new_object(), *values = json_object_new_object(), *lists = json_object_new_object();
	int rc = -ENOMEM;

	if (out == NULL || values == NULL || lists == NULL)
		goto out;
	rc = map_all(m->values, claims, values, map_value, err);
	if (rc == 0)
		rc = map_all(m->lists, claims, lists, map_list, err);
	if (rc == 0)
		rc = put(out, "value", json_object_get(values));
	if (rc == 0)
		rc = put(out, "list", json_object_get(lists));
out:
	json_object_put(values);
	json_object_put(lists);
	if (rc == 0)
		*ret = out;
	else
		json_object_put(out);
	return rc;
}
