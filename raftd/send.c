/*
 * send.c - the core's messages on their way out: entries are cut out of the
 * log in memory, or read from disk for a server that is further behind.
 *
 * A step may come from within a step (an append that was sent is told to the
 * core at once), and a step's messages last until the next one: they are
 * copied into a box, which the outermost call empties.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/raftd.h"

#define SUB "agent.server.raft"

enum {
	PIECES_MAX = 1024,
	READ_BYTES = 4 * APPEND_BYTES,
	BACKED_UP_MS = 100,		/* an append waits so long for its connection to take it, */
	BACKED_UP_LOOK_MS = 2,		/* which is looked at so often */
};

/* Entries on their way into an append. */
struct slice {
	struct net_piece *v;
	size_t n, bytes;
	uint64_t next;		/* the first entry that is not in it */
};

static struct raft_wire
wire_of(struct raftd *r, const struct raft_message *m)
{
	return (struct raft_wire){ .type = (uint64_t)m->type, .from = r->id, .to = m->to, .term = m->term,
		.prev_index = m->prev_index, .prev_term = m->prev_term, .transfer = m->transfer, .ok = m->ok,
		.first = m->first, .last = m->last, .commit = m->commit, .round = m->round, .sent_ms = m->sent_ms,
		.match = m->match, .hint_index = m->hint_index, .hint_term = m->hint_term, .snap_id = m->snapshot.id,
		.snap_index = m->snapshot.index, .snap_term = m->snapshot.term, .snap_size = m->snapshot.size,
		.offset = m->offset, .read = m->read, .read_index = m->read_index, .consistent = m->consistent,
		.time = m->type == RAFT_MSG_APPEND ? engine_now(r) : 0 };
}

/* ---- entries into pieces */

static void
add_piece(struct slice *s, uint64_t first, const uint8_t *p, size_t len)
{
	s->v[s->n++] = (struct net_piece){ first, { (const char *)p, len } };
	s->bytes += len;
}

/* A part of a batch, from s->next on: as many entries as go, at least one when it is the first piece. */
static void
add_part(struct raftd *r, struct slice *s, const struct batch *b, uint64_t last)
{
	const uint8_t *data = b->bytes.data;
	size_t at = BATCH_HEADER, from;
	uint64_t i = b->first, first = s->next;
	struct buf *part = &r->engine.part;

	for (; i < first; i++)
		at += BATCH_ENTRY_HEADER + get_be32(data + at + 4);
	from = at;
	for (; i <= last && i <= batch_last(b); i++) {
		size_t len = BATCH_ENTRY_HEADER + get_be32(data + at + 4);

		if (s->bytes + BATCH_HEADER + (at - from) + len > APPEND_BYTES && (s->n > 0 || i > first))
			break;
		at += len;
	}
	if (i == first)
		return;
	if (first == b->first) {
		add_piece(s, first, data, at);
	} else {
		buf_shrink(part, 2 * APPEND_BYTES);
		if (buf_add(part, data, BATCH_HEADER) < 0 || buf_add(part, data + from, at - from) < 0)
			return;
		add_piece(s, first, part->data, part->len);
	}
	s->next = i;
}

/* False: nothing more goes in. */
static bool
slice_add(struct raftd *r, struct slice *s, const struct batch *b, uint64_t last)
{
	if (s->n == PIECES_MAX || s->next > last)
		return false;
	if (s->next == b->first && batch_last(b) <= last && s->bytes + b->bytes.len <= APPEND_BYTES) {
		add_piece(s, b->first, b->bytes.data, b->bytes.len);
		s->next += b->n;
		return true;
	}
	add_part(r, s, b, last);
	return s->next > batch_last(b);
}

/* ---- one server's appends */

static struct feed *
feed_of(struct engine *e, uint64_t id)
{
	struct feed *f;

	for (size_t i = 0; i < e->nfeeds; i++)
		if (e->feeds[i].id == id)
			return &e->feeds[i];
	/* A server that has left gives its place: one that is no longer in the configuration is sent nothing. */
	for (size_t i = 0; i < e->nfeeds; i++)
		if (raft_progress(&e->core, e->feeds[i].id) == NULL && e->feeds[i].reading == 0 &&
		    e->feeds[i].held_until == 0 && e->feeds[i].list == NULL) {
			e->feeds[i].id = id;
			return &e->feeds[i];
		}
	if (e->nfeeds == RAFT_SERVERS_MAX)
		return NULL;
	f = &e->feeds[e->nfeeds++];
	*f = (struct feed){ .id = id };
	return f;
}

static void
free_list(struct batch **list)
{
	struct batch *b;

	while ((b = *list) != NULL) {
		*list = b->next;
		batch_free(b);
	}
}

void
send_release(struct raftd *r)
{
	struct engine *e = &r->engine;

	for (size_t i = 0; i < e->nfeeds; i++)
		free_list(&e->feeds[i].list);
	free(e->box);
	free(e->pieces);
	buf_release(&e->part);
}

static void
tell_sent(struct raftd *r, const struct raft_message *m, uint64_t upto, uint64_t bytes)
{
	const struct raft_event ev = { .type = RAFT_SENT, .now_ms = clock_ms(), .peer = m->to, .first = m->first,
		.index = upto, .bytes = bytes };

	engine_step(r, &ev);
}

/* Entries from memory, or what was read; none: they must be read first. */
static void
gather(struct raftd *r, struct feed *f, const struct raft_message *m, struct slice *s)
{
	struct engine *e = &r->engine;
	const struct batch *b;
	size_t place;

	if (entries_find(&e->entries, m->first, &place) != NULL) {
		free_list(&f->list);
		while ((b = entries_at(&e->entries, place++)) != NULL && slice_add(r, s, b, m->last))
			;
		return;
	}
	while (f->list != NULL && batch_last(f->list) < m->first) {
		struct batch *old = f->list;

		f->list = old->next;
		batch_free(old);
	}
	if (f->list != NULL && f->list->first > m->first)
		free_list(&f->list);
	for (b = f->list; b != NULL && slice_add(r, s, b, m->last); b = b->next)
		;
}

static void
send_entries(struct raftd *r, struct feed *f, const struct raft_message *m)
{
	struct engine *e = &r->engine;
	struct slice s = { .v = e->pieces, .next = m->first };
	struct raft_wire w = wire_of(r, m);

	gather(r, f, m, &s);
	w.last = s.next - 1;
	if (s.n > 0 && net_send(r, &w, s.v, s.n)) {
		count_sent(s.next - m->first);
		tell_sent(r, m, w.last, s.bytes);
	} else {
		tell_sent(r, m, m->first - 1, 0);
	}
}

static void send_append(struct raftd *r, const struct raft_message *m);

static bool
at_hand(const struct engine *e, const struct feed *f, uint64_t index)
{
	size_t place;

	if (entries_find(&e->entries, index, &place) != NULL)
		return true;
	for (const struct batch *b = f->list; b != NULL; b = b->next)
		if (b->first <= index && index <= batch_last(b))
			return true;
	return false;
}

static void
on_held(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct engine *e = &r->engine;
	uint64_t now = clock_ms();
	bool more = false;

	for (size_t i = 0; i < e->nfeeds; i++) {
		struct feed *f = &e->feeds[i];
		const struct raft_message m = f->m;

		if (f->held_until == 0)
			continue;
		/* Of a leader that we are no more: what stands in our log now was never its own to send. */
		if (e->core.role != RAFT_LEADER || e->core.term != m.term) {
			f->held_until = 0;
			continue;
		}
		if (net_ready(r, f->id)) {
			f->held_until = 0;
			send_append(r, &m);
		} else if (now >= f->held_until) {
			f->held_until = 0;
			tell_sent(r, &m, m.first - 1, 0);
		}
	}
	/* Each of them may have led to another one that is held, in front of it too. */
	for (size_t i = 0; i < e->nfeeds; i++)
		more = more || e->feeds[i].held_until != 0;
	if (!more)
		(void)uv_timer_stop(t);
}

/* What was written in this turn leaves at its end: then there may be room. */
static void
hold(struct raftd *r, struct feed *f, const struct raft_message *m)
{
	uv_timer_t *t = &r->engine.held;

	f->m = *m;
	f->held_until = clock_ms() + BACKED_UP_MS;
	if (!uv_is_active((uv_handle_t *)t))
		(void)uv_timer_start(t, on_held, BACKED_UP_LOOK_MS, BACKED_UP_LOOK_MS);
}

static void
send_append(struct raftd *r, const struct raft_message *m)
{
	struct engine *e = &r->engine;
	struct feed *f = feed_of(e, m->to);

	if (f == NULL || !net_up(r, m->to)) {
		tell_sent(r, m, m->first - 1, 0);
		return;
	}
	f->held_until = 0;
	if (!net_ready(r, m->to)) {
		hold(r, f, m);
		return;
	}
	if (at_hand(e, f, m->first)) {
		send_entries(r, f, m);
		return;
	}
	f->m = *m;
	/* What is being read may be something else, for an append that is no longer wanted: then once more. */
	if (f->reading != 0)
		return;
	free_list(&f->list);
	if (e->store != NULL && store_read(e->store, m->first, READ_BYTES, e->reads + 1) == 0)
		f->reading = ++e->reads;
	else
		tell_sent(r, m, m->first - 1, 0);
}

void
send_read(void *ctx, uint64_t number, struct batch *list)
{
	struct raftd *r = ctx;
	struct engine *e = &r->engine;
	struct raft_message m;
	struct feed *f = NULL;

	for (size_t i = 0; i < e->nfeeds; i++)
		if (e->feeds[i].reading == number)
			f = &e->feeds[i];
	if (f == NULL || e->stopping || e->core.role != RAFT_LEADER || e->core.term != f->m.term ||
	    raft_progress(&e->core, f->id) == NULL) {
		if (f != NULL)
			f->reading = 0;
		free_list(&list);
		return;
	}
	f->reading = 0;
	f->list = list;
	/* The core may write to the feed while it is told. */
	m = f->m;
	if (list == NULL)
		tell_sent(r, &m, m.first - 1, 0);
	else
		send_append(r, &m);
}

/* ---- all messages */

static void
send_one(struct raftd *r, const struct raft_message *m)
{
	struct raft_wire w;

	if (m->type == RAFT_MSG_APPEND && m->last >= m->first) {
		send_append(r, m);
		return;
	}
	if (m->type == RAFT_MSG_SNAPSHOT) {
		install_send(r, m);
		return;
	}
	w = wire_of(r, m);
	/* A message that is lost is one that the core sends again. */
	(void)net_send(r, &w, NULL, 0);
}

void
send_chunk(struct raftd *r, const struct raft_message *m, struct str chunk)
{
	const struct net_piece piece = { 0, chunk };
	struct raft_wire w = wire_of(r, m);

	(void)net_send(r, &w, &piece, 1);
}

static void
box_add(struct engine *e, const struct raft_message *v, size_t n)
{
	if (e->nbox + n > e->box_cap) {
		size_t cap = (e->nbox + n) * 2;
		struct raft_message *box = realloc(e->box, cap * sizeof(*box));

		if (box == NULL)
			log_fatal(SUB, "no memory for messages to other servers");
		e->box = box;
		e->box_cap = cap;
	}
	memcpy(e->box + e->nbox, v, n * sizeof(*v));
	e->nbox += n;
}

void
send_messages(struct raftd *r, const struct raft_effects *fx)
{
	struct engine *e = &r->engine;

	if (fx->nmessages == 0)
		return;
	if (e->pieces == NULL) {
		e->pieces = malloc(PIECES_MAX * sizeof(*e->pieces));
		buf_init(&e->part, BATCH_BYTES_MAX);
		if (e->pieces == NULL)
			log_fatal(SUB, "no memory for messages to other servers");
	}
	box_add(e, fx->messages, fx->nmessages);
	if (e->sending)
		return;
	e->sending = true;
	for (size_t i = 0; i < e->nbox; i++) {
		struct raft_message m = e->box[i];

		send_one(r, &m);
	}
	e->nbox = 0;
	e->sending = false;
}
