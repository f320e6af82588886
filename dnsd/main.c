/* main.c - dnsd: the DNS server of a node. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "dnsd/cookie.h"
#include "dnsd/explain.h"
#include "dnsd/steer.h"
#include "dnsd/tcp.h"
#include "dnsd/udp.h"
#include "dnsd/worker.h"
#include "lib/daemon.h"
#include "lib/notify.h"

#define LOG "agent.dns"

enum {
	ADDRESSES_MAX = 32,
	SOCKETS_MAX = 120,		/* that the supervisor keeps for us */
	DRAIN_POLL_MS = 10,
};

/* A bound socket. Over UDP each worker has one an address; TCP's is shared by all. */
struct bound {
	int fd;
	uint16_t worker;		/* UDP: whose it is */
	bool tcp;
};

struct sockets {
	struct bound v[SOCKETS_MAX];
	size_t n;
};

struct dnsd {
	struct serve *serve;
	struct explain *explain;	/* of worker 0 */
	struct tcp *tcp;
	struct sockets sockets;
	struct udp *udp[SOCKETS_MAX];	/* those of sockets.v that we read */
	unsigned nworkers;
	struct workers *workers;	/* of worker 0 */
	struct worker *worker;		/* of the others */
	struct daemon *daemon;
	uv_timer_t *drain;
};

/* ---- listeners */

static void
keep_socket(struct dnsd *s, int fd, bool tcp, unsigned worker)
{
	s->sockets.v[s->sockets.n++] = (struct bound){ .fd = fd, .tcp = tcp, .worker = (uint16_t)worker };
}

/*
 * The first socket has the name that it has when there is one process, so that
 * another number of them, or another release, finds it. Sockets handed down
 * that are more than there are workers now go on being read: the kernel
 * still gives them their part of the questions.
 */
static int
open_udp(struct daemon *d, size_t i, const char *ip, uint16_t port)
{
	struct dnsd *s = d->ctx;
	bool shared = s->nworkers > 1;
	size_t first = s->sockets.n;
	char name[32];
	int fd, on = 1, rc;

	for (unsigned w = 0; w < WORKERS_MAX && s->sockets.n < SOCKETS_MAX; w++) {
		(void)snprintf(name, sizeof(name), w == 0 ? "dns-udp-%zu" : "dns-udp-%zu-%u", i, w);
		fd = w < s->nworkers ? daemon_listen(d, name, ip, port, SOCK_DGRAM, shared) : notify_take(name);
		if (fd < 0 && w < s->nworkers)
			return fd;
		if (fd < 0)
			continue;
		/* One that was bound when there was one process does not share yet. */
		if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
			log_warn(LOG, "cannot share a UDP socket: %s", err_text(-errno));
		keep_socket(s, fd, false, w % s->nworkers);
	}
	if (s->sockets.n - first < 2)
		return 0;
	rc = steer_attach(s->sockets.v[first].fd, (unsigned)(s->sockets.n - first));
	if (rc < 0)
		log_warn(LOG, "names are not kept apart, each worker will know them all: %s", err_text(rc));
	return 0;
}

static int
open_address(struct daemon *d, size_t i, const char *ip, uint16_t port)
{
	struct dnsd *s = d->ctx;
	union sock_addr a;
	char name[32];
	int fd, rc;

	if (sock_addr_parse(ip, port, &a) < 0) {
		log_err(LOG, "addresses.dns: \"%s\" is not an IP address", ip);
		return -EINVAL;
	}
	rc = open_udp(d, i, ip, port);
	if (rc < 0)
		return rc;
	(void)snprintf(name, sizeof(name), "dns-tcp-%zu", i);
	fd = daemon_listen(d, name, ip, port, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	keep_socket(s, fd, true, 0);
	log_info("agent", "Started DNS server: address=%s:%u network=udp", ip, port);
	log_info("agent", "Started DNS server: address=%s:%u network=tcp", ip, port);
	return 0;
}

static int
open_listeners(struct daemon *d)
{
	struct json_object *list = cfg_get(d->config, "addresses.dns");
	struct dnsd *s = d->ctx;
	int64_t port = cfg_int(d->config, "ports.dns", 8600);
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	int rc = 0;

	if (port <= 0 || port > UINT16_MAX)
		return 0;
	if (n > ADDRESSES_MAX) {
		log_err(LOG, "addresses.dns has %zu addresses: at most %d are served", n, ADDRESSES_MAX);
		return -ELIMIT;
	}
	/* As many as the supervisor keeps: for each address one a worker, and TCP's. */
	while (n > 0 && s->nworkers > 1 && n * (s->nworkers + 1) > SOCKETS_MAX)
		s->nworkers--;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = open_address(d, i, json_object_get_string(json_object_array_get_idx(list, i)), (uint16_t)port);
	return rc;
}

/* ---- reading them */

/* Another descriptor of the same socket, for whoever closes it. */
static int
copy_of(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Read the UDP sockets of this worker, or no more. */
static int
read_udp(struct dnsd *s, unsigned worker, bool yes)
{
	for (size_t i = 0; i < s->sockets.n; i++) {
		const struct bound *b = &s->sockets.v[i];
		int fd;

		if (b->tcp || b->worker != worker || (!yes && s->udp[i] == NULL))
			continue;
		if (s->udp[i] != NULL) {
			(yes ? udp_start : udp_stop)(s->udp[i]);
			continue;
		}
		fd = copy_of(b->fd);
		s->udp[i] = fd >= 0 ? udp_new(&s->daemon->loop, fd, s->serve) : NULL;
		if (s->udp[i] == NULL) {
			log_err(LOG, "cannot serve a UDP address");
			return -ENOMEM;
		}
	}
	return 0;
}

static int
read_tcp(struct dnsd *s)
{
	for (size_t i = 0; i < s->sockets.n; i++) {
		int fd, rc;

		if (!s->sockets.v[i].tcp)
			continue;
		fd = copy_of(s->sockets.v[i].fd);
		rc = fd >= 0 ? tcp_listen(s->tcp, fd) : -errno;
		if (rc < 0) {
			log_err(LOG, "cannot serve a TCP address: %s", err_text(rc));
			return rc;
		}
	}
	return 0;
}

/* ---- life */

/* What answers, without its sockets: the same in all workers. */
static int
begin(struct daemon *d, struct settings *settings)
{
	struct dnsd *s = d->ctx;

	s->serve = serve_new(&d->loop, d->run_fd, settings);
	s->tcp = s->serve != NULL ? tcp_new(&d->loop, s->serve) : NULL;
	s->drain = malloc(sizeof(*s->drain));
	if (s->drain != NULL) {
		(void)uv_timer_init(&d->loop.uv, s->drain);
		s->drain->data = s;
	}
	if (s->tcp != NULL && s->drain != NULL)
		return 0;
	log_err(LOG, "out of memory");
	return -ENOMEM;
}

static void
measure_worker(void *ctx, struct worker_numbers *n)
{
	const struct dnsd *s = ctx;
	struct views_stats v;

	serve_stats(s->serve, &v);
	n->known = v.known;
	n->unknown = v.unknown;
	n->stale = v.stale;
	n->answers = v.answers;
	n->connected = v.connected;
	n->waiting = serve_waiting(s->serve);
	n->tcp = tcp_conns(s->tcp);
}

/* The life of worker w, in a process of its own. */
static int
begin_worker(struct daemon *d, const struct sockets *sockets, unsigned w, int channel, struct worker_shared *shared)
{
	struct dnsd *s = calloc(1, sizeof(*s));
	struct settings *settings;
	char err[256];
	int rc;

	d->ctx = s;
	if (s == NULL)
		return -ENOMEM;
	s->daemon = d;
	s->sockets = *sockets;
	s->worker = worker_begin(d, channel, shared, measure_worker, s);
	if (s->worker == NULL)
		return -ENOMEM;
	rc = settings_read(d->config, &settings, err, sizeof(err));
	if (rc < 0) {
		log_err(LOG, "%s", err);
		return rc;
	}
	rc = begin(d, settings);
	if (rc == 0)
		rc = read_udp(s, w, true);
	if (rc == 0)
		rc = read_tcp(s);
	if (rc == 0)
		worker_ready(s->worker);
	return rc;
}

static pid_t
spawn(void *ctx, unsigned w, int channel, struct worker_shared *shared)
{
	const struct dnsd *s = ctx;
	struct daemon *d = s->daemon;
	struct sockets sockets = { .n = 0 };
	int keep[SOCKETS_MAX + 1];
	size_t n = 0;
	pid_t pid;

	for (size_t i = 0; i < s->sockets.n; i++) {
		const struct bound *b = &s->sockets.v[i];

		if (!b->tcp && b->worker != w)
			continue;
		sockets.v[sockets.n++] = *b;
		keep[n++] = b->fd;
	}
	keep[n++] = channel;
	pid = daemon_fork(d, keep, n);
	if (pid != 0)
		return pid;
	if (begin_worker(d, &sockets, w, channel, shared) < 0)
		_exit(1);
	daemon_child_run(d);
}

static void
on_worker(void *ctx, unsigned w, bool ready)
{
	/* What it says when that fails is in the log; the kernel keeps the questions until the worker is back. */
	(void)read_udp(ctx, w, !ready);
}

static int
init(struct daemon *d)
{
	struct dnsd *s = calloc(1, sizeof(*s));
	struct workers_config wc = { .ctx = s, .spawn = spawn, .ready = on_worker };
	struct settings *settings;
	char err[256];
	int rc;

	d->ctx = s;
	if (s == NULL) {
		log_err(LOG, "out of memory");
		return -ENOMEM;
	}
	s->daemon = d;
	rc = settings_read(d->config, &settings, err, sizeof(err));
	if (rc < 0) {
		log_err(LOG, "%s", err);
		return rc;
	}
	s->nworkers = workers_count(settings->workers);
	/* One secret for all processes. */
	(void)cookie_master();
	rc = begin(d, settings);
	if (rc == 0)
		rc = open_listeners(d);
	/* Until a worker is ready its sockets are ours. */
	for (unsigned w = 0; rc == 0 && w < s->nworkers; w++)
		rc = read_udp(s, w, true);
	if (rc == 0)
		rc = read_tcp(s);
	if (rc < 0)
		return rc;
	wc.n = s->sockets.n > 0 ? s->nworkers : 1;
	s->workers = workers_new(d, &wc);
	s->explain = explain_new(&d->loop, d->run_fd, serve_settings(s->serve));
	if (s->workers == NULL || s->explain == NULL) {
		log_err(LOG, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

static bool
same_value(struct json_object *a, struct json_object *b, const char *path)
{
	struct json_object *va = cfg_get(a, path), *vb = cfg_get(b, path);

	return va == vb || json_object_equal(va, vb);
}

/* All of dns_config but workers takes effect; where we listen and what we are called does not. */
static int
take_slice(struct daemon *d, struct json_object *next, struct buf *msg, bool tokens_only)
{
	static const char *const fixed[] = { "domain", "alt_domain", "datacenter", "addresses.dns", "ports.dns", "dns_config.workers" };
	struct dnsd *s = d->ctx;
	struct settings *settings;
	char err[256];
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (same_value(d->config, next, fixed[i]))
			continue;
		rc = buf_addf(msg, "%s%s", msg->len > 0 ? " " : "", fixed[i]);
		if (rc < 0)
			return rc;
	}
	rc = settings_read(next, &settings, err, sizeof(err));
	if (rc < 0) {
		buf_clear(msg);
		return buf_adds(msg, err) < 0 ? -ENOMEM : rc;
	}
	serve_set(s->serve, settings);
	if (s->workers != NULL)
		workers_reload(s->workers, tokens_only);
	return 0;
}

static int
reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	return take_slice(d, next, msg, false);
}

static int
tokens(struct daemon *d, struct json_object *next, struct buf *msg)
{
	return take_slice(d, next, msg, true);
}

static void
on_drain(uv_timer_t *t)
{
	struct dnsd *s = t->data;

	if (serve_waiting(s->serve) == 0 && tcp_conns(s->tcp) == 0 && (s->workers == NULL || workers_alive(s->workers) == 0))
		daemon_stopped(s->daemon);
}

/* Questions that are in the sockets stay there, for our successor. */
static void
drain(struct daemon *d)
{
	struct dnsd *s = d->ctx;

	for (size_t i = 0; i < s->sockets.n; i++)
		if (s->udp[i] != NULL)
			udp_stop(s->udp[i]);
	tcp_stop(s->tcp);
	if (s->workers != NULL)
		workers_drain(s->workers);
	(void)uv_timer_start(s->drain, on_drain, 0, DRAIN_POLL_MS);
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

static void
fini(struct daemon *d)
{
	struct dnsd *s = d->ctx;

	if (s == NULL)
		return;
	workers_free(s->workers);
	worker_end(s->worker);
	for (size_t i = 0; i < s->sockets.n; i++) {
		if (s->udp[i] != NULL)
			udp_free(s->udp[i]);
		/* A new worker has these descriptors, too. */
		if (!d->child)
			(void)close(s->sockets.v[i].fd);
	}
	tcp_free(s->tcp);
	explain_free(s->explain);
	serve_free(s->serve);
	if (s->drain != NULL)
		uv_close((uv_handle_t *)s->drain, timer_closed);
	free(s);
	d->ctx = NULL;
}

static void
info(struct daemon *d, struct info_writer *iw)
{
	struct worker_numbers n = { 0 };
	struct dnsd *s = d->ctx;
	uint64_t connected;

	measure_worker(s, &n);
	connected = n.connected;
	workers_sum(s->workers, &n);
	info_add(iw, "raftd", "%s", connected != 0 ? "connected" : "away");
	info_add(iw, "workers", "%u", 1 + workers_ready(s->workers));
	info_add(iw, "views", "%" PRIu64, n.known);
	info_add(iw, "views_unknown", "%" PRIu64, n.unknown);
	info_add(iw, "views_stale", "%" PRIu64, n.stale);
	info_add(iw, "answers_ready", "%" PRIu64, n.answers);
	info_add(iw, "questions_waiting", "%" PRIu64, n.waiting);
	info_add(iw, "tcp_connections", "%" PRIu64, n.tcp);
}

static void
serve_explain(void *ctx, const struct rpc_request *req)
{
	struct daemon *d = ctx;

	explain_serve(((struct dnsd *)d->ctx)->explain, d->rpc, req);
}

static void
cancelled(void *ctx, struct rpc_token token)
{
	const struct dnsd *s = ((struct daemon *)ctx)->ctx;

	/* At the end of the daemon connections are closed last. */
	if (s != NULL)
		explain_cancelled(s->explain, token);
}

int
main(int argc, char **argv)
{
	static const struct rpc_route routes[] = { { OP_DNS_EXPLAIN, serve_explain } };
	static const struct daemon_spec spec = {
		.name = "dnsd",
		.summary = "answers DNS questions about services and nodes",
		.routes = routes,
		.nroutes = ARRAY_LEN(routes),
		.cancelled = cancelled,
		.init = init,
		.reload = reload,
		.tokens = tokens,
		.drain = drain,
		.fini = fini,
		.info = info,
	};

	return daemon_main(argc, argv, &spec);
}
