/* apex.c - SOA, NS, spelled addresses and refusals. */
#include "dnsd/apex.h"

static void
write_soa(struct pkt_w *p, enum pkt_section section, const struct settings *s, const struct zone *z, uint32_t now)
{
	bool alt = z == &s->alt_domain;
	size_t at;

	pkt_name(p, z->name);
	at = pkt_rr_begin(p, section, TYPE_SOA, s->soa_min_ttl);
	pkt_name(p, alt ? s->alt_mname : s->soa_mname);
	pkt_name(p, alt ? s->alt_rname : s->soa_rname);
	pkt_u32(p, now);
	pkt_u32(p, s->soa_refresh);
	pkt_u32(p, s->soa_retry);
	pkt_u32(p, s->soa_expire);
	pkt_u32(p, s->soa_min_ttl);
	pkt_rr_end(p, at);
}

size_t
apex_negative(const struct pkt_query *q, const struct settings *s, uint32_t now, enum pkt_rcode rcode, uint8_t *out,
    size_t cap)
{
	struct pkt_w p;
	size_t n;

	pkt_begin(&p, out, cap, q, s->compress);
	write_soa(&p, SECTION_AUTHORITY, s, settings_answer_zone(s, q), now);
	n = pkt_end(&p, q, settings_flags(s), rcode);
	/* Long names without compression: the answer goes before how long to believe it. */
	return n > 0 ? n : apex_error(q, s, FLAG_AA, rcode, out, cap);
}

size_t
apex_error(const struct pkt_query *q, const struct settings *s, unsigned flags, enum pkt_rcode rcode, uint8_t *out,
    size_t cap)
{
	struct pkt_w p;

	if ((flags & FLAG_AA) != 0)
		flags |= settings_flags(s);
	pkt_begin(&p, out, cap, q, s->compress);
	return pkt_end(&p, q, flags, rcode);
}

size_t
apex_addr(const struct pkt_query *q, const struct settings *s, const struct dns_name *n, uint8_t *out, size_t cap)
{
	struct addr a = { n->addr_len == 4 ? ADDR_V4 : ADDR_V6, { { 0 } } };
	uint8_t tail[PKT_RR_FIXED + 16];
	struct pkt_w p;
	size_t len;

	memcpy(a.u.ip, n->addr, n->addr_len);
	len = answer_addr_tail(&a, s->node_ttl, tail);
	pkt_begin(&p, out, cap, q, s->compress);
	pkt_question_name(&p);
	pkt_rr_tail(&p, SECTION_ANSWER, tail, len);
	return pkt_end(&p, q, settings_flags(s), RCODE_OK);
}

/* ---- name servers */

struct servers {
	const struct zone *zone;	/* below which they are named */
	const struct instance *v[APEX_NS_MAX];
	uint8_t name[APEX_NS_MAX][PKT_NAME_MAX + 1];
	unsigned n;
};

/* Other names than these are left out: resolvers may refuse them as name servers. */
static bool
host_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = ascii_lower((unsigned char)s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return s.len > 0;
}

static void
add_server(struct servers *l, const struct instance *i, const struct settings *s)
{
	uint8_t *name = l->name[l->n];
	int n;

	if ((s->only_passing && !i->passing) || !host_name(i->node))
		return;
	n = answer_node_name_in(i->node, l->zone, str_from(s->datacenter), name);
	if (n < 0)
		return;
	for (int k = 0; k < n; k++)
		name[k] = ascii_lower(name[k]);
	l->v[l->n++] = i;
}

/* Up to three in random order: from a random one on, around. */
static void
pick_servers(const struct facts *f, const struct settings *s, uint64_t *rng, struct servers *ret)
{
	size_t first = f->n > 0 ? answer_random(rng, (uint32_t)f->n) : 0;

	for (size_t i = 0; i < f->n && ret->n < APEX_NS_MAX; i++)
		add_server(ret, f->v[(first + i) % f->n], s);
}

static void
write_servers(struct pkt_w *p, enum pkt_section section, const struct servers *l, const struct settings *s, bool glue)
{
	uint8_t tail[PKT_RR_FIXED + 16];

	for (unsigned i = 0; i < l->n; i++) {
		size_t at;

		pkt_name(p, l->zone->name);
		at = pkt_rr_begin(p, section, TYPE_NS, s->node_ttl);
		pkt_name(p, l->name[i]);
		pkt_rr_end(p, at);
	}
	for (unsigned i = 0; glue && i < l->n; i++) {
		const struct addr *a = &l->v[i]->node_addr;

		if (a->kind != ADDR_V4 && a->kind != ADDR_V6)
			continue;
		pkt_name(p, l->name[i]);
		pkt_rr_tail(p, SECTION_ADDITIONAL, tail, answer_addr_tail(a, s->node_ttl, tail));
	}
}

size_t
apex_answer(const struct pkt_query *q, const struct settings *s, const struct facts *servers, uint32_t now, uint64_t *rng,
    uint8_t *out, size_t cap)
{
	struct servers l = { .zone = settings_answer_zone(s, q) };
	bool soa = q->type == TYPE_SOA, glue = true, any;
	size_t n;

	pick_servers(servers, s, rng, &l);
	any = l.n > 0;
	/* Of servers with long names the glue goes first, then one after the other. */
	for (;;) {
		struct pkt_w p;

		pkt_begin(&p, out, cap, q, s->compress);
		if (soa)
			write_soa(&p, SECTION_ANSWER, s, l.zone, now);
		write_servers(&p, soa ? SECTION_AUTHORITY : SECTION_ANSWER, &l, s, glue);
		n = pkt_end(&p, q, settings_flags(s), RCODE_OK);
		if (n > 0 || (!glue && l.n == 0))
			break;
		l.n -= !glue;
		glue = false;
	}
	/* What was asked for needs TCP. */
	if (n == 0 || (!soa && any && l.n == 0))
		return apex_error(q, s, FLAG_AA | FLAG_TC, RCODE_OK, out, cap);
	return n;
}
