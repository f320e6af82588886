/* hold.c - requests that wait: for a leader to appear, or for a read barrier to hold. */
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

static void on_timer(uv_timer_t *t);

static void
set_timer(struct raftd *r)
{
	struct hold *h = &r->hold;
	uint64_t now = clock_ms();

	if (h->head == NULL) {
		(void)uv_timer_stop(&h->timer);
		return;
	}
	uv_update_time(&r->d->loop.uv);
	(void)uv_timer_start(&h->timer, on_timer, h->head->deadline_ms > now ? h->head->deadline_ms - now : 0, 0);
}

static void
take_out(struct hold *h, struct held **p)
{
	struct held *x = *p;

	*p = x->next;
	if (h->tail == &x->next)
		h->tail = p;
	h->n--;
	h->bytes -= x->len;
}

/* All wait equally long, so the first to come is the first to give up. */
static void
on_timer(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct hold *h = &r->hold;
	uint64_t now = clock_ms();
	struct held *x;

	while ((x = h->head) != NULL && x->deadline_ms <= now) {
		take_out(h, &h->head);
		rpc_reply_error(r->d->rpc, x->token, 500, "No cluster leader");
		free(x);
	}
	set_timer(r);
}

void
hold_init(struct raftd *r)
{
	struct hold *h = &r->hold;

	h->tail = &h->head;
	(void)uv_timer_init(&r->d->loop.uv, &h->timer);
	h->timer.data = r;
}

void
hold_release(struct raftd *r)
{
	struct hold *h = &r->hold;

	uv_close((uv_handle_t *)&h->timer, NULL);
	while (h->head != NULL) {
		struct held *x = h->head;

		take_out(h, &h->head);
		free(x);
	}
}

void
hold_add(struct raftd *r, const struct rpc_request *req, uint64_t read)
{
	struct hold *h = &r->hold;
	struct held *x = NULL;

	if (h->n < HELD_MAX && h->bytes + req->len <= HELD_BYTES_MAX)
		x = malloc(sizeof(*x) + req->len);
	if (x == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 500, "No cluster leader");
		return;
	}
	*x = (struct held){ .token = req->token, .deadline_ms = clock_ms() + r->hold_ms, .read = read, .op = req->info->number,
		.len = req->len };
	memcpy(x->body, req->body, req->len);
	*h->tail = x;
	h->tail = &x->next;
	h->n++;
	h->bytes += x->len;
	if (h->n == 1)
		set_timer(r);
}

static void
serve(struct raftd *r, struct held *x)
{
	struct rpc_request req = { .token = x->token, .info = op_info(x->op), .body = x->body, .len = x->len };

	if (x->read != 0)
		reads_confirmed(r, &req);
	else if (x->op == OP_SESSION_RENEW)
		leader_renew(r->d, &req);
	else if (req.info->access == OP_ACCESS_WRITE)
		propose_handle(r->d, &req);
	else
		reads_handle(r->d, &req);
}

void
hold_wake(struct raftd *r, uint64_t reads_ready)
{
	struct hold *h = &r->hold;
	struct held *ready = NULL, **end = &ready, **p = &h->head, *x;

	/* Taken out first: serving one may hold it again. */
	while ((x = *p) != NULL)
		if (x->read != 0 ? x->read <= reads_ready : reads_ready == 0) {
			take_out(h, p);
			x->next = NULL;
			*end = x;
			end = &x->next;
		} else {
			p = &x->next;
		}
	while ((x = ready) != NULL) {
		ready = x->next;
		serve(r, x);
		free(x);
	}
	set_timer(r);
}

void
hold_cancelled(struct raftd *r, struct rpc_token t)
{
	struct hold *h = &r->hold;

	for (struct held **p = &h->head; *p != NULL; p = &(*p)->next)
		if ((*p)->token.conn == t.conn && (*p)->token.id == t.id) {
			struct held *x = *p;

			take_out(h, p);
			free(x);
			return;
		}
}
