/* start.c - what recovery finds on disk, and the core that begins with it. */
#include <inttypes.h>
#include <sodium.h>

#include "lib/duration.h"
#include "raftd/raftd.h"

#define SUB "agent.server.raft"

/* What an entry of the log behind the image says of time and configurations. */
static int
note_entry(struct raftd *r, const struct batch_entry *entry)
{
	struct engine *e = &r->engine;
	struct fsm_entry fe;
	char err[256];
	int rc = 0;

	if (entry->kind == ENTRY_STATE) {
		if (fsm_entry_decode(entry->data, &fe) == 0 && fe.time > e->time_last)
			e->time_last = fe.time;
		return 0;
	}
	rc = receive_config(r, entry->index, entry->data, err);
	configs_compact(e->configs, entry->index - 1);
	if (rc == 0)
		rc = configs_add(e->configs, entry->index, entry->data, err);
	if (rc < 0)
		log_err("agent.server", "%s: entry %" PRIu64 " of the log is a configuration that cannot be: %s", r->dir, entry->index, err);
	return rc;
}

/* The state's own configuration comes in front of those in the log. */
static int
take_applied_config(struct raftd *r)
{
	struct engine *e = &r->engine;
	uint64_t index;
	struct str bytes = fsm_servers(e->fsm, &index);
	char err[256];
	int rc;

	if (index == 0)
		return 0;
	rc = receive_config(r, index, bytes, err);
	if (rc == 0)
		rc = configs_add(e->configs, index, bytes, err);
	if (rc < 0)
		log_err("agent.server", "%s: the state's configuration of servers cannot be: %s", r->dir, err);
	return rc;
}

static int
load_record(void *ctx, unsigned table, struct str key, struct str value)
{
	struct raftd *r = ctx;

	return fsm_load(r->engine.fsm, (enum fsm_table)table, key, value);
}

static int
load_batch(void *ctx, struct batch *b)
{
	struct engine *e = &((struct raftd *)ctx)->engine;
	int rc = entries_add(&e->entries, b);

	if (rc < 0)
		batch_free(b);
	return rc;
}

/* The entries behind the image. */
static int
note_log(struct raftd *r, uint64_t applied)
{
	struct engine *e = &r->engine;
	const struct batch *b;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (b = entries_at(&e->entries, i)) != NULL; i++) {
		struct batch_cursor c;
		struct batch_entry entry;

		e->flight_bytes += b->bytes.len;
		rc = batch_read((struct str){ (const char *)b->bytes.data, b->bytes.len }, b->first, &c);
		while (rc == 0 && batch_next(&c, false, &entry) > 0)
			if (entry.index > applied)
				rc = note_entry(r, &entry);
	}
	return rc;
}

static int
open_store(struct raftd *r, const struct store_events *events)
{
	const struct store_config c = { .path = r->dir, .tables = FSM_TABLES, .events = events, .ctx = r,
		.trailing = (uint64_t)cfg_int(r->d->config, "raft_trailing_logs", 10240) };
	const struct store_loader ld = { r, load_record, load_batch };
	struct engine *e = &r->engine;
	char err[DATADIR_ERROR_MAX];
	int rc = store_open(&r->d->loop, &c, &e->store, err);

	if (rc == 0) {
		r->id = store_found(e->store)->id;
		rc = store_load(e->store, &ld, err);
	}
	if (rc < 0) {
		log_err("agent.server", "%s", err);
		return rc;
	}
	rc = fsm_loaded(e->fsm);
	if (rc < 0) {
		log_err("agent.server", "%s: the image of the state does not fit together (%s): move the directory away and let the "
		    "server rejoin as a new member, or restore a backup", r->dir, err_text(rc));
		return rc;
	}
	e->time_last = fsm_time(e->fsm);
	rc = take_applied_config(r);
	return rc == 0 ? note_log(r, store_found(e->store)->applied) : rc;
}

static uint64_t
random_seed(void)
{
	uint64_t seed;

	randombytes_buf(&seed, sizeof(seed));
	return seed;
}

static int
start_core(struct raftd *r)
{
	const uint64_t m = (uint64_t)cfg_int(r->d->config, "performance.raft_multiplier", 5);
	const struct raft_config c = { .id = r->id, .election_ms = (uint32_t)(200 * m), .heartbeat_ms = (uint32_t)(20 * m),
		.lease_ms = 100, .inflight_bytes = INFLIGHT_BYTES, .seed = random_seed() };
	static const struct store_start nothing;
	struct engine *e = &r->engine;
	const struct store_start *found = e->store != NULL ? store_found(e->store) : &nothing;
	const struct raft_start s = { .term = found->term, .vote = found->vote, .base = found->base, .last = found->last,
		.applied = found->applied, .runs = found->runs, .nruns = found->nruns, .configs = e->found, .nconfigs = e->nfound };
	int rc = raft_init(&e->core, &c, &s, clock_ms());

	if (rc < 0)
		log_err("agent.server", "%s: the log does not fit together (%s): move the directory away and let the server rejoin "
		    "as a new member, or restore a backup", r->dir, err_text(rc));
	e->image_sent = found->applied;
	if (found->cluster != 0)
		servers_format_id(found->cluster, r->cluster);
	log_info(SUB, "initial configuration: index=%" PRIu64 " servers=%zu", e->nfound > 0 ? e->found[e->nfound - 1].index : 0,
	    e->nfound > 0 ? e->found[e->nfound - 1].n : 0);
	return rc;
}

struct fsm_config
start_fsm_config(struct raftd *r)
{
	return (struct fsm_config){ r->datacenter, (uint64_t)cfg_int(r->d->config, "limits.txn_max_ops", 64),
		cfg_ms(r->d->config, "session_ttl_min", 10000) * NS_PER_MS };
}

int
start_engine(struct raftd *r, const struct store_events *events)
{
	const struct fsm_config fc = start_fsm_config(r);
	struct engine *e = &r->engine;
	int rc = 0;

	e->fsm = fsm_new(&fc);
	e->configs = configs_new();
	if (e->fsm == NULL || e->configs == NULL) {
		log_err("agent.server", "no memory for the state");
		return -ENOMEM;
	}
	if (!r->dev)
		rc = open_store(r, events);
	if (rc == 0)
		rc = start_core(r);
	if (rc == 0 && e->store != NULL)
		rc = store_run(e->store);
	return rc;
}
