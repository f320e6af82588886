/* relay.c - questions that are not ours: to the recursors, and their answers back. */
#include "dnsd/relay.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "dnsd/message.h"
#include "lib/metrics.h"

enum { BUCKETS = 1024 };

/* A client's question. */
struct client {
	TAILQ_ENTRY(client) in_job;
	struct asker who;
	uint64_t since_ns;
	struct pkt_query q;		/* its question is the job's, to the letter */
};

/* One call to the recursors, and who waits for it. */
struct job {
	LIST_ENTRY(job) in_bucket;
	struct relay *relay;
	struct upstream_call *call;
	TAILQ_HEAD(, client) clients;
	bool tcp;
	size_t n;
	uint8_t query[];
};

LIST_HEAD(bucket, job);

struct relay {
	struct upstream *upstream;
	struct settings *const *settings;
	uint64_t seed;
	size_t nclients;
	struct bucket buckets[BUCKETS];
	struct metric_slot *took;
	uint8_t query[RELAY_QUERY_MAX];	/* one being made */
	uint8_t out[PKT_TCP_MAX];
};

/* ---- the end */

static void
client_free(struct job *j, struct client *c)
{
	TAILQ_REMOVE(&j->clients, c, in_job);
	j->relay->nclients--;
	free(c);
}

/* Its call is over, or is no more wanted. */
static void
job_free(struct job *j)
{
	struct client *c;

	upstream_cancel(j->call);
	while ((c = TAILQ_FIRST(&j->clients)) != NULL)
		client_free(j, c);
	LIST_REMOVE(j, in_bucket);
	free(j);
}

/* ---- answers */

/* Bytes that this client takes. */
static size_t
limit(const struct client *c)
{
	if (c->who.tcp)
		return PKT_TCP_MAX;
	if (!c->q.edns || c->q.udp_size < PKT_UDP_MIN)
		return PKT_UDP_MIN;
	return c->q.udp_size < PKT_UDP_MAX ? c->q.udp_size : PKT_UDP_MAX;
}

/* An answer without records. */
static size_t
answer_bare(struct relay *r, const struct client *c, unsigned flags, unsigned rcode)
{
	struct pkt_w w;

	pkt_begin(&w, r->out, sizeof(r->out), &c->q, true);
	return pkt_end(&w, &c->q, flags | FLAG_RA, (enum pkt_rcode)rcode);
}

/* The recursor's reply made this client's: id, RD, cookie, size. */
static size_t
answer_as(struct relay *r, const struct client *c, const uint8_t *reply, size_t n)
{
	uint8_t cookie[PKT_COOKIE_CLIENT + PKT_COOKIE_SERVER];

	memcpy(r->out, reply, n);
	r->out[0] = (uint8_t)(c->q.id >> 8);
	r->out[1] = (uint8_t)c->q.id;
	r->out[2] = (uint8_t)((r->out[2] & ~(FLAG_RD >> 8)) | ((c->q.flags & FLAG_RD) >> 8));
	n = msg_strip_options(r->out, n);
	if (c->q.edns && c->q.cookie.reply) {
		memcpy(cookie, c->q.cookie.data, PKT_COOKIE_CLIENT);
		memcpy(cookie + PKT_COOKIE_CLIENT, c->q.cookie.server, PKT_COOKIE_SERVER);
		n = msg_add_option(r->out, n, sizeof(r->out), c->q.udp_size, OPTION_COOKIE, cookie, sizeof(cookie));
	}
	if (c->q.edns && c->q.keepalive > 0)
		n = msg_add_option(r->out, n, sizeof(r->out), c->q.udp_size, OPTION_KEEPALIVE,
		    (const uint8_t[]){ (uint8_t)(c->q.keepalive >> 8), (uint8_t)c->q.keepalive }, 2);
	return n <= limit(c) ? n : answer_bare(r, c, FLAG_TC, reply[3] & 15);
}

static void
on_answer(void *arg, const uint8_t *reply, size_t len)
{
	struct job *j = arg;
	struct relay *r = j->relay;
	struct client *c;

	/* The call ends with this. */
	j->call = NULL;
	TAILQ_FOREACH(c, &j->clients, in_job) {
		size_t n = reply != NULL ? answer_as(r, c, reply, len) : answer_bare(r, c, 0, RCODE_SERVFAIL);

		if (n > 0)
			c->who.deliver(&c->who, r->out, n);
		metric_add(r->took, (double)(clock_ns() - c->since_ns) / 1e6);
		serve_log(&c->q, &c->who, c->since_ns);
	}
	job_free(j);
}

/* ---- questions */

/* The query that goes out, id 0, into r->query. Its length, 0: none can be made. */
static size_t
make_query(struct relay *r, const struct pkt_query *q, const uint8_t *raw, size_t n)
{
	struct pkt_w w;

	if (raw != NULL) {
		if (n < PKT_HEADER || n > RELAY_QUERY_MAX)
			return 0;
		memcpy(r->query, raw, n);
		n = msg_strip_options(r->query, n);
	} else {
		pkt_begin(&w, r->query, sizeof(r->query), q, true);
		if (q->edns)
			pkt_bytes(&w, (const uint8_t[]){ 0, 0, TYPE_OPT, (uint8_t)(q->udp_size >> 8), (uint8_t)q->udp_size, 0, 0, 0,
			    0, 0, 0 }, PKT_OPT_LEN);
		if (w.err != 0 || q->question_len == 0)
			return 0;
		n = w.len;
		memset(r->query, 0, PKT_HEADER);
		r->query[2] = (uint8_t)(q->flags >> 8);
		r->query[3] = (uint8_t)q->flags;
		r->query[5] = 1;
		r->query[11] = q->edns;
	}
	r->query[0] = r->query[1] = 0;
	return n;
}

static struct job *
job_find(struct bucket *b, const uint8_t *query, size_t n, bool tcp)
{
	struct job *j;

	LIST_FOREACH(j, b, in_bucket)
		if (j->n == n && j->tcp == tcp && memcmp(j->query, query, n) == 0)
			return j;
	return NULL;
}

static struct job *
job_new(struct relay *r, struct bucket *b, size_t n, bool tcp)
{
	struct job *j = malloc(sizeof(*j) + n);

	if (j == NULL)
		return NULL;
	j->relay = r;
	j->tcp = tcp;
	j->n = n;
	memcpy(j->query, r->query, n);
	TAILQ_INIT(&j->clients);
	j->call = upstream_ask(r->upstream, j->query, n, tcp, on_answer, j);
	if (j->call == NULL) {
		free(j);
		return NULL;
	}
	LIST_INSERT_HEAD(b, j, in_bucket);
	return j;
}

bool
relay_ask(struct relay *r, const struct asker *who, const struct pkt_query *q, const uint8_t *raw, size_t n)
{
	struct client *c;
	struct bucket *b;
	struct job *j;

	if ((*r->settings)->nrecursors == 0 || q->question_len == 0 || r->nclients >= RELAY_WAITING_MAX)
		return false;
	n = make_query(r, q, raw, n);
	c = n > 0 ? malloc(sizeof(*c)) : NULL;
	if (c == NULL)
		return false;
	b = &r->buckets[pkt_name_hash(r->query, n, who->tcp, r->seed) % BUCKETS];
	j = job_find(b, r->query, n, who->tcp);
	if (j == NULL)
		j = job_new(r, b, n, who->tcp);
	if (j == NULL) {
		free(c);
		return false;
	}
	c->since_ns = clock_ns();
	c->who = *who;
	c->q = *q;
	c->q.question = j->query + PKT_HEADER;
	TAILQ_INSERT_TAIL(&j->clients, c, in_job);
	r->nclients++;
	return true;
}

/* ---- the whole */

/* A job that nobody waits for any more ends. */
static void
job_forget(struct job *j, const void *transport)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&j->clients); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_job);
		if (c->who.transport == transport)
			client_free(j, c);
	}
	if (TAILQ_EMPTY(&j->clients))
		job_free(j);
}

void
relay_forget(struct relay *r, const void *transport)
{
	struct job *j, *next;

	if (r->nclients == 0)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (j = LIST_FIRST(&r->buckets[i]); j != NULL; j = next) {
			next = LIST_NEXT(j, in_bucket);
			job_forget(j, transport);
		}
	}
}

size_t
relay_waiting(const struct relay *r)
{
	return r->nclients;
}

struct relay *
relay_new(struct settings *const *settings, struct upstream *u)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->upstream = u;
	r->settings = settings;
	r->took = metric_get("dns.recursor.query", METRIC_SAMPLE);
	randombytes_buf(&r->seed, sizeof(r->seed));
	return r;
}

void
relay_free(struct relay *r)
{
	struct job *j;

	if (r == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while ((j = LIST_FIRST(&r->buckets[i])) != NULL)
			job_free(j);
	free(r);
}
