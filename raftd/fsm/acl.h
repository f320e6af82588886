/*
 * acl.h - the inside of the ACL state: tokens, policies, roles, auth methods, binding rules.
 *
 * What stands in links is the ID; the name is that of now, and a link to what
 * is gone is not shown. What is new (IDs, secrets, times) comes in by
 * fsm_check(), and is a part of the entry.
 */
#ifndef RAFTD_FSM_ACL_H
#define RAFTD_FSM_ACL_H

#include "lib/wall.h"
#include "raftd/acl/rules.h"
#include "raftd/fsm/state.h"

#define ACL_RESERVED_PREFIX "00000000-0000-0000-0000-0000000000"

enum {
	ACL_ROLE_NAME_MAX = 256,
	ACL_HASH_LEN = 32,
	ACL_LINKS_MAX = 4096,		/* of one kind, of one token or role */
	ACL_META_MAX = 1024 * 1024,	/* bytes of a login's meta as text */
};
#define ACL_TTL_MIN (60 * INT64_C(1000000000))
#define ACL_TTL_MAX (86400 * INT64_C(1000000000))

struct token_item {
	struct acl_token t;
	int64_t expires;	/* Unix time in ns, INT64_MAX: never */
	struct str key;		/* the accessor in lower case */
	struct str secret_key;	/* digest of the secret: a search tells nothing of it by its time */
	struct str due_key;	/* expires, big-endian, accessor; empty: never */
};

struct policy_item {
	struct acl_policy p;
	struct str key, name_key;	/* ID, name in lower case */
};

struct role_item {
	struct acl_role r;
	struct str key, name_key;
};

struct method_item {
	struct acl_auth_method m;
	struct str key;			/* name in lower case */
};

struct binding_item {
	struct acl_binding_rule b;
	struct str key;			/* ID in lower case */
};

/* ---- what all kinds need (acl_text.c) */

/* False: the error is said (403). */
bool acl_may(const struct asker *who, enum acl_access want, struct fsm_error *err);
/* A UUID of 16 random bytes (arena; starved without memory). */
struct str acl_uuid(const struct fsm *f, const uint8_t random[16]);
bool acl_is_uuid(struct str s);
bool acl_is_reserved(struct str s);
/* [A-Za-z0-9_-]{1,max} */
bool acl_is_name(struct str s, size_t max);
/* A moment as text (arena). */
struct str acl_time(const struct fsm *f, int64_t wall_ns);
/* The text of obj, completed, as the request to be proposed. */
int MUST_CHECK acl_complete(const struct record *rec, const void *obj, struct buf *out, struct str *ret_request);

/* The digests of Consul's records, in the arena; p is NULL without memory. */
struct str acl_token_hash(struct arena *a, const struct acl_token *t);
struct str acl_policy_hash(struct arena *a, const struct acl_policy *p);
struct str acl_role_hash(struct arena *a, const struct acl_role *r);

/* Names in links become IDs, each once. what: "token", "role". False: the error is said. */
bool acl_vet_policies(const struct fsm *f, struct records *links, const char *what, struct fsm_error *err);
bool acl_vet_roles(const struct fsm *f, struct records *links, struct fsm_error *err);
/* Identities are well-formed; those of one service become one. */
bool acl_vet_services(const struct fsm *f, struct records *list, bool local, const char *what, struct fsm_error *err);
bool acl_vet_nodes(struct records *list, const char *what, struct fsm_error *err);
/* Links as they are shown, into the arena. */
struct records acl_show_policies(const struct fsm *f, const struct records *links);
struct records acl_show_roles(const struct fsm *f, const struct records *links);
/* The list's elements in the arena. */
struct records acl_copy_list(const struct fsm *f, const struct records *list, size_t size);
bool acl_links_to(const struct records *links, struct str id);
/* Something that decides about rights has changed. */
void acl_changed(const struct fsm *f, const struct fsm_sink *sink);

/* ---- acl.c */
int MUST_CHECK acl_bootstrap_apply(struct apply *ap, const struct acl_bootstrap *req);
int MUST_CHECK acl_bootstrap_check(const struct fsm *f, struct acl_bootstrap *req, const struct fsm_fresh *fresh, struct buf *out,
    struct str *ret_request, struct fsm_error *err);

/* ---- acl_ops.c: the operations of ops.def, to the kinds */
union acl_request {
	struct acl_bootstrap bootstrap;
	struct acl_token_set token;
	struct acl_policy policy;
	struct acl_role role;
	struct acl_auth_method method;
	struct acl_binding_rule binding;
	struct acl_login login;
	struct acl_ids ids;
};
int MUST_CHECK acl_apply(struct apply *ap, uint64_t op, const union acl_request *q);
int MUST_CHECK acl_check(const struct fsm *f, uint16_t op, union acl_request *q, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);
/* Take over what an earlier release kept as opaque records (acl_adopt.c). */
int MUST_CHECK acl_adopt(struct apply *ap);

/* ---- acl_image.c: *_read() make an item of a record of the image, checked against its neighbours: -EDECODE, -ENOMEM */
int MUST_CHECK acl_load(struct fsm *f, enum fsm_table table, struct str key, struct str value);

/* ---- acl_token.c */
struct token_item *acl_token_find(const struct fsm *f, struct str accessor);
struct token_item *acl_token_by_secret(const struct fsm *f, struct str secret);
/* Put it into the state: new, in the place of old, or (new NULL) out of it. */
int MUST_CHECK acl_token_put(struct apply *ap, struct token_item *old, const struct acl_token *t);
int MUST_CHECK acl_token_set(struct apply *ap, const struct acl_token_set *req);
int MUST_CHECK acl_token_delete(struct apply *ap, const struct acl_ids *req);
/* Of those accessors that expire at all; of logouts that came from a login. */
int MUST_CHECK acl_token_reap(struct apply *ap, const struct acl_ids *req);
int MUST_CHECK acl_token_logout(struct apply *ap, const struct acl_ids *req);
/* The tokens of an auth method go with it. */
int MUST_CHECK acl_token_end_method(struct apply *ap, struct str method);
int MUST_CHECK acl_token_read(struct fsm *f, struct str key, struct str value, void **ret);
/* A new token, checked and completed: as acl.token_set and acl.login make one. False: the error is said. */
bool acl_token_create(const struct fsm *f, struct acl_token *t, const struct fsm_fresh *fresh, struct fsm_error *err);
void acl_token_show(const struct fsm *f, const struct token_item *item, const struct asker *who, struct acl_token *ret);
/* fsm_check() of each. Negative: no memory. */
int MUST_CHECK acl_token_check_set(const struct fsm *f, struct acl_token_set *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);
void acl_token_check_delete(const struct fsm *f, const struct acl_ids *req, struct asker *who, struct fsm_error *err);

/* ---- acl_policy.c */
struct policy_item *acl_policy_find(const struct fsm *f, struct str id);
struct policy_item *acl_policy_by_name(const struct fsm *f, struct str name);
int MUST_CHECK acl_policy_set(struct apply *ap, const struct acl_policy *req);
int MUST_CHECK acl_policy_delete(struct apply *ap, const struct acl_ids *req);
int MUST_CHECK acl_policy_read(struct fsm *f, struct str key, struct str value, void **ret);
int MUST_CHECK acl_policy_check_set(const struct fsm *f, struct acl_policy *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);
void acl_policy_check_delete(const struct fsm *f, const struct acl_ids *req, struct asker *who, struct fsm_error *err);

/* ---- acl_role.c */
struct role_item *acl_role_find(const struct fsm *f, struct str id);
struct role_item *acl_role_by_name(const struct fsm *f, struct str name);
int MUST_CHECK acl_role_set(struct apply *ap, const struct acl_role *req);
int MUST_CHECK acl_role_delete(struct apply *ap, const struct acl_ids *req);
int MUST_CHECK acl_role_read(struct fsm *f, struct str key, struct str value, void **ret);
int MUST_CHECK acl_role_check_set(const struct fsm *f, struct acl_role *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);

/* ---- acl_method.c */
struct method_item *acl_method_find(const struct fsm *f, struct str name);
int MUST_CHECK acl_method_set(struct apply *ap, const struct acl_auth_method *req);
int MUST_CHECK acl_method_delete(struct apply *ap, const struct acl_ids *req);
int MUST_CHECK acl_method_read(struct fsm *f, struct str key, struct str value, void **ret);
int MUST_CHECK acl_method_check_set(const struct fsm *f, struct acl_auth_method *req, struct asker *who, struct buf *out,
    struct str *ret_request, struct fsm_error *err);

/* ---- acl_binding.c */
struct binding_item *acl_binding_find(const struct fsm *f, struct str id);
int MUST_CHECK acl_binding_set(struct apply *ap, const struct acl_binding_rule *req);
int MUST_CHECK acl_binding_delete(struct apply *ap, const struct acl_ids *req);
int MUST_CHECK acl_binding_end_method(struct apply *ap, struct str method);
int MUST_CHECK acl_binding_read(struct fsm *f, struct str key, struct str value, void **ret);
int MUST_CHECK acl_binding_check_set(const struct fsm *f, struct acl_binding_rule *req, const struct fsm_fresh *fresh, struct asker *who,
    struct buf *out, struct str *ret_request, struct fsm_error *err);

/* ---- acl_login.c */
struct json_object;
/* A method's configuration; NULL: no memory, or deeper than any is. */
struct json_object *acl_config_json(struct str config);
/* A field of it that is text; empty: it has none. */
struct str acl_config_text(struct str config, const char *name);
/* Whether the selector and the name of a rule fit the method. False: the error is said. */
bool acl_login_vet_rule(const struct fsm *f, const struct acl_binding_rule *b, const struct acl_auth_method *m, struct fsm_error *err);
int MUST_CHECK acl_login_apply(struct apply *ap, const struct acl_login *req);
int MUST_CHECK acl_login_check(const struct fsm *f, struct acl_login *req, const struct fsm_fresh *fresh, struct buf *out,
    struct str *ret_request, struct fsm_error *err);

/* ---- acl_read.c */
int MUST_CHECK acl_query_read(const struct fsm *f, uint16_t op, const void *q, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err);

#endif
