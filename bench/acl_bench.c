/* acl_bench.c - what one decision costs by how many rules there are, and what it costs to compile them. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "raftd/acl/authz.h"

enum { DECISIONS = 1000000, NAMES = 4096 };

static double
cpu_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void __attribute__((noreturn))
die(const char *what)
{
	fprintf(stderr, "acl_bench: %s failed\n", what);
	exit(1);
}

/* n rules of keys, every second a prefix. */
static struct acl_rules *
rules_of(unsigned n)
{
	struct buf text = BUF_INIT(ACL_RULES_TEXT_MAX);
	struct acl_rules *r = NULL;
	char err[ACL_ERROR_MAX];

	for (unsigned i = 0; i < n; i++)
		if (buf_addf(&text, "key%s \"app/%05u/\" { policy = \"%s\" }\n", i % 2 == 0 ? "_prefix" : "", i, i % 3 == 0 ? "write" : "read") < 0)
			die("memory");
	if (acl_rules_parse((struct str){ (char *)text.data, text.len }, ACL_SYNTAX_CURRENT, &r, err) < 0)
		die("acl_rules_parse");
	buf_release(&text);
	return r;
}

static void
measure(unsigned n)
{
	static char names[NAMES][32];
	const struct authz_config c = { .default_access = ACL_DENY };
	double before = cpu_s(), parsed, compiled, decided;
	struct acl_rules *r = rules_of(n);
	struct authz *a = NULL;
	unsigned allowed = 0;

	parsed = cpu_s() - before;
	before = cpu_s();
	if (authz_new((const struct acl_rules *const *)&r, 1, &c, &a) < 0)
		die("authz_new");
	compiled = cpu_s() - before;
	for (unsigned i = 0; i < NAMES; i++)
		(void)snprintf(names[i], sizeof(names[i]), "app/%05u/key%u", (i * 2654435761u) % (n + 1), i);
	before = cpu_s();
	for (unsigned i = 0; i < DECISIONS; i++)
		allowed += authz_may(a, ACL_KEY, str_from(names[i % NAMES]), ACL_READ);
	decided = cpu_s() - before;
	printf("acl: %5u rules: parsed in %.2f ms, compiled in %.2f ms, a decision %.0f ns (%u%% allowed)\n", n, parsed * 1e3, compiled * 1e3,
	    decided / DECISIONS * 1e9, allowed / (DECISIONS / 100));
	authz_unref(a);
	free(r);
}

int
main(void)
{
	static const unsigned sizes[] = { 1, 10, 100, 1000, 10000 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		measure(sizes[i]);
	return 0;
}
