/* check_tls.c - TCP checks that pass when a TLS handshake succeeds. */
#include <stdlib.h>
#include <string.h>

#include "checkd/kinds.h"
#include "checkd/tls_conn.h"
#include "lib/duration.h"

enum { TLS_TIMEOUT_DEFAULT_MS = 10000, TEXT_MAX = 1024 };

struct tls_run {
	struct check *c;
	struct tls_conn *conn;
};

static void
run_free(struct tls_run *r)
{
	tls_conn_free(r->conn);
	free(r);
}

static void
finish(struct tls_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

static void
on_ready(void *arg)
{
	struct tls_run *r = arg;
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "TCP+TLS connect %.*s: Success", STR_ARG(r->c->def->tcp));
	finish(r, CHECK_PASSING, text);
}

/* Nothing is read: the first byte comes after the handshake, which ends the run. */
static void
on_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}

static void
on_failed(void *arg, bool before, const char *fault)
{
	(void)before;
	finish(arg, CHECK_CRITICAL, fault);
}

static void
on_late(struct check *c)
{
	struct tls_run *r = c->runner.run;
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "dial tcp %.*s: i/o timeout", STR_ARG(r->c->def->tcp));
	finish(r, CHECK_CRITICAL, text);
}

static void
tls_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : TLS_TIMEOUT_DEFAULT_MS;
	struct tls_run *r = calloc(1, sizeof(*r));
	struct tls_conn_options o = { .skip_verify = c->def->tls_skip_verify, .server_name = c->def->tls_server_name };
	struct tls_conn_use use = { on_ready, on_data, on_failed, r };

	if (r != NULL) {
		r->c = c;
		r->conn = tls_conn_open(c->cd, c->def->tcp, &o, &use);
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
tls_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_tcp_tls = { "tcp", true, tls_start, tls_stop };
