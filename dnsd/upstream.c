/* upstream.c - questions to the recursors, over UDP or TCP. */
#include "dnsd/upstream.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dnsd/message.h"
#include "lib/log.h"
#include "lib/metrics.h"

#define LOG "agent.dns"

enum {
	EXPIRE_MS = 50,
	PORT_LOWEST = 32768,	/* below are the ports of servers that may start at any time */
	PORT_TRIES = 8,
	PREFIX = 2,		/* a message's length over TCP (RFC 1035, 4.2.2) */
	FOREIGN_MAX = 64,	/* datagrams of one turn that do not fit the question */
};

/* One recursor being asked. It outlives its call until libuv lets go of it. */
struct attempt {
	uv_poll_t poll;
	struct upstream_call *call;
	int fd;
	uint64_t since_ms;
	size_t sent, got;		/* TCP: bytes of query and reply, their prefixes included */
	uint8_t prefix[PREFIX];
	uint8_t *reply;			/* TCP: of the length that prefix says */
	union sock_addr to;
};

struct upstream_call {
	TAILQ_ENTRY(upstream_call) in_list;
	struct upstream *upstream;
	struct attempt *attempt;
	struct defer failed;
	void (*done)(void *arg, const uint8_t *reply, size_t len);
	void *arg;
	bool tcp;
	uint8_t order[SETTINGS_RECURSORS_MAX];
	size_t next, nrecursors;
	uint16_t id;			/* the caller's */
	size_t n, question_end;
	uint8_t query[];		/* prefix and message, under the id of the attempt */
};

struct upstream {
	struct loop *loop;
	struct settings *const *settings;
	TAILQ_HEAD(, upstream_call) calls;
	size_t ncalls;
	uv_timer_t *expire;
	uint8_t *scratch;		/* UPSTREAM_REPLY_MAX */
	struct log_limit warned;
	struct metric_slot *asked, *failed;
};

static void call_next(struct upstream_call *c);

/* ---- the end of an attempt, and of a call */

static void
attempt_closed(uv_handle_t *h)
{
	struct attempt *a = h->data;

	(void)close(a->fd);
	free(a->reply);
	free(a);
}

static void
attempt_end(struct upstream_call *c)
{
	struct attempt *a = c->attempt;

	if (a == NULL)
		return;
	c->attempt = NULL;
	a->call = NULL;
	uv_close((uv_handle_t *)&a->poll, attempt_closed);
}

void
upstream_cancel(struct upstream_call *c)
{
	struct upstream *u;

	if (c == NULL)
		return;
	u = c->upstream;
	attempt_end(c);
	loop_undefer(u->loop, DEFER_WORK, &c->failed);
	TAILQ_REMOVE(&u->calls, c, in_list);
	if (--u->ncalls == 0)
		(void)uv_timer_stop(u->expire);
	free(c);
}

static void
call_done(struct upstream_call *c, const uint8_t *reply, size_t len)
{
	c->done(c->arg, reply, len);
	upstream_cancel(c);
}

static void
on_failed(struct defer *d)
{
	struct upstream_call *c = (struct upstream_call *)(void *)((char *)d - offsetof(struct upstream_call, failed));

	call_done(c, NULL, 0);
}

static void
note_failure(struct upstream *u, const union sock_addr *to, const char *why)
{
	char text[SOCK_ADDR_TEXT_MAX];
	const char *note;

	metric_add(u->failed, 1);
	if (!log_allowed(&u->warned, uv_now(&u->loop->uv), &note))
		return;
	sock_addr_format(to, text);
	log_warn(LOG, "recursor failed: recursor=%s error=\"%s\"%s", text, why, note);
}

/* This recursor had no answer. */
static void
attempt_failed(struct upstream_call *c, const char *why)
{
	note_failure(c->upstream, &c->attempt->to, why);
	attempt_end(c);
	call_next(c);
}

static void
on_expire(uv_timer_t *timer)
{
	struct upstream *u = timer->data;
	uint64_t now = uv_now(&u->loop->uv);
	int64_t patience = (*u->settings)->recursor_timeout_ms;
	struct upstream_call *c, *next;

	for (c = TAILQ_FIRST(&u->calls); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_list);
		/* What fails here has its end told at the end of the turn: nothing else leaves the list. */
		if (c->attempt != NULL && (int64_t)(now - c->attempt->since_ms) >= patience)
			attempt_failed(c, "no answer in time");
	}
}

/* ---- replies */

/* A message; false: it is not the one, go on waiting. */
static bool
reply_take(struct upstream_call *c, uint8_t *p, size_t n)
{
	switch (msg_judge(c->query + PREFIX, c->question_end, p, &n)) {
	case REPLY_FOREIGN:
		return false;
	case REPLY_NEXT:
		attempt_failed(c, "an error or a malformed answer");
		return true;
	case REPLY_FINAL:
		break;
	}
	p[0] = (uint8_t)(c->id >> 8);
	p[1] = (uint8_t)c->id;
	call_done(c, p, n);
	return true;
}

static void
udp_readable(struct attempt *a)
{
	struct upstream_call *c = a->call;
	uint8_t *p = c->upstream->scratch;

	for (unsigned i = 0; i < FOREIGN_MAX; i++) {
		ssize_t n = recv(a->fd, p, UPSTREAM_REPLY_MAX, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			attempt_failed(c, strerror(errno));
			return;
		}
		if (reply_take(c, p, (size_t)n))
			return;
	}
}

/* ---- TCP: the query out, then the reply in */

/* 1: all is out, 0: later, -errno. */
static int
tcp_send(struct attempt *a)
{
	const struct upstream_call *c = a->call;
	size_t all = PREFIX + c->n;
	ssize_t n = send(a->fd, c->query + a->sent, all - a->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	a->sent += (size_t)n;
	return a->sent == all;
}

/* 1: the reply is whole, 0: later, -errno. */
static int
tcp_receive(struct attempt *a, size_t *ret_len)
{
	for (;;) {
		size_t len = (size_t)a->prefix[0] << 8 | a->prefix[1];
		bool head = a->got < PREFIX;
		uint8_t *to = head ? a->prefix + a->got : a->reply + a->got - PREFIX;
		size_t want = head ? PREFIX - a->got : PREFIX + len - a->got;
		ssize_t n;

		if (want == 0) {
			*ret_len = len;
			return 1;
		}
		n = recv(a->fd, to, want, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -EPIPE;
		a->got += (size_t)n;
		if (a->got != PREFIX || !head)
			continue;
		len = (size_t)a->prefix[0] << 8 | a->prefix[1];
		a->reply = len >= PKT_HEADER ? malloc(len) : NULL;
		if (a->reply == NULL)
			return len >= PKT_HEADER ? -ENOMEM : -EBADMSG;
	}
}

static void
tcp_ready(struct attempt *a)
{
	struct upstream_call *c = a->call;
	bool out = a->sent < PREFIX + c->n;
	size_t len = 0;
	int rc = out ? tcp_send(a) : tcp_receive(a, &len);

	if (rc < 0) {
		attempt_failed(c, strerror(-rc));
	} else if (rc > 0 && !out) {
		/* No second message will come here. */
		if (!reply_take(c, a->reply, len))
			attempt_failed(c, "an answer to another question");
	}
}

static void on_ready(uv_poll_t *h, int status, int events);

static int
poll_for(struct attempt *a)
{
	bool out = a->call->tcp && a->sent < PREFIX + a->call->n;

	return uv_poll_start(&a->poll, out ? UV_WRITABLE : UV_READABLE, on_ready);
}

static void
on_ready(uv_poll_t *h, int status, int events)
{
	struct attempt *a = h->data;
	struct upstream_call *c = a->call;
	size_t before = a->sent;
	socklen_t len = sizeof(int);
	int err = 0;

	(void)events;
	if (status < 0) {
		/* libuv says EBADF whatever the matter is: the socket knows, as that nobody listens there. */
		if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err == 0)
			err = -status;
		attempt_failed(c, strerror(err));
		return;
	}
	if (!c->tcp) {
		udp_readable(a);
		return;
	}
	tcp_ready(a);
	/* Unless that was its end, which the handle knows: a itself lives until the end of the turn. */
	if (a->call != NULL && a->sent != before && poll_for(a) < 0)
		attempt_failed(c, "no memory");
}

/* ---- a recursor being asked */

/* From a random port of ours: the kernel's own choice is of fewer (RFC 5452, 10). */
static void
bind_randomly(int fd, const union sock_addr *to)
{
	union sock_addr from = { .sa.sa_family = to->sa.sa_family };

	for (unsigned i = 0; i < PORT_TRIES; i++) {
		uint16_t port = (uint16_t)(PORT_LOWEST + randombytes_uniform(UINT16_MAX - PORT_LOWEST + 1));

		if (to->sa.sa_family == AF_INET)
			from.in.sin_port = htons(port);
		else
			from.in6.sin6_port = htons(port);
		/* Where all of them are taken the kernel finds one when it connects. */
		if (bind(fd, &from.sa, sock_addr_len(&from)) == 0 || errno != EADDRINUSE)
			return;
	}
}

/* A socket that is connected or, over TCP, begins to be; -errno. */
static int
open_socket(const union sock_addr *to, bool tcp)
{
	int fd = socket(to->sa.sa_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return -errno;
	bind_randomly(fd, to);
	if (connect(fd, &to->sa, sock_addr_len(to)) < 0 && errno != EINPROGRESS) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* Begin to ask; c->attempt is set as soon as there is something to close. */
static int
attempt_begin(struct upstream_call *c, const union sock_addr *to)
{
	struct upstream *u = c->upstream;
	struct attempt *a = calloc(1, sizeof(*a));
	int rc;

	if (a == NULL)
		return -ENOMEM;
	a->fd = open_socket(to, c->tcp);
	rc = a->fd < 0 ? a->fd : uv_poll_init(&u->loop->uv, &a->poll, a->fd);
	if (rc < 0) {
		if (a->fd >= 0)
			(void)close(a->fd);
		free(a);
		return rc;
	}
	a->poll.data = a;
	a->call = c;
	a->to = *to;
	/* The loop's own time may be older than the turn's work. */
	uv_update_time(&u->loop->uv);
	a->since_ms = uv_now(&u->loop->uv);
	c->attempt = a;
	randombytes_buf(c->query + PREFIX, 2);
	if (!c->tcp && send(a->fd, c->query + PREFIX, c->n, MSG_DONTWAIT) < 0)
		return -errno;
	return poll_for(a);
}

/* Ask the next recursor, as long as there is one. */
static void
call_next(struct upstream_call *c)
{
	struct upstream *u = c->upstream;
	int rc;

	while (c->next < c->nrecursors) {
		const struct settings *s = *u->settings;
		size_t i = c->order[c->next++];

		/* A reload may have left fewer. */
		if (i >= s->nrecursors)
			continue;
		metric_add(u->asked, 1);
		rc = attempt_begin(c, &s->recursors[i]);
		if (rc == 0)
			return;
		note_failure(u, &s->recursors[i], err_text(rc));
		attempt_end(c);
	}
	loop_defer(u->loop, DEFER_WORK, &c->failed);
}

static void
set_order(struct upstream_call *c, const struct settings *s)
{
	c->nrecursors = s->nrecursors;
	for (size_t i = 0; i < c->nrecursors; i++) {
		size_t k = s->recursor_random ? randombytes_uniform((uint32_t)i + 1) : i;

		c->order[i] = c->order[k];
		c->order[k] = (uint8_t)i;
	}
}

/* Sockets upstream leave half of the descriptors to everything else, above all to clients and raftd. */
static size_t
calls_max(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur / 2 > UPSTREAM_CALLS_MAX)
		return UPSTREAM_CALLS_MAX;
	return (size_t)r.rlim_cur / 2;
}

/* As many descriptors as we may have for the asking, within reason. */
static void
raise_limit(void)
{
	rlim_t want = 4 * UPSTREAM_CALLS_MAX;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= want)
		return;
	r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_debug(LOG, "the limit on descriptors stays: error=\"%s\"", strerror(errno));
}

struct upstream_call *
upstream_ask(struct upstream *u, const uint8_t *query, size_t n, bool tcp,
    void (*done)(void *arg, const uint8_t *reply, size_t len), void *arg)
{
	const struct settings *s = *u->settings;
	struct upstream_call *c;
	struct msg m;

	if (u->ncalls >= calls_max() || s->nrecursors == 0 || n > PKT_TCP_MAX || msg_read(&m, query, n) < 0 ||
	    m.count[0] != 1)
		return NULL;
	c = calloc(1, sizeof(*c) + PREFIX + n);
	if (c == NULL)
		return NULL;
	c->upstream = u;
	c->failed.cb = on_failed;
	c->done = done;
	c->arg = arg;
	c->tcp = tcp;
	c->id = m.id;
	c->n = n;
	c->question_end = m.question_end;
	c->query[0] = (uint8_t)(n >> 8);
	c->query[1] = (uint8_t)n;
	memcpy(c->query + PREFIX, query, n);
	/* A recursor that is not asked to recurse has nothing to say. */
	c->query[PREFIX + 2] |= FLAG_RD >> 8;
	set_order(c, s);
	TAILQ_INSERT_TAIL(&u->calls, c, in_list);
	if (u->ncalls++ == 0)
		(void)uv_timer_start(u->expire, on_expire, EXPIRE_MS, EXPIRE_MS);
	call_next(c);
	return c;
}

size_t
upstream_calls(const struct upstream *u)
{
	return u->ncalls;
}

/* ---- the whole */

struct upstream *
upstream_new(struct loop *l, struct settings *const *settings)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->loop = l;
	u->settings = settings;
	TAILQ_INIT(&u->calls);
	raise_limit();
	u->asked = metric_get("dns.recursor.asked", METRIC_COUNTER);
	u->failed = metric_get("dns.recursor.failed", METRIC_COUNTER);
	u->scratch = malloc(UPSTREAM_REPLY_MAX);
	u->expire = malloc(sizeof(*u->expire));
	if (u->expire != NULL) {
		(void)uv_timer_init(&l->uv, u->expire);
		u->expire->data = u;
	}
	if (u->scratch == NULL || u->expire == NULL) {
		upstream_free(u);
		return NULL;
	}
	return u;
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

void
upstream_free(struct upstream *u)
{
	struct upstream_call *c;

	if (u == NULL)
		return;
	while ((c = TAILQ_FIRST(&u->calls)) != NULL)
		upstream_cancel(c);
	if (u->expire != NULL)
		uv_close((uv_handle_t *)u->expire, timer_closed);
	free(u->scratch);
	free(u);
}
