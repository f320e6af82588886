/*
 * request.h - one HTTP request, from its first line to the last byte of its
 * answer.
 *
 * A request is always in exactly one state. Its connection is suspended only
 * in REQ_WAIT, or by what streams its body or its answer (monitor.h,
 * snapshot.h). Requests are reused: what they decode lies in their arena and
 * buffers, which are warm.
 */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <microhttpd.h>

#include "httpd/httpd.h"
#include "httpd/params.h"
#include "httpd/path.h"

enum http_method { M_GET = 1, M_PUT = 2, M_DELETE = 4, M_POST = 8, M_OPTIONS = 16, M_OTHER = 32 };

enum req_state {
	REQ_HEAD,	/* the first line is there */
	REQ_BODY,	/* collecting the body */
	REQ_DRAIN,	/* answered, but a declared body still comes: dropped */
	REQ_WAIT,	/* for other daemons */
	REQ_READY,	/* the answer stands in `reply` */
	REQ_SENT,	/* the library has it */
	REQ_GONE,	/* the client left: close */
};

enum content { CONTENT_NONE, CONTENT_JSON, CONTENT_TEXT, CONTENT_PLAIN, CONTENT_HTML, CONTENT_PROMETHEUS, CONTENT_LOG, CONTENT_EVENTS, CONTENT_NDJSON,
	CONTENT_GZIP };

enum reply_flag {
	REPLY_META = 1,		/* index, known leader, last contact, backend */
	REPLY_CONSISTENCY = 2,	/* effective consistency */
	REPLY_RAW = 4,		/* a raw KV value: no sniffing, sandboxed */
	REPLY_CACHE = 8,	/* an answer to ?cached */
	REPLY_LEADER = 16,	/* known leader and last contact alone */
	REPLY_ALLOW = 32,	/* what the route allows */
	REPLY_INDEX = 64,	/* the index alone */
};

/* An answer, whoever gets it. */
struct reply {
	int status;
	enum content content;
	unsigned flags;			/* enum reply_flag */
	uint64_t consistency;		/* enum consistency */
	struct query_meta meta;
	bool cache_hit;			/* with REPLY_CACHE: from the cache, */
	uint64_t age_s;			/* and so old */
	const char *name, *value;	/* one more header, or NULL; value NULL: text */
	char text[64];
	struct buf body;
};

/* What of a request decides how a payload is shown; equal views share a rendered answer. */
enum view_flag {
	VIEW_PRETTY = 1,
	VIEW_GZIP = 2,
	VIEW_RAW = 4,
	VIEW_PASSING = 8,
	VIEW_MISSING_EMPTY = 16,	/* nothing found is [] rather than 404 */
	VIEW_TEXT = 32,
	VIEW_PAGE = 64,			/* KV: the payload is a part of a list, and whether there is more */
	VIEW_COUNT = 128,		/* KV: it is a number */
};

struct view {
	const struct route *route;
	unsigned flags;			/* enum view_flag */
	unsigned reply_flags;
	uint64_t consistency;
};

/* Turn a reply's payload into an answer; -EDECODE when it cannot be read, -ENOMEM, -ELIMIT. */
typedef int render_fn(const struct view *v, struct str payload, struct reply *ret);

struct cache_question;
struct conn;
struct shared_reply;
struct waiter;
struct gather;
struct monitor;
struct stream;
struct transfer;

struct request {
	struct httpd *h;
	struct request *next, **prev;	/* among the open ones; next: among the spare ones too */
	struct conn *conn;
	struct MHD_Connection *mhd;
	enum req_state state;
	bool suspended, counted;	/* counted: in httpd.spinning */
	uint64_t started_ns;

	const struct route *route;	/* NULL before the head is read, and for an unknown path */
	enum http_method method;
	char method_name[16];
	const char *uri_at;		/* in the library's buffer, only compared */
	struct buf uri;			/* as it came; decoded in place */
	struct str path, rest;		/* rest: what stands below the route */
	struct params params;
	struct str accept, cache_control;
	bool gzip_ok;
	struct query_options opts;
	struct read_params read;
	struct arena arena;

	struct buf body;
	uint64_t body_max, declared, dropped;	/* declared: UINT64_MAX when chunked */

	/* what is being waited for: a call, a place among the waiters, several calls */
	struct rpc_client *peer;
	uint32_t call;
	uint64_t call_connects;		/* the peer's connects when it was made */
	bool call_linked;
	void (*done)(struct request *r, const struct rpc_answer *a);
	const char *about;		/* what the answer is about, for its texts */
	uint16_t op;
	const void *record;		/* of a read, kept to ask again */
	struct cache_question *question;	/* what the cache has been asked for */
	render_fn *render;
	struct view view;
	struct waiter *waiter;
	struct gather *gather;
	struct monitor *monitor;
	struct stream *stream;
	struct transfer *transfer;

	struct reply reply;
	size_t unsent;			/* its part of httpd.unsent */
	struct shared_reply *shared;	/* instead of reply */
};

/* Callbacks of the library (server.c). */
void *request_log_uri(void *cls, const char *uri, struct MHD_Connection *conn);
enum MHD_Result request_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **con_cls);
void request_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why);

/* The answer is complete, or the client has gone: have the library come for it. */
void request_wake(struct request *r);

/* The address of the client at the other end of the connection, in the request's arena; empty on a Unix socket. (query.c) */
struct str request_ip(struct request *r);

/* Its client has gone: the connection is closed, from wherever this is found out. */
void request_gone(struct request *r);

/* Stop waiting for anybody. */
void request_forget(struct request *r);

/* The end is near: drop every request that waits, and have its connection closed. */
void requests_abandon(struct httpd *h);

/* Free the spare ones. */
void requests_release(struct httpd *h);

#endif
