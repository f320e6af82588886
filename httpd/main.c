/* main.c - httpd: the HTTP API. */
#include <malloc.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "httpd/cache.h"
#include "httpd/gzip.h"
#include "httpd/monitor.h"
#include "httpd/park.h"
#include "httpd/request.h"
#include "httpd/server.h"
#include "httpd/stream.h"
#include "httpd/upstream.h"

static int
httpd_init(struct daemon *d)
{
	struct httpd *h = calloc(1, sizeof(*h));
	char err[256] = "out of memory";
	int rc;

	if (h == NULL)
		return -ENOMEM;
	/* One thread: one arena, given back early. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
	d->ctx = h;
	h->d = d;
	h->started_ms = clock_ms();
	rc = http_config_read(d->config, &h->cfg, err, sizeof(err));
	if (rc < 0) {
		log_err("agent.http", "%s", err);
		return rc;
	}
	return httpd_open(h);
}

/* What a listener or the library was started with stays until a restart. */
static int
needs_restart(struct json_object *old, struct json_object *next, struct buf *msg)
{
	static const char *const keys[] = { "addresses.http", "ports.http", "http_config.max_header_bytes" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (json_object_equal(cfg_get(old, keys[i]), cfg_get(next, keys[i])))
			continue;
		if (buf_addf(msg, "%s%s", msg->len > 0 ? ", " : "", keys[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int
httpd_reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	struct httpd *h = d->ctx;
	struct http_config c;
	char err[256] = "out of memory";
	int rc = http_config_read(next, &c, err, sizeof(err));

	if (rc < 0)
		return buf_adds(msg, err) < 0 ? -ENOMEM : rc;
	rc = needs_restart(h->cfg.slice, next, msg);
	if (rc < 0) {
		http_config_release(&c);
		return rc;
	}
	http_config_release(&h->cfg);
	h->cfg = c;
	return 0;
}

/* No new clients; those that wait for changes are let go, the rest get their answers. */
static void
httpd_drain(struct daemon *d)
{
	struct httpd *h = d->ctx;

	server_quiesce(h);
	park_end_all(h->park);
	monitors_end_all(h->monitors);
	streams_end_all(h->streams);
	if (h->nrequests == 0)
		daemon_stopped(d);
}

static void
httpd_fini(struct daemon *d)
{
	struct httpd *h = d->ctx;

	if (h == NULL)
		return;
	httpd_close(h);
	free(h);
	d->ctx = NULL;
}

static void
httpd_info(struct daemon *d, struct info_writer *iw)
{
	const struct httpd *h = d->ctx;
	struct utsname u;

	info_add(iw, "http_connections", "%u", server_conns(h));
	info_add(iw, "http_requests", "%u", h->nrequests);
	info_add(iw, "http_unsent", "%zu", h->unsent);
	info_add(iw, "blocking_queries", "%zu", park_waiters(h->park));
	info_add(iw, "blocking_upstream", "%zu", park_groups(h->park));
	info_add(iw, "streams", "%u", streams_count(h->streams));
	info_add(iw, "stream_topics", "%zu", streams_topics(h->streams));
	info_add(iw, "cache_entries", "%zu", cache_entries(h->cache));
	info_add(iw, "cache_bytes", "%zu", cache_bytes(h->cache));
	info_add(iw, "library", "libmicrohttpd %s", MHD_get_version());
	info_section(iw, "runtime");
	info_add(iw, "arch", "%s", uname(&u) == 0 ? u.machine : "");
	info_add(iw, "cpu_count", "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	info_add(iw, "os", "linux");
	info_section(iw, "build");
	info_add(iw, "prerelease", "%s", "");
	info_add(iw, "revision", "%s", h->cfg.revision);
	info_add(iw, "version", "%s", h->cfg.version);
}

int
main(int argc, char **argv)
{
	static const struct daemon_spec spec = {
		.name = "httpd",
		.summary = "serve the HTTP API",
		.init = httpd_init,
		.reload = httpd_reload,
		.drain = httpd_drain,
		.fini = httpd_fini,
		.info = httpd_info,
	};

	return daemon_main(argc, argv, &spec);
}
