/*
 * forward.c - requests that another raftd carries out: the leader, and for a
 * client node any server.
 *
 * A request is open in one place: here, on its way to a server and back, or
 * in hold.c. One that may be repeated (a read, or a write with a stamp, which
 * is applied once however often it arrives) is kept whole and goes back to
 * hold.c when its server turns out not to lead or is lost; any other ends
 * with the word that its outcome is unknown.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

#define SUB "agent.server.forward"
#define SUB_CLIENT "agent.client.forward"

enum {
	SENT_MAX = 65536,
	SENT_BYTES_MAX = 256 * 1024 * 1024,
	SMALL = 512,			/* bytes of request for which a spare structure has room */
	SPARE_MAX = 1024,
	SWITCH_MS = 400,		/* a client node tries another server when one is not connected by then */
	REBALANCE_MS = 120 * 1000,	/* and another one anyway after this, up to half as long again, */
	REBALANCES_PER_S = 64,		/* but no more of all nodes together at one server than this */
	SILENT_MS = 10 * 1000,		/* or when one does not answer what it could at once */
	TICK_CLIENT_MS = 200,
};

/* A request on its way. */
struct sent {
	struct sent *next, **link;	/* in the order of sending */
	struct sent *chain;		/* in the table by token */
	struct forward *forward;
	struct rpc_token token;
	void *peer;
	struct rpc_client *client;
	uint32_t call;
	uint64_t until_ms, sent_ms;
	bool again;			/* may be repeated */
	bool write;
	bool waits;			/* a blocking query, or another that may take long */
	bool unsure;			/* a write that a server before may have carried out */
	size_t len;
	uint8_t body[];
};

struct forward {
	struct raftd *r;
	struct sent *head, **tail;
	struct sent *by_token[TOKENS_HASH];
	struct sent *spare;
	size_t n, bytes, nspare;
	/* client node */
	struct rpc_client *any, *old;	/* old: that was left, until what it was asked is answered */
	char address[80], old_address[80];	/* of any; of old */
	struct { char address[80]; } order[POOL_SERVERS_MAX];	/* the servers, shuffled: the next one is the one behind it */
	size_t norder;
	uint64_t switch_ms, rebalance_ms, snapshot_ms;
	uv_timer_t tick;
};

/* ---- the table */

static struct sent *
sent_new(struct forward *f, size_t len)
{
	struct sent *x = f->spare;

	/* One may be larger than all together: it has got this far. */
	if (f->n >= SENT_MAX || (f->bytes > 0 && f->bytes + len > SENT_BYTES_MAX))
		return NULL;
	if (len <= SMALL && x != NULL) {
		f->spare = x->next;
		f->nspare--;
		return x;
	}
	return malloc(sizeof(*x) + (len > SMALL ? len : SMALL));
}

static void
sent_add(struct forward *f, struct sent *x)
{
	struct sent **chain = &f->by_token[token_hash(x->token)];

	x->next = NULL;
	x->link = f->tail;
	*f->tail = x;
	f->tail = &x->next;
	x->chain = *chain;
	*chain = x;
	f->n++;
	f->bytes += x->len;
}

static void
sent_remove(struct forward *f, struct sent *x)
{
	struct sent **p = &f->by_token[token_hash(x->token)];

	while (*p != x)
		p = &(*p)->chain;
	*p = x->chain;
	*x->link = x->next;
	if (x->next != NULL)
		x->next->link = x->link;
	else
		f->tail = x->link;
	f->n--;
	f->bytes -= x->len;
}

static void
sent_free(struct forward *f, struct sent *x)
{
	/* Requests carry tokens. */
	if (acl_on(f->r))
		sodium_memzero(x->body, x->len);
	if (x->len > SMALL || f->nspare >= SPARE_MAX) {
		free(x);
		return;
	}
	x->next = f->spare;
	f->spare = x;
	f->nspare++;
}

/* ---- one request */

/* To hold.c, from where it is sent again. */
static void
send_again(struct forward *f, struct sent *x, uint64_t until_ms)
{
	const struct rpc_request req = { .token = x->token, .info = op_info(x->token.op), .body = x->body, .len = x->len,
		.peer = x->peer };

	hold_again(f->r, &req, until_ms, x->unsure);
}

/* Of an error; 0: it is none. */
static int64_t
code_of(const struct rpc_answer *a)
{
	struct rpc_error e;

	if (a->rc != -EPROTO)
		return 0;
	rpc_error_decode(a, &e);
	return e.code;
}

/* Its server has gone, or is left: it is not known what came of it. */
static void
lost(struct forward *f, struct sent *x)
{
	struct raftd *r = f->r;
	uint64_t now = clock_ms(), least = now + r->hold_ms / 2;

	if (!x->again) {
		rpc_reply_error(r->d->rpc, x->token, 500,
		    "The connection to the server that was asked is lost; whether this took place is unknown");
		return;
	}
	x->unsure = x->unsure || x->write;
	/* It was with a server all the time, and nobody has said no: the next one gets a moment. */
	send_again(f, x, x->until_ms > least ? x->until_ms : least);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct sent *x = arg;
	struct forward *f = x->forward;
	int64_t code = code_of(a);

	sent_remove(f, x);
	if (code == RPC_NOT_LEADER)
		send_again(f, x, x->until_ms);
	else if (code != RPC_LEADER_LOST && (a->rc == 0 || a->rc == -EPROTO))
		rpc_reply_answer(f->r->d->rpc, x->token, a);
	else
		lost(f, x);
	sent_free(f, x);
}

static void
take_back(struct forward *f, struct sent *x)
{
	rpc_cancel(x->client, x->call);
	sent_remove(f, x);
	lost(f, x);
	sent_free(f, x);
}

/* What was sent to this server, which is left. */
static void
take_all_back(struct forward *f, const struct rpc_client *client)
{
	struct sent *x, *next;

	for (x = f->head; x != NULL; x = next) {
		next = x->next;
		if (x->client == client)
			take_back(f, x);
	}
}

void
forward_left(struct raftd *r, const struct rpc_client *client)
{
	if (r->forward != NULL)
		take_all_back(r->forward, client);
}

/* What is sent may be sent again. -EDECODE: malformed options. */
static int
look(const struct rpc_request *req, struct sent *x)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r in = mp_r_init(req->body, req->len);
	struct query_options o;
	int rc = record_decode(&rec_query_options, &in, &o, &none);

	if (rc < 0)
		return rc;
	x->again = req->info->access == OP_ACCESS_READ || (req->info->access == OP_ACCESS_WRITE && o.seq != 0);
	x->write = req->info->access != OP_ACCESS_READ;
	x->waits = o.min_index != 0 || req->info->access == OP_ACCESS_LEADER;
	return 0;
}

static void
too_many(struct raftd *r, const struct rpc_request *req)
{
	rpc_reply_error(r->d->rpc, req->token, 429, r->hold.serving_sent ?
	    "The server has too many unfinished requests; whether this write took place is unknown" :
	    "The server has too many unfinished requests: this one was refused");
}

static void
send_to(struct raftd *r, struct rpc_client *client, const struct rpc_request *req)
{
	struct forward *f = r->forward;
	struct sent *x = sent_new(f, req->len);

	if (x == NULL) {
		too_many(r, req);
		return;
	}
	*x = (struct sent){ .forward = f, .token = req->token, .peer = req->peer, .client = client, .until_ms = hold_deadline(r),
		.sent_ms = clock_ms(), .unsure = r->hold.serving_sent, .len = req->len };
	if (look(req, x) < 0) {
		rpc_bad_request(r->d->rpc, req, "malformed options");
		sent_free(f, x);
		return;
	}
	memcpy(x->body, req->body, req->len);
	x->call = rpc_call(client, req->info->number, req->body, req->len, RPC_NO_DEADLINE, 0, on_answer, x);
	if (x->call == 0) {
		too_many(r, req);
		sent_free(f, x);
		return;
	}
	sent_add(f, x);
}

void
forward_cancelled(struct raftd *r, struct rpc_token t)
{
	struct forward *f = r->forward;
	struct sent *x = f->by_token[token_hash(t)];

	while (x != NULL && (x->token.conn != t.conn || x->token.id != t.id))
		x = x->chain;
	if (x == NULL)
		return;
	rpc_cancel(x->client, x->call);
	sent_remove(f, x);
	sent_free(f, x);
}

/* ---- a server's: to the leader */

static struct rpc_client *
leader_client(struct raftd *r)
{
	uint64_t leader = r->engine.core.leader;
	struct rpc_client *c = leader != 0 && leader != r->id ? net_forward(r, leader) : NULL;

	return c != NULL && rpc_client_connected(c) ? c : NULL;
}

void
forward_leader(struct raftd *r, const struct rpc_request *req)
{
	const struct net_peer *from = req->peer;
	struct rpc_client *c = leader_client(r);

	/* It comes from a server that took us for the leader: unless we are about to be, it knows better where to go. */
	if (from != NULL && from->id != 0 && r->engine.core.leader != r->id)
		rpc_reply_error(r->d->rpc, req->token, RPC_NOT_LEADER, "Not the leader");
	else if (c == NULL)
		hold_add(r, req, 0, false);
	else
		send_to(r, c, req);
}

/* What was sent to one that no longer leads would at best be refused there: a stopped one does not even do that. */
void
forward_moved(struct raftd *r)
{
	struct forward *f = r->forward;
	uint64_t leader = r->engine.core.leader;
	const struct rpc_client *now;
	struct sent *x, *next;

	if (!r->server || leader == 0 || f->n == 0)
		return;
	now = leader != r->id ? net_forward(r, leader) : NULL;
	for (x = f->head; x != NULL; x = next) {
		next = x->next;
		if (x->client != now && x->again)
			take_back(f, x);
	}
}

bool
forward_waits(const struct raftd *r)
{
	const struct sent *x = r->forward->head;

	while (x != NULL && x->waits)
		x = x->next;
	return x != NULL;
}

bool
forward_possible(struct raftd *r)
{
	if (!r->server)
		return r->forward->any != NULL && rpc_client_connected(r->forward->any);
	return r->engine.core.leader == r->id ? engine_leads(r) : leader_client(r) != NULL;
}

/* ---- a client node's: to any server */

static void
on_any_state(void *arg, bool up)
{
	struct forward *f = arg;

	if (up) {
		log_info(SUB_CLIENT, "using server: address=%s", f->address);
		hold_wake_leader(f->r);
	} else {
		/* The next one, as soon as the calls of this one have been told. */
		f->switch_ms = 0;
	}
}

/* ---- which server */

static bool
is_usable(const struct raftd *r, const char *address)
{
	size_t n;
	const struct pool_server *v = pool_servers(r, &n);

	for (size_t i = 0; i < n; i++)
		if (pool_server_usable(&v[i]) && strcmp(v[i].address, address) == 0)
			return true;
	return false;
}

static size_t
place_of(const struct forward *f, const char *address)
{
	size_t i = 0;

	while (i < f->norder && strcmp(f->order[i].address, address) != 0)
		i++;
	return i;
}

static void
swap(struct forward *f, size_t a, size_t b)
{
	const char *from = f->order[a].address;
	char text[sizeof(f->address)];

	memcpy(text, from, sizeof(text));
	memcpy(f->order[a].address, f->order[b].address, sizeof(text));
	memcpy(f->order[b].address, text, sizeof(text));
}

static void
shuffle(struct forward *f)
{
	for (size_t i = f->norder; i > 1; i--)
		swap(f, i - 1, randombytes_uniform((uint32_t)i));
}

/* Who has gone is taken out, who is new gets any place. */
static void
take_order(struct forward *f)
{
	size_t n;
	const struct pool_server *v = pool_servers(f->r, &n);

	for (size_t i = 0; i < f->norder;)
		if (!is_usable(f->r, f->order[i].address))
			swap(f, i, --f->norder);
		else
			i++;
	for (size_t i = 0; i < n && f->norder < POOL_SERVERS_MAX; i++)
		if (pool_server_usable(&v[i]) && place_of(f, v[i].address) == f->norder) {
			memcpy(f->order[f->norder].address, v[i].address, sizeof(v[i].address));
			f->norder++;
			swap(f, f->norder - 1, randombytes_uniform((uint32_t)f->norder));
		}
}

/* As Consul's clients: so that new servers get their share, and no server hears of all nodes at once. */
static uint64_t
rebalance_after(const struct forward *f)
{
	const struct pool_list *l = pool_members(f->r);
	uint64_t ms = REBALANCE_MS + randombytes_uniform(REBALANCE_MS / 2);
	uint64_t scaled = l != NULL && f->norder > 0 ? (uint64_t)l->n * 1000 / (REBALANCES_PER_S * f->norder) : 0;

	return ms > scaled ? ms : scaled;
}

static void
let_go(struct forward *f)
{
	take_all_back(f, f->old);
	rpc_client_free(f->old);
	f->old = NULL;
}

/* A server that was left keeps what it was asked until it has answered, but only one is kept. */
static void
leave(struct forward *f)
{
	if (f->old != NULL)
		let_go(f);
	f->old = f->any;
	f->any = NULL;
	if (f->old == NULL)
		return;
	acl_server_left(f->r, f->old);
	memcpy(f->old_address, f->address, sizeof(f->old_address));
	rpc_client_on_state(f->old, NULL, NULL);
	if (!rpc_client_connected(f->old))
		let_go(f);
}

static void
use_next(struct forward *f)
{
	uint64_t now = clock_ms();
	size_t at = place_of(f, f->address);

	leave(f);
	f->switch_ms = now + SWITCH_MS;
	f->rebalance_ms = now + rebalance_after(f);
	if (f->norder == 0)
		return;
	at = at < f->norder ? (at + 1) % f->norder : 0;
	memcpy(f->address, f->order[at].address, sizeof(f->address));
	f->any = net_client(f->r, f->address, "forward");
	if (f->any != NULL)
		rpc_client_on_state(f->any, on_any_state, f);
}

/* Its node has failed: what may be asked elsewhere is not waited for. */
static void
take_back_safe(struct forward *f, const struct rpc_client *client)
{
	struct sent *x, *next;

	for (x = f->head; x != NULL; x = next) {
		next = x->next;
		if (x->client == client && x->again)
			take_back(f, x);
	}
}

void
forward_pool_changed(struct raftd *r)
{
	struct forward *f = r->forward;
	const struct rpc_client *left = f->any;

	take_order(f);
	if (f->old != NULL && place_of(f, f->old_address) == f->norder)
		take_back_safe(f, f->old);
	if (f->any != NULL && place_of(f, f->address) < f->norder)
		return;
	if (f->any != NULL)
		log_info(SUB_CLIENT, "the server's node has failed or left: address=%s", f->address);
	use_next(f);
	if (left != NULL && left == f->old)
		take_back_safe(f, left);
	/* Who waited for servers and now learns that there are none. */
	if (f->norder == 0)
		hold_wake_leader(r);
}

/* A server that is stopped keeps its connections: whoever was asked a plain question must answer. */
static bool
is_silent(const struct forward *f, const struct rpc_client *client, uint64_t now)
{
	const struct sent *x = f->head;

	while (x != NULL && (x->waits || x->client != client))
		x = x->next;
	return x != NULL && x->sent_ms + f->r->hold_ms + SILENT_MS < now;
}

static void
on_tick(uv_timer_t *t)
{
	struct forward *f = t->data;
	uint64_t now = clock_ms();
	bool up = f->any != NULL && rpc_client_connected(f->any);

	if (f->old != NULL && is_silent(f, f->old, now))
		take_all_back(f, f->old);
	if (up && is_silent(f, f->any, now)) {
		log_warn(SUB_CLIENT, "a server does not answer: address=%s", f->address);
		take_all_back(f, f->any);
		use_next(f);
		return;
	}
	if (up && now >= f->rebalance_ms && f->norder < 2) {
		f->rebalance_ms = now + rebalance_after(f);
		return;
	}
	/* The pieces of a snapshot are with the server that made it. */
	if (up && now >= f->rebalance_ms && now > f->snapshot_ms + SILENT_MS) {
		shuffle(f);
		use_next(f);
	} else if (!up && f->norder > 0 && now >= f->switch_ms) {
		use_next(f);
	}
}

struct rpc_client *
forward_client(struct raftd *r)
{
	struct rpc_client *c = r->forward->any;

	return c != NULL && rpc_client_connected(c) ? c : NULL;
}

void
forward_any(struct raftd *r, const struct rpc_request *req)
{
	struct forward *f = r->forward;

	if (req->info->number >= OP_SNAPSHOT_SAVE && req->info->number <= OP_SNAPSHOT_RESTORE)
		f->snapshot_ms = clock_ms();
	if (f->any != NULL && rpc_client_connected(f->any))
		send_to(r, f->any, req);
	else if (f->norder == 0 && pool_members(r) != NULL)
		rpc_reply_error(r->d->rpc, req->token, 500, r->hold.serving_sent ?
		    "No known Consul servers; whether this write took place is unknown" : "No known Consul servers");
	else
		hold_add(r, req, 0, false);
}

/* ---- start and end */

int
forward_init(struct raftd *r)
{
	struct forward *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		log_err(SUB, "no memory for forwarding");
		return -ENOMEM;
	}
	f->r = r;
	f->tail = &f->head;
	r->forward = f;
	(void)uv_timer_init(&r->d->loop.uv, &f->tick);
	f->tick.data = f;
	if (!r->server)
		(void)uv_timer_start(&f->tick, on_tick, 0, TICK_CLIENT_MS);
	return 0;
}

static void
on_tick_closed(uv_handle_t *h)
{
	free(h->data);
}

void
forward_release(struct raftd *r)
{
	struct forward *f = r->forward;
	struct sent *x;

	if (f == NULL)
		return;
	if (f->any != NULL)
		acl_server_left(r, f->any);
	rpc_client_free(f->any);
	rpc_client_free(f->old);
	while ((x = f->head) != NULL) {
		sent_remove(f, x);
		free(x);
	}
	while ((x = f->spare) != NULL) {
		f->spare = x->next;
		free(x);
	}
	r->forward = NULL;
	uv_close((uv_handle_t *)&f->tick, on_tick_closed);
}
