/*
 * restore.c - a snapshot of the API becomes the state.
 *
 * A child checks the archive to its last byte and writes what it holds as
 * records of the image; only then the log hears of it: BEGIN, the records in
 * parts, END. So the restore is replicated, ordered and atomic as every
 * other write, and what cannot be restored whole leaves the old state alone.
 */
#include "raftd/snapshot.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "raftd/snapfile.h"

#define SUB "agent.server.snapshot"

enum { RECORD_HEAD = 9, SPACE_LOOK = 16 * 1024 * 1024, PART_MAX = 1023 * 1024 * 1024 };

/* What the child tells beside its result; in memory that both see. */
struct converted {
	uint64_t index, records;
};

struct restore {
	struct raftd *r;
	struct snap_file *file;
	struct rpc_token token;
	struct child *child;
	struct converted *converted;
	int out;			/* the records: a snapfile */
	struct snapfile_reader *in;
	uint64_t since_look, written;	/* in the child: bytes */
	struct snapfile_writer *writer;	/* in the child */
	uint8_t id[16];
	bool begun, ended, pending;	/* pending: a record was read that did not fit */
	unsigned table;
	struct str key, value;		/* that record */
	uint64_t parts, end_index;
	struct buf part, request;
	struct { uint64_t index, bytes; } flight[RESTORE_PARTS];	/* a ring: proposed and not yet applied */
	size_t first, n;
	uint64_t flight_bytes;
};

/* ---- how it ends */

static void
restore_free(struct restore *x)
{
	struct raftd *r = x->r;

	r->snapshot->restore = NULL;
	(void)uv_timer_stop(&r->snapshot->pump);
	if (x->child != NULL)
		child_kill(x->child);
	snapfile_free(x->in);
	if (x->out >= 0)
		(void)close(x->out);
	if (x->converted != NULL)
		(void)munmap(x->converted, sizeof(*x->converted));
	x->file->restoring = false;
	snap_file_drop(x->file);
	buf_release(&x->part);
	buf_release(&x->request);
	free(x);
}

static int
propose(struct raftd *r, const struct fsm_restore *part, struct buf *b, const struct waiter *w)
{
	static const char no_options[] = "\x80";
	struct fsm_entry e = { .kind = FSM_ENTRY_RESTORE, .time = engine_now(r), .options = { no_options, 1 } };
	struct mp_w out = mp_w_init(b);

	buf_clear(b);
	record_encode(&rec_fsm_restore, part, RECORD_WHOLE, &out);
	if (out.err < 0)
		return out.err;
	e.request = (struct str){ (const char *)b->data, b->len };
	return engine_propose(r, &e, w);
}

void
restore_drop_owed(struct raftd *r)
{
	static const char nobody[16];
	const struct fsm_restore drop = { .part = FSM_RESTORE_DROP, .id = { nobody, sizeof(nobody) } };
	struct buf b = BUF_INIT(4 * KiB);

	if (!r->snapshot->owe_drop)
		return;
	if (propose(r, &drop, &b, NULL) == 0)
		r->snapshot->owe_drop = false;
	buf_release(&b);
}

static void fail(struct restore *x, const char *fmt, ...) PRINTF(2, 3);

/* The old state stays. */
static void
fail(struct restore *x, const char *fmt, ...)
{
	struct raftd *r = x->r;
	char text[CHILD_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_err(SUB, "a snapshot was not restored: %s", text);
	rpc_reply_error(r->d->rpc, x->token, 500, "%s", text);
	if (x->begun && engine_leads(r)) {
		r->snapshot->owe_drop = true;
		restore_drop_owed(r);
		snap_tidy_start(r);
	}
	restore_free(x);
	hold_wake_leader(r);
}

void
restore_abandon(struct raftd *r)
{
	struct restore *x = r->snapshot->restore;

	if (x == NULL)
		return;
	/* Once END is proposed its waiter is answered by who fails all waiters. */
	if (!x->ended)
		rpc_reply_error(r->d->rpc, x->token, 500, "cluster leadership was lost: the snapshot was not restored, and nothing was changed");
	restore_free(x);
}

bool
restore_begun(const struct restore *x)
{
	return x->begun;
}

/* ---- in the child */

static int
on_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct restore *x = ctx;
	uint64_t len = RECORD_HEAD + key.len + value.len;

	x->written += len;
	x->since_look += len;
	if (x->written > snap_bytes_max(x->r))
		return -EFBIG;
	if (x->since_look > SPACE_LOOK) {
		x->since_look = 0;
		if (!snap_room(x->out, 2 * (uint64_t)SPACE_LOOK))
			return -ENOSPC;
	}
	x->converted->records++;
	return snapfile_add(x->writer, table, key, value);
}

static int
convert(void *arg, char err[CHILD_ERROR_MAX])
{
	struct restore *x = arg;
	const struct archive_sink sink = { x, on_record };
	struct snap_meta meta;
	int rc, end;

	x->writer = snapfile_write(x->out, 0, 0);
	if (x->writer == NULL) {
		(void)snprintf(err, CHILD_ERROR_MAX, "no memory to restore the snapshot");
		return -ENOMEM;
	}
	rc = archive_load(x->file->fd, x->r->datacenter, &sink, &meta, err);
	end = snapfile_end(x->writer);
	if (rc == 0 && end < 0)
		(void)snprintf(err, CHILD_ERROR_MAX, "cannot keep what the snapshot holds: %s", err_text(end));
	if (rc == 0)
		x->converted->index = meta.index;
	return rc < 0 ? rc : end;
}

/* ---- through the log */

/* The index that what was proposed last gets. */
static uint64_t
last_proposed(const struct raftd *r)
{
	const struct engine *e = &r->engine;

	return e->core.trail.last + (e->open != NULL ? e->open->n : 0);
}

static void
flight_add(struct restore *x, uint64_t bytes)
{
	size_t i = (x->first + x->n++) % RESTORE_PARTS;

	x->flight[i].index = last_proposed(x->r);
	x->flight[i].bytes = bytes;
	x->flight_bytes += bytes;
}

static int
add_record(struct restore *x)
{
	uint8_t head[RECORD_HEAD];
	int rc;

	head[0] = (uint8_t)x->table;
	put_be32(head + 1, (uint32_t)x->key.len);
	put_be32(head + 5, (uint32_t)x->value.len);
	rc = buf_reserve(&x->part, sizeof(head) + x->key.len + x->value.len);
	if (rc == 0)
		rc = buf_add(&x->part, head, sizeof(head));
	if (rc == 0 && x->key.len > 0)
		rc = buf_add(&x->part, x->key.p, x->key.len);
	if (rc == 0 && x->value.len > 0)
		rc = buf_add(&x->part, x->value.p, x->value.len);
	return rc;
}

/*
 * Fill the next part. 1: there is more behind it; 0: that was all (and it may
 * be empty); negative with a sentence.
 */
static int
gather(struct restore *x, char err[256])
{
	int rc = 1;

	buf_clear(&x->part);
	if (x->pending) {
		x->pending = false;
		rc = add_record(x);
	}
	while (rc >= 0 && x->part.len < RESTORE_PART) {
		rc = snapfile_next(x->in, &x->table, &x->key, &x->value, err);
		if (rc <= 0)
			return rc;
		if (x->part.len > 0 && x->part.len + RECORD_HEAD + x->key.len + x->value.len > RESTORE_PART) {
			x->pending = true;
			return 1;
		}
		rc = add_record(x);
	}
	if (rc < 0)
		(void)snprintf(err, 256, "cannot restore the snapshot: %s", err_text(rc));
	return rc < 0 ? rc : 1;
}

static int
propose_end(struct restore *x)
{
	const struct fsm_restore end = { .part = FSM_RESTORE_END, .id = { (const char *)x->id, sizeof(x->id) }, .number = x->parts };
	const struct waiter w = { .token = x->token, .at_ns = clock_ns(), .op = OP_SNAPSHOT_RESTORE };
	int rc = propose(x->r, &end, &x->request, &w);

	if (rc == 0) {
		x->ended = true;
		x->end_index = last_proposed(x->r);
	}
	return rc;
}

static int
propose_part(struct restore *x)
{
	const struct fsm_restore data = { .part = FSM_RESTORE_DATA, .id = { (const char *)x->id, sizeof(x->id) },
		.number = x->parts + 1, .records = { (const char *)x->part.data, x->part.len } };
	int rc = propose(x->r, &data, &x->request, NULL);

	if (rc == 0) {
		x->parts++;
		flight_add(x, x->request.len);
	}
	return rc;
}

static bool
room(const struct restore *x)
{
	return x->n < RESTORE_PARTS && x->flight_bytes < RESTORE_FLIGHT;
}

static void
pump_soon(struct restore *x)
{
	uv_timer_t *t = &x->r->snapshot->pump;

	if (x->in != NULL && !x->ended && room(x) && !uv_is_active((uv_handle_t *)t))
		(void)uv_timer_start(t, t->timer_cb, 0, 0);
}

void
restore_pump(struct raftd *r)
{
	struct restore *x = r->snapshot->restore;
	char err[256] = "";
	int more, rc = 0;

	if (x->in == NULL || x->ended || !room(x))
		return;
	more = gather(x, err);
	if (more < 0) {
		fail(x, "%s", err);
		return;
	}
	/* Not to the last byte: what is on its way, and the end that gives room back, must find theirs. */
	if (r->engine.store != NULL && !snap_room(x->out, SPACE_LOOK))
		rc = -ENOSPC;
	if (rc == 0 && x->part.len > 0)
		rc = propose_part(x);
	if (rc == 0 && more == 0)
		rc = propose_end(x);
	if (rc == -ENOSPC)
		fail(x, "The server's disk is full: the snapshot was not restored, and nothing was changed");
	else if (rc < 0)
		fail(x, "the log does not take the snapshot (%s): it was not restored, and nothing was changed", err_text(rc));
	else
		pump_soon(x);
}

void
restore_applied(struct raftd *r)
{
	struct restore *x = r->snapshot->restore;
	uint64_t applied = r->engine.core.applied;

	while (x->n > 0 && x->flight[x->first].index <= applied) {
		x->flight_bytes -= x->flight[x->first].bytes;
		x->first = (x->first + 1) % RESTORE_PARTS;
		x->n--;
	}
	if (!x->ended || applied < x->end_index) {
		pump_soon(x);
		return;
	}
	log_info(SUB, "a snapshot has gone through the log: records=%" PRIu64 " parts=%" PRIu64 " index=%" PRIu64, x->converted->records, x->parts,
	    fsm_index(r->engine.fsm));
	restore_free(x);
	hold_wake_leader(r);
}

static void
begin(struct restore *x)
{
	struct fsm_restore b = { .part = FSM_RESTORE_BEGIN, .id = { (const char *)x->id, sizeof(x->id) },
		.index = x->converted->index };
	int rc;

	x->in = snapfile_read(x->out);
	if (x->in == NULL) {
		fail(x, "no memory to restore the snapshot");
		return;
	}
	randombytes_buf(x->id, sizeof(x->id));
	rc = propose(x->r, &b, &x->request, NULL);
	if (rc < 0) {
		fail(x, "the log does not take the snapshot (%s): it was not restored, and nothing was changed", err_text(rc));
		return;
	}
	x->begun = true;
	log_info(SUB, "restoring a snapshot: records=%" PRIu64 " index=%" PRIu64, x->converted->records, x->converted->index);
	pump_soon(x);
}

static void
on_converted(void *arg, int rc, const char *err)
{
	struct restore *x = arg;

	x->child = NULL;
	if (rc == -ENOSPC)
		fail(x, "The server's disk has no room for what the snapshot holds");
	else if (rc == -EFBIG)
		fail(x, "the snapshot holds more than any that is taken here");
	else if (rc < 0)
		fail(x, "%s", err);
	else
		begin(x);
}

void
restore_start(struct raftd *r, struct snap_file *f, struct rpc_token t)
{
	struct restore *x;
	int rc;

	if (r->snapshot->restore != NULL) {
		rpc_reply_error(r->d->rpc, t, 500, "another snapshot is being restored: try again when that is done");
		snap_file_drop(f);
		return;
	}
	x = calloc(1, sizeof(*x));
	if (x == NULL) {
		rpc_reply_error(r->d->rpc, t, 500, "no memory to restore the snapshot");
		snap_file_drop(f);
		return;
	}
	r->snapshot->restore = x;
	x->r = r;
	x->file = f;
	x->token = t;
	f->restoring = true;
	buf_init(&x->part, PART_MAX);
	buf_init(&x->request, PART_MAX);
	x->out = child_tmpfile(r);
	x->converted = mmap(NULL, sizeof(*x->converted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (x->converted == MAP_FAILED)
		x->converted = NULL;
	rc = x->out < 0 ? x->out : x->converted == NULL ? -ENOMEM : child_start(r, convert, x, on_converted, x, &x->child);
	if (rc < 0)
		fail(x, "cannot start a process to restore the snapshot: %s", err_text(rc));
}
