/* check.c - a raw tree against the schema: unknown keys, bad values, old names. */
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>
#include <string.h>

#include "consulctl/config/build.h"

static void check_object(struct problems *p, const char *prefix, struct json_object *raw, struct json_object *out);

/* Definitions of both spellings end in one list. */
static const char *
stored_path(const struct config_key *row)
{
	if (row->type == KT_SERVICE)
		return "services";
	return row->type == KT_CHECK ? "checks" : row->path;
}

static void
store(struct problems *p, const struct config_key *row, struct json_object *v, struct json_object *out)
{
	const char *path = stored_path(row);
	struct json_object *old = config_get(out, path), *both;
	int rc;

	if (old != NULL && json_object_is_type(old, json_type_array) && json_object_is_type(v, json_type_array)) {
		/* service and services in one file, or one key in two spellings */
		both = json_object_new_object();
		rc = both == NULL ? -ENOMEM : config_set(both, path, v);
		if (rc == 0)
			rc = config_merge(out, both);
		json_object_put(both);
	} else {
		rc = config_set(out, path, v);
	}
	if (rc < 0)
		problem(p, (struct hcl_pos){ 0 }, "%s: out of memory", path);
}

/* The old name of the datacenter that has the ACLs switched them on, too. */
static void
imply_acls(struct problems *p, const struct config_key *row, struct json_object *raw, struct json_object *out)
{
	if (strcmp(row->path, "acl_datacenter") == 0 && raw != NULL &&
	    config_set(out, CONFIG_ACL_IMPLIED, json_object_new_boolean(1)) < 0)
		problem(p, hcl_pos(raw), "%s: out of memory", row->path);
}

static void
check_key(struct problems *p, const struct config_key *row, struct json_object *raw, struct json_object *out)
{
	struct hcl_pos pos = hcl_pos(raw);
	struct json_object *v;

	if (row->class == KC_RENAMED) {
		config_note(p->c, LOG_WARN, "config key is deprecated: key=%s use=%s file=%s", row->path, row->dflt,
		    p->c->sources[p->source]);
		imply_acls(p, row, raw, out);
		row = config_key_find(str_from(row->dflt));
	}
	if (row->class == KC_IGNORED) {
		if (pos.line > 0)
			config_note(p->c, LOG_INFO, "config key has no effect here: key=%s file=%s line=%u", row->path,
			    p->c->sources[p->source], pos.line);
		else
			config_note(p->c, LOG_INFO, "config key has no effect here: key=%s file=%s", row->path,
			    p->c->sources[p->source]);
	}
	if (raw == NULL)
		return;
	v = config_value(p, row->type, row->path, raw);
	if (v != NULL && row->class == KC_IGNORED)
		json_object_put(v);
	else if (v != NULL)
		store(p, row, v, out);
}

/* A dot in a name would lead the path of another key astray. */
static bool
names_other_key(const char *name, struct str path)
{
	for (size_t i = path.len - strlen(name); i < path.len; i++)
		if (path.p[i] == '.' && config_key_is_object((struct str){ path.p, i }))
			return true;
	return false;
}

static void
check_member(struct problems *p, const char *path, const char *name, struct json_object *parent, struct json_object *v,
    struct json_object *out)
{
	struct str full = str_from(path);
	const struct config_key *row = names_other_key(name, full) ? NULL : config_key_find(full);
	struct hcl_pos pos = v != NULL ? hcl_pos(v) : hcl_pos(parent);

	if (row != NULL) {
		check_key(p, row, v, out);
		return;
	}
	if (names_other_key(name, full) || !config_key_is_object(full)) {
		problem(p, pos, "invalid config key %s", path);
		return;
	}
	if (v == NULL)
		return;
	if (config_single(v) != NULL)
		check_object(p, path, config_single(v), out);
	else if (!json_object_is_type(v, json_type_array) || json_object_array_length(v) > 0)
		problem(p, pos, "%s: expected an object", path);
}

static void
check_object(struct problems *p, const char *prefix, struct json_object *raw, struct json_object *out)
{
	json_object_object_foreach(raw, key, v) {
		char path[CONFIG_PATH_MAX];
		int n = snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix != 0 ? "." : "", key);

		if (n < 0 || (size_t)n >= sizeof(path) || *key == 0)
			problem(p, hcl_pos(raw), "invalid config key %s%s%.100s", prefix, *prefix != 0 ? "." : "", key);
		else
			check_member(p, path, key, raw, v, out);
	}
}

int
config_check(struct config *c, unsigned source, struct json_object *raw, struct json_object **ret, struct buf *err)
{
	struct json_object *out = json_object_new_object();
	struct problems p;
	int rc;

	if (out == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	problems_init(&p, c, source);
	check_object(&p, "", raw, out);
	rc = problems_end(&p, err);
	if (rc < 0) {
		json_object_put(out);
		return rc;
	}
	*ret = out;
	return 0;
}
