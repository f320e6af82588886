/*
 * restore.c - a state that replaces the whole, part by part through the log.
 *
 * The new state is built beside the one in force, and END exchanges them. What
 * becomes of a part depends on the entries alone, so all servers agree on it.
 */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

enum { ID_LEN = 16, HEAD_LEN = 9 };

/* What is being restored. */
struct stage {
	struct fsm *f;
	char id[ID_LEN];
	uint64_t parts;		/* DATA entries so far */
	uint64_t index;		/* of the snapshot */
};

static const struct field f_fsm_restore[] = {
	FIELD(fsm_restore, part, "Part", F_UINT, 0),
	FIELD(fsm_restore, id, "ID", F_BYTES, 0),
	FIELD(fsm_restore, number, "Number", F_UINT, FF_OMITEMPTY),
	FIELD(fsm_restore, index, "Index", F_UINT, FF_OMITEMPTY),
	FIELD(fsm_restore, records, "Records", F_BYTES, FF_OMITEMPTY),
};
RECORD(rec_fsm_restore, fsm_restore, "Restore", f_fsm_restore);

static void
tell_stage(const struct fsm_sink *sink, enum fsm_stage what)
{
	if (sink->staged != NULL)
		sink->staged(sink->ctx, what);
}

void
restore_drop(struct fsm *f, const struct fsm_sink *sink)
{
	if (f->stage == NULL)
		return;
	fsm_free(f->stage->f);
	free(f->stage);
	f->stage = NULL;
	tell_stage(sink, FSM_STAGE_DROP);
}

bool
fsm_restoring(const struct fsm *f)
{
	return f->stage != NULL;
}

static int
begin(struct fsm *f, const struct fsm_restore *p, struct fsm_error *err, const struct fsm_sink *sink)
{
	struct stage *s;

	restore_drop(f, sink);
	if (p->index >= FSM_INDEX_MAX) {
		fail(err, 500, "failed to restore snapshot: its index %llu is too high", (unsigned long long)p->index);
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->f = fsm_new(&f->config);
	if (s->f == NULL) {
		free(s);
		return -ENOMEM;
	}
	memcpy(s->id, p->id.p, ID_LEN);
	s->index = p->index;
	f->stage = s;
	tell_stage(sink, FSM_STAGE_BEGIN);
	return 0;
}

/* ---- DATA */

static uint32_t
get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* The next record of a part; false at its end or when it is cut off. */
static bool
next_record(struct str *rest, enum fsm_table *table, struct str *key, struct str *value)
{
	uint64_t klen, vlen;

	if (rest->len < HEAD_LEN)
		return false;
	klen = get_u32(rest->p + 1);
	vlen = get_u32(rest->p + 5);
	if (klen + vlen > rest->len - HEAD_LEN)
		return false;
	*table = (enum fsm_table)(unsigned char)rest->p[0];
	*key = (struct str){ rest->p + HEAD_LEN, (size_t)klen };
	*value = (struct str){ rest->p + HEAD_LEN + klen, (size_t)vlen };
	rest->p += HEAD_LEN + klen + vlen;
	rest->len -= (size_t)(HEAD_LEN + klen + vlen);
	return true;
}

static int
data(struct fsm *f, const struct fsm_restore *p, const struct fsm_sink *sink)
{
	struct str rest = p->records, key, value;
	enum fsm_table table;

	while (next_record(&rest, &table, &key, &value)) {
		int rc;

		if (table == FSM_ORIGIN || table == FSM_LOCK_DELAY)
			continue;
		rc = fsm_load(f->stage->f, table, key, value);
		if (rc < 0)
			return rc;
		/* Those of sessions, of keys' TTLs and of the whole are told when they are as END makes them. */
		if (sink->staged_record != NULL && table != FSM_SESSION && table != FSM_KV_TTL && (table != FSM_META || str_has_prefix(key, STR("service."))))
			sink->staged_record(sink->ctx, table, key, value);
	}
	f->stage->parts++;
	return rest.len > 0 ? -EDECODE : 0;
}

/* ---- END */

/* *ret takes what s holds; what a restore does not replace stays f's. s is left with the rest, to be freed. */
static void
exchange(struct fsm *f, struct fsm *s)
{
	struct fsm old = *f;

	*f = *s;
	f->config = old.config;
	f->datacenter = old.datacenter;
	f->applied = old.applied;
	f->distance = old.distance;
	f->time = old.time;
	f->origins = old.origins;
	f->origins_dirty = old.origins_dirty;
	f->servers = old.servers;
	f->stage = old.stage;
	f->journal = old.journal;
	f->njournal = old.njournal;
	f->journal_cap = old.journal_cap;
	f->scratch = old.scratch;
	f->arena = old.arena;
	f->enc = old.enc;
	f->gone = old.gone;

	old.config = s->config;
	old.datacenter = s->datacenter;
	old.origins = s->origins;
	old.origins_dirty = NULL;
	old.servers = s->servers;
	old.stage = NULL;
	old.journal = s->journal;
	old.njournal = s->njournal;
	old.scratch = s->scratch;
	old.arena = s->arena;
	old.enc = s->enc;
	old.gone = s->gone;
	*s = old;
}

struct told {
	const struct fsm_sink *sink;
	enum fsm_table table;
};

static int
tell_record(void *ctx, struct str key, struct str value)
{
	const struct told *told = ctx;

	told->sink->staged_record(told->sink->ctx, told->table, key, value);
	return 0;
}

/* What DATA did not tell of the new state. */
static int
tell_rest(const struct fsm *f, const struct fsm_sink *sink)
{
	const struct fsm_sink as_staged = { .ctx = sink->ctx, .changed = sink->staged_record };
	struct told told = { sink, FSM_SESSION };
	int rc;

	if (sink->staged_record == NULL)
		return 0;
	rc = fsm_walk(f, FSM_SESSION, STR_NONE, tell_record, &told);
	told.table = FSM_KV_TTL;
	if (rc == 0)
		rc = fsm_walk(f, FSM_KV_TTL, STR_NONE, tell_record, &told);
	if (rc == 0)
		rc = meta_dump(f, &as_staged);
	return rc == 0 ? origin_dump(f, &as_staged) : rc;
}

static uint64_t
highest_index(const struct stage *s)
{
	uint64_t max = max_u64(s->f->top, s->index), v;
	const char *name;

	for (size_t i = 0; fsm_table_index(s->f, i, &name, &v); i++)
		max = max_u64(max, v);
	return max;
}

/* index: of END in the log. */
static int
end(struct fsm *f, uint64_t index, struct fsm_error *err, const struct fsm_sink *sink)
{
	struct stage *s = f->stage;
	uint64_t top = highest_index(s);
	int rc;

	if (top >= FSM_INDEX_MAX) {
		fail(err, 500, "failed to restore snapshot: its index %llu is too high", (unsigned long long)top);
		restore_drop(f, sink);
		return 0;
	}
	rc = fsm_loaded(s->f);
	if (rc == 0)
		rc = session_restart(s->f, f->time);
	if (rc == 0)
		rc = ttl_restart(s->f, f->time);
	if (rc < 0)
		return rc;
	exchange(f, s->f);
	f->applied = index;
	if (top + 1 > index + f->distance)
		f->distance = top + 1 - index;
	gone_reset(f->gone, fsm_index(f));
	rc = tell_rest(f, sink);
	if (rc < 0)
		return rc;
	f->scratch->acl_index = index;
	fsm_free(s->f);
	free(s);
	f->stage = NULL;
	tell_stage(sink, FSM_STAGE_COMMIT);
	touch_one(sink, WATCH_ALL, STR(""));
	return 0;
}

/* ---- any part */

static bool
follows(const struct fsm *f, const struct fsm_restore *p)
{
	const struct stage *s = f->stage;

	if (s == NULL || memcmp(s->id, p->id.p, ID_LEN) != 0)
		return false;
	return p->part == FSM_RESTORE_DATA ? p->number == s->parts + 1 : p->number == s->parts;
}

int
restore_apply(struct fsm *f, uint64_t index, struct str raw, struct fsm_error *err, const struct fsm_sink *sink)
{
	struct mp_r r = mp_r_init(raw.p, raw.len);
	struct fsm_restore p;
	int rc = record_decode(&rec_fsm_restore, &r, &p, f->arena);

	if (rc < 0)
		return rc;
	if (!mp_r_done(&r) || p.id.len != ID_LEN || p.part < FSM_RESTORE_BEGIN || p.part > FSM_RESTORE_DROP)
		return -EDECODE;
	if (p.part == FSM_RESTORE_BEGIN)
		return begin(f, &p, err, sink);
	if (p.part == FSM_RESTORE_DROP) {
		restore_drop(f, sink);
		return 0;
	}
	if (!follows(f, &p)) {
		fail(err, 500, "failed to restore snapshot: it was interrupted; the old state stays");
		restore_drop(f, sink);
		return 0;
	}
	rc = p.part == FSM_RESTORE_DATA ? data(f, &p, sink) : end(f, index, err, sink);
	if (rc == -EDECODE) {
		fail(err, 500, "failed to restore snapshot: its records do not fit together; the old state stays");
		restore_drop(f, sink);
		return 0;
	}
	return rc;
}
