/* reap.c - services that were critical for too long are deregistered. */
#include "checkd/register.h"
#include "lib/duration.h"

/* How long a check may keep its service critical, 0 for ever. */
static uint64_t
limit_ms(const struct check *c)
{
	int64_t ms = c->def != NULL ? c->def->deregister_critical_service_after / NS_PER_MS : 0;

	if (c->def == NULL || c->def->deregister_critical_service_after <= 0)
		return 0;
	return ms < REAP_MIN_MS ? REAP_MIN_MS : (uint64_t)ms;
}

bool
reap_is_due(const struct check *c, uint64_t now_ms)
{
	uint64_t limit = c->sync.deleted ? 0 : limit_ms(c);

	return limit > 0 && c->rec->service_id.len > 0 && c->critical_since_ms != 0 && now_ms - c->critical_since_ms > limit;
}

static struct check *
find_due(const struct checkd *cd, uint64_t now_ms)
{
	for (size_t i = 0; i < cd->local.nchecks; i++)
		if (reap_is_due(cd->local.checks[i], now_ms))
			return cd->local.checks[i];
	return NULL;
}

void
reap_now(struct checkd *cd, uint64_t now_ms)
{
	struct service *s;
	struct check *c;

	/* Removing a service removes its checks: look again from the start. */
	while ((c = find_due(cd, now_ms)) != NULL) {
		s = local_service(&cd->local, c->rec->service_id);
		log_info("agent", "Check for service has been critical for too long; deregistered service: service=%.*s check=%s",
		    STR_ARG(c->rec->service_id), c->id);
		if (s != NULL)
			deregister_service(cd, s);
		else
			deregister_check(cd, c);
	}
}

static void
on_tick(uv_timer_t *t)
{
	/* What was critical when the machine fell asleep has its time to recover when it wakes. */
	reap_now(t->data, alarms_clock_ms(CLOCK_MONOTONIC));
}

int
reap_start(struct checkd *cd)
{
	cd->reap = timer_new(&cd->d->loop.uv, cd);
	if (cd->reap == NULL)
		return -ENOMEM;
	return uv_timer_start(cd->reap, on_tick, REAP_TICK_MS, REAP_TICK_MS);
}
