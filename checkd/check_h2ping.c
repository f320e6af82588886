/* check_h2ping.c - checks that pass when an HTTP/2 server answers a PING. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/h2_ping.h"
#include "checkd/kinds.h"
#include "checkd/tls_conn.h"
#include "lib/duration.h"

enum { H2PING_TIMEOUT_DEFAULT_MS = 10000, TEXT_MAX = 1024 };

struct h2ping_run {
	struct check *c;
	struct tls_conn *conn;
	bool ready;
	struct h2_ping ping;
};

static void
run_free(struct h2ping_run *r)
{
	tls_conn_free(r->conn);
	free(r);
}

static void
finish(struct h2ping_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

static void
fail(struct h2ping_run *r, bool dialling, const char *fault)
{
	char text[TEXT_MAX];

	if (dialling)
		snprintf(text, sizeof(text), "Failed to dial to %.*s: %s", STR_ARG(r->c->def->h2ping), fault);
	else
		snprintf(text, sizeof(text), "HTTP2 ping failed: %s", fault);
	finish(r, CHECK_CRITICAL, text);
}

static void
on_failed(void *arg, bool before, const char *fault)
{
	fail(arg, before, fault);
}

static void
on_late(struct check *c)
{
	struct h2ping_run *r = c->runner.run;

	fail(r, !r->ready, "context deadline exceeded");
}

static void
on_ready(void *arg)
{
	struct h2ping_run *r = arg;
	struct buf out = BUF_INIT(H2_PING_OUT_MAX);
	uint8_t payload[H2_PING_LEN];
	int rc;

	r->ready = true;
	randombytes_buf(payload, sizeof(payload));
	rc = h2_ping_begin(&r->ping, payload, &out);
	if (rc == 0)
		rc = tls_conn_send(r->conn, out.data, out.len);
	buf_release(&out);
	if (rc < 0)
		fail(r, false, err_text(rc));
}

static void
on_data(void *arg, const uint8_t *p, size_t n)
{
	struct h2ping_run *r = arg;
	struct buf out = BUF_INIT(H2_PING_OUT_MAX);
	enum h2_ping_state state = h2_ping_take(&r->ping, p, n, &out);
	int rc = 0;

	if (state == H2_PONG)
		rc = h2_ping_end(&out);
	if (rc == 0 && out.len > 0)
		rc = tls_conn_send(r->conn, out.data, out.len);
	buf_release(&out);
	if (state == H2_PONG)
		finish(r, CHECK_PASSING, "HTTP2 ping was successful");
	else if (state == H2_FAILED)
		fail(r, false, r->ping.fault);
	else if (rc < 0)
		fail(r, false, err_text(rc));
}

static void
h2ping_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : H2PING_TIMEOUT_DEFAULT_MS;
	struct h2ping_run *r = calloc(1, sizeof(*r));
	struct tls_conn_options o = {
		.plain = !definition_h2ping_uses_tls(c->def),
		.skip_verify = c->def->tls_skip_verify,
		.server_name = c->def->tls_server_name,
		.alpn = "h2",
	};
	struct tls_conn_use use = { on_ready, on_data, on_failed, r };

	if (r != NULL) {
		r->c = c;
		r->conn = tls_conn_open(c->cd, c->def->h2ping, &o, &use);
	}
	if (r == NULL || r->conn == NULL) {
		if (r != NULL)
			run_free(r);
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	c->runner.run = r;
	schedule_deadline(c, timeout, on_late);
}

static void
h2ping_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_h2ping = { "h2ping", true, h2ping_start, h2ping_stop };
