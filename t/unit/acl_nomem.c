/* acl_nomem.c - the Nth allocation fails, for every N: -ENOMEM is told, and what is there can be freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "lib/duration.h"
#include "raftd/acl/authz.h"
#include "raftd/acl/jwt.h"
#include "t/unit/jwt_make.h"
#include "t/unit/nomem.h"
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
struct json_object *__real_json_object_new_object(void);
struct json_object *__real_json_object_new_array(void);
struct json_object *__real_json_object_new_string(const char *s);
struct json_object *__wrap_json_object_new_object(void);
struct json_object *__wrap_json_object_new_array(void);
struct json_object *__wrap_json_object_new_string(const char *s);

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused;

static bool
refuse(void)
{
	if (left == 0)
		refused = true;
	return left == 0 || (left > 0 && left-- == 0);
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return refuse() ? NULL : __real_strndup(s, n);
}

struct json_object *
__wrap_json_object_new_object(void)
{
	return refuse() ? NULL : __real_json_object_new_object();
}

struct json_object *
__wrap_json_object_new_array(void)
{
	return refuse() ? NULL : __real_json_object_new_array();
}

struct json_object *
__wrap_json_object_new_string(const char *s)
{
	return refuse() ? NULL : __real_json_object_new_string(s);
}

#define RULES "key_prefix \"a\" { policy = \"write\" } service \"w\" { policy = \"read\" intentions = \"write\" } key \"b\" { policy = \"list\" }"

/* ---- what is tried: 0, or a negative code */

static int
try_rules(void)
{
	struct acl_rules *rules = NULL;
	const struct acl_rules *sets[2];
	struct authz *a = NULL;
	char err[ACL_ERROR_MAX];
	int rc = acl_rules_parse(STR(RULES), ACL_SYNTAX_CURRENT, &rules, err);

	if (rc < 0)
		return rc;
	sets[0] = sets[1] = rules;
	rc = authz_new(sets, 2, &(struct authz_config){ .default_access = ACL_DENY }, &a);
	free(rules);
	if (rc == 0)
		assert_true(authz_may(a, ACL_KEY, STR("ax"), ACL_WRITE));
	authz_unref(a);
	return rc;
}

static int
try_translate(void)
{
	struct buf out = BUF_INIT(64 * KiB);
	char err[ACL_ERROR_MAX];
	int rc = acl_rules_translate(STR(RULES), &out, err);

	if (rc < 0)
		assert_int_equal(out.len, 0);
	buf_release(&out);
	return rc;
}

static int
try_identities(void)
{
	struct buf out = BUF_INIT(64 * KiB);
	int rc = acl_rules_of_service(STR("web"), &out);

	if (rc < 0)
		assert_int_equal(out.len, 0);
	if (rc == 0)
		rc = acl_rules_of_node(STR("node"), &out);
	buf_release(&out);
	return rc;
}

/* Made once, with all the memory there is. */
static struct json_object *config_pem, *config_file;
static struct buf token = BUF_INIT(1 << 16), jwks = BUF_INIT(1 << 16);

static int
try_token(struct json_object *config, struct str set)
{
	struct json_object *claims = NULL;
	struct jwt_method *m = NULL;
	char err[ACL_ERROR_MAX];
	int rc = jwt_method_new(config, &m, err);

	if (rc == 0)
		rc = jwt_verify(m, (struct str){ (char *)token.data, token.len }, set, 1700000000 * NS_PER_S, &claims, err);
	if (rc == 0)
		assert_string_equal(json_object_to_json_string_ext(claims, JSON_C_TO_STRING_PLAIN),
		    "{\"value\":{\"A\":\"x\",\"B\":\"\",\"N\":\"7\",\"T\":\"true\"},\"list\":{\"L\":[\"p\",\"q\"]}}");
	else
		assert_null(claims);
	json_object_put(claims);
	jwt_method_free(m);
	return rc;
}

static int
try_pem(void)
{
	return try_token(config_pem, STR(""));
}

static int
try_key_set(void)
{
	return try_token(config_file, (struct str){ (char *)jwks.data, jwks.len });
}

static int
set_up(void **state)
{
	static const char more[] = "\"BoundIssuer\":\"i\",\"BoundAudiences\":[\"a\"],\"ClaimMappings\":{\"a\":\"A\",\"b\":\"B\",\"n\":\"N\",\"t\":\"T\"},"
	    "\"ListClaimMappings\":{\"l\":\"L\"}";
	struct buf text = BUF_INIT(1 << 16);
	struct signer s;

	(void)state;
	signer_init(&s, "ES256", 0);
	(void)make_token_raw(&s, "{\"alg\":\"ES256\",\"kid\":\"k\"}",
	    "{\"exp\":1700000001,\"iss\":\"i\",\"aud\":\"a\",\"a\":\"x\",\"n\":7,\"t\":true,\"l\":[\"p\",\"q\"]}", &token);
	assert_int_equal(buf_addf(&text, "{\"JWTValidationPubKeys\":[\"%s\"],%s}", pem_as_json(&s), more), 0);
	config_pem = json_tokener_parse(buf_cstr(&text));
	buf_clear(&text);
	assert_int_equal(buf_addf(&text, "{\"JWKSFile\":\"/x\",%s}", more), 0);
	config_file = json_tokener_parse(buf_cstr(&text));
	assert_non_null(config_pem);
	assert_non_null(config_file);
	assert_int_equal(buf_addf(&jwks, "{\"keys\":[{%s,\"kid\":\"k\"}]}", buf_cstr(&s.jwk)), 0);
	buf_release(&text);
	signer_release(&s);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	json_object_put(config_pem);
	json_object_put(config_file);
	buf_release(&token);
	buf_release(&jwks);
	return 0;
}

static void
test_each(void **state)
{
	static int (*const tries[])(void) = { try_rules, try_translate, try_identities, try_pem, try_key_set };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		long n = 0;
		int rc;

		do {
			refused = false;
			left = n++;
			rc = tries[i]();
			left = -1;
			if (rc != (refused ? -ENOMEM : 0))
				fail_msg("case %zu, allocation %ld: %d", i, n, rc);
		} while (refused);
		assert_true(n > 2);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "each_allocation_can_fail", test_each, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
