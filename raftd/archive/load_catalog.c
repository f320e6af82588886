/* load_catalog.c - nodes of a snapshot, with their services and checks. */
#include "raftd/archive/load.h"

static int
load_node(struct loader *l, struct snap_register *r)
{
	struct mp_w w = mp_w_init(&l->image);
	struct node *n = &r->node;
	int rc = load_check_name(l, "node name", n->node);

	if (rc == 0)
		rc = load_take_indexes(l, n->create_index, n->modify_index, &l->nodes);
	if (rc < 0)
		return rc;
	if (n->datacenter.len == 0)
		n->datacenter = l->datacenter;
	load_sort_strmap(&n->tagged_addresses);
	load_sort_strmap(&n->meta);
	buf_clear(&l->image);
	record_encode(&rec_node, n, RECORD_WHOLE, &w);
	if (w.err < 0)
		return w.err;
	if (l->image.len == l->last_node.len && memcmp(l->image.data, l->last_node.data, l->image.len) == 0)
		return 0;
	rc = load_put(l, FSM_NODE, load_lower(l, n->node), (struct str){ (const char *)l->image.data, l->image.len });
	if (rc < 0)
		return rc;
	buf_clear(&l->last_node);
	return buf_add(&l->last_node, l->image.data, l->image.len);
}

/* Its name has an index of its own: the highest of its instances', until a record says better. */
static int
load_name(struct loader *l, const struct node_service *s)
{
	struct str name = load_lower(l, s->service), key;
	struct snap_index had = { .value = 0 }, is = { .value = s->modify_index };
	struct buf value = BUF_INIT(4096);
	struct mp_w w = mp_w_init(&l->image);
	struct mp_r r;
	int rc;

	key = (struct str){ arena_printf(&l->arena, "service.%.*s", STR_ARG(name)), strlen("service.") + name.len };
	if (name.p == NULL || key.p == NULL)
		return -ENOMEM;
	rc = load_find(l, FSM_META, name, key, &value);
	if (rc > 0) {
		r = mp_r_init(value.data, value.len);
		(void)mp_r_map(&r);
		(void)mp_r_str(&r);
		had.value = mp_r_uint(&r);
		rc = r.err;
	}
	buf_release(&value);
	if (rc < 0 || (had.value >= is.value && had.value > 0))
		return rc;
	buf_clear(&l->image);
	mp_w_map(&w, 1);
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, is.value);
	return w.err < 0 ? w.err : load_put(l, FSM_META, key, (struct str){ (const char *)l->image.data, l->image.len });
}

static int
take_weights(struct loader *l, struct snap_service *s)
{
	s->s.weights = (struct weights){ 1, 1 };
	return s->weights.len > 0 ? load_decode(l, &rec_snap_weights, s->weights, &s->s.weights) : 0;
}

static int
load_service(struct loader *l, const struct node *n, struct str value)
{
	struct snap_service s;
	int rc = load_decode(l, &rec_snap_service, value, &s);

	if (rc == 0)
		rc = take_weights(l, &s);
	if (rc == 0)
		rc = load_check_name(l, "service name", s.s.service);
	if (rc == 0 && s.s.id.len == 0)
		s.s.id = s.s.service;
	if (rc == 0)
		rc = load_check_name(l, "service ID", s.s.id);
	if (rc == 0)
		rc = load_take_indexes(l, s.s.create_index, s.s.modify_index, &l->services);
	if (rc == 0)
		rc = proxy_to_api(&s.proxy, &l->arena, &s.s.proxy);
	if (rc == 0)
		rc = connect_to_api(&s.connect, &l->arena, &s.s.connect);
	if (rc == 0)
		rc = load_sort_recmap(l, &s.s.tagged_addresses, sizeof(struct service_address));
	if (rc < 0)
		return rc;
	load_sort_strmap(&s.s.meta);
	rc = load_put_record(l, FSM_SERVICE, load_join_lower(l, n->node, s.s.id), &rec_node_service, &s.s);
	return rc == 0 ? load_name(l, &s.s) : rc;
}

/* What the check says of itself, in the API's form. */
static int
take_definition(struct loader *l, struct snap_check *c)
{
	struct buf b = BUF_INIT(SNAP_RECORD_MAX);
	struct mp_w w = mp_w_init(&b);
	int rc = load_sort_recmap(l, &c->definition.header, sizeof(struct strs_value));
	char *p = NULL;

	if (rc == 0) {
		record_encode(&rec_check_definition, &c->definition, RECORD_PUBLIC, &w);
		rc = w.err;
	}
	if (rc == 0)
		p = arena_strdup(&l->arena, (struct str){ (const char *)b.data, b.len });
	if (rc == 0 && p == NULL)
		rc = -ENOMEM;
	c->c.definition = (struct str){ p, b.len };
	buf_release(&b);
	return rc;
}

/* The check's service must be there; its name is the service's. */
static int
take_service_name(struct loader *l, const struct node *n, struct health_check *c)
{
	struct str key = load_join_lower(l, n->node, c->service_id);
	struct buf value = BUF_INIT(SNAP_RECORD_MAX);
	struct node_service s;
	struct mp_r r;
	char *copy;
	int rc = key.p != NULL ? load_find(l, FSM_SERVICE, key, key, &value) : -ENOMEM;

	if (rc == 0)
		rc = load_refuse(l, "Missing service registration on node \"%.*s\"", SHOWN(n->node));
	if (rc > 0) {
		r = mp_r_init(value.data, value.len);
		rc = record_decode(&rec_node_service, &r, &s, &l->arena);
		copy = rc == 0 ? arena_strdup(&l->arena, s.service) : NULL;
		c->service_name = (struct str){ copy, s.service.len };
		if (rc == 0 && copy == NULL)
			rc = -ENOMEM;
	}
	buf_release(&value);
	return rc;
}

static int
load_check(struct loader *l, const struct node *n, struct snap_check *c)
{
	int rc;

	if (c->c.node.len == 0)
		c->c.node = n->node;
	if (!str_eq_nocase(c->c.node, n->node))
		return load_refuse(l, "check node \"%.*s\" does not match node \"%.*s\"", SHOWN(c->c.node), SHOWN(n->node));
	rc = load_check_name(l, "check ID", c->c.check_id);
	if (rc == 0 && c->c.service_id.len > 0)
		rc = take_service_name(l, n, &c->c);
	if (rc == 0)
		rc = load_take_indexes(l, c->c.create_index, c->c.modify_index, &l->checks);
	if (rc == 0)
		rc = take_definition(l, c);
	return rc == 0 ? load_put_record(l, FSM_CHECK, load_join_lower(l, n->node, c->c.check_id), &rec_health_check, &c->c) : rc;
}

int
load_register(struct loader *l, struct str value)
{
	struct snap_register r;
	struct snap_check one, *more;
	int rc = load_decode(l, &rec_snap_register, value, &r);

	if (rc == 0)
		rc = load_node(l, &r);
	if (rc == 0 && r.service.len > 0)
		rc = load_service(l, &r.node, r.service);
	if (rc == 0 && r.check.len > 0) {
		rc = load_decode(l, &rec_snap_check, r.check, &one);
		if (rc == 0)
			rc = load_check(l, &r.node, &one);
	}
	more = r.checks.v;
	for (size_t i = 0; rc == 0 && i < r.checks.n; i++)
		rc = load_check(l, &r.node, &more[i]);
	return rc;
}
