/* main.c - dnsd: the DNS server of a node. */
#include <stdlib.h>

#include "dnsd/tcp.h"
#include "dnsd/udp.h"
#include "lib/daemon.h"

#define LOG "agent.dns"

enum { ADDRESSES_MAX = 32, DRAIN_POLL_MS = 10 };

struct dnsd {
	struct serve *serve;
	struct tcp *tcp;
	struct udp *udp[ADDRESSES_MAX];
	size_t nudp;
	struct daemon *daemon;
	uv_timer_t *drain;
};

/* ---- listeners */

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
	(void)snprintf(name, sizeof(name), "dns-udp-%zu", i);
	fd = daemon_listen(d, name, ip, port, SOCK_DGRAM, false);
	if (fd < 0)
		return fd;
	s->udp[s->nudp] = udp_new(&d->loop, fd, s->serve);
	if (s->udp[s->nudp] == NULL) {
		log_err(LOG, "cannot serve UDP address %s", ip);
		return -ENOMEM;
	}
	s->nudp++;
	(void)snprintf(name, sizeof(name), "dns-tcp-%zu", i);
	fd = daemon_listen(d, name, ip, port, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	rc = tcp_listen(s->tcp, fd);
	if (rc < 0) {
		log_err(LOG, "cannot serve TCP address %s: %s", ip, err_text(rc));
		return rc;
	}
	log_info("agent", "Started DNS server: address=%s:%u network=udp", ip, port);
	log_info("agent", "Started DNS server: address=%s:%u network=tcp", ip, port);
	return 0;
}

static int
open_listeners(struct daemon *d)
{
	struct json_object *list = cfg_get(d->config, "addresses.dns");
	int64_t port = cfg_int(d->config, "ports.dns", 8600);
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	int rc = 0;

	if (port <= 0 || port > UINT16_MAX)
		return 0;
	if (n > ADDRESSES_MAX) {
		log_err(LOG, "addresses.dns has %zu addresses: at most %d are served", n, ADDRESSES_MAX);
		return -ELIMIT;
	}
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = open_address(d, i, json_object_get_string(json_object_array_get_idx(list, i)), (uint16_t)port);
	return rc;
}

/* ---- life */

static int
init(struct daemon *d)
{
	struct dnsd *s = calloc(1, sizeof(*s));
	struct settings *settings;
	char err[256];
	int rc;

	d->ctx = s;
	if (s == NULL)
		goto no_memory;
	s->daemon = d;
	rc = settings_read(d->config, &settings, err, sizeof(err));
	if (rc < 0) {
		log_err(LOG, "%s", err);
		return rc;
	}
	s->serve = serve_new(&d->loop, d->run_fd, settings);
	s->tcp = s->serve != NULL ? tcp_new(&d->loop, s->serve) : NULL;
	s->drain = malloc(sizeof(*s->drain));
	if (s->drain != NULL) {
		(void)uv_timer_init(&d->loop.uv, s->drain);
		s->drain->data = s;
	}
	if (s->tcp == NULL || s->drain == NULL)
		goto no_memory;
	return open_listeners(d);
no_memory:
	log_err(LOG, "out of memory");
	return -ENOMEM;
}

static bool
same_value(struct json_object *a, struct json_object *b, const char *path)
{
	struct json_object *va = cfg_get(a, path), *vb = cfg_get(b, path);

	return va == vb || json_object_equal(va, vb);
}

/* All of dns_config takes effect; where we listen and what we are called does not. */
static int
reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	static const char *const fixed[] = { "domain", "alt_domain", "datacenter", "addresses.dns", "ports.dns" };
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
	return 0;
}

static void
on_drain(uv_timer_t *t)
{
	struct dnsd *s = t->data;

	if (serve_waiting(s->serve) == 0 && tcp_conns(s->tcp) == 0)
		daemon_stopped(s->daemon);
}

/* Questions that are in the sockets stay there, for our successor. */
static void
drain(struct daemon *d)
{
	struct dnsd *s = d->ctx;

	for (size_t i = 0; i < s->nudp; i++)
		udp_stop(s->udp[i]);
	tcp_stop(s->tcp);
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
	for (size_t i = 0; i < s->nudp; i++)
		udp_free(s->udp[i]);
	tcp_free(s->tcp);
	serve_free(s->serve);
	if (s->drain != NULL)
		uv_close((uv_handle_t *)s->drain, timer_closed);
	free(s);
}

static void
info(struct daemon *d, struct info_writer *iw)
{
	struct dnsd *s = d->ctx;
	struct views_stats v;

	serve_stats(s->serve, &v);
	info_add(iw, "raftd", "%s", v.connected ? "connected" : "away");
	info_add(iw, "views", "%zu", v.known);
	info_add(iw, "views_unknown", "%zu", v.unknown);
	info_add(iw, "views_stale", "%zu", v.stale);
	info_add(iw, "answers_ready", "%zu", v.answers);
	info_add(iw, "questions_waiting", "%zu", serve_waiting(s->serve));
	info_add(iw, "tcp_connections", "%zu", tcp_conns(s->tcp));
}

int
main(int argc, char **argv)
{
	static const struct daemon_spec spec = {
		.name = "dnsd",
		.summary = "answers DNS questions about services and nodes",
		.init = init,
		.reload = reload,
		.drain = drain,
		.fini = fini,
		.info = info,
	};

	return daemon_main(argc, argv, &spec);
}
