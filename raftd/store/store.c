/* store.c - the loop's side of the store: opening, queueing, and the answers. */
#include "raftd/store/store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftd/store/internal.h"

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
	pthread_mutex_unlock(&s->mutex);
	if (a.space)
		ev->space(s->config.ctx, a.full);
	if (a.durable)
		ev->durable(s->config.ctx, &a.d, a.index_term);
	if (a.compacted)
		ev->compacted(s->config.ctx, a.base);
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
	s->changes_tail = &s->changes;
	s->want = 1;
	s->trailing = c->trailing;
	buf_init(&s->start.servers, 1 * MiB);
	buf_init(&s->servers, 1 * MiB);
	buf_init(&s->servers_in, 1 * MiB);
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

/* Recovery must yield at least what this server had promised. */
static int
check_durable(const struct store *s, char *ret_err)
{
	const struct durable *d = &s->dir.durable;
	const struct store_start *st = &s->start;

	if (st->last < d->last || st->term < d->term || (st->term == d->term && d->vote != 0 && st->vote != d->vote)) {
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

static int
open_parts(struct store *s, char *ret_err)
{
	int rc = datadir_open(&s->dir, s->path, ret_err);

	if (rc == 0)
		rc = env_open(&s->env, s->path, s->config.tables, ret_err);
	if (rc == 0)
		rc = log_start(&s->env, &s->start, ret_err);
	if (rc == 0)
		rc = check_id(s, ret_err);
	if (rc == 0)
		rc = check_durable(s, ret_err);
	return rc;
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
	s->durable = (struct durable){ s->start.term, s->start.vote, s->start.last };
	s->last_term = s->start.nruns > 0 ? s->start.runs[s->start.nruns - 1].term : 0;
	s->image_applied = s->stats.applied_on_disk = s->start.applied;
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
store_append(struct store *s, struct batch *b)
{
	uint64_t now = mono_ns();
	bool wake;

	b->store_next = NULL;
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

int
store_servers(struct store *s, uint64_t index, struct str bytes)
{
	int rc;

	pthread_mutex_lock(&s->mutex);
	buf_clear(&s->servers_in);
	rc = buf_add(&s->servers_in, bytes.p, bytes.len);
	if (rc == 0)
		s->servers_index = index;
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int
store_change(struct store *s, unsigned table, struct str key, struct str value)
{
	return changes_add(s->adding, table, key, value);
}

size_t
store_changed_bytes(const struct store *s)
{
	return s->adding->bytes.len;
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
	*s->changes_tail = c;
	s->changes_tail = &c->next;
	s->changes_bytes += c->bytes.len;
	pthread_cond_signal(&s->wake);
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
	ret->image_lag_bytes += s->adding->bytes.len;
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

void
store_free(struct store *s)
{
	struct changes *c;

	if (s == NULL)
		return;
	end_thread(s);
	if (s->async != NULL) {
		s->async->data = NULL;
		uv_close((uv_handle_t *)s->async, async_closed);
	}
	env_close(&s->env);
	datadir_close(&s->dir);
	while ((c = s->changes) != NULL) {
		s->changes = c->next;
		changes_free(c);
	}
	changes_free(s->adding);
	buf_release(&s->start.servers);
	buf_release(&s->servers);
	buf_release(&s->servers_in);
	free(s->start.runs);
	free(s->path);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->mutex);
	free(s);
}
