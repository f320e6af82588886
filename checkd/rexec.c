/* rexec.c - events of the pool that announce jobs to be run. */
#include <stdlib.h>
#include <string.h>

#include "checkd/rexec.h"

enum { EVENTS_ARENA_MAX = 4 * 1024 * 1024, ID_MAX = 64 };

struct rexec {
	struct checkd *cd;
	struct rexec_jobs jobs;
	uv_timer_t *timer;
	uint64_t index;
	bool primed;		/* the events from before our time are known */
	char last[ID_MAX];	/* ID of the newest event that was looked at */
	char seen[REXEC_SEEN_MAX][ID_MAX];	/* sessions, in a ring */
	size_t nseen;
};

static void ask(struct rexec *r);

static void
on_timer(uv_timer_t *t)
{
	ask(t->data);
}

static void
ask_later(struct rexec *r)
{
	(void)uv_timer_start(r->timer, on_timer, REXEC_RETRY_MS, 0);
}

static bool
seen_before(struct rexec *r, struct str session)
{
	size_t n = r->nseen < REXEC_SEEN_MAX ? r->nseen : REXEC_SEEN_MAX;

	for (size_t i = 0; i < n; i++)
		if (str_eqs(session, r->seen[i]))
			return true;
	(void)snprintf(r->seen[r->nseen++ % REXEC_SEEN_MAX], ID_MAX, "%.*s", STR_ARG(session));
	return false;
}

static void
take(struct rexec *r, const struct user_event *u)
{
	struct arena a = ARENA_INIT(EVENTS_ARENA_MAX);
	struct rexec_event e;
	int rc = rexec_event_parse(u->payload, &a, &e);

	if (rc < 0) {
		log_err("agent", "failed to decode remote exec event: id=\"%.*s\" error=\"%s\"", (int)(u->id.len < ID_MAX ? u->id.len : ID_MAX),
		    u->id.p != NULL ? u->id.p : "", err_text(rc));
	} else if (seen_before(r, e.session)) {
		log_debug("agent", "remote exec event was seen before: session=%s", e.session.p);
	} else {
		log_debug("agent", "received remote exec event: session=%s", e.session.p);
		rexec_job_start(&r->jobs, &e);
	}
	arena_release(&a);
}

/* Those behind the last one that we know are new; all are when it has gone from the list. */
static void
take_new(struct rexec *r, const struct user_event *v, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++)
		if (str_eqs(v[i].id, r->last))
			from = i + 1;
	if (!r->primed)
		from = n;
	r->primed = true;
	for (size_t i = from; i < n; i++)
		take(r, &v[i]);
	if (n > 0)
		(void)snprintf(r->last, sizeof(r->last), "%.*s", STR_ARG(v[n - 1].id));
}

static int
decode(struct rexec *r, const struct rpc_answer *a, uint64_t *ret_index)
{
	struct arena arena = ARENA_INIT(EVENTS_ARENA_MAX);
	struct query_meta meta;
	struct str payload;
	struct user_event *v;
	struct mp_r in;
	uint32_t n;
	int rc;

	rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc < 0)
		return rc;
	in = mp_r_init(payload.p, payload.len);
	n = mp_r_array(&in);
	v = arena_alloc(&arena, (n + 1) * sizeof(*v));
	rc = v == NULL ? -ENOMEM : in.err;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = record_decode(&rec_user_event, &in, &v[i], &arena);
	if (rc == 0) {
		take_new(r, v, n);
		*ret_index = meta.index;
	}
	arena_release(&arena);
	return rc;
}

static void
on_events(void *arg, const struct rpc_answer *a)
{
	struct rexec *r = arg;
	uint64_t before = r->index;
	int rc = a->rc < 0 ? a->rc : decode(r, a, &r->index);

	if (rc < 0)
		log_debug("agent", "cannot list remote exec events: error=\"%s\"", err_text(rc));
	/* An answer that brings nothing new must not be asked for in a hurry. */
	if (rc < 0 || r->index == before)
		ask_later(r);
	else
		ask(r);
}

static void
ask(struct rexec *r)
{
	const struct query_options o = { .min_index = r->index, .internal = true };
	const struct event_query q = { .name = STR("_rexec"), .internal = true };

	if (rpc_call_record(r->cd->gossipd, OP_GOSSIP_EVENT_LIST, &o, &q, RPC_RETRY | RPC_NO_DEADLINE, 0, on_events, r) == 0)
		ask_later(r);
}

int
rexec_start(struct checkd *cd)
{
	struct rexec *r;

	if (cfg_bool(cd->d->config, "disable_remote_exec", true))
		return 0;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->cd = r->jobs.cd = cd;
	r->timer = timer_new(&cd->d->loop.uv, r);
	if (r->timer == NULL) {
		free(r);
		return -ENOMEM;
	}
	write_stamps_init(&r->jobs.stamps);
	cd->rexec = r;
	ask(r);
	return 0;
}

void
rexec_stop(struct checkd *cd)
{
	struct rexec *r = cd->rexec;

	if (r == NULL)
		return;
	timer_free(r->timer);
	rexec_jobs_release(&r->jobs);
	write_stamps_release(&r->jobs.stamps);
	free(r);
	cd->rexec = NULL;
}
