/* session.c - sessions: their life, and what ends with them. */
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/fsm/state.h"

#define TTL_MAX (86400 * NS_PER_S)

/* ---- items */

static struct str
session_key(const void *item)
{
	return ((const struct session_item *)item)->key;
}

static struct str
session_node_key(const void *item)
{
	return ((const struct session_item *)item)->node_key;
}

static struct str
session_due_key(const void *item)
{
	return ((const struct session_item *)item)->due_key;
}

const struct tree_type session_tree = { session_key, NULL };
const struct tree_type session_node_tree = { session_node_key, NULL };
const struct tree_type session_due_tree = { session_due_key, NULL };

static int
session_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->sessions, &f->sessions_by_node, &f->sessions_due }, 3, old, new);
}

static const struct tree *
session_primary(const struct fsm *f)
{
	return &f->sessions;
}

static const struct field f_session_image[] = {
	FIELD_SUB(session_item, s, "Session", F_RECORD, 0, rec_session),
	FIELD(session_item, deadline, "Deadline", F_INT, 0),
};
static RECORD(rec_session_image, session_item, "SessionImage", f_session_image);

static const struct field f_session_item[] = {
	FIELD_SUB(session_item, s, "", F_RECORD, 0, rec_session),
	FIELD(session_item, key, "", F_STR, 0),
	FIELD(session_item, node_key, "", F_STR, 0),
	FIELD(session_item, due_key, "", F_STR, 0),
};
static RECORD(rec_session_item, session_item, "SessionItem", f_session_item);

static struct str
session_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_session_image, item, RECORD_WHOLE, w);
	return session_key(item);
}

static void
session_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	const struct session_item *a = old, *b = new;

	(void)f;
	/* A renewal moves the deadline, which nobody sees. */
	if (a != NULL && b != NULL && a->s.modify_index == b->s.modify_index)
		return;
	touch_one(sink, WATCH_SESSION, b != NULL ? b->key : a->key);
	touch_one(sink, WATCH_SESSIONS, STR(""));
}

static void
session_release(struct fsm *f)
{
	tree_release(&f->sessions_due, NULL);
	tree_release(&f->sessions_by_node, NULL);
	tree_release(&f->sessions, free);
}

const struct table_ops session_ops = { FSM_SESSION, session_primary, session_swap, session_encode, session_touch, free,
	session_release };

/* A copy of the item with its keys made. NULL without memory. */
static struct session_item *
session_new(const struct fsm *f, const struct session_item *in)
{
	struct session_item n = *in;
	struct str node = lower(f, n.s.node);

	n.key = lower(f, n.s.id);
	if (n.key.p == NULL || node.p == NULL)
		return NULL;
	n.node_key = join(f, node, n.key, STR_NONE);
	n.due_key = STR_NONE;
	if (n.ttl > 0) {
		n.due_key = join_u64(f, (uint64_t)n.deadline, n.key);
		if (n.due_key.p == NULL)
			return NULL;
	}
	return n.node_key.p != NULL ? record_dup(&rec_session_item, &n) : NULL;
}

struct session_item *
session_find(const struct fsm *f, struct str id)
{
	uint8_t raw[16];
	char text[37];

	if (!uuid_parse(id, raw))
		return NULL;
	uuid_format(raw, text);
	return tree_get(&f->sessions, str_from(text));
}

int
session_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct session_item in, *s;
	int rc;

	rc = record_decode(&rec_session_image, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || !str_eq_nocase(in.s.id, key))
		return -EDECODE;
	if (in.s.ttl.len > 0 && (duration_parse(in.s.ttl, &in.ttl) < 0 || in.ttl < 0 || in.ttl > TTL_MAX || in.deadline < 0))
		return -EDECODE;
	s = session_new(f, &in);
	if (s == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(in.s.create_index, in.s.modify_index));
	return change_load(f, T_SESSION, s);
}

/* ---- opening */

bool
session_vet(const struct fsm *f, const struct session_create *req, int64_t ttl_min, struct fsm_error *err)
{
	char least[DURATION_TEXT_MAX], most[DURATION_TEXT_MAX];
	int64_t ttl = 0;

	if (req->node.len == 0) {
		fail(err, 500, "Must provide Node");
	} else if (req->behavior.len > 0 && !str_eqs(req->behavior, "release") && !str_eqs(req->behavior, "delete")) {
		fail(err, 500, "Invalid Behavior setting '%.*s'", STR_ARG(req->behavior));
	} else if (req->ttl.len > 0 && duration_parse(req->ttl, &ttl) < 0) {
		fail(err, 500, "Session TTL '%.*s' invalid: %s", STR_ARG(req->ttl), duration_complaint(f, req->ttl));
	} else if (req->ttl_exact && ttl <= 0) {
		fail(err, 500, "TTLExact needs a TTL");
	} else if (ttl != 0 && (ttl < ttl_min || ttl > TTL_MAX)) {
		duration_format(ttl_min, least);
		duration_format(TTL_MAX, most);
		fail(err, 500, "Invalid Session TTL '%lld', must be between [%s=%s]", (long long)ttl, least, most);
	}
	return err->code == 0;
}

static struct strs
linked_checks(const struct session_create *req)
{
	static struct str serf = { "serfHealth", 10 };

	if (req->node_checks.n > 0)
		return req->node_checks;
	if (req->checks.n > 0)
		return req->checks;
	return req->no_node_checks ? (struct strs){ NULL, 0 } : (struct strs){ &serf, 1 };
}

static bool
vet_link(const struct fsm *f, struct str node, struct str id, struct fsm_error *err)
{
	const struct check_item *c = check_find(f, node, id);

	if (c == NULL)
		fail(err, 500, "apply failed: Missing check '%.*s' registration", STR_ARG(id));
	else if (str_eqs(c->c.status, "critical"))
		fail(err, 500, "apply failed: Check '%.*s' is in critical state", STR_ARG(id));
	return err->code == 0;
}

bool
session_vet_links(const struct fsm *f, const struct session_create *req, struct fsm_error *err)
{
	const struct service_check_ref *refs = req->service_checks.v;
	struct strs checks = linked_checks(req);

	if (node_find(f, req->node) == NULL) {
		fail(err, 500, "apply failed: Missing node registration");
		return false;
	}
	for (size_t i = 0; i < checks.n; i++)
		if (!vet_link(f, req->node, checks.v[i], err))
			return false;
	for (size_t i = 0; i < req->service_checks.n; i++)
		if (!vet_link(f, req->node, refs[i].id, err))
			return false;
	return true;
}

static int64_t
deadline_after(int64_t now, int64_t ttl, bool exact)
{
	if (ttl <= 0)
		return INT64_MAX;
	return exact ? now + ttl : now + 2 * ttl;	/* the TTL is a lower bound: Consul waits twice as long */
}

int
session_restart(struct fsm *f, int64_t now)
{
	struct session_item *s;
	struct tree_iter it;
	int rc = 0;

	/* The deadline is a part of the key in this tree alone, and stands in the item's own block. */
	tree_release(&f->sessions_due, NULL);
	tree_init(&f->sessions_due, &session_due_tree);
	tree_seek(&f->sessions, STR_NONE, &it);
	while (rc == 0 && (s = tree_next(&it)) != NULL) {
		struct str due;

		if (s->due_key.len == 0)
			continue;
		s->deadline = deadline_after(now, s->ttl, s->s.ttl_exact);
		due = join_u64(f, (uint64_t)s->deadline, s->key);
		if (due.p == NULL)
			return -ENOMEM;
		memcpy((char *)s->due_key.p, due.p, due.len);
		rc = tree_add(&f->sessions_due, s);
	}
	return rc;
}

int
session_create(struct apply *ap, const struct session_create *req)
{
	struct session_item in = { 0 }, *s;
	uint8_t raw[16];

	if (!uuid_parse(req->id, raw))
		fail(ap->err, 500, "apply failed: Missing session ID");
	/* The least TTL is this server's setting, and was asked for before the log: what is in the log means the same to all. */
	if (FAILED(ap) || !session_vet(ap->f, req, 0, ap->err) || !session_vet_links(ap->f, req, ap->err))
		return 0;
	in.s = (struct session){
		.id = req->id, .name = req->name, .node = req->node, .lock_delay = req->lock_delay,
		.behavior = req->behavior.len > 0 ? req->behavior : STR("release"), .ttl = req->ttl, .ttl_exact = req->ttl_exact,
		.node_checks = linked_checks(req), .service_checks = req->service_checks,
		.create_index = ap->index, .modify_index = ap->index,
	};
	if (req->ttl.len > 0 && duration_parse(req->ttl, &in.ttl) < 0)
		return -EDECODE;	/* session_vet() read it just now */
	in.deadline = deadline_after(ap->time, in.ttl, in.s.ttl_exact);
	s = session_new(ap->f, &in);
	if (s == NULL)
		return -ENOMEM;
	ap->f->idx.sessions = ap->index;
	mp_w_str(ap->w, s->s.id);
	return change_put(ap, T_SESSION, session_find(ap->f, req->id), s);
}

/* ---- ending */

static int
session_end(struct apply *ap, struct session_item *s)
{
	int rc;

	ap->f->idx.sessions = ap->index;
	rc = change_put(ap, T_SESSION, s, NULL);
	/* The journal keeps the item until the entry is done. */
	if (rc == 0)
		rc = kv_session_ended(ap, &s->s);
	return rc == 0 ? pquery_session_ended(ap, &s->s) : rc;
}

bool
session_vet_id(const struct fsm *f, struct str id, struct fsm_error *err)
{
	const char *why = uuid_index_complaint(f, id);

	if (id.len == 0)
		fail(err, 500, "Must provide ID");
	else if (why != NULL)
		fail(err, 500, "apply failed: failed session lookup: index error: %s", why);
	return err->code == 0;
}

int
session_destroy(struct apply *ap, struct str id)
{
	struct session_item *s;

	if (!session_vet_id(ap->f, id, ap->err))
		return 0;
	mp_w_bool(ap->w, true);
	s = session_find(ap->f, id);
	return s != NULL ? session_end(ap, s) : 0;
}

int
session_expire(struct apply *ap, struct str id)
{
	struct session_item *s = session_find(ap->f, id);

	return s != NULL && s->deadline <= ap->time ? session_end(ap, s) : 0;
}

static bool
linked_to(const struct session *s, struct str check_id)
{
	const struct service_check_ref *refs = s->service_checks.v;

	for (size_t i = 0; i < s->node_checks.n; i++)
		if (str_eq_nocase(s->node_checks.v[i], check_id))
			return true;
	for (size_t i = 0; i < s->service_checks.n; i++)
		if (str_eq_nocase(refs[i].id, check_id))
			return true;
	return false;
}

/* The first session of the node at or behind `from` that is to end. */
static struct session_item *
next_of(const struct fsm *f, struct str prefix, struct str from, const struct str *check_id)
{
	struct session_item *s;
	struct tree_iter it;

	tree_seek(&f->sessions_by_node, from, &it);
	while ((s = tree_next_prefixed(&it, prefix)) != NULL)
		if (check_id == NULL || linked_to(&s->s, *check_id))
			return s;
	return NULL;
}

bool
session_linked(const struct fsm *f, struct str node, struct str check_id)
{
	struct str prefix = join(f, node, STR_NONE, STR_NONE);

	return prefix.p == NULL || next_of(f, prefix, prefix, &check_id) != NULL;
}

int
session_end_of(struct apply *ap, struct str node, const struct str *check_id)
{
	struct str prefix = join(ap->f, node, STR_NONE, STR_NONE), from = prefix;
	struct session_item *s;

	if (prefix.p == NULL)
		return -ENOMEM;
	while ((s = next_of(ap->f, prefix, from, check_id)) != NULL) {
		int rc = session_end(ap, s);

		if (rc < 0)
			return rc;
		from = s->node_key;
	}
	return 0;
}

/* ---- renewing */

static int
push_deadline(struct apply *ap, struct session_item *old)
{
	struct session_item in = *old, *s;

	if (old->ttl == 0)
		return 0;
	in.deadline = deadline_after(ap->time, old->ttl, old->s.ttl_exact);
	if (in.deadline == old->deadline)
		return 0;
	s = session_new(ap->f, &in);
	if (s == NULL)
		return -ENOMEM;
	return change_put(ap, T_SESSION, old, s);
}

int
session_renew(struct apply *ap, struct str id, bool reply)
{
	struct session_item *s = session_find(ap->f, id);

	if (reply) {
		mp_w_array(ap->w, s != NULL);
		if (s != NULL)
			record_encode(&rec_session, &s->s, RECORD_PUBLIC, ap->w);
	}
	return s != NULL ? push_deadline(ap, s) : 0;
}

/* ---- reads */

/* Appends it if it may be seen; how many that is. */
static uint32_t
give_session(const struct fsm *f, const struct session_item *s, struct mp_w *out)
{
	if (!shows(f, ACL_SESSION, s->s.node))
		return 0;
	record_encode(&rec_session, &s->s, RECORD_PUBLIC, out);
	return 1;
}

static void
query_node(const struct fsm *f, struct str node, struct mp_w *out)
{
	struct str name = lower(f, node), prefix = join(f, name, STR_NONE, STR_NONE);
	size_t at = mp_w_array_hold(out);
	const struct session_item *s;
	struct tree_iter it;
	uint32_t n = 0;

	if (name.p == NULL || prefix.p == NULL) {
		out->err = -ENOMEM;
		return;
	}
	tree_seek(&f->sessions_by_node, prefix, &it);
	while ((s = tree_next_prefixed(&it, prefix)) != NULL)
		n += give_session(f, s, out);
	mp_w_array_patch(out, at, n);
}

static void
query_info(const struct fsm *f, struct str id, struct mp_w *out, struct fsm_error *err)
{
	const char *why = uuid_index_complaint(f, id);
	const struct session_item *s = session_find(f, id);
	size_t at;

	if (why != NULL) {
		fail(err, 500, "failed session lookup: index error: %s", why);
		return;
	}
	at = mp_w_array_hold(out);
	mp_w_array_patch(out, at, s != NULL ? give_session(f, s, out) : 0);
}

void
session_query(const struct fsm *f, uint16_t op, const struct id_request *q, struct mp_w *out, uint64_t *idx,
    struct watch_set *watch, struct fsm_error *err)
{
	const struct session_item *s;
	struct tree_iter it;
	uint32_t n = 0;
	size_t at;

	*idx = f->idx.sessions;
	if (op == OP_SESSION_INFO) {
		query_info(f, q->id, out, err);
		watch_add(watch, WATCH_SESSION, lower(f, q->id));
		return;
	}
	watch_add(watch, WATCH_SESSIONS, STR(""));
	if (op == OP_SESSION_NODE) {
		query_node(f, q->id, out);
		return;
	}
	at = mp_w_array_hold(out);
	tree_seek(&f->sessions, STR_NONE, &it);
	while (out->err == 0 && (s = tree_next(&it)) != NULL)
		n += give_session(f, s, out);
	mp_w_array_patch(out, at, n);
}

int64_t
fsm_next_deadline(const struct fsm *f)
{
	const struct session_item *s = tree_first(&f->sessions_due);

	return s != NULL ? s->deadline : INT64_MAX;
}

size_t
fsm_expired(const struct fsm *f, int64_t now, struct str *ids, size_t max)
{
	const struct session_item *s;
	struct tree_iter it;
	size_t n = 0;

	tree_seek(&f->sessions_due, STR_NONE, &it);
	while (n < max && (s = tree_next(&it)) != NULL && s->deadline <= now)
		ids[n++] = s->key;
	return n;
}
