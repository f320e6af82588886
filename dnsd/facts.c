/* facts.c - instances out of raftd's replies. */
#include "dnsd/facts.h"

#include <arpa/inet.h>
#include <stdlib.h>

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

static struct str
service_tagged(const struct node_service *s, const char *which)
{
	const struct service_address *v = s->tagged_addresses.v;

	for (size_t i = 0; i < s->tagged_addresses.n; i++)
		if (str_eqs(s->tagged_addresses.keys[i], which))
			return v[i].address;
	return STR_NONE;
}

static void
draft_node(const struct node *n, struct instance *d)
{
	*d = (struct instance){ .node = n->node, .passing = true, .weight = 1 };
	d->node_addr = addr_parse(n->address);
	d->any = d->node_addr;
	d->v4 = addr_parse(first_of(node_tagged(n, "lan_ipv4"), n->address));
	d->v6 = addr_parse(first_of(node_tagged(n, "lan_ipv6"), n->address));
	d->meta = n->meta.v;
	d->nmeta = n->meta.n;
}

/* Addresses of the service go before those of its node, family by family. */
static void
draft_service(const struct node_service *s, struct instance *d)
{
	struct str v4 = first_of(service_tagged(s, "lan_ipv4"), s->address);
	struct str v6 = first_of(service_tagged(s, "lan_ipv6"), s->address);

	if (s->address.len > 0) {
		d->any = addr_parse(s->address);
		d->own_addr = true;
	}
	if (v4.len > 0)
		d->v4 = addr_parse(v4);
	if (v6.len > 0)
		d->v6 = addr_parse(v6);
	d->tags = s->tags.v;
	d->ntags = s->tags.n;
	d->port = s->port > 0 && s->port <= UINT16_MAX ? (uint16_t)s->port : 0;
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
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i]);
	free(f->query);
	free(f);
}

static int
facts_add(struct facts *f, const struct instance *draft, bool all)
{
	if (draft->critical && !all)
		return 0;
	f->v[f->n] = instance_pack(draft);
	if (f->v[f->n] == NULL)
		return -ENOMEM;
	f->n++;
	return 0;
}

static int
add_entry(struct facts *f, struct mp_r *r, bool all, struct arena *scratch)
{
	struct health_entry e;
	struct instance d;
	int rc;

	arena_reset(scratch);
	rc = record_decode(&rec_health_entry, r, &e, scratch);
	if (rc < 0)
		return rc;
	draft_node(&e.node, &d);
	draft_service(&e.service, &d);
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
	struct instance d;
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
		draft_node(&n, &d);
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
