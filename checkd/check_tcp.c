/* check_tcp.c - checks that pass when a connection can be made. */
#include <stdlib.h>
#include <string.h>

#include "checkd/dial.h"
#include "checkd/kinds.h"
#include "lib/duration.h"
#include "lib/sock.h"

enum { TCP_TIMEOUT_DEFAULT_MS = 10000, TEXT_MAX = 1024 };

/* A socket with its connect request, which libuv reports on once more while it closes. */
struct dial {
	uv_tcp_t tcp;
	uv_connect_t connect;
};

/* The addresses of a name. It lives until its resolver has answered, longer than the run if need be. */
struct lookup {
	uv_getaddrinfo_t req;
	struct tcp_run *run;		/* NULL: abandoned */
	struct addrinfo *found, *at;	/* addresses not tried yet from `at` */
	char host[DIAL_HOST_MAX];
};

struct tcp_run {
	struct check *c;
	struct dial *dial;		/* freed by its close callback */
	union sock_addr to;		/* where it goes */
	struct lookup *lookup;		/* NULL: the target is an address */
	bool resolving;
	int fault;			/* of the last address tried, libuv's */
};

static void try_next(struct tcp_run *r);

/* The socket is the first member of its dial. */
static void
handle_closed(uv_handle_t *h)
{
	free(h);
}

static void
drop_dial(struct tcp_run *r)
{
	if (r->dial == NULL)
		return;
	r->dial->tcp.data = NULL;
	uv_close((uv_handle_t *)&r->dial->tcp, handle_closed);
	r->dial = NULL;
}

static void
lookup_free(struct lookup *l)
{
	uv_freeaddrinfo(l->found);
	free(l);
}

/* A resolver that is still at work frees its lookup later. */
static void
run_free(struct tcp_run *r)
{
	drop_dial(r);
	if (r->lookup != NULL && r->resolving) {
		r->lookup->run = NULL;
		(void)uv_cancel((uv_req_t *)&r->lookup->req);
	} else if (r->lookup != NULL) {
		lookup_free(r->lookup);
	}
	free(r);
}

static void
finish(struct tcp_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

static void
finish_failed(struct tcp_run *r)
{
	char peer[SOCK_ADDR_TEXT_MAX], why[128], text[TEXT_MAX];

	sock_addr_format(&r->to, peer);
	/* Go's words for errors are the system's, but for the first letter. */
	snprintf(why, sizeof(why), "%s", err_text(r->fault));
	why[0] = (char)ascii_lower((uint8_t)why[0]);
	snprintf(text, sizeof(text), "dial tcp %s: connect: %s", peer, why);
	finish(r, CHECK_CRITICAL, text);
}

/*
 * A connection is ended as any other, without a reset: what listens there
 * may count or log those.
 */
static void
on_connect(uv_connect_t *req, int status)
{
	/* A dropped socket has forgotten its run. */
	struct tcp_run *r = req->handle->data;
	char text[TEXT_MAX];

	if (r == NULL)
		return;
	if (status == 0) {
		snprintf(text, sizeof(text), "TCP connect %.*s: Success", STR_ARG(r->c->def->tcp));
		finish(r, CHECK_PASSING, text);
		return;
	}
	r->fault = status;
	drop_dial(r);
	try_next(r);
}

/* Begin to connect to r->to. */
static int
dial(struct tcp_run *r)
{
	int rc;

	r->dial = malloc(sizeof(*r->dial));
	rc = r->dial == NULL ? UV_ENOMEM : uv_tcp_init(&r->c->cd->d->loop.uv, &r->dial->tcp);
	if (rc < 0) {
		free(r->dial);
		r->dial = NULL;
		return rc;
	}
	r->dial->tcp.data = r;
	rc = uv_tcp_connect(&r->dial->connect, &r->dial->tcp, &r->to.sa, on_connect);
	if (rc < 0)
		drop_dial(r);
	return rc;
}

/* The next address of a name, or the fault of the last. */
static void
try_next(struct tcp_run *r)
{
	while (r->lookup != NULL && r->lookup->at != NULL) {
		const struct addrinfo *at = r->lookup->at;

		r->lookup->at = at->ai_next;
		if (at->ai_addrlen > sizeof(r->to))
			continue;
		memcpy(&r->to, at->ai_addr, at->ai_addrlen);
		r->fault = dial(r);
		if (r->fault == 0)
			return;
	}
	finish_failed(r);
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct lookup *l = req->data;
	struct tcp_run *r = l->run;
	char text[TEXT_MAX];

	l->found = l->at = res;
	if (r == NULL) {
		lookup_free(l);
		return;
	}
	r->resolving = false;
	if (status == 0 && res != NULL) {
		try_next(r);
		return;
	}
	snprintf(text, sizeof(text), "dial tcp: lookup %s: %s", l->host,
	    status == 0 || status == UV_EAI_NONAME || status == UV_EAI_NODATA ? "no such host" : uv_strerror(status));
	finish(r, CHECK_CRITICAL, text);
}

static void
on_late(struct check *c)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "dial tcp %.*s: i/o timeout", STR_ARG(c->def->tcp));
	finish(c->runner.run, CHECK_CRITICAL, text);
}

/* Whether it is a literal address with a number for a port, which takes no resolver. */
static bool
is_literal(const char *host, const char *port, union sock_addr *ret)
{
	char *end;
	unsigned long n;

	if (port[0] < '0' || port[0] > '9')
		return false;
	n = strtoul(port, &end, 10);
	return *end == '\0' && n > 0 && n <= UINT16_MAX && sock_addr_parse(host, (uint16_t)n, ret) == 0;
}

static int
look_up(struct tcp_run *r, const char *host, const char *port)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int rc;

	r->lookup = calloc(1, sizeof(*r->lookup));
	if (r->lookup == NULL)
		return UV_ENOMEM;
	r->lookup->run = r;
	r->lookup->req.data = r->lookup;
	snprintf(r->lookup->host, sizeof(r->lookup->host), "%s", host);
	rc = uv_getaddrinfo(&r->c->cd->d->loop.uv, &r->lookup->req, on_resolved, host, port, &hints);
	r->resolving = rc == 0;
	return rc;
}

static void
tcp_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : TCP_TIMEOUT_DEFAULT_MS;
	struct tcp_run *r = calloc(1, sizeof(*r));
	char host[DIAL_HOST_MAX], port[DIAL_PORT_MAX], text[TEXT_MAX];
	int rc;

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	c->runner.run = r;
	if (dial_split(c->def->tcp, host, port) < 0) {
		snprintf(text, sizeof(text), "dial tcp: address %.*s: missing port in address", STR_ARG(c->def->tcp));
		finish(r, CHECK_CRITICAL, text);
		return;
	}
	if (!dial_port_valid(port)) {
		snprintf(text, sizeof(text), "dial tcp: address %s: invalid port", port);
		finish(r, CHECK_CRITICAL, text);
		return;
	}
	schedule_deadline(c, timeout, on_late);
	if (is_literal(host, port, &r->to)) {
		r->fault = dial(r);
		if (r->fault < 0)
			finish_failed(r);
		return;
	}
	rc = look_up(r, host, port);
	if (rc < 0)
		finish(r, CHECK_CRITICAL, uv_strerror(rc));
}

static void
tcp_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_tcp = { "tcp", true, tcp_start, tcp_stop };
