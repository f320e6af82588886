/* listen.c - the ports of a pool, held and silent. */
#include <stdlib.h>
#include <unistd.h>

#include "gossipd/listen.h"

enum { BACKLOG = 128 };

static void
closed_free(uv_handle_t *h)
{
	free(h);
}

static void
on_connection(uv_stream_t *server, int status)
{
	struct listen *l = server->data;
	uv_tcp_t *conn;

	if (status < 0)
		return;
	conn = malloc(sizeof(*conn));
	if (conn == NULL || uv_tcp_init(&l->loop->uv, conn) < 0) {
		free(conn);
		return;
	}
	if (uv_accept(server, (uv_stream_t *)conn) == 0)
		metric_add(l->accepted, 1);
	uv_close((uv_handle_t *)conn, closed_free);
}

/* One buffer for all: datagrams are not looked at. */
static void
on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	static char packet[2048];

	(void)h;
	(void)want;
	*buf = uv_buf_init(packet, sizeof(packet));
}

static void
on_datagram(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct listen *l = h->data;

	(void)buf;
	(void)flags;
	if (n >= 0 && from != NULL)
		metric_add(l->received, 1);
}

static int
open_tcp(struct listen *l, struct daemon *d, const char *name, const char *ip, uint16_t port)
{
	int fd, rc;

	fd = daemon_listen(d, name, ip, port, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	rc = uv_tcp_init(&d->loop.uv, &l->tcp);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	l->tcp_open = true;
	l->tcp.data = l;
	rc = uv_tcp_open(&l->tcp, fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
}

static int
open_udp(struct listen *l, struct daemon *d, const char *name, const char *ip, uint16_t port)
{
	char udp_name[32];
	int fd, rc;

	snprintf(udp_name, sizeof(udp_name), "%s_udp", name);
	fd = daemon_listen(d, udp_name, ip, port, SOCK_DGRAM, false);
	if (fd < 0)
		return fd;
	rc = uv_udp_init(&d->loop.uv, &l->udp);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	l->udp_open = true;
	l->udp.data = l;
	rc = uv_udp_open(&l->udp, fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return uv_udp_recv_start(&l->udp, on_alloc, on_datagram);
}

int
listen_open(struct listen *l, struct daemon *d, const char *name, const char *ip, uint16_t port)
{
	int rc;

	l->loop = &d->loop;
	l->accepted = metric_get("memberlist.tcp.accept", METRIC_COUNTER);
	l->received = metric_get("memberlist.udp.received", METRIC_COUNTER);
	rc = open_tcp(l, d, name, ip, port);
	if (rc == 0)
		rc = open_udp(l, d, name, ip, port);
	return rc;
}

void
listen_close(struct listen *l)
{
	if (l->tcp_open)
		uv_close((uv_handle_t *)&l->tcp, NULL);
	if (l->udp_open)
		uv_close((uv_handle_t *)&l->udp, NULL);
	l->tcp_open = l->udp_open = false;
}
