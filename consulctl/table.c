/*
 * table.c - text in columns.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "consulctl/table.h"

void
table_init(struct table *t, size_t columns)
{
	*t = (struct table){ .columns = columns };
	buf_init(&t->text, TABLE_BYTES_MAX);
}

void
table_release(struct table *t)
{
	buf_release(&t->text);
	free(t->ends);
	*t = (struct table){ .columns = 0 };
}

/* What was appended to text since the last cell is a cell. */
static void
cell_end(struct table *t)
{
	if (t->rc < 0)
		return;
	if (t->ncells == t->cap) {
		size_t cap = t->cap > 0 ? 2 * t->cap : 64;
		size_t *ends = realloc(t->ends, cap * sizeof(*ends));

		if (ends == NULL) {
			t->rc = -ENOMEM;
			return;
		}
		t->ends = ends;
		t->cap = cap;
	}
	t->ends[t->ncells++] = t->text.len;
}

void
table_add(struct table *t, struct str cell)
{
	if (t->rc == 0)
		t->rc = buf_add(&t->text, cell.p, cell.len);
	cell_end(t);
}

void
table_adds(struct table *t, const char *cell)
{
	table_add(t, str_from(cell));
}

void
table_addf(struct table *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (t->rc == 0)
		t->rc = buf_vaddf(&t->text, fmt, ap);
	va_end(ap);
	cell_end(t);
}

static struct str
cell_at(const struct table *t, size_t i)
{
	size_t from = i > 0 ? t->ends[i - 1] : 0;

	return (struct str){ (const char *)t->text.data + from, t->ends[i] - from };
}

/* Characters of UTF-8: all bytes but continuations. */
static size_t
width(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void
print_cells(const struct table *t, FILE *f, unsigned gap, const size_t *widths)
{
	for (size_t i = 0; i < t->ncells; i++) {
		struct str s = cell_at(t, i);
		size_t col = i % t->columns;

		fwrite(s.p != NULL ? s.p : "", 1, s.len, f);
		if (col + 1 == t->columns)
			fputc('\n', f);
		else
			fprintf(f, "%*s", (int)(widths[col] - width(s) + gap), "");
	}
}

int
table_print(const struct table *t, FILE *f, unsigned gap)
{
	size_t *widths;

	if (t->rc < 0)
		return t->rc;
	widths = calloc(t->columns, sizeof(*widths));
	if (widths == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->ncells; i++) {
		size_t w = width(cell_at(t, i));

		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	print_cells(t, f, gap, widths);
	free(widths);
	return 0;
}
