/* fsm_health.c - checks: defaults, reads, and instances with their checks. */
#include "t/unit/fsm_help.h"

#define EXPECT(w, op, json, reply, index) do { \
	assert_string_equal(query(w, op, json), reply); \
	assert_int_equal((w)->result_index, index); \
} while (0)

static void
test_defaults(void **state)
{
	struct world *w = world_new();

	(void)state;
	reg(w, "{'Node':'n1','Address':'10.0.0.1','Service':{'Service':'web','Tags':['t']},'Check':{'Name':'c','ServiceID':'web'}}");
	assert_string_equal(w->touched, "node:n1 nodes: services: service:web checks: ");
	/* CheckID from Name, critical, the service's name and tags, an empty Definition. */
	EXPECT(w, OP_HEALTH_NODE, "{'Node':'N1'}", "[{'Node':'n1','CheckID':'c','Name':'c','Status':'critical','Notes':'','Output':'',"
	    "'ServiceID':'web','ServiceName':'web','ServiceTags':['t'],'Type':'','Interval':'','Timeout':'','ExposedPort':0,"
	    "'Definition':{},'CreateIndex':1,'ModifyIndex':1}]", 1);
	assert_string_equal(w->watch, "node:n1 ");
	/* The status is not looked at: any word is stored. */
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Check':{'CheckID':'odd','Status':'purple','Output':'o','Notes':'n','Type':'ttl',"
	    "'Interval':'10s','Timeout':'5s','Definition':{'HTTP':'http://x'}}}");
	EXPECT(w, OP_HEALTH_STATE, "{'State':'purple'}", "[{'Node':'n1','CheckID':'odd','Name':'','Status':'purple','Notes':'n',"
	    "'Output':'o','ServiceID':'','ServiceName':'','ServiceTags':[],'Type':'ttl','Interval':'10s','Timeout':'5s','ExposedPort':0,"
	    "'Definition':{'HTTP':'http://x'},'CreateIndex':2,'ModifyIndex':2}]", 2);
	world_free(w);
}

static void
test_reads(void **state)
{
	struct world *w = world_new();

	(void)state;
	EXPECT(w, OP_HEALTH_NODE, "{'Node':'zz'}", "[]", 1);
	EXPECT(w, OP_HEALTH_CHECKS, "{'Service':'zz'}", "[]", 1);
	assert_string_equal(w->watch, "service:zz ");
	EXPECT(w, OP_HEALTH_STATE, "{'State':'bogus'}", "[]", 1);
	assert_string_equal(w->watch, "checks: ");
	EXPECT(w, OP_HEALTH_SERVICE, "{'Service':'zz'}", "[]", 1);
	node(w, "n2");
	reg(w, "{'Node':'n1','Address':'10.0.0.1','NodeMeta':{'zone':'a'},'Service':{'Service':'web'},'Checks':["
	    "{'CheckID':'b','Status':'passing'},{'CheckID':'a','Status':'warning','ServiceID':'web'}]}");
	/* Ordered by node, then ID; any state. */
	query(w, OP_HEALTH_STATE, "{'State':'any'}");
	assert_true(strstr(w->text, "'CheckID':'a'") < strstr(w->text, "'CheckID':'b'"));
	assert_true(strstr(w->text, "'CheckID':'b'") < strstr(w->text, "serfHealth"));
	assert_int_equal(w->result_index, 2);
	/* Of a service: its own only. */
	query(w, OP_HEALTH_CHECKS, "{'Service':'Web'}");
	assert_non_null(strstr(w->text, "'CheckID':'a'"));
	assert_null(strstr(w->text, "'CheckID':'b'"));
	/* By the node's metadata, and then its changes are watched too. */
	query(w, OP_HEALTH_STATE, "{'State':'passing','NodeMeta':{'zone':'a'}}");
	assert_non_null(strstr(w->text, "'CheckID':'b'"));
	assert_null(strstr(w->text, "serfHealth"));
	assert_string_equal(w->watch, "nodes: checks: ");
	world_free(w);
}

static void
test_instances(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'w1'},'Checks':["
	    "{'CheckID':'a','Status':'passing','ServiceID':'w1'}]}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'web','ID':'w2'},'Checks':["
	    "{'CheckID':'b','Status':'passing','ServiceID':'w2'}]}");
	query(w, OP_HEALTH_SERVICE, "{'Service':'web'}");
	/* Checks of the node first, then the instance's own. */
	assert_string_equal(w->text, "[{'Node':{'ID':'','Node':'n1','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,"
	    "'Meta':null,'CreateIndex':1,'ModifyIndex':1},'Service':{'ID':'w1','Service':'web','Tags':[],'Address':'','Meta':null,"
	    "'Weights':{'Passing':1,'Warning':1},'EnableTagOverride':false,'Proxy':{'Mode':'','MeshGateway':{},'Expose':{}},"
	    "'Connect':{},'CreateIndex':2,'ModifyIndex':2},'Checks':[{'Node':'n1','CheckID':'serfHealth','Name':'Serf Health Status',"
	    "'Status':'passing','Notes':'','Output':'','ServiceID':'','ServiceName':'','ServiceTags':[],'Type':'','Interval':'',"
	    "'Timeout':'','ExposedPort':0,'Definition':{},'CreateIndex':1,'ModifyIndex':1},{'Node':'n1','CheckID':'a','Name':'',"
	    "'Status':'passing','Notes':'','Output':'','ServiceID':'w1','ServiceName':'web','ServiceTags':[],'Type':'','Interval':'',"
	    "'Timeout':'','ExposedPort':0,'Definition':{},'CreateIndex':2,'ModifyIndex':2}]},"
	    "{'Node':{'ID':'','Node':'n1','Address':'10.0.0.1','Datacenter':'dc1','TaggedAddresses':null,"
	    "'Meta':null,'CreateIndex':1,'ModifyIndex':1},'Service':{'ID':'w2','Service':'web','Tags':[],'Address':'','Meta':null,"
	    "'Weights':{'Passing':1,'Warning':1},'EnableTagOverride':false,'Proxy':{'Mode':'','MeshGateway':{},'Expose':{}},"
	    "'Connect':{},'CreateIndex':3,'ModifyIndex':3},'Checks':[{'Node':'n1','CheckID':'serfHealth','Name':'Serf Health Status',"
	    "'Status':'passing','Notes':'','Output':'','ServiceID':'','ServiceName':'','ServiceTags':[],'Type':'','Interval':'',"
	    "'Timeout':'','ExposedPort':0,'Definition':{},'CreateIndex':1,'ModifyIndex':1},{'Node':'n1','CheckID':'b','Name':'',"
	    "'Status':'passing','Notes':'','Output':'','ServiceID':'w2','ServiceName':'web','ServiceTags':[],'Type':'','Interval':'',"
	    "'Timeout':'','ExposedPort':0,'Definition':{},'CreateIndex':3,'ModifyIndex':3}]}]");
	assert_int_equal(w->result_index, 3);
	assert_string_equal(w->watch, "service:web ");
	world_free(w);
}

static void
test_check_moves_between_services(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'a'},'Check':{'CheckID':'c','ServiceID':'a'}}");
	reg(w, "{'Node':'n1','SkipNodeUpdate':true,'Service':{'Service':'b'},'Check':{'CheckID':'c','ServiceID':'b'}}");
	assert_non_null(strstr(w->touched, "service:a "));
	assert_string_equal(query(w, OP_HEALTH_CHECKS, "{'Service':'a'}"), "[]");
	assert_non_null(strstr(query(w, OP_HEALTH_CHECKS, "{'Service':'b'}"), "'CreateIndex':2,'ModifyIndex':3"));
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_check_moves_between_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
