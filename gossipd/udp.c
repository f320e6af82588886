/* udp.c - the datagrams of one pool, in batches. */
#include "gossipd/udp.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gossipd/gossipd.h"

/* What is received lies here until it was looked at; both pools take turns. Untouched pages cost nothing. */
static struct {
	uint8_t bytes[UDP_BATCH][WIRE_PACKET_MAX];
	union sock_addr from[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	struct mmsghdr v[UDP_BATCH];
} in;

struct packet_of {
	struct pool *p;
	const struct gossip_addr *from;
	uint64_t now;
};

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	const struct packet_of *o = ctx;

	swim_message(serf_swim(o->p->serf), o->now, o->from, type, body);
}

static void
take(struct udp *u, const union sock_addr *sa, struct str datagram, uint64_t now)
{
	struct pool *p = u->p;
	struct gossip_addr from;
	struct packet_of o = { p, &from, now };
	char text[SOCK_ADDR_TEXT_MAX];
	enum packet_fault fault;
	const char *note;

	u->counts.received++;
	u->counts.received_bytes += datagram.len;
	if (p->closed || addr_from_sock(sa, &from) < 0)
		return;
	if (!cidrs_allow(&p->allowed, &from)) {
		u->counts.strangers++;
		if (log_allowed(&u->strangers, clock_ms(), &note)) {
			addr_text(&from, text);
			log_warn(p->log_swim, "memberlist: packet from a network that is not allowed dropped: from=%s%s", text, note);
		}
		return;
	}
	fault = packet_unwrap(&p->wrap_in, datagram, on_message, &o);
	if (fault == PACKET_OK)
		return;
	u->counts.faults[fault]++;
	if (log_allowed(&u->faults, clock_ms(), &note)) {
		addr_text(&from, text);
		log_warn(p->log_swim, "memberlist: packet dropped: from=%s bytes=%zu reason=\"%s\"%s", text, datagram.len,
		    packet_fault_text(fault), note);
	}
}

void
udp_receive(struct udp *u)
{
	int n;

	for (int round = 0; round < UDP_ROUNDS_MAX; round++) {
		uint64_t now;

		for (unsigned i = 0; i < UDP_BATCH; i++) {
			in.iov[i] = (struct iovec){ in.bytes[i], sizeof(in.bytes[i]) };
			in.v[i].msg_hdr = (struct msghdr){ .msg_name = &in.from[i], .msg_namelen = sizeof(in.from[i]),
				.msg_iov = &in.iov[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(u->fd, in.v, UDP_BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			break;
		now = clock_ns();
		for (int i = 0; i < n; i++)
			take(u, &in.from[i], (struct str){ (const char *)in.bytes[i], in.v[i].msg_len }, now);
		if (n < UDP_BATCH)
			break;
	}
	buf_shrink(&u->p->wrap_in.a, UDP_SCRATCH_KEEP);
	buf_shrink(&u->p->wrap_in.b, UDP_SCRATCH_KEEP);
	pool_touch(u->p);
}

static void
on_readable(uv_poll_t *h, int status, int events)
{
	struct udp *u = h->data;
	int err = 0;
	socklen_t len = sizeof(err);

	(void)events;
	/* libuv stops at an error of the socket, which on a socket without a peer is about a packet that is lost anyway. */
	if (status < 0 && (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || uv_poll_start(&u->poll, UV_READABLE, on_readable) < 0))
		log_fatal(u->p->log_swim, "gossipd: the socket for packets is broken: error=\"%s\"", uv_strerror(status));
	udp_receive(u);
}

/* ---- out */

static void
unsent(struct udp *u, unsigned n, int err)
{
	const char *note;

	u->counts.unsent += n;
	if (log_allowed(&u->unsent, clock_ms(), &note))
		log_warn(u->p->log_swim, "memberlist: packets could not be sent: packets=%u error=\"%s\"%s", n, err_text(-err), note);
}

void
udp_flush(struct udp *u)
{
	union sock_addr to[UDP_OUT_MAX];
	struct iovec iov[UDP_OUT_MAX];
	struct mmsghdr v[UDP_OUT_MAX] = { 0 };
	unsigned done = 0;

	for (unsigned i = 0; i < u->n; i++) {
		addr_to_sock(&u->v[i].to, &to[i]);
		iov[i] = (struct iovec){ u->out.data + u->v[i].at, u->v[i].len };
		v[i].msg_hdr = (struct msghdr){ .msg_name = &to[i], .msg_namelen = sock_addr_len(&to[i]), .msg_iov = &iov[i],
			.msg_iovlen = 1 };
	}
	while (done < u->n) {
		int n = sendmmsg(u->fd, v + done, u->n - done, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
			unsent(u, u->n - done, errno);
			break;
		}
		/* The first of them is refused: the others may have better luck. */
		if (n < 0) {
			unsent(u, 1, errno);
			done++;
			continue;
		}
		for (unsigned i = done; i < done + (unsigned)n; i++)
			u->counts.sent_bytes += u->v[i].len;
		u->counts.sent += (unsigned)n;
		done += (unsigned)n;
	}
	u->n = 0;
	buf_shrink(&u->out, 64 * KiB);
}

static void
on_flush(struct defer *d)
{
	udp_flush((struct udp *)((char *)d - offsetof(struct udp, flush)));
}

void
udp_send(struct udp *u, const struct gossip_addr *to, struct str plain, bool crc)
{
	size_t at = u->out.len;

	if (!u->open || u->p->closed)
		return;
	if ((to->len == 4 ? AF_INET : AF_INET6) != u->family || to->len == 0 || to->port == 0) {
		unsent(u, 1, EAFNOSUPPORT);
		return;
	}
	if (packet_wrap(&u->p->wrap_out, plain, crc, &u->out) < 0) {
		u->out.len = at;
		unsent(u, 1, ENOMEM);
		return;
	}
	u->v[u->n++] = (struct udp_out){ at, u->out.len - at, *to };
	if (u->n == UDP_OUT_MAX)
		udp_flush(u);
	else
		loop_defer(&u->p->g->d->loop, DEFER_FLUSH, &u->flush);
}

/* ---- life */

int
udp_open(struct udp *u, struct pool *p, int fd)
{
	int size = UDP_SOCKET_BUFFER, rc;
	union sock_addr a = { 0 };
	socklen_t len = sizeof(a);

	*u = (struct udp){ .p = p, .fd = fd, .flush = { .cb = on_flush } };
	buf_init(&u->out, UDP_OUT_BYTES_MAX);
	rc = getsockname(fd, &a.sa, &len) < 0 ? -errno : uv_poll_init(&p->g->d->loop.uv, &u->poll, fd);
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	u->family = a.sa.sa_family;
	/* Best effort: a small buffer only loses more under a burst. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	u->poll.data = u;
	u->open = true;
	return uv_poll_start(&u->poll, UV_READABLE, on_readable);
}

static void
on_closed(uv_handle_t *h)
{
	struct udp *u = h->data;

	(void)close(u->fd);
}

void
udp_close(struct udp *u)
{
	if (!u->open)
		return;
	udp_flush(u);
	u->open = false;
	loop_undefer(&u->p->g->d->loop, DEFER_FLUSH, &u->flush);
	uv_close((uv_handle_t *)&u->poll, on_closed);
}

void
udp_release(struct udp *u)
{
	buf_release(&u->out);
}
