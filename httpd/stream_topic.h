/*
 * stream_topic.h - what streams follow: one question a topic for all streams
 * with the same rights, and what each still has to be told.
 *
 * A feed is one topic of one stream. It knows how far its stream has been told
 * (pos) and holds at most one batch of changes that is being told; when its
 * topic goes on meanwhile, the feed catches up afterwards with what has changed
 * since, each thing once. So a slow reader costs one batch, which equal feeds
 * share, and gets the newest state sooner than every step to it.
 */
#ifndef HTTPD_STREAM_TOPIC_H
#define HTTPD_STREAM_TOPIC_H

#include "httpd/httpd.h"

enum topic_kind { TOPIC_KV, TOPIC_SERVICE, TOPIC_NODE };

struct topic;
struct topics;
struct feed;

/* Changes: a msgpack map of Reset, Entries and Deleted, in this order. Shared, not changed. */
struct batch {
	unsigned refs;
	struct httpd *h;
	uint64_t to;		/* the index behind them */
	bool reset;		/* Entries is all there is */
	uint32_t nentries, ndeleted;
	size_t entries_at, counted;
	struct buf payload;
};

struct feed_owner {
	void (*ready)(void *arg, struct feed *f);	/* f->batch is there to be told */
	/* What this topic is asked for is refused: the last call. */
	void (*failed)(void *arg, struct feed *f, int status, struct str text);
	void *arg;
};

struct feed {
	struct feed *next, **prev;	/* of the topic */
	struct topic *topic;
	const struct feed_owner *owner;
	uint64_t pos;
	bool in_step;			/* nothing to tell, and told by the topic when there is */
	bool restart;			/* what it was told is not to be built on */
	struct batch *batch;
	uint32_t call;			/* to catch up */
	bool calls;			/* it has to be asked (again) */
};

struct topics *topics_new(struct httpd *h);
void topics_free(struct topics *ts);

/* "kv:app/": what it is about and of whom or what; false: no topic. */
bool topic_parse(struct str text, enum topic_kind *ret_kind, struct str *ret_name);

/* Follow a topic with these rights from behind an index (0: from what there is). f is the caller's. -ENOMEM. */
int MUST_CHECK feed_open(struct topics *ts, struct feed *f, enum topic_kind kind, struct str name,
    const struct query_options *o, uint64_t since, const struct feed_owner *owner);

/* The batch has been told: on to what comes next. */
void feed_told(struct feed *f);

/* Nothing when it is not open. */
void feed_close(struct feed *f);

/* Questions that failed for reasons that pass are asked again: once a second. */
void topics_tick(struct topics *ts);

/* Open ones, for `info`. */
size_t topics_count(const struct topics *ts);

#endif
