/* tree.c - trees of keys: reading and setting by path, merging. */
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/config/build.h"

/* The next name of a path; false at its end. "disable_compat_1.9" is never stored, so each dot separates. */
static bool
next_name(const char **path, char name[CONFIG_PATH_MAX])
{
	size_t n = strcspn(*path, ".");

	if (n == 0 || n >= CONFIG_PATH_MAX)
		return false;
	memcpy(name, *path, n);
	name[n] = 0;
	*path += n + ((*path)[n] == '.');
	return true;
}

struct json_object *
config_get(struct json_object *tree, const char *path)
{
	char name[CONFIG_PATH_MAX];

	while (tree != NULL && next_name(&path, name)) {
		struct json_object *v = NULL;

		if (!json_object_is_type(tree, json_type_object) || !json_object_object_get_ex(tree, name, &v))
			return NULL;
		tree = v;
	}
	return tree;
}

int
config_set(struct json_object *tree, const char *path, struct json_object *value)
{
	char name[CONFIG_PATH_MAX];

	if (value == NULL)
		return -ENOMEM;
	while (next_name(&path, name) && *path != 0) {
		struct json_object *v = NULL;

		if (!json_object_object_get_ex(tree, name, &v) || !json_object_is_type(v, json_type_object)) {
			v = json_object_new_object();
			if (v == NULL || json_object_object_add(tree, name, v) < 0) {
				json_object_put(v);
				json_object_put(value);
				return -ENOMEM;
			}
		}
		tree = v;
	}
	if (json_object_object_add(tree, name, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

void
config_remove(struct json_object *tree, const char *path)
{
	const char *dot = strrchr(path, '.');
	char parent[CONFIG_PATH_MAX];

	if (dot != NULL) {
		(void)snprintf(parent, sizeof(parent), "%.*s", (int)(dot - path), path);
		tree = config_get(tree, parent);
	}
	if (tree != NULL)
		json_object_object_del(tree, dot != NULL ? dot + 1 : path);
}

static int
append(struct json_object *dst, struct json_object *src)
{
	for (size_t i = 0; i < json_object_array_length(src); i++) {
		struct json_object *v = json_object_get(json_object_array_get_idx(src, i));

		if (json_object_array_add(dst, v) < 0) {
			json_object_put(v);
			return -ENOMEM;
		}
	}
	hcl_pos_set(dst, hcl_pos(src));
	return 0;
}

int
config_merge(struct json_object *dst, struct json_object *src)
{
	int rc = 0;

	json_object_object_foreach(src, key, v) {
		struct json_object *old = NULL;
		bool both = json_object_object_get_ex(dst, key, &old) && json_object_get_type(old) == json_object_get_type(v);

		if (both && json_object_is_type(v, json_type_object)) {
			rc = config_merge(old, v);
			hcl_pos_set(old, hcl_pos(v));
		} else if (both && json_object_is_type(v, json_type_array)) {
			rc = append(old, v);
		} else if (json_object_object_add(dst, key, json_object_get(v)) < 0) {
			json_object_put(v);
			rc = -ENOMEM;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}
