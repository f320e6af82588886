/* telemetry.c - metrics' names outwards, and several daemons' metrics as one list. */
#include "lib/telemetry.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cfg.h"

void
telemetry_read(struct telemetry *t, struct json_object *slice)
{
	*t = (struct telemetry){ .filter = cfg_get(slice, "telemetry.prefix_filter"),
		.filter_default = cfg_bool(slice, "telemetry.filter_default", true) };
	(void)snprintf(t->prefix, sizeof(t->prefix), "%s", cfg_str(slice, "telemetry.metrics_prefix", "consul"));
	if (!json_object_is_type(t->filter, json_type_array))
		t->filter = NULL;
	if (cfg_bool(slice, "telemetry.disable_hostname", false) || gethostname(t->host, sizeof(t->host) - 1) < 0)
		t->host[0] = '\0';
	t->host[sizeof(t->host) - 1] = '\0';
}

struct str
telemetry_base(struct str name)
{
	const char *end = name.len > 0 ? memchr(name.p, ';', name.len) : NULL;

	return end != NULL ? (struct str){ name.p, (size_t)(end - name.p) } : name;
}

size_t
telemetry_labels(struct str name, struct metric_label out[TELEMETRY_LABELS_MAX])
{
	size_t at = telemetry_base(name).len, n = 0;

	while (at < name.len && n < TELEMETRY_LABELS_MAX) {
		struct str rest = { name.p + at + 1, name.len - at - 1 };
		struct str label = telemetry_base(rest);
		const char *eq = label.len > 0 ? memchr(label.p, '=', label.len) : NULL;

		if (eq != NULL)
			out[n++] = (struct metric_label){ { label.p, (size_t)(eq - label.p) },
				{ eq + 1, label.len - (size_t)(eq - label.p) - 1 } };
		at += 1 + label.len;
	}
	return n;
}

void
telemetry_name(const struct telemetry *t, const struct metric *m, char out[TELEMETRY_NAME_MAX])
{
	bool host = m->kind == METRIC_GAUGE && t->host[0] != '\0';
	struct str base = telemetry_base(m->name);

	(void)snprintf(out, TELEMETRY_NAME_MAX, "%s%s%s%s%.*s", t->prefix, t->prefix[0] != '\0' ? "." : "", host ? t->host : "", host ? "." : "",
	    STR_ARG(base));
}

bool
telemetry_allowed(const struct telemetry *t, const char *name)
{
	size_t n = t->filter != NULL ? json_object_array_length(t->filter) : 0, longest = 0;
	bool allowed = t->filter_default, found = false;

	for (size_t i = 0; i < n; i++) {
		const char *rule = json_object_get_string(json_object_array_get_idx(t->filter, i));
		size_t len = rule != NULL && (*rule == '+' || *rule == '-') ? strlen(rule + 1) : 0;

		/* Of two rules about the same prefix the one that forbids holds. */
		if (len == 0 || strncmp(name, rule + 1, len) != 0 || len < longest || (found && len == longest && *rule == '+'))
			continue;
		found = true;
		longest = len;
		allowed = *rule == '+';
	}
	return allowed;
}

size_t
telemetry_add(struct metric *v, size_t n, size_t max, struct str payload, struct arena *a)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t count = mp_r_array(&in);

	for (uint32_t i = 0; i < count && in.err == 0 && n < max; i++)
		if (record_decode(&rec_metric, &in, &v[n], a) == 0)
			n++;
	return n;
}

static int
metric_cmp(const void *a, const void *b)
{
	const struct metric *x = a, *y = b;
	/* By base first: what shares one stays together, whatever follows. */
	int c = str_cmp(telemetry_base(x->name), telemetry_base(y->name));

	return c != 0 ? c : str_cmp(x->name, y->name);
}

/* Two histograms as one, ascending; the first alone when memory is short. */
static void
merge_buckets(struct records *into, const struct records *from, struct arena *arena)
{
	const struct metric_bucket *a = into->v, *b = from->v;
	struct metric_bucket *out = arena_alloc(arena, (into->n + from->n) * sizeof(*out));
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

static void
merge_two(struct metric *into, const struct metric *from, struct arena *a)
{
	if (from->count > 0) {
		into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
		into->max = into->count == 0 || from->max > into->max ? from->max : into->max;
	}
	into->count += from->count;
	into->sum += from->sum;
	into->sum_sq += from->sum_sq;
	into->total_count += from->total_count;
	into->total_sum += from->total_sum;
	if (into->buckets.n + from->buckets.n > 0)
		merge_buckets(&into->buckets, &from->buckets, a);
}

size_t
telemetry_merge(struct metric *v, size_t n, struct arena *a)
{
	size_t out = 0;

	qsort(v, n, sizeof(*v), metric_cmp);
	for (size_t i = 0; i < n; i++)
		if (out > 0 && str_eq(v[out - 1].name, v[i].name))
			merge_two(&v[out - 1], &v[i], a);
		else
			v[out++] = v[i];
	return out;
}
