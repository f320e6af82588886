/* check_tcp.c - checks that pass when a connection can be made. */
#include <stdlib.h>
#include <string.h>

#include "checkd/kinds.h"
#include "lib/duration.h"
#include "lib/sock.h"

enum { TCP_TIMEOUT_DEFAULT_MS = 10000, HOST_MAX = 256, TEXT_MAX = 1024 };

/* A socket with its connect request, which libuv reports on once more while it closes. */
struct dial {
	uv_tcp_t tcp;
	uv_connect_t connect;
};

/* One run. It lives until its resolver has answered and its handles are closed, longer than the check if need be. */
struct tcp_run {
	struct check *c;		/* NULL: abandoned, or its result was given */
	char host[HOST_MAX], port[8];
	uv_getaddrinfo_t resolve;
	struct addrinfo *found, *at;	/* addresses not tried yet from `at` */
	struct dial *dial;		/* freed by its close callback */
	uv_timer_t timer;
	bool resolving, closing;
	char fault[TEXT_MAX];		/* of the last address tried */
};

static void try_next(struct tcp_run *r);

/* The socket is the first member of its dial. */
static void
handle_closed(uv_handle_t *h)
{
	free(h);
}

static void
timer_closed(uv_handle_t *h)
{
	struct tcp_run *r = h->data;

	uv_freeaddrinfo(r->found);
	free(r);
}

static void
drop_tcp(struct tcp_run *r)
{
	if (r->dial == NULL)
		return;
	r->dial->tcp.data = NULL;
	uv_close((uv_handle_t *)&r->dial->tcp, handle_closed);
	r->dial = NULL;
}

/* End the run; a resolver still at work frees it later. */
static void
run_free(struct tcp_run *r)
{
	drop_tcp(r);
	if (r->closing)
		return;
	r->closing = true;
	if (r->resolving)
		uv_cancel((uv_req_t *)&r->resolve);
	else
		uv_close((uv_handle_t *)&r->timer, timer_closed);
	uv_timer_stop(&r->timer);
}

static void
finish(struct tcp_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	r->c = NULL;
	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

static void
on_connect(uv_connect_t *req, int status)
{
	/* A dropped socket has forgotten its run. */
	struct tcp_run *r = req->handle->data;
	char peer[SOCK_ADDR_TEXT_MAX], text[TEXT_MAX];
	union sock_addr a;

	if (r == NULL)
		return;
	if (status == 0) {
		snprintf(text, sizeof(text), "TCP connect %.*s: Success", STR_ARG(r->c->def->tcp));
		finish(r, CHECK_PASSING, text);
		return;
	}
	drop_tcp(r);
	memcpy(&a, r->at->ai_addr, r->at->ai_addrlen);
	sock_addr_format(&a, peer);
	snprintf(r->fault, sizeof(r->fault), "dial tcp %s: connect: %s", peer,
	    status == UV_ECONNREFUSED ? "connection refused" : uv_strerror(status));
	r->at = r->at->ai_next;
	try_next(r);
}

/* The next address, or the fault of the last. */
static void
try_next(struct tcp_run *r)
{
	for (; r->at != NULL; r->at = r->at->ai_next) {
		if (r->at->ai_addrlen > sizeof(union sock_addr))
			continue;
		r->dial = malloc(sizeof(*r->dial));
		if (r->dial == NULL || uv_tcp_init(&r->c->cd->d->loop.uv, &r->dial->tcp) < 0) {
			free(r->dial);
			r->dial = NULL;
			break;
		}
		r->dial->tcp.data = r;
		if (uv_tcp_connect(&r->dial->connect, &r->dial->tcp, r->at->ai_addr, on_connect) == 0)
			return;
		drop_tcp(r);
	}
	finish(r, CHECK_CRITICAL, r->fault);
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct tcp_run *r = req->data;

	r->resolving = false;
	r->found = r->at = res;
	if (r->c == NULL) {
		uv_close((uv_handle_t *)&r->timer, timer_closed);
		return;
	}
	if (status < 0)
		snprintf(r->fault, sizeof(r->fault), "dial tcp: lookup %s: %s", r->host,
		    status == UV_EAI_NONAME || status == UV_EAI_NODATA ? "no such host" : uv_strerror(status));
	try_next(r);
}

static void
on_timeout(uv_timer_t *t)
{
	struct tcp_run *r = t->data;
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "dial tcp %.*s: i/o timeout", STR_ARG(r->c->def->tcp));
	finish(r, CHECK_CRITICAL, text);
}

/* "host:port" or "[v6]:port". */
static int
split(struct tcp_run *r, struct str target)
{
	const char *colon = memrchr(target.p, ':', target.len);
	struct str host, port;

	if (colon == NULL)
		return -EINVAL;
	host = (struct str){ target.p, (size_t)(colon - target.p) };
	port = (struct str){ colon + 1, target.len - host.len - 1 };
	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct str){ host.p + 1, host.len - 2 };
	if (host.len >= sizeof(r->host) || port.len == 0 || port.len >= sizeof(r->port))
		return -EINVAL;
	/* As Go's dialer: no host is this one. */
	snprintf(r->host, sizeof(r->host), "%.*s", STR_ARG(host.len > 0 ? host : STR("localhost")));
	snprintf(r->port, sizeof(r->port), "%.*s", STR_ARG(port));
	return 0;
}

static void
tcp_start(struct check *c)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct tcp_run *r = calloc(1, sizeof(*r));
	uv_loop_t *uv = &c->cd->d->loop.uv;
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : TCP_TIMEOUT_DEFAULT_MS;
	int rc;

	if (r == NULL || uv_timer_init(uv, &r->timer) < 0) {
		free(r);
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	r->timer.data = r->resolve.data = r;
	c->runner.run = r;
	if (split(r, c->def->tcp) < 0) {
		snprintf(r->fault, sizeof(r->fault), "dial tcp: address %.*s: missing port in address", STR_ARG(c->def->tcp));
		finish(r, CHECK_CRITICAL, r->fault);
		return;
	}
	rc = uv_timer_start(&r->timer, on_timeout, timeout, 0);
	/* A literal address needs neither the resolver nor a thread of the pool. */
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (rc == 0 && getaddrinfo(r->host, r->port, &hints, &r->found) == 0) {
		r->at = r->found;
		try_next(r);
		return;
	}
	hints.ai_flags = 0;
	if (rc == 0)
		rc = uv_getaddrinfo(uv, &r->resolve, on_resolved, r->host, r->port, &hints);
	if (rc < 0)
		finish(r, CHECK_CRITICAL, uv_strerror(rc));
	else
		r->resolving = true;
}

static void
tcp_stop(struct check *c)
{
	struct tcp_run *r = c->runner.run;

	if (r == NULL)
		return;
	r->c = NULL;
	c->runner.run = NULL;
	run_free(r);
}

const struct check_kind check_kind_tcp = { "tcp", true, tcp_start, tcp_stop };
