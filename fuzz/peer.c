/*
 * peer.c - fuzz target: what another server may send on its connection for
 * messages. Each is checked as raftd does, stepped through the real core, and
 * what the core wants done is done; the input also lets time pass and disks be slow.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/rpc.h"
#include "raftd/engine.h"

enum { OWN = 1, DEPTH_MAX = 64, WAIT_MAX_MS = 20000, BUILT_MAX = 64 * 1024 };

/* What a frame that is no message means. */
enum local { TIME, READ, PEER_UP, PEER_DOWN, LEADER_LOST, PROPOSE, TRANSFER, SLOW_DISK, LOCALS };

enum { CLUSTER = 0xc1 };

static struct world {
	struct raftd r;
	uint64_t now, stored_id, stored, taken, taken_next;
	bool slow;		/* nothing is persisted for now */
	int depth;
} w;

static const struct raft_servers three = { 1, 3, { { OWN, true }, { 2, true }, { 3, true } } };

/* ---- what receive.c talks to */

struct batch *
engine_batch(struct engine *e)
{
	struct batch *b = batch_new();

	(void)e;
	if (b == NULL)
		abort();
	return b;
}

uint64_t
clock_ms(void)
{
	return w.now;
}

void
count_message(const struct raft *core, const struct raft_message *m, uint64_t now_ms)
{
	(void)core;
	(void)m;
	(void)now_ms;
}

/* Of a state that replaces ours, which no message alone brings about. */
void
waiters_cut(struct raftd *r, uint64_t index)
{
	(void)r;
	(void)index;
	abort();
}

void
watch_touched(struct raftd *r, const struct watch_key *key)
{
	(void)r;
	(void)key;
	abort();
}

void
engine_config_changed(struct raftd *r)
{
	(void)r;
	abort();
}

/* The core has asked for these entries: they are whole, and follow each other. */
static void
take(struct raftd *r, struct batch *b)
{
	struct batch_cursor c;
	struct batch_entry entry;
	uint64_t n = 0;

	(void)r;
	if (b->first != w.taken_next || batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c) < 0)
		abort();
	while (batch_next(&c, true, &entry) > 0)
		n++;
	if (n != b->n || c.index != b->first + n)
		abort();
	w.taken += n;
	w.taken_next = c.index;
	batch_free(b);
}

static void
check(const struct raft *core)
{
	uint64_t low = core->commit < core->persisted ? core->commit : core->persisted;

	if (core->applied > low || low > core->trail.last || core->trail.base > core->trail.last || core->term > RAFT_NUMBER_MAX)
		abort();
}

static void
simple(enum raft_event_type type, uint64_t index)
{
	const struct raft *core = &w.r.engine.core;
	const struct raft_event ev = { .type = type, .now_ms = w.now, .index = index, .term = core->term, .vote = core->vote,
		.epoch = core->epoch };

	engine_step(&w.r, &ev);
}

void
install_chunk(struct raftd *r, const struct raft_message *m, struct str data)
{
	const struct raft_event ev = { .type = RAFT_CHUNK, .now_ms = w.now, .snapshot = m->snapshot };
	struct raft_event told = ev;

	if (data.len != m->bytes)
		abort();
	if (m->snapshot.id != w.stored_id)
		w.stored = 0;
	w.stored_id = m->snapshot.id;
	if (m->offset == w.stored)
		w.stored += m->bytes;
	told.index = w.stored;
	engine_step(r, &told);
}

static void
install(void)
{
	const struct raft *core = &w.r.engine.core;
	struct raft_event ev = { .type = RAFT_INSTALLED, .now_ms = w.now, .snapshot = core->incoming, .config = &three };

	w.stored = 0;
	/* Every other one turns out to be damaged. */
	if (core->incoming.id % 2 == 0)
		ev.type = RAFT_INSTALL_FAILED;
	engine_step(&w.r, &ev);
}

static void
make_snapshot(void)
{
	const struct raft *core = &w.r.engine.core;
	struct raft_event ev = { .type = RAFT_SNAPSHOT_READY, .now_ms = w.now,
		.snapshot = { 7, core->applied, trail_term(&core->trail, core->applied), 100 } };

	if (core->applied == 0)
		ev.type = RAFT_SNAPSHOT_FAILED;
	engine_step(&w.r, &ev);
}

static void
told_sent(const struct raft_message *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct raft_event ev = { .type = RAFT_SENT, .now_ms = w.now, .peer = m[i].to, .first = m[i].first,
			.index = m[i].last, .bytes = 100 };

		if (m[i].type == RAFT_MSG_APPEND && m[i].last >= m[i].first)
			engine_step(&w.r, &ev);
	}
}

void
engine_act(struct raftd *r, const struct raft_effects *fx, const struct source *src, bool led)
{
	static struct raft_message out[DEPTH_MAX][RAFT_MESSAGES_MAX];
	struct raft *core = &r->engine.core;
	struct raft_message *mine = out[w.depth];

	(void)led;
	memcpy(mine, fx->messages, fx->nmessages * sizeof(*mine));
	w.depth++;
	if (fx->append_n > 0 && src != NULL && src->wire != NULL && !fx->noop) {
		w.taken = 0;
		w.taken_next = fx->append_first;
		receive_entries(r, src->wire, fx->append_first, fx->append_n, take);
		if (w.taken != fx->append_n)
			abort();
	}
	if ((fx->hard_state || fx->truncate_from != 0 || fx->append_n > 0) && !w.slow)
		simple(RAFT_PERSISTED, core->trail.last);
	told_sent(mine, fx->nmessages);
	if (fx->install)
		install();
	if (fx->snapshot_wanted)
		make_snapshot();
	if (core->commit > core->applied && !core->installing)
		simple(RAFT_APPLIED, core->commit < core->persisted ? core->commit : core->persisted);
	w.depth--;
}

void
engine_step(struct raftd *r, const struct raft_event *ev)
{
	struct raft *core = &r->engine.core;
	struct raft_effects fx;
	int rc;

	if (w.depth >= DEPTH_MAX)
		return;
	rc = raft_step(core, ev, &fx);
	check(core);
	if (rc == 0)
		engine_act(r, &fx, NULL, false);
	else if (rc != -EINVAL && rc != -ENOMEM && rc != -ELIMIT && rc != -RAFT_ENOTLEADER && rc != -RAFT_ECHANGING)
		abort();
}

/* ---- what the input says */

/* Entries with right checksums, which no fuzzer guesses: "B", then term, kind, length, data of each. */
static void
build_entries(struct raft_wire *m, struct buf *out)
{
	const uint8_t *p = (const uint8_t *)m->entries.p + 1, *end = (const uint8_t *)m->entries.p + m->entries.len;
	uint64_t index = m->first;

	while (end - p >= 3) {
		size_t len = p[2] < end - p - 3 ? p[2] : (size_t)(end - p - 3), at;
		struct batch *b = batch_new();
		uint8_t head[12];

		if (b == NULL || batch_entry_begin(b, (enum entry_kind)(p[1] % 3), &at) < 0 || buf_add(&b->bytes, p + 3, len) < 0)
			abort();
		batch_entry_end(b, at);
		batch_seal(b, index, p[0]);
		put_be64(head, index);
		put_be32(head + 8, (uint32_t)b->bytes.len);
		if (buf_add(out, head, sizeof(head)) < 0 || buf_add(out, b->bytes.data, b->bytes.len) < 0)
			abort();
		batch_free(b);
		index++;
		p += 3 + len;
	}
	m->entries = (struct str){ (const char *)out->data, out->len };
}

/* As net.c hands it on: it is from whom it says. */
static void
message(const struct raft_wire *m)
{
	char err[256] = "";

	if (m->from == 0 || m->from == OWN || m->to != OWN)
		return;
	if (engine_message(&w.r, m, CLUSTER, err) < 0 && err[0] == 0)
		abort();
	check(&w.r.engine.core);
}

static void
wire(const uint8_t *body, size_t len)
{
	struct arena none = ARENA_INIT(0);
	struct buf built = BUF_INIT(BUILT_MAX * 32);
	struct query_options o;
	struct raft_wire m;

	if (op_request_decode(op_info(OP_PEER_RAFT), body, len, &o, &m, &none) == 0) {
		if (m.entries.len > 0 && m.entries.len < BUILT_MAX && m.entries.p[0] == 'B' && m.first < RAFT_NUMBER_MAX)
			build_entries(&m, &built);
		message(&m);
	}
	buf_release(&built);
}

static void
local(uint32_t what, uint32_t much)
{
	struct raft_event ev = { .now_ms = w.now, .peer = 2 + much % 3, .count = 1 + much % 5, .consistent = much % 2 != 0 };

	switch ((enum local)(what % LOCALS)) {
	case TIME:
		w.now += much % WAIT_MAX_MS;
		ev = (struct raft_event){ .type = RAFT_TIMER, .now_ms = w.now };
		break;
	case READ:
		ev.type = RAFT_READ;
		break;
	case PEER_UP:
		ev.type = RAFT_PEER_UP;
		break;
	case PEER_DOWN:
		ev.type = RAFT_PEER_DOWN;
		break;
	case LEADER_LOST:
		ev.type = RAFT_LEADER_LOST;
		break;
	case PROPOSE:
		ev.type = RAFT_PROPOSE;
		break;
	case TRANSFER:
		ev.type = RAFT_TRANSFER;
		break;
	default:
		w.slow = !w.slow;
		if (!w.slow)
			simple(RAFT_PERSISTED, w.r.engine.core.trail.last);
		return;
	}
	engine_step(&w.r, &ev);
}

/* A server with a log of two terms, or an empty one that is about to be added. */
static void
begin(bool empty)
{
	static const struct raft_run runs[] = { { 1, 1 }, { 3, 2 } };
	const struct raft_config c = { .id = OWN, .election_ms = 1000, .heartbeat_ms = 100, .lease_ms = 100,
		.inflight_bytes = INFLIGHT_BYTES, .seed = 42 };
	const struct raft_start s = { .term = 2, .last = 4, .runs = runs, .nruns = ARRAY_LEN(runs), .configs = &three, .nconfigs = 1 };
	const struct raft_start nothing = { .term = 0 };

	memset(&w, 0, sizeof(w));
	w.r.id = OWN;
	w.r.server = true;
	w.now = 1000;
	if (raft_init(&w.r.engine.core, &c, empty ? &nothing : &s, w.now) < 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;

	if (size == 0)
		return 0;
	begin(data[0] % 2 != 0);
	data++;
	size--;
	while (size >= FRAME_HEADER) {
		frame_decode(data, &f);
		data += FRAME_HEADER;
		size -= FRAME_HEADER;
		if (f.kind != FRAME_POST) {
			local(f.op, f.id);
			continue;
		}
		if (f.len > size)
			f.len = (uint32_t)size;
		wire(data, f.len);
		data += f.len;
		size -= f.len;
	}
	raft_release(&w.r.engine.core);
	free(w.r.engine.runs);
	free(w.r.engine.found);
	return 0;
}
