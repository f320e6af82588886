/* kv_ttl.c - keys that go by themselves: their deadlines, in cluster time. */
#include <stdlib.h>
#include <time.h>

#include "lib/duration.h"
#include "raftd/fsm/state.h"

#define WALL_SLACK (20 * NS_PER_MS)

static struct str
ttl_key(const void *item)
{
	return ((const struct ttl_item *)item)->key;
}

static struct str
ttl_due_key(const void *item)
{
	return ((const struct ttl_item *)item)->due_key;
}

const struct tree_type ttl_tree = { ttl_key, NULL };
const struct tree_type ttl_due_tree = { ttl_due_key, NULL };

static int
ttl_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->ttls, &f->ttls_due }, 2, old, new);
}

static const struct tree *
ttl_primary(const struct fsm *f)
{
	return &f->ttls;
}

static const struct field f_ttl_image[] = {
	FIELD(ttl_item, ttl, "TTL", F_INT, 0),
	FIELD(ttl_item, deadline, "Deadline", F_INT, 0),
};
static RECORD(rec_ttl_image, ttl_item, "KVTTLImage", f_ttl_image);

static const struct field f_ttl_item[] = {
	FIELD(ttl_item, key, "", F_STR, 0),
	FIELD(ttl_item, due_key, "", F_STR, 0),
};
static RECORD(rec_ttl_item, ttl_item, "KVTTLItem", f_ttl_item);

static struct str
ttl_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_ttl_image, item, RECORD_WHOLE, w);
	return ttl_key(item);
}

static void
ttl_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	/* As with a session, a new deadline is no news: the key's going is. */
	(void)f;
	(void)old;
	(void)new;
	(void)sink;
}

static void
ttl_release(struct fsm *f)
{
	tree_release(&f->ttls_due, NULL);
	tree_release(&f->ttls, free);
}

const struct table_ops ttl_ops = { FSM_KV_TTL, ttl_primary, ttl_swap, ttl_encode, ttl_touch, free, ttl_release };

static struct ttl_item *
ttl_new(const struct fsm *f, struct str key, int64_t ttl, int64_t deadline)
{
	struct ttl_item t = { ttl, deadline, key, join_u64(f, (uint64_t)deadline, key) };

	return t.due_key.p != NULL ? record_dup(&rec_ttl_item, &t) : NULL;
}

int
ttl_put(struct apply *ap, struct str key, int64_t ttl)
{
	struct ttl_item *old = ap->f->ttls.n > 0 ? tree_get(&ap->f->ttls, key) : NULL, *new = NULL;

	if (ttl > 0) {
		new = ttl_new(ap->f, key, ttl, ap->time + ttl);
		if (new == NULL)
			return -ENOMEM;
	}
	return old != NULL || new != NULL ? change_put(ap, T_KV_TTL, old, new) : 0;
}

int64_t
ttl_of(const struct fsm *f, struct str key)
{
	const struct ttl_item *t = f->ttls.n > 0 ? tree_get(&f->ttls, key) : NULL;

	return t != NULL ? t->ttl : 0;
}

struct str
ttl_shown(const struct fsm *f, struct str key)
{
	const struct ttl_item *t = f->ttls.n > 0 ? tree_get(&f->ttls, key) : NULL;
	const char *text;
	int64_t ms;
	struct tm tm;
	time_t s;

	if (t == NULL)
		return STR_NONE;
	ms = (t->deadline + f->scratch->wall_ahead) / NS_PER_MS;
	s = (time_t)(ms / 1000);
	text = gmtime_r(&s, &tm) == NULL ? NULL : arena_printf(f->arena, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
	f->scratch->starved = f->scratch->starved || text == NULL;
	return text != NULL ? str_from(text) : STR_NONE;
}

int
ttl_expire(struct apply *ap, struct str key)
{
	const struct ttl_item *t = tree_get(&ap->f->ttls, key);

	return t != NULL && t->deadline <= ap->time ? kv_delete(ap, key) : 0;
}

int
ttl_restart(struct fsm *f, int64_t now)
{
	struct ttl_item *t;
	struct tree_iter it;
	int rc = 0;

	/* As with sessions: the deadline is a part of the key in this tree alone, and stands in the item's own block. */
	tree_release(&f->ttls_due, NULL);
	tree_seek(&f->ttls, STR_NONE, &it);
	while (rc == 0 && (t = tree_next(&it)) != NULL) {
		struct str due;

		t->deadline = now + t->ttl;
		due = join_u64(f, (uint64_t)t->deadline, t->key);
		if (due.p == NULL)
			return -ENOMEM;
		memcpy((char *)t->due_key.p, due.p, due.len);
		rc = tree_add(&f->ttls_due, t);
	}
	return rc;
}

int
ttl_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct ttl_item in, *t;
	int rc;

	rc = record_decode(&rec_ttl_image, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || in.ttl <= 0 || in.ttl > KV_TTL_MAX || in.deadline < 0 || !mp_r_done(&r))
		return -EDECODE;
	t = ttl_new(f, key, in.ttl, in.deadline);
	if (t == NULL)
		return -ENOMEM;
	return change_load(f, T_KV_TTL, t);
}

int
ttl_loaded(const struct fsm *f)
{
	const struct ttl_item *t;
	struct tree_iter it;

	tree_seek(&f->ttls, STR_NONE, &it);
	while ((t = tree_next(&it)) != NULL)
		if (kv_find(f, t->key) == NULL)
			return -EDECODE;
	return 0;
}

int64_t
fsm_key_ttl(const struct fsm *f, struct str key)
{
	return ttl_of(f, key);
}

/* ---- for the leader's clock */

int64_t
fsm_next_key_deadline(const struct fsm *f)
{
	const struct ttl_item *t = tree_first(&f->ttls_due);

	return t != NULL ? t->deadline : INT64_MAX;
}

size_t
fsm_expired_keys(const struct fsm *f, int64_t now, struct str *keys, size_t max)
{
	const struct ttl_item *t;
	struct tree_iter it;
	size_t n = 0;

	tree_seek(&f->ttls_due, STR_NONE, &it);
	while (n < max && (t = tree_next(&it)) != NULL && t->deadline <= now)
		keys[n++] = t->key;
	return n;
}

void
fsm_set_wall(struct fsm *f, int64_t wall_ns, int64_t cluster_ns)
{
	int64_t ahead = wall_ns - cluster_ns, was = f->scratch->wall_ahead;

	/* The two clocks are not read at the same moment: what is shown must not change for that. */
	if (ahead > was + WALL_SLACK || ahead < was - WALL_SLACK)
		f->scratch->wall_ahead = ahead;
}

bool
fsm_has_ttls(const struct fsm *f)
{
	return f->ttls.n > 0;
}
