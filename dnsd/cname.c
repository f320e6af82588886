/* cname.c - where a host name leads: through our own views, or through the recursors. */
#include "dnsd/cname.h"

#include "dnsd/answer_rr.h"
#include "dnsd/resolve.h"
#include "lib/log.h"

#define LOG "agent.dns"

static size_t find(void *ctx, const uint8_t *name, uint16_t type, struct host_rr *out);

static struct view *
look_up(struct cname *c, const struct view_key *key)
{
	enum view_state state;
	struct view *v = views_get(c->t->r->views, key, &state);

	/* All that is missing is asked for at once; what was asked for last is likely to be there last. */
	if (state == VIEW_WAIT) {
		view_unwait(c->hold);
		view_wait(v, c->hold);
		c->t->wait = v;
	}
	return state == VIEW_READY ? v : NULL;
}

/* ---- foreign names */

static size_t
find_outside(struct cname *c, size_t len, uint16_t type, struct host_rr *out)
{
	const struct view_key key = { .kind = type == TYPE_AAAA ? VIEW_HOST6 : VIEW_HOST4, .dc = STR(""),
		.name = { (const char *)c->owner, len } };
	const struct host_facts *f;
	struct view *v;
	uint64_t until;

	if ((*c->t->r->settings)->nrecursors == 0)
		return 0;
	v = look_up(c, &key);
	if (v == NULL) {
		c->t->wait_host |= c->t->wait != NULL;
		return 0;
	}
	f = view_host(v);
	until = view_believed_ms(v);
	if (c->good_until_ms == 0 || until < c->good_until_ms)
		c->good_until_ms = until;
	if (f->n > 0)
		memcpy(out, f->rr, f->n * sizeof(*out));
	return f->n;
}

/* ---- names of ours */

static bool
leads_on(const uint8_t *tail, uint16_t asked)
{
	unsigned type = (unsigned)tail[0] << 8 | tail[1];

	if (type == TYPE_CNAME)
		return true;
	return asked == TYPE_A || asked == TYPE_AAAA ? type == asked : type == TYPE_A || type == TYPE_AAAA;
}

/* The addresses of an answer in a random order, and behind a CNAME of it where that leads. */
static size_t
records_of(struct cname *c, uint16_t type, struct host_rr *out)
{
	struct answer *a = c->sub;
	size_t n = 0;

	for (uint32_t i = 0; i < a->n && n < HOST_RRS_MAX; i++) {
		uint32_t j = i + (a->ranks == NULL ? answer_random(&c->t->r->rng, a->n - i) : 0);
		uint16_t which = a->order[j];

		a->order[j] = a->order[i];
		a->order[i] = which;
		if (leads_on(a->bytes + a->rr[which].at, type))
			out[n++] = (struct host_rr){ c->owner, a->bytes + a->rr[which].at, a->rr[which].len };
	}
	for (uint32_t i = 0; i < a->nextra && n < HOST_RRS_MAX; i++)
		if (a->extra[i].in_answer && leads_on(a->bytes + a->extra[i].at, type))
			out[n++] = (struct host_rr){ a->bytes + a->extra[i].owner_at, a->bytes + a->extra[i].at, a->extra[i].len };
	return n;
}

static size_t
find_rendered(struct cname *c, const struct dns_name *n, size_t len, uint16_t type, struct host_rr *out)
{
	const struct view_key key = {
		.kind = n->kind == NAME_NODE ? VIEW_NODE : n->kind == NAME_QUERY ? VIEW_QUERY : VIEW_SERVICE,
		.dc = n->dc, .name = n->name,
	};
	struct cname deeper = { .t = c->t, .hold = c->hold, .depth = c->depth - 1 };
	const struct hosts hosts = { &deeper, find };
	struct pkt_query q = { .type = type == TYPE_A || type == TYPE_AAAA ? type : TYPE_ANY, .class = CLASS_IN, .edns = true,
		.udp_size = PKT_UDP_MAX, .name_len = (uint8_t)len };
	enum outcome o = OUTCOME_EMPTY;
	struct view *v = look_up(c, &key);
	int rc;

	if (v == NULL)
		return 0;
	memcpy(q.name, c->owner, len);
	rc = answer_render_with(view_facts(v), n, &q, *c->t->r->settings, &hosts, &o, &c->sub);
	cname_end(&deeper);
	if (deeper.good_until_ms != 0 && (c->good_until_ms == 0 || deeper.good_until_ms < c->good_until_ms))
		c->good_until_ms = deeper.good_until_ms;
	return rc == 0 && o == OUTCOME_RECORDS ? records_of(c, type, out) : 0;
}

static size_t
find_addr(struct cname *c, const struct dns_name *n, uint16_t type, struct host_rr *out)
{
	struct addr a = { n->addr_len == 4 ? ADDR_V4 : ADDR_V6, { { 0 } } };
	size_t len;

	memcpy(a.u.ip, n->addr, n->addr_len);
	len = answer_addr_tail(&a, (*c->t->r->settings)->node_ttl, c->tail);
	if (!leads_on(c->tail, type))
		return 0;
	out[0] = (struct host_rr){ c->owner, c->tail, (uint16_t)len };
	return 1;
}

static size_t
find_inside(struct cname *c, size_t len, size_t prefix, uint16_t type, struct host_rr *out)
{
	struct dns_name n;

	c->inside = true;
	if (c->depth == 0) {
		log_debug(LOG, "Infinite recursion detected for name, won't perform any CNAME resolution.");
		return 0;
	}
	name_parse(c->owner, prefix, TYPE_ANY, &n);
	switch (n.kind) {
	case NAME_SERVICE:
	case NAME_NODE:
	case NAME_QUERY:
		return find_rendered(c, &n, len, type, out);
	case NAME_ADDR:
		return find_addr(c, &n, type, out);
	default:
		return 0;
	}
}

/* ---- both */

static size_t
find(void *ctx, const uint8_t *name, uint16_t type, struct host_rr *out)
{
	struct cname *c = ctx;
	size_t len = pkt_name_len(name), prefix;

	answer_free(c->sub);
	c->sub = NULL;
	for (size_t i = 0; i < len; i++)
		c->owner[i] = ascii_lower(name[i]);
	if (settings_zone(*c->t->r->settings, c->owner, len, &prefix) != NULL)
		return find_inside(c, len, prefix, type, out);
	return find_outside(c, len, type, out);
}

struct hosts
cname_begin(struct cname *c, struct turn *t)
{
	*c = (struct cname){ .t = t, .hold = &c->held, .depth = RESOLVE_DEPTH };
	return (struct hosts){ c, find };
}

void
cname_end(struct cname *c)
{
	/* From here on nothing is asked for until whoever asks waits himself. */
	view_unwait(&c->held);
	answer_free(c->sub);
	c->sub = NULL;
}
