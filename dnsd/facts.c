/* facts.c - instances out of raftd's replies. */
#include "dnsd/facts.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "dnsd/packet.h"

struct addr
addr_parse(struct str text)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct addr a = { ADDR_NONE, { { 0 } } };
	char c[INET6_ADDRSTRLEN];

	if (text.len == 0)
		return a;
	if (text.len < sizeof(c)) {
		memcpy(c, text.p, text.len);
		c[text.len] = 0;
		if (inet_pton(AF_INET, c, a.u.ip) == 1) {
			a.kind = ADDR_V4;
			return a;
		}
		if (inet_pton(AF_INET6, c, a.u.ip) == 1) {
			a.kind = ADDR_V6;
			/* ::ffff:1.2.3.4 is an IPv4 address, as in Consul. */
			if (memcmp(a.u.ip, mapped, sizeof(mapped)) == 0) {
				memmove(a.u.ip, a.u.ip + 12, 4);
				a.kind = ADDR_V4;
			}
			return a;
		}
	}
	a.kind = ADDR_NAME;
	a.u.name = text;
	return a;
}

/* ---- copying into one block */

struct pack {
	char *text;		/* where the next string goes */
};

static struct str
pack_str(struct pack *p, struct str s)
{
	struct str r = { p->text, s.len };

	if (s.len > 0)
		memcpy(p->text, s.p, s.len);
	p->text += s.len;
	return r;
}

static void
pack_addr(struct pack *p, struct addr *to, struct addr from)
{
	*to = from;
	if (from.kind == ADDR_NAME)
		to->u.name = pack_str(p, from.u.name);
}

static size_t
addr_size(const struct addr *a)
{
	return a->kind == ADDR_NAME ? a->u.name.len : 0;
}

/* A copy of draft, whose slices point elsewhere, in one block. */
static struct instance *
instance_pack(const struct instance *draft)
{
	size_t head = sizeof(*draft) + draft->ntags * sizeof(struct str) + draft->nmeta * sizeof(struct strpair);
	size_t size = head + draft->node.len + addr_size(&draft->any) + addr_size(&draft->v4) + addr_size(&draft->v6) +
	    addr_size(&draft->node_addr);
	struct instance *i;
	struct pack p;

	for (size_t k = 0; k < draft->ntags; k++)
		size += draft->tags[k].len;
	for (size_t k = 0; k < draft->nmeta; k++)
		size += draft->meta[k].key.len + draft->meta[k].value.len;
	i = malloc(size);
	if (i == NULL)
		return NULL;
	*i = *draft;
	p.text = (char *)i + head;
	i->meta = (struct strpair *)(i + 1);
	i->tags = (struct str *)(i->meta + draft->nmeta);
	i->node = pack_str(&p, draft->node);
	pack_addr(&p, &i->any, draft->any);
	pack_addr(&p, &i->v4, draft->v4);
	pack_addr(&p, &i->v6, draft->v6);
	pack_addr(&p, &i->node_addr, draft->node_addr);
	for (size_t k = 0; k < draft->ntags; k++)
		i->tags[k] = pack_str(&p, draft->tags[k]);
	for (size_t k = 0; k < draft->nmeta; k++) {
		i->meta[k].key = pack_str(&p, draft->meta[k].key);
		i->meta[k].value = pack_str(&p, draft->meta[k].value);
	}
	return i;
}

/* ---- out of the records */

static struct str
first_of(struct str a, struct str b)
{
	return a.len > 0 ? a : b;
}

static struct str
node_tagged(const struct node *n, const char *which)
{
	const struct str *s = strmap_get(&n->tagged_addresses, str_from(which));

	return s != NULL ? *s : STR_NONE;
}

static const struct service_address *
service_tagged(const struct node_service *s, const char *which)
{
	const struct service_address *v = s->tagged_addresses.v;

	for (size_t i = 0; i < s->tagged_addresses.n; i++)
		if (str_eqs(s->tagged_addresses.keys[i], which))
			return &v[i];
	return NULL;
}

/* The addresses of a node or service: by family, and the one without. */
struct texts {
	struct str def, v4, v6;
};

static const char *const lan_tags[] = { "lan_ipv4", "lan_ipv6" }, *const wan_tags[] = { "wan", "wan_ipv4", "wan_ipv6" };

static void
replace(struct str *to, struct str by)
{
	if (by.len > 0)
		*to = by;
}

static struct texts
node_texts(const struct node *n, bool wan)
{
	struct texts t = { n->address, node_tagged(n, lan_tags[0]), node_tagged(n, lan_tags[1]) };

	if (wan) {
		replace(&t.def, node_tagged(n, wan_tags[0]));
		replace(&t.v4, node_tagged(n, wan_tags[1]));
		replace(&t.v6, node_tagged(n, wan_tags[2]));
	}
	return t;
}

static struct str
service_text(const struct node_service *s, const char *which)
{
	const struct service_address *a = service_tagged(s, which);

	return a != NULL ? a->address : STR_NONE;
}

static struct texts
service_texts(const struct node_service *s, bool wan)
{
	struct texts t = { s->address, service_text(s, lan_tags[0]), service_text(s, lan_tags[1]) };

	if (wan) {
		replace(&t.def, service_text(s, wan_tags[0]));
		replace(&t.v4, service_text(s, wan_tags[1]));
		replace(&t.v6, service_text(s, wan_tags[2]));
	}
	return t;
}

/* What is told to who asks for no family: in Consul's order. */
static struct str
any_of(const struct texts *t)
{
	return first_of(t->v6, first_of(t->v4, t->def));
}

/* A node that is reached by another address than it was registered with has that spelled in SRV targets, as Consul does. */
static void
draft_node(const struct node *n, bool wan, struct instance *d)
{
	struct texts t = node_texts(n, wan);
	struct str any = any_of(&t);

	*d = (struct instance){ .node = n->node, .passing = true, .weight = 1 };
	d->node_addr = addr_parse(any);
	d->any = d->node_addr;
	d->own_addr = d->any.kind != ADDR_NAME && !str_eq(any, n->address);
	d->v4 = addr_parse(first_of(t.v4, t.def));
	d->v6 = addr_parse(first_of(t.v6, t.def));
	d->meta = n->meta.v;
	d->nmeta = n->meta.n;
}

static uint16_t
service_port(const struct node_service *s, bool wan)
{
	const struct service_address *a = wan ? service_tagged(s, wan_tags[0]) : NULL;
	int64_t port = a != NULL && a->port != 0 ? a->port : s->port;

	return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* Addresses of the service go before those of its node, family by family. */
static void
draft_service(const struct node_service *s, bool wan, struct instance *d)
{
	struct texts t = service_texts(s, wan);
	struct str any = any_of(&t), v4 = first_of(t.v4, t.def), v6 = first_of(t.v6, t.def);

	if (any.len > 0) {
		d->any = addr_parse(any);
		d->own_addr = true;
	}
	if (v4.len > 0)
		d->v4 = addr_parse(v4);
	if (v6.len > 0)
		d->v6 = addr_parse(v6);
	d->tags = s->tags.v;
	d->ntags = s->tags.n;
	d->port = service_port(s, wan);
}

/* Whether there are addresses for other datacenters at all: most nodes have the same ones there. */
static bool
has_wan(const struct node *n, const struct node_service *s)
{
	for (size_t i = 0; i < ARRAY_LEN(wan_tags); i++) {
		if (node_tagged(n, wan_tags[i]).len > 0)
			return true;
		if (s != NULL && service_tagged(s, wan_tags[i]) != NULL)
			return true;
	}
	return false;
}

static bool
addr_same(const struct addr *a, const struct addr *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == ADDR_NAME ? str_eq(a->u.name, b->u.name) : memcmp(a->u.ip, b->u.ip, sizeof(a->u.ip)) == 0;
}

/*
 * d as other datacenters reach it, when that is another way. Its meta data
 * and tags are d's. s is NULL for a node.
 */
static void
draft_wan(const struct node *n, const struct node_service *s, struct instance *wan, struct instance *d)
{
	if (!has_wan(n, s))
		return;
	draft_node(n, true, wan);
	if (s != NULL)
		draft_service(s, true, wan);
	if (addr_same(&wan->any, &d->any) && addr_same(&wan->v4, &d->v4) && addr_same(&wan->v6, &d->v6) &&
	    addr_same(&wan->node_addr, &d->node_addr) && wan->own_addr == d->own_addr && wan->port == d->port)
		return;
	wan->ntags = wan->nmeta = 0;
	d->wan = wan;
}

/* The worst check counts; a state that Consul does not know weighs 1. */
static void
draft_health(const struct health_entry *e, struct instance *d)
{
	const struct health_check *c = e->checks.v;
	int64_t passing = e->service.weights.passing, warning = e->service.weights.warning, weight;
	bool warned = false, strange = false;

	/* Weights that were never given: passing is at least 1 where they were. */
	if (passing <= 0)
		passing = warning = 1;
	for (size_t i = 0; i < e->checks.n; i++) {
		if (str_eqs(c[i].status, "passing"))
			continue;
		d->passing = false;
		d->critical |= str_eqs(c[i].status, "critical");
		if (str_eqs(c[i].status, "warning"))
			warned = true;
		else
			strange = true;
	}
	weight = strange ? 1 : warned ? warning : passing;
	d->weight = weight < 0 ? 0 : weight > UINT16_MAX ? UINT16_MAX : (uint16_t)weight;
}

static struct facts *
facts_new(size_t n)
{
	struct facts *f = malloc(sizeof(*f) + n * sizeof(f->v[0]));

	if (f != NULL) {
		f->known = n > 0;
		f->dotted = NULL;
		f->query = NULL;
		f->n = 0;
	}
	return f;
}

struct facts *
facts_new_unknown(void)
{
	return facts_new(0);
}

void
facts_free(struct facts *f)
{
	struct dotted_tag *t;

	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i]->wan);
		free(f->v[i]);
	}
	while ((t = f->dotted) != NULL) {
		f->dotted = t->next;
		free(t);
	}
	free(f->query);
	free(f);
}

static int
add_dotted(struct facts *f, struct str tag)
{
	struct dotted_tag *t;

	if (tag.len >= PKT_NAME_MAX || memchr(tag.p, '.', tag.len) == NULL)
		return 0;
	for (t = f->dotted; t != NULL; t = t->next)
		if (str_eq_nocase(t->tag, tag))
			return 0;
	t = malloc(sizeof(*t) + tag.len);
	if (t == NULL)
		return -ENOMEM;
	t->next = f->dotted;
	t->tag = (struct str){ t->text, tag.len };
	memcpy(t->text, tag.p, tag.len);
	f->dotted = t;
	return 0;
}

/* Of an instance that DNS does not tell of only those tags matter that a question's labels could be together. */
static int
facts_leave_out(struct facts *f, const struct instance *draft)
{
	int rc = 0;

	for (size_t i = 0; i < draft->ntags && rc == 0; i++)
		rc = add_dotted(f, draft->tags[i]);
	return rc;
}

static int
facts_add(struct facts *f, const struct instance *draft, bool all)
{
	struct instance *i;

	if (draft->critical && !all)
		return facts_leave_out(f, draft);
	i = instance_pack(draft);
	if (i != NULL && draft->wan != NULL) {
		i->wan = instance_pack(draft->wan);
		if (i->wan == NULL) {
			free(i);
			i = NULL;
		}
	}
	if (i == NULL)
		return -ENOMEM;
	f->v[f->n++] = i;
	return 0;
}

static int
add_entry(struct facts *f, struct mp_r *r, bool all, struct arena *scratch)
{
	struct health_entry e;
	struct instance d, wan;
	int rc;

	arena_reset(scratch);
	rc = record_decode(&rec_health_entry, r, &e, scratch);
	if (rc < 0)
		return rc;
	draft_node(&e.node, false, &d);
	draft_service(&e.service, false, &d);
	draft_wan(&e.node, &e.service, &wan, &d);
	draft_health(&e, &d);
	return facts_add(f, &d, all);
}

int
facts_entries(struct mp_r *r, bool all, struct arena *scratch, struct facts **ret)
{
	size_t n = mp_r_array(r);
	struct facts *f;
	int rc = 0;

	f = facts_new(n < FACTS_MAX ? n : FACTS_MAX);
	if (f == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && i < FACTS_MAX && rc == 0; i++)
		rc = add_entry(f, r, all, scratch);
	arena_reset(scratch);
	for (size_t i = FACTS_MAX; i < n && rc == 0; i++)
		mp_r_skip(r);
	if (rc == 0)
		rc = r->err;
	if (rc < 0) {
		facts_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

int
facts_from_health(struct str payload, struct arena *scratch, struct facts **ret)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);

	return facts_entries(&r, false, scratch, ret);
}

/* {Node: {...}, Services: ...}, or nil for an unknown node. */
static int
node_of(struct str payload, struct arena *scratch, struct node *ret, bool *ret_known)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);
	uint32_t n;
	int rc = 0;

	*ret_known = false;
	if (mp_r_type(&r) == MP_NIL)
		return 0;
	n = mp_r_map(&r);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct str key = mp_r_str(&r);

		if (str_eqs(key, "Node") && mp_r_type(&r) == MP_MAP) {
			rc = record_decode(&rec_node, &r, ret, scratch);
			*ret_known = rc == 0;
		} else {
			mp_r_skip(&r);
		}
	}
	return rc == 0 ? r.err : rc;
}

int
facts_from_node(struct str payload, struct arena *scratch, struct facts **ret)
{
	struct facts *f = NULL;
	struct instance d, wan;
	struct node n;
	bool known;
	int rc;

	arena_reset(scratch);
	rc = node_of(payload, scratch, &n, &known);
	if (rc < 0)
		goto out;
	f = facts_new(known);
	if (f == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	if (known) {
		draft_node(&n, false, &d);
		draft_wan(&n, NULL, &wan, &d);
		rc = facts_add(f, &d, true);
	}
	if (rc == 0) {
		*ret = f;
		f = NULL;
	}
out:
	facts_free(f);
	arena_reset(scratch);
	return rc;
}
