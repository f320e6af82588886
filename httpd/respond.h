/*
 * respond.h - answers: texts, JSON from msgpack, headers.
 *
 * Each respond_*() completes the request's answer, once.
 */
#ifndef HTTPD_RESPOND_H
#define HTTPD_RESPOND_H

#include "httpd/request.h"

/* An answer without a body. */
void respond_empty(struct request *r, int status);

/* A text, as errors are told. */
void respond_text(struct request *r, int status, const char *fmt, ...) PRINTF(3, 4);

/* The same, 400. */
void respond_bad(struct request *r, const char *text);

/* `true` or `false` in JSON. */
void respond_bool(struct request *r, bool v);

/* A msgpack value as JSON, with this status. */
void respond_mp(struct request *r, int status, struct str value);

/* Redirect. */
void respond_moved(struct request *r, const char *location);

/* A failed call: the other daemon's words, or why there was no answer. */
void respond_failed(struct request *r, const struct rpc_answer *a);

/* The answer in r->reply is complete. */
void respond_done(struct request *r);

/* Why a call failed: status and text (appended to text, which is bounded). */
int failure_text(struct request *r, const struct rpc_answer *a, struct buf *text);

/* ---- what answers are made of */

void reply_init(struct reply *rp);
void reply_clear(struct reply *rp);	/* keeps some memory */

/* A text as the body. */
int MUST_CHECK reply_text(struct reply *rp, int status, const char *fmt, ...) PRINTF(3, 4);

/* Append a msgpack value as JSON, indented and ended as the view wants. */
int MUST_CHECK reply_mp(const struct view *v, struct str value, struct reply *rp);

/* The common rendering: status 200, the payload as JSON. */
render_fn render_json;

/* ---- handing it to the library */

/* An answer that several requests share. */
struct shared_reply {
	unsigned refs;
	struct reply reply;
	struct MHD_Response *mhd;
	struct httpd *h;
	size_t unsent;
};

/* Takes what rp holds; NULL without memory. One reference is the caller's. */
struct shared_reply *shared_reply_new(struct httpd *h, const struct view *v, struct reply *rp);
/* The same for a body that is read piece by piece: size bytes, or (MHD_SIZE_UNKNOWN) until its reader ends it. */
struct shared_reply *shared_reply_stream(struct httpd *h, const struct view *v, const struct reply *rp, uint64_t size,
    MHD_ContentReaderCallback reader, void *cls);
void shared_reply_unref(struct shared_reply *s);

/* The answer of this request has gone to its client, or the client has. */
void respond_sent(struct request *r);

/* Queue the answer of a request in REQ_READY. */
enum MHD_Result respond_queue(struct request *r);

#endif
