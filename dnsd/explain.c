/* explain.c - why DNS returns an instance of a service, or does not. */
#include "dnsd/explain.h"

#include <stdlib.h>

#include "dnsd/facts.h"

/* ---- the rules: pure */

bool
explain_name(const struct settings *s, struct str service, char ret_why[EXPLAIN_WHY_MAX])
{
	uint8_t wire[PKT_NAME_MAX + 1], prefix[PKT_NAME_MAX + 1];
	struct dns_name n;
	char text[2 * PKT_NAME_MAX];
	int len = -EINVAL, keyword;

	if (service.len > 0 && service.len <= PKT_NAME_MAX && memchr(service.p, '.', service.len) == NULL) {
		(void)snprintf(text, sizeof(text), "%.*s.service", STR_ARG(service));
		len = name_to_wire(str_from(text), wire);
	}
	if (service.len > PKT_LABEL_MAX)
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "DNS cannot say the name: a label has at most %d bytes", PKT_LABEL_MAX);
	else if (len < 0)
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "DNS cannot say the name: it is more than one label, or none");
	if (service.len > PKT_LABEL_MAX || len < 0)
		return false;
	/* As a question comes: in lower case, without the root's label. */
	keyword = len - 1;
	for (int i = 0; i < keyword; i++)
		prefix[i] = (uint8_t)ascii_lower((char)wire[i]);
	name_parse(prefix, (size_t)keyword, TYPE_A, &n);
	if (n.kind != NAME_SERVICE || !str_eq_nocase(n.name, service) || n.tag.len > 0) {
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "DNS understands the name as something else than a service");
		return false;
	}
	if ((size_t)keyword + s->domain.len > PKT_NAME_MAX) {
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "DNS cannot say the name: with the domain it is longer than %d bytes", PKT_NAME_MAX);
		return false;
	}
	return true;
}

static const struct health_check *
worst_check(const struct records *checks)
{
	const struct health_check *v = checks->v, *worst = NULL;

	for (size_t i = 0; i < checks->n; i++)
		if (str_eqs(v[i].status, "critical"))
			return &v[i];
		else if (!str_eqs(v[i].status, "passing"))
			worst = &v[i];
	return worst;
}

static void
tell_check(const struct health_check *c, const char *more, char ret_why[EXPLAIN_WHY_MAX])
{
	struct str name = c->name.len > 0 ? c->name : c->check_id;
	bool of_node = c->service_id.len == 0;

	if (str_eqs(c->check_id, "_node_maintenance") || str_has_prefix(c->check_id, STR("_service_maintenance:")))
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "the %s is in maintenance: %.*s", of_node ? "node" : "instance",
		    c->notes.len > 300 ? 300 : (int)c->notes.len, c->notes.p);
	else
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "check \"%.*s\" of the %s is %.*s%s", name.len > 200 ? 200 : (int)name.len,
		    name.len > 0 ? name.p : "", of_node ? "node" : "instance", STR_ARG(c->status), more);
}

static bool
has_tag(const struct node_service *s, struct str tag)
{
	for (size_t i = 0; i < s->tags.n; i++)
		if (str_eq_nocase(s->tags.v[i], tag))
			return true;
	return false;
}

/* The labels of a tag that is none as a whole, each a tag (combine_tags). */
static bool
has_each_label(const struct node_service *s, struct str tag)
{
	while (tag.len > 0) {
		const char *dot = memchr(tag.p, '.', tag.len);
		struct str one = { tag.p, dot != NULL ? (size_t)(dot - tag.p) : tag.len };

		if (!has_tag(s, one))
			return false;
		tag = dot != NULL ? (struct str){ dot + 1, tag.len - one.len - 1 } : STR_NONE;
	}
	return true;
}

static bool
is_tagged(const struct settings *s, const struct node_service *service, struct str tag)
{
	return tag.len == 0 || has_tag(service, tag) || (s->combine_tags && has_each_label(service, tag));
}

/* What its addresses allow: the facts that answers are made of. */
static bool
reachable(const struct instance *i, char ret_why[EXPLAIN_WHY_MAX])
{
	bool v4 = i->v4.kind == ADDR_V4 || i->any.kind == ADDR_V4, v6 = i->v6.kind == ADDR_V6 || i->any.kind == ADDR_V6;

	if (i->any.kind == ADDR_NONE && !v4 && !v6) {
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "neither it nor its node has an address");
		return false;
	}
	if (i->any.kind == ADDR_NAME)
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "its address is a host name, told as CNAME");
	else if (!v6)
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "IPv4 only: not by AAAA");
	else if (!v4)
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "IPv6 only: not by A");
	return true;
}

/* One entry as facts of one instance, critical or not. */
static int
facts_of(struct str entry, struct facts **ret)
{
	struct arena scratch = ARENA_INIT(EXPLAIN_ARENA_MAX);
	struct buf b = BUF_INIT(EXPLAIN_BODY_MAX);
	struct mp_w w = mp_w_init(&b);
	struct mp_r r;
	int rc;

	mp_w_array(&w, 1);
	mp_w_raw(&w, entry);
	rc = w.err;
	if (rc == 0) {
		r = mp_r_init(b.data, b.len);
		rc = facts_entries(&r, true, &scratch, ret);
	}
	buf_release(&b);
	arena_release(&scratch);
	return rc;
}

int
explain_judge(const struct settings *s, struct str entry, struct str tag, struct arena *a, char ret_why[EXPLAIN_WHY_MAX])
{
	const struct health_check *bad;
	struct health_entry h;
	struct facts *f = NULL;
	struct mp_r r = mp_r_init(entry.p, entry.len);
	int rc = record_decode(&rec_health_entry, &r, &h, a);

	ret_why[0] = '\0';
	if (rc == 0)
		rc = facts_of(entry, &f);
	if (rc < 0)
		return rc;
	bad = worst_check(&h.checks);
	if (f->n != 1) {
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "DNS cannot tell its address");
	} else if (f->v[0]->critical && bad != NULL) {
		tell_check(bad, "", ret_why);
	} else if (s->only_passing && !f->v[0]->passing && bad != NULL) {
		tell_check(bad, ", and dns_config.only_passing is set", ret_why);
	} else if (!is_tagged(s, &h.service, tag)) {
		(void)snprintf(ret_why, EXPLAIN_WHY_MAX, "it does not have the tag \"%.*s\"", tag.len > 200 ? 200 : (int)tag.len, tag.p);
	} else {
		rc = reachable(f->v[0], ret_why);
	}
	facts_free(f);
	return rc;
}

/* ---- questions */

enum side { ASKERS, OURS, SIDES };

/* One that waits for raftd. */
struct question {
	struct question *next;
	struct explain *e;
	struct rpc_server *rpc;
	struct rpc_token token;
	uint32_t call[SIDES];
	struct buf body[SIDES];
	unsigned waiting;
	char *service, *tag;
};

struct explain {
	struct rpc_client *raftd;
	struct settings *const *settings;
	struct question *questions;
	size_t n;
};

struct explain *
explain_new(struct loop *l, int run_fd, struct settings *const *settings)
{
	struct explain *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->settings = settings;
	e->raftd = rpc_client_new(l, run_fd, "raftd");
	if (e->raftd == NULL) {
		free(e);
		return NULL;
	}
	return e;
}

static void
question_end(struct question *q)
{
	struct question **at = &q->e->questions;

	while (*at != NULL && *at != q)
		at = &(*at)->next;
	if (*at == q) {
		*at = q->next;
		q->e->n--;
	}
	for (unsigned i = 0; i < SIDES; i++) {
		if (q->call[i] != 0)
			rpc_cancel(q->e->raftd, q->call[i]);
		buf_release(&q->body[i]);
	}
	free(q->service);
	free(q->tag);
	free(q);
}

void
explain_free(struct explain *e)
{
	if (e == NULL)
		return;
	while (e->questions != NULL)
		question_end(e->questions);
	rpc_client_free(e->raftd);
	free(e);
}

void
explain_cancelled(struct explain *e, struct rpc_token token)
{
	struct question *q;

	for (q = e != NULL ? e->questions : NULL; q != NULL; q = q->next)
		if (q->token.conn == token.conn && q->token.id == token.id)
			break;
	if (q != NULL)
		question_end(q);
}

/* Node and service ID of an entry. */
struct ident {
	struct str node, id;
};

/* What DNS may see, in order: a service may have many thousand instances. */
struct idents {
	struct ident *v;
	uint32_t n;
};

static int
by_ident(const void *a, const void *b)
{
	const struct ident *x = a, *y = b;
	int c = str_cmp(x->node, y->node);

	return c != 0 ? c : str_cmp(x->id, y->id);
}

/* Those that DNS may see, and whether one of them has the whole tag: its labels are no tags of their own then. */
static int
read_idents(struct str payload, struct str tag, struct arena *a, struct idents *ret, bool *ret_tagged)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);
	uint32_t n = mp_r_array(&r);
	struct ident *v = arena_alloc(a, ((size_t)n + 1) * sizeof(*v));
	struct health_entry h;
	int rc = v == NULL ? -ENOMEM : r.err;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		rc = record_decode(&rec_health_entry, &r, &h, a);
		v[i] = (struct ident){ h.node.node, h.service.id };
		*ret_tagged |= rc == 0 && has_tag(&h.service, tag);
	}
	if (rc == 0)
		qsort(v, n, sizeof(*v), by_ident);
	*ret = (struct idents){ v, n };
	return rc;
}

static bool
among(const struct idents *ours, const struct health_entry *h)
{
	const struct ident key = { h->node.node, h->service.id };

	return ours->n > 0 && bsearch(&key, ours->v, ours->n, sizeof(key), by_ident) != NULL;
}

static int
write_instance(const struct settings *s, struct str tag, struct str entry, const struct idents *ours, bool valid, struct arena *a,
    struct mp_w *w)
{
	static const char hidden[] = "the token of DNS may not read it (service:read and node:read): permission denied";
	struct mp_r r = mp_r_init(entry.p, entry.len);
	char why[EXPLAIN_WHY_MAX] = "";
	struct health_entry h;
	int rc = record_decode(&rec_health_entry, &r, &h, a);

	if (rc < 0)
		return rc;
	if (!among(ours, &h))
		(void)snprintf(why, sizeof(why), "%s", hidden);
	else if (valid)
		rc = explain_judge(s, entry, tag, a, why);
	if (rc < 0)
		return rc;
	mp_w_map(w, 4);
	mp_w_cstr(w, "Node");
	mp_w_str(w, h.node.node);
	mp_w_cstr(w, "ServiceID");
	mp_w_str(w, h.service.id);
	mp_w_cstr(w, "Returned");
	mp_w_bool(w, rc > 0);
	mp_w_cstr(w, "Reason");
	mp_w_cstr(w, why);
	return 0;
}

static void
write_limits(const struct settings *s, struct mp_w *w)
{
	mp_w_map(w, 4);
	mp_w_cstr(w, "ARecordLimit");
	mp_w_uint(w, s->a_record_limit);
	mp_w_cstr(w, "UDPAnswerLimit");
	mp_w_uint(w, s->udp_fill ? 0 : s->udp_answer_limit);
	mp_w_cstr(w, "OnlyPassing");
	mp_w_bool(w, s->only_passing);
	mp_w_cstr(w, "MaxStale");
	mp_w_int(w, s->allow_stale ? s->max_stale_ms : 0);
}

static int
write_instances(struct question *q, const struct str payload[SIDES], bool valid, struct arena *a, struct mp_w *w)
{
	struct mp_r r = mp_r_init(payload[ASKERS].p, payload[ASKERS].len);
	struct settings s = **q->e->settings;
	struct str tag = str_from(q->tag);
	bool tagged = false;
	struct idents ours;
	uint32_t n = mp_r_array(&r);
	int rc = read_idents(payload[OURS], tag, a, &ours, &tagged);

	s.combine_tags = s.combine_tags && !tagged;
	mp_w_array(w, n);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = write_instance(&s, tag, mp_r_raw(&r), &ours, valid, a, w);
	return rc < 0 ? rc : r.err;
}

/* Both are there. */
static void
answer(struct question *q)
{
	struct arena a = ARENA_INIT(EXPLAIN_ARENA_MAX);
	struct str payload[SIDES] = { STR_NONE };
	struct query_meta meta[SIDES];
	char why[EXPLAIN_WHY_MAX] = "";
	bool valid = explain_name(*q->e->settings, str_from(q->service), why);
	struct buf body = BUF_INIT(EXPLAIN_BODY_MAX), *out;
	struct mp_w w = mp_w_init(&body);
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < SIDES; i++)
		rc = op_reply_decode(q->body[i].data, q->body[i].len, &meta[i], &payload[i]);
	if (rc == 0) {
		record_encode(&rec_query_meta, &meta[ASKERS], RECORD_WHOLE, &w);
		mp_w_map(&w, 6);
		mp_w_cstr(&w, "Service");
		mp_w_cstr(&w, q->service);
		mp_w_cstr(&w, "Valid");
		mp_w_bool(&w, valid);
		mp_w_cstr(&w, "Reason");
		mp_w_cstr(&w, why);
		mp_w_cstr(&w, "Stale");
		mp_w_uint(&w, meta[OURS].last_contact_ms);
		mp_w_cstr(&w, "Limits");
		write_limits(*q->e->settings, &w);
		mp_w_cstr(&w, "Instances");
		rc = write_instances(q, payload, valid, &a, &w);
	}
	rc = rc < 0 ? rc : w.err;
	if (rc < 0)
		rpc_reply_error(q->rpc, q->token, 500, "DNS cannot explain: %s", err_text(rc));
	out = rc == 0 ? rpc_reply_begin(q->rpc, q->token) : NULL;
	if (out != NULL)
		rpc_reply_end(q->rpc, q->token, buf_add(out, body.data, body.len) == 0);
	buf_release(&body);
	arena_release(&a);
}

static void
on_answer(struct question *q, enum side side, const struct rpc_answer *a)
{
	struct rpc_error e;

	q->call[side] = 0;
	if (a->rc == 0 && buf_add(&q->body[side], a->body, a->len) == 0) {
		if (--q->waiting > 0)
			return;
		answer(q);
	} else if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
		rpc_reply_error(q->rpc, q->token, e.code, "%.*s", STR_ARG(e.text));
	} else {
		rpc_reply_error(q->rpc, q->token, 500, "raftd does not answer (%s): DNS goes on with what it knew last",
		    err_text(a->rc < 0 ? a->rc : -ENOMEM));
	}
	question_end(q);
}

static void
on_askers(void *arg, const struct rpc_answer *a)
{
	on_answer(arg, ASKERS, a);
}

static void
on_ours(void *arg, const struct rpc_answer *a)
{
	on_answer(arg, OURS, a);
}

static struct question *
question_new(struct explain *e, struct rpc_server *rpc, const struct rpc_request *req, const struct explain_query *x)
{
	struct question *q = e->n < EXPLAIN_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (q == NULL)
		return NULL;
	q->e = e;
	q->rpc = rpc;
	q->token = req->token;
	for (unsigned i = 0; i < SIDES; i++)
		buf_init(&q->body[i], EXPLAIN_BODY_MAX);
	q->next = e->questions;
	e->questions = q;
	e->n++;
	q->service = strndup(x->service.p != NULL ? x->service.p : "", x->service.len);
	q->tag = strndup(x->tag.p != NULL ? x->tag.p : "", x->tag.len);
	if (q->service != NULL && q->tag != NULL)
		return q;
	question_end(q);
	return NULL;
}

/* Both questions, as stale as DNS may be; the second one with DNS's own token. */
static bool
ask(struct question *q, struct str token)
{
	const struct settings *s = *q->e->settings;
	const struct catalog_query c = { .service = str_from(q->service) };
	const enum consistency c_of_dns = s->allow_stale ? CONSISTENCY_STALE : CONSISTENCY_DEFAULT;
	const struct query_options o[SIDES] = {
		[ASKERS] = { .token = token, .consistency = c_of_dns },
		[OURS] = { .token = str_from(s->token), .consistency = c_of_dns },
	};
	static rpc_answer_cb *const done[SIDES] = { on_askers, on_ours };

	for (unsigned i = 0; i < SIDES; i++) {
		q->call[i] = rpc_call_record(q->e->raftd, OP_HEALTH_SERVICE, &o[i], &c, RPC_RETRY, EXPLAIN_MS, done[i], q);
		if (q->call[i] == 0)
			return false;
		q->waiting++;
	}
	return true;
}

void
explain_serve(struct explain *e, struct rpc_server *rpc, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct query_options o;
	struct explain_query x;
	struct question *q;
	int rc = op_request_decode(req->info, req->body, req->len, &o, &x, &a);

	if (rc < 0) {
		rpc_bad_request(rpc, req, err_text(rc));
	} else {
		q = question_new(e, rpc, req, &x);
		if (q == NULL || !ask(q, o.token)) {
			if (q != NULL)
				question_end(q);
			rpc_reply_error(rpc, req->token, 500, "DNS has too many questions to explain");
		}
	}
	arena_release(&a);
}
