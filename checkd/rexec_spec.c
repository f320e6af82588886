/* rexec_spec.c - what a job of remote execution looks like. */
#include <string.h>

#include "checkd/rexec.h"
#include "lib/duration.h"
#include "lib/json.h"

/* A text member, copied; one that is absent or null is "". */
static int
text_member(struct json_object *j, const char *name, struct arena *a, struct str *ret)
{
	struct json_object *v = cfg_get(j, name);
	const char *copy;

	if (v != NULL && !json_object_is_type(v, json_type_string))
		return -EINVAL;
	copy = arena_strdup(a, v == NULL ? STR("") : (struct str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) });
	if (copy == NULL)
		return -ENOMEM;
	*ret = (struct str){ copy, v != NULL ? (size_t)json_object_get_string_len(v) : 0 };
	return 0;
}

static struct json_object *
parse_object(struct str text)
{
	struct json_object *j;
	bool null = false;
	char err[256];

	j = text.p == NULL ? NULL : json_parse(text.p, text.len, &null, err, sizeof(err));
	if (j == NULL || json_object_is_type(j, json_type_object))
		return j;
	json_object_put(j);
	return NULL;
}

static bool
is_uuid(struct str s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s.p[i] != '-' : strchr("0123456789abcdefABCDEF", s.p[i]) == NULL)
			return false;
	return true;
}

int
rexec_event_parse(struct str payload, struct arena *a, struct rexec_event *ret)
{
	struct json_object *j = parse_object(payload);
	struct rexec_event e = { .prefix = STR_NONE };
	int rc = j == NULL ? -EINVAL : text_member(j, "Prefix", a, &e.prefix);

	if (rc == 0)
		rc = text_member(j, "Session", a, &e.session);
	json_object_put(j);
	if (rc == 0 && (e.prefix.len == 0 || e.prefix.len > REXEC_PREFIX_MAX || !is_uuid(e.session)))
		rc = -EINVAL;
	/* As clients join paths: one slash, whatever the prefix ends with. */
	while (rc == 0 && e.prefix.len > 1 && e.prefix.p[e.prefix.len - 1] == '/')
		e.prefix.len--;
	if (rc == 0)
		*ret = e;
	return rc;
}

static int
args_member(struct json_object *j, struct arena *a, struct strs *ret)
{
	struct json_object *list = cfg_get(j, "Args");
	size_t n;

	if (list == NULL)
		return 0;
	if (!json_object_is_type(list, json_type_array))
		return -EINVAL;
	n = json_object_array_length(list);
	ret->v = arena_alloc(a, (n + 1) * sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(list, i);

		if (!json_object_is_type(v, json_type_string))
			return -EINVAL;
		ret->v[i] = (struct str){ arena_strdup(a, str_from(json_object_get_string(v))), strlen(json_object_get_string(v)) };
		if (ret->v[i].p == NULL)
			return -ENOMEM;
	}
	ret->n = n;
	return 0;
}

/* Base64, as bytes travel in JSON. */
static int
script_member(struct json_object *j, struct arena *a, struct str *ret)
{
	struct buf raw = BUF_INIT(REXEC_JOB_MAX);
	struct str text;
	int rc = text_member(j, "Script", a, &text);

	if (rc == 0)
		rc = base64_decode(text, &raw);
	if (rc == 0) {
		*ret = (struct str){ arena_strdup(a, (struct str){ (char *)raw.data, raw.len }), raw.len };
		if (ret->p == NULL)
			rc = -ENOMEM;
	}
	buf_release(&raw);
	return rc;
}

int
rexec_spec_parse(struct str json, struct arena *a, struct rexec_spec *ret)
{
	struct json_object *j = parse_object(json);
	struct rexec_spec s = { .command = STR_NONE };
	int64_t wait;
	int rc = j == NULL ? -EINVAL : text_member(j, "Command", a, &s.command);

	if (rc == 0)
		rc = args_member(j, a, &s.args);
	if (rc == 0)
		rc = script_member(j, a, &s.script);
	if (rc == 0) {
		wait = cfg_int(j, "Wait", 0);
		s.wait_ms = wait <= 0 ? REXEC_WAIT_MS : wait < REXEC_WAIT_MIN_MS * NS_PER_MS ? REXEC_WAIT_MIN_MS : (uint64_t)(wait / NS_PER_MS);
		if (s.command.len == 0 && s.args.n == 0 && s.script.len == 0)
			rc = -EINVAL;
	}
	json_object_put(j);
	if (rc == 0)
		*ret = s;
	return rc;
}
