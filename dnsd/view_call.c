/* view_call.c - views ask raftd, watch what they were told, and go on without it. */
#include <stdlib.h>

#include "dnsd/view_inner.h"
#include "lib/log.h"
#include "lib/records_acl.h"

#define LOG "agent.dns"

static void on_answer(void *arg, const struct rpc_answer *a);

/* ---- asking */

static uint32_t
call_record(struct view *v, uint16_t op, const struct query_options *o, const void *request)
{
	bool watch = o->min_index > 0;

	return rpc_call_record(v->vs->raftd, op, o, request, watch ? RPC_NO_DEADLINE : RPC_RETRY, VIEW_ASK_MS, on_answer, v);
}

static uint32_t
call_of_kind(struct view *v, const struct query_options *o)
{
	const struct settings *s = *v->vs->settings;
	struct catalog_query q = { 0 };

	switch (v->key.kind) {
	case VIEW_SERVICE:
		q.service = v->key.name;
		return call_record(v, OP_HEALTH_SERVICE, o, &q);
	case VIEW_NODE:
		q.node = v->key.name;
		return call_record(v, OP_CATALOG_NODE, o, &q);
	case VIEW_QUERY:
		return call_record(v, OP_QUERY_EXECUTE, o, &(struct pq_request){ .id = v->key.name, .source_ip = v->key.client,
			.agent_node = str_from(s->node_name), .ranked = true });
	case VIEW_REVERSE:
		return call_record(v, OP_CATALOG_REVERSE, o, &(struct reverse_query){ v->key.name });
	case VIEW_HOST4:
	case VIEW_HOST6:
		break;
	}
	return 0;
}

static void
call_raftd(struct view *v, enum view_call kind)
{
	const struct settings *s = *v->vs->settings;
	const struct query_options o = {
		.token = str_from(s->token),
		.datacenter = v->key.dc,
		.consistency = s->allow_stale && kind != CALL_ASK ? CONSISTENCY_STALE : CONSISTENCY_DEFAULT,
		.min_index = kind == CALL_WATCH ? v->index : 0,
		.acl_index = kind == CALL_WATCH ? v->acl_index : 0,
	};

	v->call = call_of_kind(v, &o);
	v->calling = v->call != 0 ? kind : CALL_NONE;
	if (v->call == 0) {
		view_enqueue(v, QUEUE_RETRY);
	} else if (kind == CALL_ASK && view_answered(v)) {
		v->refreshing = true;
		v->vs->nrefreshing++;
	}
}

/* Whether this one has to wait until fewer are asked. One that somebody waits for has not. */
static bool
is_paced(const struct view *v)
{
	return !v->watched && view_answered(v) && TAILQ_EMPTY(&v->waiters) && v->vs->nrefreshing >= VIEWS_REFRESHING_MAX;
}

/* It has been answered, or is not asked any more: the next one. */
static void
refreshed(struct view *v)
{
	struct views *vs = v->vs;
	struct view *next = TAILQ_FIRST(&vs->queue[QUEUE_PACED]);

	if (!v->refreshing)
		return;
	v->refreshing = false;
	vs->nrefreshing--;
	if (next == NULL)
		return;
	view_dequeue(next);
	view_enqueue(next, QUEUE_NOW);
}

void
view_ask(struct view *v)
{
	if (v->calling != CALL_NONE)
		return;
	if (v->queue == QUEUE_PACED)
		view_dequeue(v);
	if (v->queue == QUEUE_NONE)
		call_raftd(v, CALL_ASK);
}

void
view_ask_again(struct view *v)
{
	if (v->calling != CALL_WATCH || v->queue != QUEUE_NONE || !rpc_client_connected(v->vs->raftd))
		return;
	view_call_end(v);
	call_raftd(v, CALL_ASK);
}

void
view_call_end(struct view *v)
{
	if (v->call != 0)
		rpc_cancel(v->vs->raftd, v->call);
	upstream_cancel(v->host_call);
	v->call = 0;
	v->host_call = NULL;
	v->calling = CALL_NONE;
	refreshed(v);
}

/*
 * A watch is for the raftd whose index it names: another one, after a
 * reconnect, may have begun anew, so it is asked from scratch.
 */
void
views_run_queue(struct views *vs, enum view_queue q)
{
	struct view_list list = TAILQ_HEAD_INITIALIZER(list);
	struct view *v;

	/* What cannot be sent comes back to a queue: take this one as it is now. */
	TAILQ_CONCAT(&list, &vs->queue[q], in_queue);
	while ((v = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, v, in_queue);
		v->queue = QUEUE_NONE;
		if (v->watched && !rpc_client_connected(vs->raftd)) {
			v->watched = false;
			view_set_stale(v, true);
		}
		if (is_paced(v))
			view_enqueue(v, QUEUE_PACED);
		else
			call_raftd(v, v->watched ? CALL_WATCH : CALL_ASK);
	}
}

/* ---- answers */

/* A view that changes often is watched again a little later: its questions get what is at most that old. */
static void
arm(struct view *v)
{
	uint64_t now = uv_now(&v->vs->loop->uv);
	bool calm = now - v->changed_ms >= VIEW_CALM_MS;

	v->changed_ms = now;
	view_enqueue(v, calm ? QUEUE_NOW : QUEUE_CALM);
}

static int
read_payload(struct view *v, struct str payload, struct facts **f, struct reverse_facts **reverse)
{
	struct arena *scratch = &v->vs->scratch;

	switch (v->key.kind) {
	case VIEW_SERVICE:
		return facts_from_health(payload, scratch, f);
	case VIEW_NODE:
		return facts_from_node(payload, scratch, f);
	case VIEW_QUERY:
		return facts_from_query(payload, scratch, f);
	case VIEW_REVERSE:
		return reverse_from_reply(payload, reverse);
	case VIEW_HOST4:
	case VIEW_HOST6:
		break;
	}
	return -EINVAL;
}

static int
take(struct view *v, enum view_call kind, const struct rpc_answer *a)
{
	struct reverse_facts *reverse = NULL;
	struct facts *f = NULL;
	struct query_meta meta;
	struct str payload;
	int rc;

	rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc == 0)
		rc = read_payload(v, payload, &f, &reverse);
	if (rc < 0)
		return rc;
	/* That there is no such name is not believed of a server without a leader. */
	if (kind == CALL_ASK_STALE && (f != NULL ? !f->known : reverse->node.len + reverse->service.len == 0)) {
		facts_free(f);
		free(reverse);
		return -EAGAIN;
	}
	v->index = meta.index > 0 ? meta.index : 1;
	v->acl_index = meta.acl_index;
	view_set_known(v, f, reverse, NULL);
	return 0;
}

/*
 * A view without an answer yet: as long as somebody waits it is asked again,
 * of a raftd that is there without a leader for what it knows by itself.
 */
static void
lost_unknown(struct view *v, enum view_call kind, int rc)
{
	bool connected = rpc_client_connected(v->vs->raftd);

	if (kind == CALL_ASK && connected && (*v->vs->settings)->allow_stale) {
		call_raftd(v, CALL_ASK_STALE);
	} else if (rc == -ETIMEDOUT && !connected && !TAILQ_EMPTY(&v->waiters)) {
		call_raftd(v, CALL_ASK);
	} else {
		view_wake(v, false);
		if (TAILQ_EMPTY(&v->waiters))
			view_drop(v);
		else
			view_enqueue(v, QUEUE_RETRY);
	}
}

/*
 * raftd has not told. What is known goes on being told while it may
 * be believed, and raftd is asked until it answers.
 */
static void
lost(struct view *v, enum view_call kind, int rc)
{
	v->watched = false;
	if (!view_answered(v) || v->believed_ms != 0) {
		lost_unknown(v, kind, rc);
		return;
	}
	view_set_stale(v, true);
	/* The connection has gone: the next one is asked as soon as it stands, waiters have that long. */
	view_enqueue(v, rc != -EUNKNOWN ? QUEUE_RETRY : QUEUE_NOW);
	if (rc != -EUNKNOWN)
		view_wake(v, false);
}

/*
 * An error that is an answer: no such datacenter, no such prepared query, or
 * nothing that our token may see. All look like no such name.
 */
static bool
is_denial(const struct view *v, const struct rpc_error *e)
{
	static const char no_path[] = "No path to datacenter";

	if (e->code == 403 || (e->code == 404 && v->key.kind == VIEW_QUERY))
		return true;
	return memmem(e->text.p, e->text.len, no_path, sizeof(no_path) - 1) != NULL;
}

static int
set_denied(struct view *v)
{
	struct reverse_facts *reverse = v->key.kind == VIEW_REVERSE ? reverse_nobody() : NULL;
	struct facts *f = v->key.kind != VIEW_REVERSE ? facts_new_unknown() : NULL;

	if (f == NULL && reverse == NULL)
		return -ENOMEM;
	view_set_known(v, f, reverse, NULL);
	v->watched = false;
	v->believed_ms = uv_now(&v->vs->loop->uv) + VIEW_REFUSED_MS;
	return 0;
}

static void
take_error(struct view *v, enum view_call kind, const struct rpc_answer *a)
{
	struct rpc_error e;

	rpc_error_decode(a, &e);
	if (!is_denial(v, &e) || set_denied(v) < 0) {
		log_debug(LOG, "query failed: name=%.*s error=\"%.*s\"", STR_ARG(v->key.name), STR_ARG(e.text));
		lost(v, kind, -EPROTO);
		return;
	}
	view_wake(v, true);
}

/* How long what was just told is good: while it is watched, or for a moment. */
static void
believe(struct view *v)
{
	bool watchable = v->facts == NULL || v->facts->query == NULL || v->facts->query->watchable;

	v->watched = watchable && (v->class == CLASS_KNOWN || v->asked_before);
	v->asked_before = true;
	/* One that is not watched is good for those who wait, and no longer. */
	if (v->watched)
		v->believed_ms = 0;
	else
		v->believed_ms = uv_now(&v->vs->loop->uv) + (watchable ? 1 : VIEW_UNWATCHED_MS);
}

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct view *v = arg;
	enum view_call kind = v->calling;
	int rc = a->rc;

	v->call = 0;
	v->calling = CALL_NONE;
	refreshed(v);
	if (rc == -EPROTO) {
		take_error(v, kind, a);
		return;
	}
	if (rc == 0)
		rc = take(v, kind, a);
	if (rc < 0) {
		log_debug(LOG, "no answer: name=%.*s error=\"%s\"", STR_ARG(v->key.name), err_text(rc));
		lost(v, kind, rc);
		return;
	}
	if (kind == CALL_ASK)
		view_pulse_heard(v->vs);
	believe(v);
	if (v->watched)
		arm(v);
	view_wake(v, true);
}
