/*
 * linear.h - is a history of concurrent operations linearizable?
 *
 * The search is that of Wing and Gong (1993) with Lowe's memory of the
 * states already visited (2017): take any operation that begins before the
 * first one ends, apply it, go on; when stuck, take the last one back. Keys
 * are independent and are checked one by one (Herlihy and Wing, locality).
 *
 * A key is a register, or a lock, by the operations used on it. Values are
 * numbers; 0 is "absent", or "held by nobody".
 */
#ifndef T_SIM_LINEAR_H
#define T_SIM_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As ret: the outcome is unknown, it may have taken effect at any time since, or never. */
#define LINEAR_UNKNOWN UINT64_MAX

enum linear_kind {
	LINEAR_GET,		/* saw `seen` */
	LINEAR_PUT,		/* of `value`; not ok: has had no effect */
	LINEAR_CAS,		/* `value` in place of `expect`; not ok: something else was there (`seen`, if saw) */
	LINEAR_DELETE,
	LINEAR_ACQUIRE,		/* by session `value`; ok also if it is the holder already; not ok: another one holds it */
	LINEAR_RELEASE,		/* by session `value`; not ok: it was not the holder */
};

struct linear_op {
	enum linear_kind kind;
	uint64_t client, key;
	uint64_t call, ret;
	uint64_t value, expect, seen;
	bool ok, saw;
};

enum linear_verdict { LINEAR_OK, LINEAR_BAD, LINEAR_HARD };

/*
 * Sorts ops and fits in what can be told of unknown outcomes. LINEAR_BAD and
 * LINEAR_HARD (gave up, out of its bounds of memory) say at which key.
 */
enum linear_verdict linear_check(struct linear_op *ops, size_t n, uint64_t *ret_key);

#endif
