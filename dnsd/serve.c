/* serve.c - a question's way: zone, kind of name, view, answer. */
#include "dnsd/serve.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dnsd/apex.h"
#include "dnsd/guard.h"
#include "dnsd/relay.h"
#include "dnsd/tcp.h"
#include "lib/log.h"
#include "lib/metrics.h"

#define LOG "agent.dns"

enum { EXPIRE_MS = 100, NAME_TEXT_MAX = 4 * PKT_NAME_MAX + 1 };

/* A question that waits for a view. */
struct pending {
	struct waiter waiter;		/* first: a waiter is its pending */
	TAILQ_ENTRY(pending) in_order;	/* by age */
	struct serve *serve;
	uint64_t since_ms, since_ns;	/* in the loop's time, and for the log */
	struct asker who;
	struct pkt_query q;
	uint8_t question[PKT_QUESTION_MAX];
};

struct serve {
	struct loop *loop;
	struct settings *settings;
	struct views *views;
	struct guard *guard;
	struct upstream *upstream;
	struct relay *relay;
	struct zone arpa;
	uint64_t rng;
	TAILQ_HEAD(, pending) waiting;
	size_t nwaiting;
	uv_timer_t *expire;
	uint8_t *out;			/* for answers that come later */
	struct metric_slot *queries;
};

/* ---- the answer, given all that is known */

/* One question on its way. */
struct turn {
	struct serve *s;
	const struct pkt_query *q;
	bool tcp;
	const struct asker *who;
	const uint8_t *raw;		/* the question as it came; NULL when it has waited */
	size_t raw_len;
	struct view *wait;		/* set: not known yet */
	bool relayed;			/* a recursor's answer will be delivered */
	bool counted;			/* by guard_relay() */
	uint8_t *out;
	size_t cap;
};

static size_t
refuse(const struct turn *t, unsigned flags, enum pkt_rcode rcode)
{
	return apex_error(t->q, t->s->settings, flags, rcode, t->out, t->cap);
}

static size_t
negative(const struct turn *t, enum pkt_rcode rcode)
{
	return apex_negative(t->q, t->s->settings, (uint32_t)time(NULL), rcode, t->out, answer_max(t->q, t->tcp));
}

/* The facts of a view; NULL when t->wait was set, or when there is no room to ask. */
static struct view *
look_up(struct turn *t, enum name_kind kind, struct str dc, struct str name)
{
	enum view_state state;
	struct view *v = views_get(t->s->views, kind, dc, name, &state);

	if (state == VIEW_WAIT)
		t->wait = v;
	return state == VIEW_READY ? v : NULL;
}

/* A service or node: rendered, kept for the next time, written. */
static size_t
from_view(struct turn *t, const struct dns_name *n)
{
	struct serve *s = t->s;
	struct answer *a = NULL;
	enum outcome o;
	struct view *v = look_up(t, n->kind, n->dc, n->name);

	if (v == NULL)
		return t->wait != NULL ? 0 : refuse(t, FLAG_AA, RCODE_SERVFAIL);
	if (answer_render(view_facts(v), n, t->q, s->settings, &o, &a) < 0)
		return refuse(t, FLAG_AA, RCODE_SERVFAIL);
	switch (o) {
	case OUTCOME_RECORDS:
		views_keep(s->views, v, a);
		return answer_write(a, t->q, s->settings, t->tcp, &s->rng, t->out, t->cap);
	case OUTCOME_EMPTY:
		return refuse(t, FLAG_AA, RCODE_OK);
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
	struct view *v = look_up(t, NAME_SERVICE, STR(""), STR("consul"));

	if (v == NULL)
		return t->wait != NULL ? 0 : refuse(t, FLAG_AA, RCODE_SERVFAIL);
	return apex_answer(t->q, t->s->settings, view_facts(v), (uint32_t)time(NULL), &t->s->rng, t->out,
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
			return refuse(t, FLAG_AA, RCODE_OK);
		return from_view(t, &n);
	case NAME_SERVICE:
		return from_view(t, &n);
	case NAME_ADDR:
		return apex_addr(t->q, t->s->settings, &n, t->out, t->cap);
	case NAME_ADDR_EMPTY:
		return refuse(t, FLAG_AA, RCODE_OK);
	case NAME_QUERY:
	case NAME_MESH:
	case NAME_NONE:
		break;
	}
	/* No prepared query and no mesh is known here: they do not exist. */
	return negative(t, RCODE_NXDOMAIN);
}

/* A name that is not ours: the recursors' answer will be delivered, if there are any. */
static size_t
relay(struct turn *t, enum pkt_rcode without)
{
	struct serve *s = t->s;
	size_t len;

	if (s->settings->nrecursors == 0)
		return refuse(t, without == RCODE_SERVFAIL ? FLAG_RA : 0, without);
	t->counted = true;
	if (!guard_relay(s->guard, t->q, t->who, t->out, &len))
		return len;
	t->relayed = relay_ask(s->relay, t->who, t->q, t->raw, t->raw_len);
	return t->relayed ? 0 : refuse(t, FLAG_RA, RCODE_SERVFAIL);
}

/* The reply's length, or 0 with t->wait or t->relayed set. */
static size_t
resolve(struct turn *t)
{
	const struct pkt_query *q = t->q;
	struct serve *s = t->s;
	struct answer *a;
	size_t prefix;

	if (q->class != CLASS_IN && q->class != CLASS_ANY)
		return refuse(t, 0, RCODE_REFUSED);
	a = views_warm(s->views, q);
	if (a != NULL)
		return answer_write(a, q, s->settings, t->tcp, &s->rng, t->out, t->cap);
	if (settings_zone(s->settings, q->name, q->name_len, &prefix) == NULL) {
		if (name_in_zone(q->name, q->name_len, &s->arpa, &prefix))
			return relay(t, RCODE_SERVFAIL);
		return relay(t, RCODE_REFUSED);
	}
	switch (q->type) {
	case TYPE_AXFR:
	case TYPE_IXFR:
		return refuse(t, FLAG_AA, RCODE_NOTIMP);
	case TYPE_SOA:
	case TYPE_NS:
		return from_servers(t);
	default:
		return from_name(t, prefix);
	}
}

/* ---- questions that wait */

/* The question's name as it was spelled, dots and odd bytes inside of labels escaped. */
static void
name_text(const uint8_t *name, size_t len, char out[NAME_TEXT_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i + 1 < len; i += name[i] + 1u) {
		for (size_t k = 1; k <= name[i]; k++) {
			unsigned char c = name[i + k];

			if (c > ' ' && c < 0x7f && c != '\\' && c != '"' && c != '.')
				out[at++] = (char)c;
			else
				at += (size_t)snprintf(out + at, 5, "\\%03u", c);
		}
		out[at++] = '.';
	}
	out[at] = 0;
}

static void
type_text(uint16_t type, char out[16])
{
	static const struct {
		uint16_t type;
		const char *name;
	} names[] = {
		{ TYPE_A, "A" }, { TYPE_NS, "NS" }, { TYPE_CNAME, "CNAME" }, { TYPE_SOA, "SOA" }, { TYPE_PTR, "PTR" },
		{ TYPE_MX, "MX" }, { TYPE_TXT, "TXT" }, { TYPE_AAAA, "AAAA" }, { TYPE_SRV, "SRV" }, { TYPE_IXFR, "IXFR" },
		{ TYPE_AXFR, "AXFR" }, { TYPE_ANY, "ANY" },
	};

	(void)snprintf(out, 16, "TYPE%u", type);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].type == type)
			(void)snprintf(out, 16, "%s", names[i].name);
}

void
serve_log(const struct pkt_query *q, const struct asker *who, uint64_t since_ns)
{
	char name[NAME_TEXT_MAX] = "", type[16], client[SOCK_ADDR_TEXT_MAX];

	if (!log_enabled(LOG_DEBUG))
		return;
	if (q->question_len > 0)
		name_text(q->question, q->name_len, name);
	type_text(q->type, type);
	sock_addr_format(&who->peer, client);
	log_debug(LOG, "request served from client: name=%s type=%s class=%s latency=%.3fus client=%s client_network=%s", name,
	    type, q->class == CLASS_IN ? "IN" : "other", (double)(clock_ns() - since_ns) / 1e3, client, who->tcp ? "tcp" : "udp");
}

static void
pending_free(struct pending *p)
{
	struct serve *s = p->serve;

	view_unwait(&p->waiter);
	TAILQ_REMOVE(&s->waiting, p, in_order);
	s->nwaiting--;
	if (s->nwaiting == 0)
		(void)uv_timer_stop(s->expire);
	free(p);
}

/* The answer of n bytes to a question that has waited; n 0: a recursor's will come. */
static void
reply_late(struct pending *p, const struct turn *t, size_t n)
{
	if (!t->counted)
		n = guard_reply(p->serve->guard, &p->q, &p->who, t->out, n);
	if (n > 0)
		p->who.deliver(&p->who, t->out, n);
}

static void
on_expire(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	uint64_t now = uv_now(&s->loop->uv);
	struct pending *p;

	while ((p = TAILQ_FIRST(&s->waiting)) != NULL && now - p->since_ms >= QUESTION_WAIT_MS) {
		struct turn t = { .s = s, .q = &p->q, .out = s->out, .cap = p->who.tcp ? PKT_TCP_MAX : PKT_UDP_MAX };

		reply_late(p, &t, refuse(&t, FLAG_AA, RCODE_SERVFAIL));
		pending_free(p);
	}
}

/* One more that waits; false: too many do. */
static bool
wait_for(struct serve *s, struct view *v, const struct pkt_query *q, const struct asker *who)
{
	struct pending *p = s->nwaiting < QUESTIONS_WAITING_MAX ? malloc(sizeof(*p)) : NULL;

	if (p == NULL)
		return false;
	p->serve = s;
	p->since_ms = uv_now(&s->loop->uv);
	p->since_ns = clock_ns();
	p->who = *who;
	p->q = *q;
	memcpy(p->question, q->question, q->question_len);
	p->q.question = p->question;
	TAILQ_INSERT_TAIL(&s->waiting, p, in_order);
	if (s->nwaiting++ == 0)
		(void)uv_timer_start(s->expire, on_expire, EXPIRE_MS, EXPIRE_MS);
	view_wait(v, &p->waiter);
	return true;
}

/* The view of a waiting question has answered, or cannot. */
static void
on_view(void *ctx, struct waiter *w, bool ok)
{
	struct pending *p = (struct pending *)(void *)w;
	struct serve *s = ctx;
	struct turn t = { .s = s, .q = &p->q, .tcp = p->who.tcp, .who = &p->who, .out = s->out,
		.cap = p->who.tcp ? PKT_TCP_MAX : PKT_UDP_MAX };
	size_t n = ok ? resolve(&t) : refuse(&t, FLAG_AA, RCODE_SERVFAIL);

	/* The view has gone again already: better an error than another round. */
	if (t.wait != NULL)
		n = refuse(&t, FLAG_AA, RCODE_SERVFAIL);
	reply_late(p, &t, n);
	serve_log(&p->q, &p->who, p->since_ns);
	serve_took(s, 1, (double)(uv_now(&s->loop->uv) - p->since_ms));
	pending_free(p);
}

/* ---- the interface */

int
serve_query(struct serve *s, const struct asker *who, const uint8_t *p, size_t n, uint8_t *out, size_t cap)
{
	struct pkt_query q;
	struct turn t = { .s = s, .q = &q, .tcp = who->tcp, .who = who, .raw = p, .raw_len = n, .out = out, .cap = cap };
	uint64_t since_ns = log_enabled(LOG_DEBUG) ? clock_ns() : 0;
	int rc = pkt_query_read(p, n, &q);
	size_t len;

	if (rc < 0)
		return 0;
	if (q.keepalive > 0)
		q.keepalive = who->tcp ? TCP_IDLE_MS / 100 : 0;
	if (rc == 0)
		rc = guard_query(s->guard, &q, who);
	len = rc != 0 ? refuse(&t, 0, rc > 0 ? (enum pkt_rcode)rc : RCODE_OK) : resolve(&t);
	if (t.relayed)
		return SERVE_LATER;
	if (t.wait != NULL) {
		if (wait_for(s, t.wait, &q, who))
			return SERVE_LATER;
		len = refuse(&t, FLAG_AA, RCODE_SERVFAIL);
	}
	if (!t.counted)
		len = guard_reply(s->guard, &q, who, out, len);
	serve_log(&q, who, since_ns);
	return (int)len;
}

void
serve_forget(struct serve *s, const void *transport)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&s->waiting); p != NULL; p = next) {
		next = TAILQ_NEXT(p, in_order);
		if (p->who.transport == transport)
			pending_free(p);
	}
	relay_forget(s->relay, transport);
}

void
serve_took(struct serve *s, unsigned n, double ms)
{
	for (unsigned i = 0; i < n; i++)
		metric_add(s->queries, ms / n);
}

size_t
serve_waiting(const struct serve *s)
{
	return s->nwaiting + relay_waiting(s->relay);
}

void
serve_stats(const struct serve *s, struct views_stats *ret)
{
	views_stats(s->views, ret);
}

void
serve_set(struct serve *s, struct settings *settings)
{
	bool token_changed = strcmp(s->settings->token, settings->token) != 0;

	settings_inherit(settings, s->settings);
	settings_free(s->settings);
	s->settings = settings;
	views_settings_changed(s->views, token_changed);
}

struct serve *
serve_new(struct loop *l, int run_fd, struct settings *settings)
{
	struct serve *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		settings_free(settings);
		return NULL;
	}
	s->loop = l;
	s->settings = settings;
	TAILQ_INIT(&s->waiting);
	randombytes_buf(&s->rng, sizeof(s->rng));
	s->rng |= 1;
	s->queries = metric_get("dns.domain_query", METRIC_SAMPLE);
	s->out = malloc(PKT_TCP_MAX);
	s->expire = malloc(sizeof(*s->expire));
	if (s->expire != NULL) {
		(void)uv_timer_init(&l->uv, s->expire);
		s->expire->data = s;
	}
	s->guard = guard_new(&s->settings);
	s->upstream = upstream_new(l, &s->settings);
	s->relay = s->upstream != NULL ? relay_new(&s->settings, s->upstream) : NULL;
	s->views = views_new(l, run_fd, &s->settings, on_view, s);
	if (s->guard == NULL || s->relay == NULL || s->out == NULL || s->expire == NULL || s->views == NULL ||
	    zone_set(&s->arpa, STR("arpa.")) < 0) {
		serve_free(s);
		return NULL;
	}
	return s;
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

void
serve_free(struct serve *s)
{
	struct pending *p;

	if (s == NULL)
		return;
	while ((p = TAILQ_FIRST(&s->waiting)) != NULL)
		pending_free(p);
	relay_free(s->relay);
	upstream_free(s->upstream);
	guard_free(s->guard);
	views_free(s->views);
	if (s->expire != NULL)
		uv_close((uv_handle_t *)s->expire, timer_closed);
	settings_free(s->settings);
	free(s->out);
	free(s);
}
