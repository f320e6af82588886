/* coordinates.c - this node's network coordinate, from the pool to the catalog. */
#include <stdlib.h>

#include "checkd/coordinates.h"
#include "checkd/sync.h"

struct coordinates {
	struct checkd *cd;
	uv_timer_t *timer;
	bool failed;		/* the last time */
};

static void on_timer(uv_timer_t *t);

uint64_t
coordinate_interval_ms(uint64_t members)
{
	uint64_t ms = members < UINT64_MAX / 1000 ? members * 1000 / COORDINATE_RATE : UINT64_MAX / 2;

	return ms > COORDINATE_MIN_MS ? ms : COORDINATE_MIN_MS;
}

static void
schedule_next(struct coordinates *c)
{
	uint64_t ms = coordinate_interval_ms(sync_pool_size(c->cd));

	(void)uv_timer_start(c->timer, on_timer, ms + random_below(ms), 0);
}

/* Told once; a catalog that stays away is told of by those who write what matters more. */
static void
fail(struct coordinates *c, const char *what, const struct rpc_answer *a)
{
	struct rpc_error e = { .code = 0, .text = str_from(err_text(a->rc)) };
	enum log_level level = c->failed ? LOG_DEBUG : LOG_WARN;

	if (a->rc == -EPROTO)
		rpc_error_decode(a, &e);
	c->failed = true;
	if (!log_enabled(level))
		return;
	if (e.code == 403)
		log_write(level, "agent", "Coordinate update blocked by ACLs: error=\"%.*s\"", STR_ARG(e.text));
	else
		log_write(level, "agent", "%s: error=\"%.*s\"", what, STR_ARG(e.text));
}

static void
on_updated(void *arg, const struct rpc_answer *a)
{
	struct coordinates *c = arg;

	if (a->rc < 0)
		fail(c, "Coordinate update error", a);
	else
		c->failed = false;
	schedule_next(c);
}

/* The first of gossipd's list is our own. */
static int
send_update(struct coordinates *c, const struct rpc_answer *a)
{
	struct arena arena = ARENA_INIT(COORDINATE_ARENA_MAX);
	struct coordinate_entry e = { .node = STR_NONE };
	struct query_meta meta;
	struct str payload;
	struct mp_r r;
	int rc;

	rc = op_reply_decode(a->body, a->len, &meta, &payload);
	if (rc == 0) {
		r = mp_r_init(payload.p, payload.len);
		rc = mp_r_array(&r) > 0 ? record_decode(&rec_coordinate_entry, &r, &e, &arena) : -ENODATA;
	}
	if (rc == 0) {
		const struct query_options o = { .token = tokens_agent(&c->cd->tokens) };

		e.node = str_from(checkd_node(c->cd));
		if (rpc_call_record(c->cd->raftd, OP_COORDINATE_UPDATE, &o, &e, 0, COORDINATE_CALL_MS, on_updated, c) == 0)
			rc = -EBUSY;
	}
	arena_release(&arena);
	return rc;
}

static void
on_own(void *arg, const struct rpc_answer *a)
{
	struct coordinates *c = arg;
	struct rpc_answer failure = *a;

	if (a->rc == 0)
		failure.rc = send_update(c, a);
	if (failure.rc == 0)
		return;
	fail(c, "Failed to get network coordinate", &failure);
	schedule_next(c);
}

static void
on_timer(uv_timer_t *t)
{
	struct coordinates *c = t->data;
	const struct member_query q = { .own = true };
	const struct query_options o = { .internal = true };

	if (rpc_call_record(c->cd->gossipd, OP_GOSSIP_COORDINATES, &o, &q, RPC_RETRY, COORDINATE_CALL_MS, on_own, c) != 0)
		return;
	fail(c, "Failed to get network coordinate", &(struct rpc_answer){ .rc = -EBUSY });
	schedule_next(c);
}

int
coordinates_start(struct checkd *cd)
{
	struct coordinates *c;

	if (cfg_bool(cd->d->config, "disable_coordinates", false))
		return 0;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->cd = cd;
	c->timer = timer_new(&cd->d->loop.uv, c);
	if (c->timer == NULL) {
		free(c);
		return -ENOMEM;
	}
	cd->coordinates = c;
	schedule_next(c);
	return 0;
}

void
coordinates_stop(struct checkd *cd)
{
	if (cd->coordinates == NULL)
		return;
	timer_free(cd->coordinates->timer);
	free(cd->coordinates);
	cd->coordinates = NULL;
}
