/* service.c - service instances of the catalog, and the index of each service name. */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

#define NAME_PREFIX "service."	/* of the records of names in the image */

static const char *const skip_indexes[] = { "CreateIndex", "ModifyIndex", NULL };

/* ---- names */

static struct str
name_key(const void *item)
{
	return ((const struct name_item *)item)->key;
}

const struct tree_type name_tree = { name_key, NULL };

static int
name_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->names }, 1, old, new);
}

static const struct tree *
name_primary(const struct fsm *f)
{
	return &f->names;
}

static const struct field f_name_image[] = {
	FIELD(name_item, index, "Index", F_UINT, 0),
};
static RECORD(rec_name_image, name_item, "ServiceNameImage", f_name_image);

/* The item's key stands behind "service." in one string. */
static struct str
name_encode(const void *item, struct mp_w *w)
{
	const struct name_item *n = item;

	if (w != NULL)
		record_encode(&rec_name_image, n, RECORD_WHOLE, w);
	return (struct str){ n->key.p - strlen(NAME_PREFIX), n->key.len + strlen(NAME_PREFIX) };
}

static void
name_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_SERVICE, name_key(new != NULL ? new : old));
}

static void
name_release(struct fsm *f)
{
	tree_release(&f->names, free);
}

const struct table_ops name_ops = { FSM_META, name_primary, name_swap, name_encode, name_touch, free, name_release };

static struct name_item *
name_new(struct str key, uint64_t index, uint64_t instances)
{
	struct name_item *n = malloc(sizeof(*n) + strlen(NAME_PREFIX) + key.len);
	char *p;

	if (n == NULL)
		return NULL;
	p = (char *)(n + 1);
	memcpy(p, NAME_PREFIX, strlen(NAME_PREFIX));
	if (key.len > 0)
		memcpy(p + strlen(NAME_PREFIX), key.p, key.len);
	*n = (struct name_item){ index, instances, { p + strlen(NAME_PREFIX), key.len } };
	return n;
}

/* The name's index moves; delta instances come or go. The last one's going is remembered for all names. */
static int
name_move(struct apply *ap, struct str name, int64_t delta)
{
	struct name_item *old = tree_get(&ap->f->names, name), *new = NULL;
	uint64_t instances = (old != NULL ? old->instances : 0) + (uint64_t)delta;

	assert(old != NULL || delta > 0);
	if (old != NULL && delta == 0 && old->index == ap->index)
		return 0;
	if (instances > 0) {
		new = name_new(name, ap->index, instances);
		if (new == NULL)
			return -ENOMEM;
	} else {
		ap->f->idx.extinction = ap->index;
	}
	return change_put(ap, T_NAME, old, new);
}

int
service_bump(struct apply *ap, struct str name)
{
	return tree_get(&ap->f->names, name) != NULL ? name_move(ap, name, 0) : 0;
}

int
service_bump_node(struct apply *ap, struct str node_key)
{
	struct str prefix = join(ap->f, node_key, STR_NONE, STR_NONE);
	const struct service_item *s;
	struct tree_iter it;
	int rc = 0;

	if (prefix.p == NULL)
		return -ENOMEM;
	tree_seek(&ap->f->services, prefix, &it);
	while (rc == 0 && (s = tree_next_prefixed(&it, prefix)) != NULL)
		rc = service_bump(ap, s->name);
	return rc;
}

int
name_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct name_item in, *n;
	int rc;

	rc = record_decode(&rec_name_image, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (!str_has_prefix(key, STR(NAME_PREFIX)) || key.len == strlen(NAME_PREFIX) || !mp_r_done(&r))
		return -EDECODE;
	n = name_new((struct str){ key.p + strlen(NAME_PREFIX), key.len - strlen(NAME_PREFIX) }, in.index, 0);
	if (n == NULL)
		return -ENOMEM;
	index_loaded(f, in.index);
	return change_load(f, T_NAME, n);
}

/* ---- instances */

static struct str
service_key(const void *item)
{
	return ((const struct service_item *)item)->key;
}

static struct str
service_name_key(const void *item)
{
	return ((const struct service_item *)item)->name_key;
}

const struct tree_type service_tree = { service_key, NULL };
const struct tree_type service_name_tree = { service_name_key, NULL };

static int
service_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->services, &f->services_by_name, &f->services_by_address }, 3, old, new);
}

static const struct tree *
service_primary(const struct fsm *f)
{
	return &f->services;
}

static const struct field f_service_item[] = {
	FIELD_SUB(service_item, s, "", F_RECORD, 0, rec_node_service),
	FIELD(service_item, node, "", F_STR, 0),
	FIELD(service_item, key, "", F_STR, 0),
	FIELD(service_item, name, "", F_STR, 0),
	FIELD(service_item, name_key, "", F_STR, 0),
	FIELD(service_item, address_key, "", F_STR, 0),
};
static RECORD(rec_service_item, service_item, "ServiceItem", f_service_item);

static struct str
service_encode(const void *item, struct mp_w *w)
{
	const struct service_item *s = item;

	if (w != NULL)
		record_encode(&rec_node_service, &s->s, RECORD_WHOLE, w);
	return s->key;
}

static void
service_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	const struct service_item *s = new != NULL ? new : old, *was = old, *is = new;

	(void)f;
	address_touch(was != NULL ? was->address_key : STR_NONE, is != NULL ? is->address_key : STR_NONE, sink);
	/* The name's own record tells the watchers of the name. */
	touch_one(sink, WATCH_SERVICES, STR(""));
	touch_one(sink, WATCH_NODE, s->node);
}

static void
service_release(struct fsm *f)
{
	tree_release(&f->services_by_name, NULL);
	tree_release(&f->services_by_address, NULL);
	tree_release(&f->services, free);
}

const struct table_ops service_ops = { FSM_SERVICE, service_primary, service_swap, service_encode, service_touch, free,
	service_release };

static struct service_item *
service_new(const struct fsm *f, struct str node_key, const struct node_service *s)
{
	struct service_item in = { .s = *s, .node = node_key, .name = lower(f, s->service) };
	struct str id = lower(f, s->id);

	if (in.name.p == NULL || id.p == NULL)
		return NULL;
	in.key = join(f, node_key, id, STR_NONE);
	in.name_key = join(f, in.name, node_key, id);
	if (in.key.p == NULL || in.name_key.p == NULL)
		return NULL;
	in.address_key = address_key(f, s->address, in.name_key);
	return f->scratch->starved ? NULL : record_dup(&rec_service_item, &in);
}

struct service_item *
service_find(const struct fsm *f, struct str node, struct str id)
{
	struct str key = join_lower(f, node, id);

	return key.p != NULL ? tree_get(&f->services, key) : NULL;
}

int
service_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	const char *nul = key.len > 0 ? memchr(key.p, 0, key.len) : NULL;
	struct node_service s;
	struct service_item *item;
	int rc;

	rc = record_decode(&rec_node_service, &r, &s, f->arena);
	if (rc < 0)
		return rc;
	if (nul == NULL || !mp_r_done(&r))
		return -EDECODE;
	item = service_new(f, (struct str){ key.p, (size_t)(nul - key.p) }, &s);
	if (item == NULL)
		return -ENOMEM;
	if (!str_eq(item->key, key)) {
		free(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(s.create_index, s.modify_index));
	return change_load(f, T_SERVICE, item);
}

int
service_loaded(struct fsm *f)
{
	const struct service_item *s;
	struct name_item *n;
	struct tree_iter it;

	tree_seek(&f->services, STR_NONE, &it);
	while ((s = tree_next(&it)) != NULL) {
		n = tree_get(&f->names, s->name);
		if (n == NULL || tree_get(&f->nodes, s->node) == NULL)
			return -EDECODE;
		n->instances++;
	}
	tree_seek(&f->names, STR_NONE, &it);
	while ((n = tree_next(&it)) != NULL)
		if (n->instances == 0)
			return -EDECODE;
	return 0;
}

/* ---- changes */

/* The instance moves from one name to another, or comes: both names' indexes move. */
static int
move_names(struct apply *ap, const struct service_item *old, const struct service_item *new)
{
	bool same = old != NULL && str_eq(old->name, new->name);
	int rc = name_move(ap, new->name, same ? 0 : 1);

	return rc == 0 && old != NULL && !same ? name_move(ap, old->name, -1) : rc;
}

static void
default_weights(struct node_service *s)
{
	if (s->weights.passing == 0 && s->weights.warning == 0)
		s->weights = (struct weights){ 1, 1 };
}

bool
service_stands(const struct fsm *f, struct str node, const struct node_service *in)
{
	const struct service_item *is = service_find(f, node, in->id);
	struct node_service s = *in;

	default_weights(&s);
	return is != NULL && record_equal(&rec_node_service, &is->s, &s, skip_indexes);
}

int
service_ensure(struct apply *ap, struct str node, const struct node_service *in)
{
	const struct node_item *host = node_find(ap->f, node);
	struct service_item *old, *new;
	struct node_service s = *in;
	int rc;

	if (host == NULL) {
		fail(ap->err, 500, "Missing node registration");
		return 0;
	}
	default_weights(&s);
	old = service_find(ap->f, node, s.id);
	if (old != NULL && record_equal(&rec_node_service, &old->s, &s, skip_indexes))
		return 0;
	s.create_index = old != NULL ? old->s.create_index : ap->index;
	s.modify_index = ap->index;
	new = service_new(ap->f, host->key, &s);
	if (new == NULL)
		return -ENOMEM;
	ap->f->idx.services = ap->index;
	address_left(ap, old != NULL ? old->address_key : STR_NONE, new->address_key);
	rc = change_put(ap, T_SERVICE, old, new);
	return rc == 0 ? move_names(ap, old, new) : rc;
}

/* The first check of this instance. */
static const struct check_item *
check_of(const struct fsm *f, const struct service_item *s)
{
	struct str prefix = check_prefix(f, s->node, s->s.id);
	struct tree_iter it;

	if (prefix.p == NULL)
		return NULL;
	tree_seek(&f->checks_of, prefix, &it);
	return tree_next_prefixed(&it, prefix);
}

int
service_delete(struct apply *ap, struct str node, struct str id)
{
	struct service_item *s = service_find(ap->f, node, id);
	const struct check_item *c;
	int rc = 0;

	if (s == NULL)
		return 0;
	while (rc == 0 && (c = check_of(ap->f, s)) != NULL)
		rc = check_delete(ap, node, c->c.check_id);
	if (rc < 0)
		return rc;
	ap->f->idx.checks = ap->f->idx.services = ap->index;
	address_left(ap, s->address_key, STR_NONE);
	rc = change_put(ap, T_SERVICE, s, NULL);
	return rc == 0 ? name_move(ap, s->name, -1) : rc;
}
