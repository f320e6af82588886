/* entry.c - what a log entry looks like: [kind, time, op, options, request]. */
#include "raftd/fsm/state.h"

enum { ENTRY_PARTS = 5 };

static const struct field f_fsm_tick[] = {
	FIELD(fsm_tick, renew, "Renew", F_STRS, FF_OMITEMPTY),
	FIELD(fsm_tick, expire, "Expire", F_STRS, FF_OMITEMPTY),
	FIELD(fsm_tick, reap_tombstones, "ReapTombstones", F_UINT, FF_OMITEMPTY),
	FIELD(fsm_tick, expire_keys, "ExpireKeys", F_STRS, FF_OMITEMPTY),
};
RECORD(rec_fsm_tick, fsm_tick, "Tick", f_fsm_tick);

static void
write_raw(struct mp_w *w, struct str s)
{
	if (s.len > 0)
		mp_w_raw(w, s);
	else
		mp_w_nil(w);
}

int
fsm_entry_encode(const struct fsm_entry *e, struct buf *out)
{
	size_t start = out->len;
	struct mp_w w = mp_w_init(out);

	mp_w_array(&w, ENTRY_PARTS);
	mp_w_uint(&w, e->kind);
	mp_w_int(&w, e->time);
	mp_w_uint(&w, e->op);
	write_raw(&w, e->options);
	write_raw(&w, e->request);
	if (w.err < 0)
		out->len = start;
	return w.err;
}

int
fsm_entry_decode(struct str in, struct fsm_entry *ret)
{
	struct mp_r r = mp_r_init(in.p, in.len);
	uint32_t n = mp_r_array(&r);
	struct fsm_entry e;

	if (n < ENTRY_PARTS)
		return -EDECODE;
	e.kind = mp_r_uint(&r);
	e.time = mp_r_int(&r);
	e.op = mp_r_uint(&r);
	e.options = mp_r_raw(&r);
	e.request = mp_r_raw(&r);
	for (uint32_t i = ENTRY_PARTS; i < n && r.err == 0; i++)
		mp_r_skip(&r);	/* of a later release */
	if (!mp_r_done(&r))
		return -EDECODE;
	*ret = e;
	return 0;
}
