/*
 * stream.h - /v1/stream: changes of topics as they happen, as Server-Sent
 * Events or newline-delimited JSON.
 *
 * Events are made when the client can take them: until then a stream holds
 * its place in what it is being told and nothing that grows.
 */
#ifndef HTTPD_STREAM_H
#define HTTPD_STREAM_H

#include "httpd/request.h"

struct streams *streams_new(struct httpd *h);
void streams_free(struct streams *ss);

/* End every stream, with a last event that says so. */
void streams_end_all(struct streams *ss);

/* The request of a stream is over; nothing when it is none. */
void stream_leave(struct request *r);

/* Its client has gone; nothing when it is no stream. */
void stream_hangup(struct request *r);

/* Open streams, and what they follow together. */
unsigned streams_count(const struct streams *ss);
size_t streams_topics(const struct streams *ss);

#endif
