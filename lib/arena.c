/* arena.c - blocks of doubling size, the oldest kept for the next use. */
#include "lib/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_FIRST = 4096, ARENA_BLOCK_MAX = 1 << 20 };

struct arena_block {
	struct arena_block *next;
	size_t cap, len;
	alignas(max_align_t) unsigned char mem[];
};

void
arena_init(struct arena *a, size_t max)
{
	*a = (struct arena)ARENA_INIT(max);
}

static struct arena_block *
block_for(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	size_t cap;

	if (b != NULL && b->cap - b->len >= n)
		return b;
	cap = b == NULL ? ARENA_FIRST : b->cap * 2;
	if (cap > ARENA_BLOCK_MAX)
		cap = ARENA_BLOCK_MAX;
	if (cap < n)
		cap = n;
	b = malloc(sizeof(*b) + cap);
	if (b == NULL)
		return NULL;
	b->next = a->blocks;
	b->cap = cap;
	b->len = 0;
	a->blocks = b;
	return b;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + alignof(max_align_t) - 1) & ~(size_t)(alignof(max_align_t) - 1);
	if (n == 0)
		n = alignof(max_align_t);
	if (n > a->max - a->used)
		return NULL;
	b = block_for(a, n);
	if (b == NULL)
		return NULL;
	p = b->mem + b->len;
	b->len += n;
	a->used += n;
	memset(p, 0, n);
	return p;
}

char *
arena_strdup(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.len + 1);

	if (p != NULL && s.len > 0)
		memcpy(p, s.p, s.len);
	return p;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		p = arena_alloc(a, (size_t)n + 1);
	if (p != NULL)
		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

void
arena_wipe(struct arena *a)
{
	for (struct arena_block *b = a->blocks; b != NULL; b = b->next)
		explicit_bzero(b->mem, b->len);
}

void
arena_reset(struct arena *a)
{
	while (a->blocks != NULL && a->blocks->next != NULL) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	if (a->blocks != NULL)
		a->blocks->len = 0;
	a->used = 0;
}

void
arena_release(struct arena *a)
{
	arena_reset(a);
	free(a->blocks);
	a->blocks = NULL;
}
