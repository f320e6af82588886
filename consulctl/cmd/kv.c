/*
 * kv.c - what the kv commands share.
 */
#include <stdio.h>

#include "consulctl/cmd/kv.h"
#include "consulctl/value.h"
#include "lib/json.h"

const char *
kv_key(const char *arg)
{
	return arg[0] == '/' ? arg + 1 : arg;
}

int
kv_value(struct json_object *entry, struct buf *out)
{
	struct json_object *v = value_get(entry, "Value");

	if (!json_object_is_type(v, json_type_string))
		return 0;
	return base64_decode((struct str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) }, out);
}

int
kv_list(struct client *c, struct request *r, const char *prefix, struct json_object **ret)
{
	bool is_null = false;
	int rc;

	request_init(r, "GET", "/v1/kv/", prefix);
	request_param(r, "recurse", NULL);
	if (c->stale)
		request_param(r, "stale", NULL);
	rc = client_call(c, r, true);
	*ret = NULL;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	*ret = request_json(r, &is_null);
	return *ret != NULL || is_null ? 0 : -EBADMSG;
}
