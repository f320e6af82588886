/* respond.c - building answers and handing them to the library. */
#include "httpd/respond.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "httpd/gzip.h"
#include "httpd/routes.h"
#include "lib/json.h"

enum { STREAM_BLOCK = 4096, LARGE_BLOCK = 64 * 1024 };

void
reply_init(struct reply *rp)
{
	*rp = (struct reply){ .status = 200 };
	buf_init(&rp->body, (size_t)RPC_REPLY_MAX * 2);
}

void
reply_clear(struct reply *rp)
{
	struct buf body = rp->body;

	buf_shrink(&body, HTTP_KEEP_BYTES);
	*rp = (struct reply){ .status = 200, .body = body };
}

int
reply_text(struct reply *rp, int status, const char *fmt, ...)
{
	va_list ap;
	int rc;

	rp->status = status;
	rp->content = CONTENT_TEXT;
	va_start(ap, fmt);
	rc = buf_vaddf(&rp->body, fmt, ap);
	va_end(ap);
	return rc;
}

int
reply_mp(const struct view *v, struct str value, struct reply *rp)
{
	struct mp_r in = mp_r_init(value.p, value.len);
	bool pretty = (v->flags & VIEW_PRETTY) != 0;
	int rc = json_from_mp(&rp->body, &in, pretty ? "    " : NULL);

	rp->content = CONTENT_JSON;
	if (rc == 0 && pretty)
		rc = buf_addc(&rp->body, '\n');
	return rc;
}

int
render_json(const struct view *v, struct str payload, struct reply *ret)
{
	ret->status = 200;
	return reply_mp(v, payload, ret);
}

/* ---- completing a request */

void
respond_done(struct request *r)
{
	r->state = REQ_READY;
	request_wake(r);
}

/* Without memory for an answer there is only the status left. */
static void
respond_rc(struct request *r, int rc)
{
	if (rc < 0) {
		buf_clear(&r->reply.body);
		r->reply.status = 500;
		r->reply.content = CONTENT_NONE;
	}
	respond_done(r);
}

void
respond_empty(struct request *r, int status)
{
	buf_clear(&r->reply.body);
	r->reply.status = status;
	r->reply.content = CONTENT_NONE;
	respond_done(r);
}

void
respond_text(struct request *r, int status, const char *fmt, ...)
{
	va_list ap;
	int rc;

	buf_clear(&r->reply.body);
	r->reply.status = status;
	r->reply.content = CONTENT_TEXT;
	va_start(ap, fmt);
	rc = buf_vaddf(&r->reply.body, fmt, ap);
	va_end(ap);
	respond_rc(r, rc);
}

void
respond_bad(struct request *r, const char *text)
{
	respond_text(r, 400, "%s", text);
}

void
respond_bool(struct request *r, bool v)
{
	r->reply.content = CONTENT_JSON;
	respond_rc(r, buf_addf(&r->reply.body, "%s%s", v ? "true" : "false",
	    (r->view.flags & VIEW_PRETTY) != 0 ? "\n" : ""));
}

void
respond_mp(struct request *r, int status, struct str value)
{
	int rc = reply_mp(&r->view, value, &r->reply);

	if (rc == -EDECODE) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	r->reply.status = status;
	respond_rc(r, rc);
}

void
respond_moved(struct request *r, const char *location)
{
	int rc = 0;

	r->reply.status = 301;
	r->reply.name = "Location";
	r->reply.value = location;
	if (r->method == M_GET) {
		r->reply.content = CONTENT_HTML;
		rc = buf_addf(&r->reply.body, "<a href=\"%s\">Moved Permanently</a>.\n\n", location);
	}
	respond_rc(r, rc);
}

/* ---- failures */

/* Whether the request cannot have left this process. */
static bool
never_sent(const struct request *r)
{
	const struct httpd *h = r->h;

	if (r->call_linked)
		return false;
	for (int i = 0; i < PEERS; i++)
		if (h->peers[i].client == r->peer)
			return h->peers[i].connects == r->call_connects;
	return false;
}

static int
no_answer(struct request *r, struct buf *text)
{
	const struct op_info *op = op_info(r->op);
	bool changes = op != NULL && (op->access == OP_ACCESS_WRITE || op->access == OP_ACCESS_ACT ||
	    (op->access == OP_ACCESS_LEADER && r->method != M_GET));

	if (changes && !never_sent(r)) {
		if (buf_addf(text, "no answer from %s: it is unknown whether the request was carried out",
		    op_server_name(op->server)) < 0)
			buf_clear(text);
		return 500;
	}
	if (op == NULL || op->server == OP_SERVER_RAFTD ? buf_adds(text, "No cluster leader") < 0 :
	    buf_addf(text, "no answer from %s", op_server_name(op->server)) < 0)
		buf_clear(text);
	return 500;
}

int
failure_text(struct request *r, const struct rpc_answer *a, struct buf *text)
{
	struct rpc_error e;

	buf_clear(text);
	if (a->rc != -EPROTO)
		return no_answer(r, text);
	rpc_error_decode(a, &e);
	/* Consul answers a limited rate with the status alone. */
	if (e.code == 429 && str_eqs(e.text, "RPC rate limit exceeded"))
		return 429;
	if (buf_add(text, e.text.p, e.text.len) < 0)
		buf_clear(text);
	return (int)e.code;
}

void
respond_failed(struct request *r, const struct rpc_answer *a)
{
	r->reply.flags = 0;
	r->reply.status = failure_text(r, a, &r->reply.body);
	r->reply.content = r->reply.body.len > 0 ? CONTENT_TEXT : CONTENT_NONE;
	respond_done(r);
}

/* ---- the library's response */

static const char *
content_type(enum content c)
{
	switch (c) {
	case CONTENT_NONE:
		return NULL;
	case CONTENT_JSON:
		return "application/json";
	case CONTENT_TEXT:
		return "text/plain; charset=utf-8";
	case CONTENT_PLAIN:
		return "text/plain";
	case CONTENT_HTML:
		return "text/html; charset=utf-8";
	case CONTENT_PROMETHEUS:
		return "text/plain; version=0.0.4; charset=utf-8";
	case CONTENT_LOG:
		return "text/plain; charset=utf-8";
	case CONTENT_EVENTS:
		return "text/event-stream";
	case CONTENT_NDJSON:
		return "application/x-ndjson";
	case CONTENT_GZIP:
		return "application/x-gzip";
	}
	return NULL;
}

static void
header(struct MHD_Response *m, const char *name, const char *value)
{
	/* A header that the library refuses (no memory, a newline in it) is left out. */
	(void)MHD_add_response_header(m, name, value);
}

static void
header_u64(struct MHD_Response *m, const char *name, uint64_t v)
{
	char text[24], *p = text + sizeof(text) - 1;

	*p = '\0';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	header(m, name, p);
}

static void
meta_headers(struct MHD_Response *m, const struct reply *rp)
{
	static const char *const names[] = { "leader", "consistent", "stale" };

	if ((rp->flags & (REPLY_META | REPLY_INDEX)) != 0)
		header_u64(m, "X-Consul-Index", rp->meta.index != 0 ? rp->meta.index : 1);
	if ((rp->flags & REPLY_META) != 0)
		header(m, "X-Consul-Query-Backend", "blocking-query");
	if ((rp->flags & (REPLY_META | REPLY_LEADER)) != 0) {
		header(m, "X-Consul-Knownleader", rp->meta.known_leader ? "true" : "false");
		header_u64(m, "X-Consul-Lastcontact", rp->meta.last_contact_ms > 0 ? (uint64_t)rp->meta.last_contact_ms : 0);
	}
	if ((rp->flags & REPLY_CONSISTENCY) != 0)
		header(m, "X-Consul-Effective-Consistency", names[rp->consistency <= 2 ? rp->consistency : 0]);
	if ((rp->flags & REPLY_CACHE) != 0)
		header(m, "X-Cache", rp->cache_hit ? "HIT" : "MISS");
	if ((rp->flags & REPLY_CACHE) != 0 && rp->cache_hit)
		header_u64(m, "Age", rp->age_s);
	if ((rp->flags & REPLY_RAW) != 0) {
		header(m, "X-Content-Type-Options", "nosniff");
		header(m, "Content-Security-Policy", "sandbox");
	}
}

static void
config_headers(const struct httpd *h, struct MHD_Response *m)
{
	if (h->cfg.translate_wan)
		header(m, "X-Consul-Translate-Addresses", "true");
	if (h->cfg.response_headers == NULL)
		return;
	json_object_object_foreach(h->cfg.response_headers, name, value)
		header(m, name, json_object_get_string(value));
}

/* Compress in place when the client wants it and it is worth it. */
static bool
compressed(struct httpd *h, const struct view *v, struct reply *rp)
{
	return (v->flags & VIEW_GZIP) != 0 && rp->body.len >= HTTP_GZIP_MIN && gzip_buf(h->gzip, &rp->body) == 0;
}

static void
all_headers(struct httpd *h, const struct view *v, const struct reply *rp, struct MHD_Response *m)
{
	const char *type = content_type(rp->content);
	char allow[ALLOW_TEXT_MAX];

	header(m, "Vary", "Accept-Encoding");
	if (type != NULL)
		header(m, "Content-Type", type);
	if (v->route == NULL || (v->route->flags & RT_PLAIN) == 0)
		header(m, "X-Consul-Default-Acl-Policy", h->cfg.default_policy);
	if (rp->flags != 0)
		meta_headers(m, rp);
	if (rp->meta.filtered)
		header(m, "X-Consul-Results-Filtered-By-ACLs", "true");
	if ((rp->flags & REPLY_ALLOW) != 0 && v->route != NULL) {
		route_allow(v->route, allow);
		header(m, "Allow", allow);
	}
	if (rp->name != NULL)
		header(m, rp->name, rp->value != NULL ? rp->value : rp->text);
	config_headers(h, m);
}

/*
 * Clients that ask for much and take little must not fill the memory: beyond
 * HTTP_UNSENT_MAX a large answer becomes a short one that says so. What was
 * counted, for unsent_release().
 */
static size_t
unsent_count(struct httpd *h, struct reply *rp)
{
	size_t n = rp->body.cap;

	if (n <= HTTP_LARGE)
		return 0;
	if (h->unsent == 0 || h->unsent + n <= HTTP_UNSENT_MAX) {
		h->unsent += n;
		return n;
	}
	buf_release(&rp->body);
	rp->flags = 0;
	if (reply_text(rp, 503, "too many large answers are waiting for their clients to take them") < 0)
		rp->content = CONTENT_NONE;
	return 0;
}

void
respond_sent(struct request *r)
{
	r->h->unsent -= r->unsent;
	r->unsent = 0;
	shared_reply_unref(r->shared);
	r->shared = NULL;
}

static struct MHD_Response *
response_make(struct httpd *h, const struct view *v, struct reply *rp)
{
	bool gz = compressed(h, v, rp);
	struct MHD_Response *m = MHD_create_response_from_buffer(rp->body.len, rp->body.data, MHD_RESPMEM_PERSISTENT);

	if (m == NULL)
		return NULL;
	all_headers(h, v, rp, m);
	if (gz)
		header(m, "Content-Encoding", "gzip");
	return m;
}

struct shared_reply *
shared_reply_new(struct httpd *h, const struct view *v, struct reply *rp)
{
	struct shared_reply *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->h = h;
	s->unsent = unsent_count(h, rp);
	s->reply = *rp;
	reply_init(rp);
	s->mhd = response_make(h, v, &s->reply);
	if (s->mhd == NULL) {
		shared_reply_unref(s);
		return NULL;
	}
	return s;
}

struct shared_reply *
shared_reply_stream(struct httpd *h, const struct view *v, const struct reply *rp, uint64_t size,
    MHD_ContentReaderCallback reader, void *cls)
{
	struct shared_reply *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->h = h;
	reply_init(&s->reply);
	s->mhd = MHD_create_response_from_callback(size, size == MHD_SIZE_UNKNOWN ? STREAM_BLOCK : LARGE_BLOCK, reader, cls, NULL);
	if (s->mhd == NULL) {
		shared_reply_unref(s);
		return NULL;
	}
	all_headers(h, v, rp, s->mhd);
	return s;
}

void
shared_reply_unref(struct shared_reply *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	if (s->mhd != NULL)
		MHD_destroy_response(s->mhd);
	s->h->unsent -= s->unsent;
	buf_release(&s->reply.body);
	free(s);
}

enum MHD_Result
respond_queue(struct request *r)
{
	enum MHD_Result ok;
	struct MHD_Response *m;

	if (r->shared != NULL) {
		r->reply.status = r->shared->reply.status;
		ok = MHD_queue_response(r->mhd, (unsigned)r->shared->reply.status, r->shared->mhd);
	} else {
		r->unsent = unsent_count(r->h, &r->reply);
		m = response_make(r->h, &r->view, &r->reply);
		if (m == NULL)
			return MHD_NO;
		ok = MHD_queue_response(r->mhd, (unsigned)r->reply.status, m);
		MHD_destroy_response(m);
	}
	r->state = REQ_SENT;
	r->h->moved++;
	return ok;
}
