/* schedule.c - when a check runs. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/kinds.h"
#include "lib/duration.h"

static const struct check_kind *const kinds[] = { &check_kind_script, &check_kind_http, &check_kind_tcp, &check_kind_ttl,
	&check_kind_alias };

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

static void
on_due(uv_timer_t *t)
{
	struct check *c = t->data;

	if (c->runner.running)
		return;
	c->runner.running = true;
	c->runner.kind->start(c);
}

static const struct check_kind *
kind_of(const struct check *c)
{
	const char *type = check_def_type(c->def);

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i]->type, type) == 0)
			return kinds[i];
	return NULL;
}

static int
attach_timed(struct check *c)
{
	c->runner.timer = timer_new(&c->cd->d->loop.uv, c);
	if (c->runner.timer == NULL)
		return -ENOMEM;
	if (c->def->interval < CHECK_INTERVAL_MIN_MS * NS_PER_MS)
		log_warn("agent", "check has interval below minimum: check=%s minimum_interval=1s", c->id);
	return uv_timer_start(c->runner.timer, on_due, random_below(schedule_interval_ms(c->def->interval)), 0);
}

int
schedule_attach(struct check *c)
{
	struct runner *r = &c->runner;
	int rc = 0;

	if (c->def == NULL)
		return 0;
	r->kind = kind_of(c);
	if (r->kind == NULL)
		return 0;
	threshold_init(&r->threshold, c->def->success_before_passing, c->def->failures_before_warning,
	    c->def->failures_before_critical);
	if (r->kind->timed) {
		rc = attach_timed(c);
	} else {
		r->running = true;
		r->kind->start(c);
	}
	return rc;
}

void
schedule_detach(struct check *c)
{
	struct runner *r = &c->runner;

	if (r->kind == NULL)
		return;
	if (r->running)
		r->kind->stop(c);
	timer_free(r->timer);
	*r = (struct runner){ .kind = NULL };
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
	c->runner.running = false;
	if (c->runner.timer != NULL)
		(void)uv_timer_start(c->runner.timer, on_due, schedule_interval_ms(c->def->interval), 0);
}

void
schedule_done(struct check *c, enum check_status status, struct str output)
{
	schedule_result(c, status, output);
	schedule_ended(c);
}
