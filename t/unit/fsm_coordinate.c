/* fsm_coordinate.c - where nodes lie: what is stored, what goes with a node, and lists in the order of distance. */
#include "t/unit/fsm_image.h"

#define EXPECT(w, op, json, reply, index) do { \
	assert_string_equal(query(w, op, json), reply); \
	assert_int_equal((w)->result_index, index); \
} while (0)

/* As Consul writes one into a snapshot: a list of one map, whose text is fixstr and raw16. 1.5 is 3f f8. */
#define F(hex) "\xcb" hex "\0\0\0\0\0\0"
#define ZERO F("\0\0")
#define VEC8 "\x98" F("\x3f\xf8") ZERO ZERO ZERO ZERO ZERO ZERO ZERO
#define VEC2 "\x92" ZERO ZERO
#define KEPT(vec, node) "\x91\x83\xa5" "Coord\x84\xaa" "Adjustment" ZERO "\xa5" "Error" F("\x3f\xf8") "\xa6Height" ZERO "\xa3Vec" vec \
    "\xa4Node\xa2" node "\xa7Segment\xa0"
#define SHOWN(node) "{'Node':'" node "','Segment':'','Coord':{'Vec':[1.5,0,0,0,0,0,0,0],'Error':1.5,'Adjustment':0,'Height':0}}"

/* ---- what is stored */

static void
test_batch(void **state)
{
	struct world *w = world_new();

	(void)state;
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[]", 1);
	assert_string_equal(w->watch, "coordinates: ");
	node(w, "n1");
	node(w, "Zeta");
	session(w, SID(1), "");
	/* Nodes that are not there, and what is no coordinate, are passed over; the rest stands. */
	coordinates(w, "[" AT("n1", "0.5") "," AT("gone", "1") "," AT("ZETA", "0.25") ",{'Node':'n1','Coord':{'Vec':[1,2]}}]");
	assert_string_equal(w->touched, "coordinate:n1 coordinates: coordinate:zeta ");
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" AT("n1", "0.5") "," AT("ZETA", "0.25") "]", 4);
	EXPECT(w, OP_COORDINATE_NODE, "{'Node':'zeta'}", "[" AT("ZETA", "0.25") "]", 4);
	assert_string_equal(w->watch, "coordinate:zeta ");
	EXPECT(w, OP_COORDINATE_NODE, "{'Node':'gone'}", "[]", 4);
	EXPECT(w, OP_COORDINATE_NODE, "{'Node':''}", "[]", 4);
	EXPECT(w, OP_COORDINATE_LIST, "{'Segment':'alpha'}", "[]", 4);
	/* Nothing else moved. */
	(void)query(w, OP_CATALOG_NODES, "{}");
	assert_int_equal(w->result_index, 2);
	(void)query(w, OP_SESSION_LIST, NULL);
	assert_int_equal(w->result_index, 3);
	world_free(w);
}

static void
test_updates(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	coordinates(w, "[" AT("n1", "0.5") "]");
	/* The same again is no change. */
	coordinates(w, "[" AT("n1", "0.5") "]");
	assert_string_equal(w->touched, "");
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" AT("n1", "0.5") "]", 2);
	/* Twice in a batch: the last one stands. */
	coordinates(w, "[" AT("n1", "0.75") "," AT("n1", "-0.5") "]");
	EXPECT(w, OP_COORDINATE_NODE, "{'Node':'n1'}", "[" AT("n1", "-0.5") "]", 4);
	coordinates(w, "[]");
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" AT("n1", "-0.5") "]", 4);
	world_free(w);
}

static void
test_segments(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	coordinates(w, "[{'Node':'n1','Segment':'Beta','Coord':{'Vec':[1,0,0,0,0,0,0,0]}},{'Node':'n1','Coord':{'Vec':[2,0,0,0,0,0,0,0]}}]");
	assert_non_null(strstr(query(w, OP_COORDINATE_NODE, "{'Node':'n1','Segment':'Beta'}"), "'Vec':[1,0"));
	assert_null(strstr(w->text, "'Vec':[2,0"));
	assert_non_null(strstr(query(w, OP_COORDINATE_NODE, "{'Node':'n1'}"), "'Vec':[2,0"));
	assert_non_null(strstr(w->text, "'Vec':[1,0"));
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[]", 3);
	world_free(w);
}

static void
test_goes_with_its_node(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	node(w, "n10");
	reg(w, "{'Node':'old','ID':'aaaaaaaa-0000-0000-0000-000000000001','Address':'x'}");
	coordinates(w, "[" AT("n1", "1") "," AT("n10", "2") "," AT("old", "3") "]");
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'N1'}");
	assert_non_null(strstr(w->touched, "coordinate:n1 coordinates: "));
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" AT("n10", "2") "," AT("old", "3") "]", 5);
	/* A node with another name is another place to measure. */
	reg(w, "{'Node':'new','ID':'aaaaaaaa-0000-0000-0000-000000000001','Address':'x'}");
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" AT("n10", "2") "]", 6);
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'none'}");
	node(w, "n1");
	EXPECT(w, OP_COORDINATE_NODE, "{'Node':'n1'}", "[]", 6);
	world_free(w);
}

static void
test_bad_entries(void **state)
{
	struct world *w = world_new();
	struct buf result = BUF_INIT(1024);
	struct fsm_entry e = { .kind = FSM_ENTRY_COORDINATES, .time = S(2000) };
	const struct str bad[] = { STR("\x01"), STR("\x81\xa7" "Entries\x91\x01"), STR("\x80\x80"),
		STR("\x81\xa7" "Entries\x91\x81\xa5" "Coord\x81\xa3Vec\x91\xa1x") };
	struct fsm_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e.request = bad[i];
		assert_int_equal(fsm_apply(w->f, 1, &e, &result, &err, NULL), -EDECODE);
	}
	world_free(w);
}

/* ---- the image */

static void
test_image(void **state)
{
	struct world *w = world_new(), *again;
	struct image live, m;
	struct fsm_sink sink = { .ctx = &live, .changed = image_changed };

	(void)state;
	image_init(&live);
	w->sink = &sink;
	node(w, "n1");
	node(w, "n2");
	coordinates(w, "[" AT("n1", "1") "," AT("n2", "2") "]");
	coordinates(w, "[" AT("n1", "3") "]");
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n2'}");
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_dump(w->f, &m);
	assert_image_equal(&live, &m);
	again = world_load(&m);
	EXPECT(again, OP_COORDINATE_LIST, "{}", "[" AT("n1", "3") "]", 5);
	world_free(again);
	world_free(w);
	image_free(&live);
	image_free(&m);
	/* What cannot have been written is refused. */
	w = world_new();
	assert_int_equal(fsm_load(w->f, FSM_COORDINATE, STR("n1\0"), STR("\x80")), -EDECODE);
	assert_int_equal(fsm_load(w->f, FSM_COORDINATE, STR("n1"), STR("\xc1")), -EDECODE);
	world_free(w);
}

/* An image of the release before, which kept them as opaque records: the next leader's first entry takes them over. */
static void
test_of_an_older_release(void **state)
{
	struct world *w = world_new(), *again;
	struct image live, m;
	struct fsm_sink sink = { .ctx = &live, .changed = image_changed };

	(void)state;
	node(w, "n1");
	node(w, "n2");
	coordinates(w, "[" AT("n2", "9") "]");
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n1\0"), STR(KEPT(VEC8, "N1"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n2\0"), STR(KEPT(VEC8, "n2"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n3\0"), STR(KEPT(VEC2, "n3"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n4"), STR("\x91\x81\xa4Node\xa2n4")), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\6n5\0"), STR(KEPT(VEC8, "n5"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7q"), STR("\x80")), 0);
	image_dump(w->f, &live);
	again = world_load(&live);
	EXPECT(again, OP_COORDINATE_LIST, "{}", "[" AT("n2", "9") "]", 3);
	again->sink = &sink;
	noop(again);
	/* That of n2 is newer than what was kept; two that are no coordinates of ours stay what they were. */
	EXPECT(again, OP_COORDINATE_LIST, "{}", "[" SHOWN("N1") "," AT("n2", "9") "," SHOWN("n5") "]", 4);
	assert_int_equal(fsm_flush(again->f, &sink), 0);
	image_dump(again->f, &m);
	assert_image_equal(&live, &m);
	for (size_t i = 0, kept = 0; i <= m.n; i++) {
		if (i == m.n)
			assert_int_equal(kept, 3);
		else
			kept += m.v[i].table == FSM_OPAQUE;
	}
	image_free(&m);
	/* Once is enough. */
	again->sink = NULL;
	noop(again);
	assert_string_equal(again->touched, "");
	/* They go with their node, and for a better one. */
	node(again, "n3");
	node(again, "n4");
	coordinates(again, "[" AT("n3", "1") "]");
	apply(again, OP_CATALOG_DEREGISTER, "{'Node':'n4'}");
	image_dump(again->f, &m);
	for (size_t i = 0; i < m.n; i++)
		if (m.v[i].table == FSM_OPAQUE)
			assert_true(str_eq(m.v[i].key, STR("\7q")));
	image_free(&m);
	image_free(&live);
	world_free(again);
	world_free(w);
}

/* An entry as the first release with coordinates wrote it: it must be read for ever. */
static void
test_fixture(void **state)
{
	static const char bytes[] = "\x95\x04\xcf\0\0\0\xe8\xd4\xa5\x10\0\0\x80\x81\xa7" "Entries\x91\x83\xa4Node\xa2n1\xa7Segment\xa0\xa5" "Coord\x84\xa3Vec"
	    VEC8 "\xa5" "Error" F("\x3f\xf8") "\xaa" "Adjustment" ZERO "\xa6Height" ZERO;
	struct world *w = world_new();
	struct buf result = BUF_INIT(1024);
	struct fsm_entry e;
	struct fsm_error err;

	(void)state;
	node(w, "n1");
	assert_int_equal(fsm_entry_decode((struct str){ bytes, sizeof(bytes) - 1 }, &e), 0);
	assert_int_equal(fsm_apply(w->f, ++w->index, &e, &result, &err, NULL), 0);
	assert_int_equal(err.code, 0);
	EXPECT(w, OP_COORDINATE_LIST, "{}", "[" SHOWN("n1") "]", 2);
	world_free(w);
}

/* ---- in the order of distance */

/* The values of a member in a reply, in order: "a b c". */
static const char *
names(const char *text, const char *member)
{
	static char out[1024];
	char want[64];

	(void)snprintf(want, sizeof(want), "'%s':'", member);
	out[0] = 0;
	for (const char *p = text; (p = strstr(p, want)) != NULL; ) {
		p += strlen(want);
		append(out, sizeof(out), "%s%.*s", out[0] != 0 ? " " : "", (int)strcspn(p, "'"), p);
	}
	return out;
}

/* Nodes a to f, at 5 4 2 2 and two of which nothing is known, with a service and checks. */
static struct world *
spread(void)
{
	struct world *w = world_new();
	char json[512];

	for (char c = 'a'; c <= 'f'; c++) {
		(void)snprintf(json, sizeof(json), "{'Node':'%c','Address':'x','NodeMeta':{'k':'%s'},'Service':{'Service':'web','Tags':['t%d']},"
		    "'Checks':[{'CheckID':'1','Status':'passing'},{'CheckID':'2','Status':'passing','ServiceID':'web'}]}", c,
		    c == 'c' ? "no" : "yes", c % 2);
		assert_string_equal(reg(w, json), "true");
	}
	coordinates(w, "[" AT("a", "5") "," AT("b", "4") "," AT("d", "2") "," AT("e", "2") "]");
	return w;
}

static void
test_near(void **state)
{
	struct world *w = spread();

	(void)state;
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{}"), "Node"), "a b c d e f");
	/* Equally far ones and unknown ones stay in their order. */
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'E'}"), "Node"), "e d b a c f");
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'b'}"), "Node"), "b a d e c f");
	assert_string_equal(names(query(w, OP_CATALOG_SERVICE, "{'Service':'web','Near':'e'}"), "Node"), "e d b a c f");
	assert_string_equal(names(query(w, OP_HEALTH_STATE, "{'State':'any','Near':'e'}"), "Node"), "e e d d b b a a c c f f");
	assert_string_equal(names(w->text, "CheckID"), "1 2 1 2 1 2 1 2 1 2 1 2");
	assert_string_equal(names(query(w, OP_HEALTH_CHECKS, "{'Service':'web','Near':'e'}"), "Node"), "e d b a c f");
	/* Each entry names its node, and each check its own. */
	assert_string_equal(names(query(w, OP_HEALTH_SERVICE, "{'Service':'web','Near':'b'}"), "Node"), "b b b a a a d d d e e e c c c f f f");
	/* Each way ends twice at the height of who measures: what lies at his feet is still not nearer than he himself. */
	coordinates(w, "[{'Node':'e','Coord':{'Vec':[2,0,0,0,0,0,0,0],'Height':0.5}}]");
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'e'}"), "Node"), "e d b a c f");
	world_free(w);
}

static void
test_near_with_others(void **state)
{
	struct world *w = spread();

	(void)state;
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'d','NodeMeta':{'k':'yes'}}"), "Node"), "d e b a f");
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'d','Filter':'Node != e'}"), "Node"), "d b a c f");
	assert_string_equal(names(query(w, OP_CATALOG_SERVICE, "{'Service':'web','Near':'d','Tags':['t0'],'NodeMeta':{'k':'yes'}}"), "Node"),
	    "d b f");
	assert_string_equal(names(query(w, OP_HEALTH_SERVICE, "{'Service':'web','Near':'a','Filter':'Service.ID == web and Node.Node != b'}"), "Address"),
	    "x  x  x  x  x ");
	assert_string_equal(names(query(w, OP_HEALTH_STATE, "{'State':'any','Near':'a','NodeMeta':{'k':'no'}}"), "Node"), "c c");
	/* Nothing is known of the node that is measured from, or there is no such node: nothing is sorted, and it is no error. */
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'f'}"), "Node"), "a b c d e f");
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'nobody'}"), "Node"), "a b c d e f");
	assert_string_equal(query(w, OP_CATALOG_SERVICE, "{'Service':'none','Near':'a'}"), "[]");
	/* The index, and what is waited for, are those of the list alone. */
	(void)query(w, OP_CATALOG_NODES, "{'Near':'e'}");
	assert_int_equal(w->result_index, 6);
	assert_string_equal(w->watch, "nodes: ");
	world_free(w);
}

/* Only coordinates of one segment can be compared. */
static void
test_near_segments(void **state)
{
	static const char alpha[] = "'Segment':'alpha','Coord':{'Vec':[%d,0,0,0,0,0,0,0]}}";
	struct world *w = world_new();
	char json[2048] = "[" AT("srv", "0") "," AT("b", "1") "," AT("c", "7") ",{'Node':'srv',", one[256];

	(void)state;
	node(w, "srv");
	node(w, "a");
	node(w, "b");
	node(w, "c");
	/* The server is in both, a in alpha alone, b in the one without a name alone, c in both. */
	(void)snprintf(one, sizeof(one), alpha, 0);
	append(json, sizeof(json), "%s,{'Node':'a',", one);
	(void)snprintf(one, sizeof(one), alpha, 5);
	append(json, sizeof(json), "%s,{'Node':'c',", one);
	(void)snprintf(one, sizeof(one), alpha, 2);
	append(json, sizeof(json), "%s]", one);
	coordinates(w, json);
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'srv'}"), "Node"), "srv b a c");
	/* From a: c lies at 2 in alpha, the server at 0; b is in no segment of a's. */
	assert_string_equal(names(query(w, OP_CATALOG_NODES, "{'Near':'a'}"), "Node"), "a c srv b");
	world_free(w);
}

/* ---- replicas agree */

static uint64_t rng = 88172645463325252u;

static unsigned
roll(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 20) % n;
}

static void
step(struct world *w, unsigned what, unsigned which, unsigned value)
{
	char json[1024];

	if (what < 3) {
		(void)snprintf(json, sizeof(json), "{'Node':'n%u','Address':'x'}", which);
		reg(w, json);
	} else if (what < 5) {
		(void)snprintf(json, sizeof(json), "{'Node':'n%u'}", which);
		apply(w, OP_CATALOG_DEREGISTER, json);
	} else if (what < 6) {
		noop(w);
	} else {
		(void)snprintf(json, sizeof(json), "[{'Node':'n%u','Segment':'%s','Coord':{'Vec':[0.%u,0,0,0,0,0,0,0],'Height':0.%u}},"
		    "{'Node':'N%u','Coord':{'Vec':[0,0,0,0,0,0,0,-0.%u]}}]", which, value % 7 == 0 ? "s" : "", value, value % 90, value % 12, value);
		coordinates(w, json);
	}
}

static void
test_replicas(void **state)
{
	struct world *a = world_new(), *b = world_new();

	(void)state;
	assert_int_equal(fsm_load(a->f, FSM_OPAQUE, STR("\6n3\0"), STR(KEPT(VEC8, "n3"))), 0);
	assert_int_equal(fsm_load(b->f, FSM_OPAQUE, STR("\6n3\0"), STR(KEPT(VEC8, "n3"))), 0);
	for (int i = 0; i < 2000; i++) {
		unsigned what = roll(14), which = roll(12), value = roll(1000);

		step(a, what, which, value);
		step(b, what, which, value);
		if (i % 50 == 0) {
			struct image x, y;

			image_dump(a->f, &x);
			image_dump(b->f, &y);
			assert_image_equal(&x, &y);
			world_free(b);
			b = i % 100 == 0 ? world_load(&x) : world_load_reversed(&x);
			image_free(&x);
			image_free(&y);
		}
	}
	world_free(a);
	world_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch), cmocka_unit_test(test_updates), cmocka_unit_test(test_segments),
		cmocka_unit_test(test_goes_with_its_node), cmocka_unit_test(test_bad_entries), cmocka_unit_test(test_image),
		cmocka_unit_test(test_of_an_older_release), cmocka_unit_test(test_fixture), cmocka_unit_test(test_near), cmocka_unit_test(test_near_with_others),
		cmocka_unit_test(test_near_segments), cmocka_unit_test(test_replicas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
