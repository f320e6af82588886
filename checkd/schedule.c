/* schedule.c - when a check runs. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/kinds.h"
#include "lib/duration.h"

static const struct check_kind *const kinds[] = { &check_kind_script, &check_kind_http, &check_kind_tcp, &check_kind_ttl,
	&check_kind_alias, &check_kind_grpc, &check_kind_h2ping, &check_kind_udp, &check_kind_docker, &check_kind_os_service };

uint64_t
random_below(uint64_t n)
{
	uint64_t r;

	if (n == 0)
		return 0;
	randombytes_buf(&r, sizeof(r));
	return r % n;
}

static void
closed(uv_handle_t *h)
{
	free(h);
}

uv_timer_t *
timer_new(uv_loop_t *loop, void *data)
{
	uv_timer_t *t = malloc(sizeof(*t));

	if (t == NULL || uv_timer_init(loop, t) < 0) {
		free(t);
		return NULL;
	}
	t->data = data;
	return t;
}

void
timer_free(uv_timer_t *t)
{
	if (t != NULL)
		uv_close((uv_handle_t *)t, closed);
}

uint64_t
schedule_interval_ms(int64_t interval_ns)
{
	int64_t ms = interval_ns / NS_PER_MS;

	return ms < CHECK_INTERVAL_MIN_MS ? CHECK_INTERVAL_MIN_MS : (uint64_t)ms;
}

uint64_t
schedule_when(uint64_t due_ms, uint64_t now_ms, uint64_t interval_ms, bool moved, uint64_t (*below)(uint64_t n))
{
	if (moved || now_ms < due_ms + ALARMS_LATE_MS)
		return now_ms;
	return now_ms + below(interval_ms < SPREAD_MAX_MS ? interval_ms : SPREAD_MAX_MS);
}

/* ---- the clocks, while there is a check that needs them */

struct schedule {
	struct alarms *due, *deadlines;
	size_t users;
};

static int
clocks_hold(struct checkd *cd)
{
	struct schedule *s = cd->schedule;
	int rc;

	if (s != NULL) {
		s->users++;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	rc = s == NULL ? -ENOMEM : alarms_new(&cd->d->loop, CLOCK_BOOTTIME, &s->due);
	if (rc == 0)
		rc = alarms_new(&cd->d->loop, CLOCK_MONOTONIC, &s->deadlines);
	if (rc < 0) {
		if (s != NULL)
			alarms_free(s->due);
		free(s);
		return rc;
	}
	s->users = 1;
	cd->schedule = s;
	return 0;
}

static void
clocks_drop(struct checkd *cd)
{
	struct schedule *s = cd->schedule;

	if (--s->users > 0)
		return;
	alarms_free(s->due);
	alarms_free(s->deadlines);
	free(s);
	cd->schedule = NULL;
}

static struct check *
check_of(struct alarm *a, size_t offset)
{
	return (struct check *)(void *)((char *)a - offset);
}

static void
on_late(struct alarm *a, uint64_t now_ms)
{
	struct check *c = check_of(a, offsetof(struct check, runner.deadline));

	(void)now_ms;
	c->runner.late(c);
}

static void
on_expired(struct alarm *a, uint64_t now_ms)
{
	struct check *c = check_of(a, offsetof(struct check, runner.due));

	(void)now_ms;
	c->runner.expired(c);
}

void
schedule_deadline(struct check *c, uint64_t ms, void (*late)(struct check *c))
{
	struct alarms *all = c->cd->schedule->deadlines;

	c->runner.late = late;
	c->runner.deadline.due = on_late;
	alarms_set(all, &c->runner.deadline, alarms_now(all) + ms);
}

void
schedule_expire(struct check *c, uint64_t ms, void (*expired)(struct check *c))
{
	struct alarms *all = c->cd->schedule->due;

	c->runner.expired = expired;
	c->runner.due.due = on_expired;
	alarms_set(all, &c->runner.due, alarms_now(all) + ms);
}

/* ---- runs */

static void
on_due(struct alarm *a, uint64_t now_ms)
{
	struct check *c = check_of(a, offsetof(struct check, runner.due));
	struct runner *r = &c->runner;
	uint64_t when;

	if (r->running)
		return;
	when = schedule_when(a->at_ms, now_ms, schedule_interval_ms(c->def->interval), r->moved, random_below);
	r->moved = when > now_ms;
	if (r->moved) {
		alarms_set(c->cd->schedule->due, a, when);
		return;
	}
	r->running = true;
	r->kind->start(c);
}

static const struct check_kind *
kind_of(const struct check *c)
{
	const char *type = check_def_type(c->def);

	if (strcmp(type, "tcp") == 0 && c->def->tcp_use_tls)
		return &check_kind_tcp_tls;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i]->type, type) == 0)
			return kinds[i];
	return NULL;
}

static void
attach_timed(struct check *c)
{
	struct alarms *all = c->cd->schedule->due;

	if (c->def->interval < CHECK_INTERVAL_MIN_MS * NS_PER_MS)
		log_warn("agent", "check has interval below minimum: check=%s minimum_interval=1s", c->id);
	c->runner.due.due = on_due;
	alarms_set(all, &c->runner.due, alarms_now(all) + random_below(schedule_interval_ms(c->def->interval)));
}

int
schedule_attach(struct check *c)
{
	struct runner *r = &c->runner;
	const struct check_kind *kind = c->def != NULL ? kind_of(c) : NULL;
	int rc;

	if (kind == NULL)
		return 0;
	rc = clocks_hold(c->cd);
	if (rc < 0)
		return rc;
	r->kind = kind;
	threshold_init(&r->threshold, c->def->success_before_passing, c->def->failures_before_warning,
	    c->def->failures_before_critical);
	if (kind->timed) {
		attach_timed(c);
	} else {
		r->running = true;
		kind->start(c);
	}
	return 0;
}

void
schedule_detach(struct check *c)
{
	struct runner *r = &c->runner;

	if (r->kind == NULL)
		return;
	if (r->running)
		r->kind->stop(c);
	alarms_clear(c->cd->schedule->due, &r->due);
	alarms_clear(c->cd->schedule->deadlines, &r->deadline);
	timer_free(r->timer);
	*r = (struct runner){ .kind = NULL };
	clocks_drop(c->cd);
}

void
schedule_result(struct check *c, enum check_status status, struct str output)
{
	enum check_status counted;

	if (threshold_take(&c->runner.threshold, status, &counted))
		result_set(c, counted, output);
	else if (status == CHECK_CRITICAL)
		log_warn("agent", "Check failed but has not reached failure threshold: check=%s failure_count=%lld "
		    "failures_before_critical=%lld", c->id, (long long)c->runner.threshold.failures,
		    (long long)c->runner.threshold.critical_after);
	else
		log_warn("agent", "Check passed but has not reached success threshold: check=%s success_count=%lld "
		    "success_before_passing=%lld", c->id, (long long)c->runner.threshold.successes,
		    (long long)c->runner.threshold.passing_after);
}

void
schedule_ended(struct check *c)
{
	struct schedule *s = c->cd->schedule;

	c->runner.running = false;
	alarms_clear(s->deadlines, &c->runner.deadline);
	if (c->runner.kind->timed)
		alarms_set(s->due, &c->runner.due, alarms_now(s->due) + schedule_interval_ms(c->def->interval));
}

void
schedule_done(struct check *c, enum check_status status, struct str output)
{
	schedule_result(c, status, output);
	schedule_ended(c);
}
