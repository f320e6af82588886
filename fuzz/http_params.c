/* http_params.c - fuzz target: a request's target (first line of the input) and its JSON body (the rest). */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "httpd/gzip.h"
#include "httpd/params.h"
#include "httpd/path.h"
#include "lib/json.h"

enum { INPUT_MAX = 64 * 1024 };

static const struct http_config conf = { .default_wait_ms = 300000, .max_wait_ms = 600000, .use_cache = true,
	.discovery_max_stale_ms = 1000 };

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
check_path(struct str path, struct arena *a)
{
	const char *clean = path_clean(path, a), *encoded;
	struct target t;

	(void)path_printable(path);
	must(clean != NULL);
	/* A NUL ends the cleaned text early; the caller refuses such paths before. */
	if (path.len == 0 || memchr(path.p, '\0', path.len) != NULL)
		return;
	must(path_is_clean(str_from(clean)) && (clean[0] == '/'));
	must(!path_is_clean(path) || path.p[0] != '/' || str_eqs(path, clean));
	encoded = path_encode(str_from(clean), a);
	must(encoded != NULL);
	must(target_parse(arena_strdup(a, str_from(encoded)), strlen(encoded), &t) == 0 && str_eqs(t.path, clean));
}

/* What was encoded means the same when it is parsed again. */
static void
check_encode(const struct params *p, struct arena *a)
{
	const char *text = params_encode(p, a);
	struct params again;

	must(text != NULL);
	must(params_parse(arena_strdup(a, str_from(text)), strlen(text), a, &again) == 0);
	/* A nameless empty parameter is "=" and stays one. */
	must(again.n == p->n);
	for (size_t i = 1; i < again.n; i++)
		must(str_cmp(again.v[i - 1].key, again.v[i].key) <= 0);
}

static void
check_query(struct str query, struct arena *a)
{
	struct query_options o = { .min_index = 0 };
	struct read_params r = { 0 };
	struct param_error e = { 0, NULL };
	struct params p;
	struct strmap meta;
	struct strs tags;

	if (params_parse((char *)(uintptr_t)query.p, query.len, a, &p) < 0)
		return;
	check_encode(&p, a);
	params_wait(&p, &conf, &o, &r, &e);
	must(e.status != 0 || (r.wait_ms > 0 && r.wait_ms <= conf.max_wait_ms));
	e.status = 0;
	params_consistency(&p, &conf, true, &o, &r, &e, a);
	must(o.consistency <= CONSISTENCY_STALE);
	params_namespace(&p, STR_NONE, &e);
	must(params_node_meta(&p, a, &meta) == 0 && meta.n <= p.n);
	must(params_list(&p, "tag", a, &tags) == 0 && tags.n <= p.n);
	for (size_t i = 0; i < p.n; i++) {
		uint64_t v;
		bool b;

		must(parse_u64(p.v[i].value, &v) <= 0 && parse_bool(p.v[i].value, &b) <= 0);
		must(go_quote(p.v[i].value, a) != NULL);
		params_cache_control(p.v[i].value, &r, &e);
		(void)gzip_accepted(p.v[i].value);
	}
}

/* A record from JSON can be written, and read back the same. */
static void
check_record(const struct record *rec, struct json_object *j, bool strict, struct arena *a)
{
	char err[256] = "";
	void *obj = arena_alloc(a, rec->size), *back = arena_alloc(a, rec->size);
	struct buf out = BUF_INIT(16 * MiB), twice = BUF_INIT(16 * MiB);
	struct mp_w w = mp_w_init(&out), w2 = mp_w_init(&twice);
	struct mp_r in;

	if (obj == NULL || back == NULL)
		return;
	if (record_from_json(rec, j, obj, a, strict, err, sizeof(err)) < 0) {
		must(err[0] != '\0' && memchr(err, '\0', sizeof(err)) != NULL);
		return;
	}
	record_encode(rec, obj, RECORD_WHOLE, &w);
	if (w.err == 0) {
		in = mp_r_init(out.data, out.len);
		must(record_decode(rec, &in, back, a) == 0 && mp_r_done(&in));
		record_encode(rec, back, RECORD_WHOLE, &w2);
		must(w2.err == 0 && twice.len == out.len && memcmp(out.data, twice.data, out.len) == 0);
	}
	buf_release(&out);
	buf_release(&twice);
}

static void
check_body(const uint8_t *body, size_t len, struct arena *a)
{
	static const struct record *const strict[] = { &rec_service_def, &rec_check_def, &rec_register_request,
		&rec_deregister_request };
	static const struct record *const lenient[] = { &rec_session_create, &rec_txn_op, &rec_check_update };
	char err[256] = "";
	bool null = false;
	struct json_object *j = json_parse((const char *)body, len, &null, err, sizeof(err));

	must(j != NULL || null || err[0] != '\0');
	if (j == NULL)
		return;
	for (size_t i = 0; i < ARRAY_LEN(strict); i++)
		check_record(strict[i], j, true, a);
	for (size_t i = 0; i < ARRAY_LEN(lenient); i++)
		check_record(lenient[i], j, false, a);
	(void)json_object_put(j);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl;
	struct arena a = ARENA_INIT(64 * MiB);
	struct target t;
	size_t n;
	char *raw;

	if (size == 0 || size > INPUT_MAX)
		return 0;
	nl = memchr(data, '\n', size);
	n = nl != NULL ? (size_t)(nl - data) : size;
	raw = arena_strdup(&a, (struct str){ (const char *)data, n });
	must(raw != NULL);
	if (target_parse(raw, n, &t) == 0) {
		must(t.path.len <= n);
		check_path(t.path, &a);
		check_query(t.query, &a);
	}
	if (nl != NULL)
		check_body(nl + 1, size - n - 1, &a);
	arena_release(&a);
	return 0;
}
