/*
 * options_help.c - the explanation of flags, printed from their tables.
 */
#include <stdlib.h>

#include "consulctl/options.h"
#include "lib/str.h"

enum { WIDTH = 72, FLAG_INDENT = 2, TEXT_INDENT = 5, TABLE_MAX = 64 };

/* One paragraph, whose end is given. */
static void
print_paragraph(FILE *f, unsigned indent, const char *p, const char *end)
{
	size_t col = 0;

	while (p < end) {
		size_t blanks = strspn(p, " \n"), len;

		p += blanks;
		if (p >= end)
			break;
		len = strcspn(p, " \n");
		if (col > 0 && indent + col + 1 + len > WIDTH) {
			fputc('\n', f);
			col = 0;
		}
		fprintf(f, "%*s%.*s", col == 0 ? (int)indent : 1, "", (int)len, p);
		col += len + (col > 0);
		p += len;
	}
	fputc('\n', f);
}

void
options_print_text(FILE *f, unsigned indent, const char *text)
{
	for (;;) {
		const char *end = strstr(text, "\n\n");

		print_paragraph(f, indent, text, end != NULL ? end : text + strlen(text));
		if (end == NULL)
			return;
		fputc('\n', f);
		text = end + 2;
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct option *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void
print_option(FILE *f, const struct option *p)
{
	if (p->arg != NULL)
		fprintf(f, "%*s-%s=<%s>\n", FLAG_INDENT, "", p->name, p->arg);
	else
		fprintf(f, "%*s-%s\n", FLAG_INDENT, "", p->name);
	options_print_text(f, TEXT_INDENT, p->help);
	if (p->dflt != NULL)
		fprintf(f, "%*sDefault: %s\n", TEXT_INDENT, "", p->dflt);
	fputc('\n', f);
}

void
options_print(FILE *f, const char *title, const struct option *table)
{
	const struct option *sorted[TABLE_MAX];
	size_t n = 0;

	for (const struct option *p = table; p != NULL && p->name != NULL && n < TABLE_MAX; p++)
		sorted[n++] = p;
	if (n == 0)
		return;
	qsort(sorted, n, sizeof(sorted[0]), by_name);
	fprintf(f, "%s\n\n", title);
	for (size_t i = 0; i < n; i++)
		print_option(f, sorted[i]);
}
