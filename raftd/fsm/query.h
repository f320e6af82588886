/*
 * query.h - what the reads of catalog and health share.
 */
#ifndef RAFTD_FSM_QUERY_H
#define RAFTD_FSM_QUERY_H

#include "lib/bexpr.h"
#include "raftd/fsm/state.h"

/* A list being written: records of one kind that pass the filter. */
struct list {
	const struct fsm *f;
	const struct record *rec;
	struct mp_w *out;
	struct bexpr *filter;
	size_t at;
	uint32_t n;
};

/* A filter that is not one is told in err; then nothing was begun. */
int MUST_CHECK list_begin(struct list *l, const struct fsm *f, const struct record *rec, struct str filter,
    struct mp_w *out, struct fsm_error *err);
void list_add(struct list *l, const void *obj);	/* if it passes; what the asker may not see is not offered */
void list_end(struct list *l);

/* Whether the asker may be shown a check; an instance, by the name of its node and its own. */
bool shows_check(const struct fsm *f, const struct health_check *c);
bool shows_instance(const struct fsm *f, struct str node, struct str service);

bool meta_matches(const struct strmap *have, const struct strmap *want);
bool tags_match(const struct strs *have, const struct strs *want);
/* The node, NULL when its metadata is not what was asked for. */
const struct node_item *host_of(const struct fsm *f, struct str node_key, const struct catalog_query *q);
uint64_t name_index(const struct fsm *f, struct str name_key, bool with_checks);

/* ---- health.c */

struct checks {
	struct health_check *v;		/* arena */
	size_t n, cap;
};

/* The checks of an instance: those of its node first, then its own, each by ID. all is used again for the next one. -ENOMEM. */
int MUST_CHECK gather_checks(const struct fsm *f, const struct service_item *s, struct checks *all);

/* ---- near.c: items in the order of their distance from a node */

typedef int near_emit(void *ctx, const void *item);
struct near_item;
struct near {
	const struct fsm *f;
	near_emit *emit;
	void *ctx;
	bool sorts;
	struct str node, prefix;	/* measured from: its key, and that with a NUL behind */
	struct near_item *v;		/* arena */
	size_t n, cap;
	struct str last;		/* node of the last item */
	double last_seconds;
};

/* node: "" for the order in which items come. */
void near_begin(struct near *s, const struct fsm *f, struct str node, near_emit *emit, void *ctx);
/* An item of this node (its key); both must last until near_end(). Emitted at once when nothing is sorted. -ENOMEM, or what emit returned. */
int MUST_CHECK near_put(struct near *s, const void *item, struct str node_key);
/* Emit what has not been yet. */
int MUST_CHECK near_end(struct near *s);
/* Behind near_end(): the place of each item emitted among the distances, from 0; equal ones share it. All 0 when nothing was sorted. */
void near_ranks(const struct near *s, uint32_t *out, size_t n);
/* The instances (service_item) of a service with these tags, in the order asked for; their nodes are not looked at. Until out has an error. */
int MUST_CHECK walk_instances(const struct fsm *f, const struct catalog_query *q, struct str name, near_emit *emit, void *ctx,
    const struct mp_w *out);

#endif
