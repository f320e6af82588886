/* gossip.h - what both targets of gossip do with a message that was taken: written and read again it is the same. */
#ifndef FUZZ_GOSSIP_H
#define FUZZ_GOSSIP_H

#include <stdbool.h>
#include <stdlib.h>

#include "gossipd/wire/stream.h"

enum { AGAIN_MAX = 32 * 1024 * 1024 };

static inline struct str
whole(const struct buf *b)
{
	return b->len > 0 ? (struct str){ (const char *)b->data, b->len } : STR("");
}

static inline void
must(bool right)
{
	if (!right)
		abort();
}

/* Read; when that is possible, written and read and written again gives the same bytes. */
static inline bool
again(struct str body, const struct record *rec, void *obj, struct arena *a)
{
	struct buf one = BUF_INIT(AGAIN_MAX), two = BUF_INIT(AGAIN_MAX);
	size_t used = 0, used_again = 0;
	int rc = wire_get(body, rec, obj, a, &used);

	if (rc == 0) {
		must(used <= body.len && wire_put_body(&one, rec, obj) == 0);
		must(wire_get(whole(&one), rec, obj, a, &used_again) == 0 && used_again == one.len);
		must(wire_put_body(&two, rec, obj) == 0 && str_eq(whole(&one), whole(&two)));
	}
	buf_release(&one);
	buf_release(&two);
	return rc == 0;
}

static inline void
tags_again(struct str meta, struct arena *a)
{
	struct buf one = BUF_INIT(WIRE_META_MAX), two = BUF_INIT(WIRE_META_MAX);
	struct strmap tags;

	/* The old form may be longer than what is written. */
	if (wire_get_tags(meta, &tags, a) == 0 && wire_put_tags(&one, &tags) == 0) {
		for (size_t i = 1; i < tags.n; i++)
			must(str_cmp(tags.v[i - 1].key, tags.v[i].key) < 0);
		must(wire_get_tags(whole(&one), &tags, a) == 0);
		must(wire_put_tags(&two, &tags) == 0 && str_eq(whole(&one), whole(&two)));
	}
	buf_release(&one);
	buf_release(&two);
}

/* Room for any message of these. */
union gossip_any {
	struct msg_alive alive;
	struct msg_query query;
	struct msg_response response;
	struct msg_member member;
	struct msg_serf_state state;
	char room[512];
};

static inline void
serf_again(struct str m, struct arena *a, int depth)
{
	static const struct record *const recs[] = {
		[SERF_LEAVE] = &rec_msg_leave, [SERF_JOIN] = &rec_msg_join, [SERF_PUSH_PULL] = &rec_msg_serf_state,
		[SERF_EVENT] = &rec_msg_event, [SERF_QUERY] = &rec_msg_query, [SERF_RESPONSE] = &rec_msg_response,
		[SERF_CONFLICT] = &rec_msg_member, [SERF_KEY_REQUEST] = &rec_msg_key_request, [SERF_KEY_RESPONSE] = &rec_msg_key_response,
	};
	union gossip_any any;
	struct msg_relay relay;
	struct str body;
	uint8_t type;

	if (m.len == 0 || depth == 4)
		return;
	type = (uint8_t)m.p[0];
	body = (struct str){ m.p + 1, m.len - 1 };
	if (type == SERF_RELAY && wire_get_relay(body, &relay, a) == 0) {
		struct buf b = BUF_INIT(AGAIN_MAX);
		struct msg_relay back;

		must(wire_put_relay(&b, &relay) == 0);
		must(wire_get_relay((struct str){ (char *)b.data + 1, b.len - 1 }, &back, a) == 0);
		must(str_eq(back.message, relay.message) && str_eq(back.dest_ip, relay.dest_ip) && back.dest_port == relay.dest_port);
		serf_again(relay.message, a, depth + 1);
		buf_release(&b);
	}
	if (type < ARRAY_LEN(recs) && again(body, recs[type], &any, a)) {
		if (wire_get(body, recs[type], &any, a, NULL) < 0)
			return;
		if (type == SERF_RESPONSE)
			serf_again(any.response.payload, a, depth + 1);
		for (size_t i = 0; type == SERF_QUERY && i < any.query.filters.n; i++) {
			struct str f = any.query.filters.v[i];
			struct msg_filter_tag tag;

			if (f.len > 0 && f.p[0] == FILTER_TAG)
				(void)again((struct str){ f.p + 1, f.len - 1 }, &rec_msg_filter_tag, &tag, a);
		}
	}
}

/* The keys of the vectors, and how the first byte of an input wants them. */
enum { WITH_KEYS = 1, LENIENT = 2, WITH_LABEL = 4, DIALLED = 8 };

static inline void
wrap_for(struct wrap *w, struct keyring *keys, uint8_t how)
{
	wrap_init(w);
	w->keys = (how & WITH_KEYS) != 0 ? keys : NULL;
	w->verify_incoming = (how & LENIENT) == 0;
	w->label = (how & WITH_LABEL) != 0 ? STR("lab") : STR("");
	w->compress = true;
}

static struct keyring *vector_ring;

static void
vector_keys_free(void)
{
	keyring_free(vector_ring);
}

/* Made at the first call: what GnuTLS allocated for them is referred to from memory that a search for leaks does not see. */
static inline struct keyring *
vector_keys(void)
{
	static const size_t lens[] = { 16, 24, 32 };
	static const uint8_t firsts[] = { 0x00, 0x40, 0x20 };
	char raw[32];

	if (vector_ring != NULL)
		return vector_ring;
	vector_ring = keyring_new();
	must(vector_ring != NULL && atexit(vector_keys_free) == 0);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		for (size_t n = 0; n < lens[i]; n++)
			raw[n] = (char)(firsts[i] + n);
		must(keyring_add(vector_ring, (struct str){ raw, lens[i] }) == 0);
	}
	return vector_ring;
}

#endif
