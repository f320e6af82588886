/*
 * frame.c - fuzz target: frames as they come from a socket, and what raftd
 * does with the requests in them: reads are answered, writes are checked and
 * applied, on a state of their own.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/rpc.h"
#include "raftd/fsm/fsm.h"

enum { ARENA_MAX = 16 * 1024 * 1024, OUT_MAX = 16 * 1024 * 1024 };

/* Room for any request record. */
static union {
	struct register_request reg;
	struct agent_register agent_reg;
	struct check_def check;
	uint8_t bytes[4096];
} request, again;

struct world {
	struct fsm *fsm;
	struct arena arena;
	struct buf out, other;
	uint64_t index;
};

/* What was decoded, encoded anew, decodes to the same bytes. */
static void
round_trip(struct world *w, const struct op_info *op, const struct query_options *o)
{
	struct query_options o2;

	buf_clear(&w->out);
	buf_clear(&w->other);
	if (op_request_encode(op->number, o, op->request != NULL ? &request : NULL, &w->out) < 0)
		return;
	if (op_request_decode(op, w->out.data, w->out.len, &o2, &again, &w->arena) < 0)
		abort();
	if (op_request_encode(op->number, &o2, op->request != NULL ? &again : NULL, &w->other) < 0)
		return;
	if (w->out.len != w->other.len || memcmp(w->out.data, w->other.data, w->out.len) != 0)
		abort();
}

static void
query(struct world *w, const struct op_info *op)
{
	struct fsm_error err = { .code = 0 };
	struct watch_set keys = { .n = 0 };
	uint64_t index = 0;
	struct mp_w out;
	struct mp_r in;

	buf_clear(&w->out);
	out = mp_w_init(&w->out);
	if (fsm_query(w->fsm, op->number, &request, 0, NULL, &out, &index, &keys, &err) < 0 || err.code != 0 || out.err != 0)
		return;
	in = mp_r_init(w->out.data, w->out.len);
	mp_r_skip(&in);
	if (index == 0 || !mp_r_done(&in))
		abort();
}

static void
apply(struct world *w, const struct op_info *op, struct str options, struct str raw)
{
	static const struct fsm_fresh fresh = { .random = { 1, 2, 3 } };
	const struct fsm_sink sink = { .ctx = NULL };
	struct fsm_entry e = { .kind = FSM_ENTRY_OP, .op = op->number, .time = (int64_t)w->index, .options = options, .request = raw };
	struct fsm_error err = { .code = 0 };

	buf_clear(&w->out);
	if (fsm_check(w->fsm, op->number, raw, e.time, &fresh, NULL, &w->out, &e.request, &err) < 0 || err.code != 0)
		return;
	buf_clear(&w->other);
	/* What was checked can be applied. */
	if (fsm_apply(w->fsm, ++w->index, &e, &w->other, &err, &sink) < 0)
		abort();
}

static void
one_request(struct world *w, const struct op_info *op, const uint8_t *body, size_t len)
{
	struct query_options o;
	struct mp_r in = mp_r_init(body, len);
	struct str options, raw;

	arena_reset(&w->arena);
	if (op_request_decode(op, body, len, &o, &request, &w->arena) < 0)
		return;
	if (op->server == OP_SERVER_RAFTD && op->access == OP_ACCESS_READ && op->request != NULL)
		query(w, op);
	options = mp_r_raw(&in);
	raw = mp_r_raw(&in);
	if (op->server == OP_SERVER_RAFTD && op->access == OP_ACCESS_WRITE && mp_r_done(&in))
		apply(w, op, options, raw);
	round_trip(w, op, &o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fsm_config c = { "dc1", 64, 0 };
	struct world w = { .fsm = fsm_new(&c), .arena = ARENA_INIT(ARENA_MAX), .out = BUF_INIT(OUT_MAX), .other = BUF_INIT(OUT_MAX) };
	uint8_t head[FRAME_HEADER];
	struct frame f;

	if (w.fsm == NULL)
		return 0;
	while (size >= FRAME_HEADER) {
		const struct op_info *op;

		frame_decode(data, &f);
		frame_encode(&f, head);
		if (memcmp(head, data, FRAME_HEADER) != 0)
			abort();
		data += FRAME_HEADER;
		size -= FRAME_HEADER;
		op = op_info(f.op);
		if (op == NULL || f.len > op->body_max || f.len > size)
			break;
		if (f.kind == FRAME_REQUEST)
			one_request(&w, op, data, f.len);
		data += f.len;
		size -= f.len;
	}
	fsm_free(w.fsm);
	arena_release(&w.arena);
	buf_release(&w.out);
	buf_release(&w.other);
	return 0;
}
