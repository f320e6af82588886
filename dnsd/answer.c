/* answer.c - writing a rendered answer: order, limits and size. */
#include "dnsd/answer.h"

#include <stdlib.h>
#include <string.h>

#include "dnsd/answer_rr.h"

uint32_t
answer_random(uint64_t *rng, uint32_t n)
{
	uint64_t x = *rng;

	/* xorshift64*: spreading load needs no secret. */
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*rng = x;
	return (uint32_t)(((x * UINT64_C(0x2545f4914f6cdd1d)) >> 32) * n >> 32);
}

void
answer_free(struct answer *a)
{
	free(a);
}

/* ---- how much is sent */

/* One writing of one answer. */
struct writing {
	struct answer *a;
	const struct pkt_query *q;
	const struct settings *s;
	bool tcp;
	bool trimmed;		/* something was cut: extras shrink to addresses of targets */
	bool extras;
	uint8_t skip;		/* kinds of extras that are not sent */
	uint32_t n;		/* records there are to choose from, the first in a->order */
	size_t max;		/* the size that the client takes */
	uint32_t k;		/* records sent, the first in a->order */
};

/* Those from i on, up to k, become a random choice of all that are before end. */
static void
shuffle_part(struct answer *a, uint32_t i, uint32_t end, uint32_t k, uint64_t *rng)
{
	for (; i < k && i + 1 < end; i++) {
		uint32_t j = i + answer_random(rng, end - i);
		uint16_t t = a->order[i];

		a->order[i] = a->order[j];
		a->order[j] = t;
	}
}

/* The first k of the order become a random choice of all; with ranks, each rank has its place. */
static void
shuffle(struct answer *a, uint32_t k, uint64_t *rng)
{
	uint32_t end;

	if (a->ranks == NULL) {
		shuffle_part(a, 0, a->nfirst, k, rng);
		if (k > a->nfirst)
			shuffle_part(a, a->nfirst, a->n, k, rng);
		return;
	}
	for (uint32_t i = 0; i < k; i = end) {
		end = i + 1;
		while (end < a->n && end != a->nfirst && a->ranks[a->order[end]] == a->ranks[a->order[i]])
			end++;
		shuffle_part(a, i, end, k, rng);
	}
}

/*
 * Bytes of those extras of a record at this offset that are not counted yet.
 * Their owners are pointers to its target, as far as pointers reach.
 */
static size_t
extras_size(const struct writing *w, const struct answer_rr *rr, size_t at, bool compressed)
{
	bool pointers = compressed && at + ANSWER_SRV_TARGET + 2 <= PKT_POINTER_MAX;
	size_t n = 0;

	for (uint32_t i = 0; i < rr->nextra; i++) {
		struct answer_extra *x = &w->a->extra[rr->extra + i];

		if (x->stamp == w->a->stamp || (x->kinds & w->skip) != 0)
			continue;
		x->stamp = w->a->stamp;
		n += (pointers && x->owner == OWNER_TARGET ? 2u : x->owner_len) + (size_t)x->len;
	}
	return n;
}

/* How many records of the order, at most k and at least one, stay within the size. */
static uint32_t
count_fitting(const struct writing *w, uint32_t k, bool compressed)
{
	size_t at = PKT_HEADER + w->q->question_len, owner = compressed ? 2 : w->q->name_len;
	size_t extras = pkt_opt_len(w->q), max = w->max - ANSWER_SLACK;

	w->a->stamp++;
	for (uint32_t i = 0; i < k; i++) {
		const struct answer_rr *rr = &w->a->rr[w->a->order[i]];

		extras += extras_size(w, rr, at, compressed);
		at += owner + rr->len;
		if (at + extras > max)
			return i > 0 ? i : 1;
	}
	return k;
}

/* The most records of a service that are told, whatever their size. */
static uint32_t
most_records(const struct writing *w)
{
	if (!w->tcp && w->max == PKT_UDP_MIN && !w->s->udp_fill)
		return w->s->udp_answer_limit;
	return w->a->type == TYPE_SRV ? ANSWER_TCP_SRV_MAX : ANSWER_TCP_MAX;
}

/* Something had to be cut: TXT goes too, and what follows the first record of a name. */
static void
trim(struct writing *w)
{
	w->trimmed = true;
	w->skip |= EXTRA_MORE;
}

/* Consul's rules for services: limits on number, then on size; the last single record is always sent. */
static void
decide(struct writing *w, uint64_t *rng)
{
	const struct settings *s = w->s;
	uint32_t k = w->n, most = most_records(w), fitting;
	bool compressed = s->compress;

	if (w->a->type != TYPE_SRV && s->a_record_limit > 0 && k > s->a_record_limit)
		k = s->a_record_limit;
	if (k > most) {
		k = most;
		trim(w);
		/* Clients without EDNS then get what fits before compression, so that it still does when a relay unpacks it. */
		compressed = s->compress && (w->tcp || w->max > PKT_UDP_MIN);
	}
	shuffle(w->a, k, rng);
	fitting = count_fitting(w, k, compressed);
	if (k > 1 && fitting < k) {
		trim(w);
		/* Without TXT more may fit, but something is cut once it had to be. */
		fitting = count_fitting(w, k - 1, compressed);
	}
	w->k = fitting;
}

/* ---- writing */

static void
write_record(struct pkt_w *p, const struct writing *w, const struct answer_rr *rr)
{
	pkt_question_name(p);
	/* Where a SRV record's target will stand, for the owners of its extras. */
	for (uint32_t i = 0; i < rr->nextra; i++)
		w->a->extra[rr->extra + i].target_at = (uint32_t)(p->len + ANSWER_SRV_TARGET);
	pkt_rr_tail(p, SECTION_ANSWER, w->a->bytes + rr->at, rr->len);
}

static void
write_extra(struct pkt_w *p, const struct writing *w, struct answer_extra *x)
{
	if (x->stamp == w->a->stamp || (x->kinds & w->skip) != 0)
		return;
	x->stamp = w->a->stamp;
	if (x->owner == OWNER_QUESTION)
		pkt_question_name(p);
	else if (x->owner == OWNER_TARGET)
		pkt_name_at(p, x->target_at, x->owner_len);
	else
		pkt_name(p, w->a->bytes + x->owner_at);
	pkt_rr_tail(p, x->in_answer ? SECTION_ANSWER : SECTION_ADDITIONAL, w->a->bytes + x->at, x->len);
}

/* One try; 0 when it is more than cap. */
static size_t
write_packet(const struct writing *w, unsigned flags, uint8_t *out, size_t cap)
{
	struct answer *a = w->a;
	struct pkt_w p;

	pkt_begin(&p, out, cap, w->q, w->s->compress);
	for (uint32_t i = 0; i < w->k; i++)
		write_record(&p, w, &a->rr[a->order[i]]);
	if (w->extras) {
		a->stamp++;
		for (uint32_t i = 0; i < w->k; i++) {
			const struct answer_rr *rr = &a->rr[a->order[i]];

			for (uint32_t j = 0; j < rr->nextra; j++)
				write_extra(&p, w, &a->extra[rr->extra + j]);
		}
		for (uint32_t i = a->nextra - a->ncommon; i < a->nextra; i++)
			write_extra(&p, w, &a->extra[i]);
	}
	return pkt_end(&p, w->q, flags, RCODE_OK);
}

/* A pointer, then what stands behind it; where that ends. */
static uint8_t *
put_rr(uint8_t *to, size_t owner_at, const uint8_t *tail, size_t len)
{
	to[0] = (uint8_t)(0xc0 | owner_at >> 8);
	to[1] = (uint8_t)owner_at;
	memcpy(to + 2, tail, len);
	return to + 2 + len;
}

/* The length of a record's bytes behind its owner, as they tell it. */
static size_t
tail_len(const uint8_t *tail)
{
	return PKT_RR_FIXED + ((size_t)tail[PKT_RR_FIXED - 2] << 8 | tail[PKT_RR_FIXED - 1]);
}

/*
 * The common case at once: all of a plain answer is sent, compressed. Each of its bytes is read once and
 * nothing of it changes but the order: with many names it is memory that takes the time.
 */
static size_t
write_plain(const struct writing *w, uint8_t *out, size_t cap, uint64_t *rng)
{
	struct answer *a = w->a;
	uint8_t *rrs, *extras;
	struct pkt_w p;

	shuffle(a, a->n, rng);
	pkt_begin(&p, out, cap, w->q, true);
	rrs = pkt_room(&p, a->plain_rrs + a->plain_extras);
	if (rrs == NULL)
		return 0;
	extras = rrs + a->plain_rrs;
	for (uint32_t i = 0; i < a->n; i++) {
		const struct answer_rr *rr = &a->rr[a->order[i]];
		const uint8_t *tail = a->bytes + rr->at, *extra = tail + rr->len;
		size_t target = (size_t)(rrs - out) + 2 + ANSWER_SRV_TARGET;

		rrs = put_rr(rrs, PKT_HEADER, tail, rr->len);
		for (uint32_t j = 0; j < rr->nextra; j++) {
			size_t len = tail_len(extra);

			extras = put_rr(extras, target, extra, len);
			extra += len;
		}
	}
	p.counts[SECTION_ANSWER] = (uint16_t)a->n;
	p.counts[SECTION_ADDITIONAL] = (uint16_t)a->nextra;
	return pkt_end(&p, w->q, settings_flags(w->s), RCODE_OK);
}

/* Whether an answer is plain and nothing of it would be cut: by number, by size, or where pointers end. */
static bool
sent_plain(const struct writing *w, size_t cap)
{
	const struct answer *a = w->a;
	size_t len = PKT_HEADER + w->q->question_len + a->plain_rrs + a->plain_extras + pkt_opt_len(w->q);

	return a->plain_rrs > 0 && w->s->compress && w->n == a->n && a->n <= most_records(w) &&
	    (a->type == TYPE_SRV || w->s->a_record_limit == 0 || a->n <= w->s->a_record_limit) &&
	    len <= w->max - ANSWER_SLACK && len <= cap && len <= PKT_POINTER_MAX;
}

size_t
answer_max(const struct pkt_query *q, bool tcp)
{
	if (tcp)
		return ANSWER_TCP_SIZE;
	if (!q->edns || q->udp_size <= PKT_UDP_MIN)
		return PKT_UDP_MIN;
	return q->udp_size < PKT_UDP_MAX ? q->udp_size : PKT_UDP_MAX;
}

/* Whether a CNAME's further records would be missed: those of the additional section may go without a sign. */
static bool
leads_on(const struct answer *a)
{
	for (uint32_t i = a->nextra - a->ncommon; i < a->nextra; i++)
		if (a->extra[i].in_answer)
			return true;
	return false;
}

size_t
answer_write(struct answer *a, const struct pkt_query *q, const struct settings *s, bool tcp, uint64_t *rng,
    uint8_t *out, size_t cap)
{
	struct writing w = { .a = a, .q = q, .s = s, .tcp = tcp, .extras = true, .n = tcp ? a->n : a->nfirst };
	unsigned flags = settings_flags(s);
	size_t n;

	w.max = answer_max(q, tcp);
	w.skip = q->edns ? 0 : EXTRA_FAR;
	w.k = w.n;
	if (sent_plain(&w, cap))
		return write_plain(&w, out, cap, rng);
	if (a->of_service)
		decide(&w, rng);
	if (w.trimmed && s->enable_truncate)
		flags |= FLAG_TC;
	n = write_packet(&w, flags, out, cap);
	/* What is too long still loses its extras without a sign, its records with one (RFC 2181, 9). */
	if (n == 0 || n > w.max) {
		w.skip = EXTRA_MORE | EXTRA_FAR;
		if (leads_on(a))
			flags |= FLAG_TC;
		n = write_packet(&w, flags, out, cap);
	}
	if (n == 0 || n > w.max) {
		w.extras = false;
		n = write_packet(&w, flags, out, cap);
	}
	while ((n == 0 || (n > w.max && !a->of_service)) && w.k > 0) {
		w.k--;
		n = write_packet(&w, flags | FLAG_TC, out, cap);
	}
	return n;
}
