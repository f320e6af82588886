/*
 * pquery.c - prepared queries: what is stored, and who may change and see it.
 *
 * A query is found by its ID, by its name and, when it is a template, by its
 * name as a prefix. One that is bound to a session ends with it.
 */
#include <stdlib.h>

#include "lib/duration.h"
#include "lib/snap_archive.h"
#include "raftd/fsm/state.h"

#define HIDDEN "<hidden>"

enum { META_PAIRS_MAX = 64, META_KEY_MAX = 128, META_VALUE_MAX = 512 };

/* ---- items */

static struct str
query_key(const void *item)
{
	return ((const struct query_item *)item)->key;
}

static struct str
query_name_key(const void *item)
{
	return ((const struct query_item *)item)->name_key;
}

static struct str
query_template_key(const void *item)
{
	return ((const struct query_item *)item)->template_key;
}

static struct str
query_session_key(const void *item)
{
	return ((const struct query_item *)item)->session_key;
}

const struct tree_type query_tree = { query_key, NULL };
const struct tree_type query_name_tree = { query_name_key, NULL };
const struct tree_type query_template_tree = { query_template_key, NULL };
const struct tree_type query_session_tree = { query_session_key, NULL };

static int
query_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->queries, &f->queries_by_name, &f->query_templates, &f->queries_by_session }, 4, old, new);
}

static const struct tree *
query_primary(const struct fsm *f)
{
	return &f->queries;
}

static const struct field f_query_item[] = {
	FIELD_SUB(query_item, q, "", F_RECORD, 0, rec_prepared_query),
	FIELD(query_item, key, "", F_STR, 0),
	FIELD(query_item, name_key, "", F_STR, 0),
	FIELD(query_item, template_key, "", F_STR, 0),
	FIELD(query_item, session_key, "", F_STR, 0),
};
static RECORD(rec_query_item, query_item, "QueryItem", f_query_item);

static struct str
query_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_prepared_query, &((const struct query_item *)item)->q, RECORD_WHOLE, w);
	return query_key(item);
}

static void
query_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	(void)f;
	touch_one(sink, WATCH_QUERY, query_key(new != NULL ? new : old));
	touch_one(sink, WATCH_QUERIES, STR(""));
}

static void
query_release(struct fsm *f)
{
	tree_release(&f->queries_by_name, NULL);
	tree_release(&f->query_templates, NULL);
	tree_release(&f->queries_by_session, NULL);
	tree_release(&f->queries, free);
}

const struct table_ops query_ops = { FSM_QUERY, query_primary, query_swap, query_encode, query_touch, free, query_release };

static struct query_item *
query_new(const struct fsm *f, const struct prepared_query *q)
{
	struct query_item in = { .q = *q, .key = lower(f, q->id), .name_key = lower(f, q->name) };

	if (in.key.p == NULL || in.name_key.p == NULL)
		return NULL;
	if (q->template.type.len > 0)
		in.template_key = join(f, STR_NONE, in.name_key, STR_NONE);
	if (q->session.len > 0)
		in.session_key = join_lower(f, q->session, q->id);
	if (f->scratch->starved)
		return NULL;
	return record_dup(&rec_query_item, &in);
}

struct query_item *
pquery_find(const struct fsm *f, struct str id)
{
	uint8_t raw[16];

	return uuid_parse(id, raw) ? tree_get(&f->queries, lower(f, id)) : NULL;
}

/* ---- what a query has to be */

static const char *
meta_key_complaint(struct str key)
{
	if (key.len == 0)
		return "Key cannot be blank";
	for (size_t i = 0; i < key.len; i++) {
		unsigned char c = ascii_lower((unsigned char)key.p[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_')
			return "Key contains invalid characters";
	}
	return key.len > META_KEY_MAX ? "Key is too long (limit: 128 characters)" : NULL;
}

static bool
vet_meta(const struct strmap *m, struct fsm_error *err)
{
	if (m->n > META_PAIRS_MAX)
		fail(err, 500, "Invalid prepared query: Node metadata cannot contain more than 64 key/value pairs");
	for (size_t i = 0; i < m->n && err->code == 0; i++) {
		const char *why = meta_key_complaint(m->v[i].key);

		if (why == NULL && m->v[i].value.len > META_VALUE_MAX)
			why = "Value is too long (limit: 512 characters)";
		if (why != NULL)
			fail(err, 500, "Invalid prepared query: Couldn't load metadata pair ('%.*s', '%.*s'): %s", STR_ARG(m->v[i].key),
			    STR_ARG(m->v[i].value), why);
	}
	return err->code == 0;
}

/* The query by itself. */
static bool
vet(const struct fsm *f, const struct prepared_query *q, struct fsm_error *err)
{
	const struct pq_failover *o = &q->service.failover;
	int64_t ttl = 0;

	if (q->name.len == 0 && q->template.type.len == 0 && q->session.len == 0)
		fail(err, 500, "Invalid prepared query: Must be bound to a session");
	else if (str_eqs(q->token, HIDDEN))
		fail(err, 500, "Invalid prepared query: Bad Token '" HIDDEN "', it looks like a query definition with a redacted token was submitted");
	else if (q->service.service.len == 0)
		fail(err, 500, "Invalid prepared query: Must provide a Service name to query");
	else if (o->nearest_n < 0)
		fail(err, 500, "Invalid prepared query: Bad NearestN '%lld', must be >= 0", (long long)o->nearest_n);
	else if (o->targets.n > 0 && (o->nearest_n != 0 || o->datacenters.n != 0))
		fail(err, 500, "Invalid prepared query: Targets cannot be populated with NearestN or Datacenters");
	else if (vet_meta(&q->service.node_meta, err) && q->dns.ttl.len > 0) {
		if (duration_parse(q->dns.ttl, &ttl) < 0)
			fail(err, 500, "Invalid prepared query: Bad DNS TTL '%.*s': %s", STR_ARG(q->dns.ttl), duration_complaint(f, q->dns.ttl));
		else if (ttl < 0)
			fail(err, 500, "Invalid prepared query: DNS TTL '%lld', must be >=0", (long long)ttl);
	}
	return err->code == 0;
}

/* Nobody else has its name, and no ID that could be taken for it. */
static bool
vet_name(const struct fsm *f, const struct prepared_query *q, const struct query_item *old, struct fsm_error *err)
{
	const struct query_item *other;

	if (q->name.len > 0) {
		other = tree_get(&f->queries_by_name, lower(f, q->name));
		if (other != NULL && other != old)
			fail(err, 500, "raft apply failed: name '%.*s' aliases an existing query name", STR_ARG(q->name));
		else if (pquery_find(f, q->name) != NULL)
			fail(err, 500, "raft apply failed: name '%.*s' aliases an existing query ID", STR_ARG(q->name));
	} else if (q->template.type.len > 0) {
		other = tree_get(&f->query_templates, STR("\0"));
		if (other != NULL && other != old)
			fail(err, 500, "raft apply failed: a query template with an empty name already exists");
	}
	return err->code == 0;
}

static bool
vet_session(const struct fsm *f, struct str id, struct fsm_error *err)
{
	const char *why = id.len > 0 ? uuid_index_complaint(f, id) : NULL;

	if (why != NULL)
		fail(err, 500, "raft apply failed: invalid session: index error: %s", why);
	else if (id.len > 0 && session_find(f, id) == NULL)
		fail(err, 500, "raft apply failed: invalid session %s", go_quote(f, id));
	return err->code == 0;
}

/* What it needs of the state; a template is tried with the shortest name that it will get. */
static int
vet_state(const struct fsm *f, const struct prepared_query *q, const struct query_item *old, struct fsm_error *err)
{
	struct prepared_query unused;
	char why[FSM_TEXT_MAX];
	int rc = 0;

	if (!vet_name(f, q, old, err) || !vet_session(f, q->session, err) || q->template.type.len == 0)
		return 0;
	rc = pquery_render(f, q, q->name, STR(""), &unused, why, sizeof(why));
	if (rc == -EINVAL)
		fail(err, 500, "raft apply failed: failed compiling template: %.900s", why);
	return rc == -EINVAL ? 0 : rc;
}

static bool
is_verb(const struct pq_apply *req, const char *verb)
{
	return str_eqs(req->verb, verb);
}

/* The query that is to be changed. False and the error said when there is none. */
static bool
find_old(const struct fsm *f, const struct pq_apply *req, struct query_item **ret, struct fsm_error *err)
{
	const char *why = uuid_index_complaint(f, req->query.id);

	if (why != NULL) {
		fail(err, 500, "Prepared Query lookup failed: failed prepared query lookup: index error: %s", why);
		return false;
	}
	*ret = pquery_find(f, req->query.id);
	if (*ret == NULL && !is_verb(req, "create"))
		fail(err, 500, "Cannot modify non-existent prepared query: '%.*s'", STR_ARG(req->query.id));
	return err->code == 0;
}

/* ---- rights */

bool
pquery_guarded(const struct prepared_query *q, struct str *ret_name)
{
	*ret_name = q->name;
	return q->name.len > 0 || q->template.type.len > 0;
}

static bool
may_write(const struct prepared_query *q, const struct asker *who, struct fsm_error *err)
{
	char text[FSM_TEXT_MAX];
	struct str name;

	if (pquery_guarded(q, &name) && !asker_may(who, ACL_QUERY, name, ACL_WRITE)) {
		asker_denied(who, ACL_QUERY, name, ACL_WRITE, text, sizeof(text));
		fail(err, 403, "%s", text);
	}
	return err->code == 0;
}

struct prepared_query
pquery_shown(const struct prepared_query *q, const struct asker *who)
{
	struct prepared_query shown = *q;

	if (q->token.len > 0 && !asker_may(who, ACL_ACL, STR(""), ACL_WRITE))
		shown.token = STR(HIDDEN);
	return shown;
}

/* ---- before the log */

/* The request once more, with an ID. */
static int
name_query(const struct pq_apply *in, const uint8_t random[16], struct buf *out, struct str *ret_request)
{
	struct pq_apply req = *in;
	struct mp_w w = mp_w_init(out);
	size_t start = out->len;
	char id[37];

	uuid_make(random, id);
	req.query.id = str_from(id);
	record_encode(&rec_pq_apply, &req, RECORD_WHOLE, &w);
	if (w.err == 0)
		*ret_request = (struct str){ (const char *)out->data + start, out->len - start };
	return w.err;
}

int
pquery_check(const struct fsm *f, const struct pq_apply *req, const struct asker *who, const uint8_t random[16], struct buf *out,
    struct str *ret_request, struct fsm_error *err)
{
	struct query_item *old = NULL;
	bool create = is_verb(req, "create");
	int rc;

	if (create && req->query.id.len > 0) {
		fail(err, 500, "ID must be empty when creating a new prepared query");
		return 0;
	}
	if (!may_write(&req->query, who, err) || (!create && !find_old(f, req, &old, err)) ||
	    (old != NULL && !may_write(&old->q, who, err)))
		return 0;
	if (is_verb(req, "delete"))
		return 0;
	if (!create && !is_verb(req, "update")) {
		fail(err, 500, "Unknown prepared query operation: %.*s", STR_ARG(req->verb));
		return 0;
	}
	rc = vet(f, &req->query, err) ? vet_state(f, &req->query, old, err) : 0;
	return rc == 0 && err->code == 0 && create ? name_query(req, random, out, ret_request) : rc;
}

/* ---- changes */

static int
query_drop(struct apply *ap, struct query_item *item)
{
	ap->f->idx.queries = ap->index;
	return change_put(ap, T_QUERY, item, NULL);
}

int
pquery_apply(struct apply *ap, const struct pq_apply *req)
{
	struct prepared_query q = req->query;
	struct query_item *old = NULL, *item;
	int rc;

	if (!find_old(ap->f, req, &old, ap->err))
		return 0;
	mp_w_str(ap->w, q.id);
	if (is_verb(req, "delete"))
		return query_drop(ap, old);
	rc = vet(ap->f, &q, ap->err) ? vet_state(ap->f, &q, old, ap->err) : 0;
	if (rc < 0 || FAILED(ap))
		return rc;
	q.create_index = old != NULL ? old->q.create_index : ap->index;
	q.modify_index = ap->index;
	item = query_new(ap->f, &q);
	if (item == NULL)
		return -ENOMEM;
	ap->f->idx.queries = ap->index;
	return change_put(ap, T_QUERY, old, item);
}

int
pquery_session_ended(struct apply *ap, const struct session *s)
{
	struct str prefix = ap->f->queries_by_session.n > 0 ? join_lower(ap->f, s->id, STR("")) : STR_NONE;
	struct query_item *item;
	struct tree_iter it;
	int rc = 0;

	while (rc == 0 && prefix.p != NULL) {
		tree_seek(&ap->f->queries_by_session, prefix, &it);
		item = tree_next_prefixed(&it, prefix);
		if (item == NULL)
			break;
		rc = query_drop(ap, item);
	}
	return rc;
}

/* ---- the image */

/* A new item of what is stored; -EDECODE when it cannot be in the table. */
static int
query_of_record(const struct fsm *f, struct str value, struct query_item **ret)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct prepared_query q;
	uint8_t raw[16];
	int rc = record_decode(&rec_prepared_query, &r, &q, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !uuid_parse(q.id, raw))
		return -EDECODE;
	*ret = query_new(f, &q);
	return *ret != NULL ? 0 : -ENOMEM;
}

/* Whether another query has the name. */
static bool
collides(const struct fsm *f, const struct query_item *item)
{
	const struct query_item *name = item->name_key.len > 0 ? tree_get(&f->queries_by_name, item->name_key) : NULL;
	const struct query_item *template = item->template_key.len > 0 ? tree_get(&f->query_templates, item->template_key) : NULL;

	return (name != NULL && !str_eq(name->key, item->key)) || (template != NULL && !str_eq(template->key, item->key));
}

int
pquery_load(struct fsm *f, struct str key, struct str value)
{
	struct query_item *item;
	int rc = query_of_record(f, value, &item);

	if (rc < 0)
		return rc;
	if (!str_eq(item->key, key) || collides(f, item)) {
		free(item);
		return -EDECODE;
	}
	index_loaded(f, max_u64(item->q.create_index, item->q.modify_index));
	return change_load(f, T_QUERY, item);
}

/* ---- those that only were kept */

/* It goes over unless one of its ID or name has come. 1: it is no query of ours, and stays. */
static int
adopt_one(struct apply *ap, const void *ctx, struct opaque_item *o)
{
	struct query_item *item, *other;
	uint64_t modified;
	int rc = query_of_record(ap->f, o->value, &item);

	(void)ctx;
	if (rc < 0)
		return rc == -EDECODE ? 1 : rc;
	other = tree_get(&ap->f->queries, item->key);
	if (other != NULL || collides(ap->f, item)) {
		free(item);
		return other != NULL ? change_put(ap, T_OPAQUE, o, NULL) : 1;
	}
	modified = item->q.modify_index;
	rc = change_put(ap, T_QUERY, NULL, item);
	if (rc < 0)
		return rc;
	ap->f->idx.queries = max_u64(max_u64(ap->f->idx.queries, modified), ap->index);
	return change_put(ap, T_OPAQUE, o, NULL);
}

int
pquery_adopt(struct apply *ap)
{
	bool any;

	return opaque_adopt(ap, SNAP_QUERY, adopt_one, NULL, &any);
}

/* ---- reads */

/* Who manages ACLs sees all; others what has a name that they may read. */
static bool
sees(const struct prepared_query *q, struct asker *who)
{
	struct str name;

	if (asker_may(who, ACL_ACL, STR(""), ACL_WRITE))
		return true;
	if (pquery_guarded(q, &name) && asker_may(who, ACL_QUERY, name, ACL_READ))
		return true;
	who->filtered = true;
	return false;
}

static void
read_list(const struct fsm *f, struct asker *who, struct mp_w *out)
{
	size_t at = mp_w_array_hold(out);
	const struct query_item *item;
	struct prepared_query shown;
	struct tree_iter it;
	uint32_t n = 0;

	tree_seek(&f->queries, STR_NONE, &it);
	while (out->err == 0 && (item = tree_next(&it)) != NULL) {
		if (!sees(&item->q, who))
			continue;
		shown = pquery_shown(&item->q, who);
		record_encode(&rec_prepared_query, &shown, RECORD_PUBLIC, out);
		n++;
	}
	mp_w_array_patch(out, at, n);
}

/* Who knows the ID of a query without a name may see it. */
static void
read_one(const struct fsm *f, struct str id, struct asker *who, struct mp_w *out, struct fsm_error *err)
{
	const char *why = uuid_index_complaint(f, id);
	const struct query_item *item = pquery_find(f, id);
	struct prepared_query shown;
	char text[FSM_TEXT_MAX];
	struct str name;

	if (why != NULL) {
		fail(err, 500, "failed prepared query lookup: index error: %s", why);
	} else if (item == NULL) {
		fail(err, 404, "Query not found");
	} else if (pquery_guarded(&item->q, &name) && !sees(&item->q, who)) {
		asker_denied(who, ACL_QUERY, name, ACL_READ, text, sizeof(text));
		fail(err, 403, "%s", text);
	} else {
		shown = pquery_shown(&item->q, who);
		mp_w_array(out, 1);
		record_encode(&rec_prepared_query, &shown, RECORD_PUBLIC, out);
	}
}

int
pquery_read(const struct fsm *f, uint16_t op, const struct pq_request *q, struct asker *who, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	switch (op) {
	case OP_QUERY_LIST:
		*idx = f->idx.queries;
		watch_add(watch, WATCH_QUERIES, STR(""));
		read_list(f, who, out);
		return 0;
	case OP_QUERY_GET:
		*idx = f->idx.queries;
		watch_add(watch, WATCH_QUERY, lower(f, q->id));
		read_one(f, q->id, who, out, err);
		return 0;
	default:
		return pquery_run(f, op, q, who, out, idx, watch, err);
	}
}
