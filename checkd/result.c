/* result.c - what a check's result changes, at once or after a while. */
#include <stdlib.h>
#include <string.h>

#include "checkd/checkd.h"

static void
on_hold_over(uv_timer_t *t)
{
	struct check *c = t->data;

	timer_free(c->hold);
	c->hold = NULL;
	local_touch(&c->sync);
	checkd_changed(c->cd);
}

/*
 * A check whose output alone changes may do so at every run: let the catalog
 * follow after a while, at different times for different checks.
 */
static void
hold(struct check *c)
{
	uint64_t interval = c->cd->update_interval_ms;

	if (c->hold != NULL)
		return;
	c->hold = timer_new(&c->cd->d->loop.uv, c);
	if (c->hold == NULL)
		local_touch(&c->sync);
	else
		(void)uv_timer_start(c->hold, on_hold_over, interval / 2 + random_below(interval), 0);
}

static void
log_status(const struct check *c)
{
	switch (c->status) {
	case CHECK_PASSING:
		log_debug("agent", "Check status updated: check=%s status=passing", c->id);
		break;
	case CHECK_WARNING:
		log_warn("agent", "Check is now warning: check=%s", c->id);
		break;
	case CHECK_CRITICAL:
		log_warn("agent", "Check is now critical: check=%s", c->id);
		break;
	}
}

/* Keep a copy of the new output; without memory the old one stays. */
static void
keep_output(struct check *c, struct str output)
{
	char *copy = malloc(output.len + 1);

	if (copy == NULL)
		return;
	if (output.len > 0)
		memcpy(copy, output.p, output.len);
	copy[output.len] = '\0';
	free((char *)(uintptr_t)c->output.p);
	c->output = (struct str){ copy, output.len };
}

void
result_set(struct check *c, enum check_status status, struct str output)
{
	struct checkd *cd = c->cd;
	bool same_status = c->status == status, first = c->result_ms == 0;

	c->result_ms = clock_ms();
	/* What fails from the start would else never be told: it was critical before. */
	if (first && same_status && status == CHECK_CRITICAL && c->def != NULL && c->def->interval > 0)
		log_status(c);
	if (cd->discard_output)
		output = STR("");
	if (status == CHECK_CRITICAL && c->critical_since_ms == 0)
		c->critical_since_ms = alarms_clock_ms(CLOCK_MONOTONIC);	/* sleep of the machine does not count: reap.c */
	else if (status != CHECK_CRITICAL)
		c->critical_since_ms = 0;
	if (same_status && str_eq(c->output, output))
		return;
	keep_output(c, output);
	c->status = status;
	if (!same_status)
		log_status(c);
	if (same_status && cd->update_interval_ms > 0)
		hold(c);
	else
		local_touch(&c->sync);
	cd->local.changes++;
	checkd_changed(cd);
}
