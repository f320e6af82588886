/*
 * hangup.h - noticing that a client has gone whose connection the library
 * does not look at.
 */
#ifndef HTTPD_HANGUP_H
#define HTTPD_HANGUP_H

#include "lib/loop.h"

/* Embedded in what waits. A half-closed connection counts as gone. */
struct hangup {
	int fd;		/* -1: not watched */
	void (*cb)(struct hangup *hu);
};

struct hangups;

struct hangups *hangups_new(struct loop *l);
void hangups_free(struct hangups *s);

/* Call hu->cb, once, when the peer of fd has closed. -errno. */
int MUST_CHECK hangup_watch(struct hangups *s, struct hangup *hu, int fd);

/* Before the connection is given back to the library. */
void hangup_unwatch(struct hangups *s, struct hangup *hu);

#endif
