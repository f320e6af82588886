/* store.c - the loop's side of the store: opening, queueing, and the answers. */
#include "raftd/store/store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftd/store/internal.h"

/* What was cut off since it was read is not told. */
static void
tell_reads(struct store *s, struct read_job *job)
{
	struct read_job *next;

	for (; job != NULL; job = next) {
		struct batch *list;

		next = job->next;
		read_job_trim(job);
		list = job->list;
		job->list = NULL;
		s->nreads--;
		s->config.events->read(s->config.ctx, job->arg, list);
		read_job_free(job);
	}
}

static void
on_async(uv_async_t *async)
{
	struct store *s = async->data;
	const struct store_events *ev;
	struct answers a;

	if (s == NULL)
		return;
	ev = s->config.events;
	pthread_mutex_lock(&s->mutex);
	a = s->answers;
	s->answers = (struct answers){ 0 };
	s->answers.reads_tail = &s->answers.reads;
	pthread_mutex_unlock(&s->mutex);
	if (a.space)
		ev->space(s->config.ctx, a.full);
	if (a.staged)
		ev->staged(s->config.ctx, a.staged_applied);
	if (a.durable)
		ev->durable(s->config.ctx, &a.d, a.epoch);
	if (a.compacted)
		ev->compacted(s->config.ctx, a.base);
	tell_reads(s, a.reads);
	if (a.failed)
		ev->failed(s->config.ctx, a.text);
	if (a.stopped)
		ev->stopped(s->config.ctx);
}

static void
async_closed(uv_handle_t *h)
{
	free(h);
}

static int
init_async(struct store *s, struct loop *l)
{
	uv_async_t *async = calloc(1, sizeof(*async));
	int rc;

	if (async == NULL)
		return -ENOMEM;
	rc = uv_async_init(&l->uv, async, on_async);
	if (rc < 0) {
		free(async);
		return rc;
	}
	async->data = s;
	s->async = async;
	return 0;
}

static int
init(struct store *s, struct loop *l, const struct store_config *c)
{
	pthread_condattr_t attr;

	s->config = *c;
	if (s->config.checkpoint_bytes == 0)
		s->config.checkpoint_bytes = STORE_CHECKPOINT_BYTES;
	if (s->config.space_min == 0)
		s->config.space_min = STORE_SPACE_MIN;
	s->dir = (struct datadir)DATADIR_INIT;
	s->batches_tail = &s->batches;
	s->cut = CUT_NONE;
	s->changes_tail = &s->changes;
	s->stages_tail = &s->stages;
	s->reads_tail = &s->reads;
	s->answers.reads_tail = &s->answers.reads;
	s->keep = UINT64_MAX;
	s->want = 1;
	s->trailing = c->trailing;
	(void)pthread_mutex_init(&s->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	s->path = strdup(c->path);
	s->adding = changes_new();
	if (s->path == NULL || s->adding == NULL)
		return -ENOMEM;
	return init_async(s, l);
}

/* The environment must be the one of this directory's id. */
static int
check_id(struct store *s, char *ret_err)
{
	uint64_t id = 0;
	int rc = env_meta_get(s->env.meta, "id", &id, 1);

	if (rc == DB_NOTFOUND && s->start.last == 0) {
		id = s->dir.id;
		rc = env_meta_put(s->env.meta, NULL, "id", &id, 1);
	}
	if (rc != 0) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s: cannot read the database: %s", s->path, env_error(&s->env, rc));
		return -EIO;
	}
	if (id != s->dir.id) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX,
		    "%s holds files of two data directories (id %016" PRIx64 " and %016" PRIx64 "): restore one of them whole",
		    s->path, s->dir.id, id);
		return -EDECODE;
	}
	s->start.id = id;
	return 0;
}

/*
 * How far the log had been promised, and was not cut off since: the mark may
 * be older than the transaction that cut, by one when only this process was
 * killed between the two. After a loss of power it may be older than that,
 * and says nothing of the log then.
 */
static uint64_t
promised_last(const struct store *s, const struct log_found *f)
{
	uint64_t last = s->dir.durable.last;

	if (f->epoch == s->dir.epoch)
		return last;
	return f->epoch == s->dir.epoch + 1 && f->cut > last ? last : f->epoch == s->dir.epoch + 1 ? f->cut : 0;
}

/* Recovery must yield at least what this server had promised. */
static int
check_durable(const struct store *s, const struct log_found *f, char *ret_err)
{
	const struct durable *d = &s->dir.durable;
	const struct store_start *st = &s->start;

	if (f->epoch < s->dir.epoch || st->last < promised_last(s, f) || st->term < d->term ||
	    (st->term == d->term && d->vote != 0 && st->vote != d->vote)) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX,
		    "%s has lost data that was safely written: recovery found entries up to %" PRIu64 " of term %" PRIu64
		    ", but %" PRIu64 " of term %" PRIu64 " had been promised; move the directory away and let the server rejoin "
		    "as a new member, or restore a backup", s->path, st->last, st->term, d->last, d->term);
		return -EDECODE;
	}
	if (st->applied > st->last || st->applied < st->base) {
		(void)snprintf(ret_err, DATADIR_ERROR_MAX,
		    "%s is damaged: its image stands at %" PRIu64 ", outside of the log from %" PRIu64 " to %" PRIu64
		    "; move the directory away and let the server rejoin as a new member, or restore a backup",
		    s->path, st->applied, st->base, st->last);
		return -EDECODE;
	}
	return 0;
}

/* From here on the strict comparison holds again. */
static int
begin(struct store *s, const struct log_found *f, char *ret_err)
{
	const struct store_start *st = &s->start;
	int rc;

	s->durable = (struct durable){ st->term, st->vote, st->last };
	s->log = (struct log_bounds){ st->base, st->last, st->nruns > 0 ? st->runs[st->nruns - 1].term : 0, f->epoch };
	s->image_applied = s->stats.applied_on_disk = st->applied;
	rc = datadir_durable(&s->dir, &s->durable, f->epoch);
	if (rc == 0)
		rc = env_remove_others(&s->env, &s->dir, "");
	if (rc < 0)
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "%s: cannot be written: %s", s->path, err_text(rc));
	return rc;
}

static int
open_parts(struct store *s, char *ret_err)
{
	struct log_found found = { 0, 0 };
	int rc = datadir_open(&s->dir, s->path, ret_err);

	if (rc == 0)
		rc = env_open(&s->env, s->path, s->config.tables, ret_err);
	if (rc == 0)
		rc = log_start(&s->env, &s->start, &found, ret_err);
	if (rc == 0)
		rc = check_id(s, ret_err);
	if (rc == 0)
		rc = check_durable(s, &found, ret_err);
	return rc < 0 ? rc : begin(s, &found, ret_err);
}

int
store_open(struct loop *l, const struct store_config *c, struct store **ret, char ret_err[DATADIR_ERROR_MAX])
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL || c->tables > STORE_TABLES_MAX) {
		free(s);
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "no memory for the store");
		return -ENOMEM;
	}
	rc = init(s, l, c);
	if (rc < 0)
		(void)snprintf(ret_err, DATADIR_ERROR_MAX, "cannot set up the store: %s", err_text(rc));
	else
		rc = open_parts(s, ret_err);
	if (rc < 0) {
		store_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

const struct store_start *
store_found(const struct store *s)
{
	return &s->start;
}

int
store_load(struct store *s, const struct store_loader *ld, char ret_err[DATADIR_ERROR_MAX])
{
	int rc = image_load(&s->env, ld, ret_err);

	return rc < 0 ? rc : log_load(&s->env, s->start.applied, s->start.last, ld, ret_err);
}

/* Signals are the loop's: the thread takes none. */
int
store_run(struct store *s)
{
	sigset_t all, old;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, store_thread, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->thread_runs = rc == 0;
	return -rc;
}

static uint64_t
mono_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
store_set_trailing(struct store *s, uint64_t entries)
{
	pthread_mutex_lock(&s->mutex);
	s->trailing = entries;
	pthread_mutex_unlock(&s->mutex);
}

void
store_state(struct store *s, uint64_t term, uint64_t vote)
{
	pthread_mutex_lock(&s->mutex);
	s->state = true;
	s->term = term;
	s->vote = vote;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

void
store_cluster(struct store *s, uint64_t cluster)
{
	pthread_mutex_lock(&s->mutex);
	s->cluster = cluster;
	pthread_mutex_unlock(&s->mutex);
}

void
store_append(struct store *s, struct batch *b)
{
	uint64_t now = mono_ns();
	bool wake;

	batch_hold(b);
	b->store_next = NULL;
	b->store_n = b->n;
	b->store_len = b->bytes.len;
	pthread_mutex_lock(&s->mutex);
	if (s->batches == NULL)
		s->first_ns = now;
	s->newest_ns = now;
	*s->batches_tail = b;
	s->batches_tail = &b->store_next;
	s->nentries += b->n;
	/* While the thread counts on more it looks by itself from time to time. */
	wake = s->nentries >= s->want || s->nentries == b->n;
	pthread_mutex_unlock(&s->mutex);
	/* Behind the unlock: the thread would else wake up only to wait for the mutex. */
	if (wake)
		pthread_cond_signal(&s->wake);
}

/* With the mutex held: what waits is not written from this index on. */
static void
cut_waiting(struct store *s, uint64_t from)
{
	struct batch **at = &s->batches, *b;

	while (*at != NULL && (*at)->first < from) {
		b = *at;
		if (b->first + b->store_n > from) {
			s->nentries -= b->store_n;
			s->nentries += from - b->first;
			b->store_n = (uint32_t)(from - b->first);
			b->store_len = batch_len(b, b->store_n);
		}
		at = &b->store_next;
	}
	s->batches_tail = at;
	while ((b = *at) != NULL) {
		*at = b->store_next;
		s->nentries -= b->store_n;
		batch_free(b);
	}
}

/* With the mutex held: neither do reads tell of it. */
static void
cut_reads(struct store *s, uint64_t from)
{
	struct read_job *const lists[] = { s->reads, s->answers.reads };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (struct read_job *job = lists[i]; job != NULL; job = job->next)
			job->cut = from < job->cut ? from : job->cut;
	if (s->reading != NULL && from < s->reading->cut)
		s->reading->cut = from;
}

/* What waits is cut here, so that one cut in front of it does for any number. */
void
store_truncate(struct store *s, uint64_t from)
{
	pthread_mutex_lock(&s->mutex);
	cut_waiting(s, from);
	cut_reads(s, from);
	if (from < s->cut)
		s->cut = from;
	s->cut_epoch = ++s->epoch;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

int
store_read(struct store *s, uint64_t first, size_t max_bytes, uint64_t arg)
{
	struct read_job *job;

	if (s->nreads == READS_MAX)
		return -ELIMIT;
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return -ENOMEM;
	*job = (struct read_job){ .at = first, .arg = arg, .max_bytes = max_bytes, .cut = CUT_NONE };
	job->tail = &job->list;
	s->nreads++;
	pthread_mutex_lock(&s->mutex);
	*s->reads_tail = job;
	s->reads_tail = &job->next;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

void
store_keep(struct store *s, uint64_t index)
{
	pthread_mutex_lock(&s->mutex);
	s->keep = index;
	pthread_mutex_unlock(&s->mutex);
}

int
store_change(struct store *s, unsigned table, struct str key, struct str value)
{
	return changes_add(s->adding, table, key, value);
}

size_t
store_changed_bytes(const struct store *s)
{
	return s->adding->bytes.len + (s->stage_adding != NULL ? s->stage_adding->bytes.len : 0);
}

/* With the mutex held. */
static void
queue_changes(struct store *s, struct changes ***tail, struct changes *c)
{
	**tail = c;
	*tail = &c->next;
	s->changes_bytes += c->bytes.len;
	pthread_cond_signal(&s->wake);
}

int
store_changes_send(struct store *s, uint64_t applied)
{
	struct changes *c = s->adding, *next = changes_new();

	if (next == NULL)
		return -ENOMEM;
	s->adding = next;
	c->applied = applied;
	pthread_mutex_lock(&s->mutex);
	queue_changes(s, &s->changes_tail, c);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

/* With the mutex held: free what waits behind *at. */
static void
drop_changes(struct store *s, struct changes **at, struct changes ***tail)
{
	struct changes *c;

	*tail = at;
	while ((c = *at) != NULL) {
		*at = c->next;
		s->changes_bytes -= c->bytes.len;
		changes_free(c);
	}
}

void
store_stage_drop(struct store *s)
{
	struct changes **at;

	changes_free(s->stage_adding);
	s->stage_adding = NULL;
	pthread_mutex_lock(&s->mutex);
	at = &s->stages;
	for (struct changes **c = at; *c != NULL; c = &(*c)->next)
		if ((*c)->commit)
			at = &(*c)->next;
	drop_changes(s, at, &s->stages_tail);
	s->stage_drop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

void
store_stage_begin(struct store *s)
{
	store_stage_drop(s);
	s->stage_first = true;
}

static int
need_stage(struct store *s)
{
	if (s->stage_adding == NULL)
		s->stage_adding = changes_new();
	return s->stage_adding != NULL ? 0 : -ENOMEM;
}

int
store_stage(struct store *s, unsigned table, struct str key, struct str value)
{
	int rc = need_stage(s);

	return rc < 0 ? rc : changes_add(s->stage_adding, table, key, value);
}

/* The loop's: what was added, to be queued. */
static struct changes *
take_stage(struct store *s)
{
	struct changes *c = s->stage_adding;

	c->first = s->stage_first;
	s->stage_first = false;
	s->stage_adding = NULL;
	return c;
}

int
store_stage_send(struct store *s)
{
	if (s->stage_adding == NULL)
		return 0;
	pthread_mutex_lock(&s->mutex);
	queue_changes(s, &s->stages_tail, take_stage(s));
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

/*
 * Changes of the image in force that still wait, sent or not, are none of the
 * new one and not worth writing. What is added from here on is of the new one, and entries behind a new log's begin
 * are the first of it: the thread leaves both until it has switched.
 */
int
store_stage_commit(struct store *s, uint64_t applied, uint64_t log_term)
{
	struct changes *c, *fresh = changes_new();
	int rc = fresh != NULL ? need_stage(s) : -ENOMEM;

	if (rc < 0) {
		changes_free(fresh);
		return rc;
	}
	changes_free(s->adding);
	s->adding = fresh;
	c = take_stage(s);
	c->commit = true;
	c->applied = applied;
	c->log_term = log_term;
	pthread_mutex_lock(&s->mutex);
	drop_changes(s, &s->changes, &s->changes_tail);
	s->commits++;
	if (log_term != 0) {
		c->epoch = ++s->epoch;
		cut_waiting(s, 0);
		cut_reads(s, 0);
		s->cut = CUT_NONE;
		s->cut_epoch = s->epoch;
		s->resets++;
	}
	queue_changes(s, &s->stages_tail, c);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}


void
store_stop(struct store *s)
{
	pthread_mutex_lock(&s->mutex);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

void
store_stats(struct store *s, struct store_stats *ret)
{
	pthread_mutex_lock(&s->mutex);
	*ret = s->stats;
	ret->image_lag_bytes = s->changes_bytes;
	pthread_mutex_unlock(&s->mutex);
	ret->image_lag_bytes += store_changed_bytes(s);
}

static void
end_thread(struct store *s)
{
	if (!s->thread_runs)
		return;
	pthread_mutex_lock(&s->mutex);
	s->quit = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
	(void)pthread_join(s->thread, NULL);
}

static void
free_reads(struct read_job *job)
{
	struct read_job *next;

	for (; job != NULL; job = next) {
		next = job->next;
		read_job_free(job);
	}
}

void
store_free(struct store *s)
{
	if (s == NULL)
		return;
	end_thread(s);
	if (s->async != NULL) {
		s->async->data = NULL;
		uv_close((uv_handle_t *)s->async, async_closed);
	}
	env_close(&s->env);
	datadir_close(&s->dir);
	drop_changes(s, &s->changes, &s->changes_tail);
	drop_changes(s, &s->stages, &s->stages_tail);
	changes_free(s->adding);
	changes_free(s->stage_adding);
	cut_waiting(s, 0);
	free_reads(s->reads);
	free_reads(s->answers.reads);
	read_job_free(s->reading);
	free(s->start.runs);
	free(s->path);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->mutex);
	free(s);
}
