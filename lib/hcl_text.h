/*
 * hcl_text.h - the text under the HCL parser: blanks, strings, heredocs, numbers.
 *
 * For hcl.c alone. Errors are put into h->err once, with the place where
 * the reader stands.
 */
#ifndef LIB_HCL_TEXT_H
#define LIB_HCL_TEXT_H

#include "lib/buf.h"
#include "lib/hcl.h"

struct hcl_reader {
	const char *p, *end, *line_start;
	unsigned line, source, depth, tokens;
	struct buf scratch;		/* the string read last */
	struct hcl_error *err;
};

/* The byte at hand; 0 at the end (texts hold no NUL). */
static inline char
hcl_peek(const struct hcl_reader *h)
{
	return h->p < h->end ? *h->p : 0;
}

/* Both return -EINVAL. */
int hcl_fail(struct hcl_reader *h, const char *fmt, ...) PRINTF(2, 3);
int hcl_fail_at_char(struct hcl_reader *h, const char *expected);

int MUST_CHECK hcl_skip_blank(struct hcl_reader *h);

/* From the opening quote or "<<"; the value is appended to scratch. */
int MUST_CHECK hcl_read_string(struct hcl_reader *h);
int MUST_CHECK hcl_read_heredoc(struct hcl_reader *h);

/* -EINVAL: no number; -ERANGE. */
int MUST_CHECK hcl_number(struct str word, struct json_object **ret);

#endif
