/* loop.c - the end of a turn: deferred work, then deferred flushes. */
#include "lib/loop.h"

#include <time.h>

/* More rounds than any honest chain of work needs; a cycle must not starve the loop. */
enum { DEFER_ROUNDS_MAX = 64 };

static void
run_phase(struct loop *l, enum defer_phase phase)
{
	struct defer *d = l->head[phase];

	l->head[phase] = NULL;
	l->tail[phase] = &l->head[phase];
	/* The list may change under a callback: take one at a time. */
	while (d != NULL) {
		struct defer *next = d->next;

		d->queued = false;
		d->next = NULL;
		l->running = next;
		d->cb(d);
		d = l->running;
	}
	l->running = NULL;
}

static void
turn_end(uv_prepare_t *p)
{
	struct loop *l = p->data;

	l->turns++;
	for (int i = 0; i < DEFER_ROUNDS_MAX; i++) {
		if (l->head[DEFER_WORK] != NULL)
			run_phase(l, DEFER_WORK);
		else if (l->head[DEFER_FLUSH] != NULL)
			run_phase(l, DEFER_FLUSH);
		else
			break;
	}
	/* What is left waits for the next turn, which must then come at once. */
	if (l->head[DEFER_WORK] != NULL || l->head[DEFER_FLUSH] != NULL)
		(void)uv_idle_start(&l->again, l->again_cb);
	else
		(void)uv_idle_stop(&l->again);
}

static void
again_cb(uv_idle_t *h)
{
	(void)h;
}

int
loop_init(struct loop *l)
{
	int rc;

	for (int i = 0; i < DEFER_PHASES; i++) {
		l->head[i] = NULL;
		l->tail[i] = &l->head[i];
	}
	l->running = NULL;
	l->turns = 0;
	l->again_cb = again_cb;
	rc = uv_loop_init(&l->uv);
	if (rc < 0)
		return rc;
	rc = uv_prepare_init(&l->uv, &l->prepare);
	if (rc == 0)
		rc = uv_idle_init(&l->uv, &l->again);
	if (rc < 0)
		return rc;
	l->prepare.data = l;
	rc = uv_prepare_start(&l->prepare, turn_end);
	uv_unref((uv_handle_t *)&l->prepare);
	return rc;
}

void
loop_defer(struct loop *l, enum defer_phase phase, struct defer *d)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	*l->tail[phase] = d;
	l->tail[phase] = &d->next;
}

void
loop_undefer(struct loop *l, enum defer_phase phase, struct defer *d)
{
	struct defer **p;

	if (!d->queued)
		return;
	for (p = &l->running; *p != NULL; p = &(*p)->next)
		if (*p == d) {
			*p = d->next;
			d->queued = false;
			return;
		}
	for (p = &l->head[phase]; *p != NULL; p = &(*p)->next)
		if (*p == d) {
			*p = d->next;
			if (l->tail[phase] == &d->next)
				l->tail[phase] = p;
			d->queued = false;
			return;
		}
}

void
loop_run(struct loop *l)
{
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

void
loop_release(struct loop *l)
{
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->again, NULL);
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
	(void)uv_loop_close(&l->uv);
}

uint64_t
clock_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
clock_ms(void)
{
	return clock_ns() / 1000000u;
}
