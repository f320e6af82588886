/* image.c - the whole state as records, out and in. */
#include "raftd/fsm/state.h"

#define META_STATE "state"

static const struct field f_meta[] = {
	FIELD(fsm, applied, "Applied", F_UINT, 0),
	FIELD(fsm, time, "Time", F_INT, 0),
	FIELD(fsm, idx.kvs, "KVs", F_UINT, 0),
	FIELD(fsm, idx.tombstones, "Tombstones", F_UINT, 0),
	FIELD(fsm, idx.sessions, "Sessions", F_UINT, 0),
	FIELD(fsm, idx.nodes, "Nodes", F_UINT, 0),
	FIELD(fsm, idx.services, "Services", F_UINT, 0),
	FIELD(fsm, idx.checks, "Checks", F_UINT, 0),
	FIELD(fsm, idx.extinction, "ServiceExtinction", F_UINT, 0),
};
static RECORD(rec_meta, fsm, "Meta", f_meta);

static int
report_meta(const struct fsm *f, const struct fsm_sink *sink)
{
	struct mp_w w = mp_w_init(f->enc);

	buf_clear(f->enc);
	record_encode(&rec_meta, f, RECORD_WHOLE, &w);
	if (w.err == 0 && sink->changed != NULL)
		sink->changed(sink->ctx, FSM_META, STR(META_STATE), (struct str){ (const char *)f->enc->data, f->enc->len });
	return w.err;
}

int
fsm_flush(struct fsm *f, const struct fsm_sink *sink)
{
	int rc = 0;

	if (f->meta_dirty)
		rc = report_meta(f, sink);
	if (rc == 0)
		f->meta_dirty = false;
	return rc == 0 ? origin_flush(f, sink) : rc;
}

int
fsm_dump(const struct fsm *f, const struct fsm_sink *sink)
{
	int rc = report_meta(f, sink);

	if (rc == 0)
		rc = change_dump(f, sink);
	return rc == 0 ? origin_dump(f, sink) : rc;
}

static int
meta_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct fsm in;
	int rc;

	if (!str_eqs(key, META_STATE))
		return name_load(f, key, value);
	rc = record_decode(&rec_meta, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (!mp_r_done(&r))
		return -EDECODE;
	f->applied = in.applied;
	f->time = in.time;
	f->idx = in.idx;
	return 0;
}

int
fsm_load(struct fsm *f, enum fsm_table table, struct str key, struct str value)
{
	arena_reset(f->arena);
	switch (table) {
	case FSM_META:
		return meta_load(f, key, value);
	case FSM_KV:
		return kv_load(f, key, value);
	case FSM_TOMBSTONE:
		return tomb_load(f, key, value);
	case FSM_SESSION:
		return session_load(f, key, value);
	case FSM_NODE:
		return node_load(f, key, value);
	case FSM_SERVICE:
		return service_load(f, key, value);
	case FSM_CHECK:
		return check_load(f, key, value);
	case FSM_ORIGIN:
		return origin_load(f, key, value);
	case FSM_LOCK_DELAY:
		return delay_load(f, key, value);
	case FSM_TABLES:
		break;
	}
	return -EDECODE;
}

int
fsm_loaded(struct fsm *f)
{
	int rc = tomb_loaded(f);

	return rc == 0 ? service_loaded(f) : rc;
}
