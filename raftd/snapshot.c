/*
 * snapshot.c - snapshots for the API: archives that are made here and read
 * piece by piece, and archives that arrive piece by piece to be restored.
 *
 * Pieces of one archive must all reach the server that has its file: a change
 * of leader ends it, and the next piece is told so.
 */
#include "raftd/snapshot.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define SUB "agent.server.snapshot"

/* ---- files */

static void
file_free(struct snap_file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	free(f);
}

void
snap_file_drop(struct snap_file *f)
{
	struct snapshot *s = f->r->snapshot;

	for (struct snap_file **p = &s->files; *p != NULL; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	if (f->child != NULL)
		child_kill(f->child);
	f->child = NULL;
	f->dead = true;
	if (f->busy == 0)
		file_free(f);
}

static struct snap_file *
file_find(struct raftd *r, enum snap_use use, struct str id)
{
	for (struct snap_file *f = r->snapshot->files; f != NULL; f = f->next)
		if (f->use == use && id.len == sizeof(f->id) && memcmp(f->id, id.p, sizeof(f->id)) == 0)
			return f;
	return NULL;
}

/* -ELIMIT: as many as there may be; -errno. */
static int
file_new(struct raftd *r, enum snap_use use, struct snap_file **ret)
{
	struct snapshot *s = r->snapshot;
	struct snap_file *f;
	unsigned n = 0;

	for (f = s->files; f != NULL; f = f->next)
		n += f->use == use;
	if (n >= SNAPSHOT_FILES_MAX)
		return -ELIMIT;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	f->r = r;
	f->use = use;
	f->touched_ms = clock_ms();
	f->fd = child_tmpfile(r);
	if (f->fd < 0) {
		int rc = f->fd;

		free(f);
		return rc;
	}
	f->next = s->files;
	s->files = f;
	snap_tidy_start(r);
	*ret = f;
	return 0;
}

bool
snap_room(int fd, uint64_t more)
{
	struct statvfs st;

	/* A file in memory is on a filesystem without blocks. */
	if (fstatvfs(fd, &st) < 0 || st.f_blocks == 0)
		return true;
	return (uint64_t)st.f_bavail * st.f_frsize > (uint64_t)STORE_SPACE_MIN + more;
}

uint64_t
snap_bytes_max(const struct raftd *r)
{
	return (uint64_t)(r->dev ? 1 : 8) * 1024 * MiB;
}

static void
on_tidy(uv_timer_t *t)
{
	struct raftd *r = t->data;
	struct snapshot *s = r->snapshot;
	uint64_t now = clock_ms();
	struct snap_file *next;

	restore_drop_owed(r);
	for (struct snap_file *f = s->files; f != NULL; f = next) {
		next = f->next;
		if (f->child != NULL || f->busy > 0 || f->restoring || f->touched_ms + SNAPSHOT_IDLE_MS > now)
			continue;
		log_info(SUB, "a snapshot that nobody asked for any more is forgotten: bytes=%" PRIu64, f->size);
		snap_file_drop(f);
	}
	if (s->files == NULL && !s->owe_drop)
		(void)uv_timer_stop(t);
}

void
snap_tidy_start(struct raftd *r)
{
	uv_timer_t *t = &r->snapshot->tidy;

	if (!uv_is_active((uv_handle_t *)t))
		(void)uv_timer_start(t, on_tidy, SNAPSHOT_TIDY_MS, SNAPSHOT_TIDY_MS);
}

static void
refuse(struct raftd *r, struct rpc_token t, int rc)
{
	if (rc == -ELIMIT)
		rpc_reply_error(r->d->rpc, t, 429, "too many snapshots are under way: try again later");
	else
		rpc_reply_error(r->d->rpc, t, 500, "cannot make a file for the snapshot: %s", err_text(rc));
}

/* ---- saving */

static void
reply_info(struct raftd *r, const struct snap_file *f)
{
	const struct query_meta m = { .index = f->meta.index, .last_contact_ms = (int64_t)engine_last_contact(r),
		.known_leader = engine_known_leader(r) };
	const struct snapshot_info info = { { (const char *)f->id, sizeof(f->id) }, f->meta.index, f->meta.term, f->size };
	struct buf *b = rpc_reply_begin(r->d->rpc, f->token);
	struct mp_w w;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	record_encode(&rec_snapshot_info, &info, RECORD_WHOLE, &w);
	rpc_reply_end(r->d->rpc, f->token, w.err == 0);
}

static void
on_saved(void *arg, int rc, const char *err)
{
	struct snap_file *f = arg;
	struct raftd *r = f->r;
	struct stat st;

	f->child = NULL;
	f->touched_ms = clock_ms();
	if (rc == 0 && fstat(f->fd, &st) < 0) {
		rc = -errno;
		err = err_text(rc);
	}
	if (rc < 0) {
		log_err(SUB, "cannot make a snapshot: %s", err);
		rpc_reply_error(r->d->rpc, f->token, 500, "failed to make a snapshot: %s", err);
		snap_file_drop(f);
		return;
	}
	f->size = (uint64_t)st.st_size;
	log_info(SUB, "snapshot made: index=%" PRIu64 " bytes=%" PRIu64, f->meta.index, f->size);
	reply_info(r, f);
}

/* In the child. */
static int
save(void *arg, char err[CHILD_ERROR_MAX])
{
	struct snap_file *f = arg;
	struct timespec now;

	_Static_assert((int)CHILD_ERROR_MAX >= (int)SNAP_ERROR_MAX, "an error of the archive fits");
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		now = (struct timespec){ 0, 0 };
	return archive_save(f->r->engine.fsm, &f->meta, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, f->fd, err);
}

static void
copy_text(char *to, size_t size, struct str from)
{
	(void)snprintf(to, size, "%.*s", STR_ARG(from));
}

static void
describe(struct raftd *r, struct snap_meta *m)
{
	const struct raft *core = &r->engine.core;
	struct str bytes = fsm_servers(r->engine.fsm, &m->configuration_index);
	struct mp_r in = mp_r_init(bytes.p, bytes.len);
	struct raft_config_entry c = { .servers = { NULL, 0 } };
	const struct raft_server_info *v;

	m->index = fsm_index(r->engine.fsm);
	m->term = trail_term(&core->trail, core->applied);
	m->configuration_index += fsm_index(r->engine.fsm) - fsm_applied(r->engine.fsm);
	/* It is there for people to look at; who restores it keeps his own. */
	if (bytes.len == 0 || record_decode(&rec_raft_config_entry, &in, &c, &r->arena) < 0)
		return;
	v = c.servers.v;
	for (size_t i = 0; i < c.servers.n && m->nservers < ARRAY_LEN(m->servers); i++, m->nservers++) {
		copy_text(m->servers[m->nservers].id, sizeof(m->servers[0].id), v[i].node_id);
		copy_text(m->servers[m->nservers].address, sizeof(m->servers[0].address), v[i].address);
		m->servers[m->nservers].voter = v[i].voter;
	}
}

static void
save_start(struct raftd *r, struct rpc_token t)
{
	struct snap_file *f;
	struct fsm_stats st;
	int rc = file_new(r, SNAP_SAVED, &f);

	if (rc < 0) {
		refuse(r, t, rc);
		return;
	}
	fsm_stats(r->engine.fsm, &st);
	if (!snap_room(f->fd, st.kv_bytes)) {
		rpc_reply_error(r->d->rpc, t, 500, "The server's disk has no room for a snapshot");
		snap_file_drop(f);
		return;
	}
	randombytes_buf(f->id, sizeof(f->id));
	f->token = t;
	describe(r, &f->meta);
	rc = child_start(r, save, f, on_saved, f, &f->child);
	if (rc < 0) {
		rpc_reply_error(r->d->rpc, t, 500, "cannot start a process for the snapshot: %s", err_text(rc));
		snap_file_drop(f);
	}
}

/* A snapshot holds everything, tokens too. */
static bool
may_do(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	return acl_require(r, req, o->token, ACL_ACL, STR(""), ACL_WRITE);
}

/*
 * A server may take itself for the leader while there is a later one: unless
 * the lease holds, a majority must say that there is none.
 */
static void
handle_save(struct raftd *r, const struct rpc_request *req, const struct query_options *o)
{
	bool consistent = o->consistency == CONSISTENCY_CONSISTENT;

	if (o->consistency != CONSISTENCY_STALE && !engine_leads(r)) {
		forward_leader(r, req);
		return;
	}
	if (!may_do(r, req, o))
		return;
	if (o->consistency == CONSISTENCY_STALE) {
		save_start(r, req->token);
		return;
	}
	if (!consistent && raft_lease_valid(&r->engine.core, clock_ms())) {
		save_start(r, req->token);
		return;
	}
	/* Like a read (reads.c): held first, since a barrier may hold at once. */
	hold_add(r, req, r->engine.core.read_seq + 1, consistent);
	loop_defer(&r->d->loop, DEFER_WORK, &r->barrier[consistent]);
}

void
snapshot_confirmed(struct raftd *r, const struct rpc_request *req)
{
	if (engine_leads(r))
		save_start(r, req->token);
	else
		forward_leader(r, req);
}

/* ---- pieces, moved by libuv's pool */

struct piece {
	uv_fs_t fs;
	struct snap_file *f;
	struct rpc_token token;
	uint64_t offset;
	size_t len, done;
	uint8_t data[];
};

static struct piece *
piece_new(struct snap_file *f, struct rpc_token t, uint64_t offset, size_t len)
{
	struct piece *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		return NULL;
	*p = (struct piece){ .f = f, .token = t, .offset = offset, .len = len };
	p->fs.data = p;
	f->busy++;
	return p;
}

/* False: the daemon is ending, and there is nobody to answer. */
static bool
piece_end(struct piece *p)
{
	struct snap_file *f = p->f;
	bool open = f->r->snapshot != NULL;

	free(p);
	f->busy--;
	f->touched_ms = clock_ms();
	if (f->dead && f->busy == 0)
		file_free(f);
	return open;
}

static void
reply_bytes(struct raftd *r, struct rpc_token t, const void *p, size_t len)
{
	const struct query_meta m = { .index = 1, .known_leader = engine_known_leader(r) };
	struct buf *b = rpc_reply_begin(r->d->rpc, t);
	struct mp_w w;

	if (b == NULL)
		return;
	w = mp_w_init(b);
	record_encode(&rec_query_meta, &m, RECORD_WHOLE, &w);
	mp_w_bin(&w, (struct str){ p, len });
	rpc_reply_end(r->d->rpc, t, w.err == 0);
}

static void
on_read(uv_fs_t *fs)
{
	struct piece *p = fs->data;
	struct raftd *r = p->f->r;
	ssize_t n = fs->result;

	uv_fs_req_cleanup(fs);
	if (r->snapshot != NULL && n > 0)
		reply_bytes(r, p->token, p->data, (size_t)n);
	else if (r->snapshot != NULL)
		rpc_reply_error(r->d->rpc, p->token, 500, "cannot read the snapshot: %s", n < 0 ? err_text((int)n) : "it is cut short");
	(void)piece_end(p);
}

static void
handle_read(struct raftd *r, const struct rpc_request *req, const struct query_options *o, const struct snapshot_chunk *c)
{
	struct snap_file *f = file_find(r, SNAP_SAVED, c->id);
	struct piece *p;
	uv_buf_t b;

	if (f == NULL && !engine_leads(r)) {
		forward_leader(r, req);
		return;
	}
	if (!may_do(r, req, o))
		return;
	if (f == NULL || f->child != NULL) {
		rpc_reply_error(r->d->rpc, req->token, 500, "the snapshot is not known here: the leader has changed, or nobody asked for it "
		    "for a minute");
		return;
	}
	if (c->offset >= f->size) {
		snap_file_drop(f);
		reply_bytes(r, req->token, "", 0);
		return;
	}
	p = piece_new(f, req->token, c->offset, f->size - c->offset < SNAPSHOT_PIECE ? (size_t)(f->size - c->offset) : SNAPSHOT_PIECE);
	if (p == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 500, "no memory for a piece of the snapshot");
		return;
	}
	b = uv_buf_init((char *)p->data, (unsigned)p->len);
	if (uv_fs_read(&r->d->loop.uv, &p->fs, f->fd, &b, 1, (int64_t)p->offset, on_read) < 0) {
		rpc_reply_error(r->d->rpc, req->token, 500, "cannot read the snapshot");
		(void)piece_end(p);
	}
}

static int write_on(struct piece *p);

static void
on_written(uv_fs_t *fs)
{
	struct piece *p = fs->data;
	struct snap_file *f = p->f;
	struct raftd *r = f->r;
	struct rpc_token t = p->token;
	int rc = fs->result > 0 ? 0 : fs->result < 0 ? (int)fs->result : -EIO;

	uv_fs_req_cleanup(fs);
	if (rc == 0) {
		p->done += (size_t)fs->result;
		if (p->done < p->len && r->snapshot != NULL)
			rc = write_on(p);
		if (rc == 0 && p->done < p->len && r->snapshot != NULL)
			return;
	}
	if (rc == 0)
		f->size += p->len;
	else if (!f->dead && r->snapshot != NULL)
		snap_file_drop(f);
	if (!piece_end(p))
		return;
	if (rc < 0)
		rpc_reply_error(r->d->rpc, t, 500, "cannot keep the snapshot that is to be restored: %s", err_text(rc));
	else
		rpc_reply_nil(r->d->rpc, t, 1);
}

static int
write_on(struct piece *p)
{
	uv_buf_t b = uv_buf_init((char *)p->data + p->done, (unsigned)(p->len - p->done));

	return uv_fs_write(&p->f->r->d->loop.uv, &p->fs, p->f->fd, &b, 1, (int64_t)(p->offset + p->done), on_written);
}

/* Why this piece cannot be taken; NULL: it can. */
static const char *
write_refused(struct raftd *r, const struct snap_file *f, const struct snapshot_chunk *c)
{
	uint64_t max = snap_bytes_max(r);

	if (f->restoring || f->busy > 0 || c->offset != f->size)
		return "a piece of the snapshot is missing";
	if (c->data.len > max || f->size > max - c->data.len)
		return "the snapshot is larger than any that is taken here";
	if (!snap_room(f->fd, c->data.len))
		return "The server's disk has no room for the snapshot";
	return NULL;
}

static void
handle_write(struct raftd *r, const struct rpc_request *req, const struct snapshot_chunk *c)
{
	struct snap_file *f = file_find(r, SNAP_UPLOAD, c->id);
	struct piece *p = NULL;
	const char *why;
	int rc = 0;

	if (f == NULL && (c->offset != 0 || c->id.len != sizeof(f->id))) {
		rpc_reply_error(r->d->rpc, req->token, 500, "the snapshot that is being restored is not known here: the leader has changed");
		return;
	}
	if (f == NULL)
		rc = file_new(r, SNAP_UPLOAD, &f);
	if (rc < 0) {
		refuse(r, req->token, rc);
		return;
	}
	memcpy(f->id, c->id.p, sizeof(f->id));
	why = write_refused(r, f, c);
	if (why == NULL && c->data.len == 0) {
		rpc_reply_nil(r->d->rpc, req->token, 1);
		return;
	}
	if (why == NULL) {
		p = piece_new(f, req->token, c->offset, c->data.len);
		why = p == NULL ? "no memory for a piece of the snapshot" : NULL;
	}
	if (why == NULL) {
		memcpy(p->data, c->data.p, c->data.len);
		if (write_on(p) == 0)
			return;
		(void)piece_end(p);
		why = "cannot keep the snapshot that is to be restored";
	}
	rpc_reply_error(r->d->rpc, req->token, 500, "%s", why);
	if (!f->restoring)
		snap_file_drop(f);
}

static void
handle_restore(struct raftd *r, const struct rpc_request *req, const struct snapshot_chunk *c)
{
	struct snap_file *f = file_find(r, SNAP_UPLOAD, c->id);

	if (f == NULL) {
		rpc_reply_error(r->d->rpc, req->token, 500, "the snapshot that is being restored is not known here: the leader has changed");
	} else if (f->restoring) {
		rpc_reply_error(r->d->rpc, req->token, 500, "this snapshot is being restored");
	} else if (f->busy > 0 || f->size != c->offset) {
		rpc_reply_error(r->d->rpc, req->token, 500, "a piece of the snapshot is missing");
		snap_file_drop(f);
	} else {
		restore_start(r, f, req->token);
	}
}

/* ---- what raftd.h offers */

void
snapshot_handle(void *ctx, const struct rpc_request *req)
{
	struct raftd *r = ((struct daemon *)ctx)->ctx;
	struct snapshot_chunk c = { .id = STR_NONE };
	struct query_options o;
	int rc;

	arena_reset(&r->arena);
	rc = op_request_decode(req->info, req->body, req->len, &o, req->info->request != NULL ? &c : NULL, &r->arena);
	if (rc < 0) {
		rpc_bad_request(r->d->rpc, req, err_text(rc));
		return;
	}
	if (!check_served(r, req->token, o.datacenter))
		return;
	if (req->info->number == OP_SNAPSHOT_SAVE)
		handle_save(r, req, &o);
	else if (req->info->number == OP_SNAPSHOT_READ)
		handle_read(r, req, &o, &c);
	else if (o.consistency == CONSISTENCY_STALE)
		rpc_reply_error(r->d->rpc, req->token, 500, "stale not allowed for restore");
	else if (!engine_leads(r))
		forward_leader(r, req);
	else if (!may_do(r, req, &o))
		return;
	else if (req->info->number == OP_SNAPSHOT_WRITE)
		handle_write(r, req, &c);
	else
		handle_restore(r, req, &c);
}

void
snapshot_cancelled(struct raftd *r, struct rpc_token t)
{
	if (r->snapshot == NULL)
		return;
	for (struct snap_file *f = r->snapshot->files; f != NULL; f = f->next)
		if (f->child != NULL && f->token.conn == t.conn && f->token.id == t.id) {
			snap_file_drop(f);
			return;
		}
}

/* What clients were sending to the leader they must send to the next one, from the start. */
void
snapshot_role_changed(struct raftd *r)
{
	struct snap_file *next;

	if (r->snapshot == NULL || r->engine.core.role == RAFT_LEADER)
		return;
	restore_abandon(r);
	r->snapshot->owe_drop = false;
	for (struct snap_file *f = r->snapshot->files; f != NULL; f = next) {
		next = f->next;
		if (f->use == SNAP_UPLOAD)
			snap_file_drop(f);
	}
}

bool
snapshot_restoring(const struct raftd *r)
{
	return r->snapshot != NULL && r->snapshot->restore != NULL && restore_begun(r->snapshot->restore);
}

void
snapshot_applied(struct raftd *r)
{
	if (r->snapshot != NULL && r->snapshot->restore != NULL)
		restore_applied(r);
}

static void
on_pump(uv_timer_t *t)
{
	struct raftd *r = t->data;

	if (r->snapshot->restore != NULL)
		restore_pump(r);
}

int
snapshot_init(struct raftd *r)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	(void)uv_timer_init(&r->d->loop.uv, &s->tidy);
	(void)uv_timer_init(&r->d->loop.uv, &s->pump);
	s->tidy.data = s->pump.data = r;
	s->pump.timer_cb = on_pump;
	r->snapshot = s;
	return 0;
}

static void
on_closed(uv_handle_t *u)
{
	struct snapshot *s = u->data;

	if (--s->open_handles == 0)
		free(s);
}

void
snapshot_release(struct raftd *r)
{
	struct snapshot *s = r->snapshot;

	if (s == NULL)
		return;
	restore_abandon(r);
	while (s->files != NULL)
		snap_file_drop(s->files);
	r->snapshot = NULL;
	s->tidy.data = s->pump.data = s;
	s->open_handles = 2;
	uv_close((uv_handle_t *)&s->tidy, on_closed);
	uv_close((uv_handle_t *)&s->pump, on_closed);
}
