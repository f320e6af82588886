/*
 * acl.h - what the files of raftd's ACL decisions share: acl.c (tokens
 * resolved by the state), acl_cache.c (by asking a server), acl_parked.c
 * (rights of reads that wait), acl_compile.c (identities into authorizers).
 */
#ifndef RAFTD_ACL_H
#define RAFTD_ACL_H

#include "raftd/raftd.h"

enum {
	ACL_CACHE_MAX = 4096,		/* compiled tokens that nobody waits with */
	ACL_BUCKETS = 1024,		/* a power of two */
	ACL_HASH = 16,
	ACL_FINGERPRINT = 32,
	ACL_ACCESSOR_MAX = 64,
	ACL_KEEP_MS = 1000,		/* a verdict may be kept for this long, no more: revocation is to be seen soon */
	ACL_IDENTITY_MAX = 64 * 1024 * 1024,	/* of one identity with the rules of its policies */
};

/* What one token stands for, compiled. Nothing of its secret is kept but a keyed hash. */
struct acl_rights {
	struct authz *authz;			/* NULL: nothing is known yet */
	unsigned char fingerprint[ACL_FINGERPRINT];
	enum acl_access default_access;
	char accessor[ACL_ACCESSOR_MAX];
	size_t accessor_len;
	int64_t expires;			/* Unix time in ns, 0: never */
};

/* A token, on a server. It is in `recent` unless reads wait with it, which then are in `holds`. */
struct acl_entry {
	struct acl_entry *chain;		/* in its bucket */
	struct acl_entry *newer, *older;	/* in recent, by last use */
	struct acl_entry *held_next, **held_prev;
	struct acl_hold *holds;
	unsigned char hash[ACL_HASH];
	uint64_t index, life;			/* of the ACL state that it was compiled from */
	struct acl_rights rights;
	bool known;				/* in the table; false: the token has gone, and those who wait are about to hear it */
};

struct acl {
	struct raftd *r;
	struct acl_entry *buckets[ACL_BUCKETS];
	struct acl_entry *newest, *oldest;	/* recent */
	size_t n;				/* in recent */
	struct acl_entry *held;			/* with reads that wait */
	struct acl_entry recovery;		/* the token acl.tokens.agent_recovery: not in the table */
	unsigned char *recovery_token;
	size_t recovery_len;
	uint64_t life;				/* of the state machine: another one has taken its place */
	struct defer look;			/* at the rights of those who wait */
	uv_timer_t timer;			/* when tokens that expire are waited with */
	struct arena arena;			/* of an identity that is being compiled */
	unsigned char key[16];			/* of the hash */
	bool key_list;
	enum acl_access default_access;
	struct acl_cache *cache;		/* client nodes */
};

/* ---- acl_compile.c */

/*
 * Let rights be those of this identity. *ret_changed: they are others than before. `like` (may be NULL) finds rights of the
 * same fingerprint that are compiled already. -ENOMEM leaves them as they were.
 */
int MUST_CHECK acl_compile(struct acl_rights *x, const struct acl_identity *id, bool key_list,
    const struct acl_rights *(*like)(void *ctx, const unsigned char *fingerprint), void *ctx, bool *ret_changed);
/* What a token without any rule may do. -ENOMEM. */
int MUST_CHECK acl_compile_none(struct acl_rights *x, enum acl_access default_access);
/* What the agent's own token may do on its node. -ENOMEM. */
int MUST_CHECK acl_compile_recovery(struct acl_rights *x, const char *node);
void acl_rights_release(struct acl_rights *x);
/* The token has expired by this server's clock. */
bool acl_rights_expired(const struct acl_rights *x);

/* ---- acl.c */
void acl_hash(const struct acl *a, struct str token, unsigned char out[ACL_HASH]);
/* The entry of this token as the state has it now. -ENOENT, -ENOMEM. */
int MUST_CHECK acl_entry_of(struct acl *a, struct str token, bool local, struct acl_entry **ret);
/* What the state says of it, in a->arena until that is reset. -ENOENT, -ENOMEM. */
int MUST_CHECK acl_identity_of(struct acl *a, struct str token, struct acl_identity *ret);
/* Whether it is this node's own token. */
bool acl_is_recovery(const struct acl *a, struct str token);
/* Look at the state again. True when the rights are others than before, or the token is not known any more. */
bool acl_entry_again(struct acl *a, struct acl_entry *e, struct str token);
/* Reads wait with it, or none does any more. */
void acl_entry_held(struct acl *a, struct acl_entry *e);
void acl_entry_unheld(struct acl *a, struct acl_entry *e);

/* ---- acl_authorize.c */
/* Answer an acl.authorize by these rights. x NULL: everything is allowed. */
void acl_answer(struct raftd *r, struct rpc_token t, struct str body, const struct acl_rights *x);

/* ---- acl_cache.c: on a client node */
int MUST_CHECK acl_cache_init(struct acl *a);
void acl_cache_release(struct acl *a);
/* acl.authorize with this token: answered now, or when a server has said what it stands for. */
void acl_cache_authorize(struct acl *a, const struct rpc_request *req, struct str token);

/* ---- acl_parked.c */
void acl_parked_init(struct acl *a);
void acl_parked_release(struct acl *a);

#endif
