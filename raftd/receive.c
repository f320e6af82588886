/*
 * receive.c - what comes from other servers: messages, checked whole before
 * the core sees them, the entries of appends, made batches of our own log, and
 * a state that replaces ours.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/engine.h"

#define SUB "agent.server.raft"

enum { PIECE_HEADER = 12 };

/* Of a cluster, in nanoseconds: 73 years, and room to count on from there. */
static const int64_t time_max = INT64_MAX / 4;

/* One piece of raft_wire.entries, and the rest. */
struct piece {
	uint64_t first;
	struct str batch;
};

static int
next_piece(struct str *in, struct piece *ret)
{
	const uint8_t *p = (const uint8_t *)in->p;
	size_t len;

	if (in->len == 0)
		return 0;
	if (in->len < PIECE_HEADER)
		return -EDECODE;
	len = get_be32(p + 8);
	if (len > in->len - PIECE_HEADER)
		return -EDECODE;
	*ret = (struct piece){ get_be64(p), { in->p + PIECE_HEADER, len } };
	in->p += PIECE_HEADER + len;
	in->len -= PIECE_HEADER + len;
	return 1;
}

static int
add_run(struct engine *e, size_t *n, uint64_t first, uint64_t term)
{
	if (*n == e->runs_cap) {
		size_t cap = e->runs_cap != 0 ? e->runs_cap * 2 : 16;
		struct raft_run *v = realloc(e->runs, cap * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		e->runs = v;
		e->runs_cap = cap;
	}
	e->runs[(*n)++] = (struct raft_run){ first, term };
	return 0;
}

int
receive_config(struct raftd *r, uint64_t index, struct str bytes, char ret_err[256])
{
	struct engine *e = &r->engine;
	int rc;

	if (e->nfound == e->found_cap) {
		size_t cap = e->found_cap != 0 ? e->found_cap * 2 : 2;
		struct raft_servers *v = realloc(e->found, cap * sizeof(*v));

		if (v == NULL) {
			(void)snprintf(ret_err, 256, "no memory for a configuration");
			return -ENOMEM;
		}
		e->found = v;
		e->found_cap = cap;
	}
	rc = servers_core(index, bytes, &e->found[e->nfound], ret_err);
	if (rc == 0)
		e->nfound++;
	return rc;
}

static int
wrong(char *err, const char *what)
{
	(void)snprintf(err, 256, "an append that %s", what);
	return -EDECODE;
}

/* The entries of one piece, which must begin at *next. */
static int
check_piece(struct raftd *r, const struct piece *p, uint64_t *next, struct raft_run *last, size_t *nruns, char *err)
{
	struct batch_cursor c;
	struct batch_entry entry;
	int rc = batch_read(p->batch, p->first, &c);

	if (rc < 0 || p->first != *next)
		return wrong(err, "leaves out entries");
	if (c.term < last->term)
		return wrong(err, "goes back to an earlier term");
	if (c.term != last->term) {
		*last = (struct raft_run){ c.index, c.term };
		if (add_run(&r->engine, nruns, c.index, c.term) < 0)
			return wrong(err, "is too large for this server's memory");
	}
	while ((rc = batch_next(&c, true, &entry)) > 0) {
		if (entry.kind != ENTRY_STATE && entry.kind != ENTRY_SERVERS)
			return wrong(err, "holds an entry of an unknown kind");
		if (entry.kind == ENTRY_SERVERS) {
			rc = receive_config(r, entry.index, entry.data, err);
			if (rc < 0)
				return rc;
		}
	}
	*next = c.index;
	return rc < 0 ? wrong(err, "is damaged: the checksum of an entry is wrong") : 0;
}

/* Sets runs and configs of ev. -EDECODE with a sentence. */
static int
check_entries(struct raftd *r, const struct raft_wire *w, struct raft_event *ev, char ret_err[256])
{
	struct engine *e = &r->engine;
	struct str in = w->entries;
	uint64_t next = w->first;
	struct raft_run last = { 0, 0 };
	struct piece p;
	int rc;

	e->nfound = 0;
	ev->nruns = 0;
	if (w->first == 0 || w->first > RAFT_NUMBER_MAX || w->last > RAFT_NUMBER_MAX)
		return wrong(ret_err, "has no place in the log");
	while ((rc = next_piece(&in, &p)) > 0) {
		rc = check_piece(r, &p, &next, &last, &ev->nruns, ret_err);
		if (rc < 0)
			return rc;
	}
	if (rc < 0 || next != w->last + 1)
		return wrong(ret_err, "does not hold what it says");
	if (last.term > w->term)
		return wrong(ret_err, "is of an earlier term than its entries");
	ev->runs = e->runs;
	ev->configs = e->found;
	ev->nconfigs = e->nfound;
	return 0;
}

/* ---- batches of our own */

/* The bytes of the entries from..to (which it holds) of a piece. */
static struct str
cut(const struct piece *p, uint64_t from, uint64_t to)
{
	struct batch_cursor c;
	struct batch_entry entry;
	const uint8_t *begin = NULL;

	if (batch_read(p->batch, p->first, &c) < 0)
		return STR_NONE;
	while (c.index < from && batch_next(&c, false, &entry) > 0)
		;
	begin = c.p;
	while (c.index <= to && batch_next(&c, false, &entry) > 0)
		;
	return (struct str){ (const char *)begin, (size_t)(c.p - begin) };
}

static uint64_t
count_entries(const struct piece *p)
{
	struct batch_cursor c;
	struct batch_entry entry;

	if (batch_read(p->batch, p->first, &c) < 0)
		return 0;
	while (batch_next(&c, false, &entry) > 0)
		;
	return c.index - p->first;
}

/* Their checksums cover index and term: they are taken over as they are. */
static void
add_bytes(struct batch *b, const struct piece *p, uint64_t from, uint64_t to)
{
	struct str bytes = cut(p, from, to);
	int rc = 0;

	if (b->n == 0) {
		b->first = from;
		b->term = get_be64((const uint8_t *)p->batch.p);
		rc = buf_add(&b->bytes, p->batch.p, BATCH_HEADER);
	}
	if (rc == 0)
		rc = buf_add(&b->bytes, bytes.p, bytes.len);
	if (rc < 0)
		log_fatal(SUB, "no memory for log entries: index=%" PRIu64 " bytes=%zu", from, bytes.len);
	b->n += (uint32_t)(to - from + 1);
}

void
receive_entries(struct raftd *r, const struct raft_wire *w, uint64_t first, uint64_t n, void (*add)(struct raftd *r, struct batch *b))
{
	struct str in = w->entries;
	struct batch *b = NULL;
	struct piece p;

	while (n > 0 && next_piece(&in, &p) > 0) {
		uint64_t end = p.first + count_entries(&p), to = end < first + n ? end : first + n;

		if (end <= first)
			continue;
		if (b != NULL && (b->term != get_be64((const uint8_t *)p.batch.p) ||
		    b->bytes.len + p.batch.len > BATCH_BYTES_FULL)) {
			add(r, b);
			b = NULL;
		}
		if (b == NULL)
			b = engine_batch(&r->engine);
		add_bytes(b, &p, first, to - 1);
		n -= to - first;
		first = to;
	}
	if (b != NULL)
		add(r, b);
}

/* ---- a state from another server */

void
engine_replaced(struct raftd *r, struct fsm *fsm, const struct raft_snapshot *s)
{
	const struct watch_key all = { .kind = WATCH_ALL };
	struct raft_servers servers = { .index = 0 };
	struct raft_event ev = { .type = RAFT_INSTALLED, .now_ms = clock_ms(), .snapshot = *s, .config = &servers };
	struct engine *e = &r->engine;
	uint64_t index;
	struct str bytes = fsm_servers(fsm, &index);
	char err[256];

	/* Also those behind it: the log is empty there from now on. */
	waiters_cut(r, 0);
	entries_truncate(&e->entries, 0);
	e->flight_bytes = 0;
	fsm_free(e->fsm);
	e->fsm = fsm;
	if (fsm_time(fsm) > e->time_last)
		e->time_last = fsm_time(fsm);
	e->image_sent = s->index;
	e->stage_lost = false;
	configs_truncate(e->configs, 0);
	/* Checked before the state was taken. */
	if (configs_add(e->configs, index, bytes, err) < 0 || servers_core(index, bytes, &servers, err) < 0)
		log_fatal(SUB, "cannot take the configuration of a snapshot: %s", err);
	watch_touched(r, &all);
	engine_step(r, &ev);
	engine_config_changed(r);
}

/* ---- messages */

static void
message_of(const struct raft_wire *w, struct raft_message *ret)
{
	*ret = (struct raft_message){ .type = (enum raft_message_type)w->type, .from = w->from, .to = w->to, .term = w->term,
		.prev_index = w->prev_index, .prev_term = w->prev_term, .transfer = w->transfer, .ok = w->ok,
		.first = w->first, .last = w->last, .commit = w->commit, .round = w->round, .sent_ms = w->sent_ms,
		.match = w->match, .hint_index = w->hint_index, .hint_term = w->hint_term,
		.snapshot = { w->snap_id, w->snap_index, w->snap_term, w->snap_size }, .offset = w->offset,
		.bytes = w->data.len, .read = w->read, .read_index = w->read_index, .consistent = w->consistent };
}

int
engine_message(struct raftd *r, const struct raft_wire *w, uint64_t cluster, char ret_err[256])
{
	struct engine *e = &r->engine;
	struct raft_message m;
	struct raft_event ev = { .type = RAFT_MESSAGE, .now_ms = clock_ms(), .message = &m };
	const struct source src = { .cluster = cluster, .wire = w };
	struct raft_effects fx;
	bool led = e->core.role == RAFT_LEADER;
	uint64_t own = 0;
	int rc = r->cluster[0] != 0 ? servers_parse_id(str_from(r->cluster), &own) : 0;

	if (e->stopping)
		return 0;
	if (cluster == 0 || (own != 0 && own != cluster)) {
		(void)snprintf(ret_err, 256, "a message of the core from a server of %s", cluster == 0 ? "no cluster" : "another cluster");
		return -EDECODE;
	}
	if (w->type == 0 || w->type >= RAFT_MSG_TYPES || w->to != r->id || w->data.len > CHUNK_BYTES) {
		(void)snprintf(ret_err, 256, "a message that is not for this server, or of no known kind");
		return -EDECODE;
	}
	if (w->time < 0 || w->time > time_max) {
		(void)snprintf(ret_err, 256, "a message with a time that cannot be: %" PRId64, w->time);
		return -EDECODE;
	}
	message_of(w, &m);
	if (m.type == RAFT_MSG_APPEND && w->entries.len > 0)
		rc = check_entries(r, w, &ev, ret_err);
	else if (m.type == RAFT_MSG_APPEND && m.last >= m.first)
		rc = -EINVAL;
	if (rc == 0)
		rc = raft_step(&e->core, &ev, &fx);
	if (rc == -EINVAL) {
		(void)snprintf(ret_err, 256, "a message that contradicts itself: type=%s", raft_message_name(m.type));
		return -EDECODE;
	}
	if (rc == -EDECODE)
		return rc;
	if (rc < 0) {
		log_warn(SUB, "a message is left out: type=%s error=\"%s\"", raft_message_name(m.type), err_text(rc));
		return 0;
	}
	if (m.type == RAFT_MSG_APPEND && e->core.leader == m.from && e->core.term == m.term) {
		e->time_heard = w->time > e->time_heard ? w->time : e->time_heard;
		e->commit_heard = w->commit;
	}
	count_message(&e->core, &m, ev.now_ms);
	engine_act(r, &fx, &src, led);
	if (fx.chunk)
		install_chunk(r, &m, w->data);
	return 0;
}

void
engine_peer(struct raftd *r, uint64_t id, bool up)
{
	const struct raft_event ev = { .type = up ? RAFT_PEER_UP : RAFT_PEER_DOWN, .now_ms = clock_ms(), .peer = id };

	if (!r->engine.stopping)
		engine_step(r, &ev);
}

void
engine_peer_lost(struct raftd *r, uint64_t id)
{
	const struct raft_event ev = { .type = RAFT_LEADER_LOST, .now_ms = clock_ms(), .peer = id };

	if (!r->engine.stopping)
		engine_step(r, &ev);
}
