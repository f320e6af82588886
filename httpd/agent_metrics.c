/* agent_metrics.c - /v1/agent/metrics: every daemon's counters, as Consul's JSON or for Prometheus */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "httpd/gather.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

enum { METRICS_ALL_MAX = METRICS_MAX * PEERS, METRICS_OUT_MAX = 4 * 1024 * 1024, INTERVAL_S = METRICS_INTERVAL_MS / 1000,
	FULL_NAME_MAX = METRIC_NAME_MAX + 256 };

struct metrics {
	struct metric *v;
	size_t n;
	char prefix[128], host[128];	/* host: "" when names shall not carry it */
};

static void
add_all(struct request *r, struct metrics *m, struct str payload)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t n = mp_r_array(&in);

	for (uint32_t i = 0; i < n && in.err == 0 && m->n < METRICS_ALL_MAX; i++)
		if (record_decode(&rec_metric, &in, &m->v[m->n], &r->arena) == 0)
			m->n++;
}

static int
metric_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct metric *)a)->name, ((const struct metric *)b)->name);
}

/* Two histograms as one, ascending; the first alone when memory is short. */
static void
merge_buckets(struct request *r, struct records *into, const struct records *from)
{
	const struct metric_bucket *a = into->v, *b = from->v;
	struct metric_bucket *out = arena_alloc(&r->arena, (into->n + from->n) * sizeof(*out));
	size_t i = 0, j = 0;

	if (out == NULL)
		return;
	while (i < into->n || j < from->n) {
		bool first = j == from->n || (i < into->n && a[i].le <= b[j].le);

		out[i + j] = first ? a[i] : b[j];
		if (first)
			i++;
		else
			j++;
	}
	*into = (struct records){ out, i + j };
}

/* Two daemons may count under one name: together they are one metric. */
static void
merge(struct request *r, struct metrics *m)
{
	size_t out = 0;

	qsort(m->v, m->n, sizeof(*m->v), metric_cmp);
	for (size_t i = 0; i < m->n; i++) {
		struct metric *x = &m->v[i], *last = out > 0 ? &m->v[out - 1] : NULL;

		if (last == NULL || !str_eq(last->name, x->name)) {
			m->v[out++] = *x;
			continue;
		}
		if (x->count > 0) {
			last->min = last->count == 0 || x->min < last->min ? x->min : last->min;
			last->max = last->count == 0 || x->max > last->max ? x->max : last->max;
		}
		last->count += x->count;
		last->sum += x->sum;
		last->sum_sq += x->sum_sq;
		last->total_count += x->total_count;
		last->total_sum += x->total_sum;
		merge_buckets(r, &last->buckets, &x->buckets);
	}
	m->n = out;
}

static bool
collect(struct request *r, const struct part *parts, size_t n, struct metrics *m)
{
	const struct http_config *c = &r->h->cfg;

	*m = (struct metrics){ .v = arena_alloc(&r->arena, METRICS_ALL_MAX * sizeof(struct metric)) };
	if (m->v == NULL) {
		respond_empty(r, 500);
		return false;
	}
	(void)snprintf(m->prefix, sizeof(m->prefix), "%s", cfg_str(c->slice, "telemetry.metrics_prefix", "consul"));
	if (!cfg_bool(c->slice, "telemetry.disable_hostname", false))
		(void)gethostname(m->host, sizeof(m->host) - 1);
	for (size_t i = 0; i < n; i++)
		if (parts[i].ok)
			add_all(r, m, parts[i].payload);
	merge(r, m);
	return true;
}

static void
full_name(const struct metrics *m, const struct metric *x, char out[FULL_NAME_MAX])
{
	bool host = x->kind == METRIC_GAUGE && m->host[0] != '\0';

	(void)snprintf(out, FULL_NAME_MAX, "%s%s%s.%.*s", m->prefix, host ? "." : "", host ? m->host : "", STR_ARG(x->name));
}

/* ---- JSON */

static void
number(struct mp_w *w, const char *name, double v)
{
	mp_w_cstr(w, name);
	mp_w_double(w, v);
}

static void
gauge_write(struct mp_w *w, const struct metric *x, const char *name)
{
	mp_w_map(w, 3);
	mp_w_cstr(w, "Name");
	mp_w_cstr(w, name);
	number(w, "Value", x->sum);
	mp_w_cstr(w, "Labels");
	mp_w_map(w, 0);
}

static void
window_write(struct mp_w *w, const struct metric *x, const char *name)
{
	double n = (double)x->count, mean = n > 0 ? x->sum / n : 0;
	double variance = n > 1 ? (n * x->sum_sq - x->sum * x->sum) / (n * (n - 1)) : 0;

	mp_w_map(w, 9);
	mp_w_cstr(w, "Name");
	mp_w_cstr(w, name);
	mp_w_cstr(w, "Count");
	mp_w_uint(w, x->count);
	number(w, "Rate", x->sum / INTERVAL_S);
	number(w, "Sum", x->sum);
	number(w, "Min", x->min);
	number(w, "Max", x->max);
	number(w, "Mean", mean);
	number(w, "Stddev", variance > 0 ? sqrt(variance) : 0);
	mp_w_cstr(w, "Labels");
	mp_w_map(w, 0);
}

static void
kind_write(struct mp_w *w, const struct metrics *m, const char *list, int64_t kind)
{
	char name[FULL_NAME_MAX];
	uint32_t n = 0;
	size_t at;

	mp_w_cstr(w, list);
	at = mp_w_array_hold(w);
	for (size_t i = 0; i < m->n; i++) {
		const struct metric *x = &m->v[i];

		if (x->kind != kind || x->count == 0)
			continue;
		full_name(m, x, name);
		if (kind == METRIC_GAUGE)
			gauge_write(w, x, name);
		else
			window_write(w, x, name);
		n++;
	}
	mp_w_array_patch(w, at, n);
}

static void
on_json(struct request *r, const struct part *parts, size_t n)
{
	struct buf out = BUF_INIT(METRICS_OUT_MAX);
	struct mp_w w = mp_w_init(&out);
	struct metrics m;
	time_t start = time(NULL) / INTERVAL_S * INTERVAL_S - INTERVAL_S;
	struct tm tm;
	char stamp[64];

	if (!collect(r, parts, n, &m))
		return;
	(void)gmtime_r(&start, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
	mp_w_map(&w, 5);
	mp_w_cstr(&w, "Timestamp");
	mp_w_cstr(&w, stamp);
	kind_write(&w, &m, "Gauges", METRIC_GAUGE);
	mp_w_cstr(&w, "Points");
	mp_w_array(&w, 0);
	kind_write(&w, &m, "Counters", METRIC_COUNTER);
	kind_write(&w, &m, "Samples", METRIC_SAMPLE);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

/* ---- Prometheus */

/* A summary as Consul shows one: three quantiles of the last interval, sum and count since the start. */
static int
summary_add(struct buf *out, const char *name, const struct metric *x)
{
	static const struct {
		const char *text;
		double q;
	} quantiles[] = { { "0.5", 0.5 }, { "0.9", 0.9 }, { "0.99", 0.99 } };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(quantiles); i++)
		if (x->count == 0)
			rc = buf_addf(out, "%s{quantile=\"%s\"} NaN\n", name, quantiles[i].text);
		else
			rc = buf_addf(out, "%s{quantile=\"%s\"} %.17g\n", name, quantiles[i].text,
			    metric_quantile(x->buckets.v, x->buckets.n, quantiles[i].q));
	if (rc < 0)
		return rc;
	return buf_addf(out, "%s_sum %.17g\n%s_count %llu\n", name, x->total_sum, name, (unsigned long long)x->total_count);
}

static int
prometheus_add(struct buf *out, const struct metrics *m, const struct metric *x)
{
	static const char *const types[] = { "counter", "gauge", "summary" };
	char name[FULL_NAME_MAX];
	int rc;

	if (x->kind < METRIC_COUNTER || x->kind > METRIC_SAMPLE)
		return 0;
	(void)snprintf(name, sizeof(name), "%s.%.*s", m->prefix, STR_ARG(x->name));
	for (char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	rc = buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, name, name, types[x->kind]);
	if (rc < 0)
		return rc;
	if (x->kind == METRIC_SAMPLE)
		return summary_add(out, name, x);
	return buf_addf(out, "%s %.17g\n", name, x->kind == METRIC_GAUGE ? x->sum : x->total_sum);
}

static void
on_prometheus(struct request *r, const struct part *parts, size_t n)
{
	struct metrics m;
	int rc = 0;

	if (!collect(r, parts, n, &m))
		return;
	r->reply.content = CONTENT_PROMETHEUS;
	for (size_t i = 0; i < m.n && rc == 0; i++)
		rc = prometheus_add(&r->reply.body, &m, &m.v[i]);
	if (rc < 0)
		respond_empty(r, 500);
	else
		respond_done(r);
}

static bool
wants_prometheus(const struct request *r)
{
	const struct str *format = param_get(&r->params, "format");

	if (format != NULL && str_eqs(*format, "prometheus"))
		return true;
	return r->accept.len > 0 && (str_has_prefix(r->accept, STR("application/openmetrics-text")) ||
	    str_has_prefix(r->accept, STR("text/plain;version=0.4.0")));
}

void
agent_metrics(struct request *r)
{
	static const struct question questions[] = {
		{ PEER_RAFTD, OP_DAEMON_METRICS, NULL }, { PEER_GOSSIPD, OP_DAEMON_METRICS, NULL },
		{ PEER_CHECKD, OP_DAEMON_METRICS, NULL }, { PEER_DNSD, OP_DAEMON_METRICS, NULL },
		{ PEER_HTTPD, OP_DAEMON_METRICS, NULL }, { PEER_CONSULCTL, OP_DAEMON_METRICS, NULL },
	};

	if (!wants_prometheus(r))
		gather(r, questions, ARRAY_LEN(questions), on_json);
	else if (r->h->cfg.prometheus_retention_ms <= 0)
		respond_text(r, 415, "Prometheus is not enabled since its retention time is not positive");
	else
		gather(r, questions, ARRAY_LEN(questions), on_prometheus);
}
