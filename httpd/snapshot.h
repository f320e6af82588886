/*
 * snapshot.h - /v1/snapshot: archives that flow through in pieces, whatever
 * their size.
 *
 * A download asks for the next piece when the client has taken one; an upload
 * is not read from while two pieces of it wait for raftd. A connection is
 * suspended for either only while its own call is open.
 */
#ifndef HTTPD_SNAPSHOT_H
#define HTTPD_SNAPSHOT_H

#include "httpd/request.h"

/* Some of the body of a PUT. False: the connection cannot go on. */
bool snapshot_body(struct request *r, const char *data, size_t len);

/* The request is over: raftd forgets what it kept for it. Nothing when it is none of these. */
void snapshot_leave(struct request *r);

/* Its client has gone; nothing when it is none of these. */
void snapshot_hangup(struct request *r);

/* The end is near: it must not stay suspended. */
void snapshot_abandon(struct request *r);

#endif
