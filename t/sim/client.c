/*
 * client.c - concurrent clients of a few registers.
 *
 * One operation at a time each. It may be asked several times, at several
 * servers, always under its own number, so that it applies once; a client
 * that gives up does not know its outcome and goes on with the next. Values
 * are unique: each is the number of the operation that wrote it.
 */
#include "t/sim/world.h"

#include <stdlib.h>

#include "t/sim/linear.h"

enum { TRIES_MAX = 5 };

static void
wake_in(struct world *w, unsigned client, uint64_t us)
{
	world_post(w, w->now + us, EV_CLIENT, NULL, client, ++w->clients[client].gen, 0, NULL);
}

void
client_start(struct world *w)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		w->clients[i].pinned = -1;
	for (unsigned i = 0; i < w->nclients; i++)
		wake_in(w, i, below(w, 200 * MS));
}

static unsigned
choose_target(struct world *w, const struct client *c)
{
	if (c->pinned >= 0)
		return (unsigned)c->pinned;
	/* A leader, or whoever believes to be one, is where the interesting answers are. */
	for (unsigned i = 0; chance(w, 300) && i < w->nodes; i++)
		if (w->node[i].up && w->node[i].core.role == RAFT_LEADER)
			return i;
	return chance(w, 500) ? c->target : (unsigned)below(w, w->nodes);
}

static void
ask(struct world *w, unsigned client)
{
	struct client *c = &w->clients[client];
	struct packet *k = net_packet(w, PACKET_REQUEST);

	c->tries++;
	c->target = choose_target(w, c);
	wake_in(w, client, w->calm ? 500 * MS : between(w, 50 * MS, 1500 * MS));
	k->op = c->op;
	k->gen = c->gen;
	k->node = c->target;
	net_request(w, k);
}

void
client_ask(struct world *w, unsigned client, enum op_kind kind, unsigned key)
{
	struct client *c = &w->clients[client];

	/* The last few are for the end. */
	if (w->nops + 1 >= (w->calm ? OPS_MAX : OPS_MAX - 2 * CLIENTS_MAX))
		return;
	c->op = ++w->nops;
	c->tries = 0;
	w->ops[c->op] = (struct op){ .kind = kind, .key = key, .client = client, .value = c->op, .expect = c->known[key],
		.invoked = w->now };
	TRACE(w, "client %u begins #%u: %s key %u%s", client, c->op, kind == OP_PUT ? "put" : kind == OP_CAS ? "cas" : "get", key,
	    kind == OP_GET_CONSISTENT ? " consistent" : "");
	ask(w, client);
}

void
client_wake(struct world *w, unsigned client, uint32_t gen)
{
	static const enum op_kind kinds[] = { OP_PUT, OP_PUT, OP_CAS, OP_GET, OP_GET, OP_GET, OP_GET_CONSISTENT };
	struct client *c = &w->clients[client];

	if (gen != c->gen)
		return;
	if (c->op != 0 && (c->tries < TRIES_MAX || c->stubborn)) {
		ask(w, client);
		return;
	}
	if (c->op != 0) {
		TRACE(w, "client %u gives up #%u", client, c->op);
		w->tally.unknown++;
	}
	c->op = 0;
	if (!w->calm)
		client_ask(w, client, kinds[below(w, sizeof(kinds) / sizeof(kinds[0]))], (unsigned)below(w, KEYS));
}

void
client_reply(struct world *w, const struct packet *k)
{
	struct op *o = &w->ops[k->op];
	struct client *c = &w->clients[o->client];

	if (c->op != k->op)
		return;
	if (k->refused) {
		if (k->gen == c->gen)
			wake_in(w, o->client, between(w, 5 * MS, 50 * MS));
		return;
	}
	o->returned = w->now;
	o->ok = k->ok;
	o->seen = k->seen;
	if (o->kind == OP_GET || o->kind == OP_GET_CONSISTENT || !k->ok)
		c->known[o->key] = k->seen;
	else
		c->known[o->key] = o->value;
	TRACE(w, "client %u ends #%u: %s %u", o->client, k->op, k->ok ? "done" : "failed", k->seen);
	c->op = 0;
	if (!w->calm)
		wake_in(w, o->client, around(w, w->think_us));
}

static struct linear_op
history_op(const struct op *o)
{
	struct linear_op l = { .client = o->client, .key = o->key, .call = o->invoked,
		.ret = o->returned != 0 ? o->returned : LINEAR_UNKNOWN, .ok = o->ok, .value = o->value };

	switch (o->kind) {
	case OP_PUT:
		l.kind = LINEAR_PUT;
		l.ok = true;
		break;
	case OP_CAS:
		l.kind = LINEAR_CAS;
		l.expect = o->expect;
		l.seen = o->seen;
		l.saw = !o->ok;
		break;
	default:
		l.kind = LINEAR_GET;
		l.seen = o->seen;
		l.saw = true;
		break;
	}
	return l;
}

static void
print_key(const struct world *w, uint64_t key)
{
	for (uint32_t i = 1; i <= w->nops; i++) {
		const struct op *o = &w->ops[i];

		if (o->key == key && (o->returned != 0 || o->kind == OP_PUT || o->kind == OP_CAS))
			printf("  #%u client %u %10.3f..%10.3f ms kind %d value %u expect %u: %s saw %u\n", i, o->client,
			    (double)o->invoked / 1e3, (double)o->returned / 1e3, o->kind, o->value, o->expect,
			    o->returned == 0 ? "unknown" : o->ok ? "done" : "failed", o->seen);
	}
}

/* At the end: is there an order in which all answers are right? */
void
client_check(struct world *w)
{
	struct linear_op *ops = calloc(w->nops + 1, sizeof(*ops));
	enum linear_verdict verdict;
	uint64_t key = 0;
	size_t n = 0;

	if (ops == NULL)
		abort();
	for (uint32_t i = 1; i <= w->nops; i++)
		ops[n++] = history_op(&w->ops[i]);
	verdict = linear_check(ops, n, &key);
	free(ops);
	if (verdict == LINEAR_OK)
		return;
	if (w->trace && verdict == LINEAR_BAD)
		print_key(w, key);
	world_fail(w, "linearizability", "%s for key %llu", verdict == LINEAR_BAD ? "no order explains the history" :
	    "no order was found within the limits", (unsigned long long)key);
}
