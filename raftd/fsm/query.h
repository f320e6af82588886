/*
 * query.h - what the reads of catalog and health share.
 */
#ifndef RAFTD_FSM_QUERY_H
#define RAFTD_FSM_QUERY_H

#include "lib/bexpr.h"
#include "raftd/fsm/state.h"

/* A list being written: records of one kind that pass the filter. */
struct list {
	const struct record *rec;
	struct mp_w *out;
	struct bexpr *filter;
	size_t at;
	uint32_t n;
};

/* A filter that is not one is told in err; then nothing was begun. */
int MUST_CHECK list_begin(struct list *l, const struct fsm *f, const struct record *rec, struct str filter,
    struct mp_w *out, struct fsm_error *err);
bool list_keep(const struct list *l, const void *obj);
void list_add(struct list *l, const void *obj);
void list_end(struct list *l);

bool meta_matches(const struct strmap *have, const struct strmap *want);
bool tags_match(const struct strs *have, const struct strs *want);
/* The node, NULL when its metadata is not what was asked for. */
const struct node_item *host_of(const struct fsm *f, struct str node_key, const struct catalog_query *q);
uint64_t name_index(const struct fsm *f, struct str name_key, bool with_checks);

#endif
