/* gossip_wire_vectors.c - every recorded packet and stream: decoded to what it says, and built again byte for byte. */
#include "t/unit/gossip_vectors.h"

#include "gossipd/wire/layers.h"

struct replay {
	const char *id;
	struct json_object *messages;
	size_t n;
	struct buf parts;		/* what was built again, part by part */
	size_t ends[256];
	struct arena a;
};

/* Reads a structure, compares it, and writes it again behind what is in out. */
static void
again(struct replay *r, uint8_t type, const struct record *rec, struct str body, struct json_object *fields, struct buf *out)
{
	union any_message m;

	assert_non_null(rec);
	assert_true(rec->size <= sizeof(m));
	assert_int_equal(wire_get(body, rec, &m, &r->a, NULL), 0);
	if (fields != NULL)
		fields_same(rec, &m, fields, r->id);
	assert_int_equal(wire_put(out, type, rec, &m), 0);
}

static void
same_again(struct replay *r, uint8_t type, const struct record *rec, struct str body, struct json_object *fields)
{
	struct buf b = BUF_INIT(1 << 20);

	again(r, type, rec, body, fields, &b);
	assert_same((struct str){ body.p, body.len }, (struct str){ (const char *)b.data + 1, b.len - 1 }, r->id);
	buf_release(&b);
}

/* Tags, what internal queries ask and answer: whatever is inside a field has its own form. */
static void
inside(struct replay *r, uint8_t type, struct str serf)
{
	union any_message m;
	struct strmap tags;
	struct str p;
	struct buf b = BUF_INIT(WIRE_PACKET_MAX);

	if (type == WIRE_ALIVE) {
		assert_int_equal(wire_get(serf, &rec_msg_alive, &m, &r->a, NULL), 0);
		assert_int_equal(wire_get_tags(m.alive.meta, &tags, &r->a), 0);
		if (m.alive.meta.len > 0 && tags.n == 0) {
			assert_int_equal(wire_put_tags(&b, &tags), 0);
			assert_same(m.alive.meta, buf_str(&b), r->id);
		}
	}
	if (type != WIRE_USER || (serf.p[0] != SERF_RESPONSE && serf.p[0] != SERF_QUERY))
		goto out;
	assert_int_equal(wire_get((struct str){ serf.p + 1, serf.len - 1 }, serf_record((uint8_t)serf.p[0]), &m, &r->a, NULL), 0);
	p = serf.p[0] == SERF_QUERY ? m.query.payload : m.response.payload;
	if (p.len > 1 && p.p[0] >= SERF_CONFLICT && p.p[0] <= SERF_KEY_RESPONSE)
		same_again(r, (uint8_t)p.p[0], serf_record((uint8_t)p.p[0]), (struct str){ p.p + 1, p.len - 1 }, NULL);
out:
	buf_release(&b);
}

static void
relay_again(struct replay *r, struct str body, struct json_object *j)
{
	struct json_object *addr = member(member(j, "relay"), "DestAddr"), *inner = member(j, "inner");
	struct msg_relay m;

	assert_int_equal(wire_get_relay(body, &m, &r->a), 0);
	bytes_same(member(addr, "IP"), m.dest_ip, r->id);
	assert_int_equal(m.dest_port, json_object_get_int64(member(addr, "Port")));
	assert_same(json_str(member(addr, "Zone")), m.dest_zone, r->id);
	assert_same(json_str(member(member(j, "relay"), "DestName")), m.dest_name, r->id);
	assert_int_equal(m.message.p[0], json_object_get_int64(member(inner, "serf_type")));
	same_again(r, (uint8_t)m.message.p[0], serf_record((uint8_t)m.message.p[0]),
	    (struct str){ m.message.p + 1, m.message.len - 1 }, member(inner, "fields"));
	assert_int_equal(wire_put_relay(&r->parts, &m), 0);
}

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	struct replay *r = ctx;
	struct json_object *j = json_object_array_get_idx(r->messages, r->n);

	assert_non_null(j);
	assert_int_equal(type, json_object_get_int64(member(j, "type")));
	inside(r, type, body);
	if (type != WIRE_USER) {
		again(r, type, membership_record(type), body, member(j, "fields"), &r->parts);
	} else {
		uint8_t serf = (uint8_t)body.p[0];

		assert_int_equal(buf_addc(&r->parts, WIRE_USER), 0);
		body = (struct str){ body.p + 1, body.len - 1 };
		if (serf == SERF_RELAY)
			relay_again(r, body, j);
		else
			again(r, serf, serf_record(serf), body, member(j, "fields"), &r->parts);
	}
	r->ends[r->n++] = r->parts.len;
}

static bool
has_layer(struct json_object *v, const char *prefix)
{
	struct json_object *layers = member(v, "layers");

	for (size_t i = 0; i < json_object_array_length(layers); i++)
		if (strncmp(json_object_get_string(json_object_array_get_idx(layers, i)), prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

/* Its messages in the layers that it had: the bytes that came, or those that were sealed. */
static void
build_again(struct replay *r, struct json_object *v, struct wrap *w, struct str want)
{
	struct str parts[256];
	struct buf plain = BUF_INIT(WIRE_PACKET_MAX), out = BUF_INIT(WIRE_PACKET_MAX);

	for (size_t i = 0, from = 0; i < r->n; from = r->ends[i++])
		parts[i] = (struct str){ (const char *)r->parts.data + from, r->ends[i] - from };
	assert_int_equal(packet_compound(parts, r->n, &plain), 0);
	assert_int_equal(packet_wrap(w, buf_str(&plain), has_layer(v, "crc"), &out), 0);
	assert_same(want, buf_str(&out), r->id);
	buf_release(&plain);
	buf_release(&out);
}

static void
add_keys(struct keyring *k, struct json_object *all)
{
	json_object_object_foreach(member(all, "keys_hex"), name, hex) {
		struct buf key = BUF_INIT(64);

		(void)name;
		hex_into(json_object_get_string(hex), &key);
		assert_int_equal(keyring_add(k, buf_str(&key)), 0);
		buf_release(&key);
	}
}

static void
replay_datagram(struct json_object *all, struct json_object *v)
{
	struct replay r = { .id = text_of(v, "id"), .messages = member(v, "messages"), .parts = BUF_INIT(WIRE_PACKET_MAX) };
	struct buf in = hex_of(v, "hex"), plain = BUF_INIT(WIRE_PACKET_MAX), resealed = BUF_INIT(WIRE_PACKET_MAX);
	const bool sealed = has_layer(v, "enc");
	struct wrap w;

	wrap_init(&w);
	arena_init(&r.a, 1 << 20);
	w.keys = keyring_new();
	w.label = has_layer(v, "label") ? STR("lab") : STR("");
	if (sealed)
		add_keys(w.keys, all);
	assert_int_equal(packet_unwrap(&w, buf_str(&in), on_message, &r), PACKET_OK);
	assert_int_equal(r.n, json_object_array_length(r.messages));
	/* A nonce cannot be given: what was sealed is compared, and what is sealed again is opened again. */
	if (sealed && member(v, "plain_hex") != NULL)
		plain = hex_of(v, "plain_hex");
	else
		assert_int_equal(buf_add(&plain, in.data, in.len), 0);
	w.compress = true;
	if (sealed) {
		struct str label = w.label;

		w.verify_outgoing = false;
		w.label = STR("");
		build_again(&r, v, &w, buf_str(&plain));
		w.verify_outgoing = true;
		w.label = label;
		w.compress = false;
		r.n = 0;
		buf_clear(&r.parts);
		assert_int_equal(packet_wrap(&w, buf_str(&plain), false, &resealed), 0);
		assert_int_equal(resealed.len, plain.len + wrap_overhead(&w));
		assert_int_equal(packet_unwrap(&w, buf_str(&resealed), on_message, &r), PACKET_OK);
	} else {
		build_again(&r, v, &w, buf_str(&plain));
	}
	keyring_free(w.keys);
	wrap_release(&w);
	arena_release(&r.a);
	buf_release(&r.parts);
	buf_release(&resealed);
	buf_release(&plain);
	buf_release(&in);
}

/* ---- streams */

struct rows {
	const struct msg_alive *v;
	size_t n;
};

static bool
next_row(void *ctx, struct msg_alive *ret)
{
	struct rows *rows = ctx;

	if (rows->n == 0)
		return false;
	rows->n--;
	*ret = *rows->v++;
	return true;
}

/* The state that agents send has a ring of 512 events, most of them nil; ours has those that are there. */
static void
state_again(struct replay *r, struct str state, struct json_object *fields)
{
	struct buf ours = BUF_INIT(1 << 20), theirs = BUF_INIT(1 << 20);
	struct mp_w w = mp_w_init(&theirs);
	struct mp_r in;
	uint32_t n;

	assert_int_equal(state.p[0], SERF_PUSH_PULL);
	again(r, SERF_PUSH_PULL, &rec_msg_serf_state, (struct str){ state.p + 1, state.len - 1 }, fields, &ours);
	in = mp_r_init(state.p + 1, state.len - 1);
	mp_w_raw(&w, (struct str){ state.p, 1 });
	n = mp_r_map(&in);
	mp_w_map(&w, n);
	for (uint32_t i = 0; i < n; i++) {
		struct str key = mp_r_str(&in);

		mp_w_str(&w, key);
		if (str_eqs(key, "Events")) {
			size_t slots = mp_r_array(&in);

			mp_w_array(&w, (uint32_t)json_object_array_length(member(member(fields, "Events"), "filled")));
			for (; slots > 0; slots--) {
				struct str slot = mp_r_raw(&in);

				if (slot.p[0] != '\xc0')
					mp_w_raw(&w, slot);
			}
		} else {
			mp_w_raw(&w, mp_r_raw(&in));
		}
	}
	assert_true(w.err == 0 && mp_r_done(&in));
	assert_same(buf_str(&theirs), buf_str(&ours), r->id);
	buf_release(&ours);
	buf_release(&theirs);
}

static void
push_pull_again(struct replay *r, struct json_object *v, const struct stream_message *m, struct buf *out)
{
	struct json_object *rows = member(v, "nodes"), *state = member(v, "user_state");
	struct rows left = { m->rows, m->nrows };
	struct strmap tags;

	assert_int_equal(m->join, json_object_get_boolean(member(member(v, "header"), "Join")));
	assert_int_equal(m->nrows, json_object_array_length(rows));
	assert_int_equal(m->user_state.len, json_object_get_int64(member(member(v, "header"), "UserStateLen")));
	for (size_t i = 0; i < m->nrows; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		fields_same(&rec_msg_row, &m->rows[i], row, r->id);
		assert_int_equal(wire_get_tags(m->rows[i].meta, &tags, &r->a), 0);
		assert_int_equal(tags.n, json_object_object_length(member(row, "tags")));
		for (size_t k = 0; k < tags.n; k++) {
			char *key = strndup(tags.v[k].key.p, tags.v[k].key.len);

			assert_non_null(key);
			assert_same(json_str(member(member(row, "tags"), key)), tags.v[k].value, r->id);
			free(key);
		}
	}
	if (state != NULL)
		state_again(r, m->user_state, member(state, "fields"));
	assert_int_equal(stream_put_push_pull(out, m->join, m->nrows, next_row, &left, m->user_state), 0);
}

/* Fed in pieces of so many bytes. */
static struct stream_reader *
feed(struct wrap *w, bool dialled, struct str in, size_t piece)
{
	struct stream_reader *r = stream_reader_new(w, dialled, STREAM_SEALED_MAX);
	const char *why = "nothing";
	int rc = 0;

	assert_non_null(r);
	for (size_t at = 0; at < in.len; at += piece) {
		assert_int_equal(rc, 0);
		assert_null(stream_reader_message(r));
		rc = stream_reader_add(r, in.p + at, in.len - at < piece ? in.len - at : piece, &why);
	}
	if (rc != 1)
		fail_msg("pieces of %zu: %d %s", piece, rc, why);
	return r;
}

static void
replay_stream(struct json_object *all, struct json_object *v)
{
	struct replay r = { .id = text_of(v, "id"), .messages = member(v, "messages") };
	struct buf in = hex_of(v, "hex"), plain = hex_of(v, "plain_hex"), out = BUF_INIT(1 << 20), wrapped = BUF_INIT(1 << 20);
	const bool sealed = has_layer(v, "enc"), answer = strcmp(r.id, "pushpull-label-answer") == 0;
	const struct stream_message *m;
	struct stream_reader *reader;
	struct wrap w;

	wrap_init(&w);
	arena_init(&r.a, 1 << 20);
	w.keys = keyring_new();
	w.label = has_layer(v, "label") || answer ? STR("lab") : STR("");
	if (sealed)
		add_keys(w.keys, all);
	for (size_t piece = 1; piece <= in.len; piece = piece < 8 ? piece + 1 : piece * 2)
		stream_reader_free(feed(&w, answer, buf_str(&in), piece));
	reader = feed(&w, answer, buf_str(&in), in.len);
	m = stream_reader_message(reader);
	assert_int_equal(m->sealed, sealed);
	assert_int_equal(m->type, plain.data[0]);
	if (m->type == WIRE_PUSH_PULL)
		push_pull_again(&r, v, m, &out);
	else
		again(&r, m->type, membership_record(m->type), m->body, member(json_object_array_get_idx(r.messages, 0), "fields"), &out);
	assert_same(buf_str(&plain), buf_str(&out), r.id);
	/* The same bytes when nothing is sealed; what is sealed again is opened again. */
	w.compress = has_layer(v, "lzw");
	assert_int_equal(stream_wrap(&w, buf_str(&out), !answer, &wrapped), 0);
	if (!sealed)
		assert_same(buf_str(&in), buf_str(&wrapped), r.id);
	stream_reader_free(reader);
	reader = feed(&w, answer, buf_str(&wrapped), 7);
	assert_int_equal(stream_reader_message(reader)->type, plain.data[0]);
	assert_int_equal(stream_reader_message(reader)->sealed, sealed);
	stream_reader_free(reader);
	keyring_free(w.keys);
	wrap_release(&w);
	arena_release(&r.a);
	buf_release(&in);
	buf_release(&plain);
	buf_release(&out);
	buf_release(&wrapped);
}

/* ---- single layers */

static void
replay_seal(struct json_object *v)
{
	struct buf in = hex_of(v, "hex"), key = hex_of(v, "key_hex"), aad = hex_of(v, "aad_hex"), plain = hex_of(v, "plain_hex");
	struct buf out = BUF_INIT(WIRE_PACKET_MAX), sealed = BUF_INIT(WIRE_PACKET_MAX);
	struct keyring *k = keyring_new();

	assert_non_null(k);
	assert_int_equal(keyring_add(k, buf_str(&key)), 0);
	assert_int_equal(keyring_open(k, buf_str(&in), buf_str(&aad), &out), 0);
	assert_same(buf_str(&plain), buf_str(&out), text_of(v, "id"));
	assert_int_equal(keyring_seal(k, buf_str(&plain), buf_str(&aad), &sealed), 0);
	assert_int_equal(sealed.len, plain.len + SEAL_OVERHEAD);
	buf_clear(&out);
	assert_int_equal(keyring_open(k, buf_str(&sealed), buf_str(&aad), &out), 0);
	assert_same(buf_str(&plain), buf_str(&out), text_of(v, "id"));
	keyring_free(k);
	buf_release(&in);
	buf_release(&key);
	buf_release(&aad);
	buf_release(&plain);
	buf_release(&out);
	buf_release(&sealed);
}

/* Alone and wrapped as on a stream, where it may grow. */
static void
replay_lzw(struct json_object *v)
{
	struct buf in = hex_of(v, "hex"), plain = hex_of(v, "plain_hex"), out = BUF_INIT(WIRE_PACKET_MAX);
	struct wrap w;

	wrap_init(&w);
	w.compress = true;
	assert_int_equal(stream_wrap(&w, buf_str(&plain), true, &out), 0);
	assert_same(buf_str(&in), buf_str(&out), text_of(v, "id"));
	buf_clear(&out);
	assert_int_equal(wrap_inflate((struct str){ (const char *)in.data + 1, in.len - 1 }, plain.len, &out), 0);
	assert_same(buf_str(&plain), buf_str(&out), text_of(v, "id"));
	wrap_release(&w);
	buf_release(&in);
	buf_release(&plain);
	buf_release(&out);
}

/* Ours to read: made by the library, without a word on what is in them. */
static void
replay_library(struct json_object *v)
{
	struct replay r = { .id = text_of(v, "id") };
	struct buf in = hex_of(v, "hex");
	uint8_t type = in.data[0];

	arena_init(&r.a, 1 << 20);
	same_again(&r, type, membership_record(type), (struct str){ (const char *)in.data + 1, in.len - 1 }, NULL);
	arena_release(&r.a);
	buf_release(&in);
}

static void
replay_tags(struct json_object *v)
{
	struct buf in = hex_of(v, "hex"), out = BUF_INIT(WIRE_META_MAX);
	struct arena a = ARENA_INIT(1 << 20);
	struct strmap tags;

	assert_int_equal(wire_get_tags(buf_str(&in), &tags, &a), 0);
	assert_int_equal(tags.n, json_object_object_length(member(v, "tags")));
	assert_same(STR("east1"), *strmap_get(&tags, STR("dc")), "dc");
	assert_same(STR("node"), *strmap_get(&tags, STR("role")), "role");
	assert_int_equal(wire_put_tags(&out, &tags), 0);
	assert_same((struct str){ "\xff\x82\xa2" "dc\xa5" "east1\xa4role\xa4node", 21 }, buf_str(&out), "in the order of keys");
	arena_release(&a);
	buf_release(&in);
	buf_release(&out);
}

static bool
id_begins(struct json_object *v, const char *with)
{
	return strncmp(text_of(v, "id"), with, strlen(with)) == 0;
}

static void
every_vector_decodes_and_is_built_again(void **state)
{
	struct json_object *all = vectors_load(), *vectors = member(all, "vectors");
	size_t done = 0, datagrams = 0, streams = 0;

	(void)state;
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i);

		done++;
		if (member(v, "transport") != NULL) {
			replay_stream(all, v);
			streams++;
		} else if (member(v, "layers") != NULL) {
			replay_datagram(all, v);
			datagrams++;
		} else if (id_begins(v, "seal-")) {
			replay_seal(v);
		} else if (id_begins(v, "lzw-")) {
			replay_lzw(v);
		} else if (id_begins(v, "lib-")) {
			replay_library(v);
		} else if (id_begins(v, "tags")) {
			replay_tags(v);
		} else {
			/* The payload of Consul's events is in the modern dialect: not ours. */
			assert_true(id_begins(v, "consul-event-payload"));
			done--;
		}
	}
	assert_int_equal(done, 104);
	assert_true(datagrams >= 40 && streams >= 14);
	json_object_put(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_decodes_and_is_built_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
