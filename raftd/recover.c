/*
 * recover.c - a cluster that lost its majority for good goes on with those
 * that are left, named by a peers.json.
 *
 * The log stays as it is: nothing is added, nothing counts as committed that
 * did not before. What changes is who the servers are: the file `recovered` in the data
 * directory says that all configurations up to the log's last index are
 * replaced by the new one. So the usual rules of elections hold among those
 * that stay, and the one with the most complete log leads. As soon as one leads it
 * writes the configuration into the log as well (join.c).
 *
 * The log is cut off behind what the image has: a server that joins the recovered
 * cluster gets a snapshot, and never sees how one configuration turned into
 * another that differs by more than one vote.
 *
 * Every server that stays needs the same peers.json: they all get the same
 * new cluster id, which keeps the servers of the old cluster away. What only
 * those had is lost; what a minority of the old cluster had may come to stand.
 *
 * Order: `recovered` is on disk, then the store has the new cluster id, then
 * peers.json is renamed. A crash in between begins again: a file that was
 * carried out for this very log (its checksum and the last index are in
 * `recovered`) is not carried out on top of itself.
 */
#include "raftd/recover.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftd/recover_plan.h"
#include "raftd/store/crc32c.h"

#define SUB "agent.server.raft"

enum {
	HASH_LEN = 32,
	CLUSTER_LEN = 16,
	HEADER_LEN = 8 + 8 + HASH_LEN + CLUSTER_LEN + 4,	/* magic, index, hash of peers.json, old cluster, length of the configuration */
	RECOVERED_MAX = 64 * 1024 + HEADER_LEN + 4,
};

static const char magic[8] = "raftrec1";

/* What `recovered` says. */
struct recovered {
	uint64_t upto;			/* 0: nothing was ever recovered */
	uint8_t source[HASH_LEN];
};

/* One run over a directory. */
struct recovery {
	const char *dir;
	int dir_fd;
	bool dry, told;			/* told: somebody reads what we print */
	char err[RECOVER_ERROR_MAX];
	struct loop loop;
	struct store *store;
	struct fsm *fsm;
	struct configs *configs;
	struct buf log_config;		/* the newest configuration in the log, */
	uint64_t log_config_index;	/* 0: none */
	struct buf peers;		/* the file */
	uint8_t source[HASH_LEN];
	struct recovered before;
	bool done, stopped;
};

static int say(struct recovery *x, int rc, const char *fmt, ...) PRINTF(3, 4);

static int
say(struct recovery *x, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(x->err, sizeof(x->err), fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- files */

/* 1 when there is none. */
static int
read_file(int dir_fd, const char *name, size_t max, struct buf *out)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n = 1;

	if (fd < 0)
		return errno == ENOENT ? 1 : -errno;
	buf_init(out, max);
	while (rc == 0 && n > 0) {
		uint8_t part[4096];

		n = read(fd, part, sizeof(part));
		rc = n < 0 ? -errno : buf_add(out, part, (size_t)n);
	}
	(void)close(fd);
	if (rc < 0)
		buf_release(out);
	return rc;
}

static int
write_file(int dir_fd, const char *name, const struct buf *b)
{
	char tmp[64];
	size_t at = 0;
	int fd, rc = 0;

	(void)snprintf(tmp, sizeof(tmp), "%s.new", name);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (rc == 0 && at < b->len) {
		ssize_t n = write(fd, b->data + at, b->len - at);

		if (n < 0)
			rc = -errno;
		else
			at += (size_t)n;
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	(void)close(fd);
	if (rc == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		rc = -errno;
	if (rc == 0 && fsync(dir_fd) < 0)
		rc = -errno;
	return rc;
}

/* ---- `recovered` */

static int
recovered_read(struct recovery *x)
{
	struct buf b = BUF_INIT(0);
	struct str config;
	int rc = read_file(x->dir_fd, "recovered", RECOVERED_MAX, &b);

	if (rc == 1)
		return 0;
	if (rc == 0 && (b.len < HEADER_LEN + 4 || memcmp(b.data, magic, sizeof(magic)) != 0 ||
	    get_be32(b.data + HEADER_LEN - 4) != b.len - HEADER_LEN - 4 || crc32c(0, b.data, b.len - 4) != get_be32(b.data + b.len - 4)))
		rc = -EDECODE;
	if (rc == 0) {
		x->before.upto = get_be64(b.data + 8);
		memcpy(x->before.source, b.data + 16, HASH_LEN);
		config = (struct str){ (const char *)b.data + HEADER_LEN, b.len - HEADER_LEN - 4 };
		rc = servers_replace(x->before.upto, (struct str){ (const char *)b.data + 16 + HASH_LEN, CLUSTER_LEN }, config);
	}
	buf_release(&b);
	return rc < 0 ? say(x, rc, "%s/recovered is damaged or cannot be read (%s): move the directory away and let the server rejoin "
	    "as a new member, or restore a backup", x->dir, err_text(rc)) : 0;
}

static int
recovered_write(struct recovery *x, uint64_t upto, struct str old_cluster, const struct raft_config_entry *c)
{
	uint8_t head[HEADER_LEN], tail[4];
	struct buf config = BUF_INIT(64 * KiB), b = BUF_INIT(RECOVERED_MAX);
	int rc = servers_encode(c, &config);

	memcpy(head, magic, sizeof(magic));
	put_be64(head + 8, upto);
	memcpy(head + 16, x->source, HASH_LEN);
	memcpy(head + 16 + HASH_LEN, old_cluster.p, CLUSTER_LEN);	/* 16 digits: configs_add() has seen to that */
	put_be32(head + HEADER_LEN - 4, (uint32_t)config.len);
	if (rc == 0)
		rc = buf_add(&b, head, sizeof(head));
	if (rc == 0)
		rc = buf_add(&b, config.data, config.len);
	if (rc == 0) {
		put_be32(tail, crc32c(0, b.data, b.len));
		rc = buf_add(&b, tail, sizeof(tail));
	}
	if (rc == 0)
		rc = write_file(x->dir_fd, "recovered", &b);
	if (rc == 0)
		rc = servers_replace(upto, old_cluster, (struct str){ (const char *)config.data, config.len });
	buf_release(&config);
	buf_release(&b);
	return rc < 0 ? say(x, rc, "%s/recovered cannot be written: %s", x->dir, err_text(rc)) : 0;
}

/* ---- the store */

static void
on_durable(void *ctx, const struct durable *d, uint64_t epoch)
{
	(void)d;
	(void)epoch;
	((struct recovery *)ctx)->done = true;
}

static void
on_read(void *ctx, uint64_t arg, struct batch *list)
{
	(void)ctx;
	(void)arg;
	(void)list;
}

static void
on_index(void *ctx, uint64_t index)
{
	(void)ctx;
	(void)index;
}

static void
on_space(void *ctx, bool full)
{
	(void)ctx;
	(void)full;
}

static void
on_failed(void *ctx, const char *text)
{
	log_err(SUB, "%s: %s", ((struct recovery *)ctx)->dir, text);
	_exit(1);
}

static void
on_stopped(void *ctx)
{
	((struct recovery *)ctx)->stopped = true;
}

static const struct store_events events = { .durable = on_durable, .read = on_read, .staged = on_index, .compacted = on_index,
	.space = on_space, .failed = on_failed, .stopped = on_stopped };

/* Of the state only what it says of the servers is looked at. */
static int
load_record(void *ctx, unsigned table, struct str key, struct str value)
{
	return table == FSM_META ? fsm_load(((struct recovery *)ctx)->fsm, FSM_META, key, value) : 0;
}

static int
load_batch(void *ctx, struct batch *b)
{
	struct recovery *x = ctx;
	struct batch_cursor c;
	struct batch_entry e;
	int rc = batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c);

	while (rc == 0 && batch_next(&c, false, &e) > 0)
		if (e.kind == ENTRY_SERVERS) {
			buf_clear(&x->log_config);
			rc = buf_add(&x->log_config, e.data.p, e.data.len);
			x->log_config_index = e.index;
		}
	batch_free(b);
	return rc;
}

static int
open_store(struct recovery *x)
{
	static const struct fsm_config fc = { "dc1", 64, 0 };
	const struct store_config c = { .path = x->dir, .tables = FSM_TABLES, .events = &events, .ctx = x, .trailing = x->dry ? UINT64_MAX / 2 : 0 };
	const struct store_loader ld = { x, load_record, load_batch };
	char err[256];
	uint64_t index;
	struct str bytes;
	int rc;

	x->fsm = fsm_new(&fc);
	x->configs = configs_new();
	if (x->fsm == NULL || x->configs == NULL)
		return say(x, -ENOMEM, "out of memory");
	rc = store_open(&x->loop, &c, &x->store, x->err);
	if (rc == 0)
		rc = store_load(x->store, &ld, x->err);
	if (rc < 0)
		return rc;
	bytes = fsm_servers(x->fsm, &index);
	if (x->log_config_index > index) {
		index = x->log_config_index;
		bytes = (struct str){ (const char *)x->log_config.data, x->log_config.len };
	}
	if (index == 0)
		return say(x, -EINVAL, "%s: this server was never part of a cluster: there is nothing to recover", x->dir);
	rc = configs_add(x->configs, index, bytes, err);
	return rc < 0 ? say(x, rc, "%s: the configuration of servers cannot be read: %s", x->dir, err) : 0;
}

/* The new cluster id, on disk. */
static int
store_new_cluster(struct recovery *x, struct str cluster)
{
	const struct store_start *found = store_found(x->store);
	uint64_t id;
	int rc = servers_parse_id(cluster, &id);

	if (rc == 0)
		rc = store_run(x->store);
	if (rc < 0)
		return say(x, rc, "%s: %s", x->dir, err_text(rc));
	store_cluster(x->store, id);
	store_state(x->store, found->term, found->vote);
	while (!x->done)
		(void)uv_run(&x->loop.uv, UV_RUN_ONCE);
	store_stop(x->store);
	while (!x->stopped)
		(void)uv_run(&x->loop.uv, UV_RUN_ONCE);
	return 0;
}

/* ---- telling */

static void
show_servers(const struct raft_config_entry *c)
{
	const struct raft_server_info *v = c->servers.v;

	for (size_t i = 0; i < c->servers.n; i++)
		(void)printf("  %.*s  %.*s  %.*s  %s\n", STR_ARG(v[i].node), STR_ARG(v[i].node_id), STR_ARG(v[i].address),
		    v[i].voter ? "voter" : "non-voter");
}

static void
show(struct recovery *x, const struct raft_config_entry *now, uint64_t index, const struct raft_config_entry *next)
{
	const struct store_start *found = store_found(x->store);

	(void)printf("Last entry of the log: index %" PRIu64 ", term %" PRIu64 "; applied for certain: up to index %" PRIu64 "\n", found->last,
	    found->nruns > 0 ? found->runs[found->nruns - 1].term : 0, found->applied);
	(void)printf("Configuration now (index %" PRIu64 ", cluster %.*s):\n", index, STR_ARG(now->cluster));
	show_servers(now);
	(void)printf("Configuration after the recovery (cluster %.*s):\n", STR_ARG(next->cluster));
	show_servers(next);
	(void)printf("\nWrites that only the servers left out have are lost. Entries up to the last one of the log\n"
	    "above may take effect, even if the old cluster never confirmed them. Give the same list to every server\n"
	    "that stays; wipe those left out before they join again.\n");
}

/* ---- the whole */

static int
carry_out(struct recovery *x)
{
	const struct store_start *found = store_found(x->store);
	uint64_t index;
	const struct raft_config_entry *now = configs_current(x->configs, &index);
	struct recover_plan plan = { .next = *now };
	struct str text = { (const char *)x->peers.data, x->peers.len };
	bool again = x->before.upto == found->last && memcmp(x->before.source, x->source, HASH_LEN) == 0;
	int rc = again ? 0 : recover_plan(text, now, found->id, &plan, x->err);

	if (rc == 0 && x->told)
		show(x, now, index, &plan.next);
	if (rc == 0 && !x->dry) {
		if (!again)
			rc = recovered_write(x, found->last, now->cluster, &plan.next);
		if (rc == 0)
			rc = store_new_cluster(x, plan.next.cluster);
		if (rc == 0)
			log_warn(SUB, "recovered from peers.json: index=%" PRIu64 " servers=%zu cluster=%.*s", found->last,
			    plan.next.servers.n, STR_ARG(plan.next.cluster));
	}
	if (rc == -ENOMEM)
		(void)say(x, rc, "out of memory");
	recover_plan_release(&plan);
	return rc;
}

static void
close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static int
run(struct recovery *x)
{
	int rc = loop_init(&x->loop);

	if (rc < 0)
		return say(x, rc, "%s", err_text(rc));
	(void)crypto_generichash(x->source, HASH_LEN, x->peers.data, x->peers.len, NULL, 0);
	buf_init(&x->log_config, 64 * KiB);
	rc = open_store(x);
	if (rc == 0)
		rc = carry_out(x);
	store_free(x->store);
	configs_free(x->configs);
	fsm_free(x->fsm);
	buf_release(&x->log_config);
	uv_walk(&x->loop.uv, close_handle, NULL);
	(void)uv_run(&x->loop.uv, UV_RUN_DEFAULT);
	(void)uv_loop_close(&x->loop.uv);
	return rc;
}

int
recover_init(struct raftd *r)
{
	struct recovery x = { .dir = r->dir, .dir_fd = -1 };
	int rc;

	if (r->dir == NULL)
		return 0;
	x.dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A new directory: there is nothing to recover. */
	if (x.dir_fd < 0)
		return 0;
	rc = recovered_read(&x);
	if (rc == 0)
		rc = read_file(x.dir_fd, "peers.json", RECOVER_FILE_MAX, &x.peers);
	if (rc == 0) {
		rc = run(&x);
		if (rc == 0 && (renameat(x.dir_fd, "peers.json", x.dir_fd, "peers.json.done") < 0 || fsync(x.dir_fd) < 0))
			rc = say(&x, -errno, "%s/peers.json cannot be renamed: %s", r->dir, err_text(-errno));
	} else if (rc < 0 && x.err[0] == 0) {
		(void)say(&x, rc, "%s/peers.json cannot be read: %s", r->dir, err_text(rc));
	}
	if (rc < 0)
		log_err("agent.server", "%s", x.err);
	buf_release(&x.peers);
	(void)close(x.dir_fd);
	return rc < 0 ? rc : 0;
}

/* ---- raftd recover */

/* Files that we make must be the daemon's to read. */
static int
become_owner(int dir_fd)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(dir_fd, &st) < 0)
		return -errno;
	if (st.st_uid == 0)
		return 0;
	return setgroups(0, NULL) < 0 || setgid(st.st_gid) < 0 || setuid(st.st_uid) < 0 ? -errno : 0;
}

static int
recover_dir(struct recovery *x, const char *file)
{
	const char *path = file != NULL ? file : "peers.json";
	int rc;

	x->dir_fd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->dir_fd < 0 || faccessat(x->dir_fd, "durable", F_OK, 0) < 0)
		return say(x, -ENOENT, "%s is not the data directory of a raftd", x->dir);
	/* The file of an administrator is read with his rights. */
	rc = read_file(file != NULL ? AT_FDCWD : x->dir_fd, path, RECOVER_FILE_MAX, &x->peers);
	if (rc != 0)
		return say(x, rc < 0 ? rc : -ENOENT, "cannot read %s%s%s: %s", file != NULL ? "" : x->dir, file != NULL ? "" : "/", path,
		    err_text(rc < 0 ? rc : -ENOENT));
	rc = become_owner(x->dir_fd);
	if (rc < 0)
		return say(x, rc, "cannot become the owner of %s: %s", x->dir, err_text(rc));
	rc = recovered_read(x);
	if (rc == 0)
		rc = run(x);
	if (rc == 0 && !x->dry && file == NULL &&
	    (renameat(x->dir_fd, "peers.json", x->dir_fd, "peers.json.done") < 0 || fsync(x->dir_fd) < 0))
		rc = say(x, -errno, "%s/peers.json cannot be renamed: %s", x->dir, err_text(-errno));
	return rc;
}

int
recover_main(int argc, char **argv)
{
	struct recovery x = { .dir_fd = -1, .told = true };
	int opt, rc;

	while ((opt = getopt(argc, argv, "n")) != -1) {
		if (opt != 'n')
			return 2;
		x.dry = true;
	}
	if (argc - optind < 1 || argc - optind > 2) {
		(void)fputs("usage: raftd recover [-n] DIRECTORY [PEERS.JSON]\n", stderr);
		return 2;
	}
	x.dir = argv[optind];
	if (sodium_init() < 0)
		return 1;
	rc = recover_dir(&x, argv[optind + 1]);
	buf_release(&x.peers);
	if (x.dir_fd >= 0)
		(void)close(x.dir_fd);
	if (rc < 0)
		(void)fprintf(stderr, "%s\n", x.err);
	else if (!x.dry)
		(void)puts("The new configuration is in force from the next start on.");
	return rc < 0;
}
