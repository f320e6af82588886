/* text.c - the words of errors, and the small strings that keys are made of. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/utf8.h"
#include "raftd/fsm/state.h"

void
fail(struct fsm_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
}

void
fail_context(struct fsm_error *err, const char *context)
{
	char text[FSM_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s%.*s", context, (int)(sizeof(text) - strlen(context) - 1), err->text);
	memcpy(err->text, text, sizeof(text));
}

/* Memory until the next call; without it the answer of this one would be wrong: see starved. */
static void *
take(const struct fsm *f, size_t n)
{
	void *p = arena_alloc(f->arena, n);

	if (p == NULL)
		f->scratch->starved = true;
	return p;
}

static size_t
quote_one(char *out, const char *p, size_t left, size_t *ret_used)
{
	static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";
	unsigned char c = (unsigned char)p[0];
	size_t n = utf8_length(p, left);

	*ret_used = n > 0 ? n : 1;
	for (size_t i = 0; i + 1 < sizeof(named) && n == 1; i += 2)
		if (p[0] == named[i]) {
			out[0] = '\\';
			out[1] = named[i + 1];
			return 2;
		}
	if (n == 0 || c < 0x20 || c == 0x7f)
		return (size_t)snprintf(out, 5, "\\x%02x", c);
	memcpy(out, p, n);
	return n;
}

const char *
go_quote(const struct fsm *f, struct str s)
{
	char *out = take(f, s.len * 4 + 8);	/* each byte becomes at most four */
	size_t n = 0, used;

	if (out == NULL)
		return "\"?\"";
	out[n++] = '"';
	for (size_t i = 0; i < s.len; i += used)
		n += quote_one(out + n, s.p + i, s.len - i, &used);
	out[n++] = '"';
	out[n] = 0;
	return out;
}

static bool
is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '.';
}

const char *
duration_complaint(const struct fsm *f, struct str s)
{
	const char *quoted = go_quote(f, s), *text;
	size_t i = 0, from;

	if (i < s.len && (s.p[i] == '-' || s.p[i] == '+'))
		i++;
	while (i < s.len && is_number_char(s.p[i])) {
		struct str unit;
		int64_t ns;
		char one[16];

		while (i < s.len && is_number_char(s.p[i]))
			i++;
		from = i;
		while (i < s.len && !is_number_char(s.p[i]))
			i++;
		unit = (struct str){ s.p + from, i - from };
		if (unit.len == 0) {
			text = arena_printf(f->arena, "time: missing unit in duration %s", quoted);
			return text != NULL ? text : "time: invalid duration";
		}
		(void)snprintf(one, sizeof(one), "1%.*s", unit.len < 8 ? (int)unit.len : 8, unit.p);
		if (duration_parse(str_from(one), &ns) < 0) {
			text = arena_printf(f->arena, "time: unknown unit %s in duration %s", go_quote(f, unit), quoted);
			return text != NULL ? text : "time: invalid duration";
		}
	}
	text = arena_printf(f->arena, "time: invalid duration %s", quoted);
	return text != NULL ? text : "time: invalid duration";
}

struct str
lower(const struct fsm *f, struct str s)
{
	char *p = take(f, s.len + 1);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < s.len; i++)
		p[i] = (char)ascii_lower((unsigned char)s.p[i]);
	return (struct str){ p, s.len };
}

struct str
join(const struct fsm *f, struct str x, struct str y, struct str z)
{
	size_t n = x.len + 1 + y.len + (z.p != NULL ? 1 + z.len : 0);
	char *p = take(f, n + 1), *at = p;

	if (p == NULL)
		return STR_NONE;
	if (x.len > 0)
		memcpy(at, x.p, x.len);
	at += x.len + 1;
	if (y.len > 0)
		memcpy(at, y.p, y.len);
	at += y.len + 1;
	if (z.len > 0)
		memcpy(at, z.p, z.len);
	return (struct str){ p, n };
}

struct str
join_lower(const struct fsm *f, struct str x, struct str y)
{
	char *p = take(f, x.len + 1 + y.len + 1);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < x.len; i++)
		p[i] = (char)ascii_lower((unsigned char)x.p[i]);
	for (size_t i = 0; i < y.len; i++)
		p[x.len + 1 + i] = (char)ascii_lower((unsigned char)y.p[i]);
	return (struct str){ p, x.len + 1 + y.len };
}

struct str
join_u64(const struct fsm *f, uint64_t v, struct str s)
{
	char *p = take(f, s.len + 9);

	if (p == NULL)
		return STR_NONE;
	for (int i = 0; i < 8; i++)
		p[i] = (char)(v >> (56 - 8 * i));
	if (s.len > 0)
		memcpy(p + 8, s.p, s.len);
	return (struct str){ p, s.len + 8 };
}

/* ---- UUIDs */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *
hex_complaint(const struct fsm *f, char c)
{
	unsigned u = (unsigned char)c;
	const char *text;

	text = u >= 0x20 && u < 0x7f ? arena_printf(f->arena, "encoding/hex: invalid byte: U+%04X '%c'", u, c) :
	    arena_printf(f->arena, "encoding/hex: invalid byte: U+%04X", u);
	return text != NULL ? text : "encoding/hex: invalid byte";
}

const char *
uuid_complaint(const struct fsm *f, struct str s)
{
	if (s.len != 36)
		return "uuid string is wrong length";
	for (size_t i = 8; i <= 23; i += 5)
		if (s.p[i] != '-')
			return "uuid is improperly formatted";
	for (size_t i = 0; i < 36; i++)
		if (i != 8 && i != 13 && i != 18 && i != 23 && hex_value(s.p[i]) < 0)
			return hex_complaint(f, s.p[i]);
	return NULL;
}

bool
uuid_parse(struct str s, uint8_t out[16])
{
	size_t n = 0;
	int hi, lo;

	if (s.len != 36 || s.p[8] != '-' || s.p[13] != '-' || s.p[18] != '-' || s.p[23] != '-')
		return false;
	for (size_t i = 0; i < 36; i += 2) {
		if (s.p[i] == '-')
			i++;
		hi = hex_value(s.p[i]);
		lo = hex_value(s.p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[n++] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

const char *
uuid_index_complaint(const struct fsm *f, struct str s)
{
	const char *text = NULL;
	size_t dashes = 0;

	if (s.len != 36)
		return "UUID must be 36 characters";
	for (size_t i = 0; i < s.len; i++)
		dashes += s.p[i] == '-';
	if (dashes > 4)
		text = arena_printf(f->arena, "UUID should have maximum of 4 \"-\"; got %zu", dashes);
	else if ((s.len - dashes) % 2 != 0)
		return "UUID (without hyphens) must be even length";
	for (size_t i = 0; i < s.len && text == NULL; i++)
		if (s.p[i] != '-' && hex_value(s.p[i]) < 0)
			text = arena_printf(f->arena, "Invalid UUID: %s", hex_complaint(f, s.p[i]));
	return text;
}

void
uuid_format(const uint8_t b[16], char out[37])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[n++] = '-';
		out[n++] = digits[b[i] >> 4];
		out[n++] = digits[b[i] & 15];
	}
	out[n] = 0;
}

void
uuid_make(const uint8_t random[16], char out[37])
{
	uint8_t raw[16];

	memcpy(raw, random, sizeof(raw));
	raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);	/* RFC 4122: version 4, */
	raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);	/* its variant */
	uuid_format(raw, out);
}

/* ---- watches */

void
touch_one(const struct fsm_sink *sink, enum watch_kind kind, struct str key)
{
	struct watch_key k = { kind, key };

	if (sink->touched != NULL)
		sink->touched(sink->ctx, &k);
}

void
watch_add(struct watch_set *set, enum watch_kind kind, struct str key)
{
	if (set != NULL && set->n < ARRAY_LEN(set->v))
		set->v[set->n++] = (struct watch_key){ kind, key };
}
