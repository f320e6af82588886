/* alarms.c - the alarms of one clock behind one timer of the kernel. */
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "checkd/alarms.h"
#include "lib/log.h"

struct alarms {
	struct alarm_heap heap;
	clockid_t clock;
	int fd;
	uint64_t armed_ms;	/* when the kernel wakes us; 0: never */
	bool waking, graced, closing;
	uv_poll_t poll;
};

uint64_t
alarms_clock_ms(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

uint64_t
alarms_now(const struct alarms *all)
{
	return alarms_clock_ms(all->clock);
}

/*
 * An earlier wake-up than needed does no harm: it is moved when it comes. So
 * alarms that are set and taken back, as those of time-outs are, cost nothing.
 */
static void
arm(struct alarms *all, uint64_t at_ms)
{
	uint64_t up = (at_ms + ALARMS_GRAIN_MS - 1) / ALARMS_GRAIN_MS * ALARMS_GRAIN_MS;
	struct itimerspec when = { .it_value = { (time_t)(up / 1000), (long)(up % 1000) * 1000000 } };

	if (all->armed_ms != 0 && all->armed_ms <= up)
		return;
	if (timerfd_settime(all->fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
		log_fatal("agent", "cannot set a timer: error=\"%s\"", err_text(-errno));
	all->armed_ms = up;
}

/*
 * Whether we were away. Answers may have come meanwhile, and must not be
 * taken for missing: let the loop read them first.
 */
static bool
was_away(struct alarms *all, uint64_t now)
{
	bool away = !all->graced && all->armed_ms != 0 && now >= all->armed_ms + ALARMS_LATE_MS;

	all->armed_ms = 0;
	all->graced = away;
	if (away)
		arm(all, now + ALARMS_GRACE_MS);
	return away;
}

static void
on_wake(uv_poll_t *p, int status, int events)
{
	struct alarms *all = p->data;
	uint64_t now = alarms_now(all), times;
	struct alarm *a;

	(void)status;
	(void)events;
	if (read(all->fd, &times, sizeof(times)) < 0 && errno != EAGAIN)
		log_fatal("agent", "cannot read a timer: error=\"%s\"", err_text(-errno));
	if (was_away(all, now))
		return;
	all->waking = true;
	while (!all->closing && (a = alarm_heap_take(&all->heap, now)) != NULL)
		a->due(a, now);
	all->waking = false;
	if (!all->closing && all->heap.first != NULL)
		arm(all, all->heap.first->at_ms);
}

int
alarms_new(struct loop *l, clockid_t clock, struct alarms **ret)
{
	struct alarms *all = calloc(1, sizeof(*all));
	int rc = 0;

	if (all == NULL)
		return -ENOMEM;
	all->clock = clock;
	all->fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	if (all->fd < 0 && errno == EINVAL) {
		/* Not every kernel's timers know every clock; this one they do. */
		all->clock = CLOCK_MONOTONIC;
		all->fd = timerfd_create(all->clock, TFD_CLOEXEC | TFD_NONBLOCK);
	}
	if (all->fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = uv_poll_init(&l->uv, &all->poll, all->fd);
	if (rc < 0) {
		if (all->fd >= 0)
			close(all->fd);
		free(all);
		return rc;
	}
	all->poll.data = all;
	rc = uv_poll_start(&all->poll, UV_READABLE, on_wake);
	if (rc < 0) {
		alarms_free(all);
		return rc;
	}
	*ret = all;
	return 0;
}

static void
closed(uv_handle_t *h)
{
	struct alarms *all = h->data;

	close(all->fd);
	free(all);
}

void
alarms_free(struct alarms *all)
{
	if (all == NULL)
		return;
	all->closing = true;
	while (all->heap.first != NULL)
		alarm_heap_clear(&all->heap, all->heap.first);
	uv_close((uv_handle_t *)&all->poll, closed);
}

void
alarms_set(struct alarms *all, struct alarm *a, uint64_t at_ms)
{
	alarm_heap_set(&all->heap, a, at_ms);
	/* A turn of waking arms for all that were set in it. */
	if (!all->waking)
		arm(all, all->heap.first->at_ms);
}

void
alarms_clear(struct alarms *all, struct alarm *a)
{
	alarm_heap_clear(&all->heap, a);
}
