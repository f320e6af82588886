/* gossip_vectors.h - the recorded packets and streams of real agents, and decoded messages compared with what they say. */
#ifndef T_UNIT_GOSSIP_VECTORS_H
#define T_UNIT_GOSSIP_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gossipd/wire/stream.h"
#include "lib/json.h"

#define UNUSED __attribute__((unused))

static UNUSED struct str
buf_str(const struct buf *b)
{
	return b->len > 0 ? (struct str){ (const char *)b->data, b->len } : STR("");
}

static UNUSED void
assert_same(struct str a, struct str b, const char *what)
{
	if (!str_eq(a, b)) {
		print_error("%s: %zu and %zu bytes\n", what, a.len, b.len);
		for (size_t i = 0; i < a.len || i < b.len; i++)
			if (i >= a.len || i >= b.len || a.p[i] != b.p[i])
				fail_msg("%s: the first difference is at %zu", what, i);
	}
}

static UNUSED struct json_object *
vectors_load(void)
{
	const char *dir = getenv("SRCDIR");
	char path[4096], err[256] = "";
	struct json_object *j;
	struct buf text = BUF_INIT(1 << 20);
	bool null;
	FILE *f;
	int c;

	(void)snprintf(path, sizeof(path), "%s/t/data/gossip/vectors.json", dir != NULL ? dir : ".");
	f = fopen(path, "rb");
	if (f == NULL)
		fail_msg("%s: cannot be read (SRCDIR is the source directory)", path);
	while ((c = getc(f)) != EOF)
		assert_int_equal(buf_addc(&text, (uint8_t)c), 0);
	assert_int_equal(fclose(f), 0);
	j = json_parse((const char *)text.data, text.len, &null, err, sizeof(err));
	if (j == NULL)
		fail_msg("%s: %s", path, err);
	buf_release(&text);
	return j;
}

static UNUSED struct json_object *
member(struct json_object *j, const char *name)
{
	struct json_object *m = NULL;

	return json_object_object_get_ex(j, name, &m) ? m : NULL;
}

static UNUSED const char *
text_of(struct json_object *j, const char *name)
{
	return json_object_get_string(member(j, name));
}

static UNUSED struct str
json_str(struct json_object *j)
{
	return (struct str){ json_object_get_string(j), (size_t)json_object_get_string_len(j) };
}

static UNUSED void
hex_into(const char *hex, struct buf *out)
{
	unsigned v;

	buf_clear(out);
	for (; *hex != 0; hex += 2) {
		assert_int_equal(sscanf(hex, "%2x", &v), 1);
		assert_int_equal(buf_addc(out, (uint8_t)v), 0);
	}
}

/* A member of a vector that is written in hex. */
static UNUSED struct buf
hex_of(struct json_object *j, const char *name)
{
	struct buf b = BUF_INIT(1 << 20);

	assert_non_null(member(j, name));
	hex_into(text_of(j, name), &b);
	return b;
}

/* A byte string of a vector: {"hex": ...}, or null. */
static UNUSED void
bytes_same(struct json_object *j, struct str s, const char *what)
{
	struct buf want;

	if (j == NULL) {
		if (s.p != NULL)
			fail_msg("%s: not nil", what);
		return;
	}
	want = hex_of(j, "hex");
	assert_same(buf_str(&want), s, what);
	buf_release(&want);
}

static UNUSED void fields_same(const struct record *rec, const void *obj, struct json_object *j, const char *what);

static UNUSED void
list_same(const struct field *f, const struct strs *s, struct json_object *v, const char *what)
{
	assert_int_equal(s->n, v != NULL ? json_object_array_length(v) : 0);
	for (size_t i = 0; i < s->n; i++) {
		struct json_object *e = json_object_array_get_idx(v, i);

		if (json_object_is_type(e, json_type_string))
			assert_same(json_str(e), s->v[i], f->name);
		else
			bytes_same(e, s->v[i], what);
	}
}

static UNUSED void
value_same(const struct field *f, const void *at, struct json_object *v, const char *what)
{
	const struct records *list = at;
	const struct recmap *map = at;
	struct json_object *filled;

	switch (f->type) {
	case F_BOOL:
		assert_int_equal(*(const bool *)at, json_object_get_boolean(v));
		break;
	case F_INT:
	case F_UINT:
		if (*(const int64_t *)at != json_object_get_int64(v))
			fail_msg("%s: %s is %lld", what, f->name, (long long)*(const int64_t *)at);
		break;
	case F_STR:
		assert_same(json_str(v), *(const struct str *)at, what);
		break;
	case F_BYTES:
		bytes_same(v, *(const struct str *)at, what);
		break;
	case F_STRS:
		list_same(f, at, v, what);
		break;
	case F_RECORDS:
		filled = json_object_is_type(v, json_type_object) ? member(v, "filled") : v;
		assert_int_equal(list->n, json_object_array_length(filled));
		for (size_t i = 0; i < list->n; i++)
			fields_same(f->sub, (const char *)list->v + i * f->sub->size, json_object_array_get_idx(filled, i), what);
		break;
	case F_RECMAP:
		assert_int_equal(map->n, json_object_object_length(v));
		for (size_t i = 0; i < map->n; i++) {
			char *key = strndup(map->keys[i].p, map->keys[i].len);

			assert_non_null(key);
			assert_non_null(member(v, key));
			value_same(&f->sub->fields[0], (const char *)map->v + i * f->sub->size, member(v, key), what);
			free(key);
		}
		break;
	default:
		fail_msg("%s: %s is of no type that vectors have", what, f->name);
	}
}

/* Every field that the vector names has that value. */
static UNUSED void
fields_same(const struct record *rec, const void *obj, struct json_object *j, const char *what)
{
	size_t n = 0;

	json_object_object_foreach(j, name, v) {
		const struct field *f = record_field(rec, str_from(name));

		if (strcmp(name, "tags") == 0)
			continue;
		if (f == NULL)
			fail_msg("%s: no field %s", what, name);
		value_same(f, (const char *)obj + f->offset, v, what);
		n++;
	}
	assert_true(n > 0);
}

static UNUSED const struct record *
membership_record(uint8_t type)
{
	static const struct record *const recs[] = {
		[WIRE_PING] = &rec_msg_ping, [WIRE_INDIRECT] = &rec_msg_indirect, [WIRE_ACK] = &rec_msg_ack,
		[WIRE_SUSPECT] = &rec_msg_accuse, [WIRE_ALIVE] = &rec_msg_alive, [WIRE_DEAD] = &rec_msg_accuse,
		[WIRE_NACK] = &rec_msg_nack, [WIRE_ERROR] = &rec_msg_error,
	};

	return type < ARRAY_LEN(recs) ? recs[type] : NULL;
}

static UNUSED const struct record *
serf_record(uint8_t type)
{
	static const struct record *const recs[] = {
		[SERF_LEAVE] = &rec_msg_leave, [SERF_JOIN] = &rec_msg_join, [SERF_PUSH_PULL] = &rec_msg_serf_state,
		[SERF_EVENT] = &rec_msg_event, [SERF_QUERY] = &rec_msg_query, [SERF_RESPONSE] = &rec_msg_response,
		[SERF_CONFLICT] = &rec_msg_member, [SERF_KEY_REQUEST] = &rec_msg_key_request, [SERF_KEY_RESPONSE] = &rec_msg_key_response,
	};

	return type < ARRAY_LEN(recs) ? recs[type] : NULL;
}

/* Room for any message. */
union any_message {
	struct msg_ping ping;
	struct msg_indirect indirect;
	struct msg_ack ack;
	struct msg_nack nack;
	struct msg_accuse accuse;
	struct msg_alive alive;
	struct msg_error error;
	struct msg_leave leave;
	struct msg_join join;
	struct msg_event event;
	struct msg_query query;
	struct msg_response response;
	struct msg_key_request key_request;
	struct msg_key_response key_response;
	struct msg_member member;
	struct msg_serf_state state;
};

#endif
