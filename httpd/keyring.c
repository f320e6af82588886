/* keyring.c - /v1/operator/keyring: the keys of the gossip pools. */
#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { RELAY_FACTOR_MAX = 5, KEYRING_BYTES_MAX = 64 * 1024 * 1024 };

/* Consul's keyringArgs: of these a body may name the key; the rest comes from the URL. */
struct keyring_body {
	struct str key, token;
	int64_t relay_factor;
	bool local_only;
};

static const struct field f_keyring_body[] = {
	FIELD(keyring_body, key, "Key", F_STR, 0),
	FIELD(keyring_body, token, "Token", F_STR, 0),
	FIELD(keyring_body, relay_factor, "RelayFactor", F_INT, 0),
	FIELD(keyring_body, local_only, "LocalOnly", F_BOOL, 0),
};
static RECORD(rec_keyring_body, keyring_body, "keyringArgs", f_keyring_body);

/* ---- what is asked */

/* strconv.Atoi, as far as a small number goes: -EINVAL, -ERANGE. */
static int
parse_small(struct str s, int64_t *ret)
{
	bool negative = s.len > 0 && s.p[0] == '-', sign = negative || (s.len > 0 && s.p[0] == '+');
	struct str digits = { s.p + sign, s.len - sign };
	uint64_t v = 0;
	int rc = parse_u64(digits, &v);

	if (rc == 0 && v > INT64_MAX)
		rc = -ERANGE;
	if (rc == 0)
		*ret = negative ? -(int64_t)v : (int64_t)v;
	return rc;
}

/* The parameters; false when the request was answered. */
static bool
read_params(struct request *r, struct keyring_request *q)
{
	const struct str *relay = param_get(&r->params, "relay-factor"), *local = param_get(&r->params, "local-only");
	int rc;

	if (relay != NULL && relay->len > 0) {
		rc = parse_small(*relay, &q->relay_factor);
		if (rc < 0) {
			respond_text(r, 400, "Bad request: Error parsing relay factor: strconv.Atoi: parsing %s: %s",
			    go_quote(*relay, &r->arena), rc == -ERANGE ? "value out of range" : "invalid syntax");
			return false;
		}
	}
	if (q->relay_factor < 0 || q->relay_factor > RELAY_FACTOR_MAX) {
		respond_text(r, 400, "Bad request: Invalid relay-factor: Relay factor must be in range: [0, %d]", RELAY_FACTOR_MAX);
		return false;
	}
	if (local == NULL || local->len == 0)
		return true;
	if (parse_bool(*local, &q->local_only) < 0) {
		respond_text(r, 400, "Bad request: Error parsing local-only: strconv.ParseBool: parsing %s: invalid syntax",
		    go_quote(*local, &r->arena));
		return false;
	}
	if (q->local_only && r->method != M_GET) {
		respond_bad(r, "Bad request: Invalid use of local-only: argument local-only can only be used for list request");
		return false;
	}
	return true;
}

/* The body of a change names its key; false when the request was answered. */
static bool
read_key(struct request *r, struct keyring_request *q)
{
	static const char prefix[] = "Bad request: Request decode failed";
	struct keyring_body b = { .key = STR_NONE };
	char err[512] = "";
	bool null;
	struct json_object *j = body_parse(r, prefix, &null);
	int rc;

	if (j == NULL && !null)
		return false;
	rc = j != NULL ? record_from_json(&rec_keyring_body, j, &b, &r->arena, true, err, sizeof(err)) : 0;
	(void)json_object_put(j);
	if (rc < 0) {
		respond_text(r, 400, "%s: %s", prefix, err);
		return false;
	}
	q->key = b.key;
	return true;
}

/* ---- what is answered */

struct answers {
	struct records v;
};
static const struct field f_answers[] = { FIELD_SUB(answers, v, "", F_RECORDS, 0, rec_keyring_response) };
static RECORD(rec_answers, answers, "", f_answers);

/* How many sentences the errors of all pools make. */
static size_t
count_errors(const struct answers *a)
{
	const struct keyring_response *p = a->v.v;
	size_t n = 0;

	for (size_t i = 0; i < a->v.n; i++)
		if (p[i].error.len > 0)
			n += 1 + p[i].messages.n;
	return n;
}

/* As Go's multierror shows them; false without memory. */
static bool
write_errors(const struct answers *a, size_t n, struct buf *out)
{
	const struct keyring_response *p = a->v.v;
	int rc = buf_addf(out, "%zu error%s occurred:", n, n > 1 ? "s" : "");

	for (size_t i = 0; i < a->v.n && rc == 0; i++) {
		if (p[i].error.len == 0)
			continue;
		rc = buf_addf(out, "\n\t* %.*s%s error: %.*s", STR_ARG(p[i].wan ? STR("WAN") : p[i].datacenter),
		    p[i].wan ? "" : " (LAN)", STR_ARG(p[i].error));
		for (size_t k = 0; k < p[i].messages.n && rc == 0; k++)
			rc = buf_addf(out, "\n\t* %.*s: %.*s", STR_ARG(p[i].messages.v[k].key), STR_ARG(p[i].messages.v[k].value));
	}
	return rc == 0 && buf_adds(out, "\n\n") == 0;
}

/* Maps are shown in the order of their keys; a keyring holds few. */
static void
sort_counts(struct recmap *m)
{
	struct key_count *v = m->v;

	for (size_t i = 1; i < m->n; i++)
		for (size_t k = i; k > 0 && str_cmp(m->keys[k - 1], m->keys[k]) > 0; k--) {
			struct str key = m->keys[k];
			struct key_count count = v[k];

			m->keys[k] = m->keys[k - 1];
			v[k] = v[k - 1];
			m->keys[k - 1] = key;
			v[k - 1] = count;
		}
}

static void
show_list(struct request *r, const struct answers *a)
{
	struct buf out = BUF_INIT(KEYRING_BYTES_MAX);
	struct mp_w w = mp_w_init(&out);
	struct keyring_response *p = a->v.v;

	mp_w_array(&w, (uint32_t)a->v.n);
	for (size_t i = 0; i < a->v.n; i++) {
		sort_counts(&p[i].keys);
		sort_counts(&p[i].primary_keys);
		record_encode(&rec_keyring_response, &p[i], RECORD_PUBLIC, &w);
	}
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

static void
on_answers(struct request *r, const struct rpc_answer *a)
{
	struct buf text = BUF_INIT(KEYRING_BYTES_MAX);
	struct answers all;
	struct str payload;
	struct mp_r in;
	size_t n;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_answers, &in, &all, &r->arena) < 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	n = count_errors(&all);
	if (n > 0 && write_errors(&all, n, &text))
		respond_text(r, 500, "%.*s", (int)text.len, (const char *)text.data);
	else if (n > 0 || r->method != M_GET)
		respond_empty(r, n > 0 ? 500 : 200);
	else
		show_list(r, &all);
	buf_release(&text);
}

void
operator_keyring(struct request *r)
{
	struct keyring_request q = { .verb = r->method == M_GET ? STR("list") : r->method == M_POST ? STR("install") :
	    r->method == M_PUT ? STR("use") : STR("remove") };

	if (r->method != M_GET && !read_key(r, &q))
		return;
	if (read_params(r, &q))
		upstream_write(r, OP_GOSSIP_KEYRING, &q, on_answers);
}
