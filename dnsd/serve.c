/* serve.c - questions taken, answered, waiting, logged and counted. */
#include "dnsd/serve.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "dnsd/resolve.h"
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
	uint64_t until_ms;		/* it is given up */
	unsigned rounds;		/* times that it was resolved again */
	bool client;			/* what it waits for is only the better order */
	bool no_client;
	struct asker who;
	struct pkt_query q;
	uint8_t question[PKT_QUESTION_MAX];
};

struct serve {
	struct loop *loop;
	struct settings *settings;
	struct resolver r;
	struct upstream *upstream;
	TAILQ_HEAD(, pending) waiting;
	size_t nwaiting;
	uv_timer_t *expire;
	uint8_t *out;			/* for answers that come later */
	struct metric_slot *queries, *reverse_queries;
	unsigned nreverse;		/* of the questions that serve_took() has not been told of */
};

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

/* A reply about to leave: its length, 0 when it is not to be sent. Who has recursors says so in all answers. */
static size_t
finish(struct serve *s, const struct pkt_query *q, const struct asker *who, uint8_t *out, size_t len)
{
	if (len >= PKT_HEADER && s->settings->nrecursors > 0)
		out[3] |= FLAG_RA;
	return guard_reply(s->r.guard, q, who, out, len);
}

/* The answer of n bytes to a question that has waited; n 0: a recursor's will come. */
static void
reply_late(struct pending *p, const struct turn *t, size_t n)
{
	if (!t->counted)
		n = finish(p->serve, &p->q, &p->who, t->out, n);
	if (n > 0)
		p->who.deliver(&p->who, t->out, n);
}

/* The end of its waiting. */
static void
pending_answer(struct pending *p, const struct turn *t, size_t n)
{
	struct serve *s = p->serve;

	/* What is needed goes again and again: better an error than another round. */
	if (t->wait != NULL)
		n = resolve_refuse(t, FLAG_AA, RCODE_SERVFAIL);
	reply_late(p, t, n);
	if (!t->relayed) {
		serve_log(&p->q, &p->who, p->since_ns);
		s->nreverse += t->reverse;
		serve_took(s, 1, (double)(uv_now(&s->loop->uv) - p->since_ms));
	}
	pending_free(p);
}

static struct turn
turn_of(struct pending *p)
{
	struct serve *s = p->serve;

	return (struct turn){ .r = &s->r, .q = &p->q, .tcp = p->who.tcp, .who = &p->who, .no_client = p->no_client, .out = s->out,
		.cap = p->who.tcp ? PKT_TCP_MAX : PKT_UDP_MAX };
}

/* Recursors have their own time, each of them. */
static uint64_t
patience_ms(const struct serve *s, const struct turn *t)
{
	uint64_t ms = (uint64_t)s->settings->recursor_timeout_ms * s->settings->nrecursors;

	if (!t->wait_host)
		return QUESTION_WAIT_MS;
	return QUESTION_WAIT_MS + (ms < QUESTION_WAIT_HOST_MS ? ms : QUESTION_WAIT_HOST_MS);
}

static void
wait_view(struct pending *p, const struct turn *t)
{
	p->until_ms = p->since_ms + patience_ms(p->serve, t);
	p->client = t->wait_client;
	view_wait(t->wait, &p->waiter);
}

static void
on_expire(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	uint64_t now = uv_now(&s->loop->uv);
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&s->waiting); p != NULL; p = next) {
		struct turn t = turn_of(p);
		size_t n;

		next = TAILQ_NEXT(p, in_order);
		if (now < p->until_ms)
			continue;
		n = resolve_without(&t, p->client);
		pending_answer(p, &t, n);
	}
}

/* One more that waits; false: too many do. */
static bool
wait_for(struct serve *s, const struct turn *t, const struct pkt_query *q, const struct asker *who)
{
	struct pending *p = s->nwaiting < QUESTIONS_WAITING_MAX ? malloc(sizeof(*p)) : NULL;

	if (p == NULL)
		return false;
	p->serve = s;
	p->since_ms = uv_now(&s->loop->uv);
	p->since_ns = clock_ns();
	p->who = *who;
	p->rounds = 0;
	p->no_client = false;
	p->q = *q;
	memcpy(p->question, q->question, q->question_len);
	p->q.question = p->question;
	TAILQ_INSERT_TAIL(&s->waiting, p, in_order);
	if (s->nwaiting++ == 0)
		(void)uv_timer_start(s->expire, on_expire, EXPIRE_MS, EXPIRE_MS);
	wait_view(p, t);
	return true;
}

/* The view of a waiting question has answered, or cannot. */
static void
on_view(void *ctx, struct waiter *w, bool ok)
{
	struct pending *p = (struct pending *)(void *)w;
	struct turn t;
	size_t n;

	(void)ctx;
	p->no_client |= !ok && p->client;
	t = turn_of(p);
	n = ok ? resolve(&t) : resolve_without(&t, p->client);
	if (t.wait != NULL && ++p->rounds < RESOLVE_ROUNDS_MAX) {
		wait_view(p, &t);
		return;
	}
	pending_answer(p, &t, n);
}

/* ---- the interface */

int
serve_read(const uint8_t *p, size_t n, struct pkt_query *q)
{
	return pkt_query_read(p, n, q);
}

void
serve_ahead(const struct serve *s, const struct pkt_query *q, unsigned n)
{
	views_ahead(s->r.views, q, n);
}

int
serve_query(struct serve *s, const struct asker *who, const uint8_t *p, size_t n, uint8_t *out, size_t cap)
{
	struct pkt_query q;
	int rc = serve_read(p, n, &q);

	return serve_answer(s, who, p, n, &q, rc, out, cap);
}

int
serve_answer(struct serve *s, const struct asker *who, const uint8_t *p, size_t n, struct pkt_query *q, int rc, uint8_t *out,
    size_t cap)
{
	struct turn t = { .r = &s->r, .q = q, .tcp = who->tcp, .who = who, .raw = p, .raw_len = n, .out = out, .cap = cap };
	uint64_t since_ns = log_enabled(LOG_DEBUG) ? clock_ns() : 0;
	size_t len;

	if (rc < 0)
		return 0;
	if (q->keepalive > 0)
		q->keepalive = who->tcp ? TCP_IDLE_MS / 100 : 0;
	if (rc == 0)
		rc = guard_query(s->r.guard, q, who);
	len = rc != 0 ? resolve_refuse(&t, 0, rc > 0 ? (enum pkt_rcode)rc : RCODE_OK) : resolve(&t);
	if (t.relayed)
		return SERVE_LATER;
	if (t.wait != NULL) {
		if (wait_for(s, &t, q, who))
			return SERVE_LATER;
		len = resolve_refuse(&t, FLAG_AA, RCODE_SERVFAIL);
	}
	if (!t.counted)
		len = finish(s, q, who, out, len);
	s->nreverse += t.reverse;
	serve_log(q, who, since_ns);
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
	relay_forget(s->r.relay, transport);
}

void
serve_took(struct serve *s, unsigned n, double ms)
{
	for (unsigned i = 0; i < n; i++)
		metric_add(i < s->nreverse ? s->reverse_queries : s->queries, ms / n);
	s->nreverse -= s->nreverse < n ? s->nreverse : n;
}

size_t
serve_waiting(const struct serve *s)
{
	return s->nwaiting + relay_waiting(s->r.relay);
}

void
serve_stats(const struct serve *s, struct views_stats *ret)
{
	views_stats(s->r.views, ret);
}

struct settings *const *
serve_settings(const struct serve *s)
{
	return &s->settings;
}

void
serve_set(struct serve *s, struct settings *settings)
{
	bool token_changed = strcmp(s->settings->token, settings->token) != 0;

	settings_inherit(settings, s->settings);
	settings_free(s->settings);
	s->settings = settings;
	views_settings_changed(s->r.views, token_changed);
}

/* Times of questions are told by node, as Consul does. */
static struct metric_slot *
timer_of(const struct settings *s, const char *what)
{
	char name[METRIC_NAME_MAX];

	/* A semicolon would begin another label. */
	(void)snprintf(name, sizeof(name), "%s;node=%.*s", what, (int)strcspn(s->node_name, ";"), s->node_name);
	return metric_get(name, METRIC_SAMPLE);
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
	s->r.loop = l;
	s->r.settings = &s->settings;
	randombytes_buf(&s->r.rng, sizeof(s->r.rng));
	s->r.rng |= 1;
	s->queries = timer_of(settings, "dns.domain_query");
	s->reverse_queries = timer_of(settings, "dns.ptr_query");
	s->out = malloc(PKT_TCP_MAX);
	s->expire = malloc(sizeof(*s->expire));
	if (s->expire != NULL) {
		(void)uv_timer_init(&l->uv, s->expire);
		s->expire->data = s;
	}
	s->r.guard = guard_new(&s->settings);
	s->upstream = upstream_new(l, &s->settings);
	if (s->upstream != NULL) {
		s->r.relay = relay_new(&s->settings, s->upstream);
		s->r.views = views_new(l, run_fd, &s->settings, s->upstream, on_view, s);
	}
	if (s->r.guard == NULL || s->r.relay == NULL || s->out == NULL || s->expire == NULL || s->r.views == NULL ||
	    zone_set(&s->r.arpa, STR("arpa.")) < 0) {
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
	relay_free(s->r.relay);
	views_free(s->r.views);
	upstream_free(s->upstream);
	guard_free(s->r.guard);
	if (s->expire != NULL)
		uv_close((uv_handle_t *)s->expire, timer_closed);
	settings_free(s->settings);
	free(s->out);
	free(s);
}
