/* fsm_catalog.c - nodes, services and checks: registration, identity, indexes, reads. */
#include <time.h>

#include "t/unit/fsm_help.h"

#define ID1 "11111111-2222-3333-4444-555555555555"
#define ID2 "11ab1111-2222-3333-4444-555555555555"

/* The reply and then its index. */
#define EXPECT(w, op, json, reply, index) do { \
	assert_string_equal(query(w, op, json), reply); \
	assert_int_equal((w)->result_index, index); \
} while (0)

static uint64_t
index_of(struct world *w, uint16_t op, const char *json)
{
	query(w, op, json);
	return w->result_index;
}

static void
test_nodes(void **state)
{
	struct world *w = world_new();

	(void)state;
	EXPECT(w, OP_CATALOG_NODES, "{}", "[]", 1);
	reg(w, "{'Node':'n2','Address':'10.0.0.2','ID':'" ID1 "','TaggedAddresses':{'lan':'10.0.0.2'},'NodeMeta':{'zone':'a'}}");
	assert_string_equal(w->touched, "node:n2 nodes: ");
	reg(w, "{'Node':'N1','Address':'10.0.0.1','Datacenter':'dc1'}");
	EXPECT(w, OP_CATALOG_NODES, "{}", "[{'ID':'','Node':'N1','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,"
	    "'Meta':null,'CreateIndex':2,'ModifyIndex':2},{'ID':'" ID1 "','Node':'n2','Address':'10.0.0.2','Datacenter':'dc1',"
	    "'TaggedAddresses':{'lan':'10.0.0.2'},'Meta':{'zone':'a'},'CreateIndex':1,'ModifyIndex':1}]", 2);
	query(w, OP_CATALOG_NODES, "{'NodeMeta':{'zone':'a'}}");
	assert_non_null(strstr(w->text, "n2"));
	assert_null(strstr(w->text, "N1"));
	assert_string_equal(query(w, OP_CATALOG_NODES, "{'NodeMeta':{'zone':'b'}}"), "[]");
	/* Registered again as it is, nothing moves, whatever the case of its name. */
	reg(w, "{'Node':'n1','Address':'10.0.0.1','Datacenter':'dc1'}");
	assert_string_equal(w->touched, "");
	assert_int_equal(index_of(w, OP_CATALOG_NODES, "{}"), 2);
	world_free(w);
}

static void
test_register_errors(void **state)
{
	static const struct {
		const char *json, *error;
	} cases[] = {
		{ "{'Address':'a'}", "E500 Must provide node" },
		{ "{'Node':'n1'}", "E500 Must provide address if SkipNodeUpdate is not set" },
		{ "{'Node':'n1','Address':'a','ID':'x'}", "E500 Bad node ID: uuid string is wrong length" },
		{ "{'Node':'n1','Address':'a','ID':'11111111+2222-3333-4444-555555555555'}",
		    "E500 Bad node ID: uuid is improperly formatted" },
		{ "{'Node':'n1','Address':'a','Service':{'ID':'x'}}", "E500 Must provide service name with ID" },
		{ "{'Node':'n1','Address':'a','Service':{}}", "E500 Must provide service name with ID" },
		{ "{'Node':'n1','Address':'a','Service':{'Service':'x','Address':'0.0.0.0'}}", "E500 Invalid service address" },
		{ "{'Node':'n1','Address':'a','Service':{'Service':'x','Address':'::'}}", "E500 Invalid service address" },
	};
	struct world *w = world_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(check_first(w, OP_CATALOG_REGISTER, cases[i].json), cases[i].error);
		assert_string_equal(reg(w, cases[i].json), cases[i].error);
	}
	/* What fails half-way leaves nothing behind. */
	assert_string_equal(reg(w, "{'Node':'n1','Address':'a','Service':{'Service':'web'},'Check':{'CheckID':'c','ServiceID':'db'}}"),
	    "E500 failed inserting check: Missing service registration on node 'n1'");
	assert_string_equal(w->touched, "");
	assert_string_equal(reg(w, "{'Node':'n1','Address':'a','Check':{'Status':'passing'}}"), "E500 Must provide check ID or name");
	assert_string_equal(reg(w, "{'Node':'n1','Address':'a','Check':{'CheckID':'c','Node':'n2'}}"),
	    "E500 check node 'n2' does not match node 'n1'");
	EXPECT(w, OP_CATALOG_NODES, "{}", "[]", 1);
	EXPECT(w, OP_CATALOG_SERVICES, "{}", "{}", 1);
	assert_string_equal(apply(w, OP_CATALOG_DEREGISTER, "{}"), "E500 Must provide node");
	world_free(w);
}

static void
test_rename_and_conflict(void **state)
{
	struct world *w = world_new();

	(void)state;
	reg(w, "{'Node':'n1','Address':'10.0.0.1','ID':'" ID1 "','Service':{'Service':'web'},"
	    "'Check':{'CheckID':'serfHealth','Status':'passing'}}");
	/* The same name, whatever its case, for another ID, while the owner is well. */
	assert_string_equal(reg(w, "{'Node':'N1','Address':'10.0.0.2','ID':'" ID2 "'}"),
	    "E500 failed inserting node: Error while renaming Node ID: '" ID2 "': Node name N1 is reserved by node " ID1
	    " with name n1 (10.0.0.1)");
	/* The same ID under a new name: the old node goes with all that was on it. */
	session(w, SID(1), "");
	assert_string_equal(reg(w, "{'Node':'n9','Address':'10.0.0.1','ID':'" ID1 "'}"), "true");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{}");
	assert_string_equal(query(w, OP_SESSION_LIST, "{}"), "[]");
	assert_string_equal(query(w, OP_HEALTH_STATE, "{'State':'any'}"), "[]");
	EXPECT(w, OP_CATALOG_NODES, "{}", "[{'ID':'" ID1 "','Node':'n9','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,"
	    "'Meta':null,'CreateIndex':1,'ModifyIndex':4}]", 4);
	/* Renamed into a name that is taken. */
	reg(w, "{'Node':'n2','Address':'10.0.0.2','ID':'" ID2 "','Check':{'CheckID':'serfHealth','Status':'passing'}}");
	assert_string_equal(reg(w, "{'Node':'n2','Address':'10.0.0.1','ID':'" ID1 "'}"),
	    "E500 failed inserting node: Error while renaming Node ID: '" ID1 "' (10.0.0.1): Node name n2 is reserved by node " ID2
	    " with name n2 (10.0.0.2)");
	/* Its owner has failed: it may be taken over. */
	reg(w, "{'Node':'n2','SkipNodeUpdate':true,'Check':{'CheckID':'serfHealth','Status':'critical'}}");
	assert_string_equal(reg(w, "{'Node':'n2','Address':'10.0.0.3','ID':'" ID1 "'}"), "true");
	query(w, OP_CATALOG_NODES, "{}");
	assert_null(strstr(w->text, "n9"));
	assert_null(strstr(w->text, ID2));
	/* A node without ID may be overwritten by name. */
	reg(w, "{'Node':'ext','Address':'10.1.0.1'}");
	assert_string_equal(reg(w, "{'Node':'ext','Address':'10.1.0.2'}"), "true");
	assert_string_equal(reg(w, "{'Node':'ext','Address':'10.1.0.2','ID':'" ID2 "'}"), "true");
	world_free(w);
}

static void
test_services(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	node(w, "n2");
	EXPECT(w, OP_CATALOG_SERVICES, "{}", "{}", 1);
	assert_string_equal(w->watch, "services: ");
	reg(w, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'web','Tags':['b','a'],'Port':80}}");
	assert_string_equal(w->touched, "services: node:n2 service:web ");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'web-1','Tags':['c','a'],'Meta':{'v':'1'},"
	    "'TaggedAddresses':{'lan':{'Address':'1.2.3.4','Port':81}},'Weights':{'Passing':2,'Warning':1}}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'DB'}}");
	/* The union of tags; a service without tags has an empty list. */
	EXPECT(w, OP_CATALOG_SERVICES, "{}", "{'DB':[],'web':['a','b','c']}", 5);
	/* Names in any case, instances by node, then ID; ServiceMeta {} and the mesh's fields are always there. */
	EXPECT(w, OP_CATALOG_SERVICE, "{'Service':'WEB'}",
	    "[{'ID':'','Node':'n1','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,'NodeMeta':null,'ServiceKind':'',"
	    "'ServiceID':'web-1','ServiceName':'web','ServiceTags':['c','a'],'ServiceAddress':'','ServiceTaggedAddresses':{'lan':"
	    "{'Address':'1.2.3.4','Port':81}},'ServiceWeights':{'Passing':2,'Warning':1},'ServiceMeta':{'v':'1'},'ServicePort':0,"
	    "'ServiceSocketPath':'','ServiceEnableTagOverride':false,'ServiceProxy':{'Mode':'','MeshGateway':{},'Expose':{}},"
	    "'ServiceConnect':{},'CreateIndex':4,'ModifyIndex':4},"
	    "{'ID':'','Node':'n2','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,'NodeMeta':null,'ServiceKind':'',"
	    "'ServiceID':'web','ServiceName':'web','ServiceTags':['b','a'],'ServiceAddress':'','ServiceWeights':{'Passing':1,"
	    "'Warning':1},'ServiceMeta':{},'ServicePort':80,'ServiceSocketPath':'','ServiceEnableTagOverride':false,"
	    "'ServiceProxy':{'Mode':'','MeshGateway':{},'Expose':{}},'ServiceConnect':{},'CreateIndex':3,'ModifyIndex':3}]", 4);
	assert_string_equal(w->watch, "service:web ");
	/* Tags in any case, all of them. */
	query(w, OP_CATALOG_SERVICE, "{'Service':'web','Tags':['A','b']}");
	assert_null(strstr(w->text, "web-1"));
	assert_non_null(strstr(w->text, "'ServiceID':'web'"));
	assert_string_equal(query(w, OP_CATALOG_SERVICE, "{'Service':'web','Tags':['x']}"), "[]");
	world_free(w);
}

static void
test_unchanged_registration_moves_nothing(void **state)
{
	static const char same[] = "{'Node':'n1','Address':'10.0.0.1','Service':{'Service':'web','Tags':['a'],'Meta':{'b':'1','a':'2'}},"
	    "'Checks':[{'CheckID':'c1','Status':'passing','ServiceID':'web'},{'Name':'c2','Status':'warning'}]}";
	struct world *w = world_new();

	(void)state;
	reg(w, same);
	assert_string_equal(reg(w, same), "true");
	assert_string_equal(w->touched, "");
	assert_int_equal(index_of(w, OP_CATALOG_NODES, "{}"), 1);
	assert_int_equal(index_of(w, OP_CATALOG_SERVICES, "{}"), 1);
	assert_int_equal(index_of(w, OP_CATALOG_SERVICE, "{'Service':'web'}"), 1);
	assert_int_equal(index_of(w, OP_HEALTH_STATE, "{'State':'any'}"), 1);
	world_free(w);
}

static void
test_service_index(void **state)
{
	static const struct {
		const char *name;
		uint16_t op;
		const char *json;
		bool moves;
	} cases[] = {
		{ "another service of the node", OP_CATALOG_REGISTER, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'db'}}",
		    false },
		{ "another instance", OP_CATALOG_REGISTER, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'web'}}", true },
		{ "the instance changes", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','Port':81}}", true },
		{ "its check changes", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'w','ServiceID':'web','Status':'critical'}}", true },
		{ "a check of its node changes", OP_CATALOG_REGISTER,
		    "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'serfHealth','Status':'warning'}}", true },
		{ "a check of another node", OP_CATALOG_REGISTER,
		    "{'Node':'n2','SkipNodeUpdate':true,'Check':{'CheckID':'serfHealth','Status':'warning'}}", false },
		{ "its node changes", OP_CATALOG_REGISTER, "{'Node':'n1','Address':'10.9.9.9'}", true },
		{ "another node changes", OP_CATALOG_REGISTER, "{'Node':'n2','Address':'10.9.9.9'}", false },
		{ "its check goes", OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'w'}", true },
		{ "a check of its node goes", OP_CATALOG_DEREGISTER, "{'Node':'n1','CheckID':'serfHealth'}", true },
		{ "the instance goes", OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'web'}", true },
		{ "its node goes", OP_CATALOG_DEREGISTER, "{'Node':'n1'}", true },
		{ "another node goes", OP_CATALOG_DEREGISTER, "{'Node':'n2'}", false },
		{ "a key is written", OP_KV_APPLY, "{'Op':'set','DirEnt':{'Key':'k'}}", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world *w = world_new();
		uint64_t catalog, health;

		node(w, "n1");
		node(w, "n2");
		reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'},"
		    "'Check':{'CheckID':'w','ServiceID':'web','Status':'passing'}}");
		catalog = index_of(w, OP_CATALOG_SERVICE, "{'Service':'web'}");
		health = index_of(w, OP_HEALTH_SERVICE, "{'Service':'web'}");
		assert_true(apply(w, cases[i].op, cases[i].json)[0] != 'E');
		if ((strstr(w->touched, "service:web ") != NULL) != cases[i].moves ||
		    (index_of(w, OP_CATALOG_SERVICE, "{'Service':'web'}") > catalog) != cases[i].moves ||
		    (index_of(w, OP_HEALTH_SERVICE, "{'Service':'web'}") > health) != cases[i].moves)
			fail_msg("%s: touched %s", cases[i].name, w->touched);
		world_free(w);
	}
}

static void
test_extinction(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	/* Before any service went for good the tables' indexes stand in. */
	EXPECT(w, OP_CATALOG_SERVICE, "{'Service':'x'}", "[]", 1);
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'a'}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'b'}}");
	assert_int_equal(index_of(w, OP_CATALOG_SERVICE, "{'Service':'x'}"), 3);
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'a'}");
	assert_int_equal(index_of(w, OP_CATALOG_SERVICE, "{'Service':'a'}"), 4);
	assert_int_equal(index_of(w, OP_HEALTH_SERVICE, "{'Service':'x'}"), 4);
	/* Others that come do not wake who waits for x; the first of x does, by its touch. */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'c'}}");
	assert_int_equal(index_of(w, OP_CATALOG_SERVICE, "{'Service':'x'}"), 4);
	assert_null(strstr(w->touched, "service:x"));
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'x'}}");
	assert_non_null(strstr(w->touched, "service:x "));
	assert_int_equal(index_of(w, OP_CATALOG_SERVICE, "{'Service':'x'}"), 6);
	/* An ID that takes another name: the old name has gone. */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'y','ID':'x'}}");
	assert_non_null(strstr(w->touched, "service:x "));
	EXPECT(w, OP_CATALOG_SERVICE, "{'Service':'x'}", "[]", 7);
	world_free(w);
}

static void
test_one_node(void **state)
{
	struct world *w = world_new();

	(void)state;
	EXPECT(w, OP_CATALOG_NODE, "{'Node':'n1'}", "null", 1);
	EXPECT(w, OP_CATALOG_NODE_SERVICES, "{'Node':'n1'}", "{'Node':null,'Services':null}", 1);
	assert_string_equal(w->watch, "nodes: ");
	reg(w, "{'Node':'n1','Address':'10.0.0.1','ID':'" ID1 "','Service':{'Service':'web','ID':'w2'}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'db','ID':'d1','Proxy':{'Mode':'x'},'Connect':{'Native':true}}}");
	reg(w, "{'Node':'n2','Address':'10.0.0.2','ID':'" ID2 "'}");
	EXPECT(w, OP_CATALOG_NODE, "{'Node':'N1'}", "{'Node':{'ID':'" ID1 "','Node':'n1','Address':'10.0.0.1','Datacenter':'dc1',"
	    "'TaggedAddresses':null,'Meta':null,'CreateIndex':1,'ModifyIndex':1},'Services':{'d1':{'ID':'d1','Service':'db','Tags':[],"
	    "'Address':'','Meta':null,'Weights':{'Passing':1,'Warning':1},'EnableTagOverride':false,'Proxy':{'Mode':'x'},"
	    "'Connect':{'Native':true},'CreateIndex':2,'ModifyIndex':2},'w2':{'ID':'w2','Service':'web','Tags':[],'Address':'',"
	    "'Meta':null,'Weights':{'Passing':1,'Warning':1},'EnableTagOverride':false,'Proxy':{'Mode':'','MeshGateway':{},"
	    "'Expose':{}},'Connect':{},'CreateIndex':1,'ModifyIndex':1}}}", 3);
	assert_string_equal(w->watch, "node:n1 ");
	assert_non_null(strstr(query(w, OP_CATALOG_NODE_SERVICES, "{'Node':'n1'}"), "'Services':[{'ID':'d1'"));
	/* By an ID's beginning: at least two digits, one match; an odd last digit is not looked at. */
	assert_non_null(strstr(query(w, OP_CATALOG_NODE, "{'Node':'1111'}"), "'Node':'n1'"));
	assert_non_null(strstr(query(w, OP_CATALOG_NODE, "{'Node':'11abf'}"), "'Node':'n2'"));
	assert_non_null(strstr(query(w, OP_CATALOG_NODE, "{'Node':'" ID2 "'}"), "'Node':'n2'"));
	assert_string_equal(query(w, OP_CATALOG_NODE, "{'Node':'11'}"), "null");
	assert_string_equal(query(w, OP_CATALOG_NODE, "{'Node':'1'}"), "null");
	assert_string_equal(query(w, OP_CATALOG_NODE, "{'Node':'11zz'}"), "null");
	world_free(w);
}

static void
test_deregister(void **state)
{
	struct world *w = world_new();

	(void)state;
	/* Unknown names are fine. */
	assert_string_equal(apply(w, OP_CATALOG_DEREGISTER, "{'Node':'zz'}"), "true");
	assert_string_equal(apply(w, OP_CATALOG_DEREGISTER, "{'Node':'zz','ServiceID':'x'}"), "true");
	assert_string_equal(apply(w, OP_CATALOG_DEREGISTER, "{'Node':'zz','CheckID':'x'}"), "true");
	EXPECT(w, OP_CATALOG_NODES, "{}", "[]", 1);
	node(w, "n1");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web'},'Checks':[{'CheckID':'a','ServiceID':'web'},"
	    "{'CheckID':'b','ServiceID':'web'},{'CheckID':'c'}]}");
	/* A service goes with its checks. */
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'N1','ServiceID':'web'}");
	query(w, OP_HEALTH_NODE, "{'Node':'n1'}");
	assert_null(strstr(w->text, "'CheckID':'a'"));
	assert_null(strstr(w->text, "'CheckID':'b'"));
	assert_non_null(strstr(w->text, "'CheckID':'c'"));
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{}");
	/* A node goes with everything. */
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
	EXPECT(w, OP_CATALOG_NODES, "{}", "[]", 7);
	EXPECT(w, OP_HEALTH_STATE, "{'State':'any'}", "[]", 7);
	world_free(w);
}

static void
test_names_in_two_cases(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'Web','ID':'1','Tags':['x']}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'2','Tags':['y']}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'Web','ID':'3','Tags':['z']}}");
	assert_string_equal(query(w, OP_CATALOG_SERVICES, "{}"), "{'Web':['x','z'],'web':['y']}");
	query(w, OP_CATALOG_SERVICE, "{'Service':'web'}");
	assert_non_null(strstr(w->text, "'ServiceID':'3'"));
	/* IDs of services and checks too are one whatever their case; the last spelling is shown. */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'db','ID':'DB-1'},'Check':{'CheckID':'Up','ServiceID':'db-1'}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'db','ID':'db-1'},'Check':{'CheckID':'up','ServiceID':'DB-1'}}");
	query(w, OP_HEALTH_SERVICE, "{'Service':'db'}");
	assert_non_null(strstr(w->text, "'ID':'db-1'"));
	assert_non_null(strstr(w->text, "'CheckID':'up'"));
	assert_null(strstr(w->text, "'ID':'DB-1'"));
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'N1','ServiceID':'Db-1'}");
	assert_string_equal(query(w, OP_HEALTH_CHECKS, "{'Service':'db'}"), "[]");
	world_free(w);
}

static void
test_filter(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	node(w, "n2");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','Tags':['v1']}}");
	reg(w, "{'Node':'n2','SkipNodeUpdate':true,'Service':{'Service':'web','Tags':['v2']}}");
	query(w, OP_CATALOG_NODES, "{'Filter':'Node == n2'}");
	assert_null(strstr(w->text, "n1"));
	assert_non_null(strstr(w->text, "n2"));
	/* It never changes the index. */
	assert_string_equal(query(w, OP_CATALOG_NODES, "{'Filter':'Node == zz'}"), "[]");
	assert_int_equal(w->result_index, 2);
	query(w, OP_CATALOG_SERVICE, "{'Service':'web','Filter':'v1 in ServiceTags'}");
	assert_null(strstr(w->text, "v2"));
	query(w, OP_HEALTH_SERVICE, "{'Service':'web','Filter':'Service.Tags contains v2 and Checks.Status == passing'}");
	assert_null(strstr(w->text, "v1"));
	assert_non_null(strstr(w->text, "v2"));
	assert_string_equal(query(w, OP_CATALOG_NODE_SERVICES, "{'Node':'n1','Filter':'Service != web'}") + strlen(w->text) - 15,
	    ",'Services':[]}");
	assert_string_equal(query(w, OP_CATALOG_NODES, "{'Filter':'Foo == 1'}"),
	    "E500 Failed to create boolean expression evaluator: Selector 'Foo' is not valid");
	assert_string_equal(query(w, OP_HEALTH_STATE, "{'State':'any','Filter':'Definition is empty'}"),
	    "E500 Failed to create boolean expression evaluator: Selector 'Definition' is not valid");
	world_free(w);
}

/* The checks of an instance are found whatever the case of its ID, and whatever its service was called when they came. */
static void
test_checks_of_an_instance(void **state)
{
	struct world *w = world_new();

	(void)state;
	reg(w, "{'Node':'N1','Address':'x','Service':{'Service':'web','ID':'W'},'Checks':[{'CheckID':'z','Status':'passing'},"
	    "{'CheckID':'b','Status':'passing','ServiceID':'w'},{'CheckID':'A','Status':'passing','ServiceID':'W'}]}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'W2'},'Check':{'CheckID':'other','Status':'passing','ServiceID':'w2'}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'db','ID':'w'}}");
	query(w, OP_HEALTH_SERVICE, "{'Service':'db'}");
	assert_non_null(strstr(w->text, "'CheckID':'z'"));
	assert_true(strstr(w->text, "'CheckID':'z'") < strstr(w->text, "'CheckID':'A'"));
	assert_true(strstr(w->text, "'CheckID':'A'") < strstr(w->text, "'CheckID':'b'"));
	assert_null(strstr(w->text, "other"));
	/* A check that moves to another instance. */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'b','Status':'passing','ServiceID':'w2'}}");
	query(w, OP_HEALTH_SERVICE, "{'Service':'db'}");
	assert_null(strstr(w->text, "'CheckID':'b'"));
	/* They go with it. */
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1','ServiceID':'W2'}");
	query(w, OP_HEALTH_STATE, "{'State':'any'}");
	assert_null(strstr(w->text, "'CheckID':'b'"));
	assert_non_null(strstr(w->text, "'CheckID':'A'"));
	assert_non_null(strstr(w->text, "'CheckID':'z'"));
	world_free(w);
}

/* A node with thousands of services does not hold up the others: not when it is shown, nor when it goes. */
static void
test_many_on_one_node(void **state)
{
	enum { MANY = 8000, SECONDS = 5 };
	struct catalog_query all = { .filter = STR("") };
	struct buf out = BUF_INIT(64 << 20);
	struct mp_w m = mp_w_init(&out);
	struct world *w = world_new();
	struct fsm_error err;
	struct fsm_stats st;
	char json[512];
	uint64_t index;
	clock_t began;

	(void)state;
	node(w, "n1");
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(json, sizeof(json), "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'s%d','ID':'s%d'},"
		    "'Check':{'CheckID':'service:s%d','Status':'passing','ServiceID':'s%d'}}", i, i, i, i);
		reg(w, json);
	}
	began = clock();
	assert_int_equal(fsm_query(w->f, OP_UI_SERVICES, &all, 0, NULL, &m, &index, NULL, &err), 0);
	w->sink = &(struct fsm_sink){ .ctx = NULL };
	assert_string_equal(apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}"), "false");
	assert_true(clock() - began < SECONDS * CLOCKS_PER_SEC);
	fsm_stats(w->f, &st);
	assert_int_equal(st.nodes + st.services + st.service_names + st.checks, 0);
	buf_release(&out);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_register_errors),
		cmocka_unit_test(test_rename_and_conflict),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_unchanged_registration_moves_nothing),
		cmocka_unit_test(test_service_index),
		cmocka_unit_test(test_extinction),
		cmocka_unit_test(test_one_node),
		cmocka_unit_test(test_deregister),
		cmocka_unit_test(test_names_in_two_cases),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_checks_of_an_instance),
		cmocka_unit_test(test_many_on_one_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
