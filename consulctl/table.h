/*
 * table.h - text in columns, in the two layouts that Consul's command uses.
 *
 * Columns are as wide as their widest cell, counted in characters, not bytes.
 * The last cell of a row is never padded.
 */
#ifndef CONSULCTL_TABLE_H
#define CONSULCTL_TABLE_H

#include <stdio.h>

#include "lib/buf.h"
#include "lib/str.h"

enum { TABLE_BYTES_MAX = 1024 * MiB };

enum {
	TABLE_GAP = 2,		/* between columns of a list */
	TABLE_WIDE_GAP = 6,	/* of names and values (kv get -detailed, catalog services -tags) */
};

struct table {
	size_t columns;
	struct buf text;	/* the bytes of all cells */
	size_t *ends;		/* where each cell ends in text, row after row */
	size_t ncells, cap;
	int rc;			/* the first error; sticky */
};

void table_init(struct table *t, size_t columns);
void table_release(struct table *t);

/* The next cell, row by row. Errors are remembered until table_print(). */
void table_add(struct table *t, struct str cell);
void table_adds(struct table *t, const char *cell);
void table_addf(struct table *t, const char *fmt, ...) PRINTF(2, 3);

/* All rows, padded to `gap` blanks between columns. 0, or the error that a table_add() met. */
int MUST_CHECK table_print(const struct table *t, FILE *f, unsigned gap);

#endif
