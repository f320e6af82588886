/* raft_store_help.c - a store in a directory of its own, and what it tells. */
#include "t/unit/raft_store_help.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftd/store/crc32c.h"

/* Berkeley DB keeps its memory when it closes an environment that it has found to be damaged; raftd then ends. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3\n";
}

struct world w;

static void
on_durable(void *ctx, const struct durable *d, uint64_t epoch)
{
	(void)ctx;
	w.durable = *d;
	w.epoch = epoch;
}

void
free_read(void)
{
	struct batch *b = w.read, *next;

	for (; b != NULL; b = next) {
		next = b->next;
		batch_free(b);
	}
	w.read = NULL;
}

static void
on_read(void *ctx, uint64_t arg, struct batch *list)
{
	(void)ctx;
	free_read();
	w.reads++;
	w.read_arg = arg;
	w.read = list;
}

static void
on_staged(void *ctx, uint64_t applied)
{
	(void)ctx;
	w.staged = applied;
}

static void
on_compacted(void *ctx, uint64_t base)
{
	(void)ctx;
	w.base = base;
}

static void
on_space(void *ctx, bool full)
{
	(void)ctx;
	w.full = full;
	w.full_seen |= full;
}

static void
on_failed(void *ctx, const char *text)
{
	(void)ctx;
	print_message("# %s\n", text);
	(void)snprintf(w.failure, sizeof(w.failure), "%s", text);
	w.failed = true;
}

static void
on_stopped(void *ctx)
{
	(void)ctx;
	w.stopped = true;
}

static const struct store_events events = { on_durable, on_read, on_staged, on_compacted, on_space, on_failed, on_stopped };

void
on_guard(uv_timer_t *t)
{
	(void)t;
	w.timed_out = true;
}

int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	(void)snprintf(w.root, sizeof(w.root), "%s/raft-store-XXXXXX", "/tmp");
	if (getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 32)
		(void)snprintf(w.root, sizeof(w.root), "%s/raft-store-XXXXXX", getenv("TMPDIR"));
	assert_non_null(mkdtemp(w.root));
	(void)snprintf(w.dir, sizeof(w.dir), "%s/raftd", w.root);
	assert_int_equal(loop_init(&w.loop), 0);
	assert_int_equal(uv_timer_init(&w.loop.uv, &w.guard), 0);
	return 0;
}

static void
remove_dir(const char *path)
{
	char child[512];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d != NULL && (e = readdir(d)) != NULL) {
		(void)snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.' && unlink(child) < 0)
			remove_dir(child);
	}
	if (d != NULL)
		(void)closedir(d);
	(void)rmdir(path);
}

int
teardown(void **state)
{
	(void)state;
	free_read();
	store_free(w.store);
	uv_close((uv_handle_t *)&w.guard, NULL);
	loop_run(&w.loop);
	loop_release(&w.loop);
	remove_dir(w.root);
	return 0;
}

/* ---- helpers */

int
try_open(const char *dir, uint64_t checkpoint_bytes, uint64_t trailing, char err[DATADIR_ERROR_MAX])
{
	const struct store_config c = { .path = dir, .tables = TABLES, .trailing = trailing, .checkpoint_bytes = checkpoint_bytes,
		.space_min = 1, .events = &events };

	err[0] = 0;
	return store_open(&w.loop, &c, &w.store, err);
}

void
must_open(const char *dir)
{
	char err[DATADIR_ERROR_MAX];
	int rc = try_open(dir, 0, 10, err);

	if (rc < 0)
		print_message("# %s\n", err);
	assert_int_equal(rc, 0);
}

void
shut(void)
{
	store_free(w.store);
	w.store = NULL;
	w.durable = (struct durable){ 0, 0, 0 };
	w.epoch = w.staged = 0;
	(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
}

struct batch *
entries(uint64_t first, uint32_t n, uint64_t term)
{
	struct batch *b = batch_new();

	assert_non_null(b);
	for (uint32_t i = 0; i < n; i++) {
		size_t at;

		assert_int_equal(batch_entry_begin(b, ENTRY_STATE, &at), 0);
		assert_int_equal(buf_addf(&b->bytes, "entry %" PRIu64, first + i), 0);
		batch_entry_end(b, at);
	}
	batch_seal(b, first, term);
	return b;
}

void
queue(uint64_t first, uint32_t n, uint64_t term)
{
	struct batch *b = entries(first, n, term);

	store_append(w.store, b);
	batch_free(b);
}

void
append(uint64_t first, uint32_t n, uint64_t term)
{
	queue(first, n, term);
	WAIT_FOR(w.durable.last == first + n - 1);
}

void
change(unsigned table, const char *key, const char *value)
{
	assert_int_equal(store_change(w.store, table, str_from(key), str_from(value)), 0);
}

void
stop(void)
{
	w.stopped = false;
	store_stop(w.store);
	WAIT_FOR(w.stopped);
	shut();
}

static int
load_record(void *ctx, unsigned table, struct str key, struct str value)
{
	(void)ctx;
	w.records++;
	w.sum += (table + 1) * (crc32c(0, key.p, key.len) + (uint64_t)crc32c(0, value.p, value.len));
	return 0;
}

static int
load_batch(void *ctx, struct batch *b)
{
	struct batch_cursor c;
	struct batch_entry e;
	char want[32];

	(void)ctx;
	assert_int_equal(batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c), 0);
	while (batch_next(&c, true, &e) > 0) {
		if (w.entries++ == 0)
			w.first_entry = e.index;
		else
			assert_int_equal(e.index, w.last_entry + 1);
		w.last_entry = e.index;
		if (e.index < ARRAY_LEN(w.terms))
			w.terms[e.index] = e.term;
		(void)snprintf(want, sizeof(want), "entry %" PRIu64, e.index);
		assert_true(str_eqs(e.data, want));
	}
	batch_free(b);
	return 0;
}

int
try_load(char err[DATADIR_ERROR_MAX])
{
	const struct store_loader ld = { NULL, load_record, load_batch };

	memset(w.terms, 0, sizeof(w.terms));
	w.records = w.entries = 0;
	w.sum = w.first_entry = w.last_entry = 0;
	err[0] = 0;
	return store_load(w.store, &ld, err);
}

void
must_load(void)
{
	char err[DATADIR_ERROR_MAX];
	int rc = try_load(err);

	if (rc < 0)
		print_message("# %s\n", err);
	assert_int_equal(rc, 0);
}

void
copy_dir(const char *from, const char *to)
{
	char cmd[512];

	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
	assert_int_equal(system(cmd), 0);
}

void
flip(const char *dir, const char *name, long at, bool from_end)
{
	char path[512];
	uint8_t byte;
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	if (from_end)
		at = st.st_size - at;
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

long
find_text(const char *dir, const char *name, const char *text)
{
	char path[512];
	size_t n = strlen(text);
	uint8_t *p;
	struct stat st;
	long found = -1;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_non_null(p);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	for (off_t i = st.st_size - (off_t)n; found < 0 && i >= 0; i--)
		if (memcmp(p + i, text, n) == 0)
			found = i;
	free(p);
	(void)close(fd);
	return found;
}

bool
has_file(const char *dir, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}
