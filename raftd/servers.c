/* servers.c - the Raft configuration: who has a vote, by the id of the data directory. */
#include <inttypes.h>
#include <stdio.h>

#include "raftd/raftd.h"

static const struct field f_server[] = {
	FIELD(server, id, "ID", F_STR, 0),
	FIELD(server, node_id, "NodeID", F_STR, 0),
	FIELD(server, node, "Node", F_STR, 0),
	FIELD(server, address, "Address", F_STR, 0),
	FIELD(server, voter, "Voter", F_BOOL, 0),
};
static RECORD(rec_server, server, "Server", f_server);

static const struct field f_servers[] = {
	FIELD_SUB(servers, v, "Servers", F_RECORDS, 0, rec_server),
};
RECORD(rec_servers, servers, "Servers", f_servers);

int
servers_encode_own(const struct raftd *r, struct buf *out)
{
	struct mp_w w = mp_w_init(out);
	struct server own;
	struct servers all = { { &own, 1 } };
	char id[17];

	(void)snprintf(id, sizeof(id), "%016" PRIx64, r->id);
	own = (struct server){ str_from(id), str_from(r->node_id), str_from(r->node_name), str_from(r->address), true };
	record_encode(&rec_servers, &all, RECORD_WHOLE, &w);
	return w.err;
}

static int
parse_id(struct str s, uint64_t *ret)
{
	char text[17];
	int used = 0;

	if (s.len != 16)
		return -EDECODE;
	memcpy(text, s.p, 16);
	text[16] = 0;
	return sscanf(text, "%16" SCNx64 "%n", ret, &used) == 1 && used == 16 ? 0 : -EDECODE;
}

int
servers_voters(struct str encoded, uint64_t ids[RAFT_VOTERS_MAX], size_t *ret_n)
{
	struct arena a = ARENA_INIT(1 * MiB);
	struct mp_r in = mp_r_init(encoded.p, encoded.len);
	struct servers all;
	const struct server *v;
	size_t n = 0;
	int rc = record_decode(&rec_servers, &in, &all, &a);

	v = all.v.v;
	for (size_t i = 0; rc == 0 && i < all.v.n; i++) {
		if (!v[i].voter)
			continue;
		if (n == RAFT_VOTERS_MAX)
			rc = -ELIMIT;
		else
			rc = parse_id(v[i].id, &ids[n++]);
	}
	arena_release(&a);
	if (rc == 0)
		*ret_n = n;
	return rc;
}
