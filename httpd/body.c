/* body.c - JSON bodies, parsed within bounds. */
#include "httpd/body.h"

#include "httpd/respond.h"
#include "lib/json.h"

struct json_object *
body_parse(struct request *r, const char *prefix, bool *ret_null)
{
	char err[256] = "";
	struct json_object *j;

	*ret_null = false;
	j = json_parse(r->body.len > 0 ? (const char *)r->body.data : "", r->body.len, ret_null, err, sizeof(err));
	if (j == NULL && !*ret_null)
		respond_text(r, 400, "%s: %s", prefix, err);
	return j;
}

bool
body_record(struct request *r, const struct record *rec, void *obj, bool strict)
{
	static const char prefix[] = "Request decode failed";
	char err[512] = "";
	bool null;
	struct json_object *j = body_parse(r, prefix, &null);
	int rc;

	if (j == NULL)
		return null;
	rc = record_from_json(rec, j, obj, &r->arena, strict, err, sizeof(err));
	(void)json_object_put(j);
	if (rc < 0)
		respond_text(r, 400, "%s: %s", prefix, err);
	return rc == 0;
}
