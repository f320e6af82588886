/*
 * fake_raftd.c - a raftd that knows what a file says, for tests of dnsd alone.
 *
 *	fake_raftd RUNDIR FILE
 *
 * FILE: {"services": {"web": [HealthEntry]}, "nodes": {"n1": Node},
 * "queries": {"q": {Service, Nodes, TTL, Datacenter, Ranks, PerClient}},
 * "addresses": {"10.0.0.1": {Node, Services}}}. A query "q@ADDRESS" is what q
 * gives to a client; one without Ranks is that of a raftd that has none.
 * SIGHUP reads it again under the next index and answers every watch. A
 * datacenter other than "dc1" has no path; service "broken" is an error.
 */
#include <json-c/json.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/records_acl.h"
#include "lib/rpc.h"
#include "lib/sock.h"

enum { WATCHES_MAX = 65536 };

struct watch {
	struct rpc_token token;
	char key[256];
};

static struct world {
	struct loop loop;
	struct rpc_server *server;
	struct json_object *data;
	const char *path;
	uint64_t index;
	struct watch *watches;
	size_t nwatches;
} w;

static void
read_file(void)
{
	json_object_put(w.data);
	w.data = json_object_from_file(w.path);
	if (w.data == NULL)
		log_fatal("fake", "cannot read %s", w.path);
	w.index++;
}

static struct json_object *
find(const char *kind, const char *key)
{
	struct json_object *all = NULL, *found = NULL;

	if (json_object_object_get_ex(w.data, kind, &all))
		(void)json_object_object_get_ex(all, key, &found);
	return found;
}

static void
put_json(struct mp_w *m, const struct record *rec, struct json_object *j)
{
	struct arena a = ARENA_INIT(16 * MiB);
	void *obj = arena_alloc(&a, rec->size);
	char err[256];

	if (record_from_json(rec, j, obj, &a, true, err, sizeof(err)) < 0)
		log_fatal("fake", "%s", err);
	record_encode(rec, obj, RECORD_PUBLIC, m);
	arena_release(&a);
}

static const char *
text_of(struct json_object *j, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(j, name, &v) ? json_object_get_string(v) : "";
}

static size_t
list_of(struct json_object *j, const char *name, struct json_object **ret)
{
	*ret = NULL;
	return json_object_object_get_ex(j, name, ret) ? json_object_array_length(*ret) : 0;
}

static void
put_query(struct mp_w *m, struct json_object *j)
{
	struct json_object *nodes, *ranks = NULL, *per_client = NULL;
	size_t n = list_of(j, "Nodes", &nodes);
	bool ranked = json_object_object_get_ex(j, "Ranks", &ranks);

	mp_w_map(m, ranked ? 6 : 4);
	mp_w_cstr(m, "Service");
	mp_w_cstr(m, text_of(j, "Service"));
	mp_w_cstr(m, "Nodes");
	mp_w_array(m, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		put_json(m, &rec_health_entry, json_object_array_get_idx(nodes, i));
	mp_w_cstr(m, "DNS");
	record_encode(&rec_pq_dns, &(struct pq_dns){ str_from(text_of(j, "TTL")) }, RECORD_PUBLIC, m);
	mp_w_cstr(m, "Datacenter");
	mp_w_cstr(m, text_of(j, "Datacenter"));
	if (!ranked)
		return;
	mp_w_cstr(m, "Ranks");
	mp_w_array(m, (uint32_t)json_object_array_length(ranks));
	for (size_t i = 0; i < json_object_array_length(ranks); i++)
		mp_w_uint(m, (uint64_t)json_object_get_int64(json_object_array_get_idx(ranks, i)));
	mp_w_cstr(m, "PerClient");
	mp_w_bool(m, json_object_object_get_ex(j, "PerClient", &per_client) && json_object_get_boolean(per_client));
}

static void
put_reverse(struct mp_w *m, struct json_object *j)
{
	struct json_object *services = NULL;
	size_t n = j != NULL ? list_of(j, "Services", &services) : 0;

	mp_w_map(m, 2);
	mp_w_cstr(m, "Node");
	mp_w_cstr(m, j != NULL ? text_of(j, "Node") : "");
	mp_w_cstr(m, "Services");
	mp_w_array(m, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		mp_w_cstr(m, json_object_get_string(json_object_array_get_idx(services, i)));
}

/* "q@ADDRESS", else "q". */
static struct json_object *
find_query(const char *key)
{
	struct json_object *j = find("queries", key);
	char name[256];

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(key, "@"), key);
	return j != NULL ? j : find("queries", name);
}

static void
answer(struct rpc_token t, const char *key)
{
	struct buf *b = rpc_reply_begin(w.server, t);
	struct query_meta meta = { .index = w.index, .known_leader = true };
	struct json_object *j;
	struct mp_w m;

	if (b == NULL)
		return;
	if (t.op == OP_QUERY_EXECUTE && find_query(key) == NULL) {
		rpc_reply_drop(w.server, t);
		rpc_reply_error(w.server, t, 404, "Query not found");
		return;
	}
	m = mp_w_init(b);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &m);
	if (t.op == OP_HEALTH_SERVICE) {
		j = find("services", key);
		mp_w_array(&m, j != NULL ? (uint32_t)json_object_array_length(j) : 0);
		for (size_t i = 0; j != NULL && i < json_object_array_length(j); i++)
			put_json(&m, &rec_health_entry, json_object_array_get_idx(j, i));
	} else if (t.op == OP_QUERY_EXECUTE) {
		put_query(&m, find_query(key));
	} else if (t.op == OP_CATALOG_REVERSE) {
		put_reverse(&m, find("addresses", key));
	} else if ((j = find("nodes", key)) != NULL) {
		mp_w_map(&m, 2);
		mp_w_cstr(&m, "Node");
		put_json(&m, &rec_node, j);
		mp_w_cstr(&m, "Services");
		mp_w_map(&m, 0);
	} else {
		mp_w_nil(&m);
	}
	rpc_reply_end(w.server, t, m.err == 0);
}

union request {
	struct catalog_query catalog;
	struct pq_request query;
	struct reverse_query reverse;
};

static void
key_of(uint16_t op, const union request *q, char *out, size_t size)
{
	if (op == OP_QUERY_EXECUTE && q->query.source_ip.len > 0)
		(void)snprintf(out, size, "%.*s@%.*s", STR_ARG(q->query.id), STR_ARG(q->query.source_ip));
	else if (op == OP_QUERY_EXECUTE)
		(void)snprintf(out, size, "%.*s", STR_ARG(q->query.id));
	else if (op == OP_CATALOG_REVERSE)
		(void)snprintf(out, size, "%.*s", STR_ARG(q->reverse.address));
	else
		(void)snprintf(out, size, "%.*s", STR_ARG(op == OP_CATALOG_NODE ? q->catalog.node : q->catalog.service));
}

static void
on_query(void *ctx, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(1 * MiB);
	union request q;
	struct query_options o;
	char key[256];

	(void)ctx;
	if (op_request_decode(req->info, req->body, req->len, &o, &q, &a) < 0) {
		rpc_bad_request(w.server, req, "malformed");
		goto out;
	}
	key_of(req->info->number, &q, key, sizeof(key));
	/* Both datacenters that there are know the same. */
	if (o.datacenter.len > 0 && !str_eqs(o.datacenter, "dc1") && !str_eqs(o.datacenter, "dc2")) {
		rpc_reply_error(w.server, req->token, 500, "No path to datacenter");
	} else if (strcmp(key, "broken") == 0) {
		rpc_reply_error(w.server, req->token, 500, "No cluster leader");
	} else if (o.min_index < w.index || w.nwatches == WATCHES_MAX) {
		answer(req->token, key);
	} else {
		struct watch *x = &w.watches[w.nwatches++];

		x->token = req->token;
		memcpy(x->key, key, sizeof(key));
	}
out:
	arena_release(&a);
}

static void
on_hup(uv_signal_t *h, int signum)
{
	size_t n = w.nwatches;

	(void)h;
	(void)signum;
	read_file();
	w.nwatches = 0;
	for (size_t i = 0; i < n; i++)
		answer(w.watches[i].token, w.watches[i].key);
}

int
main(int argc, char **argv)
{
	static const struct rpc_route routes[] = {
		{ OP_HEALTH_SERVICE, on_query }, { OP_CATALOG_NODE, on_query },
		{ OP_QUERY_EXECUTE, on_query }, { OP_CATALOG_REVERSE, on_query },
	};
	const struct rpc_server_config c = { .routes = routes, .nroutes = ARRAY_LEN(routes) };
	uv_signal_t hup;
	int fd, dir;

	if (argc != 3 || loop_init(&w.loop) < 0)
		return 2;
	w.path = argv[2];
	read_file();
	w.watches = calloc(WATCHES_MAX, sizeof(*w.watches));
	dir = sock_dir_open(argv[1]);
	fd = dir >= 0 ? sock_unix_listen(dir, "raftd.sock", 0600) : dir;
	if (w.watches == NULL || fd < 0) {
		log_err("fake", "cannot listen: %s", err_text(fd));
		return 1;
	}
	w.server = rpc_server_new(&w.loop, fd, &c);
	(void)uv_signal_init(&w.loop.uv, &hup);
	(void)uv_signal_start(&hup, on_hup, SIGHUP);
	loop_run(&w.loop);
	return 0;
}
