/* rpc_sync.c - one blocking call, for the command line. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/rpc.h"
#include "lib/sock.h"

/* Wait for the descriptor until the deadline; -ETIMEDOUT. */
static int
wait_fd(int fd, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { fd, events, 0 };
		uint64_t now = clock_ms();
		int n;

		if (now >= deadline)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)(deadline - now));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int
send_all(int fd, const uint8_t *p, size_t n, uint64_t deadline)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EAGAIN) {
			int rc = wait_fd(fd, POLLOUT, deadline);

			if (rc < 0)
				return rc;
			continue;
		}
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int
recv_all(int fd, uint8_t *p, size_t n, uint64_t deadline)
{
	while (n > 0) {
		ssize_t k = recv(fd, p, n, 0);

		if (k < 0 && errno == EAGAIN) {
			int rc = wait_fd(fd, POLLIN, deadline);

			if (rc < 0)
				return rc;
			continue;
		}
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k == 0 ? -ECLOSED : -errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* The next frame's body, appended to b. */
static int
recv_reply(int fd, struct frame *f, struct buf *b, uint64_t deadline)
{
	uint8_t head[FRAME_HEADER];
	int rc = recv_all(fd, head, sizeof(head), deadline);

	if (rc < 0)
		return rc;
	frame_decode(head, f);
	if (f->kind != FRAME_REPLY || f->len > RPC_REPLY_MAX)
		return -EDECODE;
	rc = buf_reserve(b, f->len);
	if (rc == 0)
		rc = recv_all(fd, b->data + b->len, f->len, deadline);
	if (rc == 0)
		b->len += f->len;
	return rc;
}

int
rpc_call_sync(int rundir_fd, const char *name, uint16_t op, const struct query_options *o, const void *request,
    uint32_t timeout_ms, struct buf *ret_body, struct buf *ret_error)
{
	struct buf out = BUF_INIT(RPC_REPLY_MAX), in = BUF_INIT(RPC_REPLY_MAX);
	struct frame f = { 0, FRAME_REQUEST, 0, op, 1 };
	uint64_t deadline = clock_ms() + timeout_ms;
	uint8_t head[FRAME_HEADER] = { 0 };
	char sock[80];
	int fd = -1, rc;

	(void)snprintf(sock, sizeof(sock), "%s.sock", name);
	rc = buf_add(&out, head, sizeof(head));
	if (rc == 0)
		rc = op_request_encode(op, o, request, &out);
	if (rc < 0)
		goto out;
	f.len = (uint32_t)(out.len - FRAME_HEADER);
	frame_encode(&f, out.data);
	rc = fd = sock_unix_connect(rundir_fd, sock);
	if (rc >= 0)
		rc = send_all(fd, out.data, out.len, deadline);
	if (rc >= 0)
		rc = recv_reply(fd, &f, &in, deadline);
	if (rc < 0)
		goto out;
	if ((f.flags & FRAME_ERROR) != 0) {
		struct rpc_error e;

		rpc_error_decode(&(struct rpc_answer){ .body = in.data, .len = in.len }, &e);
		rc = buf_add(ret_error, e.text.p, e.text.len);
		rc = rc < 0 ? rc : -EPROTO;
	} else {
		rc = buf_add(ret_body, in.data, in.len);
	}
out:
	if (fd >= 0)
		(void)close(fd);
	buf_release(&out);
	buf_release(&in);
	return rc;
}
