/* config_man.c - each key of the schema, and of definitions, stands in consulctl.conf(5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consulctl/config/def.h"
#include "consulctl/config/schema.h"

enum { PAGE_MAX = 512 * 1024 };

static char *page;

static int
read_page(void **state)
{
	const char *dir = getenv("SRCDIR");
	char path[1024];
	FILE *f;
	size_t n;

	(void)state;
	snprintf(path, sizeof(path), "%s/man/consulctl.conf.5", dir != NULL ? dir : ".");
	f = fopen(path, "r");
	page = calloc(1, PAGE_MAX + 1);
	if (f == NULL || page == NULL)
		return -1;
	n = fread(page, 1, PAGE_MAX, f);
	fclose(f);
	return n > 0 && n < PAGE_MAX ? 0 : -1;
}

static int
free_page(void **state)
{
	(void)state;
	free(page);
	return 0;
}

/* ".Ic key" begins an item or stands in a list; after it a blank or the line's end. */
static void
expect(const char *from, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = from; (p = strstr(p, "Ic ")) != NULL; p++)
		if (strncmp(p + 3, key, n) == 0 && (p[3 + n] == ' ' || p[3 + n] == '\n'))
			return;
	fail_msg("%s is not in consulctl.conf.5", key);
}

static void
test_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_nkeys; i++)
		expect(page, config_keys[i].path);
}

static void
test_definitions(void **state)
{
	const char *services = strstr(page, ".Sh SERVICES"), *checks = strstr(page, ".Sh CHECKS"), *watches = strstr(page, ".Sh WATCHES");

	(void)state;
	assert_non_null(services);
	assert_non_null(checks);
	assert_non_null(watches);
	for (size_t i = 0; i < def_service.n; i++)
		expect(services, def_service.keys[i].name);
	for (size_t i = 0; i < def_check.n; i++)
		expect(checks, def_check.keys[i].name);
	for (size_t i = 0; i < watch_nkeys; i++)
		expect(watches, watch_keys[i].name);
	for (size_t i = 0; i < watch_nhttp_keys; i++)
		expect(watches, watch_http_keys[i].name);
}

/* What the page says of a key's default and reload is what the table says. */
static void
test_defaults(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_nkeys; i++) {
		const struct config_key *k = &config_keys[i];
		const char *item, *end;
		char want[300], line[300];

		if (k->class != KC_USED)
			continue;
		snprintf(want, sizeof(want), "\n.It Ic %s Pq ", k->path);
		item = strstr(page, want);
		if (item == NULL)
			fail_msg("%s has no item in consulctl.conf.5", k->path);
		end = strchr(item + 1, '\n');
		assert_non_null(end);
		snprintf(line, sizeof(line), "%.*s", (int)(end - item - 1), item + 1);
		assert_int_equal(strstr(line, "No reload") != NULL, k->reloadable);
		if (k->dflt == NULL || strcmp(k->dflt, "") == 0 || strcmp(k->dflt, "[]") == 0 || strcmp(k->dflt, "{}") == 0)
			continue;
		snprintf(want, sizeof(want), "No default Li %s", k->dflt);
		if (strstr(line, want) == NULL)
			fail_msg("%s: the page has another default: %s", k->path, line);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_definitions),
		cmocka_unit_test(test_defaults),
	};

	return cmocka_run_group_tests(tests, read_page, free_page);
}
