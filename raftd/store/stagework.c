/*
 * stagework.c - what the thread does for another image: records in slices,
 * then its pages, then the disk, then the switch.
 *
 * A disk may take seconds for a large file, and entries must not wait for
 * that: a thread that lives as long as the sync does it.
 */
#include <stdio.h>
#include <string.h>

#include "raftd/store/internal.h"

enum {
	STAGE_SLICE = 128,		/* records written at a time */
	STAGE_STEP = 10,		/* of a hundred pages */
	STAGE_RETRY_NS = 200000000,	/* when there is no room on the disk */
};

/* With the mutex held: the oldest chunk that waits; stopping, only of an image that gets complete. */
static struct changes *
take_chunk(struct store *s)
{
	struct changes *c = s->stages;

	if (c == NULL || (s->stopping && s->commits == 0))
		return NULL;
	s->stages = c->next;
	if (s->stages == NULL)
		s->stages_tail = &s->stages;
	return c;
}

bool
stage_due(struct store *s, uint64_t now)
{
	if (s->stage_phase != STAGE_WRITE)
		return s->stage_phase != STAGE_SYNC || s->synced;
	if (now < s->stage_at)
		return false;
	if (s->stage_writing == NULL)
		s->stage_writing = take_chunk(s);
	if (s->stage_writing != NULL && s->stage_writing->first)
		s->stage_drop = false;
	return s->stage_writing != NULL || (s->stage_drop && s->staging.db != NULL);
}

static bool
failed(struct store *s, int rc)
{
	if (rc != 0)
		thread_failed(s, "cannot write another image of the state", env_error(&s->env, rc));
	return rc == 0;
}

/* Begin the chunk, when there is room for it. */
static int
begin_chunk(struct store *s, bool *ret_room)
{
	struct changes *c = s->stage_writing;
	int rc = 0;

	thread_check_space(s);
	*ret_room = thread_room_for(s, c->bytes.len);
	if (!*ret_room) {
		s->stage_at = thread_now() + STAGE_RETRY_NS;
		return 0;
	}
	s->space_used += 2 * (uint64_t)c->bytes.len;
	if (c->first) {
		staging_drop(&s->staging, &s->dir);
		rc = staging_open(&s->staging, &s->env, &s->dir);
		c->first = false;
	}
	return rc != 0 ? rc : staging_begin(&s->staging, c);
}

static void
chunk_done(struct store *s)
{
	struct changes *c = s->stage_writing;

	pthread_mutex_lock(&s->mutex);
	s->changes_bytes -= c->bytes.len;
	s->stats.image_records += s->staging.job.written;
	pthread_mutex_unlock(&s->mutex);
	if (c->commit) {
		s->stage_phase = STAGE_PAGES;
		s->stage_percent = STAGE_STEP;
		return;
	}
	changes_free(c);
	s->stage_writing = NULL;
}

static bool
write_records(struct store *s)
{
	bool done = false, room = true;
	int rc = 0;

	if (s->stage_writing == NULL) {
		pthread_mutex_lock(&s->mutex);
		s->stage_drop = false;
		pthread_mutex_unlock(&s->mutex);
		staging_drop(&s->staging, &s->dir);
		return true;
	}
	if (s->staging.job.changes != s->stage_writing)
		rc = begin_chunk(s, &room);
	if (rc == 0 && room)
		rc = staging_slice(&s->staging, &s->dir, STAGE_SLICE, &done);
	if (done)
		chunk_done(s);
	return failed(s, rc);
}

static void *
sync_file(void *arg)
{
	struct store *s = arg;
	int rc = datadir_sync(&s->dir, s->staging.file);

	pthread_mutex_lock(&s->mutex);
	s->sync_rc = rc;
	s->synced = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static bool
write_pages(struct store *s)
{
	int rc = 0;

	if (s->stage_percent == STAGE_STEP)
		rc = staging_applied(&s->staging, s->stage_writing->applied);
	if (rc == 0)
		rc = staging_write_pages(&s->staging, s->stage_percent);
	s->stage_percent += STAGE_STEP;
	if (rc != 0 || s->stage_percent <= 100)
		return failed(s, rc);
	pthread_mutex_lock(&s->mutex);
	s->synced = false;
	pthread_mutex_unlock(&s->mutex);
	rc = pthread_create(&s->syncer, NULL, sync_file, s);
	if (rc == 0)
		s->stage_phase = STAGE_SYNC;
	return failed(s, rc);
}

static bool
sync_done(struct store *s)
{
	(void)pthread_join(s->syncer, NULL);
	s->stage_phase = STAGE_SWITCH;
	return failed(s, -s->sync_rc);
}

static void
tell_switched(struct store *s, const struct changes *c)
{
	pthread_mutex_lock(&s->mutex);
	s->commits--;
	s->answers.staged = true;
	s->answers.staged_applied = c->applied;
	s->stats.applied_on_disk = c->applied;
	s->stats.image_commits++;
	if (c->log_term != 0) {
		s->resets--;
		s->answers.durable = true;
		s->answers.d = s->durable;
		s->answers.epoch = s->epoch_done;
		s->answers.compacted = false;
	}
	pthread_mutex_unlock(&s->mutex);
	thread_tell(s);
}

/* The log is a new one. */
static int
log_switched(struct store *s, const struct changes *c, uint64_t epoch)
{
	s->log = (struct log_bounds){ c->applied, c->applied, c->log_term, epoch };
	s->durable.last = c->applied;
	s->epoch_done = c->epoch;
	return datadir_durable(&s->dir, &s->durable, epoch);
}

static bool
switch_files(struct store *s)
{
	struct changes *c = s->stage_writing;
	const struct env_switch sw = { c->applied, c->log_term, s->log.epoch + 1 };
	int rc = staging_close(&s->staging);

	if (rc == 0)
		rc = env_switch(&s->env, &sw);
	if (rc == 0 && c->log_term != 0)
		rc = -log_switched(s, c, sw.epoch);
	if (!failed(s, rc))
		return false;
	s->image_applied = c->applied;
	s->compact_upto = 0;
	tell_switched(s, c);
	changes_free(c);
	s->stage_writing = NULL;
	s->stage_phase = STAGE_WRITE;
	/* Recovery may need the old files until there is a checkpoint. */
	s->old_files = true;
	return thread_begin_sweep(s, 0);
}

bool
stage_work(struct store *s)
{
	switch (s->stage_phase) {
	case STAGE_WRITE:
		return write_records(s);
	case STAGE_PAGES:
		return write_pages(s);
	case STAGE_SYNC:
		return sync_done(s);
	case STAGE_SWITCH:
		return switch_files(s);
	}
	return false;
}

void
stage_end(struct store *s)
{
	if (s->stage_phase == STAGE_SYNC)
		(void)pthread_join(s->syncer, NULL);
	staging_drop(&s->staging, &s->dir);
	changes_free(s->stage_writing);
	s->stage_writing = NULL;
}
