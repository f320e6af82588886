/*
 * nomem.h - memory that runs out: malloc(), calloc() and realloc() of a test
 * that is linked with --wrap for them. The test says of each with refuse()
 * whether it fails. For one source of a program alone.
 */
#ifndef T_UNIT_NOMEM_H
#define T_UNIT_NOMEM_H

#include <stdbool.h>
#include <stddef.h>

static bool refuse(void);

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

#endif
