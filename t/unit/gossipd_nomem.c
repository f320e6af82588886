/* gossipd_nomem.c - two pools in one process, and the Nth allocation of either fails, for every N: nothing is lost or used twice, and they meet all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json_tokener.h>

#include "gossipd/join.h"
#include "t/unit/nomem.h"

/* Allocations that still succeed; below 0: all. Those of the thread pool are not counted, so that N means the same each time. */
static long left = -1;
static bool refused;
static _Thread_local bool counted;

static bool
refuse(void)
{
	if (!counted || left < 0 || left-- > 0)
		return false;
	refused = true;
	return true;
}

/* A daemon, as far as a pool needs one. */
struct side {
	struct daemon d;
	struct gossipd g;
	int rc;
};

static char dir[64];
static uint16_t port;

static struct json_object *
slice(int n, bool keys)
{
	char text[1024];
	struct json_object *j;

	snprintf(text, sizeof(text), "{\"node_name\":\"n%d\",\"node_id\":\"%d\",\"datacenter\":\"dc1\",\"server\":false,\"bind_addr\":\"127.77.%u.%d\","
	    "\"advertise_addr\":\"127.77.%u.%d\",\"data_dir\":\"%s/%d\",\"ports\":{\"serf_lan\":%u}%s}", n, n, (unsigned)getpid() & 255, n,
	    (unsigned)getpid() & 255, n, dir, n, port, keys ? ",\"encrypt\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"" : "");
	j = json_tokener_parse(text);
	assert_non_null(j);
	return j;
}

/* allowed: allocations that succeed; below 0: all. */
static void
side_open(struct side *s, int n, bool keys, long allowed)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(loop_init(&s->d.loop), 0);
	s->d.run_dir = dir;
	s->d.config = slice(n, keys);
	s->d.ctx = &s->g;
	s->g.d = &s->d;
	s->g.started_with = json_object_get(s->d.config);
	events_init(&s->g.events, &s->g);
	left = allowed;
	refused = false;
	counted = true;
	s->rc = pool_open(&s->g.lan, &s->g, false, 1);
	counted = false;
	left = -1;
}

static void
side_close(struct side *s)
{
	join_release(&s->g);
	pool_close(&s->g.lan);
	loop_undefer(&s->d.loop, DEFER_WORK, &s->g.wake);
	(void)uv_run(&s->d.loop.uv, UV_RUN_NOWAIT);
	/* Its file may be on its way to the disk. */
	while (s->g.lan.on && (!snapshot_idle(&s->g.lan.snapshot) || !keyfile_idle(&s->g.lan.keyfile)) && s->g.lan.snapshot.busy)
		(void)uv_run(&s->d.loop.uv, UV_RUN_ONCE);
	events_release(&s->g.events);
	pool_release(&s->g.lan);
	loop_release(&s->d.loop);
	json_object_put(s->g.started_with);
	json_object_put(s->d.config);
}

struct outcome {
	bool over;
	uint64_t contacted;
};

static void
on_joined(void *ctx, uint64_t contacted, const char *errors)
{
	struct outcome *o = ctx;

	(void)errors;
	assert_false(o->over);
	*o = (struct outcome){ true, contacted };
}

static void
turn(struct side *a, struct side *b)
{
	(void)uv_run(&a->d.loop.uv, UV_RUN_NOWAIT);
	(void)uv_run(&b->d.loop.uv, UV_RUN_NOWAIT);
	(void)usleep(200);
}

/* a joins b, within the time of a stream; false: it could not even begin. */
static bool
meet(struct side *a, struct side *b, struct outcome *o)
{
	char text[SOCK_ADDR_TEXT_MAX];
	struct str v[1];
	struct strs addrs = { v, 1 };
	uint64_t end = clock_ms() + 30000;

	*o = (struct outcome){ false, 0 };
	addr_text(&b->g.lan.addr, text);
	v[0] = str_from(text);
	if (join_begin(&a->g.lan, &addrs, JOIN_OLD_EVENTS, on_joined, o) < 0)
		return false;
	while (!o->over && clock_ms() < end)
		turn(a, b);
	assert_true(o->over);
	return true;
}

static void
know_each_other(struct side *a, struct side *b)
{
	uint64_t end = clock_ms() + 30000;

	while ((serf_count(a->g.lan.serf, SERF_ALIVE) < 2 || serf_count(b->g.lan.serf, SERF_ALIVE) < 2) && clock_ms() < end)
		turn(a, b);
	assert_int_equal(serf_count(a->g.lan.serf, SERF_ALIVE), 2);
	assert_int_equal(serf_count(b->g.lan.serf, SERF_ALIVE), 2);
}

/* As before the first start. */
static void
forget(void)
{
	static const char *const names[] = { "serf/local.snapshot", "serf/local.keyring", "serf" };
	char path[128];

	for (int n = 1; n <= 2; n++)
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			snprintf(path, sizeof(path), "%s/%d/%s", dir, n, names[i]);
			(void)remove(path);
		}
}

/* A pool that opens, or does not and says so. */
static void
test_open(void **state)
{
	(void)state;
	for (int keys = 0; keys < 2; keys++) {
		bool once = true;

		for (long n = 0; once; n++) {
			struct side s;

			forget();
			side_open(&s, 1, keys != 0, n);
			assert_true(s.rc == 0 || refused);
			once = refused;
			side_close(&s);
			assert_true(n < 10000);
		}
	}
}

/* Two that are open meet, or one of them is told why not; and then they do. */
static void
test_join(void **state)
{
	struct outcome o;

	(void)state;
	for (int keys = 0; keys < 2; keys++) {
		bool once = true;

		for (long n = 0; once; n++) {
			struct side a, b;

			forget();
			side_open(&a, 1, keys != 0, -1);
			side_open(&b, 2, keys != 0, -1);
			assert_int_equal(a.rc, 0);
			assert_int_equal(b.rc, 0);
			turn(&a, &b);
			refused = false;
			left = n;
			counted = true;
			(void)meet(&a, &b, &o);
			counted = false;
			left = -1;
			once = refused;
			if (serf_count(a.g.lan.serf, SERF_ALIVE) < 2 || serf_count(b.g.lan.serf, SERF_ALIVE) < 2) {
				assert_true(meet(&a, &b, &o));
				assert_int_equal(o.contacted, 1);
			}
			know_each_other(&a, &b);
			side_close(&a);
			side_close(&b);
			assert_true(n < 10000);
		}
	}
}

static int
begin(void **state)
{
	char path[80];

	(void)state;
	log_setup(LOG_ERR, false);
	snprintf(dir, sizeof(dir), "/tmp/gossipd_nomem.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	port = (uint16_t)(20000 + getpid() % 10000);
	for (int n = 1; n <= 2; n++) {
		snprintf(path, sizeof(path), "%s/%d", dir, n);
		if (mkdir(path, 0700) < 0)
			return -1;
	}
	return 0;
}

static int
end(void **state)
{
	char path[80];

	(void)state;
	forget();
	for (int n = 1; n <= 2; n++) {
		snprintf(path, sizeof(path), "%s/%d", dir, n);
		(void)rmdir(path);
	}
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_join),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
