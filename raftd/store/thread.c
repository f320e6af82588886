/*
 * thread.c - what the store's thread does, and in which order.
 *
 * Entries first: all that wait go into one synced transaction. Under load it
 * pays to let a few more arrive, since a sync costs the same for one entry
 * and for fifty; how many to expect is learnt from the group before. The
 * image gets a slice after each group and whatever time is left, and old
 * entries go last. A checkpoint comes behind a chunk of the image, when enough
 * was written since the one before, and when writing has come to rest: a crash
 * of an idle server then has little to recover. What it has to write is written
 * in slices before it, so that entries wait for none of it long.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "raftd/store/internal.h"

enum {
	GROUP_FEW = 16,			/* up to so many writers nothing is waited for */
	GROUP_WAIT_NS = 4000000,	/* at most, since the first entry came */
	GROUP_GAP_NS = 400000,		/* at most without another one */
	SLICE_MIN = 64,			/* records of the image written at a time */
	FULL_RETRY_NS = 200000000,
	SPACE_FRESH_NS = 10000000,	/* how long an answer of the file system about its room is taken for true */
	SWEEP_STEP = 10,		/* of a hundred pages, written at a time */
	SWEEP_SETTLE_NS = 50000000,	/* for the kernel to write what it was given */
	REST_NS = 1000000000,		/* nothing written for so long: the server is idle */
	REST_BYTES = 512 * 1024,	/* of log that an idle server does not leave to recovery: some 20 ms of it */
};

struct work {
	enum { WORK_APPEND, WORK_IMAGE, WORK_SWEEP, WORK_COMPACT, WORK_REST, WORK_SPACE, WORK_STOP, WORK_QUIT } kind;
	struct append a;
	uint64_t last;			/* of the batches; 0: none */
	size_t entries, bytes;
};

static uint64_t
mono_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- answers */

static void
tell(struct store *s)
{
	(void)uv_async_send(s->async);
}

static void
tell_failed(struct store *s, const char *what, const char *why)
{
	pthread_mutex_lock(&s->mutex);
	s->answers.failed = true;
	(void)snprintf(s->answers.text, sizeof(s->answers.text), "%s: %s: %s", s->path, what, why);
	pthread_mutex_unlock(&s->mutex);
	tell(s);
}

static void
tell_full(struct store *s, bool full)
{
	s->full = full;
	pthread_mutex_lock(&s->mutex);
	s->answers.space = true;
	s->answers.full = full;
	pthread_mutex_unlock(&s->mutex);
	tell(s);
}

/* ---- what comes next; called with the mutex held */

static bool
has_entries(const struct store *s)
{
	return s->batches != NULL || s->state;
}

/* Until when to let entries gather, 0: they go now. */
static uint64_t
gather_until(const struct store *s, uint64_t now)
{
	uint64_t latest = s->first_ns + GROUP_WAIT_NS, gap = s->newest_ns + GROUP_GAP_NS;
	uint64_t until = latest < gap ? latest : gap;

	if (s->state || s->stopping || s->nentries >= s->want || until <= now)
		return 0;
	return until;
}

static void
wait_until(struct store *s, uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	(void)pthread_cond_timedwait(&s->wake, &s->mutex, &t);
}

static void
take_entries(struct store *s, struct work *w)
{
	w->kind = WORK_APPEND;
	w->a = (struct append){ .batches = s->batches, .state = s->state, .term = s->term, .vote = s->vote };
	w->entries = s->nentries;
	w->last = 0;
	w->bytes = 0;
	for (const struct batch *b = s->batches; b != NULL; b = b->store_next) {
		w->last = batch_last(b);
		w->bytes += b->bytes.len;
	}
	if (s->servers_index != 0) {
		struct buf taken = s->servers_in;

		s->servers_in = s->servers;
		s->servers = taken;
		w->a.servers = &s->servers;
		w->a.servers_index = s->servers_index;
	}
	s->batches = NULL;
	s->batches_tail = &s->batches;
	s->nentries = 0;
	s->state = false;
	s->servers_index = 0;
}

/* A chunk is being written, or one waits. */
static bool
has_image(struct store *s)
{
	if (s->writing == NULL && s->changes != NULL) {
		s->writing = s->changes;
		s->changes = s->writing->next;
		if (s->changes == NULL)
			s->changes_tail = &s->changes;
	}
	return s->writing != NULL;
}

/* The checkpoint itself falls between two chunks: recovery would else begin where the transaction did. */
static bool
sweep_due(const struct store *s, uint64_t now)
{
	return s->sweep != SWEEP_NONE && !s->stopping && now >= s->sweep_at && (s->sweep != SWEEP_END || s->job.txn == NULL);
}

/* What there is to do beside the entries; false: nothing now. */
static bool
other_work(struct store *s, uint64_t now, struct work *w)
{
	if (sweep_due(s, now))
		w->kind = WORK_SWEEP;
	else if (has_image(s))
		w->kind = WORK_IMAGE;
	else if (s->compact_upto != 0)
		w->kind = WORK_COMPACT;
	else
		return false;
	return true;
}

/* What an idle store has to do, at *ret_at (0: never) if not now. */
static bool
idle_work(struct store *s, uint64_t now, struct work *w, uint64_t *ret_at)
{
	if (s->stopping)
		w->kind = WORK_STOP;
	else if (s->full && now >= s->space_ns + FULL_RETRY_NS)
		w->kind = WORK_SPACE;
	else if (s->sweep == SWEEP_NONE && s->rest_at != 0 && now >= s->rest_at)
		w->kind = WORK_REST;
	else {
		*ret_at = s->full ? s->space_ns + FULL_RETRY_NS : s->sweep != SWEEP_NONE ? s->sweep_at : s->rest_at;
		return false;
	}
	return true;
}

/* Wait, and say what to do. */
static void
next_work(struct store *s, struct work *w)
{
	uint64_t now, until;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		now = mono_ns();
		until = gather_until(s, now);
		if (s->quit) {
			w->kind = WORK_QUIT;
			break;
		}
		/* A few entries can change very many records: the image goes first when too much waits for it. */
		if ((s->other_turn || s->changes_bytes > STORE_LAG_MAX) && other_work(s, now, w))
			break;
		if (has_entries(s) && until == 0) {
			take_entries(s, w);
			break;
		}
		if (other_work(s, now, w) || (!has_entries(s) && idle_work(s, now, w, &until)))
			break;
		if (until != 0)
			wait_until(s, until);
		else
			(void)pthread_cond_wait(&s->wake, &s->mutex);
	}
	pthread_mutex_unlock(&s->mutex);
}

/* ---- room on the disk */

/* Asking the file system costs every write of a lone client: what it said last holds for a moment. */
static uint64_t
space_left(struct store *s)
{
	uint64_t now = mono_ns();

	if (s->space_ns == 0 || now - s->space_ns >= SPACE_FRESH_NS) {
		s->space = datadir_space(&s->dir);
		s->space_ns = now;
		s->space_used = 0;
	}
	return s->space > s->space_used ? s->space - s->space_used : 0;
}

/* New entries are refused while less than the reserve is left; a fifth more ends it. */
static void
check_space(struct store *s)
{
	uint64_t space = space_left(s), min = s->config.space_min;

	if (!s->full && space < min) {
		tell_full(s, true);
		/* May give back log files that are no longer needed. */
		(void)env_checkpoint(&s->env);
	} else if (s->full && space >= min + min / 5) {
		tell_full(s, false);
	}
}

/* Entries that were accepted may use the reserve, but for a part that Berkeley DB itself may need. */
static bool
room_for(struct store *s, size_t bytes)
{
	return space_left(s) > s->config.space_min / 2 + 3 * (uint64_t)bytes;
}

/* Wait for room. False: told to quit. */
static bool
wait_for_room(struct store *s, size_t bytes)
{
	bool quit = false;

	while (!quit && !room_for(s, bytes)) {
		pthread_mutex_lock(&s->mutex);
		wait_until(s, mono_ns() + FULL_RETRY_NS);
		quit = s->quit || s->stopping;
		pthread_mutex_unlock(&s->mutex);
	}
	return !quit;
}

/* ---- doing it */

static void
told_durable(struct store *s, const struct work *w, uint64_t ns)
{
	pthread_mutex_lock(&s->mutex);
	s->answers.durable = true;
	s->answers.d = s->durable;
	s->answers.index_term = s->last_term;
	s->stats.syncs++;
	s->stats.entries += w->entries;
	s->stats.sync_ns += ns;
	/* Who was answered now and who waits already will all be back soon. */
	s->want = w->entries + s->nentries;
	s->want = s->want > GROUP_FEW ? s->want * 3 / 4 : 1;
	pthread_mutex_unlock(&s->mutex);
	tell(s);
}

static bool
do_append(struct store *s, struct work *w)
{
	uint64_t began;
	int rc;

	check_space(s);
	if (!wait_for_room(s, w->bytes))
		return false;
	w->a.last_term = s->last_term;
	began = mono_ns();
	s->space_used += 3 * (uint64_t)w->bytes;
	rc = log_append(&s->env, &w->a);
	if (rc != 0) {
		tell_failed(s, "cannot write the log", env_error(&s->env, rc));
		return false;
	}
	if (w->a.state) {
		s->durable.term = w->a.term;
		s->durable.vote = w->a.vote;
	}
	if (w->last != 0) {
		s->durable.last = w->last;
		for (const struct batch *b = w->a.batches; b != NULL; b = b->store_next)
			s->last_term = b->term;
	}
	rc = datadir_durable(&s->dir, &s->durable);
	if (rc < 0) {
		tell_failed(s, "cannot write the file named durable", err_text(rc));
		return false;
	}
	told_durable(s, w, mono_ns() - began);
	/* Twice as many records as entries: the image cannot fall behind for ever. */
	s->other_turn = true;
	s->slice = 2 * w->entries;
	return true;
}

/* There was a checkpoint: what is far enough behind the image may go. */
static void
plan_compaction(struct store *s)
{
	uint64_t trailing;

	pthread_mutex_lock(&s->mutex);
	trailing = s->trailing;
	pthread_mutex_unlock(&s->mutex);
	if (s->image_applied > trailing)
		s->compact_upto = s->image_applied - trailing;
}

/* Begin the way to a checkpoint when at least `bytes` of log were written since the last one. */
static bool
begin_sweep(struct store *s, uint64_t bytes)
{
	uint64_t written = 0;
	int rc;

	if (s->sweep != SWEEP_NONE)
		return true;
	rc = env_log_bytes(&s->env, &written);
	if (rc != 0) {
		tell_failed(s, "cannot tell what a checkpoint would take", env_error(&s->env, rc));
		return false;
	}
	if (written >= bytes) {
		s->sweep = SWEEP_PAGES;
		s->sweep_percent = SWEEP_STEP;
		s->sweep_at = 0;
	}
	return true;
}

static int
sweep_pages(struct store *s)
{
	int rc = env_write_pages(&s->env, s->sweep_percent);

	s->sweep_percent += SWEEP_STEP;
	if (s->sweep_percent > 100)
		s->sweep = SWEEP_FILES;
	return rc;
}

static int
sweep_end(struct store *s)
{
	int rc = env_checkpoint(&s->env);

	s->sweep = SWEEP_NONE;
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&s->mutex);
	s->stats.checkpoints++;
	pthread_mutex_unlock(&s->mutex);
	plan_compaction(s);
	return 0;
}

/*
 * The pages of the cache go to the kernel, some at a time; the kernel is told
 * to write them; what the checkpoint itself then has to wait for is little.
 */
static bool
do_sweep(struct store *s)
{
	int rc = 0;

	switch (s->sweep) {
	case SWEEP_NONE:
		break;
	case SWEEP_PAGES:
		rc = sweep_pages(s);
		break;
	case SWEEP_FILES:
		datadir_begin_writing(&s->dir, env_files);
		s->sweep = SWEEP_END;
		s->sweep_at = mono_ns() + SWEEP_SETTLE_NS;
		break;
	case SWEEP_END:
		rc = sweep_end(s);
		break;
	}
	if (rc != 0)
		tell_failed(s, "cannot make a checkpoint", env_error(&s->env, rc));
	return rc == 0;
}

static void
chunk_done(struct store *s)
{
	s->image_applied = s->writing->applied;
	pthread_mutex_lock(&s->mutex);
	s->changes_bytes -= s->writing->bytes.len;
	s->stats.image_commits++;
	s->stats.image_records += s->job.written;
	s->stats.applied_on_disk = s->image_applied;
	pthread_mutex_unlock(&s->mutex);
	changes_free(s->writing);
	s->writing = NULL;
}

static bool
do_image(struct store *s)
{
	bool done = false;
	int rc = 0;

	if (s->job.txn == NULL) {
		check_space(s);
		if (!wait_for_room(s, s->writing->bytes.len))
			return false;
		s->space_used += 3 * (uint64_t)s->writing->bytes.len;
		rc = image_begin(&s->env, s->writing, &s->job);
	}
	if (rc == 0)
		rc = image_slice(&s->env, &s->job, s->slice > SLICE_MIN ? s->slice : SLICE_MIN, &done);
	if (rc != 0) {
		tell_failed(s, "cannot write the image of the state", env_error(&s->env, rc));
		return false;
	}
	if (!done)
		return true;
	chunk_done(s);
	return begin_sweep(s, s->config.checkpoint_bytes);
}

static bool
do_compact(struct store *s)
{
	uint64_t base = 0;
	bool more = false;
	int rc = log_compact(&s->env, s->compact_upto, &base, &more);

	if (rc != 0) {
		tell_failed(s, "cannot shorten the log", env_error(&s->env, rc));
		return false;
	}
	if (!more)
		s->compact_upto = 0;
	pthread_mutex_lock(&s->mutex);
	s->answers.compacted = true;
	s->answers.base = base;
	pthread_mutex_unlock(&s->mutex);
	tell(s);
	return true;
}

/* Everything is written: a last checkpoint makes the next start quick. */
static void
do_stop(struct store *s)
{
	(void)env_checkpoint(&s->env);
	pthread_mutex_lock(&s->mutex);
	s->answers.stopped = true;
	pthread_mutex_unlock(&s->mutex);
	tell(s);
}

/* False: that was the end. */
static bool
do_work(struct store *s, struct work *w)
{
	switch (w->kind) {
	case WORK_APPEND:
		return do_append(s, w);
	case WORK_IMAGE:
		return do_image(s);
	case WORK_SWEEP:
		return do_sweep(s);
	case WORK_COMPACT:
		return do_compact(s);
	case WORK_REST:
		s->rest_at = 0;
		return begin_sweep(s, REST_BYTES);
	case WORK_SPACE:
		check_space(s);
		return true;
	case WORK_STOP:
		do_stop(s);
		return false;
	case WORK_QUIT:
		return false;
	}
	return false;
}

void *
store_thread(void *arg)
{
	struct store *s = arg;
	struct work w = { 0 };
	bool go = true;

	check_space(s);
	/* Recovery ended with a checkpoint. */
	plan_compaction(s);
	while (go) {
		next_work(s, &w);
		s->other_turn = false;
		go = do_work(s, &w);
		if (w.kind == WORK_APPEND || w.kind == WORK_IMAGE || w.kind == WORK_COMPACT)
			s->rest_at = mono_ns() + REST_NS;
	}
	image_abort(&s->job);
	changes_free(s->writing);
	s->writing = NULL;
	return NULL;
}
