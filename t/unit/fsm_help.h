/*
 * fsm_help.h - a state to try, with requests and replies written as JSON.
 *
 * Single quotes stand for double ones in what goes in and comes out, so that
 * a test reads like an exchange with the HTTP API.
 */
#ifndef T_UNIT_FSM_HELP_H
#define T_UNIT_FSM_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/duration.h"
#include "lib/json.h"
#include "raftd/fsm/fsm.h"

#define UNUSED __attribute__((unused))
#define S(n) ((n) * NS_PER_S)

enum { WORLD_TEXT_MAX = 1 << 20 };

struct world {
	struct fsm *f;
	uint64_t index;			/* of the last entry */
	int64_t time;			/* cluster time of the next */
	uint64_t result_index;		/* of the last query */
	char watch[4096], touched[65536];
	char text[WORLD_TEXT_MAX];	/* the last reply */
	struct query_options options;	/* of the next entry: a stamp */
	const struct fsm_sink *sink;	/* NULL: only touched is noted */
};

static UNUSED void
append(char *out, size_t size, const char *fmt, ...)
{
	size_t n = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	assert_true(vsnprintf(out + n, size - n, fmt, ap) < (int)(size - n));
	va_end(ap);
}

static UNUSED const char *
watch_name(enum watch_kind k)
{
	static const char *const names[WATCH_KINDS] = { "key", "prefix", "service", "services", "node", "nodes", "address", "checks",
		"session", "sessions", "coordinate", "coordinates", "query", "queries", "acl_token", "acl_policy", "acl_role",
		"acl_method", "acl_binding", "acl", "all" };

	return names[k];
}

static UNUSED void
note_touched(void *ctx, const struct watch_key *k)
{
	struct world *w = ctx;
	char one[512];

	/* Sixteen bytes: fsm_address.c looks at these itself. */
	if (k->kind == WATCH_ADDRESS)
		return;
	(void)snprintf(one, sizeof(one), "%s:%.*s ", watch_name(k->kind), STR_ARG(k->key));
	if (strstr(w->touched, one) == NULL)
		append(w->touched, sizeof(w->touched), "%s", one);
}

static UNUSED struct world *
world_new(void)
{
	static const struct fsm_config c = { "dc1", 64, 10 * NS_PER_S };
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->f = fsm_new(&c);
	assert_non_null(w->f);
	w->time = S(1000);
	return w;
}

static UNUSED void
world_free(struct world *w)
{
	fsm_free(w->f);
	free(w);
}

/* A record from JSON. */
static UNUSED void
encode_record(const struct record *rec, const char *json, struct buf *out)
{
	struct arena a = ARENA_INIT(1 << 24);
	struct mp_w w = mp_w_init(out);
	struct json_object *j;
	char *text = strdup(json), err[256] = "";
	bool null;
	void *obj = calloc(1, rec->size);

	assert_non_null(text);
	for (char *p = text; *p != 0; p++)
		if (*p == '\'')
			*p = '"';
	j = json_parse(text, strlen(text), &null, err, sizeof(err));
	if (j == NULL || record_from_json(rec, j, obj, &a, true, err, sizeof(err)) < 0)
		fail_msg("%s: %s", json, err);
	record_encode(rec, obj, RECORD_WHOLE, &w);
	assert_int_equal(w.err, 0);
	json_object_put(j);
	arena_release(&a);
	free(obj);
	free(text);
}

static UNUSED void
encode_request(uint16_t op, const char *json, struct buf *out)
{
	encode_record(op_info(op)->request, json, out);
}

/* The payload as JSON in w->text, or "E500 text". */
static UNUSED const char *
show(struct world *w, struct buf *payload, const struct fsm_error *err)
{
	struct buf json = BUF_INIT(WORLD_TEXT_MAX - 1);
	struct mp_r r = mp_r_init(payload->data, payload->len);
	char *p = w->text;

	if (err->code != 0) {
		assert_int_equal(payload->len, 0);
		(void)snprintf(w->text, sizeof(w->text), "E%d %s", err->code, err->text);
	} else if (payload->len == 0) {
		w->text[0] = 0;
	} else {
		assert_int_equal(json_from_mp(&json, &r, NULL), 0);
		assert_true(mp_r_done(&r));
		(void)snprintf(w->text, sizeof(w->text), "%.*s", (int)json.len, (char *)json.data);
	}
	for (; *p != 0; p++)
		if (*p == '"')
			*p = '\'';
	buf_release(&json);
	return w->text;
}

/* Any entry; its time is w->time. */
static UNUSED const char *
apply_entry(struct world *w, struct fsm_entry *e)
{
	struct fsm_sink sink = { .ctx = w, .touched = note_touched };
	struct buf options = BUF_INIT(4096), result = BUF_INIT(WORLD_TEXT_MAX);
	struct mp_w o = mp_w_init(&options);
	struct fsm_error err;

	record_encode(&rec_query_options, &w->options, RECORD_WHOLE, &o);
	e->options = (struct str){ (char *)options.data, options.len };
	e->time = w->time;
	w->touched[0] = 0;
	assert_int_equal(fsm_apply(w->f, ++w->index, e, &result, &err, w->sink != NULL ? w->sink : &sink), 0);
	show(w, &result, &err);
	buf_release(&options);
	buf_release(&result);
	return w->text;
}

static UNUSED const char *
apply(struct world *w, uint16_t op, const char *json)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX);
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = op };

	encode_request(op, json, &request);
	e.request = (struct str){ (char *)request.data, request.len };
	apply_entry(w, &e);
	buf_release(&request);
	return w->text;
}

/* An entry without a request. */
static UNUSED const char *
noop(struct world *w)
{
	struct fsm_entry e = { .kind = FSM_ENTRY_NOOP };

	return apply_entry(w, &e);
}

/* Coordinates, as a list. */
static UNUSED const char *
coordinates(struct world *w, const char *json)
{
	char whole[8192];
	struct buf request = BUF_INIT(WORLD_TEXT_MAX);
	struct fsm_entry e = { .kind = FSM_ENTRY_COORDINATES };

	assert_true(snprintf(whole, sizeof(whole), "{'Entries':%s}", json) < (int)sizeof(whole));
	encode_record(&rec_fsm_coordinates, whole, &request);
	e.request = (struct str){ (char *)request.data, request.len };
	apply_entry(w, &e);
	buf_release(&request);
	return w->text;
}

/* What fsm_check() says before the log: "" or "E500 text". */
static UNUSED const char *
check_first(struct world *w, uint16_t op, const char *json)
{
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX), none = BUF_INIT(1);
	const struct fsm_fresh fresh = { .random = { 0xff, 1, 2, 3 } };
	struct fsm_error err;
	struct str in, made;

	encode_request(op, json, &request);
	in = (struct str){ (char *)request.data, request.len };
	assert_int_equal(fsm_check(w->f, op, in, w->time, &fresh, NULL, &out, &made, &err), 0);
	show(w, &none, &err);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

static UNUSED const char *
tick_all(struct world *w, const struct fsm_tick *t)
{
	struct buf request = BUF_INIT(4096);
	struct mp_w m = mp_w_init(&request);
	struct fsm_entry e = { .kind = FSM_ENTRY_TICK };

	record_encode(&rec_fsm_tick, t, RECORD_WHOLE, &m);
	e.request = (struct str){ (char *)request.data, request.len };
	apply_entry(w, &e);
	buf_release(&request);
	return w->text;
}

static UNUSED const char *
tick(struct world *w, const char *renew, const char *expire, uint64_t reap)
{
	struct str r = str_from(renew), x = str_from(expire);
	const struct fsm_tick t = { .renew = { &r, renew != NULL }, .expire = { &x, expire != NULL }, .reap_tombstones = reap };

	return tick_all(w, &t);
}

/* A read by somebody that waits for what is behind `since`; the index and the watch set are left in w. */
static UNUSED const char *
query_as(struct world *w, uint16_t op, const char *json, uint64_t since, struct asker *who)
{
	const struct op_info *info = op_info(op);
	struct buf request = BUF_INIT(WORLD_TEXT_MAX), out = BUF_INIT(WORLD_TEXT_MAX);
	struct arena a = ARENA_INIT(1 << 24);
	struct mp_w m = mp_w_init(&out);
	void *obj = info->request != NULL ? calloc(1, info->request->size) : NULL;
	struct watch_set watch;
	struct fsm_error err;

	if (obj != NULL) {
		struct mp_r r;

		encode_request(op, json, &request);
		r = mp_r_init(request.data, request.len);
		assert_int_equal(record_decode(info->request, &r, obj, &a), 0);
	}
	assert_int_equal(fsm_query(w->f, op, obj, since, who, &m, &w->result_index, &watch, &err), 0);
	if (err.code != 0)
		out.len = 0;
	w->watch[0] = 0;
	for (size_t i = 0; i < watch.n; i++)
		append(w->watch, sizeof(w->watch), "%s:%.*s ", watch_name(watch.v[i].kind), STR_ARG(watch.v[i].key));
	show(w, &out, &err);
	free(obj);
	arena_release(&a);
	buf_release(&request);
	buf_release(&out);
	return w->text;
}

static UNUSED const char *
query(struct world *w, uint16_t op, const char *json)
{
	return query_as(w, op, json, 0, NULL);
}

/* ---- short forms */

static UNUSED const char *
put(struct world *w, const char *key, const char *base64)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'Op':'set','DirEnt':{'Key':'%s','Value':'%s'}}", key, base64);
	return apply(w, OP_KV_APPLY, json);
}

static UNUSED const char *
kv_op(struct world *w, const char *verb, const char *key, const char *more)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'Op':'%s','DirEnt':{'Key':'%s'%s%s}}", verb, key, more[0] != 0 ? "," : "", more);
	return apply(w, OP_KV_APPLY, json);
}

static UNUSED const char *
get(struct world *w, const char *key)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'Key':'%s'}", key);
	return query(w, OP_KV_GET, json);
}

static UNUSED const char *
list(struct world *w, const char *prefix)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'Key':'%s'}", prefix);
	return query(w, OP_KV_LIST, json);
}

static UNUSED const char *
reg(struct world *w, const char *json)
{
	return apply(w, OP_CATALOG_REGISTER, json);
}

/* A coordinate on one line, at x seconds. */
#define AT(node, x) "{'Node':'" node "','Segment':'','Coord':{'Vec':[" x ",0,0,0,0,0,0,0],'Error':1.5,'Adjustment':0,'Height':0.00001}}"

/* Session 1 to 9: an ID that ends in that digit. */
#define SID(n) "00000000-0000-4000-8000-00000000000" #n

static UNUSED const char *
session(struct world *w, const char *id, const char *more)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'ID':'%s','Node':'n1'%s%s}", id, more[0] != 0 ? "," : "", more);
	return apply(w, OP_SESSION_CREATE, json);
}

/* A node with a passing serfHealth. */
static UNUSED void
node(struct world *w, const char *name)
{
	char json[4096];

	(void)snprintf(json, sizeof(json), "{'Node':'%s','Address':'10.0.0.1','Check':{'CheckID':'serfHealth',"
	    "'Name':'Serf Health Status','Status':'passing'}}", name);
	assert_true(reg(w, json)[0] != 'E');
}

#endif
