/* autopilot.c - how autopilot looks after the servers: one record. */
#include <stdlib.h>

#include "lib/duration.h"
#include "raftd/fsm/state.h"

#define AUTOPILOT_KEY "config"

static struct str
autopilot_key(const void *item)
{
	(void)item;
	return STR(AUTOPILOT_KEY);
}

const struct tree_type autopilot_tree = { autopilot_key, NULL };

static int
autopilot_swap(struct fsm *f, void *old, void *new)
{
	return trees_swap((struct tree *[]){ &f->autopilot }, 1, old, new);
}

static const struct tree *
autopilot_primary(const struct fsm *f)
{
	return &f->autopilot;
}

static const struct field f_autopilot_item[] = {
	FIELD_SUB(autopilot_item, c, "", F_RECORD, 0, rec_autopilot_config),
};
static RECORD(rec_autopilot_item, autopilot_item, "AutopilotItem", f_autopilot_item);

static struct str
autopilot_encode(const void *item, struct mp_w *w)
{
	if (w != NULL)
		record_encode(&rec_autopilot_config, &((const struct autopilot_item *)item)->c, RECORD_WHOLE, w);
	return autopilot_key(item);
}

static void
autopilot_touch(const struct fsm *f, const void *old, const void *new, const struct fsm_sink *sink)
{
	/* Nobody can wait for it. */
	(void)f;
	(void)old;
	(void)new;
	(void)sink;
}

static void
autopilot_release(struct fsm *f)
{
	tree_release(&f->autopilot, free);
}

const struct table_ops autopilot_ops = { FSM_AUTOPILOT, autopilot_primary, autopilot_swap, autopilot_encode,
	autopilot_touch, free, autopilot_release };

static const struct autopilot_item *
stored(const struct fsm *f)
{
	return tree_first(&f->autopilot);
}

int
autopilot_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct autopilot_item in, *item;
	int rc;

	rc = record_decode(&rec_autopilot_config, &r, &in.c, f->arena);
	if (rc < 0)
		return rc;
	if (!str_eqs(key, AUTOPILOT_KEY) || !mp_r_done(&r))
		return -EDECODE;
	item = record_dup(&rec_autopilot_item, &in);
	if (item == NULL)
		return -ENOMEM;
	index_loaded(f, max_u64(in.c.create_index, in.c.modify_index));
	return change_load(f, T_AUTOPILOT, item);
}

bool
autopilot_vet(const struct autopilot_set *req, struct fsm_error *err)
{
	const struct autopilot_config *c = &req->config;

	if (c->last_contact_threshold < 0)
		fail(err, 400, "Bad request: LastContactThreshold must not be negative");
	else if (c->server_stabilization_time < 0)
		fail(err, 400, "Bad request: ServerStabilizationTime must not be negative");
	return err->code == 0;
}

int
autopilot_set(struct apply *ap, const struct autopilot_set *req)
{
	struct autopilot_item in = { req->config }, *item, *old = tree_first(&ap->f->autopilot);
	bool ok = !req->cas || (old != NULL && old->c.modify_index == req->config.modify_index);

	if (!autopilot_vet(req, ap->err))
		return 0;
	mp_w_bool(ap->w, ok);
	if (!ok)
		return 0;
	in.c.create_index = old != NULL ? old->c.create_index : ap->index;
	in.c.modify_index = ap->index;
	item = record_dup(&rec_autopilot_item, &in);
	return item != NULL ? change_put(ap, T_AUTOPILOT, old, item) : -ENOMEM;
}

void
autopilot_query(const struct fsm *f, struct mp_w *out, uint64_t *idx)
{
	static const struct autopilot_config defaults = {
		.cleanup_dead_servers = true, .last_contact_threshold = NS_PER_S / 5, .max_trailing_logs = 250,
		.server_stabilization_time = 10 * NS_PER_S,
	};
	const struct autopilot_item *item = stored(f);
	const struct autopilot_config *c = item != NULL ? &item->c : &defaults;

	*idx = c->modify_index;
	record_encode(&rec_autopilot_config, c, RECORD_PUBLIC, out);
}
