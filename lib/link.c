/* link.c - reading frames from a socket, writing them once a turn. Frames carry tokens: what was read or written is wiped. */
#include "lib/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LINK_READ = 64 * 1024,		/* asked of the kernel at once */
	LINK_KEEP = 256 * 1024,		/* buffer memory kept between turns */
	LINK_TURNS_READS = 4,		/* reads of one connection in one turn */
};

static void on_poll(uv_poll_t *p, int status, int events);

/* Whether our answers must be taken first. */
static bool
backed_up(const struct link *k)
{
	return k->ops->backs_off && link_queued(k) > RPC_OUT_HIGH;
}

static void
set_events(struct link *k)
{
	int want = 0;

	if (k->poll == NULL)
		return;
	if (!k->connecting && !k->finish && !backed_up(k))
		want |= UV_READABLE;
	if (k->connecting || (link_queued(k) > 0 && !k->flush.queued))
		want |= UV_WRITABLE;
	if (want == k->events)
		return;
	k->events = want;
	if (want == 0)
		(void)uv_poll_stop(k->poll);
	else
		(void)uv_poll_start(k->poll, want, on_poll);
}

static void
fail(struct link *k, int rc)
{
	if (k->failed == 0)
		k->failed = rc;
	loop_defer(k->loop, DEFER_FLUSH, &k->flush);
}

size_t
link_queued(const struct link *k)
{
	return k->out.len - k->out_at;
}

static void
write_out(struct link *k)
{
	while (link_queued(k) > 0) {
		ssize_t n = send(k->fd, k->out.data + k->out_at, link_queued(k), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			fail(k, -errno);
			return;
		}
		k->out_at += (size_t)n;
	}
	if (link_queued(k) == 0) {
		k->out_at = 0;
		buf_wipe(&k->out);
		buf_shrink(&k->out, LINK_KEEP);
	} else if (k->out_at > LINK_READ) {
		buf_consume(&k->out, k->out_at);
		k->out_at = 0;
	}
}

/*
 * Hands over every whole frame, as long as answers flow. Returns false when
 * the link was closed meanwhile. A frame that is not whole stays: memory for
 * it is taken as its bytes arrive (read_in), not because its header says so.
 */
static bool
parse_in(struct link *k)
{
	bool gone = false;

	k->gone = &gone;
	while (k->failed == 0 && !k->finish && !backed_up(k) && k->in.len - k->in_at >= FRAME_HEADER) {
		const uint8_t *p = k->in.data + k->in_at;
		struct frame f;
		int64_t max;

		frame_decode(p, &f);
		max = k->ops->body_max(k, &f);
		if (max < 0 || f.len > (uint64_t)max) {
			fail(k, -EDECODE);
			break;
		}
		if (k->in.len - k->in_at - FRAME_HEADER < f.len)
			break;
		k->in_at += FRAME_HEADER + f.len;
		if (k->ops->frame(k, &f, p + FRAME_HEADER) < 0 && !gone)
			fail(k, -EDECODE);
		if (gone)
			return false;
	}
	k->gone = NULL;
	if (k->in_at == k->in.len) {
		k->in_at = 0;
		buf_wipe(&k->in);
		buf_shrink(&k->in, LINK_KEEP);
	} else if (k->in_at > 0) {
		buf_consume(&k->in, k->in_at);
		k->in_at = 0;
	}
	return true;
}

static void
on_flush(struct defer *d)
{
	struct link *k = (struct link *)(void *)((char *)d - offsetof(struct link, flush));

	if (k->poll == NULL)
		return;
	if (k->failed == 0 && !k->connecting)
		write_out(k);
	/* What was read before the output backed up. */
	if (k->failed == 0 && k->in.len > 0 && !parse_in(k))
		return;
	if (k->finish && link_queued(k) == 0 && k->failed == 0)
		k->failed = -ECLOSED;
	if (k->failed != 0) {
		int rc = k->failed;

		loop_undefer(k->loop, DEFER_FLUSH, &k->flush);
		k->ops->closed(k, rc);
		return;
	}
	set_events(k);
}

static void
read_in(struct link *k)
{
	for (int i = 0; i < LINK_TURNS_READS && k->failed == 0 && !k->finish; i++) {
		ssize_t n;
		size_t room;

		if (buf_reserve(&k->in, LINK_READ) < 0) {
			fail(k, -ENOMEM);
			return;
		}
		room = k->in.cap - k->in.len;
		n = recv(k->fd, k->in.data + k->in.len, room, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fail(k, n == 0 ? -ECLOSED : -errno);
			return;
		}
		k->in.len += (size_t)n;
		if (!parse_in(k))
			return;
		if ((size_t)n < room || backed_up(k))
			return;
	}
}

/* Why the kernel gave the socket up; 0: it did not. */
static int
socket_error(const struct link *k)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

static void
on_poll(uv_poll_t *p, int status, int events)
{
	struct link *k = p->data;
	int rc;

	/* libuv says EBADF for every error of a socket. */
	if (status < 0) {
		rc = socket_error(k);
		fail(k, rc < 0 ? rc : -ECLOSED);
		return;
	}
	if (k->connecting && (events & UV_WRITABLE) != 0) {
		rc = socket_error(k);
		if (rc < 0) {
			fail(k, rc);
			return;
		}
		k->connecting = false;
	}
	if ((events & UV_WRITABLE) != 0)
		loop_defer(k->loop, DEFER_FLUSH, &k->flush);
	if ((events & UV_READABLE) != 0)
		read_in(k);
	else
		set_events(k);
}

int
link_open(struct link *k, struct loop *l, int fd, bool connecting, const struct link_ops *ops)
{
	uv_poll_t *poll = malloc(sizeof(*poll));
	int rc;

	if (poll == NULL)
		return -ENOMEM;
	rc = uv_poll_init(&l->uv, poll, fd);
	if (rc < 0) {
		free(poll);
		return rc;
	}
	poll->data = k;
	k->loop = l;
	k->ops = ops;
	k->poll = poll;
	k->fd = fd;
	k->events = 0;
	buf_init(&k->in, (size_t)RPC_REPLY_MAX + FRAME_HEADER + LINK_READ);
	buf_init(&k->out, (size_t)RPC_REPLY_MAX * 2);
	k->in_at = k->out_at = 0;
	k->flush = (struct defer){ NULL, on_flush, false };
	k->failed = 0;
	k->connecting = connecting;
	k->finish = false;
	k->gone = NULL;
	set_events(k);
	return 0;
}

static void
on_handle_closed(uv_handle_t *h)
{
	free(h);
}

void
link_close(struct link *k)
{
	if (k->poll == NULL)
		return;
	if (k->gone != NULL)
		*k->gone = true;
	k->gone = NULL;
	loop_undefer(k->loop, DEFER_FLUSH, &k->flush);
	(void)uv_poll_stop(k->poll);
	uv_close((uv_handle_t *)k->poll, on_handle_closed);
	k->poll = NULL;
	(void)close(k->fd);
	k->fd = -1;
	buf_wipe(&k->in);
	buf_wipe(&k->out);
	buf_release(&k->in);
	buf_release(&k->out);
}

void
link_finish(struct link *k)
{
	k->finish = true;
	loop_defer(k->loop, DEFER_FLUSH, &k->flush);
}

int
link_frame_begin(struct link *k, const struct frame *f, size_t *ret_at)
{
	uint8_t head[FRAME_HEADER];

	frame_encode(f, head);
	*ret_at = k->out.len;
	return buf_add(&k->out, head, sizeof(head));
}

void
link_frame_end(struct link *k, size_t at)
{
	uint32_t len = (uint32_t)(k->out.len - at - FRAME_HEADER);
	uint8_t *p = k->out.data + at;

	assert(k->out.len >= at + FRAME_HEADER);
	p[0] = (uint8_t)(len >> 24);
	p[1] = (uint8_t)(len >> 16);
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	loop_defer(k->loop, DEFER_FLUSH, &k->flush);
}

void
link_frame_drop(struct link *k, size_t at)
{
	k->out.len = at;
}
