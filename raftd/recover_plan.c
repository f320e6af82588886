/*
 * recover_plan.c - the configuration that a peers.json asks for.
 *
 * Servers are known to the core by the ids of their data directories, and
 * peers.json names them by node ID: so only servers of the present
 * configuration can stay. The cluster gets another id, the same on every
 * server that is given the same list: servers of the old one that come back
 * later, perhaps as a majority among themselves, are strangers then.
 */
#include "raftd/recover_plan.h"

#include <sodium.h>
#include <stdio.h>

#include "lib/json.h"
#include "raftd/core/core.h"
#include "raftd/raftd.h"

/* One element of the list; names match whatever their case and without underscores. */
struct peer {
	struct str id, address;
	bool non_voter;
};
static const struct field f_peer[] = {
	FIELD(peer, id, "ID", F_STR, 0),
	FIELD(peer, address, "Address", F_STR, 0),
	FIELD(peer, non_voter, "NonVoter", F_BOOL, 0),
};
static RECORD(rec_peer, peer, "Peer", f_peer);

static int refuse(char err[RECOVER_ERROR_MAX], const char *fmt, ...) PRINTF(2, 3);

static int
refuse(char err[RECOVER_ERROR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, RECOVER_ERROR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The present server of this node ID (or data-directory id). */
static const struct raft_server_info *
known(const struct raft_config_entry *now, struct str id)
{
	const struct raft_server_info *s = servers_find_node(now, id);
	uint64_t n;

	return s == NULL && servers_parse_id(id, &n) == 0 ? servers_find(now, n) : s;
}

static int
add_server(struct json_object *j, size_t i, const struct raft_config_entry *now, struct recover_plan *p,
    char err[RECOVER_ERROR_MAX])
{
	struct raft_server_info *v = p->next.servers.v;
	const struct raft_server_info *s;
	struct peer peer = { .non_voter = false };
	char why[256];

	if (!json_object_is_type(j, json_type_object))
		return refuse(err, "peers.json: element %zu is not an object", i + 1);
	if (record_from_json(&rec_peer, j, &peer, &p->arena, true, why, sizeof(why)) < 0)
		return refuse(err, "peers.json: element %zu: %s", i + 1, why);
	if (peer.id.len == 0 || peer.id.len > 128)
		return refuse(err, "peers.json: element %zu has no id", i + 1);
	s = known(now, peer.id);
	if (s == NULL)
		return refuse(err, "peers.json: the node ID %.*s is not in this server's configuration, and its data directory's id is not "
		    "known: leave it out, and let that server join when this cluster has a leader", STR_ARG(peer.id));
	v[p->next.servers.n] = *s;
	v[p->next.servers.n].voter = !peer.non_voter;
	if (peer.address.len > 0)
		v[p->next.servers.n].address = peer.address;
	p->next.servers.n++;
	return 0;
}

static int
by_id(const void *a, const void *b)
{
	return str_cmp(((const struct raft_server_info *)a)->id, ((const struct raft_server_info *)b)->id);
}

/* Of the old id and who stays: every one of them comes to the same. */
static void
next_cluster(struct recover_plan *p, struct str old)
{
	const struct raft_server_info *v = p->next.servers.v;
	crypto_generichash_state h;
	uint8_t sum[crypto_generichash_BYTES];
	uint64_t id = 0;

	(void)crypto_generichash_init(&h, NULL, 0, sizeof(sum));
	(void)crypto_generichash_update(&h, (const uint8_t *)old.p, old.len);
	for (size_t i = 0; i < p->next.servers.n; i++) {
		(void)crypto_generichash_update(&h, (const uint8_t *)v[i].id.p, v[i].id.len);
		(void)crypto_generichash_update(&h, (const uint8_t *)(v[i].voter ? "v" : "n"), 1);
	}
	(void)crypto_generichash_final(&h, sum, sizeof(sum));
	for (size_t i = 0; i < 8; i++)
		id = id << 8 | sum[i];
	servers_format_id(id != 0 ? id : 1, p->cluster);
	p->next.cluster = str_from(p->cluster);
}

int
recover_plan(struct str json, const struct raft_config_entry *now, uint64_t own, struct recover_plan *ret,
    char ret_err[RECOVER_ERROR_MAX])
{
	struct recover_plan *p = ret;
	char why[256];
	bool null;
	struct json_object *list;
	size_t n;
	int rc = 0;

	*p = (struct recover_plan){ .next = { .cluster = now->cluster } };
	arena_init(&p->arena, 8 * (size_t)RECOVER_FILE_MAX);
	list = json_parse(json.p, json.len, &null, why, sizeof(why));
	if (list == NULL || !json_object_is_type(list, json_type_array)) {
		rc = refuse(ret_err, "peers.json: %s", list != NULL || null ? "it must hold a list of servers" : why);
		json_object_put(list);
		return rc;
	}
	n = json_object_array_length(list);
	if (n == 0 || n > RAFT_SERVERS_MAX)
		rc = refuse(ret_err, "peers.json: it has %zu servers, it must have from 1 to %d", n, RAFT_SERVERS_MAX);
	if (rc == 0)
		p->next.servers.v = arena_alloc(&p->arena, n * sizeof(struct raft_server_info));
	if (rc == 0 && p->next.servers.v == NULL)
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_server(json_object_array_get_idx(list, i), i, now, p, ret_err);
	json_object_put(list);
	if (rc < 0)
		return rc;
	qsort(p->next.servers.v, n, sizeof(struct raft_server_info), by_id);
	next_cluster(p, now->cluster);
	if (servers_check(&p->next, why) < 0)
		return refuse(ret_err, "peers.json: %s", why);
	if (servers_find(&p->next, own) == NULL)
		return refuse(ret_err, "peers.json: it does not name this server itself: recover on a server that stays");
	return 0;
}

void
recover_plan_release(struct recover_plan *p)
{
	arena_release(&p->arena);
}
