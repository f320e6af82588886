/* fsm_address.c - who is at an address, kept through every change; and executions of prepared queries that can be watched. */
#include "t/unit/fsm_image.h"


static const char *
at(struct world *w, const char *address)
{
	char json[128];

	(void)snprintf(json, sizeof(json), "{'Address':'%s'}", address);
	return query(w, OP_CATALOG_REVERSE, json);
}

/* Whether the last entry told those who wait for this address. */
static bool touched;
static uint8_t watched[16];

static void
on_touched(void *ctx, const struct watch_key *k)
{
	(void)ctx;
	if (k->kind != WATCH_ADDRESS)
		return;
	assert_int_equal(k->key.len, sizeof(watched));
	touched |= memcmp(k->key.p, watched, sizeof(watched)) == 0;
}

static const struct fsm_sink sink = { .touched = on_touched };

static struct world *
new_world(void)
{
	struct world *w = world_new();

	w->sink = &sink;
	memcpy(watched, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", sizeof(watched));	/* 10.0.0.1 */
	return w;
}

static const char *
change(struct world *w, uint16_t op, const char *json)
{
	touched = false;
	return apply(w, op, json);
}

static void
test_nodes(void **state)
{
	struct world *w = new_world();
	uint64_t before;

	(void)state;
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':[]}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'N2','Address':'10.0.0.1'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'N2','Services':[]}");
	assert_int_equal(w->result_index, w->index);
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'::ffff:10.0.0.1'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'n1','Services':[]}");
	assert_string_equal(at(w, "::ffff:a00:1"), "{'Node':'n1','Services':[]}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'n6','Address':'2001:DB8::0:1'}");
	assert_false(touched);
	assert_string_equal(at(w, "2001:db8:0::1"), "{'Node':'n6','Services':[]}");
	/* Others' coming moves no index, that one goes does. */
	at(w, "10.0.0.1");
	before = w->result_index;
	change(w, OP_CATALOG_REGISTER, "{'Node':'n7','Address':'10.0.0.7'}");
	at(w, "10.0.0.1");
	assert_int_equal(w->result_index, before);
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.9'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'N2','Services':[]}");
	assert_int_equal(w->result_index, w->index);
	assert_string_equal(at(w, "10.0.0.9"), "{'Node':'n1','Services':[]}");
	change(w, OP_CATALOG_DEREGISTER, "{'Node':'n2'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':[]}");
	assert_int_equal(w->result_index, w->index);
	change(w, OP_CATALOG_REGISTER, "{'Node':'host','Address':'db.example.com'}");
	assert_string_equal(at(w, "db.example.com"), "E400 Invalid address");
	assert_string_equal(at(w, ""), "E400 Invalid address");
	assert_string_equal(at(w, "10.0.0.1/8"), "E400 Invalid address");
	world_free(w);
}

static void
test_services(void **state)
{
	struct world *w = new_world();

	(void)state;
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.2','Service':{'ID':'w1','Service':'Web','Address':'10.0.0.1'}}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':['Web']}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.2','Service':{'ID':'w2','Service':'web','Address':'10.0.0.1'}}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.2','Service':{'ID':'a','Service':'api','Address':'10.0.0.1'}}");
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':['api','Web']}");
	assert_string_equal(at(w, "10.0.0.2"), "{'Node':'n1','Services':[]}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'n2','Address':'10.0.0.1'}");
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'n2','Services':[]}");
	change(w, OP_CATALOG_DEREGISTER, "{'Node':'n2'}");
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.2','Service':{'ID':'a','Service':'api','Address':'10.0.0.3'}}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':['Web']}");
	assert_string_equal(at(w, "10.0.0.3"), "{'Node':'','Services':['api']}");
	/* An instance is renamed. */
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.2','Service':{'ID':'w1','Service':'other','Address':'10.0.0.1'}}");
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':['other','web']}");
	change(w, OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'w2'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':['other']}");
	change(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
	assert_true(touched);
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'','Services':[]}");
	assert_int_equal(w->result_index, w->index);
	world_free(w);
}

/* A failed entry leaves the index as it was, and an image brings it back. */
static void
test_undone_and_loaded(void **state)
{
	struct world *w = new_world(), *l;
	struct image m;

	(void)state;
	change(w, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.0.0.1','Service':{'ID':'w','Service':'web','Address':'10.0.0.3'}}");
	change(w, OP_TXN_APPLY, "{'Ops':[{'Node':{'Verb':'set','Node':{'Node':'n1','Address':'10.0.0.2'}}},"
	    "{'KV':{'Verb':'cas','Key':'a','Index':99,'Value':'Yg=='}}]}");
	assert_string_equal(at(w, "10.0.0.1"), "{'Node':'n1','Services':[]}");
	assert_string_equal(at(w, "10.0.0.2"), "{'Node':'','Services':[]}");
	image_dump(w->f, &m);
	l = world_load(&m);
	assert_string_equal(at(l, "10.0.0.1"), "{'Node':'n1','Services':[]}");
	assert_string_equal(at(l, "10.0.0.3"), "{'Node':'','Services':['web']}");
	/* Nobody who waited before misses what went meanwhile. */
	at(l, "10.0.0.77");
	assert_true(l->result_index >= w->index - 1);
	image_free(&m);
	world_free(l);
	world_free(w);
}

/* ---- executions */

#define QID "00000001-0000-4000-8000-000000000000"

static void
make_query(struct world *w, const char *service)
{
	char json[512];

	(void)snprintf(json, sizeof(json), "{'Verb':'create','Query':{'ID':'" QID "','Name':'q','Service':{%s}}}", service);
	assert_string_equal(apply(w, OP_QUERY_APPLY, json), "'" QID "'");
}

static void
make_instances(struct world *w)
{
	for (int i = 1; i <= 3; i++) {
		char json[256];

		(void)snprintf(json, sizeof(json), "{'Node':'n%d','Address':'10.0.0.%d','Service':{'ID':'w%d','Service':'web'}}", i, i, i);
		apply(w, OP_CATALOG_REGISTER, json);
	}
}

static const char *
ranks(struct world *w, const char *more)
{
	static char out[128];
	char json[256], *p;

	(void)snprintf(json, sizeof(json), "{'ID':'q','Ranked':true%s}", more);
	p = strstr(query(w, OP_QUERY_EXECUTE, json), "'Ranks':");
	assert_non_null(p);
	(void)snprintf(out, sizeof(out), "%s", p);
	return out;
}

static void
test_ranks(void **state)
{
	struct world *w = world_new();

	(void)state;
	make_instances(w);
	make_query(w, "'Service':'web'");
	assert_string_equal(ranks(w, ""), "'Ranks':[0,0,0],'PerClient':false}");
	assert_string_equal(w->watch, "queries: service:web ");
	assert_int_equal(w->result_index, w->index);
	/* The same each time: it can be seen that nothing has changed. */
	assert_string_equal(ranks(w, ",'Seed':7"), "'Ranks':[0,0,0],'PerClient':false}");
	assert_null(strstr(query(w, OP_QUERY_EXECUTE, "{'ID':'q'}"), "Ranks"));
	assert_string_equal(ranks(w, ",'Near':'_agent','AgentNode':'n3'"), "'Ranks':[0,1,1],'PerClient':false}");
	assert_true(strstr(w->text, "'Node':'n3'") < strstr(w->text, "'Node':'n2'"));
	coordinates(w, "[{'Node':'n1','Coord':{'Vec':[0,0,0,0,0,0,0,0],'Error':1.5,'Adjustment':0,'Height':1e-5}},"
	    "{'Node':'n2','Coord':{'Vec':[1,0,0,0,0,0,0,0],'Error':1.5,'Adjustment':0,'Height':1e-5}},"
	    "{'Node':'n3','Coord':{'Vec':[0.5,0,0,0,0,0,0,0],'Error':1.5,'Adjustment':0,'Height':1e-5}}]");
	assert_string_equal(ranks(w, ",'Near':'n1'"), "'Ranks':[0,2,3],'PerClient':false}");
	assert_true(strstr(w->text, "'Node':'n3'") < strstr(w->text, "'Node':'n2'"));
	world_free(w);
}

static void
test_per_client(void **state)
{
	struct world *w = world_new();

	(void)state;
	make_instances(w);
	make_query(w, "'Service':'web','Near':'_ip'");
	assert_string_equal(ranks(w, ""), "'Ranks':[0,0,0],'PerClient':true}");
	/* Whoever is at the address is a node, and comes first. */
	assert_string_equal(ranks(w, ",'SourceIP':'10.0.0.2'"), "'Ranks':[0,1,1],'PerClient':true}");
	assert_true(strstr(w->text, "'Node':'n2'") < strstr(w->text, "'Node':'n1'"));
	assert_string_equal(ranks(w, ",'SourceIP':'::ffff:10.0.0.3'"), "'Ranks':[0,1,1],'PerClient':true}");
	assert_string_equal(ranks(w, ",'SourceIP':'10.9.9.9'"), "'Ranks':[0,0,0],'PerClient':true}");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes), cmocka_unit_test(test_services), cmocka_unit_test(test_undone_and_loaded),
		cmocka_unit_test(test_ranks), cmocka_unit_test(test_per_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
