/*
 * acl_cache.c - tokens on a client node: what a server said that they stand for.
 *
 * A server is asked when a token is first seen and when what it said is
 * older than acl.token_ttl; questions about a token wait for the answer
 * together. Asked is for what any server knows (stale, no older than the TTL);
 * a token that it does not know is asked about once more, with the leader's
 * word: it may have been made a moment ago.
 *
 * When no server answers acl.down_policy decides: extend-cache and
 * async-cache go on with what was known of a token, and know of none other
 * than what the default policy says; allow and deny do just that. async-cache
 * never waits for what is old. While servers are away they are asked again in
 * the background, and nobody waits for them.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/acl.h"

#define SUB "agent.acl"

enum {
	ASK_MS = 2000,			/* for an answer, finding a server included */
	AGAIN_MS = 2000,		/* after a failure nobody waits for this long */
	TICK_MS = 50,
	KNOWN_MAX = 4096,		/* tokens */
	NEW_MAX = 1024,			/* of them that a server is being asked about for the first time: no flood of wrong ones drives out the others */
	WAITING_MAX = 16384,		/* questions */
	WAITING_BYTES_MAX = 64 * 1024 * 1024,
};

enum down { DOWN_EXTEND, DOWN_ALLOW, DOWN_DENY, DOWN_ASYNC };

/* A question that waits for its token. */
struct waiting {
	struct waiting *next;
	struct rpc_token token;
	size_t len;
	uint8_t body[];
};

struct known {
	struct known *chain;
	struct known *newer, *older;
	struct acl_cache *cache;
	unsigned char hash[ACL_HASH];
	struct acl_rights rights;	/* authz NULL: nothing was said of it yet */
	uint64_t fresh_until_ms;
	/* While a server is asked: */
	bool asking, sure;		/* sure: with the leader's word */
	bool new;			/* asked about, and nothing was ever said of it */
	uint64_t deadline_ms;
	struct rpc_client *client;
	uint32_t call;			/* 0: not sent yet */
	uint8_t *secret;
	size_t secret_len;
	struct waiting *first, **last;
};

struct acl_cache {
	struct acl *acl;
	enum down down;
	uint64_t ttl_ms;
	struct acl_rights fallback;	/* of a token of which nothing is known while servers are away */
	struct known *buckets[ACL_BUCKETS];
	struct known *newest, *oldest;
	size_t n, nasking, nnew, nwaiting, waiting_bytes;
	uint64_t away_ms;		/* when servers did not answer last, 0: they have answered since */
	uv_timer_t tick;
	struct arena arena;
};

static void ask(struct known *x);

/* ---- the table */

static struct known **
bucket_of(struct acl_cache *c, const unsigned char hash[ACL_HASH])
{
	uint32_t h;

	memcpy(&h, hash, sizeof(h));
	return &c->buckets[h & (ACL_BUCKETS - 1)];
}

static void
list_out(struct acl_cache *c, struct known *x)
{
	*(x->newer != NULL ? &x->newer->older : &c->newest) = x->older;
	*(x->older != NULL ? &x->older->newer : &c->oldest) = x->newer;
}

static void
list_in(struct acl_cache *c, struct known *x)
{
	x->newer = NULL;
	x->older = c->newest;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = x;
	c->newest = x;
}

static void
known_free(struct known *x)
{
	struct acl_cache *c = x->cache;
	struct known **p = bucket_of(c, x->hash);

	while (*p != x)
		p = &(*p)->chain;
	*p = x->chain;
	list_out(c, x);
	c->n--;
	acl_rights_release(&x->rights);
	sodium_memzero(x, sizeof(*x));
	free(x);
}

/* The one that was used longest ago and is not being asked about. */
static bool
make_room(struct acl_cache *c)
{
	struct known *x = c->oldest;

	while (x != NULL && x->asking)
		x = x->newer;
	if (x != NULL)
		known_free(x);
	return x != NULL;
}

static struct known *
known_of(struct acl_cache *c, struct str token)
{
	unsigned char hash[ACL_HASH];
	struct known *x, **bucket;

	acl_hash(c->acl, token, hash);
	bucket = bucket_of(c, hash);
	for (x = *bucket; x != NULL && sodium_memcmp(x->hash, hash, ACL_HASH) != 0; x = x->chain)
		;
	if (x != NULL) {
		list_out(c, x);
		list_in(c, x);
		return x;
	}
	if (c->nnew >= NEW_MAX || (c->n >= KNOWN_MAX && !make_room(c)))
		return NULL;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return NULL;
	x->cache = c;
	x->last = &x->first;
	memcpy(x->hash, hash, ACL_HASH);
	x->chain = *bucket;
	*bucket = x;
	list_in(c, x);
	c->n++;
	return x;
}

/* ---- questions that wait */

static bool
wait_for(struct known *x, const struct rpc_request *req)
{
	struct acl_cache *c = x->cache;
	struct waiting *w;

	if (c->nwaiting >= WAITING_MAX || c->waiting_bytes + req->len > WAITING_BYTES_MAX)
		return false;
	w = malloc(sizeof(*w) + req->len);
	if (w == NULL)
		return false;
	*w = (struct waiting){ .token = req->token, .len = req->len };
	memcpy(w->body, req->body, req->len);
	*x->last = w;
	x->last = &w->next;
	c->nwaiting++;
	c->waiting_bytes += w->len;
	return true;
}

/* rights NULL: the token is not known. */
static void
answer_all(struct known *x, const struct acl_rights *rights)
{
	struct acl_cache *c = x->cache;
	struct raftd *r = c->acl->r;
	struct waiting *w;

	while ((w = x->first) != NULL) {
		x->first = w->next;
		if (rights != NULL)
			acl_answer(r, w->token, (struct str){ (const char *)w->body, w->len }, rights);
		else
			acl_refuse(r, w->token, -ENOENT);
		c->nwaiting--;
		c->waiting_bytes -= w->len;
		sodium_memzero(w->body, w->len);
		free(w);
	}
	x->last = &x->first;
}

static void
asked(struct known *x)
{
	if (x->call != 0)
		rpc_cancel(x->client, x->call);
	x->call = 0;
	x->client = NULL;
	if (x->secret != NULL)
		sodium_memzero(x->secret, x->secret_len);
	free(x->secret);
	x->secret = NULL;
	if (x->asking)
		x->cache->nasking--;
	if (x->new)
		x->cache->nnew--;
	x->asking = x->new = false;
}

/* Of what nothing is known nothing is kept: there is no end of such tokens. */
static void
forget_unknown(struct known *x)
{
	if (!x->asking && x->rights.authz == NULL)
		known_free(x);
}

/* ---- what comes of a question to a server */

/* What holds while servers are away. */
static const struct acl_rights *
rights_down(const struct known *x)
{
	const struct acl_cache *c = x->cache;
	bool keeps = c->down == DOWN_EXTEND || c->down == DOWN_ASYNC;

	return keeps && x->rights.authz != NULL && !acl_rights_expired(&x->rights) ? &x->rights : &c->fallback;
}

static void
failed(struct known *x, const char *why)
{
	if (x->cache->away_ms == 0)
		log_warn(SUB, "no server tells what a token may do, the down policy decides: accessor=\"%s\" error=\"%s\"",
		    x->rights.accessor, why);
	x->cache->away_ms = clock_ms();
	asked(x);
	answer_all(x, rights_down(x));
	forget_unknown(x);
}

/* It is not a token, by the leader's word. */
static void
not_found(struct known *x)
{
	asked(x);
	answer_all(x, NULL);
	known_free(x);
}

static int
take(struct known *x, const struct rpc_answer *a)
{
	struct acl_cache *c = x->cache;
	struct acl_identity id;
	struct query_meta meta;
	struct str payload;
	struct mp_r in;
	bool changed;
	int rc = op_reply_decode(a->body, a->len, &meta, &payload);

	arena_reset(&c->arena);
	if (rc == 0) {
		in = mp_r_init(payload.p, payload.len);
		rc = record_decode(&rec_acl_identity, &in, &id, &c->arena);
	}
	if (rc == 0)
		rc = acl_compile(&x->rights, &id, c->acl->key_list, NULL, NULL, &changed);
	arena_reset(&c->arena);
	return rc;
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct known *x = arg;
	struct rpc_error e = { 500, str_from(err_text(a->rc)) };
	char why[256];
	int rc;

	x->call = 0;
	x->client = NULL;
	if (a->rc == 0) {
		rc = take(x, a);
		if (rc < 0) {
			failed(x, err_text(rc));
			return;
		}
		x->cache->away_ms = 0;
		x->fresh_until_ms = clock_ms() + x->cache->ttl_ms;
		asked(x);
		answer_all(x, &x->rights);
		return;
	}
	if (a->rc == -EPROTO)
		rpc_error_decode(a, &e);
	if (a->rc == -EPROTO && e.code == 403)
		x->cache->away_ms = 0;
	if (a->rc == -EPROTO && e.code == 403 && x->sure) {
		not_found(x);
	} else if (a->rc == -EPROTO && e.code == 403) {
		x->sure = true;
		ask(x);
	} else if (a->rc != -EPROTO && clock_ms() < x->deadline_ms) {
		return;		/* the connection has gone: on_tick() asks another server */
	} else {
		(void)snprintf(why, sizeof(why), "%.*s", STR_ARG(e.text));
		failed(x, why);
	}
}

/* ---- asking */

static void
ask(struct known *x)
{
	struct acl_cache *c = x->cache;
	const struct query_options o = { .token = { (const char *)x->secret, x->secret_len },
		.consistency = x->sure ? CONSISTENCY_DEFAULT : CONSISTENCY_STALE, .max_stale = (int64_t)c->ttl_ms * 1000000 };
	struct rpc_client *client = forward_client(c->acl->r);
	uint64_t now = clock_ms();

	if (client == NULL || now >= x->deadline_ms)
		return;
	x->call = rpc_call_record(client, OP_ACL_RESOLVE, &o, NULL, 0, (uint32_t)(x->deadline_ms - now), on_answer, x);
	if (x->call != 0)
		x->client = client;
}

/* What could not be sent is tried again; whoever has waited long enough is answered. */
static void
on_tick(uv_timer_t *t)
{
	struct acl_cache *c = t->data;
	uint64_t now = clock_ms();
	struct known *x, *older;

	for (x = c->newest; x != NULL; x = older) {
		older = x->older;
		if (!x->asking)
			continue;
		if (now >= x->deadline_ms)
			failed(x, "no answer in time");
		else if (x->call == 0)
			ask(x);
	}
	if (c->nasking == 0)
		(void)uv_timer_stop(t);
}

static bool
begin(struct known *x, struct str token)
{
	struct acl_cache *c = x->cache;

	x->secret = malloc(token.len + 1);
	if (x->secret == NULL)
		return false;
	if (token.len > 0)
		memcpy(x->secret, token.p, token.len);
	x->secret_len = token.len;
	x->asking = true;
	x->sure = false;
	x->deadline_ms = clock_ms() + ASK_MS;
	c->nasking++;
	x->new = x->rights.authz == NULL;
	c->nnew += x->new;
	if (!uv_is_active((uv_handle_t *)&c->tick))
		(void)uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
	ask(x);
	return true;
}

void
acl_server_left(struct raftd *r, const struct rpc_client *client)
{
	struct acl_cache *c = r->acl != NULL ? r->acl->cache : NULL;

	for (struct known *x = c != NULL ? c->newest : NULL; x != NULL; x = x->older)
		if (x->call != 0 && x->client == client) {
			rpc_cancel(x->client, x->call);
			x->call = 0;
			x->client = NULL;
		}
}

/* ---- acl.authorize */

/* What can be said at once; NULL: a server has to be asked first. *ret_ask: it is asked anyway. */
static const struct acl_rights *
at_once(const struct known *x, uint64_t now, bool *ret_ask)
{
	const struct acl_cache *c = x->cache;
	bool usable = x->rights.authz != NULL && !acl_rights_expired(&x->rights);
	bool away = c->away_ms != 0, fixed = c->down == DOWN_ALLOW || c->down == DOWN_DENY;

	*ret_ask = false;
	if (usable && now < x->fresh_until_ms)
		return &x->rights;
	if (away && now < c->away_ms + AGAIN_MS)
		return rights_down(x);
	*ret_ask = true;
	if (usable && c->down == DOWN_ASYNC)
		return &x->rights;
	return away && (usable || fixed) ? rights_down(x) : NULL;
}

void
acl_cache_authorize(struct acl *a, const struct rpc_request *req, struct str token)
{
	const struct str body = { (const char *)req->body, req->len };
	const struct acl_rights *rights;
	bool asks = true;
	struct known *x;
	uint64_t now = clock_ms();

	if (acl_is_recovery(a, token)) {
		acl_answer(a->r, req->token, body, &a->recovery.rights);
		return;
	}
	x = known_of(a->cache, token);
	rights = x != NULL ? at_once(x, now, &asks) : NULL;
	if (rights != NULL)
		acl_answer(a->r, req->token, body, rights);
	if (asks && (x == NULL || (rights == NULL && !wait_for(x, req))))
		rpc_reply_error(a->r->d->rpc, req->token, 429, "The agent has too many unfinished requests: this one was refused");
	else if (asks && !x->asking && !begin(x, token))
		answer_all(x, rights_down(x));
	if (x != NULL)
		forget_unknown(x);
}

/* ---- start and end */

static enum down
down_of(const char *policy)
{
	if (strcmp(policy, "allow") == 0)
		return DOWN_ALLOW;
	if (strcmp(policy, "deny") == 0)
		return DOWN_DENY;
	return strcmp(policy, "async-cache") == 0 ? DOWN_ASYNC : DOWN_EXTEND;
}

/* Rights are as old as the oldest of what they are made of may be. */
static uint64_t
ttl_of(struct json_object *config)
{
	static const char *const keys[] = { "acl.token_ttl", "acl.policy_ttl", "acl.role_ttl" };
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		int64_t ms = cfg_ms(config, keys[i], 30 * 1000);

		/* No TTL of roles: that of policies. */
		if (ms < least && (ms > 0 || i < 2))
			least = ms;
	}
	return least > 0 ? (uint64_t)least : 0;
}

int
acl_cache_init(struct acl *a)
{
	struct acl_cache *c = calloc(1, sizeof(*c));
	struct json_object *config = a->r->d->config;

	if (c == NULL)
		return -ENOMEM;
	c->acl = a;
	a->cache = c;
	c->down = down_of(cfg_str(config, "acl.down_policy", "extend-cache"));
	c->ttl_ms = ttl_of(config);
	arena_init(&c->arena, ACL_IDENTITY_MAX);
	(void)uv_timer_init(&a->r->d->loop.uv, &c->tick);
	c->tick.data = c;
	return acl_compile_none(&c->fallback, c->down == DOWN_ALLOW ? ACL_WRITE : c->down == DOWN_DENY ? ACL_DENY : a->default_access);
}

static void
on_closed(uv_handle_t *h)
{
	free(h->data);
}

void
acl_cache_release(struct acl *a)
{
	struct acl_cache *c = a->cache;
	struct waiting *w;

	if (c == NULL)
		return;
	while (c->newest != NULL) {
		asked(c->newest);
		while ((w = c->newest->first) != NULL) {
			c->newest->first = w->next;
			sodium_memzero(w->body, w->len);
			free(w);
		}
		known_free(c->newest);
	}
	acl_rights_release(&c->fallback);
	arena_release(&c->arena);
	a->cache = NULL;
	uv_close((uv_handle_t *)&c->tick, on_closed);
}
