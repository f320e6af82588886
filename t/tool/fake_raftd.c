/*
 * fake_raftd.c - a raftd that knows what a file says, for tests of dnsd alone.
 *
 *	fake_raftd RUNDIR FILE
 *
 * FILE: {"services": {"web": [HealthEntry]}, "nodes": {"n1": Node}}. SIGHUP
 * reads it again under the next index and answers every watch. A datacenter
 * other than "dc1" has no path; service "broken" is an error.
 */
#include <json-c/json.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
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

static void
answer(struct rpc_token t, const char *key)
{
	struct buf *b = rpc_reply_begin(w.server, t);
	struct query_meta meta = { w.index, 0, true, false };
	struct json_object *j;
	struct mp_w m;

	if (b == NULL)
		return;
	m = mp_w_init(b);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &m);
	if (t.op == OP_HEALTH_SERVICE) {
		j = find("services", key);
		mp_w_array(&m, j != NULL ? (uint32_t)json_object_array_length(j) : 0);
		for (size_t i = 0; j != NULL && i < json_object_array_length(j); i++)
			put_json(&m, &rec_health_entry, json_object_array_get_idx(j, i));
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

static void
on_query(void *ctx, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(1 * MiB);
	struct catalog_query q;
	struct query_options o;
	char key[256];

	(void)ctx;
	if (op_request_decode(req->info, req->body, req->len, &o, &q, &a) < 0) {
		rpc_bad_request(w.server, req, "malformed");
		goto out;
	}
	(void)snprintf(key, sizeof(key), "%.*s", STR_ARG(req->info->number == OP_CATALOG_NODE ? q.node : q.service));
	/* Both datacenters that there are know the same. */
	if (o.datacenter.len > 0 && !str_eqs(o.datacenter, "dc1") && !str_eqs(o.datacenter, "dc2")) {
		rpc_reply_error(w.server, req->token, 500, "No path to datacenter");
	} else if (str_eqs(q.service, "broken")) {
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
