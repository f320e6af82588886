/* index.h - rendered answers by the question's name and type. Holds them, does not own them. */
#ifndef DNSD_INDEX_H
#define DNSD_INDEX_H

#include "dnsd/answer.h"

struct answer_index {
	struct answer **buckets;
	uint32_t nbuckets, n;
	uint64_t seed;
};

int MUST_CHECK answer_index_init(struct answer_index *x, uint64_t seed);
void answer_index_release(struct answer_index *x);

struct answer *answer_index_find(const struct answer_index *x, const struct pkt_query *q);

/*
 * Answers to these n questions (INDEX_AHEAD at most) are about to be looked up and written: what that will
 * read is brought nearer, all at once, where one after the other would be waited for.
 */
enum { INDEX_AHEAD = 16 };
void answer_index_ahead(const struct answer_index *x, const struct pkt_query *q, unsigned n);

/* a must not be in it yet; it replaces nothing. */
void answer_index_add(struct answer_index *x, struct answer *a);
void answer_index_remove(struct answer_index *x, struct answer *a);

#endif
