/*
 * monitor.h - streaming the log lines of every daemon to a client.
 *
 * Each daemon sends as many lines as it has credit for; credit comes back when
 * the client has taken them, so a slow client bounds what is kept for it.
 */
#ifndef HTTPD_MONITOR_H
#define HTTPD_MONITOR_H

#include "httpd/request.h"

struct monitors *monitors_new(struct httpd *h);
void monitors_free(struct monitors *ms);

/* End every stream. */
void monitors_end_all(struct monitors *ms);

/* The request of a stream is over; nothing when it is none. */
void monitor_leave(struct request *r);

/* Its client has gone; nothing when it is no stream. */
void monitor_hangup(struct request *r);

#endif
