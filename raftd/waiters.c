/*
 * waiters.c - writes of this server that wait for their entries to be applied.
 *
 * A waiter knows index and term of its entry. It is answered when the entry
 * of that index is applied, which a server that is no longer the leader does
 * too. When another entry took the place, or ours is cut off the log, the
 * write is sent to the leader of now: its stamp sees to it that it is carried
 * out once, should the first copy survive on another server after all.
 *
 * Invariant: the ring ascends by index.
 */
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

static struct waiter *
at(struct engine *e, size_t i)
{
	return &e->waiters[(e->wfirst + i) & (e->wcap - 1)];
}

static void
pop(struct engine *e)
{
	e->wfirst = (e->wfirst + 1) & (e->wcap - 1);
	e->wn--;
}

int
waiters_add(struct engine *e, const struct waiter *w)
{
	if (e->wn == e->wcap) {
		size_t cap = e->wcap != 0 ? e->wcap * 2 : 64;
		struct waiter *v;

		if (e->wn >= WAITERS_MAX)
			return -ELIMIT;
		v = malloc(cap * sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		for (size_t i = 0; i < e->wn; i++)
			v[i] = *at(e, i);
		free(e->waiters);
		e->waiters = v;
		e->wfirst = 0;
		e->wcap = cap;
	}
	*at(e, e->wn++) = *w;
	return 0;
}

bool
engine_in_flight(struct raftd *r, struct str origin, uint64_t seq)
{
	struct engine *e = &r->engine;

	for (size_t i = 0; i < e->wn; i++) {
		const struct waiter *w = at(e, i);

		if (w->seq == seq && origin.len == sizeof(w->origin) && memcmp(w->origin, origin.p, origin.len) == 0)
			return true;
	}
	return false;
}

static void
unknown(struct raftd *r, struct waiter *w, const char *why)
{
	if (w->token.conn != 0)
		rpc_reply_error(r->d->rpc, w->token, 500, "%s; whether this write took place is unknown", why);
	w->token.conn = 0;
}

/* Send the write, whose entry this is, to the leader. never: that entry was seen by nobody. */
static void
resubmit(struct raftd *r, struct waiter *w, struct str data, bool never)
{
	struct engine *e = &r->engine;
	struct rpc_request req = { .token = w->token, .info = op_info(w->op) };
	struct hold *h = &r->hold;
	const uint64_t until = h->serving_until;
	const bool sent = h->serving_sent;
	struct fsm_entry fe;
	int rc;

	if (w->token.conn == 0)
		return;
	/* An entry that only asks is not the request: but a server that sent it has that still. */
	if (data.p == NULL || (w->seq == 0 && !never) || (w->replay && !w->forwarded) || fsm_entry_decode(data, &fe) < 0) {
		unknown(r, w, "The server is no longer the cluster's leader");
		return;
	}
	if (w->forwarded) {
		rpc_reply_error(r->d->rpc, w->token, never ? RPC_NOT_LEADER : RPC_LEADER_LOST, "Not the leader");
		return;
	}
	buf_shrink(&e->scratch, 64 * KiB);
	rc = buf_add(&e->scratch, fe.options.p, fe.options.len);
	if (rc == 0)
		rc = buf_add(&e->scratch, fe.request.p, fe.request.len);
	if (rc < 0) {
		unknown(r, w, err_text(rc));
		return;
	}
	req.body = e->scratch.data;
	req.len = e->scratch.len;
	/* It is this one that is being served: with a time of its own, and a copy that may survive. */
	h->serving_until = 0;
	h->serving_sent = w->sent || !never;
	forward_leader(r, &req);
	h->serving_until = until;
	h->serving_sent = sent;
}

void
waiters_applied(struct raftd *r, uint64_t index, uint64_t term, struct str options, struct str payload, const struct fsm_error *err)
{
	struct engine *e = &r->engine;
	struct waiter w;

	/* Entries of our own have no waiter. */
	if (e->wn == 0 || at(e, 0)->index != index)
		return;
	w = *at(e, 0);
	pop(e);
	if (w.term != term) {
		resubmit(r, &w, STR_NONE, false);
		return;
	}
	count_answered(w.op, clock_ns() - w.at_ns);
	if (w.token.conn != 0)
		propose_answer(r, &w, fsm_index(r->engine.fsm), options, payload, err);
}

/* How many from the oldest are in front of index. */
static size_t
before(struct engine *e, uint64_t index)
{
	size_t n = e->wn;

	while (n > 0 && at(e, n - 1)->index >= index)
		n--;
	return n;
}

void
waiters_cut(struct raftd *r, uint64_t index)
{
	struct engine *e = &r->engine;
	size_t keep = before(e, index), n = e->wn;

	for (size_t i = keep; i < n; i++) {
		struct waiter w = *at(e, i);

		resubmit(r, &w, entries_data(&e->entries, w.index, w.term), false);
	}
	e->wn = keep;
}

void
waiters_unproposed(struct raftd *r, const struct batch *b, uint64_t index)
{
	struct engine *e = &r->engine;
	size_t keep = before(e, index), i = keep, n = e->wn;
	struct batch_cursor c;
	struct batch_entry entry;

	if (batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, index, &c) < 0)
		return;
	while (i < n && batch_next(&c, false, &entry) > 0)
		if (at(e, i)->index == entry.index) {
			struct waiter w = *at(e, i++);

			resubmit(r, &w, entry.data, true);
		}
	e->wn = keep;
}

void
waiters_fail(struct raftd *r, const char *why)
{
	struct engine *e = &r->engine;

	for (size_t i = 0; i < e->wn; i++)
		unknown(r, at(e, i), why);
}

bool
waiters_expire(struct raftd *r, uint64_t before_ns)
{
	struct engine *e = &r->engine;
	size_t i = 0;

	while (i < e->wn && at(e, i)->at_ns <= before_ns)
		unknown(r, at(e, i++), "No cluster leader");
	return i < e->wn;
}
