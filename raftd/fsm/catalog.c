/* catalog.c - registration and deregistration: arguments first, then node, service, checks in one step. */
#include "raftd/fsm/state.h"

/* ---- what is wrong whatever the state */

bool
catalog_vet_node(const struct fsm *f, struct str name, struct str id, struct fsm_error *err)
{
	const char *why = id.len > 0 ? uuid_complaint(f, id) : NULL;

	if (name.len == 0)
		fail(err, 500, "Must provide node");
	else if (memchr(name.p, 0, name.len) != NULL)
		fail(err, 500, "Invalid node name: it holds a NUL");
	else if (why != NULL)
		fail(err, 500, "Bad node ID: %s", why);
	return err->code == 0;
}

bool
catalog_vet_service(const struct node_service *s, struct fsm_error *err)
{
	if (s->service.len == 0)
		fail(err, 500, "Must provide service name with ID");
	else if (str_eqs(s->address, "0.0.0.0") || str_eqs(s->address, "::") || str_eqs(s->address, "[::]"))
		fail(err, 500, "Invalid service address");
	else if (s->id.len > 0 && memchr(s->id.p, 0, s->id.len) != NULL)
		fail(err, 500, "Invalid service ID: it holds a NUL");
	else if (s->service.len > 0 && memchr(s->service.p, 0, s->service.len) != NULL)
		fail(err, 500, "Invalid service name: it holds a NUL");
	return err->code == 0;
}

/* The service's ID defaults to its name. False: there is none, or an error was said. */
static bool
service_of(const struct register_request *req, struct node_service *ret, struct fsm_error *err)
{
	if (req->service.n == 0)
		return false;
	*ret = *(const struct node_service *)req->service.v;
	if (ret->id.len == 0)
		ret->id = ret->service;
	return catalog_vet_service(ret, err);
}

bool
catalog_vet_register(const struct fsm *f, const struct register_request *req, struct fsm_error *err)
{
	struct node_service s;

	if (!catalog_vet_node(f, req->node, STR_NONE, err))
		return false;
	if (req->address.len == 0 && !req->skip_node_update)
		fail(err, 500, "Must provide address if SkipNodeUpdate is not set");
	else if (catalog_vet_node(f, req->node, req->id, err))
		(void)service_of(req, &s, err);
	return err->code == 0;
}

bool
catalog_vet_deregister(const struct deregister_request *req, struct fsm_error *err)
{
	if (req->node.len == 0)
		fail(err, 500, "Must provide node");
	return err->code == 0;
}

/* ---- what a registration names */

/* The node; false: it is there and to be left as it is. A name that differs in case only is no change by itself. */
static bool
node_of(const struct fsm *f, const struct register_request *req, struct node *ret)
{
	const struct node_item *was = node_find(f, req->node);

	*ret = (struct node){ .id = req->id, .node = req->node, .address = req->address, .datacenter = req->datacenter,
		.tagged_addresses = req->tagged_addresses, .meta = req->node_meta };
	if (was != NULL && str_eq_nocase(was->n.id, req->id))
		ret->node = was->n.node;
	return was == NULL || !req->skip_node_update;
}

/* The check, with its ID and its node. False: the error was said. */
static bool
check_of(const struct fsm *f, const struct register_request *req, const struct health_check *in, struct health_check *ret,
    struct fsm_error *err)
{
	*ret = *in;
	if (ret->check_id.len == 0)
		ret->check_id = ret->name;
	if (ret->node.len == 0)
		ret->node = req->node;
	if (ret->check_id.len == 0)
		fail(err, 500, "Must provide check ID or name");
	else if (!str_eq_nocase(ret->node, req->node))
		fail(err, 500, "check node %s does not match node %s", go_quote(f, ret->node), go_quote(f, req->node));
	return err->code == 0;
}

static bool
checks_stand(const struct fsm *f, const struct register_request *req, const struct records *list)
{
	const struct health_check *in = list->v;
	struct fsm_error err = { .code = 0 };
	struct health_check c;

	for (size_t i = 0; i < list->n; i++)
		if (!check_of(f, req, &in[i], &c, &err) || !check_stands(f, &c))
			return false;
	return true;
}

bool
catalog_stands(const struct fsm *f, const struct register_request *req)
{
	struct fsm_error err = { .code = 0 };
	struct node_service s;
	struct node n;

	if (node_of(f, req, &n) && !node_stands(f, &n))
		return false;
	if (service_of(req, &s, &err) && !service_stands(f, req->node, &s))
		return false;
	return err.code == 0 && checks_stand(f, req, &req->checks) && checks_stand(f, req, &req->check);
}

bool
catalog_kept_by_agent(const struct fsm *f, struct str node)
{
	const struct check_item *serf = check_find(f, node, STR("serfHealth"));

	return serf != NULL && !str_eqs(serf->c.status, "critical");
}

/* ---- register */

static int
register_node(struct apply *ap, const struct register_request *req)
{
	struct node n;
	int rc;

	if (!node_of(ap->f, req, &n))
		return 0;
	rc = node_ensure(ap, &n);
	if (FAILED(ap))
		fail_context(ap->err, "failed inserting node: ");
	return rc;
}

static int
register_check(struct apply *ap, const struct register_request *req, const struct health_check *in)
{
	struct health_check c;
	int rc;

	if (!check_of(ap->f, req, in, &c, ap->err))
		return 0;
	rc = check_ensure(ap, &c);
	if (FAILED(ap)) {
		char text[FSM_TEXT_MAX];

		memcpy(text, ap->err->text, sizeof(text));
		fail(ap->err, 500, "failed inserting check: %.512s on node %s", text, go_quote(ap->f, c.node));
	}
	return rc;
}

static int
register_checks(struct apply *ap, const struct register_request *req, const struct records *list)
{
	const struct health_check *c = list->v;
	int rc = 0;

	for (size_t i = 0; i < list->n && rc == 0 && !FAILED(ap); i++)
		rc = register_check(ap, req, &c[i]);
	return rc;
}

int
catalog_register(struct apply *ap, const struct register_request *req)
{
	bool kept = catalog_kept_by_agent(ap->f, req->node);
	struct node_service s;
	int rc;

	if (!catalog_vet_register(ap->f, req, ap->err))
		return 0;
	rc = register_node(ap, req);
	if (rc == 0 && !FAILED(ap) && service_of(req, &s, ap->err)) {
		rc = service_ensure(ap, req->node, &s);
		if (FAILED(ap))
			fail_context(ap->err, "failed inserting service: ");
	}
	if (rc == 0 && !FAILED(ap))
		rc = register_checks(ap, req, &req->checks);
	if (rc == 0 && !FAILED(ap))
		rc = register_checks(ap, req, &req->check);
	mp_w_bool(ap->w, !kept);
	return rc;
}

/* ---- deregister */

int
catalog_deregister(struct apply *ap, const struct deregister_request *req)
{
	if (!catalog_vet_deregister(req, ap->err))
		return 0;
	mp_w_bool(ap->w, !catalog_kept_by_agent(ap->f, req->node));
	if (req->service_id.len > 0)
		return service_delete(ap, req->node, req->service_id);
	if (req->check_id.len > 0)
		return check_delete(ap, req->node, req->check_id);
	return node_delete(ap, req->node);
}
