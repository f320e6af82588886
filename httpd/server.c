/*
 * server.c - the library's daemon nested in the loop by its epoll descriptor.
 *
 * The library runs at the end of a turn, after every answer of other daemons
 * that arrived in it: so the requests of one turn leave in one write, and
 * their answers go out together.
 */
#include "httpd/server.h"

#include <malloc.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "httpd/clients.h"
#include "httpd/conns.h"
#include "httpd/monitor.h"
#include "httpd/request.h"
#include "httpd/socket_mode.h"
#include "httpd/stream.h"
#include "lib/sock.h"

enum { ACCEPT_BATCH = 64, PAUSE_MS = 100, NUDGE_MIN_MS = 2, NUDGE_MAX_MS = 16, RUN_ROUNDS = 4, IDLE_MS = 500,
	FDS_KEPT = 32 /* descriptors that clients do not get: other daemons may have to be connected to again */ };

struct server {
	struct httpd *h;
	struct MHD_Daemon *mhd;
	uv_poll_t *epoll;
	uv_poll_t *listeners[HTTP_LISTENERS_MAX];
	size_t nlisteners;
	uv_timer_t *pause;	/* no descriptors: accept again later */
	uv_timer_t *nudge;	/* the library has more to do than its descriptor tells */
	uv_timer_t *idle;	/* nobody is connected: give memory back */
	unsigned nudge_ms;	/* after how long, doubled while nothing comes from the sockets */
	struct defer run;
	struct clients *clients;
	struct conn *adding;	/* the connection that the library is being given */
	unsigned conns, conns_max;
	bool full;		/* told in the log; until everybody who waits is served */
};

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

static void
close_handle(void *u)
{
	if (u != NULL)
		uv_close(u, free_handle);
}

/* ---- running the library */

void
server_kick(struct httpd *h)
{
	if (h->server != NULL)
		loop_defer(&h->d->loop, DEFER_WORK, &h->server->run);
}

static void
on_nudge(uv_timer_t *t)
{
	struct server *s = t->data;

	s->nudge_ms = s->nudge_ms * 2 > NUDGE_MAX_MS ? NUDGE_MAX_MS : s->nudge_ms * 2;
	server_kick(s->h);
}

/*
 * An answer handed over is sent by the run after. Data may also wait in a
 * socket that was not read empty: the edge-triggered descriptor is silent
 * then, and only the library's timeout tells. While requests wait unsuspended
 * it always says "now"; then a look every few milliseconds is enough, since
 * whatever moved in this run makes for another one.
 */
static void
run(struct defer *d)
{
	struct server *s = (struct server *)(void *)((char *)d - offsetof(struct server, run));
	struct httpd *h = s->h;
	MHD_UNSIGNED_LONG_LONG timeout = 0;
	bool unread, now;

	for (int i = 0; i < RUN_ROUNDS; i++) {
		h->moved = 0;
		(void)MHD_run(s->mhd);
		if (h->moved == 0)
			break;
	}
	unread = conns_reap(h->conns);
	now = MHD_get_timeout(s->mhd, &timeout) == MHD_YES && timeout == 0;
	if (h->moved > 0)
		server_kick(h);
	else if ((unread || now) && !uv_is_active((uv_handle_t *)s->nudge))
		(void)uv_timer_start(s->nudge, on_nudge, now && h->spinning == 0 ? 0 : s->nudge_ms, 0);
}

static void
on_epoll(uv_poll_t *p, int status, int events)
{
	struct server *s = p->data;

	(void)status;
	(void)events;
	s->nudge_ms = NUDGE_MIN_MS;
	server_kick(s->h);
}

static void
on_library_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];

	(void)cls;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("agent.http", "%s", text);
}

/* URLs are decoded by us, from what the library logs; its own decoding would end them at a NUL. */
static size_t
leave_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
	(void)cls;
	(void)conn;
	return strlen(text);
}

static void
on_idle(uv_timer_t *t)
{
	struct server *s = t->data;

	if (s->conns > 0)
		return;
	requests_release(s->h);
	(void)malloc_trim(0);
}

static void
connection_free(struct server *s, struct conn *c)
{
	if (c == NULL)
		return;
	client_closed(s->clients, c->client);
	conn_free(c);
}

static void
on_connection(void *cls, struct MHD_Connection *conn, void **ctx, enum MHD_ConnectionNotificationCode code)
{
	struct server *s = cls;

	(void)conn;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*ctx = s->adding;
		s->adding = NULL;
		s->conns++;
	} else {
		connection_free(s, *ctx);
		if (--s->conns == 0)
			(void)uv_timer_start(s->idle, on_idle, IDLE_MS, 0);
	}
}

/* ---- accepting */

static void
refuse(int fd)
{
	static const char text[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
	    "Your IP is issuing too many concurrent connections, please rate limit your calls\n";
	char unread[1024];

	(void)send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	/* What lies unread would turn the close into a reset, and the text would be lost. */
	while (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0)
		;
	(void)close(fd);
}

void
server_serve(struct httpd *h, int fd, const struct sockaddr *from, socklen_t len)
{
	struct server *s = h->server;
	int64_t max = h->cfg.conns_per_client;
	struct client *k = client_opened(s->clients, from, max > 0 ? (unsigned)max : 0);

	s->adding = k != NULL ? conn_new(h->conns, k, fd) : NULL;
	if (s->adding == NULL) {
		client_closed(s->clients, k);
		refuse(fd);
		return;
	}
	/* The library closes fd when it cannot take it. Whom it was told of is its own to give back. */
	(void)MHD_add_connection(s->mhd, fd, from, len);
	connection_free(s, s->adding);
	s->adding = NULL;
}

static void on_listener(uv_poll_t *p, int status, int events);

static void
on_pause_over(uv_timer_t *t)
{
	struct server *s = t->data;

	for (size_t i = 0; i < s->nlisteners; i++)
		(void)uv_poll_start(s->listeners[i], UV_READABLE, on_listener);
}

static void
pause_accepting(struct server *s, const char *error)
{
	if (!s->full)
		log_warn("agent.http", "cannot accept connections for now: connections=%u error=\"%s\"", s->conns, error);
	s->full = true;
	for (size_t i = 0; i < s->nlisteners; i++)
		(void)uv_poll_stop(s->listeners[i]);
	(void)uv_timer_start(s->pause, on_pause_over, PAUSE_MS, 0);
}

static void
on_listener(uv_poll_t *p, int status, int events)
{
	struct server *s = p->data;
	uv_os_fd_t lfd;

	(void)status;
	(void)events;
	if (uv_fileno((uv_handle_t *)p, &lfd) < 0)
		return;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		union sock_addr from = { .ss = { 0 } };
		socklen_t len = sizeof(from);
		int fd;

		if (s->conns >= s->conns_max) {
			pause_accepting(s, "as many as there may be");
			break;
		}
		fd = accept4(lfd, &from.sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			server_serve(s->h, fd, &from.sa, len);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(s, strerror(errno));
		else if (errno == EAGAIN)
			s->full = false;
		if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
	server_kick(s->h);
}

/* A name for the supervisor's store that another address does not have: no colons, and no path of any length. */
static void
listener_name(const char *addr, uint16_t port, char *out, size_t size)
{
	uint64_t hash = 14695981039346656037u;

	if (strncmp(addr, "unix://", 7) == 0) {
		for (const char *p = addr; *p != '\0'; p++)
			hash = (hash ^ (unsigned char)*p) * 1099511628211u;
		(void)snprintf(out, size, "http-unix-%016llx", (unsigned long long)hash);
		return;
	}
	(void)snprintf(out, size, "http-%s-%u", addr, port);
	for (; *out != '\0'; out++)
		if (*out == ':')
			*out = '_';
}

static int
listen_on(struct server *s, const char *addr, uint16_t port)
{
	char name[64];
	uv_poll_t *p;
	int fd;

	if (s->nlisteners == HTTP_LISTENERS_MAX) {
		log_err("agent.http", "too many addresses for HTTP: max=%d", HTTP_LISTENERS_MAX);
		return -ELIMIT;
	}
	listener_name(addr, port, name, sizeof(name));
	fd = daemon_listen(s->h->d, name, addr, port, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	if (strncmp(addr, "unix://", 7) == 0) {
		int rc = socket_mode_apply(s->h->cfg.slice, addr + 7);

		if (rc < 0) {
			(void)close(fd);
			return rc;
		}
	}
	p = malloc(sizeof(*p));
	if (p == NULL || uv_poll_init(&s->h->d->loop.uv, p, fd) < 0) {
		free(p);
		(void)close(fd);
		return -ENOMEM;
	}
	p->data = s;
	s->listeners[s->nlisteners++] = p;
	if (strncmp(addr, "unix://", 7) == 0)
		log_info("agent", "Starting server: address=%s network=unix protocol=http", addr + 7);
	else
		log_info("agent", "Starting server: address=%s:%u network=tcp protocol=http", addr, port);
	return uv_poll_start(p, UV_READABLE, on_listener);
}

static int
listen_all(struct server *s)
{
	struct json_object *addrs = cfg_get(s->h->cfg.slice, "addresses.http");
	int64_t port = cfg_int(s->h->cfg.slice, "ports.http", 8500);
	size_t n = json_object_is_type(addrs, json_type_array) ? json_object_array_length(addrs) : 0;
	int rc = 0;

	if (port > 65535)
		return -EINVAL;
	for (size_t i = 0; i < n && rc == 0 && port > 0; i++)
		rc = listen_on(s, json_object_get_string(json_object_array_get_idx(addrs, i)), (uint16_t)port);
	return rc;
}

/* ---- life */

/* Each client costs a descriptor: take as many as we may. How many clients that makes. */
static unsigned
raise_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return HTTP_CONNS_MAX;
	if (rl.rlim_cur < rl.rlim_max) {
		rlim_t was = rl.rlim_cur;

		rl.rlim_cur = rl.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
			rl.rlim_cur = was;
	}
	if (rl.rlim_cur >= (rlim_t)HTTP_CONNS_MAX + FDS_KEPT)
		return HTTP_CONNS_MAX;
	return rl.rlim_cur > (rlim_t)2 * FDS_KEPT ? (unsigned)rl.rlim_cur - FDS_KEPT : FDS_KEPT;
}

static size_t
pool_size(const struct http_config *c)
{
	int64_t n = c->max_header_bytes;

	return n < HTTP_POOL_MIN ? HTTP_POOL_MIN : n > HTTP_POOL_MAX ? HTTP_POOL_MAX : (size_t)n;
}

static struct MHD_Daemon *
library_start(struct server *s)
{
	struct httpd *h = s->h;

	h->pool_size = pool_size(&h->cfg);
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO |
	    MHD_USE_ERROR_LOG, 0, NULL, NULL, request_access, h,
	    MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
	    MHD_OPTION_URI_LOG_CALLBACK, request_log_uri, h,
	    MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, request_completed, h,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, h->pool_size,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNS_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, 0u,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
	    MHD_OPTION_END);
}

static int
timer_new(struct server *s, uv_timer_t **ret)
{
	uv_timer_t *t = malloc(sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	(void)uv_timer_init(&s->h->d->loop.uv, t);
	t->data = s;
	*ret = t;
	return 0;
}

static int
library_watch(struct server *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);

	s->epoll = malloc(sizeof(*s->epoll));
	if (info == NULL || s->epoll == NULL || uv_poll_init(&s->h->d->loop.uv, s->epoll, info->epoll_fd) < 0) {
		free(s->epoll);
		s->epoll = NULL;
		return -ENOMEM;
	}
	s->epoll->data = s;
	return uv_poll_start(s->epoll, UV_READABLE, on_epoll);
}

int
server_start(struct httpd *h)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return -ENOMEM;
	h->server = s;
	s->h = h;
	s->run.cb = run;
	s->nudge_ms = NUDGE_MIN_MS;
	(void)signal(SIGPIPE, SIG_IGN);
	s->conns_max = raise_descriptors();
	s->clients = clients_new();
	h->conns = conns_new(h);
	rc = s->clients == NULL || h->conns == NULL ? -ENOMEM : timer_new(s, &s->pause);
	if (rc == 0)
		rc = timer_new(s, &s->nudge);
	if (rc == 0)
		rc = timer_new(s, &s->idle);
	if (rc == 0) {
		s->mhd = library_start(s);
		rc = s->mhd == NULL ? -ENOMEM : library_watch(s);
	}
	if (rc < 0) {
		log_err("agent.http", "cannot start the HTTP server: error=\"%s\"", err_text(rc));
		return rc;
	}
	return listen_all(s);
}

void
server_quiesce(struct httpd *h)
{
	struct server *s = h->server;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nlisteners; i++) {
		uv_os_fd_t fd;
		bool open = uv_fileno((uv_handle_t *)s->listeners[i], &fd) == 0;

		close_handle(s->listeners[i]);
		if (open)
			(void)close(fd);
	}
	s->nlisteners = 0;
	if (s->pause != NULL)
		(void)uv_timer_stop(s->pause);
}

void
server_stop(struct httpd *h)
{
	struct server *s = h->server;

	if (s == NULL)
		return;
	server_quiesce(h);
	close_handle(s->epoll);
	if (s->mhd != NULL) {
		/* None may be suspended when the library stops: it would abort. */
		monitors_end_all(h->monitors);
		streams_end_all(h->streams);
		requests_abandon(h);
		(void)MHD_run(s->mhd);
		MHD_stop_daemon(s->mhd);
	}
	loop_undefer(&h->d->loop, DEFER_WORK, &s->run);
	close_handle(s->pause);
	close_handle(s->nudge);
	close_handle(s->idle);
	clients_free(s->clients);
	conns_free(h->conns);
	h->conns = NULL;
	free(s);
	h->server = NULL;
}

unsigned
server_conns(const struct httpd *h)
{
	return h->server != NULL ? h->server->conns : 0;
}
