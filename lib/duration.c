/* duration.c - Go's duration syntax (package time: ParseDuration and Duration.String). */
#include "lib/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *unit;
	int64_t ns;
} units[] = {
	{ "ns", 1 }, { "us", NS_PER_US }, { "\xc2\xb5s", NS_PER_US }, { "\xce\xbcs", NS_PER_US },
	{ "ms", NS_PER_MS }, { "s", NS_PER_S }, { "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S },
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int64_t
take_unit(struct str *s)
{
	size_t n = 0;

	while (n < s->len && !is_digit(s->p[n]) && s->p[n] != '.')
		n++;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (str_eqs((struct str){ s->p, n }, units[i].unit)) {
			s->p += n;
			s->len -= n;
			return units[i].ns;
		}
	return -1;
}

/* One "12.5s"; the sum so far comes and goes in *total. */
static int
take_part(struct str *s, int64_t *total)
{
	int64_t whole = 0, ns, sum;
	double fraction = 0, scale = 1;
	bool any = false;

	for (; s->len > 0 && is_digit(s->p[0]); s->p++, s->len--, any = true)
		if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, s->p[0] - '0', &whole))
			return -EINVAL;
	if (s->len > 0 && s->p[0] == '.')
		for (s->p++, s->len--; s->len > 0 && is_digit(s->p[0]); s->p++, s->len--, any = true) {
			scale /= 10;
			fraction += scale * (s->p[0] - '0');
		}
	ns = any ? take_unit(s) : -1;
	if (ns < 0 || __builtin_mul_overflow(whole, ns, &sum))
		return -EINVAL;
	if (__builtin_add_overflow(sum, (int64_t)(fraction * (double)ns + 0.5), &sum))
		return -EINVAL;
	return __builtin_add_overflow(*total, sum, total) ? -EINVAL : 0;
}

int
duration_parse(struct str s, int64_t *ret_ns)
{
	int64_t total = 0;
	bool neg = false;

	if (s.len > 0 && (s.p[0] == '-' || s.p[0] == '+')) {
		neg = s.p[0] == '-';
		s.p++;
		s.len--;
	}
	if (str_eqs(s, "0")) {
		*ret_ns = 0;
		return 0;
	}
	if (s.len == 0)
		return -EINVAL;
	while (s.len > 0)
		if (take_part(&s, &total) < 0)
			return -EINVAL;
	*ret_ns = neg ? -total : total;
	return 0;
}

/* "1.5" + unit, without zeros at the end of the fraction. */
static size_t
format_fraction(char *out, size_t room, uint64_t v, uint64_t unit, const char *name)
{
	char frac[24];
	size_t n;

	if (v % unit == 0)
		return (size_t)snprintf(out, room, "%llu%s", (unsigned long long)(v / unit), name);
	n = (size_t)snprintf(frac, sizeof(frac), "%llu", (unsigned long long)(unit + v % unit));
	while (n > 1 && frac[n - 1] == '0')
		frac[--n] = 0;
	return (size_t)snprintf(out, room, "%llu.%s%s", (unsigned long long)(v / unit), frac + 1, name);
}

void
duration_format(int64_t ns, char text[DURATION_TEXT_MAX])
{
	uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	char *p = text, *end = text + DURATION_TEXT_MAX;
	uint64_t minute = 60 * (uint64_t)NS_PER_S;

	if (ns < 0)
		*p++ = '-';
	if (u == 0) {
		memcpy(p, "0s", 3);
	} else if (u < (uint64_t)NS_PER_US) {
		(void)format_fraction(p, (size_t)(end - p), u, 1, "ns");
	} else if (u < (uint64_t)NS_PER_MS) {
		(void)format_fraction(p, (size_t)(end - p), u, (uint64_t)NS_PER_US, "\xc2\xb5s");
	} else if (u < (uint64_t)NS_PER_S) {
		(void)format_fraction(p, (size_t)(end - p), u, (uint64_t)NS_PER_MS, "ms");
	} else {
		if (u >= 60 * minute)
			p += snprintf(p, (size_t)(end - p), "%lluh", (unsigned long long)(u / (60 * minute)));
		if (u >= minute)
			p += snprintf(p, (size_t)(end - p), "%llum", (unsigned long long)(u / minute % 60));
		(void)format_fraction(p, (size_t)(end - p), u % minute, (uint64_t)NS_PER_S, "s");
	}
}
