/*
 * install.c - a whole state to a server that is too far behind for the log,
 * and from the leader when that server is ours.
 *
 * A child writes the file, libuv's pool moves its chunks, and what arrived is
 * read in slices: the loop's heartbeats go on all the time, and no more of a
 * state than a few chunks is in memory beside it.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/duration.h"
#include "raftd/raftd.h"
#include "raftd/snapfile.h"
#include "raftd/snapshot.h"

#define SUB "agent.server.raft"

enum {
	SLICE_NS = 4000000,		/* of reading what arrived, in one turn */
	SLICE_RECORDS = 64,		/* between two looks at the clock */
	STAGE_WAIT_MS = 5,		/* when the store has enough to do */
	ANEW_MS = 1000,			/* what could not be kept is asked for again after */
	SPACE_LOOK = 16 * 1024 * 1024,	/* bytes written between two looks at the disk's room */
	MOVES_MAX = RAFT_SERVERS_MAX,	/* chunks being read or written */
};

/* Open until the last chunk that is being read or written is done. */
struct file {
	int fd;
	unsigned users;
};

/* A chunk on its way from or to a file. */
struct move {
	uv_fs_t req;
	struct raftd *r;
	struct file *file;
	struct raft_message m;
	size_t len;
	char data[];
};

struct install {
	struct raftd *r;
	struct child *child;
	struct file *made;		/* outgoing: being written by the child, or ready */
	struct raft_snapshot out;	/* id 0: not ready */
	struct file *got;		/* incoming, */
	struct raft_snapshot in;
	bool writing;			/* a chunk of it */
	struct raft_snapshot anew;	/* could not be kept: to be asked for again */
	size_t moves;
	struct snapfile_reader *reader;	/* of what is complete */
	struct fsm *fsm;		/* made from it */
	uv_timer_t *timer;
};

/* ---- files */

static struct file *
file_new(struct raftd *r)
{
	struct file *f = malloc(sizeof(*f));
	int fd = f != NULL ? child_tmpfile(r) : -ENOMEM;

	if (fd < 0) {
		log_warn(SUB, "no file for a snapshot: %s", err_text(fd));
		free(f);
		return NULL;
	}
	*f = (struct file){ fd, 1 };
	return f;
}

static void
file_put(struct file *f)
{
	if (f == NULL || --f->users > 0)
		return;
	(void)close(f->fd);
	free(f);
}

static struct move *
move_new(struct install *in, struct file *f, const struct raft_message *m, size_t len)
{
	struct move *mv = in->moves < MOVES_MAX ? malloc(sizeof(*mv) + len) : NULL;

	if (mv == NULL)
		return NULL;
	mv->r = in->r;
	mv->file = f;
	mv->m = *m;
	mv->len = len;
	mv->req.data = mv;
	f->users++;
	in->moves++;
	return mv;
}

static void
move_free(struct move *mv)
{
	if (mv->r->install != NULL)
		mv->r->install->moves--;
	file_put(mv->file);
	uv_fs_req_cleanup(&mv->req);
	free(mv);
}

/* ---- making one */

/* In the child. */
struct making {
	struct snapfile_writer *w;
	int fd, rc;
	uint64_t since_look;
};

static void
on_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct making *mk = ctx;

	mk->since_look += key.len + value.len;
	if (mk->rc == 0 && mk->since_look > SPACE_LOOK) {
		mk->since_look = 0;
		mk->rc = snap_room(mk->fd, 2 * (uint64_t)SPACE_LOOK) ? 0 : -ENOSPC;
	}
	if (mk->rc == 0)
		mk->rc = snapfile_add(mk->w, table, key, value);
}

static int
dump(void *arg, char err[CHILD_ERROR_MAX])
{
	const struct install *in = arg;
	const struct engine *e = &in->r->engine;
	struct making mk = { .fd = in->made->fd, .since_look = SPACE_LOOK,
		.w = snapfile_write(in->made->fd, e->core.applied, trail_term(&e->core.trail, e->core.applied)) };
	const struct fsm_sink sink = { .ctx = &mk, .changed = on_record };
	int rc, end;

	if (mk.w == NULL) {
		(void)snprintf(err, CHILD_ERROR_MAX, "no memory to write it");
		return -ENOMEM;
	}
	rc = fsm_dump(e->fsm, &sink);
	end = snapfile_end(mk.w);
	rc = rc < 0 ? rc : mk.rc < 0 ? mk.rc : end;
	if (rc < 0)
		(void)snprintf(err, CHILD_ERROR_MAX, "cannot write it: %s", err_text(rc));
	return rc;
}

static void
tell(struct raftd *r, enum raft_event_type type, const struct raft_snapshot *s, uint64_t index)
{
	const struct raft_event ev = { .type = type, .now_ms = clock_ms(), .snapshot = *s, .index = index };

	engine_step(r, &ev);
}

uint64_t
install_keep(const struct raftd *r)
{
	const struct install *in = r->install;

	return in->made != NULL ? in->out.index : UINT64_MAX;
}

static void
on_made(void *arg, int rc, const char *err)
{
	struct install *in = arg;
	struct raftd *r = in->r;
	struct stat st;

	in->child = NULL;
	if (rc == 0 && fstat(in->made->fd, &st) < 0)
		rc = -errno;
	if (rc < 0) {
		log_warn(SUB, "failed to make a snapshot for another server: error=\"%s\"", err);
		install_unneeded(r);
		if (r->engine.core.role == RAFT_LEADER)
			tell(r, RAFT_SNAPSHOT_FAILED, &in->out, 0);
		return;
	}
	randombytes_buf(&in->out.id, sizeof(in->out.id));
	in->out.id |= 1;
	in->out.size = (uint64_t)st.st_size;
	log_info(SUB, "snapshot for another server is ready: index=%" PRIu64 " bytes=%" PRIu64, in->out.index, in->out.size);
	tell(r, RAFT_SNAPSHOT_READY, &in->out, 0);
}

void
install_make(struct raftd *r)
{
	struct install *in = r->install;
	const struct raft *core = &r->engine.core;
	int rc = -EAGAIN;

	if (in->child != NULL || r->engine.stopping)
		return;
	install_unneeded(r);
	in->out = (struct raft_snapshot){ .index = core->applied, .term = trail_term(&core->trail, core->applied) };
	/* Between the parts of a restore the state is not all there is to it. */
	if (!fsm_restoring(r->engine.fsm))
		in->made = file_new(r);
	if (in->made != NULL) {
		engine_keep(r);
		rc = child_start(r, dump, in, on_made, in, &in->child);
	}
	if (rc < 0) {
		log_warn(SUB, "cannot make a snapshot for another server now: error=\"%s\"", err_text(rc));
		install_unneeded(r);
		tell(r, RAFT_SNAPSHOT_FAILED, &in->out, 0);
	}
}

void
install_unneeded(struct raftd *r)
{
	struct install *in = r->install;
	bool awaited = in->child != NULL;

	child_kill(in->child);
	in->child = NULL;
	file_put(in->made);
	in->made = NULL;
	in->out.id = 0;
	engine_keep(r);
	/* Else the core would wait for it for ever, and never want another one. */
	if (awaited)
		tell(r, RAFT_SNAPSHOT_FAILED, &in->out, 0);
}

static void
on_read(uv_fs_t *req)
{
	struct move *mv = req->data;
	struct raftd *r = mv->r;
	const struct raft *core = &r->engine.core;

	/* Shorter than it was when it was made: the disk has lost some of it. */
	if (r->install != NULL && core->role == RAFT_LEADER && core->term == mv->m.term && req->result == (ssize_t)mv->len)
		send_chunk(r, &mv->m, (struct str){ mv->data, mv->len });
	else if (req->result != (ssize_t)mv->len)
		log_warn(SUB, "cannot read the snapshot for another server: %s", req->result < 0 ? err_text((int)req->result) : "it is cut off");
	move_free(mv);
}

void
install_send(struct raftd *r, const struct raft_message *m)
{
	struct install *in = r->install;
	uint64_t left = m->snapshot.size - m->offset;
	struct move *mv;
	uv_buf_t b;

	if (in->out.id == 0 || in->out.id != m->snapshot.id || m->offset >= m->snapshot.size || !net_ready(r, m->to))
		return;
	mv = move_new(in, in->made, m, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
	if (mv == NULL)
		return;
	b = uv_buf_init(mv->data, (unsigned)mv->len);
	if (uv_fs_read(&r->d->loop.uv, &mv->req, mv->file->fd, &b, 1, (int64_t)m->offset, on_read) < 0)
		move_free(mv);
}

/* ---- getting one */

static void
on_anew(uv_timer_t *t)
{
	const struct install *in = t->data;

	tell(in->r, RAFT_CHUNK, &in->anew, 0);
}

/* Not at once: what fills the disk would do so again and again. */
static void
begin_anew(struct raftd *r, const struct raft_snapshot *s, const char *why)
{
	struct install *in = r->install;

	log_warn(SUB, "cannot keep the snapshot that the leader sends: error=\"%s\"", why);
	file_put(in->got);
	in->got = NULL;
	in->in.id = 0;
	in->anew = *s;
	(void)uv_timer_start(in->timer, on_anew, ANEW_MS, 0);
}

static void
on_written(uv_fs_t *req)
{
	struct move *mv = req->data;
	struct raftd *r = mv->r;
	struct install *in = r->install;
	const struct raft_snapshot s = mv->m.snapshot;
	uint64_t end = mv->m.offset + mv->len;
	bool ours = in != NULL && in->got == mv->file;
	ssize_t n = req->result;
	bool whole = n == (ssize_t)mv->len;

	move_free(mv);
	if (!ours)
		return;
	in->writing = false;
	if (whole)
		tell(r, RAFT_CHUNK, &s, end);
	else
		begin_anew(r, &s, n < 0 ? err_text((int)n) : "no room");
}

void
install_chunk(struct raftd *r, const struct raft_message *m, struct str data)
{
	struct install *in = r->install;
	struct move *mv;
	uv_buf_t b;
	int rc;

	if (in->in.id != m->snapshot.id || in->got == NULL) {
		file_put(in->got);
		in->writing = false;
		in->in = m->snapshot;
		in->got = file_new(r);
		log_info(SUB, "the leader sends a snapshot: index=%" PRIu64 " bytes=%" PRIu64, m->snapshot.index, m->snapshot.size);
	}
	/* What is sent again while it is being written needs nothing more. */
	if (in->writing)
		return;
	if (in->got != NULL && !snap_room(in->got->fd, m->snapshot.size - m->offset)) {
		begin_anew(r, &m->snapshot, "the disk has no room for it");
		return;
	}
	mv = in->got != NULL ? move_new(in, in->got, m, data.len) : NULL;
	if (mv == NULL) {
		begin_anew(r, &m->snapshot, "no file or no memory");
		return;
	}
	memcpy(mv->data, data.p, data.len);
	b = uv_buf_init(mv->data, (unsigned)mv->len);
	in->writing = true;
	rc = uv_fs_write(&r->d->loop.uv, &mv->req, mv->file->fd, &b, 1, (int64_t)m->offset, on_written);
	if (rc < 0) {
		in->writing = false;
		move_free(mv);
		begin_anew(r, &m->snapshot, err_text(rc));
	}
}

/* ---- reading what arrived into a state */

static void
end_load(struct install *in)
{
	(void)uv_timer_stop(in->timer);
	snapfile_free(in->reader);
	in->reader = NULL;
	file_put(in->got);
	in->got = NULL;
	in->r->engine.installing = false;
}

/* The old state stays. */
static void
load_failed(struct install *in, const char *why)
{
	struct raftd *r = in->r;
	const struct raft_snapshot s = in->in;

	log_warn(SUB, "the snapshot of the leader is refused: index=%" PRIu64 " error=\"%s\"", s.index, why);
	if (r->engine.store != NULL)
		store_stage_drop(r->engine.store);
	fsm_free(in->fsm);
	in->fsm = NULL;
	in->in.id = 0;
	end_load(in);
	tell(r, RAFT_INSTALL_FAILED, &s, 0);
}

static void
installed(struct install *in)
{
	struct raftd *r = in->r;
	const struct raft_snapshot s = in->in;
	struct fsm *fsm = in->fsm;

	in->fsm = NULL;
	in->in.id = 0;
	end_load(in);
	log_info(SUB, "Installed remote snapshot: index=%" PRIu64 " bytes=%" PRIu64, s.index, s.size);
	engine_replaced(r, fsm, &s);
}

void
install_staged(void *ctx, uint64_t applied)
{
	struct install *in = ((struct raftd *)ctx)->install;

	/* A restore through the log is told here, too. */
	if (in->fsm != NULL && in->reader == NULL && in->in.index == applied)
		installed(in);
}

/* All records were read: do they make the state that was promised? */
static int
check(struct install *in, char err[256])
{
	struct raft_servers servers;
	uint64_t index;
	struct str bytes;
	int rc = fsm_loaded(in->fsm);

	if (rc < 0) {
		(void)snprintf(err, 256, "its records do not fit together: %s", err_text(rc));
		return rc;
	}
	bytes = fsm_servers(in->fsm, &index);
	if (snapfile_index(in->reader) != in->in.index || snapfile_term(in->reader) != in->in.term ||
	    fsm_applied(in->fsm) != in->in.index || index > in->in.index) {
		(void)snprintf(err, 256, "it is not the state that the leader named");
		return -EDECODE;
	}
	return servers_core(index, bytes, &servers, err);
}

static void
finish(struct install *in)
{
	struct store *st = in->r->engine.store;
	char err[256];

	if (check(in, err) < 0) {
		load_failed(in, err);
		return;
	}
	snapfile_free(in->reader);
	in->reader = NULL;
	if (st == NULL)
		installed(in);
	else if (store_stage_commit(st, in->in.index, in->in.term) < 0)
		log_fatal(SUB, "no memory for the image of a snapshot");
}

static int
load_one(struct install *in, unsigned table, struct str key, struct str value, char err[256])
{
	struct store *st = in->r->engine.store;
	int rc = table < FSM_TABLES ? fsm_load(in->fsm, (enum fsm_table)table, key, value) : -EDECODE;

	if (rc == 0 && st != NULL)
		rc = store_stage(st, table, key, value);
	if (rc == 0 && st != NULL && store_changed_bytes(st) >= STORE_IMAGE_CHUNK)
		rc = store_stage_send(st);
	if (rc < 0)
		(void)snprintf(err, 256, "a record cannot be taken: %s", err_text(rc));
	return rc;
}

/* 1: more is to come; 0: that was all. */
static int
load_some(struct install *in, char err[256])
{
	uint64_t until = clock_ns() + SLICE_NS;
	struct str key, value;
	unsigned table;
	int rc = 1;

	for (size_t n = 1; rc > 0; n++) {
		rc = snapfile_next(in->reader, &table, &key, &value, err);
		if (rc > 0 && load_one(in, table, key, value, err) < 0)
			rc = -EDECODE;
		if (n % SLICE_RECORDS == 0 && clock_ns() > until)
			break;
	}
	return rc;
}

static bool
store_behind(struct raftd *r)
{
	struct store_stats st;

	if (r->engine.store == NULL)
		return false;
	store_stats(r->engine.store, &st);
	return st.image_lag_bytes > STORE_LAG_MAX / 2;
}

static void
on_slice(uv_timer_t *t)
{
	struct install *in = t->data;
	char err[256] = "";
	bool wait = store_behind(in->r);
	int rc = wait ? 1 : load_some(in, err);

	if (rc < 0)
		load_failed(in, err);
	else if (rc == 0)
		finish(in);
	else
		(void)uv_timer_start(t, on_slice, wait ? STAGE_WAIT_MS : 0, 0);
}

void
install_load(struct raftd *r, const struct raft_snapshot *s)
{
	const struct fsm_config fc = start_fsm_config(r);
	struct install *in = r->install;

	if (in->got == NULL || in->in.id != s->id || in->reader != NULL) {
		const struct raft_snapshot unknown = *s;

		tell(r, RAFT_INSTALL_FAILED, &unknown, 0);
		return;
	}
	r->engine.installing = true;
	/* What a restore has staged gives way. */
	r->engine.stage_lost = fsm_restoring(r->engine.fsm);
	in->fsm = fsm_new(&fc);
	in->reader = snapfile_read(in->got->fd);
	if (r->engine.store != NULL)
		store_stage_begin(r->engine.store);
	if (in->fsm == NULL || in->reader == NULL) {
		load_failed(in, err_text(-ENOMEM));
		return;
	}
	(void)uv_timer_start(in->timer, on_slice, 0, 0);
}

/* ---- */

int
install_init(struct raftd *r)
{
	struct install *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return -ENOMEM;
	in->timer = malloc(sizeof(*in->timer));
	if (in->timer == NULL) {
		free(in);
		return -ENOMEM;
	}
	in->r = r;
	(void)uv_timer_init(&r->d->loop.uv, in->timer);
	in->timer->data = in;
	r->install = in;
	return 0;
}

static void
timer_closed(uv_handle_t *h)
{
	free(h);
}

void
install_release(struct raftd *r)
{
	struct install *in = r->install;

	if (in == NULL)
		return;
	child_kill(in->child);
	uv_close((uv_handle_t *)in->timer, timer_closed);
	snapfile_free(in->reader);
	fsm_free(in->fsm);
	file_put(in->made);
	file_put(in->got);
	free(in);
	r->install = NULL;
}
