/*
 * cache.h - answers to ?cached.
 *
 * An entry is one question (operation, parameters, datacenter, token) with
 * its last answer. Where the question can wait for a change, a waiting copy of
 * it keeps the entry current for as long as somebody uses it; other answers
 * are believed for a short time. What is refused is forgotten at once: nobody
 * is shown anything that the token no longer may see.
 */
#ifndef HTTPD_CACHE_H
#define HTTPD_CACHE_H

#include "httpd/request.h"

enum {
	CACHE_ENTRIES_MAX = 1024,
	CACHE_BYTES_MAX = 64 * 1024 * 1024,
	CACHE_ANSWER_MAX = 8 * 1024 * 1024,	/* larger ones are not kept */
	CACHE_UNUSED_MS = 10 * 60 * 1000,	/* nobody asked for so long: dropped */
	CACHE_CHECK_MS = 30 * 1000,		/* a question that waits is asked anew after so long */
	CACHE_TTL_MS = 30 * 1000,		/* of answers that cannot be waited for; with ACLs only so long: */
	CACHE_RIGHTS_MS = 1000,			/* nothing tells when their token may see less */
	CACHE_LOST_MS = 5 * 60 * 1000,		/* answers that could not be kept current for longer are not shown */
};

struct cache *cache_new(struct httpd *h);
void cache_free(struct cache *c);

/* A read with ?cached, as upstream_read(): from the cache, or into it. */
void cache_read(struct request *r, uint16_t op, const void *record, render_fn *render);

/* For `info`. */
size_t cache_entries(const struct cache *c);
size_t cache_bytes(const struct cache *c);

#endif
