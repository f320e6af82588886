/*
 * config_helper.h - for the tests of the configuration: a private directory
 * with files in it, a load with given arguments, and what came of it.
 */
#ifndef T_UNIT_CONFIG_HELPER_H
#define T_UNIT_CONFIG_HELPER_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "consulctl/config/args.h"

enum { HELPER_ARGS_MAX = 16 };

static char helper_dir[64];
static char helper_error[CONFIG_ERR_MAX];	/* of the last load */

static int
helper_setup(void **state)
{
	(void)state;
	snprintf(helper_dir, sizeof(helper_dir), "/tmp/config-test.XXXXXX");
	return mkdtemp(helper_dir) == NULL;
}

/* Files and one level of directories. */
static void
helper_empty(const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL; ) {
		char path[512];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) < 0) {
			helper_empty(path);
			rmdir(path);
		}
	}
	if (d != NULL)
		closedir(d);
}

static int
helper_teardown(void **state)
{
	(void)state;
	helper_empty(helper_dir);
	return rmdir(helper_dir);
}

static const char *
helper_path(const char *name)
{
	static char path[4][512];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", helper_dir, name);
	return path[next];
}

static inline void
helper_write(const char *name, const char *text)
{
	FILE *f = fopen(helper_path(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
helper_take_error(struct buf *err)
{
	snprintf(helper_error, sizeof(helper_error), "%.*s", (int)err->len, err->data != NULL ? (const char *)err->data : "");
	buf_release(err);
}

/* Load with the arguments behind "agent", ended by NULL; NULL with helper_error. */
static struct config *
helper_load(const char *const *args)
{
	char *argv[HELPER_ARGS_MAX + 2] = { (char *)"agent" };
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	struct config_args *a = NULL;
	struct config *c = NULL;
	int argc = 1;

	while (args[argc - 1] != NULL) {
		assert_true(argc <= HELPER_ARGS_MAX);
		argv[argc] = (char *)args[argc - 1];
		argc++;
	}
	if (config_args_parse(argc, argv, &a, &err) == 0 && config_load(a, &c, &err) < 0)
		assert_null(c);
	config_args_free(a);
	helper_take_error(&err);
	return c;
}

/* -dev with one file. */
static inline struct config *
helper_load_file(const char *name, const char *text)
{
	helper_write(name, text);
	return helper_load((const char *const[]){ "-dev", "-config-file", helper_path(name), NULL });
}

/* The value at a path, as JSON; "(none)". */
static inline const char *
helper_json(const struct config *c, const char *path)
{
	struct json_object *v = config_get(config_tree(c), path);

	return v != NULL ? json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "(none)";
}

static inline bool
helper_has_notice(const struct config *c, enum log_level level, const char *part)
{
	const struct config_notice *n;

	for (size_t i = 0; (n = config_notice(c, i)) != NULL; i++)
		if (n->level == level && strstr(n->text, part) != NULL)
			return true;
	return false;
}

#define HELPER_MAIN(tests) \
int \
main(void) \
{ \
	return cmocka_run_group_tests(tests, helper_setup, helper_teardown); \
}

#endif
