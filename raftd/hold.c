/* hold.c - requests that wait: for a leader to appear, or for a read barrier to hold. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

static void on_tick(uv_timer_t *t);

/* ---- one request in its queue and in the table by token */

static void
put_in(struct hold *h, struct held_queue *q, struct held *x)
{
	struct held **chain = &h->by_token[token_hash(x->token)];

	x->next = NULL;
	x->link = q->tail;
	*q->tail = x;
	q->tail = &x->next;
	q->n++;
	x->chain = *chain;
	*chain = x;
	h->n++;
	h->bytes += x->len;
}

static struct held_queue *
queue_of(struct hold *h, const struct held *x)
{
	return x->read != 0 ? &h->reads[x->consistent] : &h->leader;
}

static void
take_out(struct hold *h, struct held *x)
{
	struct held_queue *q = queue_of(h, x);
	struct held **p = &h->by_token[token_hash(x->token)];

	while (*p != x)
		p = &(*p)->chain;
	*p = x->chain;
	*x->link = x->next;
	if (x->next != NULL)
		x->next->link = x->link;
	else
		q->tail = x->link;
	q->n--;
	h->n--;
	h->bytes -= x->len;
}

/* Requests carry tokens. */
static void
held_free(const struct raftd *r, struct held *x)
{
	if (acl_on(r))
		sodium_memzero(x->body, x->len);
	free(x);
}

/* ---- time */

static void
give_up(struct raftd *r, struct rpc_token t, bool sent)
{
	const char *text = !r->server && pool_usable(r) == 0 ? "No known Consul servers" : "No cluster leader";

	rpc_reply_error(r->d->rpc, t, 500, sent ? "%s; whether this write took place is unknown" : "%s", text);
}

static void
expire(struct raftd *r, struct held_queue *q, uint64_t now)
{
	struct held *x, *next;

	for (x = q->head; x != NULL; x = next) {
		next = x->next;
		if (x->deadline_ms > now)
			continue;
		take_out(&r->hold, x);
		give_up(r, x->token, x->sent);
		held_free(r, x);
	}
}

/*
 * Those that came back from a leader that had gone have less time left than
 * newer ones in front of them: all are looked at. Sending is tried again,
 * too: the same leader may take now what it did not before.
 */
static void
on_tick(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct hold *h = &r->hold;
	uint64_t now = clock_ms();

	if (h->leader.n > 0 && forward_possible(r))
		hold_wake_leader(r);
	expire(r, &h->leader, now);
	expire(r, &h->reads[false], now);
	expire(r, &h->reads[true], now);
	if (h->n == 0)
		(void)uv_timer_stop(t);
}

uint64_t
hold_deadline(const struct raftd *r)
{
	return r->hold.serving_until != 0 ? r->hold.serving_until : clock_ms() + r->hold_ms;
}

/* ---- keeping */

static void
add(struct raftd *r, const struct rpc_request *req, const struct held *how)
{
	struct hold *h = &r->hold;
	struct held *x = NULL;

	if (h->n < HELD_MAX && h->bytes + req->len <= HELD_BYTES_MAX && clock_ms() < how->deadline_ms)
		x = malloc(sizeof(*x) + req->len);
	if (x == NULL) {
		give_up(r, req->token, how->sent);
		return;
	}
	*x = *how;
	x->token = req->token;
	x->peer = req->peer;
	x->len = req->len;
	memcpy(x->body, req->body, req->len);
	put_in(h, queue_of(h, x), x);
	if (!uv_is_active((uv_handle_t *)&h->timer))
		(void)uv_timer_start(&h->timer, on_tick, HOLD_TICK_MS, HOLD_TICK_MS);
}

void
hold_add(struct raftd *r, const struct rpc_request *req, uint64_t read, bool consistent)
{
	const struct held how = { .deadline_ms = hold_deadline(r), .read = read, .consistent = consistent,
		.sent = r->hold.serving_sent };

	add(r, req, &how);
}

void
hold_again(struct raftd *r, const struct rpc_request *req, uint64_t until_ms, bool sent)
{
	const struct held how = { .deadline_ms = until_ms, .sent = sent };

	add(r, req, &how);
}

/* ---- waking */

/* Serving one may hold it again: at the end of a queue, with the time it has left. */
static void
serve(struct raftd *r, struct held *x)
{
	const struct rpc_request req = { .token = x->token, .info = op_info(x->token.op), .body = x->body, .len = x->len,
		.peer = x->peer };
	struct hold *h = &r->hold;
	const uint64_t until = h->serving_until;
	const bool sent = h->serving_sent, confirmed = h->serving_confirmed;

	take_out(h, x);
	h->serving_until = x->deadline_ms;
	h->serving_sent = x->sent;
	h->serving_confirmed = x->read != 0;
	if (x->read != 0 && x->token.op == OP_SNAPSHOT_SAVE)
		snapshot_confirmed(r, &req);
	else if (x->read != 0 && req.info->access == OP_ACCESS_READ)
		reads_confirmed(r, &req);
	else
		raftd_serve(r, &req);
	h->serving_until = until;
	h->serving_sent = sent;
	h->serving_confirmed = confirmed;
	held_free(r, x);
}

void
hold_wake_reads(struct raftd *r, uint64_t ready, bool consistent)
{
	struct held_queue *q = &r->hold.reads[consistent];

	for (size_t n = q->n; n > 0 && q->head != NULL && q->head->read <= ready; n--)
		serve(r, q->head);
}

void
hold_wake_leader(struct raftd *r)
{
	struct held_queue *q = &r->hold.leader;

	forward_moved(r);
	for (size_t n = q->n; n > 0 && q->head != NULL; n--)
		serve(r, q->head);
}

void
hold_cancelled(struct raftd *r, struct rpc_token t)
{
	struct hold *h = &r->hold;
	struct held *x = h->by_token[token_hash(t)];

	while (x != NULL && (x->token.conn != t.conn || x->token.id != t.id))
		x = x->chain;
	if (x != NULL) {
		take_out(h, x);
		held_free(r, x);
	}
}

void
hold_init(struct raftd *r)
{
	struct hold *h = &r->hold;

	h->leader.tail = &h->leader.head;
	h->reads[0].tail = &h->reads[0].head;
	h->reads[1].tail = &h->reads[1].head;
	(void)uv_timer_init(&r->d->loop.uv, &h->timer);
	h->timer.data = r;
}

void
hold_release(struct raftd *r)
{
	struct hold *h = &r->hold;
	struct held_queue *const all[] = { &h->leader, &h->reads[0], &h->reads[1] };

	uv_close((uv_handle_t *)&h->timer, NULL);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		while (all[i]->head != NULL) {
			struct held *x = all[i]->head;

			take_out(h, x);
			held_free(r, x);
		}
}
