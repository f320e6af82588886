/*
 * watch_plan.h - what a watch looks at: the question for each type, and the
 * document that comes of its answer.
 */
#ifndef CONSULCTL_CMD_WATCH_PLAN_H
#define CONSULCTL_CMD_WATCH_PLAN_H

#include "consulctl/client/client.h"

enum watch_type { WATCH_KEY, WATCH_KEYPREFIX, WATCH_SERVICES, WATCH_NODES, WATCH_SERVICE, WATCH_CHECKS, WATCH_EVENT };

struct watch_plan {
	enum watch_type type;
	const char *type_name, *key, *prefix, *service, *state, *name;
	const struct options *options;	/* for the repeatable -tag */
	bool passing_only, stale;
};

/* From the flags. -EINVAL with a sentence in err. */
int MUST_CHECK watch_plan_init(struct watch_plan *p, const struct options *o, struct buf *err);

/* The question; index 0 does not wait. */
void watch_plan_request(const struct watch_plan *p, uint64_t index, struct request *r);

/* May a 404 be its answer? */
bool watch_plan_may_miss(const struct watch_plan *p);

/*
 * The answer's document, without blanks. last is the index of the document
 * before (0: none), of which a watch of events shows what came since.
 */
int MUST_CHECK watch_plan_document(const struct watch_plan *p, struct request *r, uint64_t last, struct buf *out);

#endif
