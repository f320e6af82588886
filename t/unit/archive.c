/* archive.c - snapshots that Consul saved, and ours: what they hold, and what is refused. */
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <sodium.h>

#include "raftd/archive/archive.h"
#include "t/unit/fsm_image.h"

enum { FILE_MAX = 4 << 20 };

/* ---- files */

static const char *
data_path(const char *name)
{
	static char path[4096];
	const char *src = getenv("SRCDIR");

	(void)snprintf(path, sizeof(path), "%s/t/data/snapshots/%s", src != NULL ? src : ".", name);
	return path;
}

static int
scratch(void)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void
read_fd(int fd, struct buf *out)
{
	char chunk[65536];
	ssize_t n;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		assert_int_equal(buf_add(out, chunk, (size_t)n), 0);
	assert_int_equal(n, 0);
}

static int
fd_of(const void *p, size_t n)
{
	int fd = scratch();

	assert_int_equal(write(fd, p, n), n);
	return fd;
}

static int
open_data(const char *name)
{
	int fd = open(data_path(name), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("%s: %s", data_path(name), strerror(errno));
	return fd;
}

/* ---- loading */

struct told {
	struct world *w;
	size_t n;
	int give_up;		/* what to return for a record */
};

static int
on_record(void *ctx, enum fsm_table table, struct str key, struct str value)
{
	struct told *t = ctx;

	t->n++;
	if (t->give_up != 0)
		return t->give_up;
	assert_int_equal(fsm_load(t->w->f, table, key, value), 0);
	return 0;
}

/* The state that the archive holds. The caller's fd is closed. */
static struct world *
load(int fd, struct snap_meta *meta)
{
	struct told t = { world_new(), 0, 0 };
	const struct archive_sink sink = { &t, on_record };
	char err[SNAP_ERROR_MAX] = "";
	int rc = archive_load(fd, "dc1", &sink, meta, err);

	if (rc < 0)
		fail_msg("%d: %s", rc, err);
	(void)close(fd);
	assert_int_equal(fsm_loaded(t.w->f), 0);
	return t.w;
}

/* The archive is refused, with nothing told. */
static void
refused(int fd, const char *want)
{
	struct told t = { NULL, 0, -EIO };
	const struct archive_sink sink = { &t, on_record };
	struct snap_meta meta;
	char err[SNAP_ERROR_MAX] = "";

	assert_int_equal(archive_load(fd, "dc1", &sink, &meta, err), -EINVAL);
	assert_int_equal(t.n, 0);
	if (strstr(err, want) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", want, err);
	(void)close(fd);
}

/* ---- the API's view */

static struct json_object *
file_json(const char *name)
{
	struct json_object *j = json_object_from_file(data_path(name));

	assert_non_null(j);
	return j;
}

/* w->text as JSON again. */
static struct json_object *
reply(const char *text)
{
	char *copy = strdup(text);
	struct json_object *j;

	assert_non_null(copy);
	for (char *p = copy; *p != 0; p++)
		if (*p == '\'')
			*p = '"';
	j = json_tokener_parse(copy);
	if (j == NULL)
		fail_msg("no JSON: %s", text);
	free(copy);
	return j;
}

static void
same(const char *what, struct json_object *got, struct json_object *want)
{
	char inner[128];

	if (json_object_is_type(want, json_type_object) && json_object_is_type(got, json_type_object) &&
	    json_object_object_length(got) == json_object_object_length(want)) {
		json_object_object_foreach(want, name, v) {
			struct json_object *mine = NULL;

			(void)snprintf(inner, sizeof(inner), "%.60s.%.60s", what, name);
			if (!json_object_object_get_ex(got, name, &mine))
				fail_msg("%s is missing", inner);
			same(inner, mine, v);
		}
		return;
	}
	if (json_object_equal(got, want) == 0)
		fail_msg("%s:\n got %s\nwant %s", what, json_object_to_json_string_ext(got, JSON_C_TO_STRING_PLAIN),
		    json_object_to_json_string_ext(want, JSON_C_TO_STRING_PLAIN));
}

static struct json_object *
member(struct json_object *j, const char *name)
{
	struct json_object *v = NULL;

	assert_true(json_object_object_get_ex(j, name, &v));
	return v;
}

/* Values too long for the file stand there as length and digest. */
static void
shorten(struct json_object *entry)
{
	const char *text = json_object_get_string(member(entry, "Value"));
	struct buf b = BUF_INIT(1 << 20);
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	if (text == NULL)
		return;
	assert_int_equal(base64_decode(str_from(text), &b), 0);
	if (b.len > 2000) {
		(void)crypto_hash_sha256(hash, b.data, b.len);
		json_object_object_del(entry, "Value");
		json_object_object_add(entry, "ValueLen", json_object_new_int64((int64_t)b.len));
		json_object_object_add(entry, "ValueSHA256",
		    json_object_new_string(sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash))));
	}
	buf_release(&b);
}

static void
view_kv(struct world *w, struct json_object *want)
{
	struct json_object *got = reply(query(w, OP_KV_LIST, "{'Key':''}"));

	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "kv")));
	for (size_t i = 0; i < json_object_array_length(got); i++)
		shorten(json_object_array_get_idx(got, i));
	same("kv", got, member(want, "kv"));
	json_object_put(got);
	(void)get(w, "no/such/key");
	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "kv_missing")));
}

static void
view_one(struct world *w, uint16_t op, const char *request, const char *name, const char *index, struct json_object *want)
{
	struct json_object *got = reply(query(w, op, request));

	same(name, got, member(want, name));
	if (index != NULL)
		assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), index)));
	json_object_put(got);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(json_object_get_string(*(struct json_object *const *)a), json_object_get_string(*(struct json_object *const *)b));
}

/* Consul gives the tags of a service in any order. */
static void
sort_tags(struct json_object *services)
{
	json_object_object_foreach(services, name, tags) {
		(void)name;
		json_object_array_sort(tags, by_text);
	}
}

static void
view_services(struct world *w, struct json_object *want)
{
	struct json_object *got = reply(query(w, OP_CATALOG_SERVICES, "{}"));

	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "services")));
	sort_tags(got);
	sort_tags(member(want, "services"));
	same("services", got, member(want, "services"));
	json_object_put(got);
}

/* The reply for each name in a map of replies. */
static void
view_each(struct world *w, uint16_t op, const char *form, const char *name, struct json_object *want)
{
	json_object_object_foreach(member(want, name), key, val) {
		char request[512];
		struct json_object *got;

		(void)snprintf(request, sizeof(request), form, key);
		got = reply(query(w, op, request));
		same(key, got, val);
		json_object_put(got);
	}
}

static void
view(struct world *w, const char *file)
{
	struct json_object *want = file_json(file);

	view_kv(w, want);
	view_one(w, OP_CATALOG_NODES, "{}", "nodes", "nodes", want);
	view_services(w, want);
	view_one(w, OP_HEALTH_STATE, "{'State':'any'}", "health_any", "health", want);
	view_one(w, OP_SESSION_LIST, NULL, "sessions", "sessions", want);
	view_one(w, OP_AUTOPILOT_CONFIG, NULL, "autopilot", NULL, want);
	view_each(w, OP_CATALOG_SERVICE, "{'Service':'%s'}", "service", want);
	view_each(w, OP_CATALOG_NODE, "{'Node':'%s'}", "node_services", want);
	json_object_put(want);
}

/* ---- tests */

static const char *const good[] = { "a-kv", "b-catalog", "c-acl", "d-mesh" };

static void
test_consuls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct snap_meta meta;
		struct world *w;
		char name[64];

		(void)snprintf(name, sizeof(name), "%s.snap", good[i]);
		w = load(open_data(name), &meta);
		assert_int_equal(meta.version, 1);
		assert_int_equal(meta.term, 2);
		assert_int_equal(meta.configuration_index, 1);
		assert_int_equal(meta.nservers, 1);
		assert_true(meta.servers[0].voter);
		assert_string_equal(meta.servers[0].id, "11111111-2222-3333-4444-555555555555");
		(void)snprintf(name, sizeof(name), "%s.json", good[i]);
		view(w, name);
		world_free(w);
	}
}

/* The tombstones of a recursive delete: one, for the prefix; below it an index of its own. */
static void
test_tombstones(void **state)
{
	struct snap_meta meta;
	struct world *w = load(open_data("a-kv.snap"), &meta);

	(void)state;
	assert_string_equal(list(w, "gone/tree/"), "[]");
	assert_int_equal(w->result_index, 42);
	assert_string_equal(list(w, "gone/"), "[]");
	assert_int_equal(w->result_index, 30);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consuls), cmocka_unit_test(test_tombstones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
