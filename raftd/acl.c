/*
 * acl.c - tokens: who asks, by the state of this server.
 *
 * What a token stands for is compiled once and kept under a keyed hash of its
 * secret, until anything of the ACL state changes (fsm_acl_index()) or it
 * expires. When the rights turn out to be the same as before, what was
 * compiled stays; tokens with the same rights share it. The number of entries
 * is bounded: the one that was used longest ago goes, but for those that
 * reads wait with, which the number of reads bounds.
 *
 * Secrets are compared by keyed hashes of 128 bits, in constant time.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftd/acl.h"

#define SUB "agent.acl"

bool
acl_on(const struct raftd *r)
{
	return r->acl != NULL;
}

void
acl_hash(const struct acl *a, struct str token, unsigned char out[ACL_HASH])
{
	(void)crypto_shorthash_siphashx24(out, (const unsigned char *)(token.len > 0 ? token.p : ""), token.len, a->key);
}

/* ---- the table */

static struct acl_entry **
bucket_of(struct acl *a, const unsigned char hash[ACL_HASH])
{
	uint32_t h;

	memcpy(&h, hash, sizeof(h));
	return &a->buckets[h & (ACL_BUCKETS - 1)];
}

static struct acl_entry *
find(struct acl *a, const unsigned char hash[ACL_HASH])
{
	struct acl_entry *e = *bucket_of(a, hash);

	while (e != NULL && sodium_memcmp(e->hash, hash, ACL_HASH) != 0)
		e = e->chain;
	return e;
}

static void
recent_out(struct acl *a, struct acl_entry *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		a->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		a->oldest = e->newer;
	a->n--;
}

static void
recent_in(struct acl *a, struct acl_entry *e)
{
	e->newer = NULL;
	e->older = a->newest;
	if (a->newest != NULL)
		a->newest->newer = e;
	else
		a->oldest = e;
	a->newest = e;
	a->n++;
}

static void
entry_free(struct acl_entry *e)
{
	acl_rights_release(&e->rights);
	sodium_memzero(e, sizeof(*e));
	free(e);
}

static void
table_out(struct acl *a, struct acl_entry *e)
{
	struct acl_entry **p = bucket_of(a, e->hash);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	e->known = false;
}

/* Those who wait with it keep it until they have heard. */
static void
forget(struct acl *a, struct acl_entry *e)
{
	if (!e->known)
		return;
	table_out(a, e);
	if (e->holds != NULL)
		return;
	recent_out(a, e);
	entry_free(e);
}

static struct acl_entry *
add(struct acl *a, const unsigned char hash[ACL_HASH])
{
	struct acl_entry *e = calloc(1, sizeof(*e)), **bucket = bucket_of(a, hash);

	if (e == NULL)
		return NULL;
	if (a->n >= ACL_CACHE_MAX)
		forget(a, a->oldest);
	memcpy(e->hash, hash, ACL_HASH);
	e->chain = *bucket;
	*bucket = e;
	e->known = true;
	recent_in(a, e);
	return e;
}

void
acl_entry_held(struct acl *a, struct acl_entry *e)
{
	if (e->known && e != &a->recovery)
		recent_out(a, e);
}

void
acl_entry_unheld(struct acl *a, struct acl_entry *e)
{
	if (e == &a->recovery)
		return;
	if (e->known)
		recent_in(a, e);
	else
		entry_free(e);
}

/* ---- what a token stands for */

static int64_t
wall_now(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_REALTIME, &t) == 0 ? t.tv_sec * INT64_C(1000000000) + t.tv_nsec : INT64_MAX;
}

static const struct acl_rights *
like(void *ctx, const unsigned char *fingerprint)
{
	const struct acl *a = ctx;

	for (const struct acl_entry *e = a->newest; e != NULL; e = e->older)
		if (e->rights.authz != NULL && memcmp(e->rights.fingerprint, fingerprint, ACL_FINGERPRINT) == 0)
			return &e->rights;
	return NULL;
}

static bool
is_current(const struct acl *a, const struct acl_entry *e)
{
	return e->rights.authz != NULL && e->index == fsm_acl_index(a->r->engine.fsm) && e->life == a->life &&
	    !acl_rights_expired(&e->rights);
}

int
acl_identity_of(struct acl *a, struct str token, struct acl_identity *ret)
{
	int rc = fsm_acl_identity(a->r->engine.fsm, token, wall_now(), &a->arena, ret);

	if (rc == 0)
		ret->default_policy = a->default_access == ACL_DENY ? STR("deny") : STR("allow");
	return rc;
}

/* Ask the state. -ENOENT, -ENOMEM: e is as it was. */
static int
refresh(struct acl *a, struct acl_entry *e, struct str token, bool *ret_changed)
{
	struct acl_identity id = { .management = false };
	uint64_t index = fsm_acl_index(a->r->engine.fsm);
	int rc;

	rc = acl_identity_of(a, token, &id);
	if (rc == 0)
		rc = acl_compile(&e->rights, &id, a->key_list, like, a, ret_changed);
	arena_reset(&a->arena);
	if (rc == 0) {
		e->index = index;
		e->life = a->life;
	}
	return rc;
}

bool
acl_entry_again(struct acl *a, struct acl_entry *e, struct str token)
{
	bool changed = false;
	int rc;

	if (e == &a->recovery || is_current(a, e))
		return false;
	rc = refresh(a, e, token, &changed);
	if (rc == -ENOENT)
		forget(a, e);
	return rc < 0 || changed;
}

bool
acl_is_recovery(const struct acl *a, struct str token)
{
	return a->recovery_len > 0 && token.len == a->recovery_len && sodium_memcmp(token.p, a->recovery_token, token.len) == 0;
}

int
acl_entry_of(struct acl *a, struct str token, bool local, struct acl_entry **ret)
{
	unsigned char hash[ACL_HASH];
	struct acl_entry *e;
	bool changed = false;
	int rc;

	if (local && acl_is_recovery(a, token)) {
		*ret = &a->recovery;
		return 0;
	}
	acl_hash(a, token, hash);
	e = find(a, hash);
	if (e == NULL)
		e = add(a, hash);
	if (e == NULL)
		return -ENOMEM;
	if (!is_current(a, e)) {
		rc = refresh(a, e, token, &changed);
		/* Those who wait with it hear of it, too. */
		if (changed || rc == -ENOENT)
			acl_ask_again(a->r, e->holds);
		if (rc == -ENOENT || (rc < 0 && e->rights.authz == NULL))
			forget(a, e);
		if (rc < 0)
			return rc;
	} else if (e->holds == NULL && a->newest != e) {
		recent_out(a, e);
		recent_in(a, e);
	}
	*ret = e;
	return 0;
}

/* ---- what raftd.h offers */

int
acl_asker(struct raftd *r, struct str token, bool local, struct asker *ret)
{
	struct acl_entry *e;
	int rc;

	*ret = (struct asker){ .secret = token, .local = local };
	if (r->acl == NULL)
		return 0;
	rc = acl_entry_of(r->acl, token, local, &e);
	if (rc < 0)
		return rc;
	ret->authz = e->rights.authz;
	ret->accessor = (struct str){ e->rights.accessor, e->rights.accessor_len };
	return 0;
}

void
acl_refuse(struct raftd *r, struct rpc_token t, int rc)
{
	if (rc == -ENOENT)
		rpc_reply_error(r->d->rpc, t, 403, "ACL not found");
	else
		rpc_reply_error(r->d->rpc, t, 500, "The server cannot tell what the token may do: %s", err_text(rc));
}

bool
acl_who(struct raftd *r, const struct rpc_request *req, struct str token, struct asker *ret)
{
	int rc = acl_asker(r, token, req->peer == NULL, ret);

	if (rc < 0)
		acl_refuse(r, req->token, rc);
	return rc == 0;
}

bool
acl_require(struct raftd *r, const struct rpc_request *req, struct str token, enum acl_resource resource, struct str name,
    enum acl_access want)
{
	struct asker who;
	char text[sizeof(((struct fsm_error *)0)->text)];

	if (!acl_who(r, req, token, &who))
		return false;
	if (asker_may(&who, resource, name, want))
		return true;
	asker_denied(&who, resource, name, want, text, sizeof(text));
	rpc_reply_error(r->d->rpc, req->token, 403, "%s", text);
	return false;
}

/* ---- start and end */

static void
drop_recovery(struct acl *a)
{
	if (a->recovery_token != NULL)
		sodium_memzero(a->recovery_token, a->recovery_len);
	free(a->recovery_token);
	a->recovery_token = NULL;
	a->recovery_len = 0;
}

/* Those who wait with another token than this one are asked for it again. */
static int
take_recovery(struct acl *a, const char *token)
{
	struct str s = str_from(token);

	if (s.len == a->recovery_len && (s.len == 0 || acl_is_recovery(a, s)))
		return 0;
	drop_recovery(a);
	acl_ask_again(a->r, a->recovery.holds);
	if (s.len == 0)
		return 0;
	a->recovery_token = malloc(s.len);
	if (a->recovery_token == NULL)
		return -ENOMEM;
	memcpy(a->recovery_token, s.p, s.len);
	a->recovery_len = s.len;
	return 0;
}

int
acl_reload(struct raftd *r, struct json_object *next)
{
	return r->acl != NULL ? take_recovery(r->acl, cfg_str(next, "acl.tokens.agent_recovery", "")) : 0;
}

int
acl_init(struct raftd *r)
{
	struct json_object *c = r->d->config;
	struct acl *a;
	int rc;

	if (!cfg_bool(c, "acl.enabled", false))
		return 0;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->r = r;
	r->acl = a;
	a->life = 1;
	a->key_list = cfg_bool(c, "acl.enable_key_list_policy", false);
	a->default_access = strcmp(cfg_str(c, "acl.default_policy", "allow"), "deny") == 0 ? ACL_DENY : ACL_WRITE;
	arena_init(&a->arena, ACL_IDENTITY_MAX);
	randombytes_buf(a->key, sizeof(a->key));
	acl_parked_init(a);
	rc = acl_compile_recovery(&a->recovery.rights, r->node_name);
	if (rc == 0)
		rc = take_recovery(a, cfg_str(c, "acl.tokens.agent_recovery", ""));
	if (rc == 0 && !r->server)
		rc = acl_cache_init(a);
	return rc;
}

void
acl_release(struct raftd *r)
{
	struct acl *a = r->acl;

	if (a == NULL)
		return;
	acl_cache_release(a);
	while (a->newest != NULL)
		forget(a, a->newest);
	acl_rights_release(&a->recovery.rights);
	drop_recovery(a);
	arena_release(&a->arena);
	r->acl = NULL;
	acl_parked_release(a);
}
