/* acl_text.c - what all kinds of ACL records need: names, IDs, digests, links. */
#include <sodium.h>
#include <stdlib.h>

#include "raftd/fsm/acl.h"

bool
acl_may(const struct asker *who, enum acl_access want, struct fsm_error *err)
{
	if (asker_may(who, ACL_ACL, STR(""), want))
		return true;
	err->code = 403;
	asker_denied(who, ACL_ACL, STR(""), want, err->text, sizeof(err->text));
	return false;
}

static void *
take(const struct fsm *f, size_t n)
{
	void *p = arena_alloc(f->arena, n > 0 ? n : 1);

	if (p == NULL)
		f->scratch->starved = true;
	return p;
}

static struct str
keep(const struct fsm *f, const char *text, size_t len)
{
	char *p = take(f, len + 1);

	if (p == NULL)
		return STR_NONE;
	memcpy(p, text, len);
	return (struct str){ p, len };
}

struct str
acl_uuid(const struct fsm *f, const uint8_t random[16])
{
	char id[37];

	uuid_make(random, id);
	return keep(f, id, strlen(id));
}

bool
acl_is_uuid(struct str s)
{
	uint8_t raw[16];

	return uuid_parse(s, raw);
}

bool
acl_is_reserved(struct str s)
{
	return str_has_prefix(s, STR(ACL_RESERVED_PREFIX));
}

bool
acl_is_name(struct str s, size_t max)
{
	if (s.len == 0 || s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = ascii_lower((unsigned char)s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return true;
}

struct str
acl_time(const struct fsm *f, int64_t wall_ns)
{
	char text[WALL_TEXT_MAX];

	wall_format(wall_from_ns(wall_ns), text);
	return keep(f, text, strlen(text));
}

int
acl_complete(const struct record *rec, const void *obj, struct buf *out, struct str *ret_request)
{
	struct mp_w w = mp_w_init(out);
	size_t start = out->len;

	record_encode(rec, obj, RECORD_WHOLE, &w);
	if (w.err == 0)
		*ret_request = (struct str){ (const char *)out->data + start, out->len - start };
	return w.err;
}

/* ---- digests: BLAKE2b over the fields, one behind the other */

static void
add(crypto_generichash_state *h, struct str s)
{
	if (s.len > 0)
		(void)crypto_generichash_update(h, (const unsigned char *)s.p, s.len);
}

static void
add_links(crypto_generichash_state *h, const struct records *list)
{
	const struct acl_link *v = list->v;

	for (size_t i = 0; i < list->n; i++)
		add(h, v[i].id);
}

static void
add_identities(crypto_generichash_state *h, const struct records *services, const struct records *nodes)
{
	const struct acl_service_identity *s = services->v;
	const struct acl_node_identity *n = nodes->v;

	for (size_t i = 0; i < services->n; i++) {
		add(h, s[i].service_name);
		for (size_t k = 0; k < s[i].datacenters.n; k++)
			add(h, s[i].datacenters.v[k]);
	}
	for (size_t i = 0; i < nodes->n; i++) {
		add(h, n[i].node_name);
		add(h, n[i].datacenter);
	}
}

static struct str
digest(struct arena *a, crypto_generichash_state *h)
{
	unsigned char *p = arena_alloc(a, ACL_HASH_LEN);

	if (p == NULL)
		return STR_NONE;
	(void)crypto_generichash_final(h, p, ACL_HASH_LEN);
	return (struct str){ (const char *)p, ACL_HASH_LEN };
}

struct str
acl_token_hash(struct arena *a, const struct acl_token *t)
{
	crypto_generichash_state h;

	(void)crypto_generichash_init(&h, NULL, 0, ACL_HASH_LEN);
	add(&h, t->description);
	add(&h, t->type);
	add(&h, t->rules);
	add(&h, t->local ? STR("local") : STR("global"));
	add_links(&h, &t->policies);
	add_links(&h, &t->roles);
	add_identities(&h, &t->service_identities, &t->node_identities);
	return digest(a, &h);
}

struct str
acl_policy_hash(struct arena *a, const struct acl_policy *p)
{
	crypto_generichash_state h;

	(void)crypto_generichash_init(&h, NULL, 0, ACL_HASH_LEN);
	add(&h, p->name);
	add(&h, p->description);
	add(&h, p->rules);
	for (size_t i = 0; i < p->datacenters.n; i++)
		add(&h, p->datacenters.v[i]);
	return digest(a, &h);
}

struct str
acl_role_hash(struct arena *a, const struct acl_role *r)
{
	crypto_generichash_state h;

	(void)crypto_generichash_init(&h, NULL, 0, ACL_HASH_LEN);
	add(&h, r->name);
	add(&h, r->description);
	add_links(&h, &r->policies);
	add_identities(&h, &r->service_identities, &r->node_identities);
	return digest(a, &h);
}

/* ---- links */

bool
acl_links_to(const struct records *links, struct str id)
{
	const struct acl_link *v = links->v;

	for (size_t i = 0; i < links->n; i++)
		if (str_eq_nocase(v[i].id, id))
			return true;
	return false;
}

static int
by_id(const void *a, const void *b)
{
	return str_cmp(((const struct acl_link *)a)->id, ((const struct acl_link *)b)->id);
}

/* Of links that are alike the first stays; the others keep their order. */
static bool
drop_doubles(const struct fsm *f, struct records *links)
{
	struct acl_link *v = links->v, *sorted;
	size_t n = 0;

	if (links->n < 2)
		return true;
	sorted = take(f, links->n * sizeof(*sorted));
	if (sorted == NULL)
		return false;
	memcpy(sorted, v, links->n * sizeof(*v));
	qsort(sorted, links->n, sizeof(*sorted), by_id);
	for (size_t i = 1; i < links->n; i++)
		n += str_eq(sorted[i].id, sorted[i - 1].id);
	if (n == 0)
		return true;
	n = 0;
	for (size_t i = 0; i < links->n; i++) {
		struct records before = { v, n };

		if (!acl_links_to(&before, v[i].id))
			v[n++] = v[i];
	}
	links->n = n;
	return true;
}

static bool
bounded(const struct records *links, const char *what, struct fsm_error *err)
{
	if (links->n > ACL_LINKS_MAX)
		fail(err, 400, "Bad request: A %s has at most %d links of one kind", what, ACL_LINKS_MAX);
	return err->code == 0;
}

bool
acl_vet_policies(const struct fsm *f, struct records *links, const char *what, struct fsm_error *err)
{
	struct acl_link *v = links->v;

	if (!bounded(links, what, err))
		return false;
	for (size_t i = 0; i < links->n; i++) {
		bool named = v[i].id.len == 0;
		const struct policy_item *p = named ? acl_policy_by_name(f, v[i].name) : acl_policy_find(f, v[i].id);

		if (p == NULL && named)
			fail(err, 500, "No such ACL policy with name %s", go_quote(f, v[i].name));
		else if (p == NULL)
			fail(err, 500, "Failed to apply %s write request: No such policy with ID: %.*s", what, STR_ARG(v[i].id));
		if (p == NULL)
			return false;
		/* The name may change: it is looked up when it is shown. */
		v[i] = (struct acl_link){ p->p.id, STR("") };
	}
	return drop_doubles(f, links);
}

bool
acl_vet_roles(const struct fsm *f, struct records *links, struct fsm_error *err)
{
	struct acl_link *v = links->v;

	if (!bounded(links, "token", err))
		return false;
	for (size_t i = 0; i < links->n; i++) {
		bool named = v[i].id.len == 0;
		const struct role_item *r = named ? acl_role_by_name(f, v[i].name) : acl_role_find(f, v[i].id);

		if (r == NULL && named)
			fail(err, 500, "No such ACL role with name %s", go_quote(f, v[i].name));
		else if (r == NULL)
			fail(err, 500, "Failed to apply token write request: No such role with ID: %.*s", STR_ARG(v[i].id));
		if (r == NULL)
			return false;
		v[i] = (struct acl_link){ r->r.id, STR("") };
	}
	return drop_doubles(f, links);
}

struct records
acl_show_policies(const struct fsm *f, const struct records *links)
{
	const struct acl_link *v = links->v;
	struct acl_link *out = links->n > 0 ? take(f, links->n * sizeof(*out)) : NULL;
	size_t n = 0;

	for (size_t i = 0; out != NULL && i < links->n; i++) {
		const struct policy_item *p = acl_policy_find(f, v[i].id);

		if (p != NULL)
			out[n++] = (struct acl_link){ p->p.id, p->p.name };
	}
	return (struct records){ out, n };
}

struct records
acl_show_roles(const struct fsm *f, const struct records *links)
{
	const struct acl_link *v = links->v;
	struct acl_link *out = links->n > 0 ? take(f, links->n * sizeof(*out)) : NULL;
	size_t n = 0;

	for (size_t i = 0; out != NULL && i < links->n; i++) {
		const struct role_item *r = acl_role_find(f, v[i].id);

		if (r != NULL)
			out[n++] = (struct acl_link){ r->r.id, r->r.name };
	}
	return (struct records){ out, n };
}

struct records
acl_copy_list(const struct fsm *f, const struct records *list, size_t size)
{
	void *v = list->n > 0 ? take(f, list->n * size) : NULL;

	if (v == NULL)
		return (struct records){ NULL, 0 };
	memcpy(v, list->v, list->n * size);
	return (struct records){ v, list->n };
}

/* ---- identities */

static int
by_service(const void *a, const void *b)
{
	return str_cmp(((const struct acl_service_identity *)a)->service_name, ((const struct acl_service_identity *)b)->service_name);
}

/* Without a list it is for all datacenters, whatever the other says. */
static bool
merge_datacenters(const struct fsm *f, struct strs *into, const struct strs *more)
{
	struct str *v;

	if (into->n == 0 || more->n == 0) {
		*into = (struct strs){ NULL, 0 };
		return true;
	}
	v = take(f, (into->n + more->n) * sizeof(*v));
	if (v == NULL)
		return false;
	memcpy(v, into->v, into->n * sizeof(*v));
	for (size_t i = 0, n; i < more->n; i++) {
		for (n = 0; n < into->n && !str_eq(v[n], more->v[i]); n++)
			;
		if (n == into->n)
			v[into->n++] = more->v[i];
	}
	into->v = v;
	return true;
}

bool
acl_vet_services(const struct fsm *f, struct records *list, bool local, const char *what, struct fsm_error *err)
{
	struct acl_service_identity *v = list->v;
	size_t n = 0;

	if (!bounded(list, what, err))
		return false;
	for (size_t i = 0; i < list->n && err->code == 0; i++) {
		if (v[i].service_name.len == 0)
			fail(err, 500, "Service identity is missing the service name field on this %s", what);
		else if (local && v[i].datacenters.n > 0)
			fail(err, 500, "Service identity %s cannot specify a list of datacenters on a local token",
			    go_quote(f, v[i].service_name));
		else if (!acl_identity_name_ok(v[i].service_name))
			fail(err, 500, "Service identity %s has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed",
			    go_quote(f, v[i].service_name));
	}
	if (err->code != 0 || list->n < 2)
		return err->code == 0;
	qsort(v, list->n, sizeof(*v), by_service);
	for (size_t i = 0; i < list->n; i++) {
		if (n == 0 || !str_eq(v[n - 1].service_name, v[i].service_name))
			v[n++] = v[i];
		else if (!merge_datacenters(f, &v[n - 1].datacenters, &v[i].datacenters))
			return false;
	}
	list->n = n;
	return true;
}

bool
acl_vet_nodes(struct records *list, const char *what, struct fsm_error *err)
{
	struct acl_node_identity *v = list->v;
	size_t n = 0, k;

	if (!bounded(list, what, err))
		return false;
	for (size_t i = 0; i < list->n && err->code == 0; i++) {
		if (v[i].node_name.len == 0)
			fail(err, 500, "Node identity is missing the node name field on this %s", what);
		else if (v[i].datacenter.len == 0)
			fail(err, 500, "Node identity is missing the datacenter field on this %s", what);
		else if (!acl_identity_name_ok(v[i].node_name))
			fail(err, 500, "Node identity has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed");
		for (k = 0; k < n && !(str_eq(v[k].node_name, v[i].node_name) && str_eq(v[k].datacenter, v[i].datacenter)); k++)
			;
		if (k == n)
			v[n++] = v[i];
	}
	if (err->code == 0)
		list->n = n;
	return err->code == 0;
}

void
acl_changed(const struct fsm *f, const struct fsm_sink *sink)
{
	/* The entry at hand is not counted as applied yet. */
	f->scratch->acl_index = f->applied + 1;
	touch_one(sink, WATCH_ACL, STR(""));
}
