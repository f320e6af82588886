/*
 * alarm.h - moments at which something is due, the earliest first.
 *
 * Pure: a pairing heap without memory of its own, so that nothing can be
 * refused. An alarm is a member of what waits for it.
 */
#ifndef CHECKD_ALARM_H
#define CHECKD_ALARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not set when it is all zeros. It must stay where it is, and be cleared before its memory goes. */
struct alarm {
	uint64_t at_ms;
	struct alarm *child, *next;
	struct alarm **link;	/* what points to it in the heap; NULL: it is not set */
	void (*due)(struct alarm *a, uint64_t now_ms);
};

struct alarm_heap {
	struct alarm *first;	/* NULL: none is set */
};

/* Set it, or set it to another moment. */
void alarm_heap_set(struct alarm_heap *h, struct alarm *a, uint64_t at_ms);

/* It is due no more; nothing for one that is not set. */
void alarm_heap_clear(struct alarm_heap *h, struct alarm *a);

/* The earliest, cleared, when its moment has come; NULL otherwise. */
struct alarm *alarm_heap_take(struct alarm_heap *h, uint64_t now_ms);

static inline bool
alarm_is_set(const struct alarm *a)
{
	return a->link != NULL;
}

#endif
