/* fsm_pquery.c - prepared queries: what is refused, what a name stands for, and which instances are found in which order. */
#include "t/unit/fsm_image.h"

#define QID(n) "0000000" #n "-0000-4000-8000-000000000000"

static const char *
create(struct world *w, const char *id, const char *rest)
{
	char json[4096];

	assert_true(snprintf(json, sizeof(json), "{'Verb':'create','Query':{'ID':'%s',%s}}", id, rest) < (int)sizeof(json));
	return apply(w, OP_QUERY_APPLY, json);
}

static const char *
check(struct world *w, const char *verb, const char *rest)
{
	char json[4096];

	assert_true(snprintf(json, sizeof(json), "{'Verb':'%s','Query':{%s}}", verb, rest) < (int)sizeof(json));
	return check_first(w, OP_QUERY_APPLY, json);
}

static const char *
execute(struct world *w, const char *id, const char *more)
{
	char json[4096];

	assert_true(snprintf(json, sizeof(json), "{'ID':'%s'%s}", id, more) < (int)sizeof(json));
	return query(w, OP_QUERY_EXECUTE, json);
}

static const char *
explain(struct world *w, const char *id)
{
	char json[4096];

	assert_true(snprintf(json, sizeof(json), "{'ID':'%s','AgentSegment':'seg'}", id) < (int)sizeof(json));
	return query(w, OP_QUERY_EXPLAIN, json);
}

/* The service IDs of the last answer, in their order: "a b ". */
static const char *
found(struct world *w)
{
	static char ids[1024];
	const char *p = w->text;

	ids[0] = 0;
	while ((p = strstr(p, "'Service':{'ID':'")) != NULL) {
		p += strlen("'Service':{'ID':'");
		append(ids, sizeof(ids), "%.*s ", (int)strcspn(p, "'"), p);
	}
	return ids;
}

static void
test_refused(void **state)
{
	static const struct {
		const char *verb, *query, *text;
	} cases[] = {
		{ "create", "'ID':'" QID(1) "','Name':'a'", "E500 ID must be empty when creating a new prepared query" },
		{ "create", "'Service':{'Service':'web'}", "E500 Invalid prepared query: Must be bound to a session" },
		{ "create", "'Name':'a'", "E500 Invalid prepared query: Must provide a Service name to query" },
		{ "create", "'Name':'a','Token':'<hidden>'", "E500 Invalid prepared query: Bad Token '<hidden>', it looks like a query "
		    "definition with a redacted token was submitted" },
		{ "create", "'Name':'a','Service':{'Service':'web','Failover':{'NearestN':-1}}",
		    "E500 Invalid prepared query: Bad NearestN '-1', must be >= 0" },
		{ "create", "'Name':'a','Service':{'Service':'web','Failover':{'NearestN':1,'Targets':[{'Datacenter':'dc2'}]}}",
		    "E500 Invalid prepared query: Targets cannot be populated with NearestN or Datacenters" },
		{ "create", "'Name':'a','Service':{'Service':'web','NodeMeta':{'a b':'c'}}",
		    "E500 Invalid prepared query: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters" },
		{ "create", "'Name':'a','Service':{'Service':'web','NodeMeta':{'':'c'}}",
		    "E500 Invalid prepared query: Couldn't load metadata pair ('', 'c'): Key cannot be blank" },
		{ "create", "'Name':'a','Service':{'Service':'web'},'DNS':{'TTL':'xx'}",
		    "E500 Invalid prepared query: Bad DNS TTL 'xx': time: invalid duration 'xx'" },
		{ "create", "'Name':'a','Service':{'Service':'web'},'DNS':{'TTL':'-1s'}",
		    "E500 Invalid prepared query: DNS TTL '-1000000000', must be >=0" },
		{ "create", "'Name':'a','Session':'x','Service':{'Service':'web'}",
		    "E500 raft apply failed: invalid session: index error: UUID must be 36 characters" },
		{ "create", "'Name':'a','Session':'" SID(9) "','Service':{'Service':'web'}",
		    "E500 raft apply failed: invalid session '" SID(9) "'" },
		{ "create", "'Name':'TAKEN','Service':{'Service':'web'}", "E500 raft apply failed: name 'TAKEN' aliases an existing query name" },
		{ "create", "'Name':'" QID(1) "','Service':{'Service':'web'}",
		    "E500 raft apply failed: name '" QID(1) "' aliases an existing query ID" },
		{ "create", "'Template':{'Type':'name_prefix_match'},'Service':{'Service':'web'}",
		    "E500 raft apply failed: a query template with an empty name already exists" },
		{ "create", "'Name':'a','Template':{'Type':'x'},'Service':{'Service':'web'}",
		    "E500 raft apply failed: failed compiling template: Bad Template.Type 'x'" },
		{ "create", "'Name':'a','Template':{'Type':'name_prefix_match'},'Service':{'Service':'${'}",
		    "E500 raft apply failed: failed compiling template: Bad format '${' in Service.Service: 1:3: expected an expression" },
		{ "create", "'Name':'a','Template':{'Type':'name_prefix_match'},'Service':{'Service':'x','Tags':['a','${nope}']}",
		    "E500 raft apply failed: failed compiling template: Bad evaluation for '${nope}' in Service.Tags[1]: 1:7: "
		    "unknown variable accessed: nope" },
		{ "create", "'Name':'a','Template':{'Type':'name_prefix_match'},'Service':{'Service':'x','NodeMeta':{'k':'${nope()}'}}",
		    "E500 raft apply failed: failed compiling template: Bad evaluation for '${nope()}' in Service.NodeMeta[k]: 1:8: "
		    "unknown function called: nope" },
		{ "create", "'Name':'a','Template':{'Type':'name_prefix_match','Regexp':'('},'Service':{'Service':'x'}",
		    "E500 raft apply failed: failed compiling template: Bad Regexp: error parsing regexp: missing closing )" },
		{ "update", "'ID':'x'", "E500 Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters" },
		{ "update", "'ID':'" QID(9) "'", "E500 Cannot modify non-existent prepared query: '" QID(9) "'" },
		{ "delete", "'ID':'" QID(9) "'", "E500 Cannot modify non-existent prepared query: '" QID(9) "'" },
		{ "update", "'ID':'" QID(1) "'", "E500 Invalid prepared query: Must be bound to a session" },
		{ "update", "'ID':'" QID(1) "','Name':'taken','Service':{'Service':'db'}", "" },
		{ "delete", "'ID':'" QID(1) "'", "" },
		{ "nonsense", "'ID':'" QID(1) "'", "E500 Unknown prepared query operation: nonsense" },
		{ "create", "'Name':'new','Service':{'Service':'web'}", "" },
	};
	struct world *w = world_new();

	(void)state;
	assert_string_equal(create(w, QID(1), "'Name':'taken','Service':{'Service':'web'}"), "'" QID(1) "'");
	assert_string_equal(create(w, QID(2), "'Template':{'Type':'name_prefix_match'},'Service':{'Service':'web'}"), "'" QID(2) "'");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(check(w, cases[i].verb, cases[i].query), cases[i].text);
	/* What the log brings is looked at again. */
	assert_string_equal(create(w, QID(3), "'Name':'taken','Service':{'Service':'x'}"),
	    "E500 raft apply failed: name 'taken' aliases an existing query name");
	assert_string_equal(apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(7) "'}}"),
	    "E500 Cannot modify non-existent prepared query: '" QID(7) "'");
	world_free(w);
}

static void
test_life(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_string_equal(query(w, OP_QUERY_LIST, NULL), "[]");
	assert_int_equal(w->result_index, 1);
	assert_string_equal(w->watch, "queries: ");
	create(w, QID(1), "'Name':'One','Service':{'Service':'web'}");
	assert_string_equal(w->touched, "query:" QID(1) " queries: ");
	assert_string_equal(query(w, OP_QUERY_GET, "{'ID':'" QID(1) "'}"), "[{'ID':'" QID(1) "','Name':'One','Session':'','Token':'',"
	    "'Template':{'Type':'','Regexp':'','RemoveEmptyTags':false},'Service':{'Service':'web','Failover':{'NearestN':0,"
	    "'Datacenters':null},'OnlyPassing':false,'IgnoreCheckIDs':null,'Near':'','Tags':null,'NodeMeta':null,'ServiceMeta':null,"
	    "'Connect':false},'DNS':{'TTL':''},'CreateIndex':1,'ModifyIndex':1}]");
	assert_int_equal(w->result_index, 1);
	assert_string_equal(query(w, OP_QUERY_GET, "{'ID':'x'}"), "E500 failed prepared query lookup: index error: UUID must be 36 characters");
	assert_string_equal(query(w, OP_QUERY_GET, "{'ID':'" QID(2) "'}"), "E404 Query not found");
	/* An update replaces the whole. */
	assert_string_equal(apply(w, OP_QUERY_APPLY, "{'Verb':'update','Query':{'ID':'" QID(1) "','Name':'two','Token':'t',"
	    "'Service':{'Service':'db','Tags':['a','!b']},'DNS':{'TTL':'10s'}}}"), "'" QID(1) "'");
	assert_non_null(strstr(query(w, OP_QUERY_LIST, NULL), "'Name':'two','Session':'','Token':'t'"));
	assert_non_null(strstr(w->text, "'Tags':['a','!b']"));
	assert_non_null(strstr(w->text, "'CreateIndex':1,'ModifyIndex':2"));
	assert_int_equal(w->result_index, 2);
	assert_string_equal(explain(w, "one"), "E404 Query not found");
	assert_non_null(strstr(explain(w, "TWO"), "{'Query':{'ID':'" QID(1) "'"));
	apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}");
	assert_string_equal(query(w, OP_QUERY_LIST, NULL), "[]");
	assert_int_equal(w->result_index, 3);
	assert_string_equal(execute(w, "two", ""), "E404 Query not found");
	assert_string_equal(execute(w, "", ""), "E500 Missing Query ID");
	world_free(w);
}

static void
test_sessions(void **state)
{
	struct world *w = world_new();

	(void)state;
	node(w, "n1");
	session(w, SID(1), "");
	session(w, SID(2), "'TTL':'10s'");
	create(w, QID(1), "'Session':'" SID(1) "','Service':{'Service':'web'}");
	create(w, QID(2), "'Name':'b','Session':'" SID(1) "','Service':{'Service':'web'}");
	create(w, QID(3), "'Name':'c','Session':'" SID(2) "','Service':{'Service':'web'}");
	create(w, QID(4), "'Name':'d','Service':{'Service':'web'}");
	assert_non_null(strstr(execute(w, QID(1), ""), "{'Service':'web','Nodes':[]"));
	apply(w, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	assert_non_null(strstr(w->touched, "query:" QID(1)));
	assert_null(strstr(query(w, OP_QUERY_LIST, NULL), QID(1)));
	assert_null(strstr(w->text, QID(2)));
	assert_non_null(strstr(w->text, QID(3)));
	assert_int_equal(w->result_index, w->index);
	/* The node goes, with its sessions. */
	apply(w, OP_CATALOG_DEREGISTER, "{'Node':'n1'}");
	assert_null(strstr(query(w, OP_QUERY_LIST, NULL), QID(3)));
	assert_non_null(strstr(w->text, QID(4)));
	world_free(w);
}

/* ---- templates */

#define PREFIX "'Template':{'Type':'name_prefix_match'}"

static void
test_names(void **state)
{
	struct world *w = world_new();

	(void)state;
	create(w, QID(1), "'Name':'','Template':{'Type':'name_prefix_match'},'Service':{'Service':'all-${name.full}'}");
	create(w, QID(2), "'Name':'Geo-'," PREFIX ",'Service':{'Service':'geo ${name.prefix} ${name.suffix}'}");
	create(w, QID(3), "'Name':'geo-db-'," PREFIX ",'Service':{'Service':'longer'}");
	create(w, QID(4), "'Name':'geo-db-one','Service':{'Service':'exact'}");
	assert_non_null(strstr(explain(w, "other"), "'Service':{'Service':'all-other'"));
	assert_non_null(strstr(explain(w, "Geo-Web"), "'Service':{'Service':'geo Geo- Web'"));
	/* Found whatever the case, but then there is no suffix to cut: as in Consul. */
	assert_non_null(strstr(explain(w, "geo-web"), "'Service':{'Service':'geo Geo- geo-web'"));
	assert_non_null(strstr(explain(w, "geo-db-x"), "'Service':{'Service':'longer'"));
	assert_non_null(strstr(explain(w, "geo-db-ONE"), "'Service':{'Service':'exact'"));
	assert_non_null(strstr(explain(w, "geo-db-one2"), "'Service':{'Service':'longer'"));
	assert_non_null(strstr(explain(w, "Geo-"), "'Service':{'Service':'geo Geo- '"));
	assert_string_equal(explain(w, QID(2)), "E500 prepared query templates can only be resolved up by name, not by ID");
	assert_non_null(strstr(explain(w, QID(4)), "'Service':{'Service':'exact'"));
	/* No such ID: it is a name like another. */
	assert_non_null(strstr(explain(w, QID(9)), "'Service':{'Service':'all-" QID(9) "'"));
	apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}");
	assert_string_equal(explain(w, "other"), "E404 Query not found");
	world_free(w);
}

static void
test_rendered(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "plain", "plain" }, { "$", "$" }, { "a$b", "a$b" }, { "$${name.full}", "${name.full}" }, { "$$", "$$" },
		{ "${match(0)}", "p-ab-42" }, { "${match(1)}-${match(2)}", "ab-42" }, { "-${match(3)}-", "--" }, { "-${match(-1)}-", "--" },
		{ "-${match(99999999)}-", "--" }, { "${ match( 1 ) }", "ab" }, { "${match(\\\"2\\\")}", "42" }, { "${(match((1)))}", "ab" },
		{ "${\\\"x y\\\"}", "x y" }, { "${42}", "42" }, { "${agent.segment}", "seg" }, { "${name.full}${name.full}", "p-ab-42p-ab-42" },
	};
	struct world *w = world_new();
	char json[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(json, sizeof(json), "'Name':'p-','Template':{'Type':'name_prefix_match','Regexp':'^p-(.*?)-([0-9]+)$'},"
		    "'Service':{'Service':'x%s','Near':'%s','IgnoreCheckIDs':['%s'],'Tags':['','%s'],'NodeMeta':{'k':'%s'},"
		    "'ServiceMeta':{'k':'%s'},'Failover':{'Datacenters':['%s']}}", cases[i].text, cases[i].text, cases[i].text,
		    cases[i].text, cases[i].text, cases[i].text, cases[i].text);
		assert_string_equal(create(w, QID(1), json), "'" QID(1) "'");
		(void)snprintf(json, sizeof(json), "'Service':{'Service':'x%s','Failover':{'NearestN':0,'Datacenters':['%s']},"
		    "'OnlyPassing':false,'IgnoreCheckIDs':['%s'],'Near':'%s','Tags':['','%s'],'NodeMeta':{'k':'%s'},'ServiceMeta':{'k':'%s'}",
		    cases[i].want, cases[i].want, cases[i].want, cases[i].want, cases[i].want, cases[i].want, cases[i].want);
		if (strstr(explain(w, "p-ab-42"), json) == NULL)
			fail_msg("%s: %s", json, w->text);
		apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}");
	}
	create(w, QID(2), "'Name':'t','Template':{'Type':'name_prefix_match','RemoveEmptyTags':true},"
	    "'Service':{'Service':'s','Tags':['${match(1)}','keep','']}");
	assert_non_null(strstr(explain(w, "t"), "'Tags':['keep']"));
	/* What was stored is as it was. */
	assert_non_null(strstr(query(w, OP_QUERY_LIST, NULL), "'Tags':['${match(1)}','keep','']"));
	world_free(w);
}

static void
test_template_refused(void **state)
{
	static const char *const cases[] = { "${", "${}", "${name.full", "${name.full}}${", "${match(}", "${match()}", "${match(1}", "${match}",
		"${name}", "${\\\"x}", "${\\\"a${b}\\\"}", "${1+1}", "${--1}", "${match(\\\"x\\\")}", "${((((((((((((((((((((((((((((((((((1" };
	struct world *w = world_new();
	char json[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(json, sizeof(json), "'Name':'p'," PREFIX ",'Service':{'Service':'%s'}", cases[i]);
		if (strncmp(check(w, "create", json), "E500 raft apply failed: failed compiling template: Bad ", 55) != 0)
			fail_msg("%s: %s", cases[i], w->text);
	}
	world_free(w);
}

/* Texts that grow beyond all bounds. */
static void
test_template_bounded(void **state)
{
	struct world *w = world_new();
	char *name = malloc(40001), *json = malloc(100000);

	(void)state;
	assert_non_null(name);
	assert_non_null(json);
	memset(name, 'n', 40000);
	name[40000] = 0;
	create(w, QID(1), "'Name':''," PREFIX ",'Service':{'Service':'${name.full}${name.full}${name.full}${name.full}${name.full}"
	    "${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}"
	    "${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}${name.full}"
	    "${name.full}${name.full}${name.full}${name.full}${name.full}'}");
	(void)snprintf(json, 100000, "{'ID':'%s'}", name);
	assert_non_null(strstr(query(w, OP_QUERY_EXECUTE, json), "the query becomes longer than 1048576 bytes"));
	free(name);
	free(json);
	world_free(w);
}

/* ---- what is found */

static void
instance(struct world *w, const char *node, const char *address, const char *id, const char *service, const char *status)
{
	char json[2048];

	(void)snprintf(json, sizeof(json), "{'Node':'%s','Address':'%s','NodeMeta':{'rack':'%s'},'Service':{'Service':'web','ID':'%s'%s},"
	    "'Checks':[{'CheckID':'c-%s','Status':'%s','ServiceID':'%s'}]}", node, address, node, id, service, id, status, id);
	assert_string_equal(reg(w, json), "true");
}

static void
test_found(void **state)
{
	static const struct {
		const char *service, *want;
	} cases[] = {
		{ "", "a b c " }, { ",'OnlyPassing':true", "a c " }, { ",'IgnoreCheckIDs':['c-d']", "a b c d " },
		{ ",'IgnoreCheckIDs':['C-D']", "a b c " }, { ",'Tags':['V1']", "a b " }, { ",'Tags':['v1','!Slow']", "a " },
		{ ",'Tags':['!v1']", "c " }, { ",'Tags':['!']", "a b c " }, { ",'Tags':['']", "" }, { ",'NodeMeta':{'rack':'n2'}", "b " },
		{ ",'NodeMeta':{'rack':'n2','x':''}", "" }, { ",'ServiceMeta':{'m':'1'}", "c " }, { ",'Connect':true", "" },
		{ ",'Failover':{'NearestN':3,'Datacenters':['dc2','dc1']},'Tags':['none']", "" },
	};
	struct world *w = world_new();
	char json[1024];

	(void)state;
	instance(w, "n1", "10.0.0.1", "a", ",'Tags':['v1']", "passing");
	instance(w, "n2", "10.0.0.2", "b", ",'Tags':['V1','slow']", "warning");
	instance(w, "n3", "10.0.0.3", "c", ",'Meta':{'m':'1'}", "passing");
	instance(w, "n4", "10.0.0.4", "d", "", "critical");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(json, sizeof(json), "'Name':'q','Service':{'Service':'WEB'%s},'DNS':{'TTL':'7s'}", cases[i].service);
		create(w, QID(1), json);
		/* In whatever order: sorted by a node's distance each has its place. */
		coordinates(w, "[" AT("n1", "1") "," AT("n2", "2") "," AT("n3", "3") "," AT("n4", "4") "]");
		execute(w, "q", ",'Near':'n1'");
		if (strcmp(found(w), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].service, found(w));
		assert_non_null(strstr(w->text, "{'Service':'WEB','Nodes':["));
		assert_non_null(strstr(w->text, "],'DNS':{'TTL':'7s'},'Datacenter':'dc1','Failovers':0}"));
		apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(1) "'}}");
	}
	/* A check of the node counts as well. */
	reg(w, "{'Node':'n1','Address':'10.0.0.1','Check':{'CheckID':'disk','Status':'critical'}}");
	create(w, QID(1), "'Name':'q','Service':{'Service':'web'}");
	execute(w, "q", ",'Near':'n2'");
	assert_string_equal(found(w), "b c ");
	assert_int_equal(w->result_index, 1);
	assert_string_equal(w->watch, "");
	world_free(w);
}

static void
test_order(void **state)
{
	struct world *w = world_new();
	char seed[128], name[16], address[32];
	bool seen[3] = { false };

	(void)state;
	for (int i = 1; i <= 3; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		(void)snprintf(address, sizeof(address), "10.0.0.%d", i);
		instance(w, name, address, name, "", "passing");
	}
	create(w, QID(1), "'Name':'q','Service':{'Service':'web'}");
	create(w, QID(2), "'Name':'me','Service':{'Service':'web','Near':'_agent'}");
	create(w, QID(3), "'Name':'ip','Service':{'Service':'web','Near':'_ip'}");
	/* Each instance comes first now and then, and the same seed gives the same order. */
	for (int i = 1; i < 60; i++) {
		(void)snprintf(seed, sizeof(seed), ",'Seed':%d,'Limit':1", i);
		execute(w, "q", seed);
		seen[found(w)[1] - '1'] = true;
		(void)snprintf(name, sizeof(name), "%.15s", found(w));
		execute(w, "q", seed);
		assert_string_equal(found(w), name);
	}
	assert_true(seen[0] && seen[1] && seen[2]);
	/* Without coordinates the node itself still comes first. */
	for (int i = 1; i < 20; i++) {
		(void)snprintf(seed, sizeof(seed), ",'Seed':%d,'AgentNode':'n2'", i);
		execute(w, "me", seed);
		assert_int_equal(found(w)[1], '2');
		(void)snprintf(seed, sizeof(seed), ",'Seed':%d,'SourceIP':'10.0.0.3'", i);
		execute(w, "ip", seed);
		assert_int_equal(found(w)[1], '3');
	}
	coordinates(w, "[" AT("n1", "3") "," AT("n2", "2") "," AT("n3", "1") ",{'Node':'n4','Coord':{'Vec':[0,0,0,0,0,0,0,0]}}]");
	for (int i = 1; i < 20; i++) {
		(void)snprintf(seed, sizeof(seed), ",'Seed':%d,'Near':'n3'", i);
		execute(w, "me", seed);
		assert_string_equal(found(w), "n3 n2 n1 ");
		(void)snprintf(seed, sizeof(seed), ",'Seed':%d,'Near':'_ip','SourceIP':'10.0.0.1','Limit':2", i);
		execute(w, "q", seed);
		assert_string_equal(found(w), "n1 n2 ");
	}
	/* An address of nobody: no order at all. */
	execute(w, "ip", ",'Seed':1,'SourceIP':'10.9.9.9'");
	assert_int_equal(strlen(found(w)), 9);
	world_free(w);
}

/* ---- the image, and what an earlier release kept */

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
	session(w, SID(1), "");
	create(w, QID(1), "'Name':'a','Service':{'Service':'web','Tags':['x']}");
	create(w, QID(2), "'Name':'b-'," PREFIX ",'Service':{'Service':'${name.suffix}'}");
	create(w, QID(3), "'Session':'" SID(1) "','Service':{'Service':'web'}");
	create(w, QID(4), "'Name':'gone','Service':{'Service':'web'}");
	apply(w, OP_QUERY_APPLY, "{'Verb':'delete','Query':{'ID':'" QID(4) "'}}");
	assert_int_equal(fsm_flush(w->f, &sink), 0);
	image_dump(w->f, &m);
	assert_image_equal(&live, &m);
	again = world_load(&m);
	assert_non_null(strstr(explain(again, "b-x"), "'Service':{'Service':'x'"));
	query(again, OP_QUERY_LIST, NULL);
	assert_int_equal(again->result_index, 7);
	again->index = 7;
	apply(again, OP_SESSION_DESTROY, "{'ID':'" SID(1) "'}");
	assert_null(strstr(query(again, OP_QUERY_LIST, NULL), QID(3)));
	world_free(again);
	world_free(w);
	image_free(&live);
	image_free(&m);
}

#define KEPT(id, name) "\x83\xa2ID\xd9\x24" id "\xa4Name\xa1" name "\xabModifyIndex\x05"

static void
test_adopted(void **state)
{
	struct world *w = world_new();

	(void)state;
	create(w, QID(1), "'Name':'a','Service':{'Service':'web'}");
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7one"), STR(KEPT(QID(2), "k"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7bad"), STR("\x81\xa2ID\xa1x")), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7same"), STR(KEPT(QID(1), "z"))), 0);
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7name"), STR(KEPT(QID(3), "a"))), 0);
	noop(w);
	assert_non_null(strstr(query(w, OP_QUERY_LIST, NULL), "'Name':'k'"));
	assert_non_null(strstr(w->text, "'Name':'a'"));
	assert_null(strstr(w->text, "'Name':'z'"));
	assert_null(strstr(w->text, QID(3)));
	assert_int_equal(w->result_index, 5);
	/* What is none of ours stays where it was. */
	noop(w);
	world_free(w);
}

static void
test_load_refused(void **state)
{
	static const struct {
		struct str key, value;
	} cases[] = {
		{ STR(QID(2)), STR("\x01") }, { STR("other"), STR(KEPT(QID(2), "k")) }, { STR(QID(3)), STR(KEPT(QID(3), "a")) },
		{ STR("x"), STR("\x81\xa2ID\xa1x") }, { STR(QID(2)), STR(KEPT(QID(2), "k") "\xc0") },
	};
	struct world *w = world_new();

	(void)state;
	create(w, QID(1), "'Name':'a','Service':{'Service':'web'}");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(fsm_load(w->f, FSM_QUERY, cases[i].key, cases[i].value), -EDECODE);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_life), cmocka_unit_test(test_sessions), cmocka_unit_test(test_names),
		cmocka_unit_test(test_rendered), cmocka_unit_test(test_template_refused), cmocka_unit_test(test_template_bounded),
		cmocka_unit_test(test_found), cmocka_unit_test(test_order), cmocka_unit_test(test_image), cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_load_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
