/* stream.c - the TCP streams of one pool: one exchange a connection. */
#include "gossipd/stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gossipd/gossipd.h"

enum conn_kind { CONN_IN, CONN_EXCHANGE, CONN_PING };

struct conn {
	struct conn *next, **at;
	struct streams *s;
	enum conn_kind kind;
	bool join, old_events;
	bool connected, answering, ended;
	uint32_t seqno;
	struct gossip_addr peer;
	uv_tcp_t tcp;
	uv_timer_t timer;
	int handles;			/* that libuv has not let go of */
	uv_connect_t connect;
	uv_write_t write;
	struct buf out;
	struct stream_reader *reader;
	bool asked;			/* somebody here waits for what comes */
	size_t received;
	size_t held, answer;		/* bytes that are counted in bytes and answers of all */
	exchange_done *done;
	void *ctx;
	char name[WIRE_NAME_MAX];	/* CONN_PING: whom we mean */
	size_t name_len;
};

static struct pool *
pool_of(const struct conn *c)
{
	return c->s->p;
}

/* For what nobody here waits for. */
static size_t
room(const struct streams *s)
{
	return STREAM_ROOM + STREAM_ROOM_PER_NODE * swim_count(serf_swim(s->p->serf));
}

/* ---- end */

static void
on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->handles > 0)
		return;
	buf_release(&c->out);
	free(c);
}

/* The connection is over; whoever waits for it is told why. */
static void
end(struct conn *c, int rc, const char *why)
{
	struct streams *s = c->s;
	exchange_done *done = c->done;

	if (c->ended)
		return;
	c->ended = true;
	c->done = NULL;
	*c->at = c->next;
	if (c->next != NULL)
		c->next->at = c->at;
	if (c->kind == CONN_IN)
		s->nin--;
	else
		s->nout--;
	s->bytes -= c->held;
	s->answers -= c->answer;
	stream_reader_free(c->reader);
	c->reader = NULL;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
	if (done != NULL)
		done(c->ctx, rc, why);
}

/* The same for a fault of the other end: counted and logged. */
static void
fault(struct conn *c, uint64_t *count, int rc, const char *why)
{
	struct pool *p = pool_of(c);
	char text[SOCK_ADDR_TEXT_MAX];
	const char *note;

	(*count)++;
	if (c->done == NULL && log_allowed(&c->s->faults, clock_ms(), &note)) {
		addr_text(&c->peer, text);
		log_warn(p->log_swim, "memberlist: stream failed: %s=%s reason=\"%s\"%s", c->kind == CONN_IN ? "from" : "to", text, why, note);
	}
	end(c, rc, why);
}

static void
on_deadline(uv_timer_t *t)
{
	struct conn *c = t->data;
	char why[SOCK_ADDR_TEXT_MAX + 64], text[SOCK_ADDR_TEXT_MAX];

	if (c->kind == CONN_PING) {
		end(c, -ETIMEDOUT, "");
		return;
	}
	addr_text(&c->peer, text);
	if (c->connected)
		snprintf(why, sizeof(why), "read tcp %s: i/o timeout", text);
	else
		snprintf(why, sizeof(why), "dial tcp %s: i/o timeout", text);
	fault(c, &c->s->counts.late, -ETIMEDOUT, why);
}

/* ---- out */

static void
on_written(uv_write_t *w, int status)
{
	struct conn *c = w->handle->data;

	if (c->ended)
		return;
	buf_release(&c->out);
	if (status < 0)
		fault(c, &c->s->counts.cut, status, uv_strerror(status));
	else if (c->kind == CONN_IN)
		end(c, 0, NULL);
}

/* Send a plain message, wrapped. */
static int
send_plain(struct conn *c, const struct buf *plain)
{
	struct pool *p = pool_of(c);
	int rc = stream_wrap(&p->stream_out, (struct str){ (const char *)plain->data, plain->len }, c->kind != CONN_IN, &c->out);
	uv_buf_t b;

	buf_shrink(&p->stream_out.a, STREAM_SCRATCH_KEEP);
	buf_shrink(&p->stream_out.b, STREAM_SCRATCH_KEEP);
	if (rc < 0)
		return rc;
	if (c->out.len > UINT32_MAX)
		return -ELIMIT;
	b = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
	c->s->counts.sent_bytes += c->out.len;
	return uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
}

/* What we have to say on a connection of ours, or as the answer to a push/pull. */
static int
send_state(struct conn *c, bool join)
{
	struct buf plain = BUF_INIT(STREAM_OUT_MAX);
	int rc = swim_put_state(serf_swim(pool_of(c)->serf), join, &plain);

	if (rc == 0)
		rc = send_plain(c, &plain);
	buf_release(&plain);
	return rc;
}

static int
send_message(struct conn *c, uint8_t type, const struct record *rec, const void *msg)
{
	struct buf plain = BUF_INIT(WIRE_PACKET_MAX);
	int rc = wire_put(&plain, type, rec, msg);

	if (rc == 0)
		rc = send_plain(c, &plain);
	buf_release(&plain);
	return rc;
}

/* ---- in */

static int
merge(struct conn *c, const struct stream_message *m, bool join, char err[256])
{
	struct pool *p = pool_of(c);
	bool ignore = c->kind == CONN_EXCHANGE && c->join && !c->old_events;
	uint64_t now = clock_ns();
	int rc;

	if (ignore)
		serf_ignore_old_events(p->serf, true);
	rc = swim_merge(serf_swim(p->serf), now, m->rows, m->nrows, m->user_state, join, err);
	if (ignore)
		serf_ignore_old_events(p->serf, false);
	if (rc < 0)
		c->s->counts.merges_refused++;
	pool_touch(p);
	return rc;
}

/* How much waits for those who ask: counted when it is put on its way, until the connection ends. */
static bool
crowded(struct conn *c)
{
	if (c->s->answers <= STREAMS_ANSWERS_MAX)
		return false;
	fault(c, &c->s->counts.crowded, -EBUSY, "too many answers are on their way");
	return true;
}

/* The answer goes first: a joiner that we refuse sees a pool all the same, as everywhere. */
static void
asked_push_pull(struct conn *c, const struct stream_message *m)
{
	struct pool *p = pool_of(c);
	char err[256] = "", text[SOCK_ADDR_TEXT_MAX];
	const char *note;
	int rc;

	if (crowded(c))
		return;
	rc = send_state(c, m->join);
	c->answer = c->out.len;
	c->s->answers += c->answer;
	if (rc < 0) {
		fault(c, &c->s->counts.cut, rc, err_text(rc));
		return;
	}
	rc = merge(c, m, m->join, err);
	if (rc < 0 && log_allowed(&p->refusals, clock_ms(), &note)) {
		addr_text(&c->peer, text);
		log_warn(p->log_swim, "memberlist: Failed push/pull merge: %s from=%s%s", err, text, note);
	}
}

static void
asked_ping(struct conn *c, const struct stream_message *m)
{
	struct arena a = ARENA_INIT(4 * KiB);
	struct msg_ping ping;
	struct msg_ack ack = { 0 };
	int rc = wire_get(m->body, &rec_msg_ping, &ping, &a, NULL);

	if (rc == 0 && ping.node.len > 0 && !str_eq(ping.node, pool_of(c)->self.name))
		rc = -ENOENT;
	if (rc == 0) {
		ack.seqno = ping.seqno;
		rc = send_message(c, WIRE_ACK, &rec_msg_ack, &ack);
	}
	arena_release(&a);
	if (rc < 0)
		fault(c, &c->s->counts.malformed, rc, rc == -ENOENT ? "a ping for another node" : err_text(rc));
}

static void
handle_asked(struct conn *c, const struct stream_message *m)
{
	struct pool *p = pool_of(c);

	c->answering = true;
	switch (m->type) {
	case WIRE_PUSH_PULL:
		asked_push_pull(c, m);
		break;
	case WIRE_PING:
		asked_ping(c, m);
		break;
	case WIRE_USER:
		swim_message(serf_swim(p->serf), clock_ns(), &c->peer, WIRE_USER, m->body);
		pool_touch(p);
		end(c, 0, NULL);
		break;
	default:
		fault(c, &c->s->counts.malformed, -EDECODE, "not a message that begins a stream");
		break;
	}
}

static void
answered_ping(struct conn *c, const struct stream_message *m)
{
	struct arena a = ARENA_INIT(4 * KiB);
	struct pool *p = pool_of(c);
	struct msg_ack ack;

	if (m->type == WIRE_ACK && wire_get(m->body, &rec_msg_ack, &ack, &a, NULL) == 0 && ack.seqno == c->seqno) {
		swim_stream_acked(serf_swim(p->serf), clock_ns(), c->seqno);
		pool_touch(p);
	}
	arena_release(&a);
	end(c, 0, NULL);
}

static void
handle_answer(struct conn *c, const struct stream_message *m)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct pool *p = pool_of(c);
	struct msg_error e = { STR_NONE };
	char err[256] = "", why[400], text[SOCK_ADDR_TEXT_MAX];
	const char *note;
	int rc;

	if (c->kind == CONN_PING) {
		answered_ping(c, m);
		return;
	}
	if (m->type == WIRE_ERROR) {
		rc = wire_get(m->body, &rec_msg_error, &e, &a, NULL);
		snprintf(why, sizeof(why), "remote error: %.*s", rc == 0 ? (int)(e.error.len < 256 ? e.error.len : 256) : 0,
		    e.error.p != NULL ? e.error.p : "");
		arena_release(&a);
		end(c, -EPROTO, why);
		return;
	}
	if (m->type != WIRE_PUSH_PULL) {
		fault(c, &c->s->counts.malformed, -EDECODE, "the answer is no push/pull");
		return;
	}
	rc = merge(c, m, c->join, err);
	if (rc < 0 && c->done == NULL && log_allowed(&p->refusals, clock_ms(), &note)) {
		addr_text(&c->peer, text);
		log_warn(p->log_swim, "memberlist: Push/Pull with %s failed: %s%s", text, err, note);
	}
	end(c, rc, err);
}

/* It cannot be read: who sent it is told so, as far as that is possible. */
static void
unreadable(struct conn *c, int rc, const char *why)
{
	struct msg_error e = { str_from(why) };

	c->s->counts.malformed++;
	if (c->kind == CONN_IN && !c->answering) {
		char text[SOCK_ADDR_TEXT_MAX];
		const char *note;

		c->answering = true;
		if (log_allowed(&c->s->faults, clock_ms(), &note)) {
			addr_text(&c->peer, text);
			log_warn(pool_of(c)->log_swim, "memberlist: failed to receive: from=%s reason=\"%s\"%s", text, why, note);
		}
		stream_reader_free(c->reader);
		c->reader = NULL;
		if (send_message(c, WIRE_ERROR, &rec_msg_error, &e) == 0)
			return;
	}
	end(c, rc, why);
}

/* Count what came; false: all that came unasked is too much together. */
static bool
hold(struct conn *c, size_t n)
{
	if (c->asked)
		return true;
	c->held += n;
	c->s->bytes += n;
	return c->received <= STREAM_SMALL || c->s->bytes <= STREAMS_IN_MAX * STREAM_SMALL + 2 * room(c->s);
}

static void
got(struct conn *c, const char *bytes, size_t n)
{
	struct pool *p = pool_of(c);
	const char *why = "";
	int rc;

	/* What follows the one message of a stream is not looked at. */
	if (c->answering)
		return;
	c->s->counts.received_bytes += n;
	c->received += n;
	if (!hold(c, n)) {
		unreadable(c, -ELIMIT, "too much is being received at a time");
		return;
	}
	rc = stream_reader_add(c->reader, bytes, n, &why);
	buf_shrink(&p->stream_in.a, STREAM_SCRATCH_KEEP);
	buf_shrink(&p->stream_in.b, STREAM_SCRATCH_KEEP);
	if (rc < 0) {
		unreadable(c, rc, why != NULL && why[0] != '\0' ? why : err_text(rc));
	} else if (rc > 0 && c->kind == CONN_IN) {
		handle_asked(c, stream_reader_message(c->reader));
		/* It may hold much, and is not needed while the answer is on its way. */
		if (!c->ended) {
			stream_reader_free(c->reader);
			c->reader = NULL;
			c->s->bytes -= c->held;
			c->held = 0;
		}
	} else if (rc > 0) {
		handle_answer(c, stream_reader_message(c->reader));
	}
}

static void
on_alloc(uv_handle_t *h, size_t want, uv_buf_t *ret)
{
	static char bytes[64 * 1024];	/* taken up before the next read */

	(void)h;
	(void)want;
	*ret = uv_buf_init(bytes, sizeof(bytes));
}

static void
on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct conn *c = h->data;
	char why[SOCK_ADDR_TEXT_MAX + 64], text[SOCK_ADDR_TEXT_MAX];

	if (c->ended || n == 0)
		return;
	if (n > 0) {
		got(c, b->base, (size_t)n);
		return;
	}
	/* Our answer is on its way: its end is told by the write. */
	if (c->answering) {
		(void)uv_read_stop(h);
		return;
	}
	if (c->kind == CONN_IN && c->received == 0) {
		end(c, 0, NULL);
		return;
	}
	addr_text(&c->peer, text);
	snprintf(why, sizeof(why), "read tcp %s: %s", text, n == UV_EOF ? "EOF" : n == -ECONNRESET ? "connection reset by peer" : uv_strerror((int)n));
	fault(c, &c->s->counts.cut, n == UV_EOF ? -ECLOSED : (int)n, why);
}

/* ---- a new one */

static struct conn *
conn_new(struct streams *s, enum conn_kind kind, bool asked)
{
	struct pool *p = s->p;
	struct conn *c = calloc(1, sizeof(*c));
	uv_loop_t *uv = &p->g->d->loop.uv;

	if (c == NULL)
		return NULL;
	c->s = s;
	c->kind = kind;
	c->asked = asked;
	buf_init(&c->out, STREAM_OUT_MAX);
	c->reader = stream_reader_new(&p->stream_in, kind != CONN_IN, asked || room(s) > STREAM_IN_MAX ? STREAM_IN_MAX : room(s));
	if (c->reader != NULL && !asked)
		stream_reader_bound(c->reader, room(s));
	if (c->reader == NULL || uv_timer_init(uv, &c->timer) < 0 || uv_tcp_init(uv, &c->tcp) < 0) {
		stream_reader_free(c->reader);
		/* A timer that was never started is not known to the loop by more than its list. */
		if (c->timer.loop != NULL) {
			c->timer.data = c;
			c->handles = 1;
			uv_close((uv_handle_t *)&c->timer, on_closed);
		} else {
			free(c);
		}
		return NULL;
	}
	c->handles = 2;
	c->tcp.data = c->timer.data = c;
	c->next = s->conns;
	c->at = &s->conns;
	if (c->next != NULL)
		c->next->at = &c->next;
	s->conns = c;
	if (kind == CONN_IN)
		s->nin++;
	else
		s->nout++;
	return c;
}

/* ---- turned away */

static void
on_refused_closed(uv_handle_t *h)
{
	free(h);
}

static void turn_away(struct streams *s);

static void
on_spare_closed(uv_handle_t *h)
{
	struct streams *s = h->data;
	bool stalled = s->stalled;

	s->spare_used = s->stalled = false;
	if (stalled && s->open)
		turn_away(s);
}

/*
 * A connection that is not wanted is taken and closed: it must not wait in the backlog, and libuv hears of no other
 * before it is taken. Without memory there is one handle that is used again and again.
 */
static void
turn_away(struct streams *s)
{
	uv_tcp_t *t = malloc(sizeof(*t));
	bool spare = t == NULL;

	if (spare && s->spare_used) {
		s->stalled = true;
		return;
	}
	s->spare_used |= spare;
	t = spare ? &s->spare : t;
	if (uv_tcp_init(s->listener.loop, t) < 0)
		log_fatal(s->p->log_swim, "gossipd: a handle cannot be initialised");
	t->data = s;
	(void)uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)t);
	uv_close((uv_handle_t *)t, spare ? on_spare_closed : on_refused_closed);
}

/* ---- begin */

static void
on_connection(uv_stream_t *listener, int status)
{
	struct streams *s = listener->data;
	struct pool *p = s->p;
	union sock_addr sa = { 0 };
	int len = sizeof(sa), rc;
	struct conn *c;

	if (status < 0)
		return;
	s->counts.accepted++;
	if (p->closed || s->nin >= STREAMS_IN_MAX) {
		s->counts.crowded++;
		turn_away(s);
		return;
	}
	c = conn_new(s, CONN_IN, false);
	if (c == NULL) {
		turn_away(s);
		return;
	}
	rc = uv_accept(listener, (uv_stream_t *)&c->tcp);
	if (rc == 0)
		rc = uv_tcp_getpeername(&c->tcp, &sa.sa, &len);
	if (rc == 0)
		rc = addr_from_sock(&sa, &c->peer);
	if (rc == 0 && !cidrs_allow(&p->allowed, &c->peer)) {
		fault(c, &s->counts.strangers, -EACCES, "not from a network that is allowed");
		return;
	}
	c->connected = true;
	if (rc == 0)
		rc = uv_timer_start(&c->timer, on_deadline, s->deadline_ms, 0);
	if (rc == 0)
		rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	if (rc < 0)
		end(c, rc, uv_strerror(rc));
}

static void
on_connect(uv_connect_t *req, int status)
{
	struct conn *c = req->handle->data;
	char why[SOCK_ADDR_TEXT_MAX + 128], text[SOCK_ADDR_TEXT_MAX];
	struct msg_ping ping = { .seqno = c->seqno, .node = { c->name, c->name_len } };
	int rc;

	if (c->ended)
		return;
	if (status < 0) {
		/* As Go's dialer says it. */
		addr_text(&c->peer, text);
		snprintf(why, sizeof(why), "dial tcp %s: connect: %s", text,
		    status == -ECONNREFUSED ? "connection refused" : uv_strerror(status));
		c->s->counts.undialled++;
		end(c, status, why);
		return;
	}
	c->connected = true;
	rc = c->kind == CONN_PING ? send_message(c, WIRE_PING, &rec_msg_ping, &ping) : send_state(c, c->join);
	if (rc == 0)
		rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	if (rc < 0)
		fault(c, &c->s->counts.cut, rc, err_text(rc));
}

/* From the address that we listen on, when it is one: others may let only that one in. */
static int
bind_own(struct conn *c, const union sock_addr *to)
{
	struct gossip_addr from;
	union sock_addr sa;
	int fd, on = 1, rc;

	fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = addr_parse(pool_of(c)->bind_ip, 0, &from);
	if (rc == 0 && from.len == c->peer.len && memcmp(from.ip, (uint8_t[16]){ 0 }, 16) != 0) {
		addr_to_sock(&from, &sa);
		/* The port is chosen at connect(): only together with the other end must it be unique. */
		if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
		    bind(fd, &sa.sa, sock_addr_len(&sa)) < 0)
			rc = -errno;
	}
	if (rc == 0)
		rc = uv_tcp_open(&c->tcp, fd);
	if (rc < 0)
		(void)close(fd);
	return rc;
}

static int
dial(struct conn *c, const struct gossip_addr *to, uint64_t timeout_ms)
{
	union sock_addr sa;
	int rc;

	c->peer = *to;
	c->s->counts.dialled++;
	addr_to_sock(to, &sa);
	rc = bind_own(c, &sa);
	if (rc == 0)
		rc = uv_tcp_connect(&c->connect, &c->tcp, &sa.sa, on_connect);
	if (rc == 0)
		rc = uv_timer_start(&c->timer, on_deadline, timeout_ms, 0);
	if (rc < 0) {
		c->s->counts.undialled++;
		c->done = NULL;
		end(c, rc, "");
	}
	return rc;
}

int
streams_exchange(struct streams *s, const struct gossip_addr *to, bool join, bool old_events, exchange_done *done, void *ctx)
{
	struct conn *c;

	if (!s->open || s->p->closed || to->len == 0 || to->port == 0)
		return -ENETDOWN;
	if (done == NULL && s->nout >= STREAMS_OUT_MAX) {
		s->counts.undialled++;
		return -EBUSY;
	}
	c = conn_new(s, CONN_EXCHANGE, done != NULL);
	if (c == NULL)
		return -ENOMEM;
	c->join = join;
	c->old_events = old_events;
	c->done = done;
	c->ctx = ctx;
	return dial(c, to, s->deadline_ms);
}

void
streams_forget(struct streams *s, const void *ctx)
{
	for (struct conn *c = s->conns; c != NULL; c = c->next)
		if (c->done != NULL && c->ctx == ctx)
			c->done = NULL;
}

void
streams_ping(struct streams *s, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	uint64_t now = clock_ns();
	struct conn *c;

	if (!s->open || s->p->closed || to->len == 0 || to->port == 0 || deadline <= now || name.len > WIRE_NAME_MAX)
		return;
	if (s->nout >= STREAMS_OUT_MAX) {
		s->counts.undialled++;
		return;
	}
	c = conn_new(s, CONN_PING, false);
	if (c == NULL)
		return;
	c->seqno = seqno;
	memcpy(c->name, name.p, name.len);
	c->name_len = name.len;
	/* What keeps it from beginning is counted there, and as good as no answer. */
	(void)dial(c, to, (deadline - now) / 1000000 + 1);
}

/* ---- life */

int
streams_open(struct streams *s, struct pool *p, int fd, uint32_t deadline_ms)
{
	int rc;

	*s = (struct streams){ .p = p, .deadline_ms = deadline_ms };
	rc = uv_tcp_init(&p->g->d->loop.uv, &s->listener);
	if (rc == 0) {
		s->open = true;
		s->listener.data = s;
		rc = uv_tcp_open(&s->listener, fd);
	}
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return uv_listen((uv_stream_t *)&s->listener, STREAMS_IN_MAX, on_connection);
}

void
streams_close(struct streams *s)
{
	struct conn *c;

	while ((c = s->conns) != NULL) {
		c->done = NULL;
		end(c, -ECLOSED, "");
	}
	if (s->open)
		uv_close((uv_handle_t *)&s->listener, NULL);
	s->open = false;
}
