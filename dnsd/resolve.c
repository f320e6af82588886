/* resolve.c - a question's way: zone, kind of name, view, answer. */
#include "dnsd/resolve.h"

#include <time.h>

#include "dnsd/apex.h"
#include "dnsd/cname.h"

size_t
resolve_refuse(const struct turn *t, unsigned flags, enum pkt_rcode rcode)
{
	return apex_error(t->q, *t->r->settings, flags, rcode, t->out, t->cap);
}

static size_t
negative(const struct turn *t, enum pkt_rcode rcode)
{
	return apex_negative(t->q, *t->r->settings, (uint32_t)time(NULL), rcode, t->out, answer_max(t->q, t->tcp));
}

/* A view that may be told; NULL when t->wait was set, or when there is no room to ask. */
static struct view *
look_up(struct turn *t, const struct view_key *key)
{
	enum view_state state;
	struct view *v = views_get(t->r->views, key, &state);

	if (state == VIEW_WAIT)
		t->wait = v;
	return state == VIEW_READY ? v : NULL;
}

/* Nothing yet: the answer comes later, or there is no room for one more view. */
static size_t
not_yet(const struct turn *t)
{
	return t->wait != NULL ? 0 : resolve_refuse(t, FLAG_AA, RCODE_SERVFAIL);
}

/* A name that is not ours: the recursors' answer will be delivered, if there are any. */
static size_t
relay(struct turn *t, enum pkt_rcode without)
{
	size_t len;

	if ((*t->r->settings)->nrecursors == 0)
		return resolve_refuse(t, without == RCODE_SERVFAIL ? FLAG_RA : 0, without);
	t->counted = true;
	if (!guard_relay(t->r->guard, t->q, t->who, t->out, &len))
		return len;
	t->relayed = relay_ask(t->r->relay, t->who, t->q, t->raw, t->raw_len);
	return t->relayed ? 0 : resolve_refuse(t, FLAG_RA, RCODE_SERVFAIL);
}

/* ---- services, nodes, prepared queries */

/* Whom a prepared query is near to: the client's subnet, else his address. */
static const char *
client_text(const struct turn *t, char out[INET6_ADDRSTRLEN])
{
	const struct pkt_ecs *ecs = &t->q->ecs;
	const union sock_addr *a = &t->who->peer;

	if (ecs->present && ecs->source > 0)
		return inet_ntop(ecs->family == 1 ? AF_INET : AF_INET6, ecs->addr, out, INET6_ADDRSTRLEN);
	if (a->sa.sa_family == AF_INET)
		return inet_ntop(AF_INET, &a->in.sin_addr, out, INET6_ADDRSTRLEN);
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], out, INET6_ADDRSTRLEN);
	return inet_ntop(AF_INET6, &a->in6.sin6_addr, out, INET6_ADDRSTRLEN);
}

/*
 * The view of this client's order, when there is one to be had: while raftd
 * is away, or does not answer, everybody gets the order of nobody.
 */
static struct view *
client_view(struct turn *t, const struct view_key *key, struct view *all)
{
	const struct facts *f = view_facts(all);
	struct view_key k = *key;
	char text[INET6_ADDRSTRLEN];
	struct view *v;

	if (f->query == NULL || !f->query->per_client || f->n < 2 || t->no_client || !views_connected(t->r->views) ||
	    client_text(t, text) == NULL)
		return all;
	k.client = str_from(text);
	v = look_up(t, &k);
	t->wait_client = t->wait != NULL;
	return v == NULL && t->wait == NULL ? all : v;
}

static struct view *
view_of_name(struct turn *t, const struct dns_name *n)
{
	const struct view_key key = {
		.kind = n->kind == NAME_NODE ? VIEW_NODE : n->kind == NAME_QUERY ? VIEW_QUERY : VIEW_SERVICE,
		.dc = n->dc, .name = n->name,
	};
	struct view *v = look_up(t, &key);

	return v != NULL && key.kind == VIEW_QUERY ? client_view(t, &key, v) : v;
}

/* The part of the client's subnet that the answer depends on: of prepared queries all of it, as Consul says (RFC 7871, 7.2.1). */
static size_t
write_answer(struct turn *t, struct answer *a)
{
	if (a->of_query)
		t->q->ecs.scope = t->q->ecs.source;
	return answer_write(a, t->q, *t->r->settings, t->tcp, &t->r->rng, t->out, t->cap);
}

/* Kept for the next time, unless that would be another client's, or the addresses behind a name of ours. */
static size_t
write_rendered(struct turn *t, struct view *v, struct answer *a, const struct cname *c)
{
	const struct facts *f = view_facts(v);
	bool per_client = f->query != NULL && f->query->per_client;
	size_t n;

	if (!per_client && !c->inside) {
		a->good_until_ms = c->good_until_ms;
		views_keep(t->r->views, v, a);
		return write_answer(t, a);
	}
	n = write_answer(t, a);
	answer_free(a);
	return n;
}

static size_t
from_view(struct turn *t, const struct dns_name *n)
{
	struct view *v = view_of_name(t, n);
	struct answer *a = NULL;
	struct cname c;
	enum outcome o = OUTCOME_EMPTY;
	struct hosts hosts;
	int rc;

	if (v == NULL)
		return not_yet(t);
	hosts = cname_begin(&c, t);
	rc = answer_render_with(view_facts(v), n, t->q, *t->r->settings, &hosts, &o, &a);
	cname_end(&c);
	if (rc < 0 || t->wait != NULL) {
		answer_free(a);
		return not_yet(t);
	}
	if (n->kind == NAME_QUERY && o != OUTCOME_NXDOMAIN)
		t->q->ecs.scope = t->q->ecs.source;
	switch (o) {
	case OUTCOME_RECORDS:
		return write_rendered(t, v, a, &c);
	case OUTCOME_EMPTY:
		return resolve_refuse(t, FLAG_AA, RCODE_OK);
	case OUTCOME_NODATA:
		return negative(t, RCODE_OK);
	case OUTCOME_NXDOMAIN:
		break;
	}
	return negative(t, RCODE_NXDOMAIN);
}

/* SOA and NS are answered for every name in the zone, from the servers. */
static size_t
from_servers(struct turn *t)
{
	struct view *v = look_up(t, &(struct view_key){ .kind = VIEW_SERVICE, .dc = STR(""), .name = STR("consul") });

	if (v == NULL)
		return not_yet(t);
	return apex_answer(t->q, *t->r->settings, view_facts(v), (uint32_t)time(NULL), &t->r->rng, t->out,
	    answer_max(t->q, t->tcp));
}

/* Nodes have no records of other types; whether there is such a node is not even looked up. */
static bool
node_type(uint16_t type)
{
	return type == TYPE_A || type == TYPE_AAAA || type == TYPE_ANY || type == TYPE_TXT;
}

static size_t
from_name(struct turn *t, size_t prefix_len)
{
	struct dns_name n;

	name_parse(t->q->name, prefix_len, t->q->type, &n);
	switch (n.kind) {
	case NAME_NODE:
		if (!node_type(t->q->type))
			return resolve_refuse(t, FLAG_AA, RCODE_OK);
		return from_view(t, &n);
	case NAME_SERVICE:
	case NAME_QUERY:
		return from_view(t, &n);
	case NAME_ADDR:
		return apex_addr(t->q, *t->r->settings, &n, t->out, t->cap);
	case NAME_ADDR_EMPTY:
		return resolve_refuse(t, FLAG_AA, RCODE_OK);
	case NAME_MESH:
	case NAME_NONE:
		break;
	}
	/* No mesh is known here: its names do not exist. */
	return negative(t, RCODE_NXDOMAIN);
}

/* ---- addresses */

/* Nobody whom we know is there: the recursors may know, and without them that is an error. */
static size_t
from_address(struct turn *t)
{
	const struct reverse_facts *f;
	char text[INET6_ADDRSTRLEN];
	struct view *v;
	size_t n;

	t->reverse = true;
	if (reverse_address(t->q->name, t->q->name_len, text) < 0)
		return relay(t, RCODE_SERVFAIL);
	v = look_up(t, &(struct view_key){ .kind = VIEW_REVERSE, .dc = STR(""), .name = str_from(text) });
	if (v == NULL)
		return t->wait != NULL ? 0 : relay(t, RCODE_SERVFAIL);
	f = view_reverse(v);
	if (f == NULL || f->node.len + f->service.len == 0)
		return relay(t, RCODE_SERVFAIL);
	n = reverse_answer(t->q, *t->r->settings, f, t->out, t->cap);
	return n > 0 ? n : relay(t, RCODE_SERVFAIL);
}

/* ---- the whole */

size_t
resolve(struct turn *t)
{
	const struct pkt_query *q = t->q;
	struct answer *a;
	size_t prefix;

	if (q->class != CLASS_IN && q->class != CLASS_ANY)
		return resolve_refuse(t, 0, RCODE_REFUSED);
	a = views_warm(t->r->views, q);
	if (a != NULL)
		return write_answer(t, a);
	if (settings_zone(*t->r->settings, q->name, q->name_len, &prefix) == NULL) {
		if (name_in_zone(q->name, q->name_len, &t->r->arpa, &prefix))
			return from_address(t);
		return relay(t, RCODE_REFUSED);
	}
	switch (q->type) {
	case TYPE_AXFR:
	case TYPE_IXFR:
		return resolve_refuse(t, FLAG_AA, RCODE_NOTIMP);
	case TYPE_SOA:
	case TYPE_NS:
		return from_servers(t);
	default:
		return from_name(t, prefix);
	}
}

size_t
resolve_without(struct turn *t, bool client)
{
	size_t prefix;

	if (client) {
		t->no_client = true;
		return resolve(t);
	}
	if (name_in_zone(t->q->name, t->q->name_len, &t->r->arpa, &prefix)) {
		t->reverse = true;
		return relay(t, RCODE_SERVFAIL);
	}
	return resolve_refuse(t, FLAG_AA, RCODE_SERVFAIL);
}
