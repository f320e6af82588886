/* httpd_routes.c - the table of endpoints is sound, and the limits of clients and settings that stand beside it */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "httpd/clients.h"
#include "httpd/routes.h"
#include "lib/json.h"

static struct str
path_of(const struct route *rt, char *out, size_t size)
{
	size_t n = strlen(rt->path);

	(void)snprintf(out, size, "%s%s%s", rt->path, n > 1 && rt->path[n - 1] == '/' ? "x/y" : "",
	    rt->op == OP_QUERY_EXECUTE ? "/execute" : rt->op == OP_QUERY_EXPLAIN ? "/explain" : "");
	return str_from(out);
}

/* No row hides behind one above it. */
static void
test_every_row_is_found(void **state)
{
	const struct route *rt;
	char text[128];
	struct str rest;

	(void)state;
	for (unsigned i = 0; (rt = route_row(i)) != NULL; i++) {
		struct str path = path_of(rt, text, sizeof(text));

		assert_ptr_equal(route_find(path, &rest), rt);
		assert_true(rest.len == path.len - strlen(rt->path) || (rt->handler == query_run && str_eqs(rest, "x/y")));
	}
}

static void
test_rows_are_complete(void **state)
{
	const struct route *rt;

	(void)state;
	for (unsigned i = 0; (rt = route_row(i)) != NULL; i++) {
		const struct op_info *op = op_info(rt->op);

		assert_true(rt->path[0] == '/' && rt->handler != NULL && rt->acl != NULL);
		assert_true(rt->methods != 0 && (rt->methods & (M_OPTIONS | M_OTHER)) == 0);
		assert_true(rt->op == 0 || op != NULL);
		/* What may wait must be a read. */
		assert_true((rt->flags & RT_BLOCK) == 0 || op == NULL || op->access == OP_ACCESS_READ);
	}
}

static void
test_unknown(void **state)
{
	static const char *const unknown[] = { "/v1", "/v1/", "/v1/kvx", "/v1/catalog", "/v1/catalog/nodes/", "/v1/kv", "/x", "",
		"/v1/agent/selfish", "/V1/kv/a" };
	struct str rest;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_null(route_find(str_from(unknown[i]), &rest));
	assert_true(route_is_dir(STR("/v1/kv")));
	assert_false(route_is_dir(STR("/v1/k")));
	assert_false(route_is_dir(STR("/v1/catalog/nodes")));
}

static void
test_allow(void **state)
{
	char text[ALLOW_TEXT_MAX];
	struct str rest;

	(void)state;
	route_allow(route_find(STR("/v1/kv/a"), &rest), text);
	assert_string_equal(text, "OPTIONS,GET,PUT,DELETE");
	route_allow(route_find(STR("/v1/acl/login"), &rest), text);
	assert_string_equal(text, "OPTIONS,POST");
}

static void
test_clients(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET }, b = a;
	struct sockaddr local = { .sa_family = AF_UNIX };
	struct clients *c = clients_new();
	struct client *k[4];

	(void)state;
	a.sin_addr.s_addr = htonl(0x7f000001);
	b.sin_addr.s_addr = htonl(0x7f000002);
	for (int i = 0; i < 3; i++)
		assert_non_null(k[i] = client_opened(c, (struct sockaddr *)&a, 3));
	assert_null(client_opened(c, (struct sockaddr *)&a, 3));
	assert_non_null(k[3] = client_opened(c, (struct sockaddr *)&b, 3));
	client_closed(c, k[0]);
	assert_non_null(k[0] = client_opened(c, (struct sockaddr *)&a, 3));
	for (int i = 0; i < 4; i++)
		client_closed(c, k[i]);
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(client_opened(c, &local, 3), client_opened(c, &local, 3));
	client_closed(c, NULL);
	clients_free(c);
	clients_free(NULL);
}

static bool
may_write(const struct http_config *c, const char *ip)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
		return http_config_may_write(c, (struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, ip, &v6.sin6_addr), 1);
	return http_config_may_write(c, (struct sockaddr *)&v6);
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
test_config(void **state)
{
	static const char text[] = "{\"http_config\":{\"allow_write_http_from\":[\"10.1.2.0/23\",\"192.168.0.7\",\"fd00::/9\"],"
	    "\"block_endpoints\":[\"/v1/agent/le\"]},\"limits\":{\"kv_max_value_size\":7}}";
	struct json_object *j = slice(text), *bad = slice("{\"http_config\":{\"allow_write_http_from\":[\"10.0.0.0/33\"]}}");
	struct http_config c;
	char err[128];

	(void)state;
	assert_int_equal(http_config_read(j, &c, err, sizeof(err)), 0);
	assert_int_equal(c.kv_max_value, 7);
	assert_int_equal(c.conns_per_client, 200);
	assert_true(may_write(&c, "10.1.3.255"));
	assert_false(may_write(&c, "10.1.4.0"));
	assert_true(may_write(&c, "192.168.0.7"));
	assert_false(may_write(&c, "192.168.0.6"));
	assert_true(may_write(&c, "fd7f::1"));
	assert_false(may_write(&c, "fd80::1"));
	assert_true(http_config_blocked(&c, STR("/v1/agent/leave")));
	assert_false(http_config_blocked(&c, STR("/v1/agent/self")));
	http_config_release(&c);
	assert_int_equal(http_config_read(bad, &c, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "allow_write_http_from: \"10.0.0.0/33\" is not a network");
	(void)json_object_put(j);
	(void)json_object_put(bad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_is_found), cmocka_unit_test(test_rows_are_complete), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_allow), cmocka_unit_test(test_clients), cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests_name("httpd_routes", tests, NULL, NULL);
}
