/* sync_self.c - how this node describes itself in the catalog. */
#include <json-c/json_object_iterator.h>
#include <json-c/linkhash.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/sync_self.h"
#include "lib/cfg.h"

static int
copy_text(struct json_object *slice, const char *path, const char *dflt, struct arena *a, struct str *ret)
{
	char *p = arena_strdup(a, str_from(cfg_str(slice, path, dflt)));

	if (p == NULL)
		return -ENOMEM;
	*ret = str_from(p);
	return 0;
}

static int
by_key(const void *a, const void *b)
{
	return str_cmp(((const struct strpair *)a)->key, ((const struct strpair *)b)->key);
}

/* A map of texts, with one pair more (when key is not NULL), sorted. */
static int
copy_map(struct json_object *j, const char *key, const char *value, struct arena *a, struct strmap *ret)
{
	size_t n = j != NULL && json_object_is_type(j, json_type_object) ? (size_t)json_object_object_length(j) : 0;
	struct strmap m = { .v = arena_alloc(a, (n + 1) * sizeof(*m.v)) };

	if (m.v == NULL)
		return -ENOMEM;
	if (n > 0) {
		json_object_object_foreach(j, k, v) {
			m.v[m.n].key = str_from(arena_strdup(a, str_from(k)));
			m.v[m.n].value = str_from(arena_strdup(a, str_from(json_object_get_string(v))));
			if (m.v[m.n].key.p == NULL || m.v[m.n].value.p == NULL)
				return -ENOMEM;
			m.n++;
		}
	}
	if (key != NULL && strmap_get(&m, str_from(key)) == NULL)
		m.v[m.n++] = (struct strpair){ str_from(key), str_from(value) };
	qsort(m.v, m.n, sizeof(*m.v), by_key);
	*ret = m;
	return 0;
}

static bool
maps_equal(const struct strmap *a, const struct strmap *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!str_eq(a->v[i].key, b->v[i].key) || !str_eq(a->v[i].value, b->v[i].value))
			return false;
	return true;
}

static bool
self_equal(const struct self *a, const struct self *b)
{
	return str_eq(a->id, b->id) && str_eq(a->node, b->node) && str_eq(a->address, b->address) &&
	    str_eq(a->datacenter, b->datacenter) && maps_equal(&a->tagged_addresses, &b->tagged_addresses) &&
	    maps_equal(&a->meta, &b->meta);
}

int
sync_self_set(struct sync_self *s, struct json_object *slice)
{
	struct arena a = ARENA_INIT(SELF_ARENA_MAX);
	struct self me;
	int rc;

	rc = copy_text(slice, "node_id", "", &a, &me.id);
	if (rc == 0)
		rc = copy_text(slice, "node_name", "", &a, &me.node);
	if (rc == 0)
		rc = copy_text(slice, "advertise_addr", "127.0.0.1", &a, &me.address);
	if (rc == 0)
		rc = copy_text(slice, "datacenter", "dc1", &a, &me.datacenter);
	if (rc == 0)
		rc = copy_map(cfg_get(slice, "tagged_addresses"), NULL, NULL, &a, &me.tagged_addresses);
	/* Consul's nodes always name their network segment; outside of its Enterprise version there is one, "". */
	if (rc == 0)
		rc = copy_map(cfg_get(slice, "node_meta"), "consul-network-segment", "", &a, &me.meta);
	if (rc < 0 || self_equal(&me, &s->self)) {
		arena_release(&a);
		return rc;
	}
	arena_release(&s->arena);
	s->arena = a;
	s->self = me;
	return 1;
}

void
sync_self_release(struct sync_self *s)
{
	arena_release(&s->arena);
}
