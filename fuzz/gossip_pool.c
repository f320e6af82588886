/*
 * gossip_pool.c - any bytes as what happens to a pool of three: datagrams and
 * streams that come to its members, time that goes by, what their users wish.
 * After each the tables agree with each other and with their bounds; at the end
 * the pool can still speak and remember.
 *
 * An input is a row of steps: an octet (which step, to which member), then what it takes.
 */
#include "fuzz/fuzz.h"
#include "fuzz/gossip.h"
#include "gossipd/serf/internal.h"

enum { MEMBERS = 3, NODES_MAX = 12, STEPS_MAX = 64, PENDING_MAX = 96, ROUNDS_MAX = 32, SNAPSHOT_MAX = 1 << 20, STATE_MAX = 1 << 22 };

enum pending_kind { PENDING_PACKET, PENDING_ASK, PENDING_ANSWER, PENDING_PING };

struct pool;

struct member_of {
	struct pool *pool;
	struct serf *s;
	struct gossip_addr addr;
	struct buf lines;		/* of its snapshot file */
	uint64_t clock, event_clock, query_clock;
	size_t answers;
	bool left;
};

struct pending {
	enum pending_kind kind;
	unsigned from, to;
	uint32_t seqno;
	struct buf data;
};

struct pool {
	struct member_of members[MEMBERS];
	struct pending pending[PENDING_MAX];
	size_t npending;
	uint64_t now, rng;
	struct wrap wrap;
};

static uint32_t
pool_random(void *ctx)
{
	struct pool *p = ((struct member_of *)ctx)->pool;

	p->rng = p->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(p->rng >> 32);
}

/* ---- what the members want done */

/* Whoever is at no member's address hears nothing; what is too much for the network gets lost. */
static struct pending *
pending_add(struct member_of *from, const struct gossip_addr *to, enum pending_kind kind)
{
	struct pool *p = from->pool;
	struct pending *i = &p->pending[p->npending];

	must(to->len == 4 || to->len == 16);
	for (unsigned k = 0; k < MEMBERS && p->npending < PENDING_MAX; k++)
		if (gossip_addr_eq(&p->members[k].addr, to)) {
			*i = (struct pending){ .kind = kind, .from = (unsigned)(from - p->members), .to = k, .data = BUF_INIT(STATE_MAX) };
			p->npending++;
			return i;
		}
	return NULL;
}

static void
on_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	struct pending *i = pending_add(ctx, to, PENDING_PACKET);
	struct member_of *m = ctx;

	must(plain.len > 0 && plain.len <= WIRE_PACKET_MAX);
	if (i != NULL)
		must(packet_wrap(&m->pool->wrap, plain, crc, &i->data) == 0);
}

static void
on_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	struct pending *i = pending_add(ctx, to, PENDING_PING);

	must(name.len > 0 && deadline > 0);
	if (i != NULL)
		i->seqno = seqno;
}

static void
push_pull(struct member_of *m, const struct gossip_addr *to, bool join, enum pending_kind kind)
{
	struct pending *i = pending_add(m, to, kind);

	if (i != NULL)
		must(swim_put_state(serf_swim(m->s), join, &i->data) == 0);
}

static void
on_exchange(void *ctx, const struct gossip_addr *to, struct str name, bool join)
{
	must(name.len > 0);
	push_pull(ctx, to, join, PENDING_ASK);
}

static void
on_changed(void *ctx, enum serf_change what, const struct serf_member *m)
{
	struct member_of *self = ctx;
	struct serf_member found;

	must(what <= SERF_CHANGE_REAP && m->status > SERF_NONE && m->status <= SERF_FAILED);
	must(swim_node_name(m->node).len > 0);
	must(serf_find(self->s, swim_node_name(m->node), &found) && found.status == m->status);
}

static void
on_event(void *ctx, uint64_t ltime, struct str name, struct str payload, bool coalesce)
{
	const struct member_of *m = ctx;

	(void)coalesce;
	must(ltime < m->s->event_clock && name.len + payload.len <= SERF_EVENT_SANE_MAX);
}

static void
on_query(void *ctx, const struct serf_query *q, struct str name, struct str payload)
{
	struct member_of *m = ctx;

	must(memchr(q->source, 0, sizeof(q->source)) != NULL && !str_has_prefix(name, STR("_serf_")));
	if (payload.len % 3 != 0 && serf_respond(m->s, m->pool->now, q, payload) == 0)
		m->answers++;
}

static void
on_key(void *ctx, const char *op, struct str key, struct msg_key_response *reply)
{
	static struct str keys[40];

	(void)ctx;
	must(op[0] != 0);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		keys[i] = STR("AAAAAAAAAAAAAAAAAAAAAA==");
	*reply = (struct msg_key_response){ .result = key.len == 16, .message = STR(""), .keys = { keys, key.len % (ARRAY_LEN(keys) + 1) } };
}

static void
on_snapshot(void *ctx, struct str line)
{
	struct member_of *m = ctx;

	must(line.len > 0 && memchr(line.p, '\n', line.len) == NULL);
	must(buf_add(&m->lines, line.p, line.len) == 0 && buf_addc(&m->lines, '\n') == 0);
}

static void
on_left(void *ctx)
{
	struct member_of *m = ctx;

	must(!m->left);
	m->left = true;
}

static void
on_answer(void *ctx, struct str from, bool ack, struct str payload)
{
	struct member_of *m = ctx;

	must(!ack || payload.len == 0);
	m->answers += from.len > 0;
}

/* ---- what must hold */

static void
check_members(struct member_of *m)
{
	size_t counts[SERF_FAILED + 1] = { 0 }, n = 0, alive = 0, at = 0;
	struct serf_member one, found;
	struct swim *w = serf_swim(m->s);

	while (serf_each(m->s, &at, &one)) {
		must(one.status > SERF_NONE && one.status <= SERF_FAILED);
		must((one.status == SERF_ALIVE) <= (one.gone_at == 0));
		must(serf_find(m->s, swim_node_name(one.node), &found) && found.node == one.node);
		must(one.status_ltime < m->s->clock);
		counts[one.status]++;
	}
	must(at == serf_count(m->s, SERF_NONE) && at <= (size_t)2 * NODES_MAX);
	for (int status = SERF_ALIVE; status <= SERF_FAILED; status++)
		must(counts[status] == serf_count(m->s, (enum serf_status)status));
	for (struct swim_node *i = swim_each(w, NULL); i != NULL; i = swim_each(w, i), n++) {
		must(swim_find(w, swim_node_name(i)) == i && swim_node_addr(i)->len > 0);
		must(swim_node_name(i).len < WIRE_NAME_MAX && swim_node_meta(i).len <= WIRE_META_MAX);
		alive += swim_node_state(i) <= SWIM_SUSPECT;
	}
	must(n == swim_count(w) && n <= NODES_MAX && alive == swim_alive(w));
	must(swim_node_state(swim_self(w)) == (swim_leaving(w) ? SWIM_LEFT : SWIM_ALIVE));
	must(serf_find(m->s, swim_node_name(swim_self(w)), &found) && found.node == swim_self(w));
}

static void
check_bounds(struct member_of *m)
{
	const struct serf *s = m->s;
	struct serf_stats stats;

	serf_get_stats(s, &stats);
	must(stats.clock >= m->clock && stats.event_clock >= m->event_clock && stats.query_clock >= m->query_clock);
	m->clock = stats.clock;
	m->event_clock = stats.event_clock;
	m->query_clock = stats.query_clock;
	/* So few messages bring no clock near its end. */
	must(stats.clock < UINT64_MAX - INT32_MAX && stats.event_clock < UINT64_MAX - INT32_MAX && stats.query_clock < UINT64_MAX - INT32_MAX);
	must(s->event_min <= s->event_clock && s->query_min <= s->query_clock);
	must(stats.intent_queue <= s->config.queue_max && stats.event_queue <= s->config.queue_max && stats.query_queue <= s->config.queue_max);
	must(s->intents.n <= SERF_INTENTS_MAX && s->nasks <= SERF_ASKS_MAX && s->nown <= SERF_OWN_ANSWERS_MAX);
	must(s->nprunings <= SERF_ERASE_MAX && s->rings.bytes <= SERF_RING_BYTES_MAX && s->roster.nkept <= NODES_MAX);
	must(coord_valid(serf_coordinate(s)));
}

static void
check_all(struct pool *p)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		check_members(&p->members[i]);
		check_bounds(&p->members[i]);
	}
}

/* ---- what arrives */

struct arriving {
	struct member_of *m;
	struct gossip_addr from;
};

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	struct arriving *a = ctx;

	swim_message(serf_swim(a->m->s), a->m->pool->now, &a->from, type, body);
}

static enum packet_fault
packet(struct member_of *m, const struct gossip_addr *from, struct str datagram)
{
	struct arriving a = { m, *from };

	return packet_unwrap(&m->pool->wrap, datagram, on_message, &a);
}

/* Whether it was a push/pull that could be merged. */
static bool
stream(struct member_of *m, struct str bytes, bool dialled, int *ret_rc)
{
	struct stream_reader *r = stream_reader_new(&m->pool->wrap, dialled, STATE_MAX);
	const struct stream_message *got;
	const char *why = NULL;
	char err[256] = "";
	int rc;

	must(r != NULL);
	*ret_rc = rc = stream_reader_add(r, bytes.p, bytes.len, &why);
	got = rc == 1 ? stream_reader_message(r) : NULL;
	if (got != NULL && got->type == WIRE_USER)
		swim_message(serf_swim(m->s), m->pool->now, &m->addr, WIRE_USER, got->body);
	rc = got != NULL && got->type == WIRE_PUSH_PULL ?
	    swim_merge(serf_swim(m->s), m->pool->now, got->rows, got->nrows, got->user_state, got->join, err) : -EINVAL;
	must(rc == 0 || got == NULL || got->type != WIRE_PUSH_PULL || err[0] != 0);
	stream_reader_free(r);
	return rc == 0;
}

static void
arrive(struct pool *p, struct pending *i)
{
	struct member_of *m = &p->members[i->to], *from = &p->members[i->from];
	int rc;

	switch (i->kind) {
	case PENDING_PACKET:
		must(packet(m, &from->addr, whole(&i->data)) == PACKET_OK);
		break;
	case PENDING_PING:
		swim_stream_acked(serf_swim(from->s), p->now, i->seqno);
		break;
	case PENDING_ASK:
		push_pull(m, &from->addr, false, PENDING_ANSWER);
		(void)stream(m, whole(&i->data), false, &rc);
		must(rc == 1);
		break;
	case PENDING_ANSWER:
		if (stream(m, whole(&i->data), true, &rc))
			serf_joined(m->s, p->now);
		must(rc == 1);
		break;
	}
}

static void
arrive_all(struct pool *p)
{
	for (size_t n = p->npending; n > 0; n--) {
		struct pending i = p->pending[0];

		memmove(&p->pending[0], &p->pending[1], --p->npending * sizeof(i));
		arrive(p, &i);
		buf_release(&i.data);
	}
}

/* ---- time */

/* What is due is done in a few calls, however much it is: nothing spins. */
static void
advance(struct member_of *m)
{
	uint64_t next = serf_next(m->s);

	for (int calls = 0; next <= m->pool->now; calls++) {
		must(calls < 8);
		next = serf_advance(m->s, m->pool->now);
		must(next == serf_next(m->s));
	}
}

static void
pass(struct pool *p, uint64_t ns)
{
	uint64_t until = p->now + ns;

	for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
		uint64_t next = p->npending > 0 ? p->now + NS_PER_MS : UINT64_MAX;

		for (size_t i = 0; i < MEMBERS; i++)
			if (serf_next(p->members[i].s) < next)
				next = serf_next(p->members[i].s);
		if (next > until)
			break;
		p->now = next > p->now ? next : p->now;
		arrive_all(p);
		for (size_t i = 0; i < MEMBERS; i++)
			advance(&p->members[i]);
	}
	/* The rest of it nobody was running, as on a machine that slept. */
	p->now = until;
}

/* ---- the steps of an input */

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t
take_octet(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

/* Two octets of length, and as much of that as there is. */
static struct str
take_bytes(struct input *in)
{
	size_t n = (size_t)take_octet(in) << 8;
	struct str s;

	n |= take_octet(in);
	n = n < in->n ? n : in->n;
	s = (struct str){ (const char *)in->p, n };
	in->p += n;
	in->n -= n;
	return s;
}

static uint64_t
take_time(struct input *in)
{
	static const uint64_t units[] = { NS_PER_MS, 10 * NS_PER_MS, 200 * NS_PER_MS, NS_PER_S, 10 * NS_PER_S, 60 * (uint64_t)NS_PER_S,
		600 * (uint64_t)NS_PER_S, 3600 * (uint64_t)NS_PER_S };
	uint8_t o = take_octet(in);

	return units[o % 8] * (1u + o / 8);
}

static void
ask(struct member_of *m, struct str name, struct str payload, uint8_t how)
{
	struct str nodes[] = { STR("a"), STR("c") };
	struct serf_ask q = { .name = name, .payload = payload, .nodes = { nodes, how % 3 }, .tag = (how & 4) != 0 ? STR("role") : STR(""),
		.tag_expr = payload, .want_ack = (how & 8) != 0, .relay_factor = how >> 6, .answer = on_answer, .ctx = m };
	int rc = 0;

	must(serf_ask(m->s, m->pool->now, &q, &rc) != 0 || rc == -ELIMIT);
}

/* What a user wishes. */
static void
wish(struct member_of *m, struct input *in)
{
	uint8_t what = take_octet(in), how = take_octet(in);
	struct str a = take_bytes(in), b = take_bytes(in);
	struct strpair pair = { a, b };
	char err[256];
	int rc = 0;

	switch (what % 6) {
	case 0:
		rc = serf_event(m->s, m->pool->now, a, b, how % 2 == 0, err);
		break;
	case 1:
		ask(m, a, b, how);
		break;
	case 2:
		rc = serf_force_leave(m->s, m->pool->now, a, how % 2 == 0);
		break;
	case 3:
		rc = serf_set_tags(m->s, m->pool->now, &(struct strmap){ &pair, 1 });
		break;
	case 4:
		rc = serf_leave(m->s, m->pool->now);
		break;
	case 5:
		serf_ignore_old_events(m->s, how % 2 == 0);
		break;
	}
	must(rc == 0 || rc == -ELIMIT || rc == -ENOENT || rc == -EINVAL || rc == -EALREADY);
}

static void
step(struct pool *p, struct input *in)
{
	uint8_t o = take_octet(in);
	struct member_of *m = &p->members[o / 8 % MEMBERS];
	struct str s;
	int rc;

	switch (o % 8) {
	case 0:
	case 1:
		s = take_bytes(in);
		must(packet_fault_text(packet(m, &p->members[(o / 8 + 1) % MEMBERS].addr, s)) != NULL);
		break;
	case 2:
		(void)stream(m, take_bytes(in), o >= 128, &rc);
		break;
	case 3:		/* a message without its packet: type, body */
	case 4:
		rc = take_octet(in) % 12;
		swim_message(serf_swim(m->s), p->now, &p->members[(o / 8 + 1) % MEMBERS].addr, (uint8_t)rc, take_bytes(in));
		break;
	case 5:
	case 6:
		pass(p, take_time(in));
		break;
	case 7:
		wish(m, in);
		break;
	}
	check_all(p);
}

/* ---- the pool */

static void
member_start(struct pool *p, size_t i)
{
	struct member_of *m = &p->members[i];
	const struct serf_hooks h = { .ctx = m, .random = pool_random, .send = on_send, .stream_ping = on_stream_ping, .exchange = on_exchange,
		.changed = on_changed, .event = on_event, .query = on_query, .key = on_key, .snapshot = on_snapshot, .left = on_left };
	const char name = (char)('a' + i);
	struct serf_config c;
	struct swim_config sc;

	m->pool = p;
	m->addr = (struct gossip_addr){ .ip = { 127, 0, 0, (uint8_t)(i + 1) }, .len = 4, .port = 7946 };
	buf_init(&m->lines, SNAPSHOT_MAX);
	serf_config_serf(&c);
	c.queue_max = 64;
	swim_config_lan(&sc);
	sc.name = (struct str){ &name, 1 };
	sc.addr = m->addr;
	sc.meta = STR("\xff\x81\xa4role\xa3web");
	sc.nodes_max = NODES_MAX;
	m->s = serf_new(&c, &sc, &h, NULL, p->now);
	must(m->s != NULL);
}

/* What a member would write about itself, and what it wrote, can be read. */
static void
check_files(struct member_of *m)
{
	struct buf out = BUF_INIT(SNAPSHOT_MAX);
	struct serf_previous previous;
	size_t bad = 0;

	must(serf_snapshot_write(m->s, &out) == 0);
	must(serf_snapshot_read(whole(&out), false, &previous, &bad) == 0 && bad == 0);
	serf_previous_release(&previous);
	must(serf_snapshot_read(whole(&m->lines), true, &previous, &bad) == 0 && bad == 0);
	serf_previous_release(&previous);
	buf_release(&out);
}

/* What one member knows, to another. */
static bool
tell(struct member_of *from, struct member_of *to)
{
	struct buf state = BUF_INIT(STATE_MAX);
	bool merged;
	int rc;

	must(swim_put_state(serf_swim(from->s), false, &state) == 0);
	merged = stream(to, whole(&state), true, &rc);
	must(rc == 1);
	buf_release(&state);
	return merged;
}

/* Whatever was heard before: once two have talked, an event of the one is news to the other. */
static void
check_speaks(struct member_of *m, struct member_of *other)
{
	struct serf_stats before, later;
	char err[256];

	if (!tell(other, m))
		return;
	serf_get_stats(other->s, &before);
	must(serf_event(m->s, m->pool->now, STR("still"), STR("there"), false, err) == 0);
	if (!tell(m, other))
		return;
	serf_get_stats(other->s, &later);
	must(later.events > before.events);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pool p;
	struct input in = { data, size };

	memset(&p, 0, sizeof(p));
	p.now = NS_PER_S;
	p.rng = 1;
	wrap_init(&p.wrap);
	for (size_t i = 0; i < MEMBERS; i++)
		member_start(&p, i);
	for (size_t i = 1; i < MEMBERS; i++)
		push_pull(&p.members[i], &p.members[0].addr, true, PENDING_ASK);
	pass(&p, (uint64_t)NS_PER_S);
	for (int steps = 0; in.n > 0 && steps < STEPS_MAX; steps++)
		step(&p, &in);
	pass(&p, 2 * (uint64_t)NS_PER_S);
	check_all(&p);
	for (size_t i = 0; i < MEMBERS; i++) {
		check_files(&p.members[i]);
		check_speaks(&p.members[i], &p.members[(i + 1) % MEMBERS]);
	}
	check_all(&p);
	for (size_t i = 0; i < p.npending; i++)
		buf_release(&p.pending[i].data);
	for (size_t i = 0; i < MEMBERS; i++) {
		serf_free(p.members[i].s);
		buf_release(&p.members[i].lines);
	}
	wrap_release(&p.wrap);
	return 0;
}
