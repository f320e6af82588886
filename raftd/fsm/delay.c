/* delay.c - lock delays: keys that an ended session held may not be locked for a while. */
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/fsm/state.h"

static struct str
delay_key(const void *item)
{
	return ((const struct delay_item *)item)->key;
}

static struct str
delay_due_key(const void *item)
{
	return ((const struct delay_item *)item)->due_key;
}

const struct tree_type delay_tree = { delay_key, NULL };
const struct tree_type delay_due_tree = { delay_due_key, NULL };

static int
delay_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->delays, &f->delays_due }, 2, old, new);
}

static const struct tree *
delay_primary(const struct fsm *f)
{
	return &f->delays;
}

static const struct field f_delay_image[] = {
	FIELD(delay_item, until, "Until", F_INT, 0),
};
static RECORD(rec_delay_image, delay_item, "LockDelayImage", f_delay_image);

static const struct field f_delay_item[] = {
	FIELD(delay_item, key, "", F_STR, 0),
	FIELD(delay_item, due_key, "", F_STR, 0),
};
static RECORD(rec_delay_item, delay_item, "LockDelayItem", f_delay_item);

static struct str
delay_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_delay_image, item, RECORD_WHOLE, w);
	return delay_key(item);
}

static void
delay_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	/* No query shows them. */
	(void)f;
	(void)old;
	(void)new;
	(void)sink;
}

static void
delay_release(struct fsm *f)
{
	tree_release(&f->delays_due, NULL);
	tree_release(&f->delays, free);
}

const struct table_ops delay_ops = { FSM_LOCK_DELAY, delay_primary, delay_swap, delay_encode, delay_touch, free,
	delay_release };

static struct delay_item *
delay_new(const struct fsm *f, struct str key, int64_t until)
{
	struct delay_item d = { .until = until, .key = key, .due_key = join_u64(f, (uint64_t)until, key) };

	return d.due_key.p != NULL ? record_dup(&rec_delay_item, &d) : NULL;
}

int
delay_put(struct apply *ap, struct str key, int64_t delay)
{
	int64_t most = FSM_DELAY_MAX_S * NS_PER_S;
	struct delay_item *d = delay_new(ap->f, key, ap->time + (delay < most ? delay : most));

	if (d == NULL)
		return -ENOMEM;
	return change_put(ap, T_DELAY, tree_get(&ap->f->delays, key), d);
}

bool
delay_holds(const struct fsm *f, struct str key, int64_t now)
{
	const struct delay_item *d = tree_get(&f->delays, key);

	return d != NULL && d->until > now;
}

int
delay_reap(struct apply *ap)
{
	struct delay_item *d;

	while ((d = tree_first(&ap->f->delays_due)) != NULL && d->until <= ap->time) {
		int rc = change_put(ap, T_DELAY, d, NULL);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int
delay_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct delay_item in, *d;
	int rc;

	rc = record_decode(&rec_delay_image, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || in.until < 0 || !mp_r_done(&r))
		return -EDECODE;
	d = delay_new(f, key, in.until);
	if (d == NULL)
		return -ENOMEM;
	return change_load(f, T_DELAY, d);
}
