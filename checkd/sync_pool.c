/* sync_pool.c - what the gossip pool tells anti-entropy. */
#include "checkd/sync_pool.h"

static void watch_again(struct sync_pool *p);

void
sync_pool_init(struct sync_pool *p, struct rpc_client *gossipd, void (*appeared)(void *arg), void *arg)
{
	*p = (struct sync_pool){ .gossipd = gossipd, .appeared = appeared, .arg = arg };
}

static void
on_size(void *arg, const struct rpc_answer *a)
{
	struct sync_pool *p = arg;
	struct query_meta meta;
	struct str payload;
	struct mp_r r;
	uint64_t n;

	p->size_call = 0;
	if (a->rc < 0 || op_reply_decode(a->body, a->len, &meta, &payload) < 0)
		return;
	r = mp_r_init(payload.p, payload.len);
	n = mp_r_uint(&r);
	if (mp_r_done(&r))
		p->members = n;
}

void
sync_pool_ask_size(struct sync_pool *p)
{
	const struct query_options o = { .internal = true };

	if (p->size_call == 0)
		p->size_call = rpc_call_record(p->gossipd, OP_GOSSIP_SIZE, &o, NULL, RPC_RETRY, POOL_CALL_MS, on_size, p);
}

static bool
is_server(const struct member *m)
{
	const struct str *role = strmap_get(&m->tags, STR("role"));

	return m->status == MEMBER_ALIVE && role != NULL && str_eqs(*role, "consul");
}

static int
count_servers(struct str payload, uint64_t *ret_n)
{
	struct arena a = ARENA_INIT(POOL_ARENA_MAX);
	struct mp_r r = mp_r_init(payload.p, payload.len);
	uint32_t members = mp_r_array(&r);
	struct member m;
	uint64_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < members; i++) {
		rc = record_decode(&rec_member, &r, &m, &a);
		if (rc == 0)
			n += is_server(&m);
		arena_reset(&a);
	}
	arena_release(&a);
	if (rc == 0)
		*ret_n = n;
	return rc;
}

static void
on_members(void *arg, const struct rpc_answer *a)
{
	struct sync_pool *p = arg;
	struct query_meta meta;
	struct str payload;
	uint64_t n = 0;
	bool more;

	p->watch_call = 0;
	/* A refusal or a broken answer would come again at once: the next attempt to sync turns the watch on anew. */
	if (a->rc < 0 || op_reply_decode(a->body, a->len, &meta, &payload) < 0 || count_servers(payload, &n) < 0) {
		p->watching = false;
		return;
	}
	more = p->counted && n > p->servers;
	p->counted = true;
	p->servers = n;
	p->index = meta.index;
	watch_again(p);
	if (more)
		p->appeared(p->arg);
}

static void
watch_again(struct sync_pool *p)
{
	const struct query_options o = { .min_index = p->index, .internal = true };
	const struct member_query q = { .wan = false };

	p->watch_call = rpc_call_record(p->gossipd, OP_GOSSIP_MEMBERS, &o, &q, RPC_RETRY | RPC_NO_DEADLINE, 0, on_members, p);
	if (p->watch_call == 0)
		p->watching = false;
}

void
sync_pool_watch(struct sync_pool *p, bool on)
{
	if (on == p->watching)
		return;
	p->watching = on;
	if (on) {
		p->counted = false;
		p->index = 0;
		watch_again(p);
	} else if (p->watch_call != 0) {
		rpc_cancel(p->gossipd, p->watch_call);
		p->watch_call = 0;
	}
}
