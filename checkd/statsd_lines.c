/* statsd_lines.c - lines of statsd and dogstatsd. */
#include "checkd/statsd_lines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct out {
	const struct statsd_format *f;
	statsd_datagram *each;
	void *arg;
	char data[STATSD_DATAGRAM_MAX];
	size_t len;
	char suffix[STATSD_LINE_MAX];	/* the tags of the metric at hand */
};

static int
flush(struct out *o)
{
	int rc = o->len > 0 ? o->each(o->arg, o->data, o->len) : 0;

	o->len = 0;
	return rc;
}

/* A line that fits no datagram, or whose name was cut, is left out. */
static int
line(struct out *o, const char *name, double v, const char *type, double rate)
{
	char text[STATSD_LINE_MAX], at[32] = "";
	int n, rc = 0;

	if (rate < 1)
		(void)snprintf(at, sizeof(at), "|@%.9g", rate);
	n = snprintf(text, sizeof(text), "%s:%.9g|%s%s%s\n", name, v, type, at, o->suffix);
	if (n < 0 || (size_t)n >= sizeof(text))
		return 0;
	if (o->len + (size_t)n > sizeof(o->data))
		rc = flush(o);
	memcpy(o->data + o->len, text, (size_t)n);
	o->len += (size_t)n;
	return rc;
}

/* What would end a name or a value. */
static void
clean(char *p)
{
	for (; *p != '\0'; p++)
		if (*p == ':' || *p == '|' || *p == '@' || *p == '#' || *p == ',' || (unsigned char)*p <= ' ')
			*p = '_';
}

/* Append formatted text to a bounded string; what does not fit is cut. */
static void PRINTF(4, 5)
more(char *text, size_t max, size_t *len, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + *len, max - *len, fmt, ap);
	va_end(ap);
	*len = n < 0 ? *len : *len + (size_t)n < max ? *len + (size_t)n : max - 1;
}

/* The tags of every line, then the metric's own labels. */
static void
tags(struct out *o, const struct metric_label *labels, size_t n)
{
	size_t len = 0, all = json_object_is_type(o->f->more_tags, json_type_array) ? json_object_array_length(o->f->more_tags) : 0;
	const char *sep = "|#";

	o->suffix[0] = '\0';
	for (size_t i = 0; i < all; i++) {
		const char *tag = json_object_get_string(json_object_array_get_idx(o->f->more_tags, i));

		if (tag == NULL || *tag == '\0')
			continue;
		more(o->suffix, sizeof(o->suffix), &len, "%s%s", sep, tag);
		sep = ",";
	}
	for (size_t i = 0; i < n; i++) {
		more(o->suffix, sizeof(o->suffix), &len, "%s%.*s:%.*s", sep, STR_ARG(labels[i].name), STR_ARG(labels[i].value));
		sep = ",";
	}
}

/* The name of its lines: labels are parts of it, or tags. False: the filter wants none. */
static bool
begin(struct out *o, const struct metric *m, char name[STATSD_LINE_MAX])
{
	struct metric_label labels[TELEMETRY_LABELS_MAX];
	size_t n = telemetry_labels(m->name, labels), len;
	char whole[TELEMETRY_NAME_MAX];

	telemetry_name(&o->f->t, m, whole);
	if (!telemetry_allowed(&o->f->t, whole))
		return false;
	o->suffix[0] = '\0';
	len = (size_t)snprintf(name, STATSD_LINE_MAX, "%s", whole);
	if (o->f->tags)
		tags(o, labels, n);
	else
		for (size_t i = 0; i < n; i++)
			more(name, STATSD_LINE_MAX, &len, ".%.*s", STR_ARG(labels[i].value));
	clean(name);
	return true;
}

/* count observations and their sum are new. Their histogram is of the last whole interval, which need not be quite the same. */
static int
sample(struct out *o, const char *name, const struct metric *m, uint64_t count, double sum)
{
	const struct metric_bucket *b = m->buckets.v;
	int rc = 0;

	if (m->buckets.n == 0 || m->count == 0 || count == 1)
		return line(o, name, sum / (double)count, "ms", 1.0 / (double)count);
	for (size_t i = 0; rc == 0 && i < m->buckets.n; i++)
		rc = line(o, name, b[i].le < m->max ? b[i].le : m->max, "ms", (double)m->count / ((double)b[i].count * (double)count));
	return rc;
}

static int
seen_cmp(const void *key, const void *item)
{
	return str_cmp(*(const struct str *)key, str_from(((const struct statsd_seen *)item)->name));
}

static int
order_cmp(const void *a, const void *b)
{
	return strcmp(((const struct statsd_seen *)a)->name, ((const struct statsd_seen *)b)->name);
}

/* One metric: its lines, and what is now known of it. */
static int
look_at(struct statsd_state *s, struct out *o, const struct metric *m, struct statsd_seen *now)
{
	const struct statsd_seen *old = s->n > 0 ? bsearch(&m->name, s->v, s->n, sizeof(*s->v), seen_cmp) : NULL;
	uint64_t count = m->total_count;
	double sum = m->total_sum;
	char name[STATSD_LINE_MAX];

	(void)snprintf(now->name, sizeof(now->name), "%.*s", STR_ARG(m->name));
	now->count = count;
	now->sum = sum;
	if (!begin(o, m, name))
		return 0;
	if (m->kind == METRIC_GAUGE)
		return m->count > 0 ? line(o, name, m->sum, "g", 1) : 0;
	/* A daemon that was started again counts from nothing. */
	if (old != NULL && old->count <= count) {
		count -= old->count;
		sum -= old->sum;
	}
	if (count == 0 || !s->begun)
		return 0;
	return m->kind == METRIC_COUNTER ? line(o, name, sum, "c", 1) : sample(o, name, m, count, sum);
}

int
statsd_look(struct statsd_state *s, const struct statsd_format *f, const struct metric *v, size_t n,
    statsd_datagram *each, void *arg)
{
	struct out o = { .f = f, .each = each, .arg = arg };
	size_t max = n < STATSD_KNOWN_MAX ? n : STATSD_KNOWN_MAX;
	struct statsd_seen *now = calloc(max > 0 ? max : 1, sizeof(*now));
	int rc = 0;

	if (now == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < max; i++)
		rc = look_at(s, &o, &v[i], &now[i]);
	if (rc == 0)
		rc = flush(&o);
	qsort(now, max, sizeof(*now), order_cmp);
	free(s->v);
	*s = (struct statsd_state){ .v = now, .n = max, .begun = true };
	return rc;
}

void
statsd_state_release(struct statsd_state *s)
{
	free(s->v);
	*s = (struct statsd_state){ .begun = false };
}
