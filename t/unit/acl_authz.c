/* acl_authz.c - what compiled rules allow: Consul's rules of precedence, and a naive model that must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "raftd/acl/authz.h"

enum { SETS_MAX = 4 };

/* Policies as texts, NULL behind the last. */
static struct authz *
compile(const struct authz_config *c, const char *const *texts)
{
	struct acl_rules *sets[SETS_MAX] = { NULL };
	struct authz *a = NULL;
	char err[ACL_ERROR_MAX];
	size_t n = 0;

	for (; texts[n] != NULL; n++)
		if (acl_rules_parse(str_from(texts[n]), ACL_SYNTAX_CURRENT, &sets[n], err) < 0)
			fail_msg("%s: %s", texts[n], err);
	assert_int_equal(authz_new((const struct acl_rules *const *)sets, n, c, &a), 0);
	/* They were copied. */
	while (n > 0)
		free(sets[--n]);
	return a;
}

#define COMPILE(config, ...) compile(config, (const char *const[]){ __VA_ARGS__, NULL })

static const struct authz_config deny = { .default_access = ACL_DENY }, allow = { .default_access = ACL_WRITE },
    listing = { .default_access = ACL_DENY, .key_list = true }, management = { .default_access = ACL_DENY, .management = true };

static void
check(const struct authz *a, const char *question, bool want)
{
	char resource[32], name[64] = "", access[16];
	struct str n;

	if (sscanf(question, "%31s %15s %63s", resource, access, name) < 2)
		fail_msg("%s", question);
	n = str_from(name);
	if (authz_may(a, acl_resource_parse(str_from(resource)), n, acl_access_parse(str_from(access))) != want)
		fail_msg("%s: %d expected", question, want);
}

static void
test_precedence(void **state)
{
	struct authz *a = COMPILE(&deny, "key_prefix \"\" { policy = \"read\" } key_prefix \"app/\" { policy = \"write\" } key \"app/x\" { policy = \"deny\" } "
	    "key_prefix \"app/sec\" { policy = \"deny\" } key \"app/secret\" { policy = \"read\" } key \"b\" { policy = \"write\" }");

	(void)state;
	check(a, "key read z", true);
	check(a, "key write z", false);
	check(a, "key write app/", true);
	check(a, "key write app/a", true);
	check(a, "key read app/x", false);
	check(a, "key write app/xx", true);
	check(a, "key read app/sec", false);
	check(a, "key read app/secret", true);
	check(a, "key write app/secret", false);
	check(a, "key read app/secretx", false);
	check(a, "key write b", true);
	check(a, "key write b/", false);
	check(a, "key read b/", true);
	check(a, "key read ap", true);
	check(a, "node read z", false);
	authz_unref(a);
}

static void
test_merge(void **state)
{
	struct authz *a = COMPILE(&deny, "key \"a\" { policy = \"read\" } key \"b\" { policy = \"write\" } key \"c\" { policy = \"list\" } operator = \"read\"",
	    "key \"a\" { policy = \"write\" } key \"b\" { policy = \"deny\" } key \"c\" { policy = \"read\" } operator = \"write\" acl = \"write\"",
	    "key_prefix \"a\" { policy = \"deny\" } acl = \"deny\"");

	(void)state;
	check(a, "key write a", true);		/* exact beats prefix, and write beats read */
	check(a, "key read ab", false);
	check(a, "key read b", false);
	check(a, "key read c", true);
	check(a, "operator write", true);
	check(a, "acl read", false);
	authz_unref(a);
	/* Within one policy too. */
	a = COMPILE(&deny, "key \"a\" { policy = \"deny\" } key \"a\" { policy = \"write\" }");
	check(a, "key read a", false);
	authz_unref(a);
}

static void
test_list(void **state)
{
	const char *rules = "key \"r\" { policy = \"read\" } key \"l\" { policy = \"list\" } key \"w\" { policy = \"write\" } key \"d\" { policy = \"deny\" }";
	struct authz *a = COMPILE(&listing, rules);

	(void)state;
	check(a, "key read l", true);
	check(a, "key list l", true);
	check(a, "key write l", false);
	check(a, "key list r", false);
	check(a, "key list w", true);
	check(a, "key list d", false);
	authz_unref(a);
	/* Without the option list is read. */
	a = COMPILE(&deny, rules);
	check(a, "key list r", true);
	check(a, "key list l", true);
	check(a, "key list d", false);
	check(a, "key list x", false);
	authz_unref(a);
}

static void
test_defaults(void **state)
{
	static const char *const named[] = { "agent", "event", "intention", "key", "node", "query", "service", "session" };
	static const char *const scalars[] = { "keyring", "mesh", "operator", "peering" };
	struct authz *d = COMPILE(&deny, ""), *a = COMPILE(&allow, ""), *m = NULL;
	char question[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		(void)snprintf(question, sizeof(question), "%s write x", named[i]);
		check(d, question, false);
		check(a, question, true);
	}
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
		(void)snprintf(question, sizeof(question), "%s write", scalars[i]);
		check(d, question, false);
		check(a, question, true);
	}
	check(d, "acl read", false);
	check(a, "acl read", false);
	check(a, "acl write", false);
	authz_unref(d);
	authz_unref(a);
	a = COMPILE(&allow, "acl = \"read\" key_prefix \"x\" { policy = \"deny\" } node \"n\" { policy = \"read\" }");
	check(a, "acl read", true);
	check(a, "acl write", false);
	check(a, "key read x1", false);
	check(a, "key write y", true);
	check(a, "node write n", false);
	authz_unref(a);
	m = COMPILE(&management, "key \"a\" { policy = \"deny\" } acl = \"deny\"");
	check(m, "key write a", true);
	check(m, "acl write", true);
	assert_true(authz_may_below(m, ACL_KEY, STR("")));
	assert_true(authz_may_any(m, ACL_NODE, ACL_WRITE));
	assert_true(authz_may_all(m, ACL_KEY, ACL_WRITE));
	authz_unref(m);
}

static void
test_fall_back(void **state)
{
	struct authz *a = COMPILE(&deny, "operator = \"write\" mesh = \"read\"");

	(void)state;
	check(a, "mesh read", true);
	check(a, "mesh write", false);
	check(a, "peering write", true);
	check(a, "keyring read", false);
	authz_unref(a);
	a = COMPILE(&allow, "operator = \"deny\" peering = \"read\"");
	check(a, "mesh read", false);
	check(a, "peering read", true);
	check(a, "peering write", false);
	check(a, "keyring write", true);
	authz_unref(a);
}

static void
test_intentions(void **state)
{
	struct authz *a = COMPILE(&deny, "service \"r\" { policy = \"read\" } service \"w\" { policy = \"write\" } service \"d\" { policy = \"deny\" } "
	    "service \"o\" { policy = \"deny\" intentions = \"write\" } service_prefix \"p\" { policy = \"write\" intentions = \"deny\" }");

	(void)state;
	check(a, "intention read r", true);
	check(a, "intention write r", false);
	check(a, "intention read w", true);
	check(a, "intention write w", false);
	check(a, "intention read d", false);
	check(a, "intention write o", true);
	check(a, "service read o", false);
	check(a, "intention read px", false);
	check(a, "service write px", true);
	check(a, "intention read x", false);
	check(a, "intention read *", true);
	check(a, "intention write *", false);
	authz_unref(a);
	/* What follows from a service's rule counts only where no policy says more: not against another one's word. */
	a = COMPILE(&deny, "service \"a\" { policy = \"deny\" } service \"b\" { policy = \"write\" } service \"c\" { policy = \"read\" }",
	    "service \"a\" { policy = \"read\" intentions = \"write\" } service \"b\" { policy = \"deny\" } service \"c\" { policy = \"write\" }");
	check(a, "intention write a", true);
	check(a, "service read a", false);
	check(a, "intention read b", false);
	check(a, "intention read c", true);
	check(a, "intention write c", false);
	authz_unref(a);
	a = COMPILE(&deny, "service_prefix \"\" { policy = \"read\" intentions = \"write\" }");
	check(a, "intention write *", true);
	authz_unref(a);
}

static void
test_below(void **state)
{
	struct authz *a = COMPILE(&deny, "key_prefix \"a/\" { policy = \"write\" } key \"a/b/c\" { policy = \"read\" } key_prefix \"r/\" { policy = \"read\" } "
	    "key_prefix \"r/w\" { policy = \"write\" } key \"x\" { policy = \"write\" }");

	(void)state;
	assert_false(authz_may_below(a, ACL_KEY, STR("")));
	assert_false(authz_may_below(a, ACL_KEY, STR("a/")));
	assert_false(authz_may_below(a, ACL_KEY, STR("a/b")));
	assert_false(authz_may_below(a, ACL_KEY, STR("a/b/c")));
	assert_true(authz_may_below(a, ACL_KEY, STR("a/c")));
	assert_true(authz_may_below(a, ACL_KEY, STR("a/b/d")));
	assert_true(authz_may_below(a, ACL_KEY, STR("a/b/cc")));
	assert_false(authz_may_below(a, ACL_KEY, STR("r/")));
	assert_true(authz_may_below(a, ACL_KEY, STR("r/w")));
	assert_false(authz_may_below(a, ACL_KEY, STR("x")));	/* this name alone may be written */
	authz_unref(a);
	a = COMPILE(&allow, "key \"a/b\" { policy = \"deny\" }");
	assert_false(authz_may_below(a, ACL_KEY, STR("")));
	assert_false(authz_may_below(a, ACL_KEY, STR("a")));
	assert_true(authz_may_below(a, ACL_KEY, STR("a/c")));
	assert_true(authz_may_below(a, ACL_KEY, STR("b")));
	authz_unref(a);
}

static void
test_any_and_all(void **state)
{
	struct authz *a = COMPILE(&deny, "node \"a\" { policy = \"write\" } service_prefix \"\" { policy = \"read\" } service \"x\" { policy = \"deny\" } "
	    "query_prefix \"\" { policy = \"write\" } query \"a\" { policy = \"read\" } operator = \"read\"");

	(void)state;
	assert_true(authz_may_any(a, ACL_NODE, ACL_WRITE));
	assert_false(authz_may_all(a, ACL_NODE, ACL_READ));
	assert_true(authz_may_any(a, ACL_SERVICE, ACL_READ));
	assert_false(authz_may_any(a, ACL_SERVICE, ACL_WRITE));
	assert_false(authz_may_all(a, ACL_SERVICE, ACL_READ));
	assert_true(authz_may_all(a, ACL_QUERY, ACL_READ));
	assert_false(authz_may_all(a, ACL_QUERY, ACL_WRITE));
	assert_false(authz_may_any(a, ACL_EVENT, ACL_READ));
	assert_true(authz_may_all(a, ACL_OPERATOR, ACL_READ));
	assert_true(authz_may_all(a, ACL_MESH, ACL_READ));
	assert_false(authz_may_any(a, ACL_MESH, ACL_WRITE));
	authz_unref(a);
	a = COMPILE(&allow, "node \"a\" { policy = \"deny\" } service_prefix \"\" { policy = \"deny\" }");
	assert_true(authz_may_any(a, ACL_NODE, ACL_READ));
	assert_false(authz_may_all(a, ACL_NODE, ACL_READ));
	assert_false(authz_may_any(a, ACL_SERVICE, ACL_READ));
	assert_true(authz_may_all(a, ACL_EVENT, ACL_WRITE));
	authz_unref(a);
}

static void
test_references(void **state)
{
	struct authz *a = COMPILE(&deny, "key \"a\" { policy = \"read\" }");

	(void)state;
	assert_ptr_equal(authz_ref(a), a);
	authz_unref(a);
	check(a, "key read a", true);
	authz_unref(a);
	authz_unref(NULL);
	assert_null(authz_ref(NULL));
	assert_int_equal(authz_new(NULL, 0, &deny, &a), 0);
	check(a, "key read a", false);
	authz_unref(a);
}

/* ---- a model that looks at each rule, against the search */

enum { RULES_EACH = 12, NAME_MAX_LEN = 6 };

struct world {
	struct acl_rules sets[SETS_MAX];
	struct acl_rule rules[SETS_MAX][RULES_EACH];
	char names[SETS_MAX][RULES_EACH][NAME_MAX_LEN + 1];
	size_t n;
};

static uint64_t
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static struct str
random_name(uint64_t *seed, char text[NAME_MAX_LEN + 1])
{
	size_t n = next_random(seed) % (NAME_MAX_LEN + 1);

	for (size_t i = 0; i < n; i++)
		text[i] = "ab\xff"[next_random(seed) % 3];
	text[n] = 0;
	return (struct str){ text, n };
}

static void
random_world(struct world *w, uint64_t *seed)
{
	w->n = next_random(seed) % (SETS_MAX + 1);
	for (size_t s = 0; s < w->n; s++) {
		w->sets[s] = (struct acl_rules){ w->rules[s], next_random(seed) % (RULES_EACH + 1) };
		for (size_t i = 0; i < w->sets[s].n; i++)
			w->rules[s][i] = (struct acl_rule){ next_random(seed) % 4 == 0 ? ACL_NODE : ACL_KEY, next_random(seed) % 2 == 0,
			    (enum acl_access)(ACL_READ + next_random(seed) % 4), random_name(seed, w->names[s][i]) };
	}
}

/* What all policies together say of this very segment; ACL_NONE: nothing. */
static enum acl_access
said(const struct world *w, enum acl_resource r, bool prefix, struct str segment)
{
	static const enum acl_access order[] = { ACL_DENY, ACL_WRITE, ACL_LIST, ACL_READ };

	for (size_t o = 0; o < ARRAY_LEN(order); o++)
		for (size_t s = 0; s < w->n; s++)
			for (size_t i = 0; i < w->sets[s].n; i++) {
				const struct acl_rule *x = &w->rules[s][i];

				if (x->resource == r && x->prefix == prefix && x->access == order[o] && str_eq(x->segment, segment))
					return order[o];
			}
	return ACL_NONE;
}

static bool
model_grants(enum acl_access has, enum acl_access want)
{
	if (has == ACL_DENY)
		return false;
	if (want == ACL_READ)
		return true;
	return want == ACL_LIST ? has != ACL_READ : has == ACL_WRITE;
}

static bool
model_may(const struct world *w, enum acl_access by_default, enum acl_resource r, struct str name, enum acl_access want)
{
	enum acl_access a = said(w, r, false, name);

	for (size_t n = name.len + 1; a == ACL_NONE && n-- > 0; )
		a = said(w, r, true, (struct str){ name.p, n });
	return model_grants(a != ACL_NONE ? a : by_default, want);
}

/* Consul's rule: what holds for the prefix itself is write, and no rule below says anything else. */
static bool
model_below(const struct world *w, enum acl_access by_default, enum acl_resource r, struct str prefix)
{
	enum acl_access a = ACL_NONE;

	for (size_t n = prefix.len + 1; a == ACL_NONE && n-- > 0; )
		a = said(w, r, true, (struct str){ prefix.p, n });
	if ((a != ACL_NONE ? a : by_default) != ACL_WRITE)
		return false;
	for (size_t s = 0; s < w->n; s++)
		for (size_t i = 0; i < w->sets[s].n; i++) {
			const struct acl_rule *x = &w->rules[s][i];

			if (x->resource == r && str_has_prefix(x->segment, prefix) && said(w, r, x->prefix, x->segment) != ACL_WRITE)
				return false;
		}
	return true;
}

static bool
model_any(const struct world *w, enum acl_access by_default, enum acl_resource r, enum acl_access want)
{
	for (size_t s = 0; s < w->n; s++)
		for (size_t i = 0; i < w->sets[s].n; i++) {
			const struct acl_rule *x = &w->rules[s][i];

			if (x->resource == r && model_grants(said(w, r, x->prefix, x->segment), want))
				return true;
		}
	return said(w, r, true, STR("")) == ACL_NONE && model_grants(by_default, want);
}

static bool
model_all(const struct world *w, enum acl_access by_default, enum acl_resource r, enum acl_access want)
{
	for (size_t s = 0; s < w->n; s++)
		for (size_t i = 0; i < w->sets[s].n; i++) {
			const struct acl_rule *x = &w->rules[s][i];

			if (x->resource == r && !model_grants(said(w, r, x->prefix, x->segment), want))
				return false;
		}
	return said(w, r, true, STR("")) != ACL_NONE || model_grants(by_default, want);
}

static void
compare(const struct world *w, const struct authz *a, enum acl_access by_default, uint64_t *seed)
{
	char text[NAME_MAX_LEN + 1];

	for (int i = 0; i < 60; i++) {
		struct str name = random_name(seed, text);
		enum acl_resource r = i % 4 == 0 ? ACL_NODE : ACL_KEY;

		for (enum acl_access want = ACL_READ; want <= ACL_WRITE; want++) {
			assert_int_equal(authz_may(a, r, name, want), model_may(w, by_default, r, name, want));
			assert_int_equal(authz_may_any(a, r, want), model_any(w, by_default, r, want));
			assert_int_equal(authz_may_all(a, r, want), model_all(w, by_default, r, want));
		}
		assert_int_equal(authz_may_below(a, r, name), model_below(w, by_default, r, name));
	}
}

static void
test_model(void **state)
{
	const char *given = getenv("SEED");
	uint64_t seed = (given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u) | 1;

	(void)state;
	print_message("# SEED=%llu\n", (unsigned long long)seed);
	for (int i = 0; i < 3000; i++) {
		struct authz_config c = { .default_access = i % 2 == 0 ? ACL_DENY : ACL_WRITE, .key_list = true };
		const struct acl_rules *sets[SETS_MAX];
		struct authz *a = NULL;
		struct world w;

		random_world(&w, &seed);
		for (size_t s = 0; s < w.n; s++)
			sets[s] = &w.sets[s];
		assert_int_equal(authz_new(sets, w.n, &c, &a), 0);
		compare(&w, a, c.default_access, &seed);
		authz_unref(a);
	}
}

/* ---- what is told */

static void
test_denials(void **state)
{
	struct asker named = { .accessor = STR("6a1253d2-1785-24fd-91c2-f8e78c745511") }, nobody = { .accessor = STR(ACL_ANONYMOUS_ACCESSOR) }, none = { .filtered = false };
	char text[512], long_name[5000];

	(void)state;
	asker_denied(&named, ACL_KEY, STR("a"), ACL_WRITE, text, sizeof(text));
	assert_string_equal(text, "Permission denied: token with AccessorID '6a1253d2-1785-24fd-91c2-f8e78c745511' lacks permission 'key:write' on \"a\"");
	asker_denied(&named, ACL_OPERATOR, STR(""), ACL_READ, text, sizeof(text));
	assert_string_equal(text, "Permission denied: token with AccessorID '6a1253d2-1785-24fd-91c2-f8e78c745511' lacks permission 'operator:read'");
	asker_denied(&nobody, ACL_NODE, STR("n"), ACL_READ, text, sizeof(text));
	assert_string_equal(text, "Permission denied: anonymous token lacks permission 'node:read' on \"n\". "
	    "The anonymous token is used implicitly when a request does not specify a token.");
	asker_denied(&none, ACL_KEY, STR("a"), ACL_LIST, text, sizeof(text));
	assert_string_equal(text, "Permission denied: provided token lacks permission 'key:list' on \"a\"");
	asker_denied(NULL, ACL_KEY, STR("a"), ACL_LIST, text, sizeof(text));
	assert_string_equal(text, "Permission denied: provided token lacks permission 'key:list' on \"a\"");
	memset(long_name, 'x', sizeof(long_name));
	asker_denied(&named, ACL_KEY, (struct str){ long_name, sizeof(long_name) }, ACL_WRITE, text, sizeof(text));
	assert_true(strlen(text) < 400);
	asker_denied(&named, ACL_KEY, STR("a"), ACL_WRITE, text, 10);
	assert_string_equal(text, "Permissio");
}

static void
test_askers(void **state)
{
	struct asker w = { .authz = COMPILE(&deny, "node \"a\" { policy = \"read\" }") }, off = { .authz = NULL };

	(void)state;
	assert_true(asker_sees(&w, ACL_NODE, STR("a")));
	assert_false(w.filtered);
	assert_false(asker_sees(&w, ACL_NODE, STR("b")));
	assert_true(w.filtered);
	assert_true(asker_sees(&off, ACL_NODE, STR("b")));
	assert_true(asker_may(NULL, ACL_ACL, STR(""), ACL_WRITE));
	authz_unref(w.authz);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "exact_then_the_longest_prefix", test_precedence, NULL, NULL, NULL },
		{ "policies_are_merged", test_merge, NULL, NULL, NULL },
		{ "keys_can_be_listed", test_list, NULL, NULL, NULL },
		{ "defaults_and_management", test_defaults, NULL, NULL, NULL },
		{ "mesh_and_peering_fall_back_on_operator", test_fall_back, NULL, NULL, NULL },
		{ "intentions_follow_from_services", test_intentions, NULL, NULL, NULL },
		{ "everything_below_a_prefix", test_below, NULL, NULL, NULL },
		{ "any_name_and_all_names", test_any_and_all, NULL, NULL, NULL },
		{ "references", test_references, NULL, NULL, NULL },
		{ "a_naive_model_agrees", test_model, NULL, NULL, NULL },
		{ "what_a_denial_says", test_denials, NULL, NULL, NULL },
		{ "who_asks", test_askers, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
