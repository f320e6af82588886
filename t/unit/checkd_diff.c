/* checkd_diff.c - the local state, and what differs between it and the catalog. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkd/checkd.h"
#include "checkd/diff.h"
#include "checkd/dns_names.h"
#include "checkd/sync_self.h"
#include "lib/json.h"

static struct node_service
service(const char *id, const char *name)
{
	return (struct node_service){ .id = str_from(id), .service = str_from(name), .weights = { 1, 1 } };
}

static struct health_check
check(const char *id, const char *service_id, const char *status, const char *output)
{
	return (struct health_check){ .node = STR("n1"), .check_id = str_from(id), .name = str_from(id), .status = str_from(status),
		.output = str_from(output), .service_id = str_from(service_id), .definition = STR("\x80") };
}

static struct service *
put(struct local *l, const struct node_service *rec)
{
	struct service *s;

	assert_int_equal(local_put_service(l, rec, STR(""), SOURCE_API, &s), 0);
	return s;
}

static struct check *
put_check(struct local *l, const struct health_check *rec, enum check_status status, const char *output)
{
	struct check *c;

	assert_int_equal(local_put_check(l, rec, NULL, SOURCE_API, status, str_from(output), &c), 0);
	return c;
}

static void
test_order(void **state)
{
	static const char *const ids[] = { "m", "a", "z", "b", "", "mm", "B" };
	struct local l = { .cd = NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct node_service r = service(ids[i], "x");

		put(&l, &r);
		put(&l, &r);
	}
	assert_int_equal(l.nservices, ARRAY_LEN(ids));
	for (size_t i = 1; i < l.nservices; i++)
		assert_true(strcmp(l.services[i - 1]->id, l.services[i]->id) < 0);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		assert_non_null(local_service(&l, str_from(ids[i])));
	assert_null(local_service(&l, STR("nope")));
	local_release(&l);
}

static void
test_services(void **state)
{
	struct local l = { .cd = NULL };
	struct node_service web = service("web", "web"), db = service("db", "db"), gone = service("gone", "gone");
	struct node_service remote[5];
	struct service *s;

	(void)state;
	put(&l, &web);
	put(&l, &db);
	local_remove_service(&l, put(&l, &gone));
	/* A refusal is over when the catalog has what it refused, by whatever way. */
	local_service(&l, STR("web"))->sync.denied = local_service(&l, STR("db"))->sync.denied = true;
	remote[0] = web;
	remote[0].modify_index = 7;		/* indexes are not compared */
	remote[1] = service("db", "db");
	remote[1].port = 5;
	remote[2] = service("ghost", "ghost");
	remote[3] = service("consul", "consul");
	remote[4] = service("nul\0", "nul");
	remote[4].id.len = 4;
	assert_int_equal(diff_services(&l, remote, 5), 0);
	assert_false(local_service(&l, STR("web"))->sync.dirty);
	assert_false(local_service(&l, STR("web"))->sync.denied);
	assert_true(local_service(&l, STR("db"))->sync.dirty);
	assert_true(local_service(&l, STR("db"))->sync.denied);
	s = local_service_entry(&l, STR("ghost"));
	assert_true(s != NULL && s->sync.deleted && s->sync.dirty);
	assert_null(local_service_entry(&l, STR("consul")));
	assert_int_equal(l.nservices, 4);
	/* Removed here and gone there: nothing is left to do. */
	assert_false(local_service_entry(&l, STR("gone"))->sync.dirty);
	assert_int_equal(diff_services(&l, remote, 1), 0);
	assert_false(local_service_entry(&l, STR("ghost"))->sync.dirty);
	assert_true(local_service(&l, STR("db"))->sync.dirty);
	/* A write under way decides by itself. */
	local_service(&l, STR("db"))->sync.pushing = true;
	local_service(&l, STR("db"))->sync.dirty = false;
	assert_int_equal(diff_services(&l, remote, 2), 0);
	assert_false(local_service(&l, STR("db"))->sync.dirty);
	local_release(&l);
}

static void
test_tag_override(void **state)
{
	struct str mine[] = { STR("a") }, theirs[] = { STR("b"), STR("c") };
	struct node_service web = service("web", "web"), remote;
	struct local l = { .cd = NULL };
	struct service *s;

	(void)state;
	web.tags = (struct strs){ mine, 1 };
	web.enable_tag_override = true;
	s = put(&l, &web);
	remote = web;
	remote.tags = (struct strs){ theirs, 2 };
	assert_int_equal(diff_services(&l, &remote, 1), 0);
	assert_false(s->sync.dirty);
	assert_int_equal(s->rec->tags.n, 2);
	remote.enable_tag_override = web.enable_tag_override = false;
	s = put(&l, &web);
	assert_int_equal(diff_services(&l, &remote, 1), 0);
	assert_true(s->sync.dirty);
	local_release(&l);
}

/* Whatever else differs the tags are the catalog's, and they stay over the same definition; another one takes their place. */
static void
test_tags_kept(void **state)
{
	struct str mine[] = { STR("a") }, theirs[] = { STR("b"), STR("c") };
	struct node_service web = service("web", "web"), remote;
	struct health_check c = check("c", "web", "passing", ""), rc;
	struct local l = { .cd = NULL };
	struct service *s;

	(void)state;
	web.tags = (struct strs){ mine, 1 };
	web.enable_tag_override = true;
	c.service_tags = web.tags;
	s = put(&l, &web);
	put_check(&l, &c, CHECK_PASSING, "");
	remote = web;
	remote.tags = (struct strs){ theirs, 2 };
	remote.port = 9;
	assert_int_equal(diff_services(&l, &remote, 1), 0);
	assert_true(s->sync.dirty && s->sync.there);
	assert_int_equal(s->rec->tags.n, 2);
	assert_int_equal(s->rec->port, 0);
	rc = c;
	rc.service_tags = remote.tags;
	assert_int_equal(diff_checks(&l, &rc, 1, false), 0);
	assert_false(local_check(&l, STR("c"))->sync.dirty);
	s->sync.dirty = false;
	s = put(&l, &web);
	assert_false(s->sync.dirty);
	assert_int_equal(s->rec->tags.n, 2);
	web.port = 7;
	s = put(&l, &web);
	assert_true(s->sync.dirty);
	assert_int_equal(s->rec->tags.n, 1);
	/* What is gone from the catalog is not there. */
	assert_int_equal(diff_services(&l, NULL, 0), 0);
	assert_false(s->sync.there);
	local_release(&l);
}

static void
test_dns_names(void **state)
{
	static const char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	(void)state;
	assert_int_equal(strlen(label), 64);
	assert_null(dns_name_fault(STR("web-1")));
	assert_null(dns_name_fault((struct str){ label, 63 }));
	assert_string_equal(dns_name_fault(STR(label)), "it being too long. Valid lengths are between 1 and 63 bytes.");
	assert_string_equal(dns_name_fault(STR("a_b")), "invalid characters. Valid characters include all alpha-numerics and dashes.");
	assert_non_null(dns_name_fault(STR("a.b")));
	assert_non_null(dns_name_fault(STR("\xc3\xa9")));
}

static void
test_checks(void **state)
{
	struct local l = { .cd = NULL };
	struct health_check a = check("a", "", "", ""), b = check("b", "", "", ""), remote[4];
	struct check *ca, *cb;

	(void)state;
	ca = put_check(&l, &a, CHECK_PASSING, "fine");
	cb = put_check(&l, &b, CHECK_CRITICAL, "new");
	remote[0] = check("a", "", "passing", "fine");
	remote[0].node = STR("N1");
	remote[1] = check("b", "", "critical", "old");
	remote[2] = check("serfHealth", "", "passing", "");
	remote[3] = check("ghost", "x", "passing", "");
	assert_int_equal(diff_checks(&l, remote, 4, false), 0);
	assert_false(ca->sync.dirty);
	assert_true(cb->sync.dirty);
	assert_int_equal(l.nchecks, 3);
	assert_true(local_check_entry(&l, STR("ghost"))->sync.deleted);
	assert_null(local_check(&l, STR("ghost")));
	assert_int_equal(diff_checks(&l, remote, 4, true), 0);
	assert_false(cb->sync.dirty);
	local_release(&l);
}

/* checkd alone was started again: what it had found is the catalog's, where it is about the same check and that runs by itself. */
static void
test_resumed(void **state)
{
	struct local l = { .cd = NULL, .resumed = true };
	struct health_check remote[5];
	struct check *c[5];
	static const char *const ids[] = { "runs", "nothing-runs", "other", "has-run", "missing" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct health_check rec = check(ids[i], "", "", "");
		struct check_def def = { .interval = i == 1 ? 0 : 10 };

		assert_int_equal(local_put_check(&l, &rec, &def, SOURCE_FILE, CHECK_CRITICAL, STR(""), &c[i]), 0);
		remote[i] = check(ids[i], "", "passing", "fine");
	}
	remote[2].notes = STR("another");
	c[3]->result_ms = 1;
	assert_int_equal(diff_checks(&l, remote, 4, false), 0);
	assert_int_equal(c[0]->status, CHECK_PASSING);
	assert_true(str_eqs(c[0]->output, "fine"));
	assert_false(c[0]->sync.dirty);
	for (size_t i = 1; i < ARRAY_LEN(ids); i++) {
		assert_int_equal(c[i]->status, CHECK_CRITICAL);
		assert_true(c[i]->sync.dirty);
	}
	assert_int_equal(l.adopted, 1);
	/* Once: later the catalog has what we say. */
	assert_false(l.resumed);
	remote[0] = check("runs", "", "warning", "others wrote this");
	assert_int_equal(diff_checks(&l, remote, 1, false), 0);
	assert_int_equal(c[0]->status, CHECK_PASSING);
	assert_true(c[0]->sync.dirty);
	local_release(&l);
}

/* A check that is registered again keeps what it found; one that was removed starts anew. */
static void
test_status_kept(void **state)
{
	struct local l = { .cd = NULL };
	struct health_check a = check("a", "", "", "");
	struct check *c = put_check(&l, &a, CHECK_PASSING, "fine");
	uint64_t version = c->sync.version;

	(void)state;
	c = put_check(&l, &a, CHECK_CRITICAL, "");
	assert_int_equal(c->status, CHECK_PASSING);
	assert_true(str_eqs(c->output, "fine"));
	assert_int_equal(c->sync.version, version);
	a.notes = STR("x");
	c = put_check(&l, &a, CHECK_CRITICAL, "");
	assert_int_equal(c->sync.version, version + 1);
	local_remove_check(&l, c);
	c = put_check(&l, &a, CHECK_CRITICAL, "");
	assert_int_equal(c->status, CHECK_CRITICAL);
	assert_true(str_eqs(c->output, ""));
	local_release(&l);
}

static void
test_reap(void **state)
{
	static const struct {
		const char *service_id;
		int64_t after_s;
		uint64_t critical_for_s;
		bool due;
	} cases[] = {
		{ "web", 0, 1000000, false }, { "web", 120, 119, false }, { "web", 120, 121, true },
		{ "web", 1, 59, false }, { "web", 1, 61, true },	/* the minimum */
		{ "", 120, 121, false }, { "web", 120, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct local l = { .cd = NULL };
		struct health_check rec = check("a", cases[i].service_id, "", "");
		struct check_def def = { .deregister_critical_service_after = cases[i].after_s * INT64_C(1000000000) };
		struct check *c;

		assert_int_equal(local_put_check(&l, &rec, &def, SOURCE_API, CHECK_CRITICAL, STR(""), &c), 0);
		c->critical_since_ms = cases[i].critical_for_s > 0 ? 5000 : 0;
		assert_int_equal(reap_is_due(c, 5000 + cases[i].critical_for_s * 1000), cases[i].due);
		local_remove_check(&l, c);
		assert_false(reap_is_due(c, UINT64_MAX / 2));
		local_release(&l);
	}
}

static struct json_object *
slice(const char *text)
{
	char err[128];
	bool null;
	struct json_object *j = json_parse(text, strlen(text), &null, err, sizeof(err));

	assert_non_null(j);
	return j;
}

static void
test_self(void **state)
{
	struct json_object *a = slice("{\"node_id\":\"id\",\"node_name\":\"n1\",\"advertise_addr\":\"10.0.0.1\",\"tagged_addresses\":"
	    "{\"wan\":\"10.0.0.1\",\"lan\":\"10.0.0.1\"},\"node_meta\":{\"z\":\"1\"}}");
	struct json_object *b = slice("{\"node_id\":\"id\",\"node_name\":\"n1\",\"advertise_addr\":\"10.0.0.1\",\"tagged_addresses\":"
	    "{\"lan\":\"10.0.0.1\",\"wan\":\"10.0.0.1\"},\"node_meta\":{\"z\":\"2\"}}");
	struct sync_self s = { .self = { .id = STR_NONE } };
	struct node n;

	(void)state;
	arena_init(&s.arena, SELF_ARENA_MAX);
	assert_int_equal(sync_self_set(&s, a), 1);
	assert_int_equal(sync_self_set(&s, a), 0);
	assert_int_equal(s.self.meta.n, 2);
	assert_true(str_eqs(s.self.meta.v[0].key, "consul-network-segment"));
	assert_true(str_eqs(s.self.tagged_addresses.v[0].key, "lan"));
	n = (struct node){ .id = s.self.id, .node = STR("n1"), .address = STR("1.2.3.4"), .tagged_addresses = s.self.tagged_addresses,
		.meta = s.self.meta, .modify_index = 9 };
	assert_true(diff_node_same(&s.self, &n));
	n.meta.n = 1;
	assert_false(diff_node_same(&s.self, &n));
	assert_int_equal(sync_self_set(&s, b), 1);
	sync_self_release(&s);
	json_object_put(a);
	json_object_put(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_tag_override),
		cmocka_unit_test(test_tags_kept),
		cmocka_unit_test(test_dns_names),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_resumed),
		cmocka_unit_test(test_status_kept),
		cmocka_unit_test(test_reap),
		cmocka_unit_test(test_self),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
