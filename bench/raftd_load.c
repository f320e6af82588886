/*
 * raftd_load.c - closed-loop load on raftd's own socket: what the state costs
 * without HTTP in front of it.
 *
 *	raftd_load SOCKDIR put|get|fill CLIENTS SECONDS|KEYS [BYTES]
 *
 * CLIENTS requests are open at any time on one connection, as httpd has them.
 * fill writes KEYS keys and stops. Prints one JSON object.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc.h"
#include "lib/sock.h"

enum { CLIENTS_MAX = 4096, SAMPLES_MAX = 1 << 22, VALUE_MAX = 512 * 1024, KEYS_READ = 10000, CALL_MS = 60000 };

struct client {
	uint64_t started_ns, seq;
};

static struct load {
	struct loop loop;
	struct rpc_client *rpc;
	struct write_stamps stamps;
	struct client clients[CLIENTS_MAX];
	bool put;
	uint64_t next_key, keys, done, failed, end_ns, begin_ns;
	unsigned nclients, idle;
	char value[VALUE_MAX];
	size_t value_len;
	uint32_t *us;
} l;

static void ask(struct client *c);

static void
on_answer(void *arg, const struct rpc_answer *a)
{
	struct client *c = arg;
	uint64_t now = clock_ns();

	if (c->seq != 0)
		write_stamps_done(&l.stamps, c->seq);
	l.failed += a->rc != 0;
	if (l.done < SAMPLES_MAX)
		l.us[l.done] = (uint32_t)((now - c->started_ns) / 1000);
	l.done++;
	if (now < l.end_ns && (l.keys == 0 || l.next_key < l.keys))
		ask(c);
	else if (++l.idle == l.nclients)
		uv_stop(&l.loop.uv);
}

static void
ask(struct client *c)
{
	char key[64];
	struct query_options o = { .seq = 0 };
	struct kv_query q = { .key = { key, 0 } };
	struct kv_op op = { .verb = STR("set"), .entry = { .key = { key, 0 }, .value = { l.value, l.value_len } } };
	uint64_t n = l.put ? l.next_key : l.next_key * 7919 % KEYS_READ;
	size_t len = (size_t)snprintf(key, sizeof(key), "bench/%016" PRIx64, n * 0x9e3779b97f4a7c15u);
	uint32_t id;

	l.next_key++;
	c->started_ns = clock_ns();
	c->seq = 0;
	q.key.len = op.entry.key.len = len;
	if (l.put) {
		if (write_stamps_take(&l.stamps, &o) < 0)
			exit(1);
		c->seq = o.seq;
		id = rpc_call_record(l.rpc, OP_KV_APPLY, &o, &op, RPC_RETRY, CALL_MS, on_answer, c);
	} else {
		id = rpc_call_record(l.rpc, OP_KV_GET, &o, &q, RPC_RETRY, CALL_MS, on_answer, c);
	}
	if (id == 0)
		exit(1);
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
report(void)
{
	size_t n = l.done < SAMPLES_MAX ? l.done : SAMPLES_MAX;
	double s = (double)(clock_ns() - l.begin_ns) / 1e9;

	qsort(l.us, n, sizeof(*l.us), by_value);
	printf("{\"requests\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"per_s\": %.0f, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u}\n",
	    l.done, l.failed, (double)l.done / s, l.us[n / 2], l.us[n * 99 / 100], l.us[n - 1]);
}

int
main(int argc, char **argv)
{
	int dir;

	if (argc < 5 || (dir = sock_dir_open(argv[1])) < 0) {
		fprintf(stderr, "usage: raftd_load SOCKDIR put|get|fill CLIENTS SECONDS|KEYS [BYTES]\n");
		return 2;
	}
	l.put = strcmp(argv[2], "get") != 0;
	l.nclients = (unsigned)strtoul(argv[3], NULL, 10);
	l.value_len = argc > 5 ? strtoul(argv[5], NULL, 10) : 100;
	l.us = calloc(SAMPLES_MAX, sizeof(*l.us));
	if (l.us == NULL || l.nclients == 0 || l.nclients > CLIENTS_MAX || l.value_len > VALUE_MAX || loop_init(&l.loop) < 0)
		return 2;
	memset(l.value, 'v', sizeof(l.value));
	write_stamps_init(&l.stamps);
	l.rpc = rpc_client_new(&l.loop, dir, "raftd");
	if (l.rpc == NULL)
		return 1;
	l.begin_ns = clock_ns();
	l.end_ns = UINT64_MAX;
	if (strcmp(argv[2], "fill") == 0)
		l.keys = strtoull(argv[4], NULL, 10);
	else
		l.end_ns = l.begin_ns + (uint64_t)(strtod(argv[4], NULL) * 1e9);
	for (unsigned i = 0; i < l.nclients; i++)
		ask(&l.clients[i]);
	loop_run(&l.loop);
	report();
	return l.failed != 0;
}
