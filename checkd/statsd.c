/* statsd.c - asks all daemons for their metrics and sends what is new to statsd. */
#include "checkd/statsd.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkd/schedule.h"
#include "lib/sock.h"

enum {
	ASK_MS = 2000,			/* who has not answered by then is left out */
	RESOLVE_AGAIN_MS = 60 * 1000,
	ARENA_MAX = 8 * 1024 * 1024,
	ADDRESS_MAX = 300,
	METRICS_ALL_MAX = STATSD_KNOWN_MAX,
};

struct sink;

/* A name being looked up: it may outlive its sink, which then is NULL. */
struct lookup {
	uv_getaddrinfo_t req;
	struct sink *sink;
};

struct sink {
	const char *key;		/* telemetry.* that says where */
	char host[ADDRESS_MAX], port[16];
	struct statsd_format format;
	struct statsd_state state;
	struct lookup *lookup;
	struct sockaddr_storage addr;
	socklen_t addr_len;		/* 0: not known yet */
	uint64_t resolved_ms;
	int family, fd;			/* -1: none */
	bool stream;			/* TCP: connected from one round to the next */
	bool failed;			/* told of already */
};

enum { STATSD, DOGSTATSD, STATSITE, SINKS, ASKED = 5 };

struct asked {
	struct statsd *s;
	struct rpc_client *client;
	bool ours;			/* to free */
	uint32_t call;
};

struct statsd {
	struct checkd *cd;
	struct json_object *slice;	/* that the sinks' formats point into */
	struct sink sinks[SINKS];
	struct asked asked[ASKED];
	size_t pending;
	uv_timer_t *timer;
	struct metric *v;
	size_t n;
	struct arena arena;
	struct metric_slot *unsent;
};

/* ---- where to */

static void
resolved(struct sink *k, int rc, const struct addrinfo *found)
{
	if (rc != 0 || found->ai_addrlen > sizeof(k->addr)) {
		if (!k->failed)
			log_warn("agent", "statsd: no address: key=telemetry.%s host=\"%s\" error=\"%s\"", k->key, k->host,
			    rc != 0 ? gai_strerror(rc) : "too long");
		k->failed = true;
		return;
	}
	memcpy(&k->addr, found->ai_addr, found->ai_addrlen);
	k->addr_len = found->ai_addrlen;
	k->failed = false;
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct lookup *l = req->data;

	if (l->sink != NULL) {
		l->sink->lookup = NULL;
		resolved(l->sink, status == 0 ? 0 : EAI_NONAME, found);
	}
	uv_freeaddrinfo(found);
	free(l);
}

/* A literal address needs neither the resolver nor a thread of the pool. */
static void
resolve(struct statsd *s, struct sink *k, uint64_t now)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM }, *found;

	if (k->lookup != NULL || (k->resolved_ms != 0 && now - k->resolved_ms < RESOLVE_AGAIN_MS && k->addr_len > 0))
		return;
	k->resolved_ms = now;
	if (getaddrinfo(k->host, k->port, &hints, &found) == 0) {
		resolved(k, 0, found);
		freeaddrinfo(found);
		return;
	}
	hints.ai_flags = 0;
	k->lookup = calloc(1, sizeof(*k->lookup));
	if (k->lookup == NULL)
		return;
	k->lookup->sink = k;
	k->lookup->req.data = k->lookup;
	if (uv_getaddrinfo(&s->cd->d->loop.uv, &k->lookup->req, on_resolved, k->host, k->port, &hints) < 0) {
		free(k->lookup);
		k->lookup = NULL;
	}
}

/* ---- out */

struct sending {
	struct statsd *s;
	struct sink *sink;
};

static void
hang_up(struct sink *k)
{
	if (k->fd >= 0)
		(void)close(k->fd);
	k->fd = -1;
}

/* Datagrams may be lost, here as elsewhere; they are counted. A stream that does not take all of one is in the middle of a line. */
static int
on_datagram(void *arg, const void *data, size_t len)
{
	struct sending *x = arg;
	struct sink *k = x->sink;
	ssize_t n = -1;

	if (k->fd >= 0 && k->stream)
		n = send(k->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (k->fd >= 0)
		n = sendto(k->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&k->addr, k->addr_len);
	if (n == (ssize_t)len)
		return 0;
	metric_add(x->s->unsent, 1);
	if (k->stream)
		hang_up(k);
	return 0;
}

/* Whether a stream stands; one that does not is begun, for the next round. */
static bool
connected(struct sink *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (!k->stream)
		return true;
	if (k->fd >= 0) {
		/* The other end says nothing: what can be read is its end. */
		p.events |= POLLIN | POLLRDHUP;
		if (poll(&p, 1, 0) == 1 && p.revents == POLLOUT && getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0)
			return true;
		hang_up(k);
	}
	k->family = k->addr.ss_family;
	k->fd = socket(k->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd >= 0 && connect(k->fd, (struct sockaddr *)&k->addr, k->addr_len) < 0 && errno != EINPROGRESS)
		hang_up(k);
	return false;
}

static void
send_to(struct statsd *s, struct sink *k)
{
	struct sending x = { s, k };
	int rc;

	if (k->addr_len == 0)
		return;
	if (k->fd >= 0 && k->family != k->addr.ss_family)
		hang_up(k);
	/* What it does not get now is in the next difference. */
	if (!connected(k))
		return;
	if (k->fd < 0) {
		k->family = k->addr.ss_family;
		k->fd = socket(k->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	rc = statsd_look(&k->state, &k->format, s->v, s->n, on_datagram, &x);
	if (rc < 0)
		log_warn("agent", "statsd: metrics not sent: error=\"%s\"", err_text(rc));
}

/* ---- a round */

static void
round_done(struct statsd *s)
{
	struct buf own = BUF_INIT(MiB);
	struct mp_w w = mp_w_init(&own);

	metrics_encode(&w);
	if (w.err == 0)
		s->n = telemetry_add(s->v, s->n, METRICS_ALL_MAX, (struct str){ (const char *)own.data, own.len }, &s->arena);
	s->n = telemetry_merge(s->v, s->n, &s->arena);
	for (size_t i = 0; i < SINKS; i++)
		if (s->sinks[i].host[0] != '\0')
			send_to(s, &s->sinks[i]);
	arena_release(&s->arena);
	s->v = NULL;
	buf_release(&own);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct asked *x = arg;
	struct statsd *s = x->s;
	struct query_meta meta;
	struct str payload;
	char *kept;

	x->call = 0;
	if (a->rc == 0 && op_reply_decode(a->body, a->len, &meta, &payload) == 0) {
		kept = arena_strdup(&s->arena, payload);
		if (kept != NULL)
			s->n = telemetry_add(s->v, s->n, METRICS_ALL_MAX, (struct str){ kept, payload.len }, &s->arena);
	}
	if (--s->pending == 0)
		round_done(s);
}

static void
on_timer(uv_timer_t *t)
{
	struct statsd *s = t->data;
	uint64_t now = clock_ms();

	for (size_t i = 0; i < SINKS; i++)
		if (s->sinks[i].host[0] != '\0')
			resolve(s, &s->sinks[i], now);
	/* The last round has not ended: its time is shorter than the interval, but clocks may jump. */
	if (s->pending > 0)
		return;
	s->v = arena_alloc(&s->arena, METRICS_ALL_MAX * sizeof(*s->v));
	s->n = 0;
	if (s->v == NULL)
		return;
	/* One more than there are: the end must not come before all are asked. */
	s->pending = 1;
	for (size_t i = 0; i < ASKED; i++) {
		struct asked *x = &s->asked[i];

		x->call = rpc_call_record(x->client, OP_DAEMON_METRICS, NULL, NULL, RPC_RETRY, ASK_MS, on_answer, x);
		s->pending += x->call != 0;
	}
	if (--s->pending == 0)
		round_done(s);
}

/* ---- settings */

/* host:port, [v6]:port; without a port statsd's own. */
static void
split(const char *text, struct sink *k)
{
	const char *colon = strrchr(text, ':'), *end = colon != NULL ? colon : text + strlen(text);

	(void)snprintf(k->port, sizeof(k->port), "%s", colon != NULL && colon[1] != '\0' ? colon + 1 : "8125");
	if (*text == '[' && end > text && end[-1] == ']') {
		text++;
		end--;
	}
	(void)snprintf(k->host, sizeof(k->host), "%.*s", (int)(end - text), text);
}

static bool
wanted(struct json_object *slice)
{
	return *cfg_str(slice, "telemetry.statsd_address", "") != '\0' || *cfg_str(slice, "telemetry.dogstatsd_addr", "") != '\0' ||
	    *cfg_str(slice, "telemetry.statsite_address", "") != '\0';
}

/* What is being looked up is not asked for any more. */
static void
forget_lookup(struct sink *k)
{
	if (k->lookup == NULL)
		return;
	k->lookup->sink = NULL;
	(void)uv_cancel((uv_req_t *)&k->lookup->req);
	k->lookup = NULL;
}

static void
settings(struct statsd *s, struct json_object *slice)
{
	static const char *const keys[SINKS] = { "statsd_address", "dogstatsd_addr", "statsite_address" };
	struct json_object *old = s->slice;

	s->slice = json_object_get(slice);
	for (size_t i = 0; i < SINKS; i++) {
		struct sink *k = &s->sinks[i], next = { .host = "" };
		char path[64];

		(void)snprintf(path, sizeof(path), "telemetry.%s", keys[i]);
		split(cfg_str(slice, path, ""), &next);
		k->key = keys[i];
		if (strcmp(k->host, next.host) != 0 || strcmp(k->port, next.port) != 0) {
			memcpy(k->host, next.host, sizeof(k->host));
			memcpy(k->port, next.port, sizeof(k->port));
			hang_up(k);
			forget_lookup(k);
			k->addr_len = 0;
			k->resolved_ms = 0;
		}
		telemetry_read(&k->format.t, slice);
		k->stream = i == STATSITE;
		k->format.tags = i == DOGSTATSD;
		k->format.more_tags = k->format.tags ? cfg_get(slice, "telemetry.dogstatsd_tags") : NULL;
	}
	json_object_put(old);
}

static int
begin(struct checkd *cd, struct json_object *slice)
{
	const char *const names[] = { "httpd", "dnsd", "consulctl" };
	struct statsd *s;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	cd->statsd = s;
	s->cd = cd;
	arena_init(&s->arena, ARENA_MAX);
	s->unsent = metric_get("statsd.unsent", METRIC_COUNTER);
	for (size_t i = 0; i < SINKS; i++)
		s->sinks[i].fd = -1;
	settings(s, slice);
	s->asked[0].client = cd->raftd;
	s->asked[1].client = cd->gossipd;
	for (size_t i = 0; i < ASKED; i++) {
		struct asked *x = &s->asked[i];

		x->s = s;
		x->ours = i >= ASKED - ARRAY_LEN(names);
		if (x->ours)
			x->client = rpc_client_new(&cd->d->loop, cd->d->run_fd, names[i - (ASKED - ARRAY_LEN(names))]);
		if (x->client == NULL)
			return -ENOMEM;
	}
	s->timer = timer_new(&cd->d->loop.uv, s);
	return s->timer == NULL ? -ENOMEM : uv_timer_start(s->timer, on_timer, 0, METRICS_INTERVAL_MS);
}

int
statsd_start(struct checkd *cd)
{
	return wanted(cd->d->config) ? begin(cd, cd->d->config) : 0;
}

int
statsd_reload(struct checkd *cd, struct json_object *slice)
{
	if (cd->statsd != NULL && wanted(slice)) {
		settings(cd->statsd, slice);
		return 0;
	}
	statsd_stop(cd);
	return wanted(slice) ? begin(cd, slice) : 0;
}

void
statsd_stop(struct checkd *cd)
{
	struct statsd *s = cd->statsd;

	if (s == NULL)
		return;
	cd->statsd = NULL;
	timer_free(s->timer);
	for (size_t i = 0; i < ASKED; i++) {
		struct asked *x = &s->asked[i];

		if (x->call != 0)
			rpc_cancel(x->client, x->call);
		if (x->ours)
			rpc_client_free(x->client);
	}
	for (size_t i = 0; i < SINKS; i++) {
		struct sink *k = &s->sinks[i];

		forget_lookup(k);
		hang_up(k);
		statsd_state_release(&k->state);
	}
	arena_release(&s->arena);
	json_object_put(s->slice);
	free(s);
}
