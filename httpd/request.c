/*
 * request.c - the life of a request.
 *
 * Waiting for another daemon needs no suspended connection: the library asks
 * an unanswered handler again whenever it runs. Since the answer is mostly
 * there within a turn or two, that is cheaper than suspending (three system
 * calls); what takes longer is suspended then.
 */
#include "httpd/request.h"

#include <stdio.h>
#include <stdlib.h>

#include "httpd/conns.h"
#include "httpd/gather.h"
#include "httpd/gzip.h"
#include "httpd/monitor.h"
#include "httpd/park.h"
#include "httpd/permit.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/server.h"
#include "httpd/snapshot.h"
#include "httpd/stream.h"
#include "httpd/upstream.h"
#include "lib/duration.h"
#include "lib/sock.h"

/* ---- reuse */

static struct request *
request_new(struct httpd *h)
{
	struct request *r = h->spare;

	if (r != NULL) {
		h->spare = r->next;
		h->nspare--;
	} else {
		r = calloc(1, sizeof(*r));
		if (r == NULL)
			return NULL;
		arena_init(&r->arena, HTTP_ARENA_MAX);
		buf_init(&r->uri, HTTP_POOL_MAX);
		buf_init(&r->body, SIZE_MAX / 2);
		reply_init(&r->reply);
	}
	r->h = h;
	r->next = h->open;
	r->prev = &h->open;
	if (r->next != NULL)
		r->next->prev = &r->next;
	h->open = r;
	h->nrequests++;
	return r;
}

static void
request_delete(struct request *r)
{
	arena_release(&r->arena);
	buf_release(&r->uri);
	buf_release(&r->body);
	buf_release(&r->reply.body);
	free(r);
}

/* With ACLs any request may hold a token, and those of ACLs and the agent's tokens are made of secrets. */
static void
wipe_secrets(struct request *r)
{
	arena_wipe(&r->arena);
	buf_wipe(&r->uri);
	buf_wipe(&r->body);
	if (r->route != NULL && (strncmp(r->route->path, "/v1/acl/", 8) == 0 || strncmp(r->route->path, "/v1/agent/token/", 16) == 0))
		buf_wipe(&r->reply.body);
}

/* Empty but for the memory that the next request will want. */
static void
request_free(struct request *r)
{
	struct httpd *h = r->h;
	struct request clean;

	if (h->cfg.acl_enabled)
		wipe_secrets(r);
	clean = (struct request){ .arena = r->arena, .uri = r->uri, .body = r->body };
	respond_sent(r);
	*r->prev = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	h->nrequests--;
	arena_reset(&clean.arena);
	buf_shrink(&clean.uri, HTTP_KEEP_BYTES);
	buf_shrink(&clean.body, HTTP_KEEP_BYTES);
	reply_clear(&r->reply);
	clean.reply = r->reply;
	*r = clean;
	if (h->nspare >= HTTP_SPARE_REQUESTS) {
		request_delete(r);
		return;
	}
	r->next = h->spare;
	h->spare = r;
	h->nspare++;
}

void
requests_abandon(struct httpd *h)
{
	for (struct request *r = h->open; r != NULL; r = r->next) {
		if (r->state != REQ_WAIT) {
			snapshot_abandon(r);
			continue;
		}
		request_forget(r);
		request_gone(r);
	}
}

void
requests_release(struct httpd *h)
{
	while (h->spare != NULL) {
		struct request *r = h->spare;

		h->spare = r->next;
		request_delete(r);
	}
	h->nspare = 0;
}

/* ---- waiting */

static void
count_spinning(struct request *r, bool on)
{
	if (r->counted == on)
		return;
	r->counted = on;
	r->h->spinning += on ? 1u : -1u;
}

void
request_wake(struct request *r)
{
	count_spinning(r, false);
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->mhd);
	}
	server_kick(r->h);
}

void
request_gone(struct request *r)
{
	r->state = REQ_GONE;
	request_wake(r);
}

void
request_forget(struct request *r)
{
	upstream_forget(r);
	gather_forget(r);
	park_leave(r);
	monitor_leave(r);
	stream_leave(r);
	snapshot_leave(r);
}

/* Whether to suspend the connection of a request that waits. */
static void
wait_on(struct request *r)
{
	struct httpd *h = r->h;

	if (r->counted && clock_ns() - r->started_ns < (uint64_t)HTTP_SPIN_MS * NS_PER_MS)
		return;
	if (!r->counted && r->waiter == NULL && h->spinning < HTTP_SPIN_MAX) {
		count_spinning(r, true);
		return;
	}
	count_spinning(r, false);
	MHD_suspend_connection(r->mhd);
	r->suspended = true;
}

/* ---- the head */

/*
 * The library would now split the query into its own memory, which bounds the
 * headers, for nobody. The text is in its buffer and not constant: end it
 * behind the '?'.
 */
static void
forget_query(const char *uri)
{
	const char *mark = strchr(uri, '?');

	if (mark != NULL)
		((char *)(uintptr_t)mark)[1] = '\0';
}

void *
request_log_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct request *r = uri != NULL ? request_new(cls) : NULL;

	if (r == NULL)
		return NULL;
	r->mhd = conn;
	r->conn = conn_of(conn);
	r->conn->r = r;
	r->started_ns = clock_ns();
	r->uri_at = uri;
	if (buf_adds(&r->uri, uri) < 0)
		r->state = REQ_GONE;
	forget_query(uri);
	return r;
}

static enum http_method
method_of(const char *name)
{
	static const struct {
		const char *name;
		enum http_method method;
	} known[] = { { "GET", M_GET }, { "PUT", M_PUT }, { "DELETE", M_DELETE }, { "POST", M_POST },
		{ "OPTIONS", M_OPTIONS } };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].method;
	return M_OTHER;
}

struct headers {
	struct str token, authorization, namespace, encoding, length, transfer, expect;
	bool ambiguous;		/* somebody else may see another length of the body than the library does */
};

static enum MHD_Result
on_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	static const struct {
		const char *name;
		size_t len, offset;
	} known[] = {
		{ "x-consul-token", 14, offsetof(struct headers, token) },
		{ "authorization", 13, offsetof(struct headers, authorization) },
		{ "x-consul-namespace", 18, offsetof(struct headers, namespace) },
		{ "accept-encoding", 15, offsetof(struct headers, encoding) },
		{ "content-length", 14, offsetof(struct headers, length) },
		{ "transfer-encoding", 17, offsetof(struct headers, transfer) },
		{ "expect", 6, offsetof(struct headers, expect) },
	};
	struct request *r = ((void **)cls)[0];
	struct headers *h = ((void **)cls)[1];
	struct str key = str_from(name);

	(void)kind;
	if (value == NULL)
		return MHD_YES;
	if (key.len > 0 && (key.p[key.len - 1] == ' ' || key.p[key.len - 1] == '\t'))
		h->ambiguous = true;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (key.len == known[i].len && str_eq_nocase(key, (struct str){ known[i].name, key.len })) {
			struct str *to = (struct str *)(void *)((char *)h + known[i].offset);

			if (to == &h->length && to->len > 0 && !str_eqs(*to, value))
				h->ambiguous = true;
			*to = str_from(value);
			return MHD_YES;
		}
	if (str_eq_nocase(key, STR("accept")))
		r->accept = str_from(value);
	else if (str_eq_nocase(key, STR("cache-control")))
		r->cache_control = str_from(value);
	return MHD_YES;
}

/* Blanks behind a header's value are no part of it (RFC 9110, section 5.5); the library leaves them there. */
static struct str
no_blanks(struct str s)
{
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	while (s.len > 0 && (*s.p == ' ' || *s.p == '\t'))
		s = (struct str){ s.p + 1, s.len - 1 };
	return s;
}

/* Query, then header, then bearer, then the agent's own: a copy, since the configuration may be another before the request is over. */
static int
request_token(struct request *r, const struct headers *hd, struct str *ret)
{
	static const struct str bearer = { "Bearer ", 7 };
	const struct str *q = param_get(&r->params, "token"), own = str_from(r->h->cfg.default_token);
	const struct str token = no_blanks(hd->token), auth = no_blanks(hd->authorization);

	*ret = STR("");
	if (q != NULL && q->len > 0) {
		*ret = *q;
	} else if (token.len > 0) {
		*ret = token;
	} else if (auth.len > bearer.len && str_eq_nocase((struct str){ auth.p, bearer.len }, bearer)) {
		*ret = no_blanks((struct str){ auth.p + bearer.len, auth.len - bearer.len });
	} else if (own.len > 0) {
		*ret = (struct str){ arena_strdup(&r->arena, own), own.len };
	}
	return ret->p != NULL ? 0 : -ENOMEM;
}

static bool
may_write(const struct request *r)
{
	const union MHD_ConnectionInfo *ci;

	if (r->method == M_GET || r->h->cfg.nwrite_from == 0)
		return true;
	ci = MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	return ci != NULL && http_config_may_write(&r->h->cfg, ci->client_addr);
}

/*
 * Whether the end of the body is beyond doubt (RFC 9112, section 6.3). If
 * not, what follows the head may be anything: the answer ends the connection.
 */
static bool
head_framing(struct request *r, struct headers *hd)
{
	if (hd->transfer.len > 0 && !str_eq_nocase(hd->transfer, STR("chunked"))) {
		hd->ambiguous = true;
		respond_text(r, 501, "Unsupported transfer encoding");
	} else if (hd->ambiguous) {
		respond_text(r, 400, "400 Bad Request: the length of the body is not clear");
	}
	return !hd->ambiguous;
}

/* Path and query; false when the request is answered already. */
static bool
head_target(struct request *r, const char *version)
{
	struct target t;
	int rc;

	/* A NUL in the first line would have hidden the rest of the URL from us. */
	if (r->uri_at + r->uri.len + 1 != version || target_parse((char *)r->uri.data, r->uri.len, &t) < 0) {
		respond_text(r, 400, "400 Bad Request");
		return false;
	}
	r->path = t.path;
	if (r->h->cfg.filter_unprintable && !path_printable(t.path)) {
		respond_text(r, 400, "Bad request: the path holds a character that is not printable");
		return false;
	}
	/* Only behind a filter that is off; such keys could not be told apart in other places. */
	if (t.path.len > 0 && memchr(t.path.p, '\0', t.path.len) != NULL) {
		respond_text(r, 400, "Bad request: the path holds a NUL");
		return false;
	}
	if (!path_is_clean(t.path)) {
		const char *clean = path_clean(t.path, &r->arena);
		const char *to = clean != NULL ? path_encode(str_from(clean), &r->arena) : NULL;

		to = to != NULL && t.query.len > 0 ? arena_printf(&r->arena, "%s?%.*s", to, STR_ARG(t.query)) : to;
		respond_moved(r, to != NULL ? to : "/");
		return false;
	}
	rc = params_parse((char *)(uintptr_t)t.query.p, t.query.len, &r->arena, &r->params);
	if (rc < 0) {
		respond_empty(r, 500);
		return false;
	}
	return true;
}

/* The row of the table and whether it may be used so. */
static bool
head_route(struct request *r)
{
	struct httpd *h = r->h;

	r->route = route_find(r->path, &r->rest);
	r->view.route = r->route;
	if (r->route == NULL) {
		const char *dir = route_is_dir(r->path) ?
		    arena_printf(&r->arena, "%.*s/", STR_ARG(r->path)) : NULL;

		if (dir != NULL)
			respond_moved(r, dir);
		else
			respond_empty(r, 404);
		return false;
	}
	if (http_config_blocked(&h->cfg, r->path)) {
		respond_text(r, 403, "Endpoint is blocked by agent configuration");
		return false;
	}
	if (r->method == M_OPTIONS) {
		r->reply.flags |= REPLY_ALLOW;
		respond_empty(r, 200);
		return false;
	}
	if ((r->route->methods & r->method) == 0) {
		r->reply.flags |= REPLY_ALLOW;
		respond_text(r, 405, "method %s not allowed", r->method_name);
		return false;
	}
	if (!may_write(r)) {
		respond_text(r, 403, "Access is restricted");
		return false;
	}
	return true;
}

/* The parameters that the row says it takes. */
static bool
head_params(struct request *r, const struct headers *hd)
{
	const struct http_config *c = &r->h->cfg;
	struct param_error e = { 0, NULL };
	const struct str *dc = param_get(&r->params, "dc");
	unsigned flags = r->route->flags;

	if (request_token(r, hd, &r->opts.token) < 0) {
		respond_empty(r, 500);
		return false;
	}
	if (r->params.n == 0 && hd->namespace.len == 0 && c->discovery_max_stale_ms <= 0)
		return true;
	if ((flags & RT_PLAIN) == 0)
		params_namespace(&r->params, hd->namespace, &e);
	if (dc != NULL && (flags & RT_DC) != 0)
		r->opts.datacenter = *dc;
	if (e.status == 0 && (flags & RT_BLOCK) != 0 && r->method == M_GET)
		params_wait(&r->params, c, &r->opts, &r->read, &e);
	if (e.status == 0 && (flags & RT_READ) != 0)
		params_consistency(&r->params, c, (flags & RT_DISCOVERY) != 0, &r->opts, &r->read, &e, &r->arena);
	if (e.status == 0 && (flags & RT_SNAPSHOT) != 0 && r->method == M_PUT && r->opts.consistency == CONSISTENCY_STALE)
		e = (struct param_error){ 500, "stale not allowed for restore" };
	if (e.status == 0 && r->read.cached && (flags & RT_CACHED) != 0)
		params_cache_control(r->cache_control, &r->read, &e);
	if (e.status != 0)
		respond_text(r, e.status, "%s", e.text != NULL ? e.text : "");
	return e.status == 0;
}

static void
head_view(struct request *r, const struct headers *hd)
{
	if (r->h->cfg.dev_mode || param_has(&r->params, "pretty"))
		r->view.flags |= VIEW_PRETTY;
	if (hd->encoding.len > 0 && gzip_accepted(hd->encoding))
		r->view.flags |= VIEW_GZIP;
	r->view.consistency = r->opts.consistency;
}

/* How much of a body there will be, and how much of it we take. */
static void
head_body(struct request *r, const struct headers *hd)
{
	const struct http_config *c = &r->h->cfg;
	unsigned flags = r->route != NULL ? r->route->flags : 0;

	r->body_max = HTTP_BODY_MAX;
	if ((flags & RT_VALUE) != 0)
		r->body_max = (uint64_t)c->kv_max_value;
	else if ((flags & RT_TXN) != 0)
		r->body_max = (uint64_t)(c->txn_max_req > c->kv_max_value ? c->txn_max_req : c->kv_max_value);
	else if ((flags & RT_SNAPSHOT) != 0)
		r->body_max = HTTP_SNAPSHOT_MAX;
	if (hd->ambiguous)
		r->declared = UINT64_MAX - 1;
	else if (hd->transfer.len > 0)
		r->declared = UINT64_MAX;
	else if (hd->length.len > 0 && (parse_u64(hd->length, &r->declared) < 0 || r->declared == UINT64_MAX))
		r->declared = UINT64_MAX - 1;
}

static void
too_large(struct request *r, uint64_t size)
{
	respond_text(r, 413, "Request body(%llu bytes) too large, max size: %llu bytes. "
	    "See https://www.consul.io/docs/agent/options.html#%s.", (unsigned long long)size,
	    (unsigned long long)r->body_max,
	    r->route != NULL && (r->route->flags & RT_TXN) != 0 ? "txn_max_req_len" : "kv_max_value_size");
}

static void
request_head(struct request *r, const char *method, const char *version)
{
	struct headers hd = { .token = STR_NONE };
	void *cls[2] = { r, &hd };

	r->method = method_of(method);
	(void)snprintf(r->method_name, sizeof(r->method_name), "%s", method);
	(void)MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, on_header, cls);
	r->state = REQ_BODY;
	if (head_framing(r, &hd) && head_target(r, version) && head_route(r))
		(void)head_params(r, &hd);
	head_view(r, &hd);
	head_body(r, &hd);
	if (r->state == REQ_BODY && r->declared != UINT64_MAX && r->declared > r->body_max)
		too_large(r, r->declared);
	/*
	 * An answer in the middle of an upload does not reach the client: the
	 * body is read and dropped first, unless it is beyond all measure or
	 * the client waits for a word before it sends it.
	 */
	if (r->state == REQ_READY && r->declared > 0 && hd.expect.len == 0 &&
	    (r->declared <= HTTP_DRAIN_MAX || r->declared == UINT64_MAX))
		r->state = REQ_DRAIN;
}

/* ---- the body */

/* false: the client sends more than anybody wants to read. */
static bool
request_body(struct request *r, const char *data, size_t len)
{
	r->h->moved++;
	conn_moves(r->conn, len);
	if (r->state == REQ_BODY && (r->route->flags & RT_SNAPSHOT) != 0)
		return snapshot_body(r, data, len);
	if (r->state == REQ_BODY && (r->body.len + len > r->body_max || buf_add(&r->body, data, len) < 0)) {
		too_large(r, r->body.len + len);
		r->state = REQ_DRAIN;
	}
	if (r->state == REQ_DRAIN)
		r->dropped += len;
	return r->dropped <= (r->transfer != NULL ? HTTP_SNAPSHOT_MAX : HTTP_DRAIN_MAX);
}

/* All is there: serve it. */
static void
request_serve(struct request *r)
{
	r->state = REQ_WAIT;
	permit_serve(r);
}

enum MHD_Result
request_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
    const char *data, size_t *size, void **con_cls)
{
	struct request *r = *con_cls;

	(void)cls;
	(void)conn;
	(void)url;
	if (r == NULL)
		return MHD_NO;
	if (r->state == REQ_HEAD) {
		request_head(r, method, version);
		/* Queued now an answer ends the connection: only where the body is not wanted. */
		return r->state == REQ_READY && r->declared > 0 ? respond_queue(r) : MHD_YES;
	}
	if (*size > 0 && r->state != REQ_GONE) {
		size_t n = *size;

		*size = 0;
		return request_body(r, data, n) ? MHD_YES : MHD_NO;
	}
	if (r->state == REQ_BODY)
		request_serve(r);
	else if (r->state == REQ_DRAIN)
		r->state = REQ_READY;
	if (r->state == REQ_WAIT)
		wait_on(r);
	if (r->state == REQ_READY)
		return respond_queue(r);
	return r->state == REQ_GONE ? MHD_NO : MHD_YES;
}

/* ---- the end */

static void
request_log(const struct request *r, uint64_t ns)
{
	const union MHD_ConnectionInfo *ci;
	char from[SOCK_ADDR_TEXT_MAX] = "";
	size_t below = 0;

	if (!log_enabled(LOG_DEBUG) || r->path.p == NULL)
		return;
	ci = MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (ci != NULL && ci->client_addr != NULL &&
	    (ci->client_addr->sa_family == AF_INET || ci->client_addr->sa_family == AF_INET6)) {
		union sock_addr a = { .ss = { 0 } };

		memcpy(&a, ci->client_addr, ci->client_addr->sa_family == AF_INET ? sizeof(a.in) : sizeof(a.in6));
		sock_addr_format(&a, from);
	}
	/* The query is left out: it may hold a token. So may what stands below a path of ACLs, in the API of old or by mistake. */
	if (r->route != NULL && strncmp(r->route->path, "/v1/acl/", 8) == 0 && r->path.len > strlen(r->route->path))
		below = r->path.len - strlen(r->route->path);
	log_debug("agent.http", "Request finished: method=%s url=%.*s%s from=%s status=%d latency=%llu.%03lluus", r->method_name,
	    (int)(r->path.len - below), r->path.p, below > 0 ? "<hidden>" : "", from, r->reply.status,
	    (unsigned long long)(ns / 1000), (unsigned long long)(ns % 1000));
}

void
request_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct httpd *h = cls;
	struct request *r = *con_cls;
	uint64_t ns;

	(void)conn;
	(void)why;
	if (r == NULL)
		return;
	*con_cls = NULL;
	conn_idle(h->conns, r->conn);
	ns = clock_ns() - r->started_ns;
	count_spinning(r, false);
	request_forget(r);
	route_measure(r, ns);
	request_log(r, ns);
	request_free(r);
	if (h->d->draining && h->nrequests == 0)
		daemon_stopped(h->d);
}
