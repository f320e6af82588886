/*
 * upstream.h - asking the other daemons on behalf of a request.
 */
#ifndef HTTPD_UPSTREAM_H
#define HTTPD_UPSTREAM_H

#include "httpd/request.h"

int MUST_CHECK upstream_init(struct httpd *h);
void upstream_release(struct httpd *h);

/* The client of the daemon that serves an operation. */
struct rpc_client *upstream_client(struct httpd *h, uint16_t op);

/* The connection to the daemon whose client this is. */
const struct peer_link *upstream_link(const struct httpd *h, const struct rpc_client *c);

/*
 * A read. Its answer is shown by render, with the headers that r->view names;
 * when r->opts asks for a later index (or the record for another hash) than
 * there is, the client is parked. record is the operation's, and is copied.
 */
void upstream_read(struct request *r, uint16_t op, const void *record, render_fn *render);

/* Ask again without waiting: the answer after a wait that nothing ended. */
void upstream_read_now(struct request *r);

/*
 * Whether an answer is older than its asker wants to have it. Then the request
 * now asks for the leader's; it may be asked again, once.
 */
bool upstream_too_stale(struct request *r, const struct rpc_answer *a);

/* Decode an answer into rp as the view wants it; a negative code of the decoder or renderer. */
int MUST_CHECK upstream_render(struct httpd *h, const struct view *v, render_fn *render, const struct rpc_answer *a,
    struct reply *rp);

typedef void upstream_done(struct request *r, const struct rpc_answer *a);

/* A change: stamped when it goes through the log. done gets every outcome, failures included. */
void upstream_write(struct request *r, uint16_t op, const void *record, upstream_done *done);

/* A question whose answer done looks at: sent again when the connection is lost. */
void upstream_ask(struct request *r, uint16_t op, const void *record, upstream_done *done);

/* The payload of an answer that must be there: false when the request was answered with the failure. */
bool upstream_payload(struct request *r, const struct rpc_answer *a, struct str *ret);

/* For upstream_write(): any success is 200 without a body; ... `true` or `false` as the payload says; ... `true`; {"ID": the payload}. */
upstream_done upstream_ok_empty, upstream_ok_bool, upstream_ok_true, upstream_ok_id;

/* The request does not care any more. */
void upstream_forget(struct request *r);

#endif
