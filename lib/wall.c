/* wall.c - RFC 3339, with the days of the calendar counted as in the Gregorian one of all times. */
#include "lib/wall.h"

#include <stdio.h>

#define NS 1000000000
#define DAY 86400
#define LAST_S INT64_C(253402300799)	/* the end of the year 9999 */

/* Days since 1970 of a date; months from 1. */
static int64_t
days_from_date(int64_t y, int64_t m, int64_t d)
{
	int64_t era, of_era, of_year;

	y -= m <= 2;
	era = y / 400;
	of_era = y - era * 400;
	of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void
date_from_days(int64_t days, int64_t *y, int64_t *m, int64_t *d)
{
	int64_t era, of_era, year, of_year, month;

	days += 719468;
	era = days / 146097;
	of_era = days - era * 146097;
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	month = (5 * of_year + 2) / 153;
	*d = of_year - (153 * month + 2) / 5 + 1;
	*m = month < 10 ? month + 3 : month - 9;
	*y = year + era * 400 + (*m <= 2);
}

void
wall_format(struct wall t, char text[WALL_TEXT_MAX])
{
	int64_t s = t.s < WALL_ZERO_S ? WALL_ZERO_S : t.s > LAST_S ? LAST_S : t.s;
	int64_t days = (s - WALL_ZERO_S) / DAY + WALL_ZERO_S / DAY, of_day = (s - WALL_ZERO_S) % DAY, y, m, d;
	int n;

	date_from_days(days, &y, &m, &d);
	n = snprintf(text, WALL_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", (int)y, (int)m, (int)d, (int)(of_day / 3600),
	    (int)(of_day / 60 % 60), (int)(of_day % 60));
	if (t.ns > 0 && t.ns < NS) {
		n += snprintf(text + n, (size_t)(WALL_TEXT_MAX - n), ".%09u", (unsigned)t.ns);
		while (text[n - 1] == '0')
			n--;
	}
	text[n] = 'Z';
	text[n + 1] = 0;
}

/* ---- reading */

/* A number of exactly n digits, and what stands behind it (0: nothing). */
static bool
take(struct str *s, int n, char behind, int *ret)
{
	int v = 0;

	if (s->len < (size_t)n + (behind != 0))
		return false;
	for (int i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		v = 10 * v + (s->p[i] - '0');
	}
	if (behind != 0 && s->p[n] != behind)
		return false;
	s->p += n + (behind != 0);
	s->len -= (size_t)n + (behind != 0);
	*ret = v;
	return true;
}

/* The digits behind the point; more than nine are read and forgotten. */
static bool
take_fraction(struct str *s, uint32_t *ret)
{
	uint32_t v = 0, unit = NS / 10;

	*ret = 0;
	if (s->len == 0 || s->p[0] != '.')
		return true;
	s->p++;
	s->len--;
	if (s->len == 0 || s->p[0] < '0' || s->p[0] > '9')
		return false;
	for (; s->len > 0 && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->len--, unit /= 10)
		v += (uint32_t)(s->p[0] - '0') * unit;
	*ret = v;
	return true;
}

/* Z, or +hh:mm: seconds east of UTC. */
static bool
take_offset(struct str *s, int64_t *ret)
{
	int sign, h, m;

	*ret = 0;
	if (s->len == 1 && (s->p[0] == 'Z' || s->p[0] == 'z'))
		return true;
	if (s->len != 6 || (s->p[0] != '+' && s->p[0] != '-'))
		return false;
	sign = s->p[0] == '-' ? -1 : 1;
	s->p++;
	s->len--;
	if (!take(s, 2, ':', &h) || !take(s, 2, 0, &m) || h > 23 || m > 59)
		return false;
	*ret = sign * (h * 3600 + m * 60);
	return true;
}

static int
days_of(int y, int m)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

bool
wall_parse(struct str s, struct wall *ret)
{
	int y, mon, d, h, min, sec;
	int64_t offset, at;
	uint32_t ns;

	if (!take(&s, 4, '-', &y) || !take(&s, 2, '-', &mon) || s.len < 3 || (s.p[2] != 'T' && s.p[2] != 't') ||
	    !take(&s, 2, s.p[2], &d) || !take(&s, 2, ':', &h) || !take(&s, 2, ':', &min) || !take(&s, 2, 0, &sec) ||
	    !take_fraction(&s, &ns) || !take_offset(&s, &offset))
		return false;
	if (y < 1 || mon < 1 || mon > 12 || d < 1 || d > days_of(y, mon) || h > 23 || min > 59 || sec > 59)
		return false;
	at = days_from_date(y, mon, d) * DAY + h * 3600 + min * 60 + sec - offset;
	if (at < WALL_ZERO_S || at > LAST_S)
		return false;
	*ret = (struct wall){ at, ns };
	return true;
}

int64_t
wall_to_ns(struct wall t)
{
	if (t.s >= INT64_MAX / NS)
		return INT64_MAX;
	if (t.s <= INT64_MIN / NS + 1)
		return INT64_MIN;
	return t.s * NS + t.ns;
}

struct wall
wall_from_ns(int64_t ns)
{
	int64_t s = ns / NS, rest = ns % NS;

	return rest < 0 ? (struct wall){ s - 1, (uint32_t)(rest + NS) } : (struct wall){ s, (uint32_t)rest };
}
