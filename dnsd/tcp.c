/* tcp.c - connections with length-prefixed questions and answers. */
#include "dnsd/tcp.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/log.h"

#define LOG "agent.dns"

enum { LISTENERS_MAX = 64, READ_SIZE = 64 * 1024, SWEEP_MS = 1000, PREFIX = 2 };

struct conn {
	uv_tcp_t handle;
	uv_write_t write;
	TAILQ_ENTRY(conn) in_list;	/* longest idle first */
	struct tcp *tcp;
	struct asker who;
	struct defer flush;
	struct buf in, out, sending;	/* in: what came behind the last whole question */
	uint64_t active_ms;
	size_t queued;			/* bytes that libuv had not got rid of when we looked last */
	unsigned waiting;
	bool writing, eof, paused;
	bool broken;			/* an answer is lost: closed at the end of the turn */
};

struct listener {
	uv_tcp_t handle;
	struct tcp *tcp;
};

struct tcp {
	struct loop *loop;
	struct serve *serve;
	struct listener *listeners[LISTENERS_MAX];
	size_t nlisteners, nconns;
	size_t buffered;		/* answers not taken */
	TAILQ_HEAD(, conn) conns;
	uv_timer_t *sweep;
	uint8_t *scratch;		/* READ_SIZE to read into, then PKT_TCP_MAX for an answer */
	bool stopped;
};

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b);
static void conn_flush(struct defer *d);

/* ---- a connection's end */

static void
conn_freed(uv_handle_t *h)
{
	struct conn *c = h->data;

	buf_release(&c->in);
	buf_release(&c->out);
	buf_release(&c->sending);
	free(c);
}

static void
conn_close(struct conn *c)
{
	struct tcp *t = c->tcp;

	if (uv_is_closing((uv_handle_t *)&c->handle))
		return;
	serve_forget(t->serve, c);
	t->buffered -= c->out.len + c->sending.len;
	loop_undefer(t->loop, DEFER_FLUSH, &c->flush);
	TAILQ_REMOVE(&t->conns, c, in_list);
	if (--t->nconns == 0 && t->sweep != NULL)
		(void)uv_timer_stop(t->sweep);
	uv_close((uv_handle_t *)&c->handle, conn_freed);
}

static void
conn_active(struct conn *c)
{
	c->active_ms = uv_now(&c->tcp->loop->uv);
	TAILQ_REMOVE(&c->tcp->conns, c, in_list);
	TAILQ_INSERT_TAIL(&c->tcp->conns, c, in_list);
}

/* Whether the other end has taken some of what is being written, however slowly. */
static bool
conn_takes(struct conn *c)
{
	size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->handle), before = c->queued;

	c->queued = left;
	return left < before;
}

static void
on_sweep(uv_timer_t *timer)
{
	struct tcp *t = timer->data;
	uint64_t now = uv_now(&t->loop->uv);
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&t->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_list);
		/* A question that waits has its own end, and its client cannot do anything. */
		if (conn_takes(c) || c->waiting > 0)
			conn_active(c);
		else if (now - c->active_ms >= TCP_IDLE_MS)
			conn_close(c);
	}
}

/* ---- answers out */

static int
conn_put(struct conn *c, const uint8_t *reply, size_t len)
{
	uint8_t prefix[PREFIX] = { (uint8_t)(len >> 8), (uint8_t)len };
	int rc = buf_reserve(&c->out, PREFIX + len);

	if (rc == 0)
		rc = buf_add(&c->out, prefix, PREFIX);
	if (rc == 0)
		rc = buf_add(&c->out, reply, len);
	if (rc == 0)
		c->tcp->buffered += PREFIX + len;
	loop_defer(c->tcp->loop, DEFER_FLUSH, &c->flush);
	return rc;
}

static void
deliver(const struct asker *a, const uint8_t *reply, size_t len)
{
	struct conn *c = a->transport;

	c->waiting--;
	/* Nothing may be closed here: other answers are on their way. */
	if (conn_put(c, reply, len) < 0)
		c->broken = true;
}

static bool
conn_busy(const struct conn *c)
{
	size_t most = c->tcp->buffered < TCP_OUT_ALL ? TCP_OUT_HIGH : 1;

	return c->waiting >= TCP_WAITING_MAX || c->out.len + c->sending.len >= most;
}

/* ---- questions in */

static bool
conn_question(struct conn *c, const uint8_t *p, size_t len)
{
	uint8_t *out = c->tcp->scratch + READ_SIZE;
	uint64_t since_ns = clock_ns();
	int n = serve_query(c->tcp->serve, &c->who, p, len, out, PKT_TCP_MAX);

	conn_active(c);
	if (n == SERVE_LATER) {
		c->waiting++;
		return true;
	}
	serve_took(c->tcp->serve, 1, (double)(clock_ns() - since_ns) / 1e6);
	/* What deserves no answer over UDP is no DNS over TCP. */
	return n > 0 && conn_put(c, out, (size_t)n) == 0;
}

/* Answer the whole questions in p, as long as answers flow. Bytes used, or -1: close. */
static ssize_t
conn_questions(struct conn *c, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (n - at >= PREFIX && !conn_busy(c)) {
		size_t len = (size_t)p[at] << 8 | p[at + 1];

		if (len < PKT_HEADER)
			return -1;
		if (n - at - PREFIX < len)
			break;
		if (!conn_question(c, p + at + PREFIX, len))
			return -1;
		at += PREFIX + len;
	}
	return (ssize_t)at;
}

static void
on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	struct conn *c = h->data;

	(void)want;
	*b = uv_buf_init((char *)c->tcp->scratch, READ_SIZE);
}

/* Read when there is room for answers; end when nothing can come any more. */
static void
conn_settle(struct conn *c)
{
	bool pause = c->eof || c->tcp->stopped || conn_busy(c);

	if ((c->eof || c->tcp->stopped) && c->waiting == 0 && c->out.len == 0 && !c->writing) {
		conn_close(c);
		return;
	}
	if (pause == c->paused)
		return;
	c->paused = pause;
	if (pause)
		(void)uv_read_stop((uv_stream_t *)&c->handle);
	else if (uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read) < 0)
		conn_close(c);
}

/* Go on with the questions that had to wait for room. */
static void
conn_go_on(struct conn *c)
{
	ssize_t used = conn_questions(c, c->in.data, c->in.len);

	if (used < 0) {
		conn_close(c);
		return;
	}
	buf_consume(&c->in, (size_t)used);
	if (c->in.len == 0)
		buf_release(&c->in);
	conn_settle(c);
}

static void
on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct conn *c = h->data;
	const uint8_t *p = (const uint8_t *)b->base;
	ssize_t used = 0;

	if (n == 0)
		return;
	if (n < 0) {
		if (n != UV_EOF) {
			conn_close(c);
			return;
		}
		c->eof = true;
		conn_settle(c);
		return;
	}
	if (c->in.len == 0)
		used = conn_questions(c, p, (size_t)n);
	if (used < 0 || buf_add(&c->in, p + used, (size_t)(n - used)) < 0) {
		conn_close(c);
		return;
	}
	if (used == 0)
		conn_go_on(c);
	else
		conn_settle(c);
}

/* ---- writing */

static void
on_written(uv_write_t *w, int status)
{
	struct conn *c = w->data;

	c->writing = false;
	/* What was closed has been accounted for. */
	if (!uv_is_closing((uv_handle_t *)&c->handle))
		c->tcp->buffered -= c->sending.len;
	buf_release(&c->sending);
	if (uv_is_closing((uv_handle_t *)&c->handle))
		return;
	if (status < 0) {
		conn_close(c);
		return;
	}
	conn_active(c);
	conn_flush(&c->flush);
	if (!uv_is_closing((uv_handle_t *)&c->handle))
		conn_go_on(c);
}

/* At the end of a turn all its answers go in one write. */
static void
conn_flush(struct defer *d)
{
	struct conn *c = (struct conn *)(void *)((char *)d - offsetof(struct conn, flush));
	uv_stream_t *h = (uv_stream_t *)&c->handle;
	uv_buf_t b = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
	int n;

	if (c->broken) {
		conn_close(c);
		return;
	}
	if (c->writing)
		return;
	n = c->out.len > 0 ? uv_try_write(h, &b, 1) : 0;
	if (n < 0 && n != UV_EAGAIN) {
		conn_close(c);
		return;
	}
	if (n > 0) {
		buf_consume(&c->out, (size_t)n);
		c->tcp->buffered -= (size_t)n;
	}
	if (c->out.len == 0) {
		buf_release(&c->out);
		conn_go_on(c);
		return;
	}
	c->sending = c->out;
	buf_init(&c->out, c->sending.max);
	b = uv_buf_init((char *)c->sending.data, (unsigned)c->sending.len);
	c->write.data = c;
	c->writing = true;
	if (uv_write(&c->write, h, &b, 1, on_written) < 0)
		conn_close(c);
}

/* ---- listening */

static struct conn *
conn_new(struct tcp *t)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL || uv_tcp_init(&t->loop->uv, &c->handle) < 0) {
		free(c);
		return NULL;
	}
	c->handle.data = c;
	c->tcp = t;
	c->flush.cb = conn_flush;
	c->who = (struct asker){ .deliver = deliver, .transport = c, .tcp = true };
	buf_init(&c->in, READ_SIZE + PREFIX + PKT_TCP_MAX);
	buf_init(&c->out, TCP_OUT_MAX);
	buf_init(&c->sending, c->out.max);
	c->active_ms = uv_now(&t->loop->uv);
	TAILQ_INSERT_TAIL(&t->conns, c, in_list);
	if (t->nconns++ == 0)
		(void)uv_timer_start(t->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	return c;
}

/* Whether two addresses are the same client's, as far as one can tell. */
static bool
same_client(const union sock_addr *a, const union sock_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) ? 16 : 8) == 0;
}

/* Nobody keeps the others out: one client has its share of the connections. */
static void
share(struct conn *c)
{
	struct conn *v, *oldest = NULL;
	size_t n = 0;

	TAILQ_FOREACH(v, &c->tcp->conns, in_list) {
		if (v == c || !same_client(&v->who.peer, &c->who.peer))
			continue;
		if (n++ == 0)
			oldest = v;
	}
	if (n >= TCP_CLIENT_CONNS_MAX)
		conn_close(oldest);
}

static void
on_connection(uv_stream_t *h, int status)
{
	struct listener *l = h->data;
	struct tcp *t = l->tcp;
	struct conn *c;
	int len = sizeof(c->who.peer);

	if (status < 0)
		return;
	if (t->nconns >= TCP_CONNS_MAX)
		conn_close(TAILQ_FIRST(&t->conns));
	c = conn_new(t);
	if (c == NULL)
		return;
	if (uv_accept(h, (uv_stream_t *)&c->handle) < 0 ||
	    uv_tcp_getpeername(&c->handle, &c->who.peer.sa, &len) < 0 ||
	    uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read) < 0) {
		conn_close(c);
		return;
	}
	(void)uv_tcp_nodelay(&c->handle, 1);
	share(c);
}

static void
listener_closed(uv_handle_t *h)
{
	free(h->data);
}

int
tcp_listen(struct tcp *t, int fd)
{
	struct listener *l = t->nlisteners < LISTENERS_MAX ? calloc(1, sizeof(*l)) : NULL;
	int rc;

	if (l == NULL || uv_tcp_init(&t->loop->uv, &l->handle) < 0) {
		free(l);
		(void)close(fd);
		return -ENOMEM;
	}
	l->tcp = t;
	l->handle.data = l;
	rc = uv_tcp_open(&l->handle, fd);
	if (rc < 0)
		(void)close(fd);
	else
		rc = uv_listen((uv_stream_t *)&l->handle, TCP_BACKLOG, on_connection);
	if (rc < 0) {
		uv_close((uv_handle_t *)&l->handle, listener_closed);
		return rc;
	}
	t->listeners[t->nlisteners++] = l;
	return 0;
}

/* ---- the whole */

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

struct tcp *
tcp_new(struct loop *l, struct serve *s)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->loop = l;
	t->serve = s;
	TAILQ_INIT(&t->conns);
	t->scratch = malloc(READ_SIZE + PKT_TCP_MAX);
	t->sweep = malloc(sizeof(*t->sweep));
	if (t->sweep != NULL) {
		(void)uv_timer_init(&l->uv, t->sweep);
		t->sweep->data = t;
	}
	if (t->scratch == NULL || t->sweep == NULL) {
		tcp_free(t);
		return NULL;
	}
	return t;
}

void
tcp_stop(struct tcp *t)
{
	struct conn *c, *next;

	t->stopped = true;
	for (size_t i = 0; i < t->nlisteners; i++)
		uv_close((uv_handle_t *)&t->listeners[i]->handle, listener_closed);
	t->nlisteners = 0;
	for (c = TAILQ_FIRST(&t->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_list);
		conn_settle(c);
	}
}

void
tcp_free(struct tcp *t)
{
	struct conn *c;

	if (t == NULL)
		return;
	tcp_stop(t);
	while ((c = TAILQ_FIRST(&t->conns)) != NULL)
		conn_close(c);
	if (t->sweep != NULL)
		uv_close((uv_handle_t *)t->sweep, timer_closed);
	free(t->scratch);
	free(t);
}

size_t
tcp_conns(const struct tcp *t)
{
	return t->nconns;
}
