/*
 * gather.h - asking several daemons at once for one request.
 */
#ifndef HTTPD_GATHER_H
#define HTTPD_GATHER_H

#include "httpd/request.h"

enum { GATHER_MAX = 8, GATHER_MS = 1000 };

struct question {
	enum peer peer;
	uint16_t op;
	const void *record;	/* used at once */
};

struct part {
	uint16_t op;
	enum peer peer;
	bool ok;		/* answered */
	struct str payload;	/* in the request's arena */
	struct gather *gather;
	uint32_t call;
};

struct gather {
	struct request *r;
	size_t n, pending;
	struct part parts[GATHER_MAX];
	void (*done)(struct request *r, const struct part *parts, size_t n);
};

/* Ask all; done is called when each has answered or has let GATHER_MS pass. */
void gather(struct request *r, const struct question *q, size_t n,
    void (*done)(struct request *r, const struct part *parts, size_t n));

/* Drop what is still open. */
void gather_forget(struct request *r);

#endif
