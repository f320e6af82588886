/*
 * join_hosts.c - the addresses at which servers may be: those that gossip
 * knows (pool.c), and those that other servers told.
 */
#include <stdlib.h>

#include "raftd/join.h"

static void
target_free(struct join *j, struct target *t)
{
	/* Its calls end with it. */
	bootstrap_abort(j);
	rpc_client_free(t->client);
	free(t->info);
	free(t);
}

struct target *
target_add(struct join *j, struct str address, uint64_t until_ms)
{
	char ip[SERVER_IP_MAX];
	struct target *t;
	uint16_t port;

	if (address.len >= sizeof(t->address) || servers_parse_address(address, ip, &port) < 0)
		return NULL;
	for (size_t i = 0; i < j->ntargets; i++)
		if (str_eqs(address, j->targets[i]->address)) {
			t = j->targets[i];
			if (until_ms > t->until_ms)
				t->until_ms = until_ms;
			return t;
		}
	t = j->ntargets < JOIN_TARGETS_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (t == NULL)
		return NULL;
	t->j = j;
	memcpy(t->address, address.p, address.len);
	t->until_ms = until_ms;
	j->targets[j->ntargets++] = t;
	return t;
}

void
targets_expire(struct join *j, uint64_t now)
{
	for (size_t i = 0; i < j->ntargets;)
		if (j->targets[i]->until_ms <= now) {
			target_free(j, j->targets[i]);
			j->targets[i] = j->targets[--j->ntargets];
		} else {
			i++;
		}
}

void
targets_rest(struct join *j)
{
	bootstrap_abort(j);
	for (size_t i = 0; i < j->ntargets; i++) {
		struct target *t = j->targets[i];

		rpc_client_free(t->client);
		free(t->info);
		t->client = NULL;
		t->info = NULL;
		t->call = 0;
		t->next_ms = t->heard_ms = 0;
		t->failures = 0;
		t->refused = false;
		t->cluster[0] = 0;
	}
}

void
targets_release(struct join *j)
{
	while (j->ntargets > 0)
		target_free(j, j->targets[--j->ntargets]);
}

void
targets_of_pool(struct join *j, uint64_t now)
{
	size_t n;
	const struct pool_server *v = pool_servers(j->r, &n);

	for (size_t i = 0; i < n; i++) {
		uint64_t until = pool_server_usable(&v[i]) ? now + JOIN_LEARNED_MS : v[i].since_ms + JOIN_GONE_MS;
		struct target *t;

		if (v[i].status == MEMBER_LEFT || until <= now || str_eqs(str_from(v[i].address), j->r->address))
			continue;
		t = target_add(j, str_from(v[i].address), until);
		/* It is back: no need to wait any longer for the next question. */
		if (t != NULL && pool_server_usable(&v[i]) && t->alive_ms != v[i].since_ms) {
			t->alive_ms = v[i].since_ms;
			t->failures = 0;
			t->next_ms = 0;
		} else if (t != NULL && !pool_server_usable(&v[i])) {
			t->alive_ms = 0;
		}
	}
}
