/* acl_gate.c - requests that wait for what their token may do. */
#include "lib/acl_gate.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_FIRST = 16 };

enum answer { NOT_KNOWN, NO, YES };

struct fact {
	struct acl_question q;
	enum answer answer;
};

struct acl_facts {
	struct rpc_server *server;
	struct rpc_token token;
	bool open, internal, known;	/* known: the token is one */
	struct arena arena;		/* segments, and what is below */
	struct fact *v;			/* in the order of the questions */
	size_t n, cap, missing;
	uint32_t *table;		/* 1 + index into v, by hash; size is a power of two above 2 * n */
	size_t slots;
	int rc;				/* why nothing more could be taken */
	struct str accessor;
	struct acl_question refused;
};

/* A request that waits. */
struct parked {
	struct parked *next, **prev;
	struct acl_gate *gate;
	struct acl_kept kept;
	struct str secret;		/* in its body */
	void *ctx;
	acl_handler *fn;
	struct acl_facts facts;
	struct acl_ask *ask;
	size_t first, asked;		/* which of the facts */
	unsigned rounds;
};

struct acl_gate {
	struct rpc_client *raftd;
	bool enabled;
	struct parked *parked;
	size_t n, bytes;
};

/* ---- facts */

static uint32_t
hash_of(const struct acl_question *q)
{
	const struct str part[] = { q->resource, q->access, q->segment };
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < ARRAY_LEN(part); i++)
		for (size_t k = 0; k < part[i].len; k++)
			h = (h ^ (uint8_t)part[i].p[k]) * 16777619u;
	return h;
}

static bool
same(const struct acl_question *a, const struct acl_question *b)
{
	return str_eq(a->segment, b->segment) && str_eq(a->resource, b->resource) && str_eq(a->access, b->access);
}

static size_t
place_of(const struct acl_facts *f, const struct acl_question *q)
{
	size_t i = hash_of(q) & (f->slots - 1);

	while (f->table[i] != 0 && !same(&f->v[f->table[i] - 1].q, q))
		i = (i + 1) & (f->slots - 1);
	return i;
}

/* Room for one more. What it was before stays in the arena until the request is over. */
static int
facts_grow(struct acl_facts *f)
{
	size_t cap = f->cap != 0 ? f->cap * 2 : TABLE_FIRST;
	struct fact *v = arena_alloc(&f->arena, cap * sizeof(*v));
	uint32_t *table = v != NULL ? arena_alloc(&f->arena, 2 * cap * sizeof(*table)) : NULL;

	if (table == NULL)
		return -ELIMIT;
	if (f->n > 0)
		memcpy(v, f->v, f->n * sizeof(*v));
	f->v = v;
	f->cap = cap;
	f->table = table;
	f->slots = 2 * cap;
	for (size_t i = 0; i < f->n; i++)
		f->table[place_of(f, &f->v[i].q)] = (uint32_t)i + 1;
	return 0;
}

/* The fact of this question, made if there is none; NULL without memory. */
static struct fact *
fact_of(struct acl_facts *f, const struct acl_question *q)
{
	struct fact *x;
	size_t at;

	if (f->n == f->cap && facts_grow(f) < 0)
		return NULL;
	at = place_of(f, q);
	if (f->table[at] != 0)
		return &f->v[f->table[at] - 1];
	x = &f->v[f->n];
	x->q = *q;
	x->q.segment.p = arena_strdup(&f->arena, q->segment);
	if (x->q.segment.p == NULL)
		return NULL;
	x->answer = NOT_KNOWN;
	f->table[at] = (uint32_t)++f->n;
	f->missing++;
	return x;
}

bool
acl_may(struct acl_facts *f, const char *resource, struct str segment, const char *access)
{
	struct acl_question q = { str_from(resource), segment, str_from(access) };
	struct fact *x;

	if (f->open)
		return true;
	x = fact_of(f, &q);
	if (x == NULL) {
		f->rc = -ELIMIT;
		return false;
	}
	if (x->answer == NO)
		f->refused = x->q;
	return x->answer == YES;
}

bool
acl_pending(const struct acl_facts *f)
{
	return !f->open && (!f->known || f->missing > 0 || f->rc != 0);
}

bool
acl_open(const struct acl_facts *f)
{
	return f->open;
}

bool
acl_internal(const struct acl_facts *f)
{
	return f->internal;
}

void
acl_refuse(const struct acl_facts *f)
{
	char text[ACL_DENIED_MAX];

	acl_denied_text(f->accessor, &f->refused, text);
	rpc_reply_error(f->server, f->token, 403, "%s", text);
}

void
acl_refuse_missing(const struct acl_facts *f)
{
	const struct acl_question *q = &f->refused;

	rpc_reply_error(f->server, f->token, 403, "Permission denied: Missing %.*s:%.*s on %.*s", STR_ARG(q->resource),
	    STR_ARG(q->access), (int)(q->segment.len < ACL_DENIED_MAX ? q->segment.len : ACL_DENIED_MAX), q->segment.p);
}

bool
acl_filtered(const struct acl_facts *f, bool hidden)
{
	return hidden && !f->open && !str_eqs(f->accessor, ACL_ANONYMOUS);
}

/* ---- requests that are kept */

int
acl_keep(struct acl_kept *k, const struct rpc_request *req)
{
	uint8_t *body = malloc(req->len > 0 ? req->len : 1);

	if (body == NULL)
		return -ENOMEM;
	if (req->len > 0)
		memcpy(body, req->body, req->len);
	k->req = *req;
	k->req.body = k->body = body;
	k->req.from = NULL;
	return 0;
}

void
acl_kept_release(struct acl_kept *k)
{
	if (k->body != NULL)
		sodium_memzero(k->body, k->req.len);
	free(k->body);
	k->body = NULL;
}

/* ---- requests that wait for their rights */

static void run(struct parked *p);

static void
parked_free(struct parked *p)
{
	acl_ask_cancel(p->ask);
	if (p->prev != NULL) {
		*p->prev = p->next;
		if (p->next != NULL)
			p->next->prev = p->prev;
		p->gate->n--;
		p->gate->bytes -= p->kept.req.len;
	}
	acl_kept_release(&p->kept);
	arena_release(&p->facts.arena);
	free(p);
}

static void
fail(struct parked *p, uint64_t code, struct str text)
{
	rpc_reply_error(p->facts.server, p->kept.req.token, (int)code, "%.*s", STR_ARG(text));
	parked_free(p);
}

static int
take_accessor(struct acl_facts *f, struct str accessor)
{
	char *copy;

	if (f->known && str_eq(f->accessor, accessor))
		return 0;
	copy = arena_strdup(&f->arena, accessor);
	if (copy == NULL)
		return -ELIMIT;
	f->accessor = (struct str){ copy, accessor.len };
	f->known = true;
	return 0;
}

static void
on_verdict(void *arg, const struct acl_verdict *v)
{
	struct parked *p = arg;
	struct acl_facts *f = &p->facts;

	p->ask = NULL;
	if (v->code != 0) {
		fail(p, v->code, v->text);
		return;
	}
	if (take_accessor(f, v->accessor) < 0) {
		fail(p, 500, STR("out of memory"));
		return;
	}
	for (size_t i = 0; i < p->asked; i++)
		f->v[p->first + i].answer = acl_verdict_allows(v, i) ? YES : NO;
	f->missing -= p->asked;
	p->first += p->asked;
	run(p);
}

/* The next of what is missing: new facts are always at the end. */
static int
ask(struct parked *p)
{
	struct acl_facts *f = &p->facts;
	size_t n = f->missing < ACL_AUTHORIZE_MAX ? f->missing : ACL_AUTHORIZE_MAX;
	struct acl_question *q = calloc(n > 0 ? n : 1, sizeof(*q));

	if (q == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		q[i] = f->v[p->first + i].q;
	p->asked = n;
	p->ask = acl_ask_start(p->gate->raftd, p->secret, q, n, on_verdict, p);
	free(q);
	return p->ask != NULL ? 0 : -ELIMIT;
}

static void
run(struct parked *p)
{
	struct acl_facts *f = &p->facts;

	if (f->missing == 0)
		p->fn(p->ctx, &p->kept.req, f);
	/* Answered (a malformed request has been, too), or taken elsewhere to wait for something. */
	if (!rpc_request_open(f->server, p->kept.req.token) || (f->rc == 0 && !acl_pending(f))) {
		parked_free(p);
		return;
	}
	if (f->rc < 0 || ++p->rounds > ACL_GATE_ROUNDS_MAX)
		fail(p, 500, STR("too many permissions have to be looked at for this request"));
	else if (ask(p) < 0)
		fail(p, 500, STR("too many requests wait for the rights of their tokens"));
}

/* A copy that outlives the handler; NULL without memory or at the limits. */
static struct parked *
park(struct acl_gate *g, struct rpc_server *s, void *ctx, const struct rpc_request *req, acl_handler *fn)
{
	bool room = g->n < ACL_GATE_WAITING_MAX && (g->n == 0 || req->len <= ACL_GATE_BYTES_MAX - g->bytes);
	struct parked *p = room ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL)
		return NULL;
	p->gate = g;
	p->ctx = ctx;
	p->fn = fn;
	arena_init(&p->facts.arena, ACL_GATE_FACTS_MAX);
	p->facts.server = s;
	p->facts.token = req->token;
	if (acl_keep(&p->kept, req) < 0) {
		parked_free(p);
		return NULL;
	}
	p->next = g->parked;
	p->prev = &g->parked;
	if (p->next != NULL)
		p->next->prev = &p->next;
	g->parked = p;
	g->n++;
	g->bytes += req->len;
	return p;
}

/* The options at the front of a body; the rest is the handler's to decode. */
static int
options_of(const uint8_t *body, size_t len, struct query_options *ret)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r r = mp_r_init(body, len);

	return record_decode(&rec_query_options, &r, ret, &none);
}

void
acl_gate_serve(struct acl_gate *g, struct rpc_server *s, void *ctx, const struct rpc_request *req, acl_handler *fn)
{
	struct acl_facts open = { .server = s, .token = req->token, .open = true };
	struct query_options o;
	struct parked *p;
	int rc = options_of(req->body, req->len, &o);

	if (rc < 0) {
		rpc_bad_request(s, req, err_text(rc));
		return;
	}
	open.internal = o.internal;
	if (!g->enabled || o.internal) {
		fn(ctx, req, &open);
		return;
	}
	p = park(g, s, ctx, req, fn);
	/* Of the copy: it has been decoded once, and decodes again. */
	if (p == NULL || options_of(p->kept.body, p->kept.req.len, &o) < 0) {
		rpc_reply_error(s, req->token, 500, "too many requests wait for the rights of their tokens");
		if (p != NULL)
			parked_free(p);
		return;
	}
	p->secret = o.token;
	run(p);
}

bool
acl_gate_cancelled(struct acl_gate *g, struct rpc_token token)
{
	for (struct parked *p = g != NULL ? g->parked : NULL; p != NULL; p = p->next)
		if (p->kept.req.token.conn == token.conn && p->kept.req.token.id == token.id) {
			parked_free(p);
			return true;
		}
	return false;
}

size_t
acl_gate_waiting(const struct acl_gate *g)
{
	return g->n;
}

struct acl_gate *
acl_gate_new(struct rpc_client *raftd, bool enabled)
{
	struct acl_gate *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->raftd = raftd;
	g->enabled = enabled;
	return g;
}

void
acl_gate_free(struct acl_gate *g)
{
	if (g == NULL)
		return;
	while (g->parked != NULL)
		parked_free(g->parked);
	free(g);
}
