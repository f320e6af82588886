/* checkd_persist.c - registrations in the data directory: what is written is read again, and what is broken harms nothing else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkd/persist.h"
#include "lib/str.h"

struct found {
	unsigned n;
	char text[512];
};

static void
on_service(void *arg, const void *obj)
{
	const struct persisted_service *p = obj;
	struct found *f = arg;
	size_t at = strlen(f->text);

	f->n++;
	(void)snprintf(f->text + at, sizeof(f->text) - at, "%.*s/%.*s/%.*s/%lld ", STR_ARG(p->service.id), STR_ARG(p->token), STR_ARG(p->from),
	    (long long)p->since_s);
}

static void
on_state(void *arg, const void *obj)
{
	const struct persisted_state *p = obj;
	struct found *f = arg;

	f->n++;
	(void)snprintf(f->text, sizeof(f->text), "%.*s %.*s %.*s %lld", STR_ARG(p->check_id), STR_ARG(p->status), STR_ARG(p->output),
	    (long long)p->expires_s);
}

static void
spoil(const struct persist *p, const char *name, const char *text)
{
	int fd = openat(p->fd[PERSIST_SERVICES], name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static void
remove_tree(const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) < 0)
			remove_tree(path);
	}
	closedir(d);
	(void)rmdir(dir);
}

static void
test_round(void **state)
{
	static const char whole[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct node_service web = { .id = STR("web"), .service = STR("web"), .weights = { 1, 1 } };
	char dir[] = "/tmp/checkd-persist-XXXXXX", part[80];
	struct found f = { .n = 0 };
	struct persist p;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(persist_open(&p, dir), 0);
	assert_int_equal(persist_service(&p, &web, STR("secret"), STR("10.1.2.3"), 77), 0);
	assert_int_equal(persist_state(&p, STR("c"), STR("out"), "warning", 99), 0);
	/* Cut off, no JSON, nothing, and a file that is none of ours. */
	(void)snprintf(part, sizeof(part), "%s.tmp", whole);
	spoil(&p, part, "{");
	spoil(&p, whole, "{\"Service\":");
	spoil(&p, "README", "x");
	persist_load(&p, PERSIST_SERVICES, &rec_persisted_service, &f, on_service);
	assert_int_equal(f.n, 1);
	assert_string_equal(f.text, "web/secret/10.1.2.3/77 ");
	assert_int_equal(faccessat(p.fd[PERSIST_SERVICES], part, F_OK, 0), -1);
	assert_int_equal(faccessat(p.fd[PERSIST_SERVICES], whole, F_OK, 0), 0);
	f = (struct found){ .n = 0 };
	persist_load(&p, PERSIST_STATE, &rec_persisted_state, &f, on_state);
	assert_string_equal(f.text, "c warning out 99");
	/* Written again it is one file, and gone it is none. */
	assert_int_equal(persist_service(&p, &web, STR(""), STR(""), 0), 0);
	persist_remove(&p, PERSIST_SERVICES, STR("web"));
	persist_remove(&p, PERSIST_SERVICES, STR("web"));
	f = (struct found){ .n = 0 };
	persist_load(&p, PERSIST_SERVICES, &rec_persisted_service, &f, on_service);
	assert_int_equal(f.n, 0);
	persist_close(&p);
	remove_tree(dir);
}

/* A node without a data directory keeps nothing, and says nothing about it. */
static void
test_none(void **state)
{
	struct node_service web = { .id = STR("web"), .service = STR("web") };
	struct found f = { .n = 0 };
	struct persist p;

	(void)state;
	assert_int_equal(persist_open(&p, NULL), 0);
	assert_int_equal(persist_service(&p, &web, STR(""), STR(""), 0), 0);
	persist_remove(&p, PERSIST_SERVICES, STR("web"));
	persist_load(&p, PERSIST_SERVICES, &rec_persisted_service, &f, on_service);
	assert_int_equal(f.n, 0);
	persist_close(&p);
	assert_int_equal(persist_open(&p, "/nonexistent"), -ENOENT);
	persist_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round), cmocka_unit_test(test_none) };

	return cmocka_run_group_tests_name("checkd_persist", tests, NULL, NULL);
}
