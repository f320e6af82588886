/* check_ttl.c - checks that an application reports, and that expire when it does not. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checkd/kinds.h"
#include "checkd/output.h"
#include "lib/duration.h"

/* What the application said last; it follows the expiry's text. */
struct ttl {
	char *last;
};

static void
on_expired(struct check *c)
{
	struct ttl *x = c->runner.run;
	struct buf text = BUF_INIT(16 * MiB);
	int rc;

	if (x->last == NULL || x->last[0] == '\0')
		rc = buf_adds(&text, "TTL expired");
	else
		rc = buf_addf(&text, "TTL expired (last output before timeout follows): %s", x->last);
	log_warn("agent", "Check missed TTL, is now critical: check=%s", c->id);
	result_set(c, CHECK_CRITICAL, rc == 0 ? (struct str){ (char *)text.data, text.len } : STR("TTL expired"));
	buf_release(&text);
}

static void
ttl_start(struct check *c)
{
	c->runner.run = calloc(1, sizeof(struct ttl));
	if (c->runner.run == NULL) {
		log_err("agent", "cannot watch a TTL check: check=%s error=\"out of memory\"", c->id);
		return;
	}
	schedule_expire(c, (uint64_t)(c->def->ttl / NS_PER_MS), on_expired);
}

static void
ttl_stop(struct check *c)
{
	struct ttl *x = c->runner.run;

	if (x != NULL)
		free(x->last);
	free(x);
	c->runner.run = NULL;
}

static void
keep_last(struct check *c, struct str output)
{
	struct ttl *x = c->runner.run;
	char *copy = strndup(output.p != NULL ? output.p : "", output.len);

	if (copy == NULL)
		return;
	free(x->last);
	x->last = copy;
}

void
ttl_update(struct check *c, enum check_status status, struct str note)
{
	struct buf text = BUF_INIT(16 * MiB);
	struct timespec now;
	struct str output = STR("");
	int rc;

	if (c->runner.run == NULL)
		return;
	if (output_cut(note, checkd_output_max(c), &text) == 0 && text.len > 0)
		output = (struct str){ (char *)text.data, text.len };
	keep_last(c, output);
	schedule_expire(c, (uint64_t)(c->def->ttl / NS_PER_MS), on_expired);
	clock_gettime(CLOCK_REALTIME, &now);
	rc = persist_state(&c->cd->persist, str_from(c->id), output, status_text(status), now.tv_sec + c->def->ttl / NS_PER_S);
	if (rc < 0)
		log_err("agent", "cannot save the state of a check: check=%s error=\"%s\"", c->id, err_text(rc));
	result_set(c, status, output);
	buf_release(&text);
}

void
ttl_restore(struct check *c, enum check_status status, struct str output, uint64_t left_ms)
{
	if (c->runner.run == NULL)
		return;
	keep_last(c, output);
	schedule_expire(c, left_ms, on_expired);
	result_set(c, status, output);
}

const struct check_kind check_kind_ttl = { "ttl", false, ttl_start, ttl_stop };
