/*
 * park.h - blocking queries.
 *
 * Equal waits (same operation, parameters, datacenter, consistency, token and
 * index) share one question to the other daemon and, where they want it shown
 * the same way, one rendered answer.
 *
 * Invariant: a request with a waiter is in REQ_WAIT, its waiter is in exactly
 * one group and in the timer heap. The last waiter to leave takes
 * the question back.
 */
#ifndef HTTPD_PARK_H
#define HTTPD_PARK_H

#include "httpd/request.h"

struct park *park_new(struct httpd *h);
void park_free(struct park *p);

/* Wait as r->op, r->record, r->opts and r->read say. */
void park_join(struct request *r);

/* Nothing when the request does not wait. */
void park_leave(struct request *r);

/* Its client has gone: end the wait, if it is one, and the connection. */
void park_hangup(struct request *r);

/* End every wait: the clients are disconnected. */
void park_end_all(struct park *p);

/* Waiting clients; open questions. */
size_t park_waiters(const struct park *p);
size_t park_groups(const struct park *p);

#endif
