/*
 * permit.c - what the asker of a write may do, by Consul's rules for each
 * operation.
 *
 * Asked before the log, at the leader, with the state as it is then. Where a
 * request names one thing and changes another (a service that is registered
 * anew under another name, a node that takes over another one's ID), both are
 * asked about.
 */
#include "raftd/fsm/state.h"

bool
permit(struct asker *who, enum acl_resource r, struct str name, enum acl_access want, struct fsm_error *err)
{
	if (asker_may(who, r, name, want))
		return true;
	err->code = 403;
	asker_denied(who, r, name, want, err->text, sizeof(err->text));
	return false;
}

static bool
is_off(const struct asker *who)
{
	return who == NULL || who->authz == NULL;
}

struct str
fsm_node_name(const struct fsm *f, struct str name)
{
	const struct node_item *n = node_find(f, name);

	return n != NULL ? n->n.node : name;
}

/* Names that differ in case alone are one node, and rules are about names as they are written: a right on another spelling is none on it. */
static bool
permit_on_node(const struct fsm *f, struct asker *who, enum acl_resource r, struct str name, struct fsm_error *err)
{
	struct str known = is_off(who) ? name : fsm_node_name(f, name);

	return permit(who, r, name, ACL_WRITE, err) && (str_eq(known, name) || permit(who, r, known, ACL_WRITE, err));
}

/* ---- KV */

static bool
below(struct asker *who, struct str prefix, struct fsm_error *err)
{
	if (is_off(who) || authz_may_below(who->authz, ACL_KEY, prefix))
		return true;
	err->code = 403;
	asker_denied(who, ACL_KEY, prefix, ACL_WRITE, err->text, sizeof(err->text));
	return false;
}

bool
permit_kv(struct asker *who, const struct kv_op *op, struct fsm_error *err)
{
	if (str_eqs(op->verb, "delete-tree"))
		return below(who, op->entry.key, err);
	return permit(who, ACL_KEY, op->entry.key, ACL_WRITE, err);
}

/* ---- sessions */

bool
permit_session(const struct fsm *f, struct asker *who, struct str id, struct fsm_error *err)
{
	const struct session_item *s = session_find(f, id);

	return s == NULL || permit(who, ACL_SESSION, s->s.node, ACL_WRITE, err);
}

bool
permit_session_create(const struct fsm *f, struct asker *who, struct str node, struct fsm_error *err)
{
	return permit_on_node(f, who, ACL_SESSION, node, err);
}

/* ---- the catalog */

static bool
same_map(const struct strmap *a, const struct strmap *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct str *v = strmap_get(b, a->v[i].key);

		if (v == NULL || !str_eq(*v, a->v[i].value))
			return false;
	}
	return true;
}

static bool
changes_node(const struct node_item *was, const struct register_request *req)
{
	const struct node *n;

	if (was == NULL)
		return true;
	if (req->skip_node_update)
		return false;
	n = &was->n;
	return !str_eq_nocase(n->id, req->id) || !str_eq_nocase(n->node, req->node) || !str_eq(n->address, req->address) ||
	    (req->datacenter.len > 0 && !str_eq(n->datacenter, req->datacenter)) ||
	    !same_map(&n->tagged_addresses, &req->tagged_addresses) || !same_map(&n->meta, &req->node_meta);
}

/* To be called what another is called, by its ID, ends that one. */
static bool
permit_node(const struct fsm *f, struct asker *who, struct str name, struct str id, struct fsm_error *err)
{
	const struct node_item *other = id.len > 0 ? node_find_id(f, id) : NULL;

	return permit_on_node(f, who, ACL_NODE, name, err) &&
	    (other == NULL || str_eq_nocase(other->n.node, name) || permit(who, ACL_NODE, other->n.node, ACL_WRITE, err));
}

/* The servers' own is their nodes' affair. */
static bool
permit_name(struct asker *who, struct str node, struct str service, struct fsm_error *err)
{
	if (str_eqs(service, "consul") && asker_may(who, ACL_NODE, node, ACL_WRITE))
		return true;
	return permit(who, ACL_SERVICE, service, ACL_WRITE, err);
}

/* An instance by another spelling would be one among those of a service that somebody else has the right on. */
static bool
permit_spelling(const struct fsm *f, struct asker *who, struct str service, struct fsm_error *err)
{
	struct str prefix = join(f, lower(f, service), STR_NONE, STR_NONE);
	const struct service_item *first;
	struct tree_iter it;

	if (prefix.p == NULL)
		return false;
	tree_seek(&f->services_by_name, prefix, &it);
	first = tree_next_prefixed(&it, prefix);
	return first == NULL || str_eq(first->s.service, service) || permit(who, ACL_SERVICE, first->s.service, ACL_WRITE, err);
}

/* The service as given, and what of this ID is there. */
static bool
permit_service(const struct fsm *f, struct asker *who, struct str node, const struct node_service *s, struct fsm_error *err)
{
	const struct service_item *was = service_find(f, node, s->id.len > 0 ? s->id : s->service);

	return permit_name(who, node, s->service, err) && (was == NULL || permit_name(who, node, was->s.service, err)) &&
	    permit_spelling(f, who, s->service, err);
}

/* Service: the one of the request that the check belongs to, or the registered one. */
static bool
permit_check(const struct fsm *f, struct asker *who, const struct register_request *req, const struct health_check *c,
    struct fsm_error *err)
{
	const struct node_service *s = req->service.n > 0 ? req->service.v : NULL;
	const struct check_item *was = check_find(f, req->node, c->check_id.len > 0 ? c->check_id : c->name);
	const struct service_item *registered;

	if (was != NULL && !str_eq_nocase(was->c.service_id, c->service_id) &&
	    (was->c.service_id.len > 0 ? !permit(who, ACL_SERVICE, was->c.service_name, ACL_WRITE, err) :
	    !permit_on_node(f, who, ACL_NODE, req->node, err)))
		return false;
	if (c->service_id.len == 0)
		return permit_on_node(f, who, ACL_NODE, req->node, err);
	/* What the service itself needs has been asked. */
	if (s != NULL && str_eq_nocase(c->service_id, s->id.len > 0 ? s->id : s->service))
		return true;
	registered = service_find(f, req->node, c->service_id);
	if (registered != NULL)
		return permit(who, ACL_SERVICE, registered->s.service, ACL_WRITE, err);
	fail(err, 500, "Unknown service '%.*s' for check '%.*s'", STR_ARG(c->service_id),
	    STR_ARG(c->check_id.len > 0 ? c->check_id : c->name));
	return false;
}

static bool
permit_checks(const struct fsm *f, struct asker *who, const struct register_request *req, const struct records *list,
    struct fsm_error *err)
{
	const struct health_check *c = list->v;

	for (size_t i = 0; i < list->n; i++)
		if (!permit_check(f, who, req, &c[i], err))
			return false;
	return true;
}

bool
permit_register(const struct fsm *f, struct asker *who, const struct register_request *req, struct fsm_error *err)
{
	const struct node_item *was = node_find(f, req->node);

	if (is_off(who))
		return true;
	if (changes_node(was, req) && !permit_node(f, who, req->node, req->id, err))
		return false;
	if (req->service.n > 0 && !permit_service(f, who, req->node, req->service.v, err))
		return false;
	return permit_checks(f, who, req, &req->checks, err) && permit_checks(f, who, req, &req->check, err);
}

/* Whoever may write the node may take from it what he likes: an agent no longer has the tokens of what was registered once. */
bool
permit_deregister(const struct fsm *f, struct asker *who, const struct deregister_request *req, struct fsm_error *err)
{
	const struct service_item *s;
	const struct check_item *c;
	struct fsm_error unused = { .code = 0 };

	if (permit_on_node(f, who, ACL_NODE, req->node, &unused))
		return true;
	if (req->service_id.len > 0) {
		s = service_find(f, req->node, req->service_id);
		if (s != NULL)
			return permit(who, ACL_SERVICE, s->s.service, ACL_WRITE, err);
		fail(err, 500, "Unknown service '%.*s'", STR_ARG(req->service_id));
		return false;
	}
	if (req->check_id.len > 0) {
		c = check_find(f, req->node, req->check_id);
		if (c == NULL) {
			fail(err, 500, "Unknown check '%.*s'", STR_ARG(req->check_id));
			return false;
		}
		if (c->c.service_id.len > 0)
			return permit(who, ACL_SERVICE, c->c.service_name, ACL_WRITE, err);
	}
	return permit_on_node(f, who, ACL_NODE, req->node, err);
}

/* ---- transactions */

/* What these verbs need; every other one writes its key. */
static bool
permit_txn_kv(struct asker *who, const struct txn_kv *op, struct fsm_error *err)
{
	static const char *const looks[] = { "get", "get-tree", "get-or-empty" };
	static const char *const tells[] = { "check-index", "check-session", "check-not-exists" };

	/* Their results are filtered. */
	for (size_t i = 0; i < ARRAY_LEN(looks); i++)
		if (str_eqs(op->verb, looks[i]))
			return true;
	/* What comes of them tells of the key. */
	for (size_t i = 0; i < ARRAY_LEN(tells); i++)
		if (str_eqs(op->verb, tells[i]))
			return permit(who, ACL_KEY, op->key, ACL_READ, err);
	if (str_eqs(op->verb, "delete-tree"))
		return below(who, op->key, err);
	/* What is copied is read, and what an increment tells is the value. */
	if ((str_eqs(op->verb, "copy") || str_eqs(op->verb, "move")) && !permit(who, ACL_KEY, op->dest, ACL_WRITE, err))
		return false;
	if ((str_eqs(op->verb, "copy") || str_eqs(op->verb, "move") || str_eqs(op->verb, "increment")) &&
	    !permit(who, ACL_KEY, op->key, ACL_READ, err))
		return false;
	return str_eqs(op->verb, "copy") || permit(who, ACL_KEY, op->key, ACL_WRITE, err);
}

static bool
permit_txn_service(const struct fsm *f, struct asker *who, const struct txn_service *op, struct fsm_error *err)
{
	const struct node_service *s = &op->service;
	const struct service_item *was = service_find(f, op->node, s->id.len > 0 ? s->id : s->service);

	if (str_eqs(op->verb, "get"))
		return true;
	/* To remove one it takes no more than its ID. */
	if (str_eqs(op->verb, "delete") || str_eqs(op->verb, "delete-cas"))
		return permit_name(who, op->node, was != NULL ? was->s.service : s->service, err);
	return permit_service(f, who, op->node, s, err);
}

/* The names of services are those that are registered: what the request says of them decides nothing. */
static bool
permit_txn_check(const struct fsm *f, struct asker *who, const struct txn_check *op, struct fsm_error *err)
{
	const struct health_check *c = &op->check;
	const struct check_item *was = check_find(f, c->node, c->check_id.len > 0 ? c->check_id : c->name);
	const struct service_item *s = c->service_id.len > 0 ? service_find(f, c->node, c->service_id) : NULL;

	if (str_eqs(op->verb, "get"))
		return true;
	if (was != NULL && (was->c.service_id.len > 0 ? !permit(who, ACL_SERVICE, was->c.service_name, ACL_WRITE, err) :
	    !permit_on_node(f, who, ACL_NODE, c->node, err)))
		return false;
	/* To remove one it takes no more than its ID. */
	if (was != NULL && (str_eqs(op->verb, "delete") || str_eqs(op->verb, "delete-cas")))
		return true;
	if (c->service_id.len == 0)
		return permit_on_node(f, who, ACL_NODE, c->node, err);
	return permit(who, ACL_SERVICE, s != NULL ? s->s.service : c->service_name, ACL_WRITE, err);
}

bool
permit_txn_op(const struct fsm *f, struct asker *who, const struct txn_op *op, struct fsm_error *err)
{
	const struct txn_node *node = op->node.n == 1 ? op->node.v : NULL;

	if (is_off(who))
		return true;
	if (op->kv.n == 1)
		return permit_txn_kv(who, op->kv.v, err);
	if (node != NULL)
		return str_eqs(node->verb, "get") || permit_node(f, who, node->node.node, node->node.id, err);
	if (op->service.n == 1)
		return permit_txn_service(f, who, op->service.v, err);
	if (op->check.n == 1)
		return permit_txn_check(f, who, op->check.v, err);
	return true;
}

bool
fsm_may_renew(const struct fsm *f, struct str id, struct asker *who, struct fsm_error *ret_err)
{
	ret_err->code = 0;
	return permit_session(f, who, id, ret_err);
}
