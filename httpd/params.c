/* params.c - decoding of query strings; the texts of refusals are Consul's. */
#include "httpd/params.h"

#include <stdlib.h>

#include "httpd/path.h"
#include "lib/duration.h"

static size_t
count_pairs(const char *q, size_t len)
{
	size_t n = 1;

	for (size_t i = 0; i < len; i++)
		n += q[i] == '&';
	return n;
}

static int
parse_pair(char *p, size_t len, struct param *ret)
{
	char *eq = memchr(p, '=', len);
	size_t klen = eq != NULL ? (size_t)(eq - p) : len;
	int64_t n;

	n = url_decode(p, klen, true);
	if (n < 0)
		return (int)n;
	ret->key = (struct str){ p, (size_t)n };
	ret->value = STR("");
	if (eq == NULL)
		return 0;
	n = url_decode(eq + 1, len - klen - 1, true);
	if (n < 0)
		return (int)n;
	ret->value = (struct str){ eq + 1, (size_t)n };
	return 0;
}

int
params_parse(char *query, size_t len, struct arena *a, struct params *ret)
{
	size_t cap;

	*ret = (struct params){ NULL, 0 };
	if (len == 0)
		return 0;
	cap = count_pairs(query, len);
	if (cap > HTTP_PARAMS_MAX)
		return -ELIMIT;
	ret->v = arena_alloc(a, cap * sizeof(*ret->v));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < len;) {
		char *amp = memchr(query + i, '&', len - i);
		size_t n = amp != NULL ? (size_t)(amp - (query + i)) : len - i;

		if (n > 0) {
			int rc = parse_pair(query + i, n, &ret->v[ret->n]);

			if (rc < 0)
				return rc;
			ret->n++;
		}
		i += n + 1;
	}
	return 0;
}

const struct str *
param_get(const struct params *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eqs(p->v[i].key, name))
			return &p->v[i].value;
	return NULL;
}

bool
param_has(const struct params *p, const char *name)
{
	return param_get(p, name) != NULL;
}

static int
param_cmp(const void *a, const void *b)
{
	const struct param *const *x = a, *const *y = b;
	int c = str_cmp((*x)->key, (*y)->key);

	/* Equal names keep their order: they lie in one array. */
	return c != 0 ? c : (*x > *y) - (*x < *y);
}

static size_t
query_escape(char *out, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    c == '-' || c == '_' || c == '.' || c == '~') {
			out[n++] = (char)c;
		} else if (c == ' ') {
			out[n++] = '+';
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	return n;
}

const char *
params_encode(const struct params *p, struct arena *a)
{
	size_t size = 1, at = 0;
	const struct param **order;
	char *out;

	for (size_t i = 0; i < p->n; i++)
		size += (p->v[i].key.len + p->v[i].value.len) * 3 + 2;
	out = arena_alloc(a, size);
	order = arena_alloc(a, (p->n + 1) * sizeof(*order));
	if (out == NULL || order == NULL)
		return NULL;
	for (size_t i = 0; i < p->n; i++)
		order[i] = &p->v[i];
	qsort(order, p->n, sizeof(*order), param_cmp);
	for (size_t i = 0; i < p->n; i++) {
		if (i > 0)
			out[at++] = '&';
		at += query_escape(out + at, order[i]->key);
		out[at++] = '=';
		at += query_escape(out + at, order[i]->value);
	}
	out[at] = '\0';
	return out;
}

int
parse_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;
	bool over = false;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		over = over || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.p[i] - '0', &v);
	}
	if (over)
		return -ERANGE;
	*ret = v;
	return 0;
}

int
parse_bool(struct str s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
	static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (!str_eqs(s, yes[i]) && !str_eqs(s, no[i]))
			continue;
		*ret = str_eqs(s, yes[i]);
		return 0;
	}
	return -EINVAL;
}

void
params_wait(const struct params *p, const struct http_config *c, struct query_options *o, struct read_params *ret,
    struct param_error *e)
{
	const struct str *wait = param_get(p, "wait"), *index = param_get(p, "index");
	int64_t ns = 0;

	if (wait != NULL && wait->len > 0 && duration_parse(*wait, &ns) < 0) {
		*e = (struct param_error){ 400, "Invalid wait time" };
		return;
	}
	if (index != NULL && index->len > 0 && parse_u64(*index, &o->min_index) < 0) {
		*e = (struct param_error){ 400, "Invalid index" };
		return;
	}
	ret->wait_ms = ns / NS_PER_MS;
	if (ns > 0 && ret->wait_ms == 0)
		ret->wait_ms = 1;
	if (ret->wait_ms <= 0)
		ret->wait_ms = c->default_wait_ms;
	if (ret->wait_ms > c->max_wait_ms)
		ret->wait_ms = c->max_wait_ms;
}

/* How old an answer may be; false when the text is no duration. */
static bool
max_stale(const struct params *p, struct query_options *o, struct param_error *e, struct arena *a)
{
	const struct str *s = param_get(p, "max_stale");
	const char *quoted;
	int64_t ns;

	if (s == NULL || s->len == 0)
		return false;
	if (duration_parse(*s, &ns) < 0) {
		quoted = go_quote(*s, a);
		e->status = 400;
		e->text = arena_printf(a, "Invalid max_stale value %s", quoted != NULL ? quoted : "");
		return false;
	}
	if (ns <= 0)
		return false;
	o->max_stale = ns;
	o->consistency = CONSISTENCY_STALE;
	return true;
}

void
params_consistency(const struct params *p, const struct http_config *c, bool discovery, struct query_options *o,
    struct read_params *ret, struct param_error *e, struct arena *a)
{
	bool stale = param_has(p, "stale"), consistent = param_has(p, "consistent");

	ret->leader = param_has(p, "leader");
	ret->cached = param_has(p, "cached") && c->use_cache;
	if (max_stale(p, o, e, a))
		stale = true;
	if (e->status != 0)
		return;
	if (!stale && !consistent && !ret->leader && !ret->cached && discovery && c->discovery_max_stale_ms > 0) {
		stale = true;
		o->max_stale = c->discovery_max_stale_ms * NS_PER_MS;
	}
	if (stale && consistent)
		*e = (struct param_error){ 400, "Cannot specify ?stale with ?consistent, conflicting semantics." };
	else if (ret->cached && consistent)
		*e = (struct param_error){ 400, "Cannot specify ?cached with ?consistent, conflicting semantics." };
	else
		o->consistency = stale ? CONSISTENCY_STALE : consistent ? CONSISTENCY_CONSISTENT : CONSISTENCY_DEFAULT;
}

/* `name=NUMBER`: 1, another directive: 0, not a number: -EINVAL. */
static int
directive_number(struct str d, struct str name, uint64_t *ret)
{
	if (!str_has_prefix(d, name))
		return 0;
	return parse_u64((struct str){ d.p + name.len, d.len - name.len }, ret) < 0 ? -EINVAL : 1;
}

static bool
directive(struct str d, struct read_params *ret)
{
	static const struct str max_age = { "max-age=", 8 }, stale_if_error = { "stale-if-error=", 15 };
	int rc;

	while (d.len > 0 && (d.p[0] == ' ' || d.p[0] == '\t')) {
		d.p++;
		d.len--;
	}
	if (str_eqs(d, "must-revalidate"))
		ret->must_revalidate = true;
	rc = directive_number(d, max_age, &ret->max_age_s);
	if (rc > 0 && ret->max_age_s == 0)
		ret->must_revalidate = true;
	return rc >= 0 && directive_number(d, stale_if_error, &ret->stale_if_error_s) >= 0;
}

void
params_cache_control(struct str header, struct read_params *ret, struct param_error *e)
{
	for (size_t i = 0; i < header.len;) {
		const char *comma = memchr(header.p + i, ',', header.len - i);
		size_t n = comma != NULL ? (size_t)(comma - (header.p + i)) : header.len - i;

		if (!directive((struct str){ header.p + i, n }, ret)) {
			*e = (struct param_error){ 400, "Invalid Cache-Control header." };
			return;
		}
		i += n + 1;
	}
}

void
params_namespace(const struct params *p, struct str namespace_header, struct param_error *e)
{
	const struct str *ns = param_get(p, "ns"), *partition = param_get(p, "partition");

	if (namespace_header.len > 0)
		*e = (struct param_error){ 400, "Bad request: Invalid header: \"X-Consul-Namespace\" - "
			"Namespaces are a Consul Enterprise feature" };
	else if (ns != NULL && ns->len > 0)
		*e = (struct param_error){ 400, "Bad request: Invalid query parameter: \"ns\" - "
			"Namespaces are a Consul Enterprise feature" };
	else if (partition != NULL && partition->len > 0)
		*e = (struct param_error){ 400, "Bad request: Invalid query parameter: \"partition\" - "
			"Partitions are a Consul Enterprise feature" };
}

static int
pair_cmp(const void *a, const void *b)
{
	const struct strpair *x = a, *y = b;

	return str_cmp(x->key, y->key);
}

int
params_node_meta(const struct params *p, struct arena *a, struct strmap *ret)
{
	*ret = (struct strmap){ NULL, 0 };
	for (size_t i = 0; i < p->n; i++) {
		struct str v = p->v[i].value;
		const char *colon;

		if (!str_eqs(p->v[i].key, "node-meta"))
			continue;
		if (ret->v == NULL)
			ret->v = arena_alloc(a, p->n * sizeof(*ret->v));
		if (ret->v == NULL)
			return -ENOMEM;
		colon = v.len > 0 ? memchr(v.p, ':', v.len) : NULL;
		ret->v[ret->n].key = colon != NULL ? (struct str){ v.p, (size_t)(colon - v.p) } : v;
		ret->v[ret->n].value = colon != NULL ? (struct str){ colon + 1, v.len - (size_t)(colon - v.p) - 1 } : STR("");
		ret->n++;
	}
	if (ret->n > 1)
		qsort(ret->v, ret->n, sizeof(*ret->v), pair_cmp);
	return 0;
}

int
params_list(const struct params *p, const char *name, struct arena *a, struct strs *ret)
{
	*ret = (struct strs){ NULL, 0 };
	for (size_t i = 0; i < p->n; i++) {
		if (!str_eqs(p->v[i].key, name))
			continue;
		if (ret->v == NULL)
			ret->v = arena_alloc(a, p->n * sizeof(*ret->v));
		if (ret->v == NULL)
			return -ENOMEM;
		ret->v[ret->n++] = p->v[i].value;
	}
	return 0;
}

const char *
go_quote(struct str s, struct arena *a)
{
	static const char hex[] = "0123456789abcdef";
	char *out = arena_alloc(a, s.len * 4 + 3);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	out[n++] = '"';
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		} else {
			out[n++] = (char)c;
		}
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}
