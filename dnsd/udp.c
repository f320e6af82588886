/* udp.c - questions over UDP: taken, answered and sent back in batches. */
#include "dnsd/udp.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"

#define LOG "agent.dns"

/* Room for a batch of short replies and one of any length. */
enum { OUT_SIZE = 64 * 1024 + PKT_TCP_MAX };

/*
 * The memory of a batch, shared by all sockets of the process: one is worked
 * on at a time. Pages are touched as far as questions and answers reach.
 */
struct batch {
	struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
	struct iovec in_iov[UDP_BATCH], out_iov[UDP_BATCH];
	struct asker who[UDP_BATCH];
	unsigned nout;
	struct udp *ready_for;		/* whose socket `in` is set up for */
	size_t used;			/* of replies */
	uint8_t queries[UDP_BATCH][UDP_QUERY_MAX];
	uint8_t replies[OUT_SIZE];
};

struct udp {
	uv_poll_t poll;
	struct serve *serve;
	struct batch *batch;
	int fd;
	bool wildcard;			/* bound to every address: answer from the one asked */
	struct metric_slot *unsent;
};

static struct batch *shared_batch;
static unsigned batch_users;

static struct batch *
batch_take(void)
{
	if (shared_batch == NULL) {
		shared_batch = malloc(sizeof(*shared_batch));
		if (shared_batch == NULL)
			return NULL;
		shared_batch->nout = 0;
		shared_batch->used = 0;
		shared_batch->ready_for = NULL;
	}
	batch_users++;
	return shared_batch;
}

static void
batch_give_back(void)
{
	if (--batch_users == 0) {
		free(shared_batch);
		shared_batch = NULL;
	}
}

/* ---- sending */

/* What the kernel does not take is lost, as datagrams may be; the one at fault is passed over. */
static void
send_all(struct udp *u, struct mmsghdr *v, unsigned n)
{
	unsigned done = 0;

	while (done < n) {
		int rc = sendmmsg(u->fd, v + done, n - done, MSG_DONTWAIT);

		if (rc > 0) {
			done += (unsigned)rc;
		} else if (errno != EINTR) {
			metric_add(u->unsent, 1);
			done++;
		}
	}
}

static void
flush(struct udp *u)
{
	struct batch *b = u->batch;

	send_all(u, b->out, b->nout);
	b->nout = 0;
	b->used = 0;
}

static void
deliver(const struct asker *a, const uint8_t *reply, size_t len)
{
	struct asker to = *a;
	struct iovec iov = { (void *)(uintptr_t)reply, len };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &to.peer, .msg_namelen = sock_addr_len(&to.peer), .msg_iov = &iov,
		.msg_iovlen = 1, .msg_control = to.control, .msg_controllen = to.control_len } };

	send_all(a->transport, &m, 1);
}

/* ---- receiving */

/*
 * The control message that came with a question becomes the one that goes
 * with its answer: from the address that was asked, by the route's own choice
 * of interface unless the address is only good on one.
 */
static void
turn_control(struct msghdr *h, struct asker *who)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	who->control_len = 0;
	if (c == NULL)
		return;
	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		((struct in_pktinfo *)(void *)CMSG_DATA(c))->ipi_ifindex = 0;
	} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo *info = (struct in6_pktinfo *)(void *)CMSG_DATA(c);

		if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
			info->ipi6_ifindex = 0;
	} else {
		return;
	}
	who->control_len = (uint8_t)h->msg_controllen;
}

/* Set up the first n for the next datagrams; all when the last batch was another socket's. */
static void
prepare(struct udp *u, unsigned n)
{
	struct batch *b = u->batch;

	if (b->ready_for != u)
		n = UDP_BATCH;
	b->ready_for = u;
	for (unsigned i = 0; i < n; i++) {
		struct asker *who = &b->who[i];

		who->deliver = deliver;
		who->transport = u;
		who->tcp = false;
		b->in_iov[i] = (struct iovec){ b->queries[i], UDP_QUERY_MAX };
		b->in[i].msg_hdr = (struct msghdr){ .msg_name = &who->peer, .msg_namelen = sizeof(who->peer),
			.msg_iov = &b->in_iov[i], .msg_iovlen = 1,
			.msg_control = u->wildcard ? who->control : NULL,
			.msg_controllen = u->wildcard ? sizeof(who->control) : 0 };
	}
}

/* A cut question cannot be read whole: what is left of it is refused. */
static size_t
question_size(const struct mmsghdr *m)
{
	return (m->msg_hdr.msg_flags & MSG_TRUNC) != 0 ? PKT_HEADER : m->msg_len;
}

static void
answer_one(struct udp *u, unsigned i, struct pkt_query *q, int rc)
{
	struct batch *b = u->batch;
	struct msghdr *h = &b->in[i].msg_hdr;
	struct asker *who = &b->who[i];
	int n;

	who->control_len = 0;
	if (u->wildcard)
		turn_control(h, who);
	if (OUT_SIZE - b->used < PKT_UDP_MAX)
		flush(u);
	n = serve_answer(u->serve, who, b->queries[i], question_size(&b->in[i]), q, rc, b->replies + b->used, PKT_UDP_MAX);
	if (n <= 0)
		return;
	b->out_iov[b->nout] = (struct iovec){ b->replies + b->used, (size_t)n };
	b->out[b->nout].msg_hdr = (struct msghdr){ .msg_name = &who->peer, .msg_namelen = h->msg_namelen,
		.msg_iov = &b->out_iov[b->nout], .msg_iovlen = 1,
		.msg_control = who->control_len > 0 ? who->control : NULL, .msg_controllen = who->control_len };
	b->nout++;
	b->used += (size_t)n;
}

/* Some at a time are read before the first of them is answered, so that their answers come out of memory together. */
static void
answer_all(struct udp *u, unsigned n)
{
	struct batch *b = u->batch;
	struct pkt_query q[SERVE_AHEAD];
	int rc[SERVE_AHEAD];

	for (unsigned from = 0, k; from < n; from += k) {
		k = n - from < SERVE_AHEAD ? n - from : SERVE_AHEAD;
		for (unsigned i = 0; i < k; i++)
			rc[i] = serve_read(b->queries[from + i], question_size(&b->in[from + i]), &q[i]);
		serve_ahead(u->serve, q, k);
		for (unsigned i = 0; i < k; i++)
			answer_one(u, from + i, &q[i], rc[i]);
	}
}

static void
on_readable(uv_poll_t *h, int status, int events)
{
	struct udp *u = h->data;
	struct batch *b = u->batch;
	int n = 0;

	(void)status;
	(void)events;
	for (int round = 0; round < UDP_ROUNDS_MAX; round++) {
		uint64_t t;

		prepare(u, (unsigned)n);
		n = recvmmsg(u->fd, b->in, UDP_BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			break;
		t = clock_ns();
		answer_all(u, (unsigned)n);
		flush(u);
		serve_took(u->serve, (unsigned)n, (double)(clock_ns() - t) / 1e6);
		if (n < UDP_BATCH)
			break;
	}
	prepare(u, n > 0 ? (unsigned)n : 0);
}

/* ---- life */

static void
on_closed(uv_handle_t *h)
{
	struct udp *u = h->data;

	(void)close(u->fd);
	free(u);
}

static void
set_options(struct udp *u)
{
	int size = UDP_SOCKET_BUFFER, on = 1;
	union sock_addr a = { 0 };
	socklen_t len = sizeof(a);

	/* Best effort: a small buffer only loses more under a burst. */
	(void)setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(u->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (getsockname(u->fd, &a.sa, &len) < 0)
		return;
	if (a.sa.sa_family == AF_INET && a.in.sin_addr.s_addr == htonl(INADDR_ANY))
		u->wildcard = setsockopt(u->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0;
	else if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr))
		u->wildcard = setsockopt(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0;
}

struct udp *
udp_new(struct loop *l, int fd, struct serve *s)
{
	struct udp *u = calloc(1, sizeof(*u));

	if (u == NULL || (u->batch = batch_take()) == NULL || uv_poll_init(&l->uv, &u->poll, fd) < 0) {
		if (u != NULL && u->batch != NULL)
			batch_give_back();
		free(u);
		(void)close(fd);
		return NULL;
	}
	u->fd = fd;
	u->serve = s;
	u->poll.data = u;
	u->unsent = metric_get("dns.unsent", METRIC_COUNTER);
	set_options(u);
	udp_start(u);
	return u;
}

void
udp_start(struct udp *u)
{
	(void)uv_poll_start(&u->poll, UV_READABLE, on_readable);
}

void
udp_stop(struct udp *u)
{
	(void)uv_poll_stop(&u->poll);
}

void
udp_free(struct udp *u)
{
	if (u == NULL)
		return;
	serve_forget(u->serve, u);
	if (u->batch->ready_for == u)
		u->batch->ready_for = NULL;
	batch_give_back();
	uv_close((uv_handle_t *)&u->poll, on_closed);
}
