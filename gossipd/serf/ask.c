/* ask.c - queries that we ask: who has answered, and when it is over. */
#include <math.h>
#include <stdlib.h>

#include "gossipd/serf/internal.h"

static void
ask_free(struct ask *a)
{
	if (a == NULL)
		return;
	free(a->seen);
	free(a);
}

static struct ask *
find_by_number(const struct serf *s, uint64_t number)
{
	for (size_t i = 0; i < s->nasks; i++)
		if (s->asks[i]->number == number)
			return s->asks[i];
	return NULL;
}

static struct ask *
find_by_ltime(const struct serf *s, uint64_t ltime)
{
	for (size_t i = 0; i < s->nasks; i++)
		if (s->asks[i]->ltime == ltime)
			return s->asks[i];
	return NULL;
}

/* It is out of the list before it is told, which may ask the next one. */
static void
finish(struct serf *s, struct ask *a)
{
	size_t i = 0;

	while (s->asks[i] != a)
		i++;
	s->asks[i] = s->asks[--s->nasks];
	a->answer(a->ctx, STR(""), false, STR_NONE);
	ask_free(a);
}

void
serf_ask_end(struct serf *s, uint64_t number)
{
	struct ask *a = find_by_number(s, number);

	if (a != NULL)
		finish(s, a);
}

/* ---- who has answered: a set of hashes, 0 is a free place */

static bool
seen_put(uint64_t *v, size_t cap, uint64_t hash)
{
	size_t at = hash & (cap - 1);

	while (v[at] != 0 && v[at] != hash)
		at = (at + 1) & (cap - 1);
	if (v[at] == hash)
		return false;
	v[at] = hash;
	return true;
}

static int
seen_grow(struct ask *a)
{
	size_t cap = a->seen_cap == 0 ? 8 : a->seen_cap * 2;
	uint64_t *v;

	if (a->nseen * 2 < a->seen_cap)
		return 0;
	v = calloc(cap, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < a->seen_cap; i++)
		if (a->seen[i] != 0)
			(void)seen_put(v, cap, a->seen[i]);
	free(a->seen);
	a->seen = v;
	a->seen_cap = cap;
	return 0;
}

/* -EALREADY: it has answered before, or acked. */
static int
seen_add(struct serf *s, struct ask *a, struct str from, bool ack)
{
	uint64_t hash = serf_hash(s, from, ack ? STR("ack") : STR("answer")) | 1;
	int rc = seen_grow(a);

	if (rc < 0)
		return rc;
	if (!seen_put(a->seen, a->seen_cap, hash))
		return -EALREADY;
	a->nseen++;
	return 0;
}

/* ---- answers */

static bool
complete(const struct ask *a)
{
	return a->answers >= a->expected && (!a->want_ack || a->acks >= a->expected);
}

void
serf_ask_response(struct serf *s, const struct msg_response *m)
{
	struct ask *a = find_by_ltime(s, m->ltime);
	bool ack = (m->flags & QUERY_ACK) != 0;
	uint64_t number;
	int rc;

	if (a == NULL || a->id != m->id || a->deadline < serf_now(s)) {
		s->stats.late_responses++;
		return;
	}
	/* From a member: so the set is never larger than the pool. */
	if (!name_ok(m->from) || serf_roster_find(s, m->from) == NULL || (ack && !a->want_ack)) {
		s->stats.refused++;
		return;
	}
	rc = seen_add(s, a, m->from, ack);
	if (rc < 0) {
		s->stats.duplicate_responses += rc == -EALREADY;
		s->stats.dropped += rc != -EALREADY;
		return;
	}
	s->stats.responses++;
	a->acks += ack;
	a->answers += !ack;
	number = a->number;
	a->answer(a->ctx, m->from, ack, ack ? STR_NONE : m->payload);
	/* Who was told may have ended it. */
	a = find_by_number(s, number);
	if (a != NULL && complete(a))
		finish(s, a);
}

/* Our own answer waits until the question has been asked in full. */
int
serf_ask_own_response(struct serf *s, const struct msg_response *m)
{
	struct own_answer *o;
	char *payload;

	if (s->nown >= SERF_OWN_ANSWERS_MAX)
		return -ELIMIT;
	o = realloc(s->own, (s->nown + 1) * sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	s->own = o;
	payload = malloc(m->payload.len + 1);
	if (payload == NULL)
		return -ENOMEM;
	if (m->payload.len > 0)
		memcpy(payload, m->payload.p, m->payload.len);
	s->own[s->nown++] = (struct own_answer){ m->ltime, (uint32_t)m->id, (m->flags & QUERY_ACK) != 0, payload, m->payload.len };
	return 0;
}

static void
tell_own(struct serf *s)
{
	while (s->nown > 0) {
		struct own_answer o = s->own[0];
		struct msg_response m = { .ltime = o.ltime, .id = o.id, .from = serf_own_name(s), .flags = o.ack ? QUERY_ACK : 0,
			.payload = { o.payload, o.len } };

		memmove(s->own, s->own + 1, --s->nown * sizeof(o));
		serf_ask_response(s, &m);
		free(o.payload);
	}
}

void
serf_ask_advance(struct serf *s)
{
	uint64_t now = serf_now(s);

	tell_own(s);
	for (size_t i = s->nasks; i-- > 0;)
		if (i < s->nasks && s->asks[i]->deadline <= now)
			finish(s, s->asks[i]);
}

uint64_t
serf_ask_next(const struct serf *s)
{
	uint64_t next = s->nown > 0 ? 0 : UINT64_MAX;

	for (size_t i = 0; i < s->nasks; i++)
		if (s->asks[i]->deadline < next)
			next = s->asks[i]->deadline;
	return next;
}

/* ---- asking */

size_t
serf_asked_of(const struct serf *s)
{
	return s->roster.counts[SERF_ALIVE];
}

static uint64_t
default_timeout(const struct serf *s)
{
	double rounds = ceil(log10((double)swim_alive(s->swim) + 1));

	return ms((uint64_t)s->gossip_ms * QUERY_TIMEOUT_MULT) * (uint64_t)rounds;
}

static int
put_filters(const struct serf_ask *q, struct buf *raw, struct str v[2], size_t *ret_n)
{
	size_t n = 0, from = raw->len, split;
	int rc = q->nodes.n > 0 ? serf_filter_put_nodes(raw, &q->nodes) : 0;

	split = raw->len;
	if (rc == 0 && q->tag.len > 0)
		rc = serf_filter_put_tag(raw, q->tag, q->tag_expr);
	if (rc < 0)
		return rc;
	/* The buffer has moved for the last time. */
	if (split > from)
		v[n++] = (struct str){ (const char *)raw->data + from, split - from };
	if (raw->len > split)
		v[n++] = (struct str){ (const char *)raw->data + split, raw->len - split };
	*ret_n = n;
	return 0;
}

static int
encode(struct serf *s, const struct serf_ask *q, struct msg_query *m, struct buf *filters, struct str v[2], struct buf *raw)
{
	const struct gossip_addr *own = swim_node_addr(swim_self(s->swim));
	uint64_t timeout = q->timeout_ms > 0 ? ms(q->timeout_ms) : default_timeout(s);
	int rc;

	if (timeout > (uint64_t)(QUERY_TIMEOUT_MAX_S * NS_PER_S))
		timeout = (uint64_t)(QUERY_TIMEOUT_MAX_S * NS_PER_S);
	*m = (struct msg_query){ .ltime = s->query_clock, .id = s->hooks.random(s->hooks.ctx) & INT32_MAX,
		.addr = { (const char *)own->ip, own->len }, .port = own->port, .source_node = serf_own_name(s),
		.flags = q->want_ack ? QUERY_ACK : 0, .relay_factor = q->relay_factor, .timeout = (int64_t)timeout,
		.name = q->name, .payload = q->payload };
	rc = put_filters(q, filters, v, &m->filters.n);
	if (rc < 0)
		return rc;
	m->filters.v = v;
	rc = wire_put(raw, SERF_QUERY, &rec_msg_query, m);
	if (rc == 0 && raw->len > s->config.query_max)
		rc = -ELIMIT;
	return rc;
}

/* NULL without memory. */
static struct ask *
ask_add(struct serf *s, const struct serf_ask *q)
{
	struct ask **v = realloc(s->asks, (s->nasks + 1) * sizeof(struct ask *));
	struct ask *a;

	if (v == NULL)
		return NULL;
	s->asks = v;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return NULL;
	a->number = ++s->ask_numbers;
	a->want_ack = q->want_ack;
	a->expected = serf_asked_of(s);
	a->answer = q->answer;
	a->ctx = q->ctx;
	s->asks[s->nasks++] = a;
	return a;
}

static int
ask(struct serf *s, const struct serf_ask *q, uint64_t *ret)
{
	struct buf filters = BUF_INIT(WIRE_PACKET_MAX), raw = BUF_INIT(WIRE_PACKET_MAX);
	struct msg_query m;
	struct str v[2];
	struct ask *a = NULL;
	bool gossip = false;
	int rc = -ELIMIT;

	if (s->nasks >= SERF_ASKS_MAX || q->relay_factor > UINT8_MAX)
		goto out;
	rc = encode(s, q, &m, &filters, v, &raw);
	if (rc < 0)
		goto out;
	a = ask_add(s, q);
	if (a == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	a->ltime = clock_stamp(&s->query_clock);
	a->id = (uint32_t)m.id;
	a->deadline = after(serf_now(s), (uint64_t)m.timeout);
	*ret = a->number;
	rc = serf_query_take(s, &m, &gossip);
	if (rc == 0)
		serf_gossip(s, s->query_queue, (struct str){ (const char *)raw.data, raw.len }, NULL);
	else
		ask_free(s->asks[--s->nasks]);
out:
	buf_release(&filters);
	buf_release(&raw);
	return rc;
}

uint64_t
serf_ask(struct serf *s, uint64_t now, const struct serf_ask *q, int *ret_rc)
{
	uint64_t number = 0;
	int rc;

	serf_set_now(s, now);
	rc = ask(s, q, &number);
	if (rc < 0) {
		*ret_rc = rc;
		return 0;
	}
	return number;
}

void
serf_ask_release(struct serf *s)
{
	for (size_t i = 0; i < s->nasks; i++)
		ask_free(s->asks[i]);
	free(s->asks);
	for (size_t i = 0; i < s->nown; i++)
		free(s->own[i].payload);
	free(s->own);
}
