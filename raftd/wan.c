/*
 * wan.c - what a client node asks of the WAN pool, which servers alone are in:
 * a server's raftd asks its own gossipd.
 */
#include <stdlib.h>

#include "raftd/raftd.h"

enum { ASK_MS = 5000, ASKS_MAX = 1024 };

/* A question on its way to gossipd. */
struct ask {
	struct ask *next, **link;
	struct raftd *r;
	struct rpc_token token;
};

static struct ask *asks;
static size_t nasks;

static void
forget(struct ask *a)
{
	*a->link = a->next;
	if (a->next != NULL)
		a->next->link = a->link;
	nasks--;
	free(a);
}

static void
on_answer(void *arg, const struct rpc_answer *answer)
{
	struct ask *a = arg;

	if (answer->rc == 0 || answer->rc == -EPROTO)
		rpc_reply_answer(a->r->d->rpc, a->token, answer);
	else
		rpc_reply_error(a->r->d->rpc, a->token, 500, "the server's gossipd does not answer: %s", err_text(answer->rc));
	forget(a);
}

void
wan_handle(void *ctx, const struct rpc_request *req)
{
	static const struct member_query wan = { .wan = true };
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct ask *a = nasks < ASKS_MAX ? malloc(sizeof(*a)) : NULL;

	if (a == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 429, "The server has too many unfinished requests: this one was refused");
		return;
	}
	*a = (struct ask){ asks, &asks, r, req->token };
	if (asks != NULL)
		asks->link = &a->next;
	asks = a;
	nasks++;
	if (rpc_call_record(pool_gossip(r), OP_GOSSIP_COORDINATES, &(const struct query_options){ .internal = true }, &wan, RPC_RETRY, ASK_MS, on_answer, a) == 0) {
		rpc_reply_error(r->d->rpc, req->token, 429, "The server has too many unfinished requests: this one was refused");
		forget(a);
	}
}

/* The questions end with the connection to gossipd. */
void
wan_release(void)
{
	while (asks != NULL)
		forget(asks);
}
