/* render.c - facts into the records of an answer. */
#include "dnsd/answer.h"

#include <stdlib.h>

#include "dnsd/answer_rr.h"
#include "lib/buf.h"

enum { TXT_STRING_MAX = 255, TXT_MAX = 8 * 1024 };

/* An answer in the making: three lists that grow, and the set of what is there already. */
struct render {
	const struct dns_name *n;
	const struct pkt_query *q;
	const struct settings *s;
	struct str dc;
	const struct zone *zone;		/* below which names in the answer are */
	bool wan;				/* addresses for other datacenters are told */
	bool each_tag;				/* the tag asked for is several, each of which an instance must have */
	uint32_t ttl;
	const struct hosts *hosts;		/* may be NULL */
	const struct query_facts *query;	/* NULL unless it is a prepared query */
	uint16_t rank;				/* of the instance at hand */
	struct buf bytes, rrs, extras, ranks;
	struct buf nodes;			/* SRV: struct str, whose record each is */
	struct seen {		/* open addressing: index of a record + 1 */
		uint32_t *slots, mask;
	} records, targets;
	uint32_t ncommon;
	int err;
};

static void
keep(struct render *r, int rc)
{
	if (r->err == 0)
		r->err = rc;
}

static uint32_t
rr_count(const struct render *r)
{
	return (uint32_t)(r->rrs.len / sizeof(struct answer_rr));
}

static uint32_t
extra_count(const struct render *r)
{
	return (uint32_t)(r->extras.len / sizeof(struct answer_extra));
}

static const struct answer_rr *
rr_at(const struct render *r, uint32_t i)
{
	return (const struct answer_rr *)(const void *)r->rrs.data + i;
}

/* ---- records behind their owner */

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Type, class, TTL and length. */
static void
put_fixed(uint8_t *p, uint16_t type, uint32_t ttl, size_t len)
{
	put16(p, type);
	put16(p + 2, CLASS_IN);
	put16(p + 4, ttl >> 16);
	put16(p + 6, ttl & 0xffff);
	put16(p + 8, (unsigned)len);
}

size_t
answer_addr_tail(const struct addr *a, uint32_t ttl, uint8_t out[PKT_RR_FIXED + 16])
{
	size_t n = a->kind == ADDR_V4 ? 4 : 16;

	put_fixed(out, a->kind == ADDR_V4 ? TYPE_A : TYPE_AAAA, ttl, n);
	memcpy(out + PKT_RR_FIXED, a->u.ip, n);
	return PKT_RR_FIXED + n;
}

/* RFC 1464: a backquote in front of what would end or blur the key; backquotes doubled. */
static int
txt_escape(struct buf *b, struct str key, struct str value)
{
	size_t first = 0, last = key.len;
	int rc = 0;

	while (first < key.len && key.p[first] == ' ')
		first++;
	while (last > first && key.p[last - 1] == ' ')
		last--;
	for (size_t i = 0; i < key.len && rc == 0; i++) {
		char c = key.p[i];

		if (c == '`' || c == '=' || (c == ' ' && (i < first || i >= last)))
			rc = buf_addc(b, '`');
		if (rc == 0)
			rc = buf_addc(b, (uint8_t)c);
	}
	if (rc == 0)
		rc = buf_addc(b, '=');
	for (size_t i = 0; i < value.len && rc == 0; i++) {
		if (value.p[i] == '`')
			rc = buf_addc(b, '`');
		if (rc == 0)
			rc = buf_addc(b, (uint8_t)value.p[i]);
	}
	return rc;
}

/* The text of one pair of meta data as strings of at most 255 bytes. A value too long for DNS is left out. */
static void
add_txt_tail(struct render *r, const struct strpair *m, uint32_t *ret_at, uint16_t *ret_len)
{
	static const struct str raw = { "rfc1035-", 8 };
	struct str head = { m->key.p, m->key.len < raw.len ? m->key.len : raw.len };
	struct buf text = BUF_INIT(TXT_MAX);
	uint8_t fixed[PKT_RR_FIXED];
	size_t at = 0, n;
	int rc;

	rc = str_eq_nocase(head, raw) ? buf_add(&text, m->value.p, m->value.len) : txt_escape(&text, m->key, m->value);
	if (rc == -ELIMIT)
		goto out;
	keep(r, rc);
	n = text.len + text.len / TXT_STRING_MAX + (text.len % TXT_STRING_MAX != 0 || text.len == 0);
	*ret_at = (uint32_t)r->bytes.len;
	*ret_len = (uint16_t)(PKT_RR_FIXED + n);
	put_fixed(fixed, TYPE_TXT, r->ttl, n);
	keep(r, buf_add(&r->bytes, fixed, sizeof(fixed)));
	do {
		size_t part = text.len - at < TXT_STRING_MAX ? text.len - at : TXT_STRING_MAX;

		keep(r, buf_addc(&r->bytes, (uint8_t)part));
		keep(r, buf_add(&r->bytes, text.data + at, part));
		at += part;
	} while (at < text.len);
out:
	buf_release(&text);
}

/* ---- records and extras */

static void
add_rr(struct render *r, uint32_t at, uint16_t len, uint32_t extra, uint16_t nextra)
{
	struct answer_rr rr = { .at = at, .len = len, .extra = extra, .nextra = nextra };

	if (rr_count(r) >= FACTS_MAX)
		return;
	keep(r, buf_add(&r->rrs, &rr, sizeof(rr)));
	if (r->query != NULL && r->query->sorted)
		keep(r, buf_add(&r->ranks, &r->rank, sizeof(r->rank)));
}

static void
add_extra(struct render *r, struct answer_extra x)
{
	keep(r, buf_add(&r->extras, &x, sizeof(x)));
}

static int
seen_init(struct seen *s, size_t n)
{
	uint32_t slots = 16;

	while (slots < 2 * n + 2)
		slots *= 2;
	s->slots = calloc(slots, sizeof(*s->slots));
	s->mask = slots - 1;
	return s->slots != NULL ? 0 : -ENOMEM;
}

/* SRV: whose record i is, and whether its weight is that of tail, too. */
static struct str
node_at(const struct render *r, uint32_t i)
{
	return ((const struct str *)(const void *)r->nodes.data)[i];
}

static bool
same_weight(const struct render *r, const struct answer_rr *rr, const uint8_t *tail)
{
	return memcmp(r->bytes.data + rr->at + PKT_RR_FIXED + 2, tail + PKT_RR_FIXED + 2, 2) == 0;
}

/*
 * The record with equal bytes from `from` on, or NULL; then the tail is
 * remembered under the number that the next record will have. With node
 * given only a record of this node, or of this weight, is the same.
 */
static const struct answer_rr *
seen_before(struct render *r, struct seen *s, const uint8_t *tail, size_t len, size_t from, const struct str *node)
{
	uint32_t h = pkt_name_hash(tail + from, len - from, 0, 0);

	for (;; h++) {
		uint32_t *slot = &s->slots[h & s->mask];
		const struct answer_rr *rr;

		if (*slot == 0) {
			*slot = rr_count(r) + 1;
			return NULL;
		}
		if (*slot > rr_count(r))
			continue;
		rr = rr_at(r, *slot - 1);
		if (rr->len == len && memcmp(r->bytes.data + rr->at + from, tail + from, len - from) == 0 &&
		    (node == NULL || same_weight(r, rr, tail) || str_eq(node_at(r, *slot - 1), *node)))
			return rr;
	}
}

static bool
family_asked(uint16_t qtype, enum addr_kind k)
{
	switch (qtype) {
	case TYPE_A:
		return k == ADDR_V4;
	case TYPE_AAAA:
		return k == ADDR_V6;
	case TYPE_ANY:
	case TYPE_TXT:	/* Consul's habit: TXT of a service gives its addresses */
		return true;
	default:
		return false;
	}
}

static void
add_addr(struct render *r, const struct addr *a)
{
	uint8_t tail[PKT_RR_FIXED + 16];
	size_t n;

	if (!family_asked(r->q->type, a->kind))
		return;
	n = answer_addr_tail(a, r->ttl, tail);
	if (seen_before(r, &r->records, tail, n, 0, NULL) != NULL)
		return;
	add_rr(r, (uint32_t)r->bytes.len, (uint16_t)n, 0, 0);
	keep(r, buf_add(&r->bytes, tail, n));
}

static bool
names_equal(const uint8_t *a, const uint8_t *b)
{
	size_t n = pkt_name_len(a);

	return n == pkt_name_len(b) && memcmp(a, b, n) == 0;
}

/*
 * Where a host name leads, under the TTL of what named it. Answers are kept for clients with EDNS and without, so what only the
 * former get is marked.
 */
static void
add_host(struct render *r, const uint8_t *name, bool in_answer)
{
	struct host_rr found[HOST_RRS_MAX];
	size_t n = r->hosts != NULL && r->err == 0 ? r->hosts->find(r->hosts->ctx, name, r->q->type, found) : 0;

	for (size_t i = 0; i < n; i++) {
		struct answer_extra x = { .owner = OWNER_NAME, .owner_at = (uint32_t)r->bytes.len, .in_answer = in_answer,
			.kinds = i >= HOST_RRS_PLAIN ? EXTRA_FAR : 0, .len = found[i].len };
		size_t owner = pkt_name_len(found[i].owner);
		uint8_t fixed[PKT_RR_FIXED];

		x.owner_len = (uint8_t)owner;
		if (!in_answer && i > 0 && names_equal(found[i - 1].owner, found[i].owner))
			x.kinds |= EXTRA_MORE;
		keep(r, buf_add(&r->bytes, found[i].owner, owner));
		x.at = (uint32_t)r->bytes.len;
		memcpy(fixed, found[i].tail, sizeof(fixed));
		put16(fixed + 4, r->ttl >> 16);
		put16(fixed + 6, r->ttl & 0xffff);
		keep(r, buf_add(&r->bytes, fixed, sizeof(fixed)));
		keep(r, buf_add(&r->bytes, found[i].tail + sizeof(fixed), found[i].len - sizeof(fixed)));
		add_extra(r, x);
	}
}

/* A host name as address; one alone, and only if nothing better was found, by the caller's care. */
static void
add_cname(struct render *r, struct str host)
{
	uint8_t tail[PKT_RR_FIXED + PKT_NAME_MAX + 1];
	int n = name_to_wire(host, tail + PKT_RR_FIXED);

	if (n < 0)
		return;
	put_fixed(tail, TYPE_CNAME, r->ttl, (size_t)n);
	add_rr(r, (uint32_t)r->bytes.len, (uint16_t)(PKT_RR_FIXED + n), 0, 0);
	keep(r, buf_add(&r->bytes, tail, PKT_RR_FIXED + (size_t)n));
	add_host(r, tail + PKT_RR_FIXED, true);
	r->ncommon = extra_count(r);
}

/* ---- nodes */

static void
add_meta(struct render *r, const struct instance *i, struct answer_extra owner, bool in_answer)
{
	for (size_t m = 0; m < i->nmeta; m++) {
		owner.kinds = EXTRA_MORE;
		owner.len = 0;
		add_txt_tail(r, &i->meta[m], &owner.at, &owner.len);
		if (owner.len == 0)
			continue;
		if (in_answer)
			add_rr(r, owner.at, owner.len, 0, 0);
		else
			add_extra(r, owner);
	}
}

static const struct addr *
preferred(const struct instance *i, uint16_t qtype)
{
	return qtype == TYPE_A ? &i->v4 : qtype == TYPE_AAAA ? &i->v6 : &i->any;
}

/* Where the addresses of an instance are told: it itself, or what it is for other datacenters. */
static const struct instance *
addresses(const struct render *r, const struct instance *i)
{
	return r->wan && i->wan != NULL ? i->wan : i;
}

static enum outcome
render_node(struct render *r, const struct facts *f)
{
	uint16_t type = r->q->type;
	const struct addr *a;

	if (f->n == 0)
		return OUTCOME_NXDOMAIN;
	a = preferred(addresses(r, f->v[0]), type);
	if (type != TYPE_TXT && a->kind == ADDR_NAME)
		add_cname(r, a->u.name);
	else if (type != TYPE_TXT && a->kind != ADDR_NONE)
		add_addr(r, a);
	if (type == TYPE_ANY || type == TYPE_TXT) {
		add_meta(r, f->v[0], (struct answer_extra){ .owner = OWNER_QUESTION }, true);
	} else if (r->s->node_meta_txt) {
		add_meta(r, f->v[0], (struct answer_extra){ .owner = OWNER_QUESTION, .owner_len = r->q->name_len }, false);
		r->ncommon = extra_count(r);
	}
	return rr_count(r) + extra_count(r) > 0 ? OUTCOME_RECORDS : OUTCOME_EMPTY;
}

/* ---- services */

static bool
has_tag(const struct instance *i, struct str tag)
{
	for (size_t t = 0; t < i->ntags; t++)
		if (str_eq_nocase(i->tags[t], tag))
			return true;
	return false;
}

/* Whether each label of the tag asked for is a tag. */
static bool
has_each_tag(const struct instance *i, struct str tag)
{
	for (;;) {
		const char *dot = memchr(tag.p, '.', tag.len);
		size_t n = dot != NULL ? (size_t)(dot - tag.p) : tag.len;

		if (!has_tag(i, (struct str){ tag.p, n }))
			return false;
		if (dot == NULL)
			return true;
		tag.p += n + 1;
		tag.len -= n + 1;
	}
}

/*
 * Labels joined are one tag, as Consul has it, whoever has it, be it ill.
 * Only when nobody does are they several: what Consul has no answer for.
 */
static bool
tag_is_several(const struct render *r, const struct facts *f)
{
	struct str tag = r->n->tag;

	if (!r->s->combine_tags || tag.len == 0 || memchr(tag.p, '.', tag.len) == NULL)
		return false;
	for (size_t i = 0; i < f->n; i++)
		if (has_tag(f->v[i], tag))
			return false;
	for (const struct dotted_tag *t = f->dotted; t != NULL; t = t->next)
		if (str_eq_nocase(t->tag, tag))
			return false;
	return true;
}

/* Whether an instance is among those asked for. */
static bool
is_meant(const struct render *r, const struct instance *i)
{
	/* A prepared query has its own rule of who is healthy. */
	if (r->s->only_passing && !i->passing && r->query == NULL)
		return false;
	if (r->n->tag.len == 0)
		return true;
	return r->each_tag ? has_each_tag(i, r->n->tag) : has_tag(i, r->n->tag);
}

/* Whether q asks for the very name that stands as the service's address. */
static bool
is_question(const struct render *r, struct str host)
{
	uint8_t wire[PKT_NAME_MAX + 1];
	int n = name_to_wire(host, wire);

	if (n != r->q->name_len)
		return false;
	for (int i = 0; i < n; i++)
		if (ascii_lower(wire[i]) != r->q->name[i])
			return false;
	return true;
}

/* What an instance is reached by: a service that names itself as its address means its node. */
static const struct addr *
reached_by(const struct render *r, const struct instance *i, uint16_t qtype, bool *ret_own)
{
	const struct addr *a;

	i = addresses(r, i);
	a = preferred(i, qtype);
	*ret_own = i->own_addr;
	if (i->own_addr && a->kind == ADDR_NAME && is_question(r, a->u.name) &&
	    (i->node_addr.kind == ADDR_V4 || i->node_addr.kind == ADDR_V6)) {
		*ret_own = false;
		return &i->node_addr;
	}
	return a;
}

/* To the `at` bytes of labels in out: <word>.<dc>.<zone>. */
static int
finish_name(uint8_t out[PKT_NAME_MAX + 1], size_t at, const char *word, struct str dc, const struct zone *z)
{
	size_t n = strlen(word);

	if (dc.len == 0 || dc.len > PKT_LABEL_MAX || at + 1 + n + 1 + dc.len + z->len > PKT_NAME_MAX)
		return -EINVAL;
	out[at++] = (uint8_t)n;
	memcpy(out + at, word, n);
	at += n;
	out[at++] = (uint8_t)dc.len;
	memcpy(out + at, dc.p, dc.len);
	at += dc.len;
	memcpy(out + at, z->name, z->len);
	return (int)(at + z->len);
}

int
answer_node_name_in(struct str node, const struct zone *z, struct str dc, uint8_t out[PKT_NAME_MAX + 1])
{
	int n = name_to_wire(node, out);

	return n <= 1 ? -EINVAL : finish_name(out, (size_t)n - 1, "node", dc, z);
}

int
answer_node_name(struct str node, const struct settings *s, struct str dc, uint8_t out[PKT_NAME_MAX + 1])
{
	return answer_node_name_in(node, &s->domain, dc, out);
}

/* <hex>.addr.<dc>.<zone> */
static int
addr_name(const struct addr *a, const struct zone *z, struct str dc, uint8_t out[PKT_NAME_MAX + 1])
{
	size_t n = a->kind == ADDR_V4 ? 4 : 16, at = 1;

	out[0] = (uint8_t)(2 * n);
	for (size_t i = 0; i < n; i++) {
		out[at++] = (uint8_t)"0123456789abcdef"[a->u.ip[i] >> 4];
		out[at++] = (uint8_t)"0123456789abcdef"[a->u.ip[i] & 15];
	}
	return finish_name(out, at, "addr", dc, z);
}

/* The target's address, and its node's meta data under the node's name. */
static void
add_srv_extras(struct render *r, const struct instance *i, const struct addr *a, const uint8_t *target, int target_len)
{
	uint8_t tail[PKT_RR_FIXED + 16], node[PKT_NAME_MAX + 1];
	struct answer_extra x = { .owner = OWNER_TARGET, .owner_len = (uint8_t)target_len };
	int n;

	if (a->kind == ADDR_V4 || a->kind == ADDR_V6) {
		x.at = (uint32_t)r->bytes.len;
		x.len = (uint16_t)answer_addr_tail(a, r->ttl, tail);
		keep(r, buf_add(&r->bytes, tail, x.len));
		add_extra(r, x);
	} else if (a->kind == ADDR_NAME) {
		add_host(r, target, false);
	}
	if (!r->s->node_meta_txt || i->nmeta == 0)
		return;
	n = answer_node_name_in(i->node, r->zone, r->dc, node);
	if (n < 0)
		return;
	if (n != target_len || memcmp(node, target, (size_t)n) != 0) {
		x = (struct answer_extra){ .owner = OWNER_NAME, .owner_at = (uint32_t)r->bytes.len, .owner_len = (uint8_t)n };
		keep(r, buf_add(&r->bytes, node, (size_t)n));
	}
	add_meta(r, i, x, false);
}

static void
add_srv(struct render *r, const struct instance *i)
{
	uint8_t tail[ANSWER_SRV_TARGET + PKT_NAME_MAX + 1], *target = tail + ANSWER_SRV_TARGET;
	const struct answer_rr *same;
	const struct addr *a;
	uint32_t at, extra;
	bool own;
	size_t len;
	int n;

	a = reached_by(r, i, TYPE_SRV, &own);
	if (a->kind == ADDR_NONE)
		return;
	if (a->kind == ADDR_NAME)
		n = name_to_wire(a->u.name, target);
	else
		n = own ? addr_name(a, r->zone, r->dc, target) : answer_node_name_in(i->node, r->zone, r->dc, target);
	if (n < 0)
		return;
	put_fixed(tail, TYPE_SRV, r->ttl, 6 + (size_t)n);
	put16(tail + PKT_RR_FIXED, 1);
	put16(tail + PKT_RR_FIXED + 2, i->weight);
	put16(tail + PKT_RR_FIXED + 4, addresses(r, i)->port);
	len = ANSWER_SRV_TARGET + (size_t)n;
	/* Port and target make it the same, of one node whatever the weight. */
	if (seen_before(r, &r->records, tail, len, PKT_RR_FIXED + 4, &i->node) != NULL)
		return;
	same = seen_before(r, &r->targets, tail, len, ANSWER_SRV_TARGET, NULL);
	keep(r, buf_add(&r->nodes, &i->node, sizeof(i->node)));
	at = (uint32_t)r->bytes.len;
	keep(r, buf_add(&r->bytes, tail, len));
	if (same != NULL) {
		add_rr(r, at, (uint16_t)len, same->extra, same->nextra);
		return;
	}
	extra = extra_count(r);
	add_srv_extras(r, i, a, target, n);
	add_rr(r, at, (uint16_t)len, extra, (uint16_t)(extra_count(r) - extra));
}

static enum outcome
render_service(struct render *r, const struct facts *f)
{
	const struct addr *cname = NULL;
	bool found = false, own;

	r->each_tag = tag_is_several(r, f);
	for (size_t k = 0; k < f->n && r->err == 0; k++) {
		const struct instance *i = f->v[k];
		const struct addr *a;

		if (!is_meant(r, i))
			continue;
		found = true;
		r->rank = r->query != NULL ? r->query->ranks[k] : 0;
		if (r->q->type == TYPE_SRV) {
			add_srv(r, i);
			continue;
		}
		a = reached_by(r, i, r->q->type, &own);
		if (a->kind == ADDR_NAME && cname == NULL)
			cname = a;
		else if (a->kind != ADDR_NAME && a->kind != ADDR_NONE)
			add_addr(r, a);
	}
	if (rr_count(r) == 0 && cname != NULL)
		add_cname(r, cname->u.name);
	if (rr_count(r) > 0)
		return OUTCOME_RECORDS;
	return found ? OUTCOME_NODATA : OUTCOME_NXDOMAIN;
}

/* ---- the finished answer, in one block */

static uint16_t
rr_type(const struct answer *a, uint32_t i)
{
	const uint8_t *p = a->bytes + a->rr[i].at;

	return (uint16_t)(p[0] << 8 | p[1]);
}

/* For minimal_any (RFC 8482, 4.1): the records of one type go first, and UDP gets no others. */
static void
one_type_first(struct answer *a)
{
	uint16_t first = a->n > 0 ? rr_type(a, 0) : 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < a->n; i++)
		if (rr_type(a, i) == first)
			a->order[at++] = (uint16_t)i;
	a->nfirst = at;
	for (uint32_t i = 0; i < a->n; i++)
		if (rr_type(a, i) != first)
			a->order[at++] = (uint16_t)i;
}

/* Whether the answer is plain, and what it takes then: see answer.h. */
static void
find_plain(struct answer *a)
{
	uint32_t rrs = 0, extras = 0, next = 0;

	if (!a->of_service || a->nfirst != a->n)
		return;
	for (uint32_t i = 0; i < a->n; i++) {
		const struct answer_rr *rr = &a->rr[i];
		uint32_t at = rr->at + rr->len;

		rrs += 2u + rr->len;
		for (uint32_t j = 0; j < rr->nextra; j++, next++) {
			const struct answer_extra *x = &a->extra[next];

			if (rr->extra + j != next || x->at != at || x->owner != OWNER_TARGET || (x->kinds & EXTRA_FAR) != 0)
				return;
			at += x->len;
			extras += 2u + x->len;
		}
	}
	if (next != a->nextra)
		return;
	a->plain_rrs = rrs;
	a->plain_extras = extras;
}

/* What each writing needs lies together in front, in the order in which it is read; the extras are last. */
static struct answer *
answer_pack(const struct render *r)
{
	size_t n = rr_count(r), order = sizeof(struct answer) + r->rrs.len, bytes = order + n * sizeof(uint16_t) + r->ranks.len;
	size_t extra = (bytes + r->q->name_len + r->bytes.len + _Alignof(struct answer_extra) - 1) &
	    ~(_Alignof(struct answer_extra) - 1);
	struct answer *a = malloc(extra + r->extras.len);
	uint8_t *p;

	if (a == NULL)
		return NULL;
	memset(a, 0, sizeof(*a));
	a->rr = (struct answer_rr *)(void *)(a + 1);
	a->extra = (struct answer_extra *)(void *)((char *)a + extra);
	a->order = (uint16_t *)(void *)((char *)a + order);
	p = (uint8_t *)a + bytes;
	memcpy(p, r->q->name, r->q->name_len);
	a->name = p;
	a->bytes = p + r->q->name_len;
	a->size = (uint32_t)(a->bytes + r->bytes.len - (uint8_t *)a);
	a->name_len = r->q->name_len;
	a->type = r->q->type;
	a->of_service = r->n->kind != NAME_NODE;
	a->of_query = r->query != NULL;
	a->n = a->nfirst = (uint32_t)n;
	a->nextra = extra_count(r);
	a->ncommon = r->ncommon;
	if (r->rrs.len > 0)
		memcpy(a->rr, r->rrs.data, r->rrs.len);
	if (r->extras.len > 0)
		memcpy(a->extra, r->extras.data, r->extras.len);
	if (r->bytes.len > 0)
		memcpy(a->bytes, r->bytes.data, r->bytes.len);
	for (size_t i = 0; i < n; i++)
		a->order[i] = (uint16_t)i;
	if (r->s->minimal_any && a->type == TYPE_ANY)
		one_type_first(a);
	if (r->ranks.len > 0) {
		a->ranks = a->order + n;
		memcpy(a->ranks, r->ranks.data, r->ranks.len);
	}
	find_plain(a);
	return a;
}

static int
render_all(struct render *r, const struct facts *f, enum outcome *ret_outcome, struct answer **ret)
{
	enum outcome o;

	o = r->n->kind == NAME_NODE ? render_node(r, f) : render_service(r, f);
	if (r->err < 0)
		return r->err;
	if (o == OUTCOME_RECORDS) {
		*ret = answer_pack(r);
		if (*ret == NULL)
			return -ENOMEM;
	}
	*ret_outcome = o;
	return 0;
}

/* That of the query itself, else of the service that it found. */
static uint32_t
query_ttl(const struct query_facts *query, const struct settings *s)
{
	char name[PKT_NAME_MAX + 1];
	size_t n = query->service.len < sizeof(name) ? query->service.len : sizeof(name);

	if (query->has_ttl)
		return query->ttl;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)ascii_lower((unsigned char)query->service.p[i]);
	return settings_service_ttl(s, (struct str){ name, n });
}

int
answer_render(const struct facts *f, const struct dns_name *n, const struct pkt_query *q, const struct settings *s,
    enum outcome *ret_outcome, struct answer **ret)
{
	return answer_render_with(f, n, q, s, NULL, ret_outcome, ret);
}

int
answer_render_with(const struct facts *f, const struct dns_name *n, const struct pkt_query *q, const struct settings *s,
    const struct hosts *hosts, enum outcome *ret_outcome, struct answer **ret)
{
	struct render r = {
		.n = n, .q = q, .s = s, .hosts = hosts, .query = f->query, .ranks = BUF_INIT(ANSWER_BYTES_MAX),
		.dc = n->dc.len > 0 ? n->dc : str_from(s->datacenter),
		.ttl = n->kind == NAME_SERVICE ? settings_service_ttl(s, n->name) : s->node_ttl,
		.bytes = BUF_INIT(ANSWER_BYTES_MAX), .rrs = BUF_INIT(ANSWER_BYTES_MAX), .extras = BUF_INIT(ANSWER_BYTES_MAX),
		.nodes = BUF_INIT(ANSWER_BYTES_MAX),
	};
	int rc;

	if (f->query != NULL) {
		r.dc = f->query->dc;
		r.ttl = query_ttl(f->query, s);
	}
	r.zone = settings_answer_zone(s, q);
	r.wan = s->translate_wan_addrs && !str_eqs(r.dc, s->datacenter);
	rc = seen_init(&r.records, f->n);
	if (rc == 0)
		rc = seen_init(&r.targets, q->type == TYPE_SRV ? f->n : 0);
	if (rc == 0)
		rc = render_all(&r, f, ret_outcome, ret);
	free(r.records.slots);
	free(r.targets.slots);
	buf_release(&r.bytes);
	buf_release(&r.rrs);
	buf_release(&r.extras);
	buf_release(&r.ranks);
	buf_release(&r.nodes);
	return rc;
}
