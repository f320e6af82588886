/* cfg.c - dotted paths into a config slice. */
#include "lib/cfg.h"

#include <json-c/json.h>
#include <string.h>

enum { CFG_NAME_MAX = 128 };

struct json_object *
cfg_get(struct json_object *slice, const char *path)
{
	struct json_object *j = slice;

	while (j != NULL && *path != 0) {
		size_t n = strcspn(path, ".");
		char name[CFG_NAME_MAX];

		if (n >= sizeof(name) || !json_object_is_type(j, json_type_object))
			return NULL;
		memcpy(name, path, n);
		name[n] = 0;
		if (!json_object_object_get_ex(j, name, &j))
			return NULL;
		path += n + (path[n] == '.');
	}
	return j;
}

const char *
cfg_str(struct json_object *slice, const char *path, const char *dflt)
{
	struct json_object *j = cfg_get(slice, path);

	return json_object_is_type(j, json_type_string) ? json_object_get_string(j) : dflt;
}

int64_t
cfg_int(struct json_object *slice, const char *path, int64_t dflt)
{
	struct json_object *j = cfg_get(slice, path);

	return json_object_is_type(j, json_type_int) ? json_object_get_int64(j) : dflt;
}

double
cfg_double(struct json_object *slice, const char *path, double dflt)
{
	struct json_object *j = cfg_get(slice, path);

	return json_object_is_type(j, json_type_int) || json_object_is_type(j, json_type_double) ?
	    json_object_get_double(j) : dflt;
}

bool
cfg_bool(struct json_object *slice, const char *path, bool dflt)
{
	struct json_object *j = cfg_get(slice, path);

	return json_object_is_type(j, json_type_boolean) ? json_object_get_boolean(j) : dflt;
}

int64_t
cfg_ms(struct json_object *slice, const char *path, int64_t dflt)
{
	return cfg_int(slice, path, dflt);
}
