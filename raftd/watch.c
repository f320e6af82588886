/*
 * watch.c - parked reads: who waits for which key, and waking them.
 *
 * Invariant: a parked read is in the table by token and has one link in the
 * registry for each of its keys. A touch marks it once; at the end of the
 * turn marked reads run again, oldest mark first, and are answered or stay
 * parked under the keys that they then depend on. Those whose connection is
 * backed up wait until it is not, and those beyond WAKES_MAX for the next
 * turn: neither memory nor others' requests suffer from a crowd that wakes.
 *
 * A prefix is found by hashing the touched key's beginnings, one for each
 * length of prefix that anybody waits for: a handful, whatever the watchers.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

enum { BUCKETS_FIRST = 256, LENGTHS_MAX = 4096, BACKED_UP_MS = 10 };

struct parked;

/* One key of one parked read. */
struct link {
	struct link *next, **prev;	/* in its bucket */
	struct parked *owner;
	uint64_t hash;
	uint16_t kind;
	uint32_t len;
	uint8_t *key;			/* behind the parked read's body */
};

struct parked {
	struct parked *next, **prev;	/* in its bucket by token */
	struct parked *woken_next, **woken_prev;	/* woken_prev NULL: not marked */
	struct rpc_token token;
	bool replaced;			/* the whole state was: it is answered, whatever its index */
	bool local;			/* it came from this node: the token of its agent is good for it */
	struct read_seen seen;
	struct acl_hold rights;
	size_t nlinks;
	struct link links[4];
	uint8_t *keys;			/* of the links, one block */
	size_t len;
	uint8_t body[];
};

/* How many prefixes of this length are waited for. */
struct length {
	uint32_t len, count;
};

struct watch {
	struct parked **by_token;
	struct link **by_key;
	size_t buckets, n, bytes;
	struct length *lengths;		/* of prefixes */
	size_t nlengths, lengths_cap;
	struct parked *woken, **woken_tail;
	struct defer defer;
	uv_timer_t *timer;		/* for those who were marked and have to wait */
	struct raftd *r;
	unsigned char hash_key[crypto_shorthash_KEYBYTES];	/* keys come from strangers */
};

static void on_woken(struct defer *d);

int
watch_init(struct raftd *r)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	r->watch = w;
	w->r = r;
	w->defer.cb = on_woken;
	w->woken_tail = &w->woken;
	w->buckets = BUCKETS_FIRST;
	crypto_shorthash_keygen(w->hash_key);
	w->by_token = calloc(w->buckets, sizeof(*w->by_token));
	w->by_key = calloc(w->buckets, sizeof(*w->by_key));
	w->timer = malloc(sizeof(*w->timer));
	if (w->by_token == NULL || w->by_key == NULL || w->timer == NULL)
		return -ENOMEM;
	(void)uv_timer_init(&r->d->loop.uv, w->timer);
	w->timer->data = w;
	return 0;
}

size_t
watch_count(const struct raftd *r)
{
	return r->watch != NULL ? r->watch->n : 0;
}

static uint64_t
hash_key(const struct watch *w, enum watch_kind kind, const void *key, size_t len)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, key != NULL ? key : "", len, w->hash_key);
	return h + (uint64_t)kind * 0x9e3779b97f4a7c15u;
}

uint64_t
watch_digest(const struct raftd *r, const void *payload, size_t len)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, payload, len, r->watch->hash_key);
	return h;
}

static size_t
token_bucket(const struct watch *w, struct rpc_token t)
{
	return (size_t)((t.conn * 0x9e3779b97f4a7c15u + t.id) * 0xbf58476d1ce4e5b9u >> 20) & (w->buckets - 1);
}

/* ---- the lengths of prefixes */

static struct length *
length_find(struct watch *w, uint32_t len)
{
	for (size_t i = 0; i < w->nlengths; i++)
		if (w->lengths[i].len == len)
			return &w->lengths[i];
	return NULL;
}

static int
length_add(struct watch *w, uint32_t len)
{
	struct length *l = length_find(w, len), *p;
	size_t cap;

	if (l != NULL) {
		l->count++;
		return 0;
	}
	if (w->nlengths == LENGTHS_MAX)
		return -ELIMIT;
	if (w->nlengths == w->lengths_cap) {
		cap = w->lengths_cap != 0 ? w->lengths_cap * 2 : 16;
		p = realloc(w->lengths, cap * sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		w->lengths = p;
		w->lengths_cap = cap;
	}
	w->lengths[w->nlengths++] = (struct length){ len, 1 };
	return 0;
}

static void
length_remove(struct watch *w, uint32_t len)
{
	struct length *l = length_find(w, len);

	if (l != NULL && --l->count == 0)
		*l = w->lengths[--w->nlengths];
}

/* ---- the registry */

static void
link_in(struct watch *w, struct link *l)
{
	struct link **head = &w->by_key[l->hash & (w->buckets - 1)];

	l->next = *head;
	l->prev = head;
	if (*head != NULL)
		(*head)->prev = &l->next;
	*head = l;
}

static void
link_out(struct link *l)
{
	*l->prev = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
}

static void
unregister(struct watch *w, struct parked *p)
{
	for (size_t i = 0; i < p->nlinks; i++) {
		link_out(&p->links[i]);
		if (p->links[i].kind == WATCH_KV_PREFIX)
			length_remove(w, p->links[i].len);
	}
	p->nlinks = 0;
	free(p->keys);
	p->keys = NULL;
}

/* Put the read under its keys. Nothing is left behind on failure. */
static int
enlist(struct watch *w, struct parked *p, const struct watch_set *set)
{
	size_t bytes = 1, at = 0;

	for (size_t i = 0; i < set->n; i++)
		bytes += set->v[i].key.len;
	p->keys = malloc(bytes);
	if (p->keys == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < set->n; i++) {
		const struct watch_key *k = &set->v[i];
		struct link *l = &p->links[i];
		int rc = k->kind == WATCH_KV_PREFIX ? length_add(w, (uint32_t)k->key.len) : 0;

		if (rc < 0) {
			unregister(w, p);
			return rc;
		}
		*l = (struct link){ .owner = p, .kind = (uint16_t)k->kind, .len = (uint32_t)k->key.len, .key = p->keys + at,
			.hash = hash_key(w, k->kind, k->key.p, k->key.len) };
		if (k->key.len > 0)
			memcpy(l->key, k->key.p, k->key.len);
		at += k->key.len;
		link_in(w, l);
		p->nlinks++;
	}
	return 0;
}

/* Twice the buckets once there are as many reads as buckets; staying small is no error. */
static void
grow(struct watch *w)
{
	size_t buckets = w->buckets * 2, old = w->buckets;
	struct parked **tokens = calloc(buckets, sizeof(*tokens)), *p;
	struct link **keys = calloc(buckets, sizeof(*keys)), *l;
	struct parked **old_tokens = w->by_token;
	struct link **old_keys = w->by_key;

	if (tokens == NULL || keys == NULL) {
		free(tokens);
		free(keys);
		return;
	}
	w->by_token = tokens;
	w->by_key = keys;
	w->buckets = buckets;
	for (size_t i = 0; i < old; i++) {
		while ((p = old_tokens[i]) != NULL) {
			struct parked **head = &tokens[token_bucket(w, p->token)];

			old_tokens[i] = p->next;
			p->next = *head;
			p->prev = head;
			if (*head != NULL)
				(*head)->prev = &p->next;
			*head = p;
		}
		while ((l = old_keys[i]) != NULL) {
			old_keys[i] = l->next;
			link_in(w, l);
		}
	}
	free(old_tokens);
	free(old_keys);
}

/* ---- marks */

static void
mark(struct watch *w, struct parked *p)
{
	if (p->woken_prev != NULL)
		return;
	p->woken_next = NULL;
	p->woken_prev = w->woken_tail;
	*w->woken_tail = p;
	w->woken_tail = &p->woken_next;
	loop_defer(&w->r->d->loop, DEFER_WORK, &w->defer);
}

static void
unmark(struct watch *w, struct parked *p)
{
	if (p->woken_prev == NULL)
		return;
	*p->woken_prev = p->woken_next;
	if (p->woken_next != NULL)
		p->woken_next->woken_prev = p->woken_prev;
	else
		w->woken_tail = p->woken_prev;
	p->woken_prev = NULL;
}

/* ---- parking */

static void
drop(struct watch *w, struct parked *p)
{
	unregister(w, p);
	*p->prev = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	unmark(w, p);
	acl_unhold(w->r, &p->rights);
	w->n--;
	w->bytes -= p->len;
	sodium_memzero(p->body, p->len);	/* it holds a token */
	free(p);
}

void
watch_park(struct raftd *r, const struct rpc_request *req, const struct watch_set *keys, const struct read_seen *seen)
{
	struct watch *w = r->watch;
	struct parked **head, *p = NULL;
	int rc;

	if (w->n < PARKED_MAX && w->bytes + req->len <= PARKED_BYTES_MAX)
		p = malloc(sizeof(*p) + req->len);
	if (p == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 429, "The server holds too many blocking queries");
		return;
	}
	*p = (struct parked){ .token = req->token, .local = req->peer == NULL, .len = req->len, .seen = *seen };
	memcpy(p->body, req->body, req->len);
	rc = acl_hold(r, &p->rights, watch_body(&p->rights), req->peer == NULL);
	if (rc < 0) {
		acl_refuse(r, req->token, rc);
		free(p);
		return;
	}
	if (enlist(w, p, keys) < 0) {
		rpc_reply_error(r->d->rpc, req->token, 429, "The server holds too many blocking queries");
		acl_unhold(r, &p->rights);
		free(p);
		return;
	}
	if (w->n == w->buckets)
		grow(w);
	head = &w->by_token[token_bucket(w, p->token)];
	p->next = *head;
	p->prev = head;
	if (*head != NULL)
		(*head)->prev = &p->next;
	*head = p;
	w->n++;
	w->bytes += p->len;
}

void
watch_cancelled(struct raftd *r, struct rpc_token t)
{
	struct watch *w = r->watch;

	for (struct parked *p = w->by_token[token_bucket(w, t)]; p != NULL; p = p->next)
		if (p->token.conn == t.conn && p->token.id == t.id) {
			drop(w, p);
			return;
		}
}

/* ---- waking */

static struct parked *
parked_of(const struct acl_hold *h)
{
	return (struct parked *)((char *)(uintptr_t)h - offsetof(struct parked, rights));
}

struct str
watch_body(const struct acl_hold *h)
{
	const struct parked *p = parked_of(h);

	return (struct str){ (const char *)p->body, p->len };
}

void
watch_ask_again(struct raftd *r, struct acl_hold *h)
{
	struct parked *p = parked_of(h);

	p->replaced = true;
	mark(r->watch, p);
}

static void
mark_key(struct watch *w, enum watch_kind kind, const char *key, size_t len)
{
	uint64_t hash = hash_key(w, kind, key, len);

	for (struct link *l = w->by_key[hash & (w->buckets - 1)]; l != NULL; l = l->next)
		if (l->hash == hash && l->kind == kind && l->len == len && (len == 0 || memcmp(l->key, key, len) == 0))
			mark(w, l->owner);
}

static void
mark_all(struct watch *w)
{
	for (size_t i = 0; i < w->buckets; i++)
		for (struct parked *p = w->by_token[i]; p != NULL; p = p->next) {
			p->replaced = true;
			mark(w, p);
		}
}

void
watch_touched(struct raftd *r, const struct watch_key *key)
{
	struct watch *w = r->watch;

	if (key->kind == WATCH_ALL)
		acl_state_replaced(r);
	if (w->n == 0)
		return;
	if (key->kind == WATCH_ALL) {
		mark_all(w);
		return;
	}
	if (key->kind == WATCH_ACL)
		acl_touched(r);
	mark_key(w, key->kind, key->key.p, key->key.len);
	if (key->kind == WATCH_KV_KEY)
		for (size_t i = 0; i < w->nlengths; i++)
			if (w->lengths[i].len <= key->key.len)
				mark_key(w, WATCH_KV_PREFIX, key->key.p, w->lengths[i].len);
}

static void
run_again(struct watch *w, struct parked *p)
{
	struct watch_set keys = { .n = 0 };

	unmark(w, p);
	if (reads_again(w->r, p->token, (struct str){ (const char *)p->body, p->len }, p->local, p->replaced, &p->seen, &keys)) {
		drop(w, p);
		return;
	}
	unregister(w, p);
	if (enlist(w, p, &keys) < 0) {
		rpc_reply_error(w->r->d->rpc, p->token, 429, "The server holds too many blocking queries");
		drop(w, p);
	}
}

static void
on_timer(uv_timer_t *t)
{
	struct watch *w = t->data;

	loop_defer(&w->r->d->loop, DEFER_WORK, &w->defer);
}

static void
on_woken(struct defer *d)
{
	struct watch *w = (struct watch *)((char *)d - offsetof(struct watch, defer));
	struct parked *p, *next;
	size_t n = 0;

	for (p = w->woken; p != NULL && n < WAKES_MAX; p = next) {
		next = p->woken_next;
		if (rpc_reply_queued(w->r->d->rpc, p->token) > RPC_OUT_HIGH)
			continue;
		run_again(w, p);
		n++;
	}
	if (w->woken != NULL) {
		uv_update_time(&w->r->d->loop.uv);
		(void)uv_timer_start(w->timer, on_timer, p != NULL ? 0 : BACKED_UP_MS, 0);
	}
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

void
watch_release(struct raftd *r)
{
	struct watch *w = r->watch;

	if (w == NULL)
		return;
	loop_undefer(&r->d->loop, DEFER_WORK, &w->defer);
	if (w->timer != NULL)
		uv_close((uv_handle_t *)w->timer, timer_closed);
	for (size_t i = 0; w->by_token != NULL && i < w->buckets; i++)
		while (w->by_token[i] != NULL)
			drop(w, w->by_token[i]);
	free(w->by_token);
	free(w->by_key);
	free(w->lengths);
	free(w);
	r->watch = NULL;
}
