/*
 * watch_plan.c - questions and documents of the types of watches.
 */
#include <stdlib.h>

#include "consulctl/value.h"
#include "consulctl/cmd/watch_plan.h"
#include "lib/json.h"

/* Which parameters a type takes; any other one is refused. */
static const struct {
	const char *name, *params;
} types[] = {
	[WATCH_KEY] = { "key", " key " },
	[WATCH_KEYPREFIX] = { "keyprefix", " prefix " },
	[WATCH_SERVICES] = { "services", " " },
	[WATCH_NODES] = { "nodes", " " },
	[WATCH_SERVICE] = { "service", " service tag passingonly " },
	[WATCH_CHECKS] = { "checks", " service state tag " },
	[WATCH_EVENT] = { "event", " name " },
};

static int
refuse(struct buf *err, const char *sentence, const char *detail)
{
	int rc = buf_addf(err, "%s%s", sentence, detail);

	return rc < 0 ? rc : -EINVAL;
}

static int
find_type(struct watch_plan *p, struct buf *err)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(p->type_name, types[i].name) == 0) {
			p->type = (enum watch_type)i;
			return 0;
		}
	}
	return refuse(err, "Unsupported watch type: ", p->type_name);
}

static int
check_params(const struct watch_plan *p, struct buf *err)
{
	static const char *const all[] = { "key", "name", "passingonly", "prefix", "service", "state", "tag" };
	int n = 0, rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(all); i++) {
		char word[16];
		const char *first = options_list(p->options, all[i], 0);

		(void)snprintf(word, sizeof(word), " %s ", all[i]);
		if (first == NULL || *first == '\0' || strstr(types[p->type].params, word) != NULL)
			continue;
		rc = buf_addf(err, "%s%s", n++ == 0 ? "Invalid parameters: [" : " ", all[i]);
	}
	if (rc == 0 && n > 0)
		rc = buf_addc(err, ']');
	return rc < 0 ? rc : n > 0 ? -EINVAL : 0;
}

static int
check_needs(const struct watch_plan *p, struct buf *err)
{
	if (p->type == WATCH_KEY && *p->key == '\0')
		return refuse(err, "Must specify a single key to watch", "");
	if (p->type == WATCH_KEYPREFIX && *p->prefix == '\0')
		return refuse(err, "Must specify a single prefix to watch", "");
	if (p->type == WATCH_SERVICE && *p->service == '\0')
		return refuse(err, "Must specify a single service to watch", "");
	if (p->type == WATCH_CHECKS && *p->service != '\0' && *p->state != '\0')
		return refuse(err, "Cannot specify service and state", "");
	return 0;
}

int
watch_plan_init(struct watch_plan *p, const struct options *o, struct buf *err)
{
	const char *passing = options_str(o, "passingonly");
	int rc;

	*p = (struct watch_plan){
		.type_name = options_str(o, "type"), .key = options_str(o, "key"), .prefix = options_str(o, "prefix"),
		.service = options_str(o, "service"), .state = options_str(o, "state"), .name = options_str(o, "name"),
		.options = o, .stale = options_bool(o, "stale"),
	};
	if (*passing != '\0' && options_bool_parse(passing, &p->passing_only) < 0) {
		rc = buf_addf(err, "Failed to parse passingonly flag: strconv.ParseBool: parsing \"%s\": invalid syntax", passing);
		return rc < 0 ? rc : -EINVAL;
	}
	rc = find_type(p, err);
	if (rc == 0)
		rc = check_needs(p, err);
	if (rc == 0)
		rc = check_params(p, err);
	return rc;
}

static void
add_tags(const struct watch_plan *p, struct request *r, const char *param)
{
	const char *tag;

	for (size_t i = 0; (tag = options_list(p->options, "tag", i)) != NULL; i++)
		request_param(r, param, tag);
}

void
watch_plan_request(const struct watch_plan *p, uint64_t index, struct request *r)
{
	switch (p->type) {
	case WATCH_KEY:
		request_init(r, "GET", "/v1/kv/", p->key[0] == '/' ? p->key + 1 : p->key);
		break;
	case WATCH_KEYPREFIX:
		request_init(r, "GET", "/v1/kv/", p->prefix[0] == '/' ? p->prefix + 1 : p->prefix);
		request_param(r, "recurse", NULL);
		break;
	case WATCH_SERVICES:
		request_init(r, "GET", "/v1/catalog/services", NULL);
		break;
	case WATCH_NODES:
		request_init(r, "GET", "/v1/catalog/nodes", NULL);
		break;
	case WATCH_SERVICE:
		request_init(r, "GET", "/v1/health/service/", p->service);
		add_tags(p, r, "tag");
		if (p->passing_only)
			request_param(r, "passing", "1");
		break;
	case WATCH_CHECKS:
		if (*p->service != '\0')
			request_init(r, "GET", "/v1/health/checks/", p->service);
		else
			request_init(r, "GET", "/v1/health/state/", *p->state != '\0' ? p->state : "any");
		break;
	case WATCH_EVENT:
		request_init(r, "GET", "/v1/event/list", NULL);
		if (*p->name != '\0')
			request_param(r, "name", p->name);
		break;
	}
	if (p->stale && p->type != WATCH_EVENT)
		request_param(r, "stale", NULL);
	if (index > 0)
		request_param_u64(r, "index", index);
}

bool
watch_plan_may_miss(const struct watch_plan *p)
{
	return p->type == WATCH_KEY || p->type == WATCH_KEYPREFIX;
}

/* ---- documents */

/* With all its members, and in the order in which Consul's watches show them. */
static int
add_key(struct buf *out, struct json_object *e)
{
	struct json_object *value = value_get(e, "Value");
	int rc;

	rc = buf_adds(out, "{\"Key\":");
	if (rc == 0)
		rc = json_add_string(out, str_from(value_text(e, "Key")));
	if (rc == 0)
		rc = buf_addf(out, ",\"CreateIndex\":%llu,\"ModifyIndex\":%llu,\"LockIndex\":%llu,\"Flags\":%llu,\"Value\":",
		    (unsigned long long)value_u64(e, "CreateIndex"), (unsigned long long)value_u64(e, "ModifyIndex"),
		    (unsigned long long)value_u64(e, "LockIndex"), (unsigned long long)value_u64(e, "Flags"));
	if (rc == 0)
		rc = value != NULL ? json_add_string(out, str_from(value_text(e, "Value"))) : buf_adds(out, "null");
	if (rc == 0)
		rc = buf_adds(out, ",\"Session\":");
	if (rc == 0)
		rc = json_add_string(out, str_from(value_text(e, "Session")));
	return rc == 0 ? buf_addc(out, '}') : rc;
}

static int
keys_document(const struct watch_plan *p, struct request *r, struct buf *out)
{
	struct json_object *list = r->ex.status == 404 ? NULL : request_json(r, NULL);
	size_t n = value_count(list);
	int rc = 0;

	if (list == NULL && r->ex.status != 404)
		return -EBADMSG;
	if (n == 0)
		rc = buf_adds(out, "null");
	else if (p->type == WATCH_KEY)
		rc = add_key(out, value_at(list, 0));
	else
		rc = buf_addc(out, '[');
	for (size_t i = 0; rc == 0 && p->type == WATCH_KEYPREFIX && i < n; i++) {
		rc = i > 0 ? buf_addc(out, ',') : 0;
		if (rc == 0)
			rc = add_key(out, value_at(list, i));
	}
	if (rc == 0 && n > 0 && p->type == WATCH_KEYPREFIX)
		rc = buf_addc(out, ']');
	json_object_put(list);
	return rc;
}

/* The index that stands for an event: its UUID's halves, one over the other. */
static uint64_t
event_index(const char *uuid)
{
	uint64_t half[2] = { 0, 0 };
	unsigned digits = 0;

	for (; *uuid != '\0' && digits < 32; uuid++) {
		char one[2] = { *uuid, '\0' };

		if (*uuid == '-')
			continue;
		half[digits / 16] = half[digits / 16] << 4 | strtoul(one, NULL, 16);
		digits++;
	}
	return half[0] ^ half[1];
}

static int
events_document(struct request *r, uint64_t last, struct buf *out)
{
	struct json_object *list = request_json(r, NULL);
	size_t n = value_count(list), from = 0;
	int rc;

	if (list == NULL)
		return -EBADMSG;
	for (size_t i = 0; last != 0 && i < n; i++)
		if (event_index(value_text(value_at(list, i), "ID")) == last)
			from = i + 1;
	rc = buf_addc(out, '[');
	for (size_t i = from; rc == 0 && i < n; i++)
		rc = buf_addf(out, "%s%s", i > from ? "," : "",
		    json_object_to_json_string_ext(value_at(list, i), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	if (rc == 0)
		rc = buf_addc(out, ']');
	json_object_put(list);
	return rc;
}

int
watch_plan_document(const struct watch_plan *p, struct request *r, uint64_t last, struct buf *out)
{
	if (p->type == WATCH_KEY || p->type == WATCH_KEYPREFIX)
		return keys_document(p, r, out);
	if (p->type == WATCH_EVENT)
		return events_document(r, last, out);
	return value_reindent((struct str){ (const char *)r->ex.reply.data, r->ex.reply.len }, NULL, out);
}
