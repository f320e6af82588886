/* agent_metrics.c - /v1/agent/metrics: every daemon's counters, as Consul's JSON or for Prometheus */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "httpd/gather.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "lib/telemetry.h"

enum { METRICS_ALL_MAX = METRICS_MAX * PEERS, METRICS_OUT_MAX = 4 * 1024 * 1024, INTERVAL_S = METRICS_INTERVAL_MS / 1000 };

struct metrics {
	struct metric *v;
	size_t n;
	struct telemetry t;
};

static bool
collect(struct request *r, const struct part *parts, size_t n, struct metrics *m)
{
	*m = (struct metrics){ .v = arena_alloc(&r->arena, METRICS_ALL_MAX * sizeof(struct metric)) };
	if (m->v == NULL) {
		respond_empty(r, 500);
		return false;
	}
	telemetry_read(&m->t, r->h->cfg.slice);
	for (size_t i = 0; i < n; i++)
		if (parts[i].ok)
			m->n = telemetry_add(m->v, m->n, METRICS_ALL_MAX, parts[i].payload, &r->arena);
	m->n = telemetry_merge(m->v, m->n, &r->arena);
	return true;
}

/* ---- JSON */

static void
number(struct mp_w *w, const char *name, double v)
{
	mp_w_cstr(w, name);
	mp_w_double(w, v);
}

static void
labels_write(struct mp_w *w, const struct metric *x)
{
	struct metric_label labels[TELEMETRY_LABELS_MAX];
	size_t n = telemetry_labels(x->name, labels);

	mp_w_cstr(w, "Labels");
	mp_w_map(w, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		mp_w_str(w, labels[i].name);
		mp_w_str(w, labels[i].value);
	}
}

static void
gauge_write(struct mp_w *w, const struct metric *x, const char *name)
{
	mp_w_map(w, 3);
	mp_w_cstr(w, "Name");
	mp_w_cstr(w, name);
	number(w, "Value", x->sum);
	labels_write(w, x);
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
	labels_write(w, x);
}

static void
kind_write(struct mp_w *w, const struct metrics *m, const char *list, int64_t kind)
{
	char name[TELEMETRY_NAME_MAX];
	uint32_t n = 0;
	size_t at;

	mp_w_cstr(w, list);
	at = mp_w_array_hold(w);
	for (size_t i = 0; i < m->n; i++) {
		const struct metric *x = &m->v[i];

		if (x->kind != kind || x->count == 0)
			continue;
		telemetry_name(&m->t, x, name);
		if (!telemetry_allowed(&m->t, name))
			continue;
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

/* The labels of one line, more behind them: {a="b",quantile="0.5"}; nothing when there are none. */
static int
labels_add(struct buf *out, struct str name, const char *quantile)
{
	struct metric_label labels[TELEMETRY_LABELS_MAX];
	size_t n = telemetry_labels(name, labels);
	const char *sep = "{";
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = buf_addf(out, "%s%.*s=\"", sep, STR_ARG(labels[i].name));
		for (size_t j = 0; rc == 0 && j < labels[i].value.len; j++) {
			char c = labels[i].value.p[j];

			rc = c == '"' || c == '\\' ? buf_addf(out, "\\%c", c) : c == '\n' ? buf_adds(out, "\\n") : buf_addc(out, c);
		}
		if (rc == 0)
			rc = buf_addc(out, '"');
		sep = ",";
	}
	if (rc == 0 && quantile != NULL) {
		rc = buf_addf(out, "%squantile=\"%s\"", sep, quantile);
		sep = ",";
	}
	return rc < 0 || *sep == '{' ? rc : buf_addc(out, '}');
}

static int
line_add(struct buf *out, const char *name, const char *suffix, const struct metric *x, const char *quantile, double v)
{
	int rc = buf_addf(out, "%s%s", name, suffix);

	if (rc == 0)
		rc = labels_add(out, x->name, quantile);
	if (rc < 0)
		return rc;
	return isnan(v) ? buf_adds(out, " NaN\n") : buf_addf(out, " %.17g\n", v);
}

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
		rc = line_add(out, name, "", x, quantiles[i].text,
		    x->count == 0 ? NAN : metric_quantile(x->buckets.v, x->buckets.n, quantiles[i].q));
	if (rc == 0)
		rc = line_add(out, name, "_sum", x, NULL, x->total_sum);
	return rc < 0 ? rc : line_add(out, name, "_count", x, NULL, (double)x->total_count);
}

/* last: the name of the line before; equal names are one family, and have one head. */
static int
prometheus_add(struct buf *out, const struct metrics *m, const struct metric *x, char last[TELEMETRY_NAME_MAX])
{
	static const char *const types[] = { "counter", "gauge", "summary" };
	char name[TELEMETRY_NAME_MAX];
	int rc = 0;

	if (x->kind < METRIC_COUNTER || x->kind > METRIC_SAMPLE || (x->kind == METRIC_GAUGE && x->count == 0))
		return 0;
	telemetry_name(&m->t, x, name);
	if (!telemetry_allowed(&m->t, name))
		return 0;
	for (char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	if (isdigit((unsigned char)name[0]))
		name[0] = '_';
	if (strcmp(name, last) != 0)
		rc = buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, name, name, types[x->kind]);
	(void)memcpy(last, name, sizeof(name));
	if (rc < 0)
		return rc;
	if (x->kind == METRIC_SAMPLE)
		return summary_add(out, name, x);
	return line_add(out, name, "", x, NULL, x->kind == METRIC_GAUGE ? x->sum : x->total_sum);
}

static void
on_prometheus(struct request *r, const struct part *parts, size_t n)
{
	char last[TELEMETRY_NAME_MAX] = "";
	struct metrics m;
	int rc = 0;

	if (!collect(r, parts, n, &m))
		return;
	r->reply.content = CONTENT_PROMETHEUS;
	for (size_t i = 0; i < m.n && rc == 0; i++)
		rc = prometheus_add(&r->reply.body, &m, &m.v[i], last);
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
