/* raft_store_help.h - for the tests of the store: a store in a directory of its own, and what it tells. */
#ifndef T_UNIT_RAFT_STORE_HELP_H
#define T_UNIT_RAFT_STORE_HELP_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raftd/store/store.h"

enum { TABLES = 3, TERMS_MAX = 4096, WAIT_MS = 20000 };

extern struct world {
	struct loop loop;
	struct store *store;
	char root[64], dir[96];
	uv_timer_t guard;
	struct durable durable;
	uint64_t epoch, base, staged;
	unsigned reads;			/* answers, */
	uint64_t read_arg;		/* and the newest */
	struct batch *read;		/* freed with the next one */
	bool stopped, failed, full, full_seen, timed_out;
	char failure[DATADIR_ERROR_MAX];
	/* what loading gave */
	size_t records, entries;
	uint64_t first_entry, last_entry;
	uint64_t terms[TERMS_MAX];	/* of the entries, by index */
	uint64_t sum;
} w;

int setup(void **state);
int teardown(void **state);

int try_open(const char *dir, uint64_t checkpoint_bytes, uint64_t trailing, char err[DATADIR_ERROR_MAX]);
void must_open(const char *dir);
void shut(void);	/* as in a crash */
void stop(void);	/* all written, then closed */
int try_load(char err[DATADIR_ERROR_MAX]);
void must_load(void);

void free_read(void);
void on_guard(uv_timer_t *t);
#define WAIT_FOR(cond) do { \
	w.timed_out = false; \
	assert_int_equal(uv_timer_start(&w.guard, on_guard, WAIT_MS, 0), 0); \
	while (!(cond) && !w.timed_out && !w.failed) \
		(void)uv_run(&w.loop.uv, UV_RUN_ONCE); \
	(void)uv_timer_stop(&w.guard); \
	assert_true(cond); \
} while (0)

/* Entries "entry N" of one batch; queued; on disk when this returns. */
struct batch *entries(uint64_t first, uint32_t n, uint64_t term);
void queue(uint64_t first, uint32_t n, uint64_t term);
void append(uint64_t first, uint32_t n, uint64_t term);
void change(unsigned table, const char *key, const char *value);

/* The directory as it is at this moment, as a crash of the machine's processes would leave it. */
void copy_dir(const char *from, const char *to);
void flip(const char *dir, const char *name, long at, bool from_end);
/* Where a text stands last in a file, or -1. */
long find_text(const char *dir, const char *name, const char *text);
bool has_file(const char *dir, const char *name);

#endif
