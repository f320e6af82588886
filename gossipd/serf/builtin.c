/* builtin.c - the queries that every Serf answers by itself: ping, name conflicts, keys (5.5). */
#include <stdio.h>
#include <stdlib.h>

#include "gossipd/serf/internal.h"

#define PREFIX "_serf_"

enum { ENCODED_KEY_MIN = 25 };	/* bytes that a key in a list takes at least */

bool
serf_builtin_is(struct str name)
{
	return str_has_prefix(name, STR(PREFIX));
}

static void
answer(struct serf *s, const struct serf_query *q, const struct buf *raw)
{
	int rc = serf_respond(s, serf_now(s), q, (struct str){ (const char *)raw->data, raw->len });

	if (rc < 0)
		s->stats.dropped++;
}

/* Where is the member of this name? We are silent about ourselves. */
static void
conflict(struct serf *s, const struct serf_query *q, struct str name)
{
	struct member *m = name_ok(name) ? serf_roster_find(s, name) : NULL;
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);
	struct msg_member r = { .name = name };
	const uint8_t *vsn;
	int rc;

	if (str_eq(name, serf_own_name(s)))
		return;
	if (m == NULL) {
		rc = buf_add(&raw, "\x06\xc0", 2);
	} else {
		vsn = swim_node_vsn(m->node);
		r = (struct msg_member){ .name = name, .addr = { (const char *)swim_node_addr(m->node)->ip, swim_node_addr(m->node)->len },
			.port = swim_node_addr(m->node)->port, .status = m->status, .protocol_min = vsn[0], .protocol_max = vsn[1],
			.protocol_cur = vsn[2], .delegate_min = vsn[3], .delegate_max = vsn[4], .delegate_cur = vsn[5] };
		/* Tags that cannot be read are no reason to be silent about where it is. */
		if (wire_get_tags(swim_node_meta(m->node), &r.tags, &a) < 0)
			r.tags = (struct strmap){ NULL, 0 };
		rc = wire_put(&raw, SERF_CONFLICT, &rec_msg_member, &r);
	}
	if (rc == 0)
		answer(s, q, &raw);
	else
		s->stats.dropped++;
	buf_release(&raw);
	arena_release(&a);
}

/* What our answer takes on the wire with this payload. */
static size_t
response_size(struct serf *s, const struct serf_query *q, const struct buf *payload)
{
	struct msg_response m = { .ltime = q->ltime, .id = q->id, .from = serf_own_name(s),
		.payload = { (const char *)payload->data, payload->len } };
	struct buf raw = BUF_INIT(2 * WIRE_PACKET_MAX);
	size_t len = SIZE_MAX;

	if (wire_put(&raw, SERF_RESPONSE, &rec_msg_response, &m) == 0)
		len = raw.len;
	buf_release(&raw);
	return len;
}

/* As many of the keys as an answer holds; the first are the ones in use. */
static int
put_keys(struct serf *s, const struct serf_query *q, struct msg_key_response *r, struct buf *raw)
{
	size_t all = r->keys.n, n = s->config.response_max / ENCODED_KEY_MIN;
	char cut[96];

	for (;;) {
		int rc;

		buf_clear(raw);
		rc = wire_put(raw, SERF_KEY_RESPONSE, &rec_msg_key_response, r);
		if (rc < 0)
			return rc;
		if (response_size(s, q, raw) <= s->config.response_max)
			return 0;
		if (r->keys.n == 0)
			return -ELIMIT;
		n = n < r->keys.n ? n : r->keys.n - 1;
		r->keys.n = n;
		(void)snprintf(cut, sizeof(cut), "truncated key list response, showing first %zu of %zu keys", n, all);
		r->message = str_from(cut);
	}
}

static void
key(struct serf *s, const struct serf_query *q, const char *op, struct str payload)
{
	struct msg_key_response r = { .result = false, .message = STR("") };
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	struct buf raw = BUF_INIT(WIRE_PACKET_MAX);
	struct msg_key_request request = { .key = STR_NONE };
	bool list = strcmp(op, "list-keys") == 0;

	/* One that cannot be read is answered all the same, so that the asker knows. */
	if (!list && (payload.len == 0 || (uint8_t)payload.p[0] != SERF_KEY_REQUEST ||
	    wire_get((struct str){ payload.p + 1, payload.len - 1 }, &rec_msg_key_request, &request, &a, NULL) < 0))
		s->stats.malformed++;
	else if (s->hooks.key == NULL)
		r.message = STR("not supported");
	else
		s->hooks.key(s->hooks.ctx, op, request.key, &r);
	if (put_keys(s, q, &r, &raw) == 0)
		answer(s, q, &raw);
	else
		s->stats.dropped++;
	buf_release(&raw);
	arena_release(&a);
}

void
serf_builtin_answer(struct serf *s, const struct serf_query *q, struct str name, struct str payload)
{
	static const char *const ops[] = { "install-key", "use-key", "remove-key", "list-keys" };
	struct str rest = { name.p + strlen(PREFIX), name.len - strlen(PREFIX) };

	/* A ping wants the ack alone. */
	if (str_eqs(rest, "ping"))
		return;
	if (str_eqs(rest, "conflict")) {
		conflict(s, q, payload);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (str_eqs(rest, ops[i])) {
			key(s, q, ops[i], payload);
			return;
		}
	}
	s->stats.refused++;
}
