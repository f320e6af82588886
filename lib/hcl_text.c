/* hcl_text.c - blanks and comments, strings with escapes, heredocs and numbers of HCL. */
#include "lib/hcl_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/utf8.h"

int
hcl_fail(struct hcl_reader *h, const char *fmt, ...)
{
	va_list ap;

	h->err->line = h->line;
	h->err->column = (unsigned)(h->p - h->line_start) + 1;
	va_start(ap, fmt);
	(void)vsnprintf(h->err->text, sizeof(h->err->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
hcl_fail_at_char(struct hcl_reader *h, const char *expected)
{
	unsigned char c = (unsigned char)hcl_peek(h);

	if (h->p == h->end)
		return hcl_fail(h, "expected %s, found the end of the text", expected);
	if (c < 0x20 || c >= 0x7f)
		return hcl_fail(h, "expected %s, found byte 0x%02x", expected, c);
	return hcl_fail(h, "expected %s, found '%c'", expected, c);
}

int
hcl_check_text(struct str text, struct hcl_error *ret_err)
{
	struct hcl_reader h = { .p = text.p, .end = text.p + text.len, .line_start = text.p, .line = 1, .err = ret_err };
	size_t n;

	while (h.p < h.end) {
		n = utf8_length(h.p, (size_t)(h.end - h.p));
		if (n == 0 || *h.p == 0)
			return hcl_fail(&h, *h.p == 0 ? "a NUL byte" : "not UTF-8");
		if (*h.p == '\n') {
			h.line++;
			h.line_start = h.p + 1;
		}
		h.p += n;
	}
	return 0;
}

static void
newline(struct hcl_reader *h)
{
	h->line++;
	h->line_start = h->p + 1;
}

static void
skip_line(struct hcl_reader *h)
{
	while (h->p < h->end && *h->p != '\n')
		h->p++;
}

static int
skip_block_comment(struct hcl_reader *h)
{
	unsigned line = h->line;

	for (h->p += 2; h->end - h->p >= 2; h->p++) {
		if (h->p[0] == '*' && h->p[1] == '/') {
			h->p += 2;
			return 0;
		}
		if (*h->p == '\n')
			newline(h);
	}
	return hcl_fail(h, "the comment that began in line %u is not closed", line);
}

int
hcl_skip_blank(struct hcl_reader *h)
{
	for (; h->p < h->end; h->p++) {
		if (*h->p == '\n') {
			newline(h);
		} else if (*h->p == '#' || (*h->p == '/' && h->end - h->p > 1 && h->p[1] == '/')) {
			skip_line(h);
			h->p--;
		} else if (*h->p == '/' && h->end - h->p > 1 && h->p[1] == '*') {
			int rc = skip_block_comment(h);

			if (rc < 0)
				return rc;
			h->p--;
		} else if (*h->p != ' ' && *h->p != '\t' && *h->p != '\r') {
			return 0;
		}
	}
	return 0;
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Exactly n digits of the base; the reader moves behind them. */
static int
read_digits(struct hcl_reader *h, unsigned n, int base, uint32_t *ret)
{
	uint32_t v = 0;

	for (; n > 0; n--, h->p++) {
		int d = h->p < h->end ? digit_value(*h->p) : 99;

		if (d >= base)
			return hcl_fail(h, "the escape sequence needs %u more digits", n);
		v = v * (uint32_t)base + (uint32_t)d;
	}
	*ret = v;
	return 0;
}

static int
add_rune(struct hcl_reader *h, uint32_t rune)
{
	char text[4];
	size_t n = utf8_encode(rune, text);

	if (n == 0 || rune == 0)
		return hcl_fail(h, "the escape sequence is not a character");
	return buf_add(&h->scratch, text, n);
}

/* Behind the backslash. */
static int
read_escape(struct hcl_reader *h)
{
	static const char from[] = "abfnrtv\\\"", to[] = "\a\b\f\n\r\t\v\\\"";
	const char *simple;
	uint32_t v = 0;
	char c = hcl_peek(h);
	int rc;

	if (c == 0)
		return hcl_fail(h, "a string is not closed");
	simple = strchr(from, c);
	if (simple != NULL) {
		h->p++;
		return buf_addc(&h->scratch, (uint8_t)to[simple - from]);
	}
	if (c >= '0' && c <= '7') {
		rc = read_digits(h, 3, 8, &v);
	} else if (c == 'x' || c == 'u' || c == 'U') {
		h->p++;
		rc = read_digits(h, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, &v);
	} else {
		return hcl_fail(h, "unknown escape sequence");
	}
	return rc < 0 ? rc : add_rune(h, v);
}

/* One byte inside "${...}", where quotes do not end the string and backslashes stand for themselves. */
static int
read_in_braces(struct hcl_reader *h, unsigned *braces)
{
	char c = *h->p;

	if (c == '\n')
		newline(h);
	else if (c == '{')
		++*braces;
	else if (c == '}')
		--*braces;
	h->p++;
	return buf_addc(&h->scratch, (uint8_t)c);
}

int
hcl_read_string(struct hcl_reader *h)
{
	unsigned braces = 0;
	int rc = 0;

	h->p++;
	while (rc == 0 && h->p < h->end) {
		if (braces > 0) {
			rc = read_in_braces(h, &braces);
		} else if (*h->p == '"') {
			h->p++;
			return 0;
		} else if (*h->p == '\n') {
			return hcl_fail(h, "a string is not closed in its line");
		} else if (*h->p == '\\') {
			h->p++;
			rc = read_escape(h);
		} else if (*h->p == '$' && h->end - h->p > 1 && h->p[1] == '{') {
			h->p += 2;
			braces = 1;
			rc = buf_add(&h->scratch, "${", 2);
		} else {
			rc = buf_addc(&h->scratch, (uint8_t)*h->p++);
		}
	}
	return rc < 0 ? rc : hcl_fail(h, "a string is not closed");
}

static struct str
take_line(struct hcl_reader *h)
{
	const char *start = h->p;
	struct str line;

	skip_line(h);
	line = (struct str){ start, (size_t)(h->p - start) };
	if (h->p < h->end) {
		newline(h);
		h->p++;
	}
	return line;
}

static size_t
blanks(struct str line)
{
	size_t n = 0;

	while (n < line.len && (line.p[n] == ' ' || line.p[n] == '\t'))
		n++;
	return n;
}

static bool
is_marker(struct str line, struct str marker)
{
	size_t n = blanks(line);

	line.p += n;
	line.len -= n;
	while (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	return str_eq(line, marker);
}

/* <<- : the blanks before the closing marker go from each line, if each line has them. */
static int
add_unindented(struct hcl_reader *h, struct str body, struct str indent)
{
	struct str rest = body;
	bool all = true;
	int rc = 0;

	while (all && rest.len > 0) {
		const char *nl = memchr(rest.p, '\n', rest.len);
		size_t n = nl != NULL ? (size_t)(nl - rest.p) + 1 : rest.len;

		all = str_has_prefix(rest, indent);
		rest.p += n;
		rest.len -= n;
	}
	for (rest = body; rc == 0 && rest.len > 0; ) {
		const char *nl = memchr(rest.p, '\n', rest.len);
		size_t n = nl != NULL ? (size_t)(nl - rest.p) + 1 : rest.len, skip = all ? indent.len : 0;

		rc = buf_add(&h->scratch, rest.p + skip, n - skip);
		rest.p += n;
		rest.len -= n;
	}
	return rc;
}

int
hcl_read_heredoc(struct hcl_reader *h)
{
	struct str marker, body, line;
	bool indented = false;

	if (h->end - h->p < 3 || h->p[1] != '<')
		return hcl_fail_at_char(h, "a value");
	h->p += 2;
	if (*h->p == '-') {
		indented = true;
		h->p++;
	}
	marker = take_line(h);
	while (marker.len > 0 && marker.p[marker.len - 1] == '\r')
		marker.len--;
	if (marker.len == 0 || memchr(marker.p, ' ', marker.len) != NULL)
		return hcl_fail(h, "a heredoc needs a marker, alone in its line behind '<<'");
	body.p = h->p;
	while (h->p < h->end) {
		const char *start = h->p;

		line = take_line(h);
		if (!is_marker(line, marker))
			continue;
		body.len = (size_t)(start - body.p);
		if (indented)
			return add_unindented(h, body, (struct str){ line.p, blanks(line) });
		return buf_add(&h->scratch, body.p, body.len);
	}
	return hcl_fail(h, "a heredoc is not closed by a line '%.*s'", marker.len < 40 ? (int)marker.len : 40, marker.p);
}

static bool
all_digits(const char *s, int base)
{
	if (*s == 0)
		return false;
	for (; *s != 0; s++)
		if (digit_value(*s) >= base)
			return false;
	return true;
}

static int
parse_integer(const char *text, const char *digits, int base, struct json_object **ret)
{
	char *end;
	int64_t v;

	if (!all_digits(digits, base))
		return -EINVAL;
	errno = 0;
	/* The text's own sign and prefix, so that the lowest integer is in range too. */
	v = strtoll(text, &end, base);
	if (errno == ERANGE)
		return -ERANGE;
	if (*end != 0)
		return -EINVAL;
	*ret = json_object_new_int64(v);
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
parse_float(const char *text, struct json_object **ret)
{
	char *end;
	double v;

	if (strspn(text, "+-0123456789.eE") != strlen(text))
		return -EINVAL;
	v = strtod(text, &end);
	if (end == text || *end != 0)
		return -EINVAL;
	if (!isfinite(v))
		return -ERANGE;
	*ret = json_object_new_double(v);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
hcl_number(struct str word, struct json_object **ret)
{
	char text[72], *digits = text;

	if (word.len >= sizeof(text))
		return -EINVAL;
	memcpy(text, word.p, word.len);
	text[word.len] = 0;
	if (*digits == '-')
		digits++;
	if (*digits < '0' || *digits > '9')
		return -EINVAL;
	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'))
		return parse_integer(text, digits + 2, 16, ret);
	if (strpbrk(digits, ".eE") != NULL)
		return parse_float(text, ret);
	return parse_integer(text, digits, digits[0] == '0' && digits[1] != 0 ? 8 : 10, ret);
}
