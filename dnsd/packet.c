/* packet.c - DNS messages: a query read, a reply written. */
#include "dnsd/packet.h"

#include <string.h>

/* An EDNS option has a code and a length before its data (RFC 6891, 6.1.2). */
enum { OPTION_HEAD = 4 };

/* ---- reading */

struct pkt_r {
	const uint8_t *p, *end;
	int err;
};

static const uint8_t *
rd_take(struct pkt_r *r, size_t n)
{
	const uint8_t *at = r->p;

	if (r->err != 0 || (size_t)(r->end - r->p) < n) {
		r->err = -EBADMSG;
		return NULL;
	}
	r->p += n;
	return at;
}

static uint8_t
rd_u8(struct pkt_r *r)
{
	const uint8_t *p = rd_take(r, 1);

	return p != NULL ? p[0] : 0;
}

static uint16_t
rd_u16(struct pkt_r *r)
{
	const uint8_t *p = rd_take(r, 2);

	return p != NULL ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

/*
 * The question's name. It is the first in its packet: a pointer could only
 * lead into the header or to itself, and is an error.
 */
static size_t
rd_question_name(struct pkt_r *r)
{
	size_t len = 1;
	uint8_t n;

	while ((n = rd_u8(r)) != 0) {
		len += n + 1u;
		if (n > PKT_LABEL_MAX || len > PKT_NAME_MAX)
			r->err = -EBADMSG;
		rd_take(r, n);
	}
	return r->err == 0 ? len : 0;
}

/* A name behind the question, which nobody looks into: a pointer ends it. */
static void
rd_skip_name(struct pkt_r *r)
{
	size_t len = 1;
	uint8_t n;

	while ((n = rd_u8(r)) != 0) {
		if (n >= 0xc0) {
			rd_u8(r);
			return;
		}
		len += n + 1u;
		if (n > PKT_LABEL_MAX || len > PKT_NAME_MAX)
			r->err = -EBADMSG;
		rd_take(r, n);
	}
}

/*
 * The client's subnet (RFC 7871, 6). The address must have as many bytes as
 * its bits need; of families that we do not know only the empty one is taken
 * (7.1.2 lets clients say "no subnet" so).
 */
static int
rd_ecs(struct pkt_r *r, struct pkt_ecs *ret)
{
	uint16_t family = rd_u16(r);
	uint8_t source = rd_u8(r), scope = rd_u8(r);
	size_t n = (size_t)(r->end - r->p), most = family == 1 ? 32 : family == 2 ? 128 : 0;
	const uint8_t *addr = rd_take(r, n);

	if (r->err != 0 || scope != 0 || source > most || n != (source + 7u) / 8 || family > UINT8_MAX)
		return RCODE_FORMERR;
	ret->family = (uint8_t)family;
	ret->source = source;
	ret->scope = 0;
	memset(ret->addr, 0, sizeof(ret->addr));
	memcpy(ret->addr, addr, n);
	if (source % 8 != 0)
		ret->addr[n - 1] &= (uint8_t)(0xff00 >> source % 8);
	ret->present = true;
	return 0;
}

/* A cookie is the client's alone or has the server's behind it (RFC 7873, 5.2.2: anything else is malformed). */
static int
rd_cookie(struct pkt_r *r, struct pkt_cookie *ret)
{
	size_t n = (size_t)(r->end - r->p);

	if (n != PKT_COOKIE_CLIENT && (n < 2 * PKT_COOKIE_CLIENT || n > PKT_COOKIE_MAX))
		return RCODE_FORMERR;
	memcpy(ret->data, r->p, n);
	ret->len = (uint8_t)n;
	return 0;
}

/* The options of OPT. Of equal ones the first counts (RFC 7873, 5.2). */
static int
rd_options(const uint8_t *p, size_t n, struct pkt_query *q)
{
	struct pkt_r r = { p, p + n, 0 };
	int rc = 0;

	while (rc == 0 && r.p < r.end) {
		uint16_t code = rd_u16(&r), len = rd_u16(&r);
		struct pkt_r data = { .p = rd_take(&r, len) };

		/* Not in the initializer: nothing says which of two members is evaluated first. */
		data.end = r.p;
		if (r.err != 0)
			return RCODE_FORMERR;
		if (code == OPTION_ECS && !q->ecs.present)
			rc = rd_ecs(&data, &q->ecs);
		else if (code == OPTION_COOKIE && q->cookie.len == 0)
			rc = rd_cookie(&data, &q->cookie);
		else if (code == OPTION_KEEPALIVE)
			q->keepalive = 1;
	}
	return rc;
}

/* One record behind the question. Only OPT is of interest; two of them are an error (RFC 6891, 6.1.1). */
static int
rd_record(struct pkt_r *r, bool additional, struct pkt_query *q)
{
	const uint8_t *owner = r->p, *ttl, *data;
	uint16_t type, class, len;

	rd_skip_name(r);
	type = rd_u16(r);
	class = rd_u16(r);
	ttl = rd_take(r, 4);
	len = rd_u16(r);
	data = rd_take(r, len);
	if (r->err != 0)
		return RCODE_FORMERR;
	if (type != TYPE_OPT)
		return 0;
	if (!additional || q->edns || *owner != 0)
		return RCODE_FORMERR;
	q->edns = true;
	q->udp_size = class;
	if (ttl[1] != 0)
		return RCODE_BADVERS;
	return len > 0 ? rd_options(data, len, q) : 0;
}

static void
rd_question(struct pkt_r *r, struct pkt_query *q)
{
	const uint8_t *start = r->p;
	size_t len = rd_question_name(r);

	q->type = rd_u16(r);
	q->class = rd_u16(r);
	if (r->err != 0)
		return;
	q->name_len = (uint8_t)len;
	q->question = start;
	q->question_len = (uint16_t)(len + 4);
	/* Length bytes are below 'A': the whole name can be folded bytewise. */
	for (size_t i = 0; i < len; i++)
		q->name[i] = (uint8_t)(start[i] + (((unsigned)start[i] - 'A' < 26u) << 5));
}

int
pkt_query_read(const uint8_t *p, size_t n, struct pkt_query *q)
{
	struct pkt_r r = { p, p + n, 0 };
	unsigned qd, an, ns, ar;
	int rc = 0;

	q->name_len = 0;
	q->question_len = 0;
	q->question = NULL;
	q->edns = false;
	q->udp_size = 0;
	q->ecs.present = false;
	q->cookie.len = 0;
	q->cookie.reply = false;
	q->keepalive = 0;
	q->type = q->class = 0;
	q->id = rd_u16(&r);
	q->flags = rd_u16(&r);
	qd = rd_u16(&r);
	an = rd_u16(&r);
	ns = rd_u16(&r);
	ar = rd_u16(&r);
	if (r.err != 0 || (q->flags & FLAG_QR) != 0)
		return -EBADMSG;
	if ((q->flags & 0x7800) != 0)
		return RCODE_NOTIMP;
	/* One question (RFC 9619); a query has no use for more records than a SOA, an OPT and a signature. */
	if (qd > 1 || an > 1 || ns > 1 || ar > 2)
		return RCODE_FORMERR;
	if (qd == 1)
		rd_question(&r, q);
	if (r.err != 0)
		return RCODE_FORMERR;
	for (unsigned i = 0; i < an + ns + ar && rc == 0; i++)
		rc = rd_record(&r, i >= an + ns, q);
	/* Without a question it can only be one for a cookie (RFC 7873, 5.4). */
	return rc == 0 && qd == 0 && q->cookie.len == 0 ? RCODE_FORMERR : rc;
}

uint32_t
pkt_name_hash(const uint8_t *name, size_t len, uint16_t type, uint64_t seed)
{
	uint64_t h = seed ^ ((uint64_t)type << 32 | len), v;

	for (; len >= 8; name += 8, len -= 8) {
		memcpy(&v, name, 8);
		h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	v = 0;
	memcpy(&v, name, len);
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(h >> 32);
}

/* ---- writing */

uint8_t *
pkt_room(struct pkt_w *w, size_t n)
{
	uint8_t *at = w->p + w->len;

	if (w->err != 0 || w->cap - w->len < n) {
		w->err = -ELIMIT;
		return NULL;
	}
	w->len += n;
	return at;
}

static inline void
put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
pkt_bytes(struct pkt_w *w, const void *p, size_t n)
{
	uint8_t *at = pkt_room(w, n);

	if (at != NULL && n > 0)
		memcpy(at, p, n);
}

void
pkt_u16(struct pkt_w *w, uint16_t v)
{
	uint8_t *at = pkt_room(w, 2);

	if (at != NULL)
		put_u16(at, v);
}

void
pkt_u32(struct pkt_w *w, uint32_t v)
{
	pkt_u16(w, (uint16_t)(v >> 16));
	pkt_u16(w, (uint16_t)v);
}

void
pkt_begin(struct pkt_w *w, uint8_t *out, size_t cap, const struct pkt_query *q, bool compress)
{
	w->p = out;
	w->len = 0;
	w->cap = cap < PKT_TCP_MAX ? cap : PKT_TCP_MAX;
	w->err = 0;
	w->compress = compress;
	w->nnames = 0;
	memset(w->counts, 0, sizeof(w->counts));
	pkt_room(w, PKT_HEADER);
	pkt_bytes(w, q->question, q->question_len);
}

size_t
pkt_name_len(const uint8_t *name)
{
	size_t n = 0;

	while (name[n] != 0)
		n += name[n] + 1u;
	return n + 1;
}

/* Remember where each label of a name starts, as far as pointers reach. */
static void
names_add(struct pkt_w *w, size_t at)
{
	while (w->p[at] != 0 && w->p[at] < 0xc0 && at <= PKT_POINTER_MAX && w->nnames < PKT_NAMES_MAX) {
		w->names[w->nnames++] = (uint16_t)at;
		at += w->p[at] + 1u;
	}
}

/* Whether the name at this offset of the reply, pointers followed, is the given one. */
static bool
name_stands_at(const struct pkt_w *w, size_t at, const uint8_t *name)
{
	for (;;) {
		const uint8_t *p = w->p + at;

		/* Pointers were written by us and lead backwards. */
		if (*p >= 0xc0) {
			at = (size_t)(p[0] & 0x3f) << 8 | p[1];
			continue;
		}
		if (*p != *name || memcmp(p, name, *name + 1u) != 0)
			return false;
		if (*name == 0)
			return true;
		at += *name + 1u;
		name += *name + 1u;
	}
}

static int
names_find(const struct pkt_w *w, const uint8_t *name)
{
	for (unsigned i = 0; i < w->nnames; i++)
		if (name_stands_at(w, w->names[i], name))
			return w->names[i];
	return -1;
}

void
pkt_name(struct pkt_w *w, const uint8_t *name)
{
	size_t at = w->len;

	if (!w->compress) {
		pkt_bytes(w, name, pkt_name_len(name));
		return;
	}
	if (w->nnames == 0 && w->len > PKT_HEADER)
		names_add(w, PKT_HEADER);
	for (; *name != 0; name += *name + 1u) {
		int found = names_find(w, name);

		if (found >= 0) {
			pkt_u16(w, (uint16_t)(0xc000 | found));
			break;
		}
		pkt_bytes(w, name, *name + 1u);
	}
	if (*name == 0)
		pkt_bytes(w, "", 1);
	if (w->err == 0)
		names_add(w, at);
}

void
pkt_name_at(struct pkt_w *w, size_t at, size_t len)
{
	uint8_t *to;

	if (w->compress && at <= PKT_POINTER_MAX) {
		pkt_u16(w, (uint16_t)(0xc000 | at));
		return;
	}
	to = pkt_room(w, len);
	if (to != NULL)
		memcpy(to, w->p + at, len);
}

void
pkt_question_name(struct pkt_w *w)
{
	pkt_name_at(w, PKT_HEADER, w->compress ? 0 : pkt_name_len(w->p + PKT_HEADER));
}

size_t
pkt_rr_begin(struct pkt_w *w, enum pkt_section s, uint16_t type, uint32_t ttl)
{
	w->counts[s]++;
	pkt_u16(w, type);
	pkt_u16(w, CLASS_IN);
	pkt_u32(w, ttl);
	pkt_u16(w, 0);
	return w->len;
}

void
pkt_rr_end(struct pkt_w *w, size_t at)
{
	if (w->err == 0)
		put_u16(w->p + at - 2, (unsigned)(w->len - at));
}

void
pkt_rr_tail(struct pkt_w *w, enum pkt_section s, const uint8_t *tail, size_t len)
{
	w->counts[s]++;
	pkt_bytes(w, tail, len);
}

size_t
pkt_opt_len(const struct pkt_query *q)
{
	size_t n = PKT_OPT_LEN;

	if (!q->edns)
		return 0;
	if (q->ecs.present)
		n += OPTION_HEAD + 4 + (q->ecs.source + 7u) / 8;
	if (q->cookie.reply)
		n += OPTION_HEAD + PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER;
	if (q->keepalive > 0)
		n += OPTION_HEAD + 2;
	return n;
}

/* Code and length of an option; where its data go. */
static uint8_t *
put_option(uint8_t *at, unsigned code, size_t len)
{
	put_u16(at, code);
	put_u16(at + 2, (unsigned)len);
	return at + OPTION_HEAD;
}

static void
put_options(uint8_t *at, const struct pkt_query *q)
{
	if (q->ecs.present) {
		size_t n = (q->ecs.source + 7u) / 8;

		at = put_option(at, OPTION_ECS, 4 + n);
		put_u16(at, q->ecs.family);
		at[2] = q->ecs.source;
		at[3] = q->ecs.scope;
		memcpy(at + 4, q->ecs.addr, n);
		at += 4 + n;
	}
	if (q->cookie.reply) {
		at = put_option(at, OPTION_COOKIE, PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER);
		memcpy(at, q->cookie.data, PKT_COOKIE_CLIENT);
		memcpy(at + PKT_COOKIE_CLIENT, q->cookie.server, PKT_COOKIE_SERVER);
		at += PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER;
	}
	if (q->keepalive > 0)
		put_u16(put_option(at, OPTION_KEEPALIVE, 2), q->keepalive);
}

static void
write_opt(struct pkt_w *w, const struct pkt_query *q, enum pkt_rcode rcode)
{
	size_t len = pkt_opt_len(q);
	uint8_t *at = pkt_room(w, len);

	w->counts[SECTION_ADDITIONAL]++;
	if (at == NULL)
		return;
	memset(at, 0, PKT_OPT_LEN);
	put_u16(at + 1, TYPE_OPT);
	put_u16(at + 3, q->udp_size);
	at[5] = (uint8_t)(rcode >> 4);
	if (len > PKT_OPT_LEN) {
		put_u16(at + 9, (unsigned)(len - PKT_OPT_LEN));
		put_options(at + PKT_OPT_LEN, q);
	}
}

size_t
pkt_end(struct pkt_w *w, const struct pkt_query *q, unsigned flags, enum pkt_rcode rcode)
{
	uint8_t *h = w->p;

	if (q->edns)
		write_opt(w, q, rcode);
	if (w->err != 0)
		return 0;
	put_u16(h, q->id);
	/* Opcode and RD are the query's. */
	put_u16(h + 2, FLAG_QR | (q->flags & (0x7800 | FLAG_RD)) | flags | (rcode & 15));
	put_u16(h + 4, q->question_len > 0);
	put_u16(h + 6, w->counts[SECTION_ANSWER]);
	put_u16(h + 8, w->counts[SECTION_AUTHORITY]);
	put_u16(h + 10, w->counts[SECTION_ADDITIONAL]);
	return w->len;
}
