/*
 * thread.c - what the store's thread does, and in which order.
 *
 * Entries first: all that wait go into one synced transaction. Under load it
 * pays to let a few more arrive, since a sync costs the same for one entry
 * and for fifty; how many to expect is learnt from the group before. The
 * image and who reads entries get slices in turn, one after each group and
 * whatever time is left, another image only when these have nothing to do, and
 * old entries go last. A checkpoint comes behind a chunk of the image, when enough
 * was written since the one before, and when writing has come to rest: a crash
 * of an idle server then has little to recover. What it has to write is written
 * in slices before it, so that entries wait for none of it long.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "raftd/store/internal.h"

enum {
	GROUP_FEW = 16,			/* up to so many writers nothing is waited for */
	GROUP_WAIT_NS = 4000000,	/* at most, since the first entry came */
	GROUP_GAP_NS = 400000,		/* at most without another one */
	SLICE_MIN = 64,			/* records of the image written at a time, */
	SLICE_NS = 10000000,		/* for as long as this, */
	SLICE_LAG_NS = 500000000,	/* and so much longer when all that may wait does */
	LAG_LITTLE = STORE_LAG_MAX / 8,	/* up to here the image keeps up */
	FULL_RETRY_NS = 200000000,
	SPACE_FRESH_NS = 10000000,	/* how long an answer of the file system about its room is taken for true */
	SWEEP_STEP = 10,		/* of a hundred pages, written at a time */
	SWEEP_SETTLE_NS = 50000000,	/* for the kernel to write what it was given */
	REST_NS = 1000000000,		/* nothing written for so long: the server is idle */
	REST_BYTES = 512 * 1024,	/* of log that an idle server does not leave to recovery: some 20 ms of it */
};

struct work {
	enum { WORK_APPEND, WORK_READ, WORK_IMAGE, WORK_STAGE, WORK_SWEEP, WORK_COMPACT, WORK_REST, WORK_SPACE, WORK_STOP, WORK_QUIT } kind;
	struct append a;
	uint64_t epoch;			/* when it is done */
	size_t entries, bytes;
};

uint64_t
thread_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- answers */

void
thread_tell(struct store *s)
{
	(void)uv_async_send(s->async);
}

void
thread_failed(struct store *s, const char *what, const char *why)
{
	pthread_mutex_lock(&s->mutex);
	s->answers.failed = true;
	(void)snprintf(s->answers.text, sizeof(s->answers.text), "%s: %s: %s", s->path, what, why);
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
}

static void
tell_full(struct store *s, bool full)
{
	s->full = full;
	pthread_mutex_lock(&s->mutex);
	s->answers.space = true;
	s->answers.full = full;
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
}

/* ---- what comes next; called with the mutex held */

static bool
has_entries(const struct store *s)
{
	return s->state || (s->resets == 0 && (s->batches != NULL || s->cut != CUT_NONE));
}

/* Until when to let entries gather, 0: they go now. */
static uint64_t
gather_until(const struct store *s, uint64_t now)
{
	uint64_t latest = s->first_ns + GROUP_WAIT_NS, gap = s->newest_ns + GROUP_GAP_NS;
	uint64_t until = latest < gap ? latest : gap;

	if (s->state || s->cut != CUT_NONE || s->stopping || s->nentries >= s->want || until <= now)
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
	*w = (struct work){ .kind = WORK_APPEND, .epoch = s->epoch_done };
	w->a = (struct append){ .state = s->state, .term = s->term, .vote = s->vote, .cut = CUT_NONE };
	if (s->state) {
		w->a.cluster = s->cluster;
		s->cluster = 0;
	}
	s->state = false;
	if (s->resets > 0)
		return;
	w->a.batches = s->batches;
	w->a.cut = s->cut;
	w->epoch = s->cut_epoch;
	w->entries = s->nentries;
	for (const struct batch *b = s->batches; b != NULL; b = b->store_next)
		w->bytes += b->store_len;
	s->batches = NULL;
	s->batches_tail = &s->batches;
	s->nentries = 0;
	s->cut = CUT_NONE;
}

/* A chunk is being written, or one waits. Those that wait for a commit are changes of another image. */
static bool
has_image(struct store *s)
{
	if (s->writing == NULL && s->changes != NULL && s->commits == 0) {
		s->writing = s->changes;
		s->changes = s->writing->next;
		if (s->changes == NULL)
			s->changes_tail = &s->changes;
	}
	return s->writing != NULL;
}

/* What was asked behind a cut is read behind it. */
static bool
has_read(struct store *s)
{
	if (s->reading == NULL && s->reads != NULL && s->cut == CUT_NONE && s->resets == 0) {
		s->reading = s->reads;
		s->reads = s->reading->next;
		s->reading->next = NULL;
		if (s->reads == NULL)
			s->reads_tail = &s->reads;
	}
	return s->reading != NULL;
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
	bool image = has_image(s);

	if (sweep_due(s, now))
		w->kind = WORK_SWEEP;
	else if (has_read(s) && !(image && s->image_turn))
		w->kind = WORK_READ;
	else if (image)
		w->kind = WORK_IMAGE;
	else if (stage_due(s, now))
		w->kind = WORK_STAGE;
	else if (s->compact_upto != 0)
		w->kind = WORK_COMPACT;
	else
		return false;
	s->image_turn = w->kind == WORK_READ;
	return true;
}

/* 0 is never. */
static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return b == 0 || (a != 0 && a < b) ? a : b;
}

/* What an idle store has to do, at *ret_at (0: never) if not now. */
static bool
idle_work(struct store *s, uint64_t now, struct work *w, uint64_t *ret_at)
{
	if (s->stopping && s->stage_phase == STAGE_WRITE) {
		w->kind = WORK_STOP;
		return true;
	}
	if (s->full && now >= s->space_ns + FULL_RETRY_NS) {
		w->kind = WORK_SPACE;
		return true;
	}
	if (s->sweep == SWEEP_NONE && s->rest_at != 0 && now >= s->rest_at) {
		w->kind = WORK_REST;
		return true;
	}
	*ret_at = s->full ? s->space_ns + FULL_RETRY_NS : s->sweep != SWEEP_NONE ? s->sweep_at : s->rest_at;
	if (s->stages != NULL || s->stage_writing != NULL)
		*ret_at = sooner(s->stage_at, *ret_at);
	return false;
}

/* Wait, and say what to do. */
static void
next_work(struct store *s, struct work *w)
{
	uint64_t now, until;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		now = thread_now();
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
	uint64_t now = thread_now();

	if (s->space_ns == 0 || now - s->space_ns >= SPACE_FRESH_NS) {
		s->space = datadir_space(&s->dir);
		s->space_ns = now;
		s->space_used = 0;
	}
	return s->space > s->space_used ? s->space - s->space_used : 0;
}

void
thread_check_space(struct store *s)
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

bool
thread_room_for(struct store *s, size_t bytes)
{
	return space_left(s) > s->config.space_min / 2 + 3 * (uint64_t)bytes;
}

/* Wait for room. False: told to quit. */
static bool
wait_for_room(struct store *s, size_t bytes)
{
	bool quit = false;

	while (!quit && !thread_room_for(s, bytes)) {
		pthread_mutex_lock(&s->mutex);
		wait_until(s, thread_now() + FULL_RETRY_NS);
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
	s->answers.epoch = s->epoch_done;
	s->stats.syncs++;
	s->stats.entries += w->entries;
	s->stats.sync_ns += ns;
	/* Who was answered now and who waits already will all be back soon. */
	s->want = w->entries + s->nentries;
	s->want = s->want > GROUP_FEW ? s->want * 3 / 4 : 1;
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
}

/* What Berkeley DB calls DB_RUNRECOVERY is damage too when it comes while reading. */
static void
log_failed(struct store *s, const char *what, int rc, uint64_t index)
{
	char text[512];

	if (rc == EDECODE)
		(void)snprintf(text, sizeof(text), "the log on disk is damaged at index %" PRIu64 "; " DAMAGE_HINT, index);
	else if (rc == DB_RUNRECOVERY)
		(void)snprintf(text, sizeof(text), "%s; " DAMAGE_HINT, env_error(&s->env, rc));
	thread_failed(s, what, rc == EDECODE || rc == DB_RUNRECOVERY ? text : env_error(&s->env, rc));
}

static bool
write_entries(struct store *s, const struct work *w)
{
	uint64_t bad = 0;
	int rc;

	thread_check_space(s);
	if (!wait_for_room(s, w->bytes))
		return false;
	s->space_used += 3 * (uint64_t)w->bytes;
	rc = log_append(&s->env, &w->a, &s->log, &bad);
	if (rc != 0) {
		log_failed(s, "cannot write the log", rc, bad);
		return false;
	}
	if (w->a.state) {
		s->durable.term = w->a.term;
		s->durable.vote = w->a.vote;
	}
	s->durable.last = s->log.last;
	s->epoch_done = w->epoch;
	rc = datadir_durable(&s->dir, &s->durable, s->log.epoch);
	if (rc < 0) {
		thread_failed(s, "cannot write the file named durable", err_text(rc));
		return false;
	}
	return true;
}

static bool
do_append(struct store *s, struct work *w)
{
	uint64_t began = thread_now();
	bool done = write_entries(s, w);
	struct batch *next;

	/* Before the loop is told: it may use them again then. */
	for (struct batch *b = w->a.batches; b != NULL; b = next) {
		next = b->store_next;
		batch_free(b);
	}
	if (!done)
		return false;
	told_durable(s, w, thread_now() - began);
	/* Twice as many records as entries: the image cannot fall behind for ever. */
	s->other_turn = true;
	s->slice += 2 * w->entries;
	return true;
}

/* A slice, or the answer: when all was read, or the rest is not there any more. */
static bool
do_read(struct store *s)
{
	struct read_job *job = s->reading;
	bool done = job->at <= s->log.base || job->at > s->log.last;
	uint64_t bad = 0;
	int rc = done ? 0 : log_read(&s->env, job, s->log.last, &done, &bad);

	if (rc != 0) {
		char what[64];

		(void)snprintf(what, sizeof(what), "cannot read the log at index %" PRIu64, bad);
		log_failed(s, what, rc, bad);
		return false;
	}
	if (!done)
		return true;
	pthread_mutex_lock(&s->mutex);
	s->reading = NULL;
	*s->answers.reads_tail = job;
	s->answers.reads_tail = &job->next;
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
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
	s->compact_upto = s->image_applied > trailing ? s->image_applied - trailing : 0;
}

bool
thread_begin_sweep(struct store *s, uint64_t bytes)
{
	uint64_t written = 0;
	int rc;

	if (s->sweep != SWEEP_NONE)
		return true;
	rc = env_log_bytes(&s->env, &written);
	if (rc != 0) {
		thread_failed(s, "cannot tell what a checkpoint would take", env_error(&s->env, rc));
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
	if (rc == 0 && s->old_files)
		rc = -env_remove_others(&s->env, &s->dir, s->staging.file);
	if (rc != 0)
		return rc;
	s->old_files = false;
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
		env_begin_writing(&s->env, &s->dir);
		s->sweep = SWEEP_END;
		s->sweep_at = thread_now() + SWEEP_SETTLE_NS;
		break;
	case SWEEP_END:
		rc = sweep_end(s);
		break;
	}
	if (rc != 0)
		thread_failed(s, "cannot make a checkpoint", env_error(&s->env, rc));
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

/*
 * As many records as twice the entries since the last slice, so that the
 * image keeps up. When it does not, its slices grow long, which slows those
 * who write entries, but a second without any would look like a dead disk.
 */
static int
next_slice(struct store *s, bool *ret_done)
{
	size_t records = s->slice > SLICE_MIN ? s->slice : SLICE_MIN;
	uint64_t lag, until;

	pthread_mutex_lock(&s->mutex);
	lag = s->changes_bytes < STORE_LAG_MAX ? s->changes_bytes : STORE_LAG_MAX;
	pthread_mutex_unlock(&s->mutex);
	until = thread_now() + SLICE_NS + SLICE_LAG_NS * (lag / 1024) / (STORE_LAG_MAX / 1024);
	s->slice = 0;
	return image_slice(&s->env, &s->job, lag > LAG_LITTLE ? SIZE_MAX : records, until, ret_done);
}

static bool
do_image(struct store *s)
{
	bool done = false;
	int rc = 0;

	if (s->job.txn == NULL) {
		thread_check_space(s);
		if (!wait_for_room(s, s->writing->bytes.len))
			return false;
		s->space_used += 3 * (uint64_t)s->writing->bytes.len;
		rc = image_begin(&s->env, s->writing, &s->job);
	}
	if (rc == 0)
		rc = next_slice(s, &done);
	if (rc != 0) {
		thread_failed(s, "cannot write the image of the state", env_error(&s->env, rc));
		return false;
	}
	if (!done)
		return true;
	chunk_done(s);
	return thread_begin_sweep(s, s->config.checkpoint_bytes);
}

static bool
do_compact(struct store *s)
{
	uint64_t base = 0, keep;
	bool more = false;
	int rc;

	pthread_mutex_lock(&s->mutex);
	keep = s->keep;
	pthread_mutex_unlock(&s->mutex);
	rc = log_compact(&s->env, s->compact_upto < keep ? s->compact_upto : keep, &base, &more);
	if (rc != 0) {
		thread_failed(s, "cannot shorten the log", env_error(&s->env, rc));
		return false;
	}
	if (!more)
		s->compact_upto = 0;
	if (base <= s->log.base)
		return true;
	s->log.base = base;
	pthread_mutex_lock(&s->mutex);
	s->answers.compacted = true;
	s->answers.base = base;
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
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
	thread_tell(s);
}

/* False: that was the end. */
static bool
do_work(struct store *s, struct work *w)
{
	switch (w->kind) {
	case WORK_APPEND:
		return do_append(s, w);
	case WORK_READ:
		return do_read(s);
	case WORK_IMAGE:
		return do_image(s);
	case WORK_STAGE:
		return stage_work(s);
	case WORK_SWEEP:
		return do_sweep(s);
	case WORK_COMPACT:
		return do_compact(s);
	case WORK_REST:
		s->rest_at = 0;
		return thread_begin_sweep(s, REST_BYTES);
	case WORK_SPACE:
		thread_check_space(s);
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

	thread_check_space(s);
	/* Recovery ended with a checkpoint. */
	plan_compaction(s);
	while (go) {
		next_work(s, &w);
		s->other_turn = false;
		go = do_work(s, &w);
		if (w.kind == WORK_APPEND || w.kind == WORK_IMAGE || w.kind == WORK_STAGE || w.kind == WORK_COMPACT)
			s->rest_at = thread_now() + REST_NS;
	}
	image_abort(&s->job);
	stage_end(s);
	changes_free(s->writing);
	s->writing = NULL;
	return NULL;
}
