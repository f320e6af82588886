/* gossip_serf_net.h - a few Serfs on a network in memory whose clock runs as fast as it can; what each has heard, as text. */
#ifndef T_UNIT_GOSSIP_SERF_NET_H
#define T_UNIT_GOSSIP_SERF_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/serf/internal.h"
#include "gossipd/wire/stream.h"

#define UNUSED __attribute__((unused))
/* What the network itself allocates; a test that refuses memory to the code keeps it for the network. */
#ifndef NET_ALLOC
#define NET_ALLOC malloc
#endif

enum { PEERS = 8, HEARD = 1 << 16, LINES = 1 << 16 };
#define MS (UINT64_C(1000000))
#define SECOND (1000 * MS)

struct lan;

struct peer {
	struct lan *net;
	struct serf *s;
	char name[16];
	struct gossip_addr addr;
	struct strmap tags;
	struct serf_config config;
	char heard[HEARD];		/* " join:b event:deploy=1 ..." */
	char lines[LINES];		/* of the snapshot file */
	const char *reply;		/* to queries; NULL: none */
	bool left, lost_conflict;
	size_t sent, exchanges;
	/* key queries */
	const char *key_message;
	size_t nkeys;
};

enum item_kind { ITEM_PACKET, ITEM_ASK, ITEM_ANSWER, ITEM_PING };

struct item {
	struct item *next;
	uint64_t at;
	enum item_kind kind;
	unsigned from, to;
	bool join;
	uint32_t seqno;
	size_t len;
	char data[];
};

struct lan {
	struct peer peers[PEERS];
	size_t n;
	uint64_t now, rng, seed;
	struct item *items;
	struct wrap wrap;
	unsigned loss;			/* percent of datagrams */
	bool cut[PEERS];		/* from all others */
	bool (*eat)(struct item *i);	/* a packet that vanishes */
	struct swim_config swim;
};

static UNUSED uint32_t
net_random(struct lan *n)
{
	n->rng = n->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(n->rng >> 32);
}

static UNUSED void __attribute__((format(printf, 2, 3)))
heard(struct peer *p, const char *fmt, ...)
{
	size_t len = strlen(p->heard);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->heard + len, sizeof(p->heard) - len, fmt, ap);
	va_end(ap);
	assert_true(strlen(p->heard) < sizeof(p->heard) - 1);
}

/* How often a word was heard. */
static UNUSED size_t
times(const struct peer *p, const char *word)
{
	size_t n = 0;
	char whole[600];

	(void)snprintf(whole, sizeof(whole), " %s ", word);
	for (const char *at = strstr(p->heard, whole); at != NULL; at = strstr(at + 1, whole))
		n++;
	return n;
}

/* ---- the network */

static void
item_add(struct lan *n, struct item *i)
{
	struct item **at = &n->items;

	while (*at != NULL && (*at)->at <= i->at)
		at = &(*at)->next;
	i->next = *at;
	*at = i;
}

static struct item *
item_new(struct peer *from, const struct gossip_addr *to, enum item_kind kind, const void *data, size_t len)
{
	struct lan *n = from->net;
	struct item *i = NET_ALLOC(sizeof(*i) + len);

	*i = (struct item){ .at = n->now + MS / 2 + net_random(n) % MS, .kind = kind, .from = (unsigned)(from - n->peers), .to = PEERS, .len = len };
	if (len > 0)
		memcpy(i->data, data, len);
	for (unsigned k = 0; k < n->n; k++)
		if (gossip_addr_eq(&n->peers[k].addr, to))
			i->to = k;
	if (i->to == PEERS || (i->to != i->from && (n->cut[i->to] || n->cut[i->from]))) {
		free(i);
		return NULL;
	}
	return i;
}

static uint32_t
hook_random(void *ctx)
{
	struct peer *p = ctx;

	return net_random(p->net);
}

static void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	struct peer *p = ctx;
	struct item *i = item_new(p, to, ITEM_PACKET, plain.p, plain.len);

	(void)crc;
	p->sent++;
	if (i != NULL && (net_random(p->net) % 100 < p->net->loss || (p->net->eat != NULL && p->net->eat(i)))) {
		free(i);
		return;
	}
	if (i != NULL)
		item_add(p->net, i);
}

static void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	struct peer *p = ctx;
	struct item *i = item_new(p, to, ITEM_PING, NULL, 0);

	(void)name;
	(void)deadline;
	if (i == NULL)
		return;
	i->seqno = seqno;
	item_add(p->net, i);
}

static void
exchange(struct peer *p, const struct gossip_addr *to, bool join, enum item_kind kind)
{
	struct buf out = BUF_INIT(STREAM_INFLATED_MAX);
	struct item *i;

	assert_int_equal(swim_put_state(serf_swim(p->s), join, &out), 0);
	i = item_new(p, to, kind, out.data, out.len);
	buf_release(&out);
	if (i == NULL)
		return;
	i->join = join;
	item_add(p->net, i);
}

static void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name, bool join)
{
	struct peer *p = ctx;

	(void)name;
	p->exchanges += join;
	exchange(p, to, join, ITEM_ASK);
}

/* ---- what is heard */

static void
hook_changed(void *ctx, enum serf_change what, const struct serf_member *m)
{
	static const char *const names[] = { "join", "update", "leaving", "leave", "failed", "reap" };

	heard(ctx, " %s:%.*s ", names[what], STR_ARG(swim_node_name(m->node)));
}

static void
hook_event(void *ctx, uint64_t ltime, struct str name, struct str payload, bool coalesce)
{
	(void)ltime;
	heard(ctx, " event:%.*s=%.*s%s ", STR_ARG(name), payload.len < 64 ? (int)payload.len : 64, payload.len > 0 ? payload.p : "",
	    coalesce ? "+" : "");
}

static void
hook_query(void *ctx, const struct serf_query *q, struct str name, struct str payload)
{
	struct peer *p = ctx;

	heard(p, " query:%.*s=%.*s ", STR_ARG(name), STR_ARG(payload));
	if (p->reply != NULL)
		assert_int_equal(serf_respond(p->s, p->net->now, q, str_from(p->reply)), 0);
}

static void
hook_lost(void *ctx)
{
	struct peer *p = ctx;

	p->lost_conflict = true;
}

static void
hook_key(void *ctx, const char *op, struct str key, struct msg_key_response *reply)
{
	static const char base64[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	static struct str keys[64];
	struct peer *p = ctx;

	heard(p, " %s:%.*s ", op, STR_ARG(key));
	for (size_t i = 0; i < p->nkeys; i++)
		keys[i] = STR(base64);
	*reply = (struct msg_key_response){ .result = p->key_message == NULL, .message = str_from(p->key_message != NULL ? p->key_message : ""),
		.keys = { keys, p->nkeys }, .primary_key = STR(base64) };
}

static void
hook_snapshot(void *ctx, struct str line)
{
	struct peer *p = ctx;
	size_t len = strlen(p->lines);

	assert_true(len + line.len + 2 < sizeof(p->lines));
	(void)snprintf(p->lines + len, sizeof(p->lines) - len, "%.*s\n", STR_ARG(line));
}

static void
hook_left(void *ctx)
{
	struct peer *p = ctx;

	p->left = true;
}

/* ---- life */

static UNUSED void
net_init(struct lan *n, uint64_t seed)
{
	memset(n, 0, sizeof(*n));
	n->now = SECOND;
	n->rng = n->seed = seed;
	wrap_init(&n->wrap);
	swim_config_lan(&n->swim);
}

static struct serf_hooks
peer_hooks(struct peer *p)
{
	return (struct serf_hooks){ .ctx = p, .random = hook_random, .send = hook_send, .stream_ping = hook_stream_ping,
		.exchange = hook_exchange, .changed = hook_changed, .event = hook_event, .query = hook_query,
		.conflict_lost = hook_lost, .key = hook_key, .snapshot = hook_snapshot, .left = hook_left };
}

/* Start the peer, anew or for the first time; NULL without memory. */
static UNUSED struct serf *
peer_try(struct peer *p)
{
	struct lan *n = p->net;
	struct swim_config c = n->swim;
	struct serf_hooks h = peer_hooks(p);
	struct buf meta = BUF_INIT(WIRE_META_MAX);
	static const uint8_t vsn[WIRE_VSN] = { 1, 5, 2, 2, 5, 4 };

	c.name = str_from(p->name);
	c.addr = p->addr;
	memcpy(c.vsn, vsn, sizeof(vsn));
	if (wire_put_tags(&meta, &p->tags) == 0) {
		c.meta = (struct str){ (const char *)meta.data, meta.len };
		p->s = serf_new(&p->config, &c, &h, NULL, n->now);
	}
	buf_release(&meta);
	return p->s;
}

static UNUSED void
peer_start(struct peer *p)
{
	p->left = false;
	assert_non_null(peer_try(p));
}

/* Killed: nobody is told. */
static UNUSED void
peer_stop(struct peer *p)
{
	serf_free(p->s);
	p->s = NULL;
}

/* The next one, called a, b, c ... */
static UNUSED struct peer *
peer_new(struct lan *n)
{
	struct peer *p = &n->peers[n->n];

	assert_true(n->n < PEERS);
	*p = (struct peer){ .net = n };
	(void)snprintf(p->name, sizeof(p->name), "%c", (char)('a' + n->n));
	p->addr = (struct gossip_addr){ .ip = { 127, 0, 0, (uint8_t)(n->n + 1) }, .len = 4, .port = 7946 };
	serf_config_consul(&p->config);
	n->n++;
	return p;
}

static UNUSED void
net_release(struct lan *n)
{
	for (size_t i = 0; i < n->n; i++)
		peer_stop(&n->peers[i]);
	while (n->items != NULL) {
		struct item *i = n->items;

		n->items = i->next;
		free(i);
	}
	wrap_release(&n->wrap);
}

/* ---- time */

struct arriving {
	struct peer *p;
	struct gossip_addr from;
};

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	struct arriving *a = ctx;

	swim_message(serf_swim(a->p->s), a->p->net->now, &a->from, type, body);
}

static void
merge(struct peer *p, struct peer *from, const struct item *i)
{
	struct stream_reader *r = stream_reader_new(&p->net->wrap, i->kind == ITEM_ANSWER, STREAM_INFLATED_MAX);
	const struct stream_message *got;
	const char *why = "";
	char err[256] = "";

	assert_non_null(r);
	if (stream_reader_add(r, i->data, i->len, &why) != 1)
		fail_msg("push/pull: %s", why);
	got = stream_reader_message(r);
	if (i->kind == ITEM_ASK)
		exchange(p, &from->addr, i->join, ITEM_ANSWER);
	if (swim_merge(serf_swim(p->s), p->net->now, got->rows, got->nrows, got->user_state, got->join, err) < 0)
		fail_msg("push/pull: %s", err);
	stream_reader_free(r);
}

static UNUSED void
deliver(struct lan *n, struct item *i)
{
	struct peer *p = &n->peers[i->to], *from = &n->peers[i->from];
	struct arriving a = { p, from->addr };

	if (p->s == NULL || from->s == NULL)
		return;
	switch (i->kind) {
	case ITEM_PACKET:
		assert_int_equal(packet_unwrap(&n->wrap, (struct str){ i->data, i->len }, on_message, &a), PACKET_OK);
		break;
	case ITEM_PING:
		swim_stream_acked(serf_swim(from->s), n->now, i->seqno);
		break;
	case ITEM_ASK:
		merge(p, from, i);
		break;
	case ITEM_ANSWER:
		merge(p, from, i);
		if (i->join)
			serf_joined(p->s, n->now);
		break;
	}
}

static uint64_t
next_of_all(const struct lan *n)
{
	uint64_t next = n->items != NULL ? n->items->at : UINT64_MAX;

	for (size_t i = 0; i < n->n; i++)
		if (n->peers[i].s != NULL && serf_next(n->peers[i].s) < next)
			next = serf_next(n->peers[i].s);
	return next;
}

/* One thing that happens. */
static UNUSED void
net_step(struct lan *n)
{
	uint64_t next = next_of_all(n);

	if (next > n->now)
		n->now = next;
	while (n->items != NULL && n->items->at <= n->now) {
		struct item *i = n->items;

		n->items = i->next;
		deliver(n, i);
		free(i);
	}
	for (size_t i = 0; i < n->n; i++)
		if (n->peers[i].s != NULL && serf_next(n->peers[i].s) <= n->now)
			(void)serf_advance(n->peers[i].s, n->now);
}

static UNUSED void
net_run(struct lan *n, uint64_t ns)
{
	uint64_t until = n->now + ns;

	while (next_of_all(n) <= until)
		net_step(n);
	n->now = until;
}

static UNUSED void
peer_join(struct peer *p, struct peer *to)
{
	exchange(p, &to->addr, true, ITEM_ASK);
}

/* n of them, all joined. */
static UNUSED void
net_pool(struct lan *n, size_t count)
{
	for (size_t i = 0; i < count; i++)
		peer_start(peer_new(n));
	for (size_t i = 1; i < count; i++)
		peer_join(&n->peers[i], &n->peers[0]);
	net_run(n, 5 * SECOND);
}

static UNUSED enum serf_status
status_of(struct peer *p, const char *name)
{
	struct serf_member m;

	return serf_find(p->s, str_from(name), &m) ? m.status : SERF_NONE;
}

/* Run until all that are up, but this one, see it so; for at most so long. */
static UNUSED void
net_until(struct lan *n, const char *name, enum serf_status status, uint64_t ns)
{
	uint64_t until = n->now + ns;

	for (;;) {
		bool all = true;

		for (size_t i = 0; i < n->n; i++)
			if (n->peers[i].s != NULL && !n->cut[i] && strcmp(n->peers[i].name, name) != 0)
				all = all && status_of(&n->peers[i], name) == status;
		if (all)
			return;
		if (n->now >= until)
			fail_msg("seed %" PRIu64 ": %s has not become %d for all", n->seed, name, (int)status);
		net_step(n);
	}
}

#endif
