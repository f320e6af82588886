/*
 * dns_decode.h - a strict reader of DNS messages that shares nothing with
 * dnsd's own: what dnsd writes is checked against it.
 */
#ifndef T_UNIT_DNS_DECODE_H
#define T_UNIT_DNS_DECODE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DECODE_RRS_MAX = 8192, DECODE_NAME_MAX = 1024 };

struct decode_rr {
	char owner[DECODE_NAME_MAX];
	unsigned section, type, class;
	uint32_t ttl;
	unsigned rdlen, at;		/* of the data, in the message */
};

struct decoded {
	const uint8_t *p;
	size_t n;
	unsigned id, flags, count[4];
	char qname[DECODE_NAME_MAX];
	unsigned qtype, qclass, nrrs;
	struct decode_rr rr[DECODE_RRS_MAX];
};

static inline unsigned
decode_u16(const struct decoded *d, size_t at)
{
	return at + 2 <= d->n ? (unsigned)(d->p[at] << 8 | d->p[at + 1]) : 0;
}

/* The name at `at` as text with a last dot; the offset behind it, or 0 when it is wrong. Pointers lead backwards. */
static inline size_t
decode_name(const struct decoded *d, size_t at, char out[DECODE_NAME_MAX])
{
	size_t end = 0, o = 0, lowest = at, bytes = 1;

	out[0] = 0;
	for (;;) {
		unsigned n;

		if (at >= d->n)
			return 0;
		n = d->p[at];
		if (n >= 0xc0) {
			size_t to = decode_u16(d, at) & 0x3fff;

			if (at + 2 > d->n || to >= lowest || to < 12)
				return 0;
			if (end == 0)
				end = at + 2;
			lowest = at = to;
			continue;
		}
		if (n > 63 || at + 1 + n > d->n || (bytes += n + (n > 0)) > 255)
			return 0;
		if (n == 0)
			break;
		memcpy(out + o, d->p + at + 1, n);
		o += n;
		out[o++] = '.';
		at += n + 1;
	}
	if (o == 0)
		out[o++] = '.';
	out[o] = 0;
	return end != 0 ? end : at + 1;
}

static inline size_t
decode_rr_at(struct decoded *d, size_t at, unsigned section)
{
	struct decode_rr *rr = &d->rr[d->nrrs];
	char name[DECODE_NAME_MAX];
	size_t end;

	if (d->nrrs == DECODE_RRS_MAX)
		return 0;
	at = decode_name(d, at, rr->owner);
	if (at == 0 || at + 10 > d->n)
		return 0;
	rr->section = section;
	rr->type = decode_u16(d, at);
	rr->class = decode_u16(d, at + 2);
	rr->ttl = (uint32_t)decode_u16(d, at + 4) << 16 | decode_u16(d, at + 6);
	rr->rdlen = decode_u16(d, at + 8);
	rr->at = (unsigned)at + 10;
	end = rr->at + rr->rdlen;
	if (end > d->n)
		return 0;
	/* Names in the data must fill it exactly. */
	if ((rr->type == 2 || rr->type == 5) && decode_name(d, rr->at, name) != end)
		return 0;
	if (rr->type == 33 && (rr->rdlen < 7 || decode_name(d, rr->at + 6, name) != end))
		return 0;
	if (rr->type == 6) {
		size_t x = decode_name(d, rr->at, name);

		if (x == 0 || (x = decode_name(d, x, name)) == 0 || x + 20 != end)
			return 0;
	}
	if ((rr->type == 1 && rr->rdlen != 4) || (rr->type == 28 && rr->rdlen != 16))
		return 0;
	d->nrrs++;
	return end;
}

/* Whether it is a whole, well-formed message without a byte behind. */
static inline bool
decode(struct decoded *d, const uint8_t *p, size_t n)
{
	size_t at = 12;

	d->p = p;
	d->n = n;
	d->nrrs = 0;
	d->qname[0] = 0;
	d->qtype = d->qclass = 0;
	if (n < 12)
		return false;
	d->id = decode_u16(d, 0);
	d->flags = decode_u16(d, 2);
	for (unsigned i = 0; i < 4; i++)
		d->count[i] = decode_u16(d, 4 + 2 * i);
	if (d->count[0] > 1)
		return false;
	if (d->count[0] == 1) {
		at = decode_name(d, at, d->qname);
		if (at == 0 || at + 4 > n)
			return false;
		d->qtype = decode_u16(d, at);
		d->qclass = decode_u16(d, at + 2);
		at += 4;
	}
	for (unsigned s = 1; s < 4; s++)
		for (unsigned i = 0; i < d->count[s]; i++)
			if ((at = decode_rr_at(d, at, s)) == 0)
				return false;
	return at == n;
}

/* The data of a record as text: an address, a target, strings. */
static inline const char *
decode_data(const struct decoded *d, const struct decode_rr *rr)
{
	static char text[4096];
	char name[DECODE_NAME_MAX];
	const uint8_t *p = d->p + rr->at;
	size_t o = 0;

	switch (rr->type) {
	case 1:
		(void)snprintf(text, sizeof(text), "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
		break;
	case 2:
	case 5:
		(void)decode_name(d, rr->at, text);
		break;
	case 33:
		(void)decode_name(d, rr->at + 6, name);
		(void)snprintf(text, sizeof(text), "%u %u %u %s", p[0] << 8 | p[1], p[2] << 8 | p[3], p[4] << 8 | p[5], name);
		break;
	case 16:
		for (unsigned i = 0; i < rr->rdlen; i += p[i] + 1u)
			o += (size_t)snprintf(text + o, sizeof(text) - o, "\"%.*s\"", p[i], (const char *)p + i + 1);
		break;
	default:
		for (unsigned i = 0; i < rr->rdlen && o + 3 < sizeof(text); i++)
			o += (size_t)snprintf(text + o, sizeof(text) - o, "%02x", p[i]);
		text[o] = 0;
		break;
	}
	return text;
}

#endif
