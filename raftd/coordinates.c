/*
 * coordinates.c - where nodes say that they lie: gathered at the leader, and
 * written together every few seconds.
 *
 * An update is answered before it is written: it is one of many, and the next
 * one comes soon. What is staged is lost with the leadership for the same
 * reason. While nothing is staged there is no timer.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rtt.h"
#include "raftd/raftd.h"

#define SUB "agent.server.coordinate"

enum {
	PERIOD_MS = 5000,
	PER_ENTRY = 128,		/* of one entry of the log */
	ENTRIES = 5,			/* of a period */
	STAGED_MAX = PER_ENTRY * ENTRIES,	/* what comes beyond is dropped */
	ENTRY_BYTES_MAX = 2 * 1024 * 1024,
};

struct coordinates {
	struct raftd *r;
	uv_timer_t timer;
	struct coordinate_entry *staged[STAGED_MAX];	/* the newest of each node and segment */
	size_t n;
	uint64_t dropped;		/* of this period */
	struct log_limit limit;
};

/* Told of updates that will never be written. */
static void
tell_dropped(struct coordinates *c, uint64_t n, const char *why)
{
	const char *note;

	if (n > 0 && log_allowed(&c->limit, clock_ms(), &note))
		log_warn(SUB, "Discarded coordinate updates: number_discarded=%" PRIu64 " reason=\"%s\"%s", n, why, note);
}

static void
clear(struct coordinates *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->staged[i]);
	c->n = 0;
	c->dropped = 0;
}

/* ---- writing */

static int
propose_batch(struct raftd *r, struct coordinate_entry *const *v, size_t n)
{
	static const char no_options[] = "\x80";
	struct fsm_entry e = { .kind = FSM_ENTRY_COORDINATES, .options = { no_options, 1 }, .time = engine_now(r) };
	struct buf b = BUF_INIT(ENTRY_BYTES_MAX);
	struct mp_w w = mp_w_init(&b);
	struct coordinate_entry list[PER_ENTRY];
	const struct fsm_coordinates batch = { { list, n } };
	int rc;

	for (size_t i = 0; i < n; i++)
		list[i] = *v[i];
	record_encode(&rec_fsm_coordinates, &batch, RECORD_WHOLE, &w);
	e.request = (struct str){ (const char *)b.data, b.len };
	rc = w.err;
	if (rc == 0)
		rc = engine_propose(r, &e, NULL);
	buf_release(&b);
	return rc;
}

static void
on_period(uv_timer_t *t)
{
	struct coordinates *c = t->data;
	int rc = 0;
	size_t at;

	if (!engine_leads(c->r)) {
		clear(c);
		return;
	}
	/* What would come between its parts would go with the old state. */
	if (snapshot_restoring(c->r)) {
		(void)uv_timer_start(&c->timer, on_period, PERIOD_MS, 0);
		return;
	}
	for (at = 0; at < c->n && rc == 0; at += PER_ENTRY)
		rc = propose_batch(c->r, c->staged + at, c->n - at < PER_ENTRY ? c->n - at : PER_ENTRY);
	if (rc < 0)
		tell_dropped(c, c->n - (at - PER_ENTRY), err_text(rc));
	tell_dropped(c, c->dropped, "more than one period can write");
	clear(c);
}

/* ---- staging */

static struct coordinate_entry **
place_of(struct coordinates *c, const struct coordinate_entry *e)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq_nocase(c->staged[i]->node, e->node) && str_eq_nocase(c->staged[i]->segment, e->segment))
			return &c->staged[i];
	return NULL;
}

static int
stage(struct coordinates *c, const struct coordinate_entry *e)
{
	struct coordinate_entry **place = place_of(c, e), *copy;

	if (place == NULL && c->n == STAGED_MAX) {
		c->dropped++;
		return 0;
	}
	copy = record_dup(&rec_coordinate_entry, e);
	if (copy == NULL)
		return -ENOMEM;
	if (place != NULL) {
		free(*place);
		*place = copy;
		return 0;
	}
	c->staged[c->n++] = copy;
	if (!uv_is_active((uv_handle_t *)&c->timer)) {
		uv_update_time(c->timer.loop);
		(void)uv_timer_start(&c->timer, on_period, PERIOD_MS, 0);
	}
	return 0;
}

void
coordinates_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct coordinate_entry e;
	struct query_options o;
	const char *wrong;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, &e, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (!engine_leads(r)) {
		forward_leader(r, req);
		return;
	}
	if (!acl_require(r, req, o.token, ACL_NODE, e.node, ACL_WRITE) ||
	    !acl_require(r, req, o.token, ACL_NODE, fsm_node_name(r->engine.fsm, e.node), ACL_WRITE))
		return;
	wrong = e.node.len == 0 ? "Must provide node" : rtt_complaint(&e.coord);
	if (wrong != NULL) {
		rpc_reply_error(r->d->rpc, req->token, 500, "%s", wrong);
		return;
	}
	rc = stage(r->coordinates, &e);
	if (rc < 0)
		rpc_reply_error(r->d->rpc, req->token, 500, "%s", err_text(rc));
	else
		rpc_reply_nil(r->d->rpc, req->token, fsm_index(r->engine.fsm));
}

/* ---- */

int
coordinates_init(struct raftd *r)
{
	struct coordinates *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->r = r;
	(void)uv_timer_init(&r->d->loop.uv, &c->timer);
	c->timer.data = c;
	r->coordinates = c;
	return 0;
}

static void
free_coordinates(uv_handle_t *h)
{
	free(h->data);
}

void
coordinates_release(struct raftd *r)
{
	if (r->coordinates == NULL)
		return;
	clear(r->coordinates);
	uv_close((uv_handle_t *)&r->coordinates->timer, free_coordinates);
	r->coordinates = NULL;
}
