/* guard.c - who is sent how much: cookies and response-rate limiting. */
#include "dnsd/guard.h"

#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "dnsd/cookie.h"
#include "dnsd/rrl.h"
#include "lib/loop.h"
#include "lib/metrics.h"

/* Answers that are counted together. */
enum kind { KIND_RECORDS, KIND_EMPTY, KIND_NXDOMAIN, KIND_ERROR, KIND_RELAYED };

struct guard {
	struct settings *const *settings;
	struct cookies cookies;
	struct rrl *rrl;		/* made by the first answer that is limited */
	struct metric_slot *dropped, *slipped, *bad_cookies;
};

int
guard_query(struct guard *g, struct pkt_query *q, const struct asker *who)
{
	const struct settings *s = *g->settings;
	enum cookie_state state;

	if (q->cookie.len == 0)
		return 0;
	if (!s->cookies)
		return q->question_len == 0 ? RCODE_FORMERR : 0;
	state = cookie_check(&g->cookies, &q->cookie, &who->peer, (uint32_t)time(NULL));
	q->cookie.good = state == COOKIE_GOOD;
	if (state == COOKIE_BAD && s->rate_limit > 0 && !who->tcp) {
		metric_add(g->bad_cookies, 1);
		return RCODE_BADCOOKIE;
	}
	return q->question_len == 0 ? GUARD_COOKIE_ONLY : 0;
}

/* ---- rate limiting */

/* Over TCP, and with a good cookie, the client is who it says. */
static bool
limited(const struct guard *g, const struct pkt_query *q, const struct asker *who)
{
	return (*g->settings)->rate_limit > 0 && !who->tcp && !(q->cookie.len > 0 && q->cookie.reply && q->cookie.good);
}

static enum rrl_verdict
account(struct guard *g, const struct pkt_query *q, const struct asker *who, enum kind kind)
{
	const struct settings *s = *g->settings;
	/* SOA and NS are the same whatever the name, and nobody runs out of names that do not exist. */
	bool by_name = kind == KIND_RELAYED ||
	    ((kind == KIND_RECORDS || kind == KIND_EMPTY) && q->type != TYPE_SOA && q->type != TYPE_NS);
	bool by_type = kind == KIND_RECORDS || kind == KIND_EMPTY || kind == KIND_RELAYED;
	enum rrl_verdict v;

	if (g->rrl == NULL)
		g->rrl = rrl_new();
	/* Without memory nobody is limited, as nobody was before. */
	if (g->rrl == NULL)
		return RRL_PASS;
	v = rrl_account(g->rrl, &who->peer, kind, by_type ? q->type : 0, by_name ? q->name : NULL, q->name_len, s->rate_limit,
	    s->rate_limit_slip, clock_ms());
	if (v != RRL_PASS)
		metric_add(v == RRL_DROP ? g->dropped : g->slipped, 1);
	return v;
}

/* What is sent in place of an answer: nothing, or that it was cut, so that the client asks again by TCP. */
static size_t
instead(const struct pkt_query *q, enum rrl_verdict v, unsigned flags, uint8_t *out)
{
	struct pkt_w w;

	if (v == RRL_DROP)
		return 0;
	pkt_begin(&w, out, PKT_UDP_MIN, q, true);
	return pkt_end(&w, q, flags | FLAG_TC, RCODE_OK);
}

size_t
guard_reply(struct guard *g, const struct pkt_query *q, const struct asker *who, uint8_t *out, size_t len)
{
	enum rrl_verdict v;
	enum kind kind;
	unsigned rcode;

	if (!limited(g, q, who) || len < PKT_HEADER)
		return len;
	rcode = out[3] & 15;
	kind = rcode == RCODE_NXDOMAIN ? KIND_NXDOMAIN : rcode != RCODE_OK ? KIND_ERROR :
	    out[6] == 0 && out[7] == 0 ? KIND_EMPTY : KIND_RECORDS;
	v = account(g, q, who, kind);
	return v == RRL_PASS ? len : instead(q, v, ((unsigned)out[2] << 8 | out[3]) & (FLAG_AA | FLAG_RA), out);
}

bool
guard_relay(struct guard *g, const struct pkt_query *q, const struct asker *who, uint8_t *out, size_t *ret_len)
{
	enum rrl_verdict v = limited(g, q, who) ? account(g, q, who, KIND_RELAYED) : RRL_PASS;

	if (v == RRL_PASS)
		return true;
	*ret_len = instead(q, v, FLAG_RA, out);
	return false;
}

/* ---- the whole */

struct guard *
guard_new(struct settings *const *settings)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->settings = settings;
	cookies_init(&g->cookies, cookie_master());
	g->dropped = metric_get("dns.rate_limit.dropped", METRIC_COUNTER);
	g->slipped = metric_get("dns.rate_limit.truncated", METRIC_COUNTER);
	g->bad_cookies = metric_get("dns.bad_cookies", METRIC_COUNTER);
	return g;
}

void
guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	rrl_free(g->rrl);
	sodium_memzero(&g->cookies, sizeof(g->cookies));
	free(g);
}
