/*
 * archive.h - snapshot archives in files without names, and the state they give.
 */
#ifndef T_UNIT_ARCHIVE_H
#define T_UNIT_ARCHIVE_H

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "raftd/archive/archive.h"
#include "t/unit/fsm_image.h"

enum { FILE_MAX = 4 << 20 };

/* Saved by Consul: NAME.snap, and in NAME.json the API's view of it. */
static const char *const good[] UNUSED = { "a-kv", "b-catalog", "c-acl", "d-mesh" };

/* ---- files */

static UNUSED const char *
data_path(const char *name)
{
	static char path[4096];
	const char *src = getenv("SRCDIR");

	(void)snprintf(path, sizeof(path), "%s/t/data/snapshots/%s", src != NULL ? src : ".", name);
	return path;
}

static UNUSED int
scratch(void)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static UNUSED void
read_fd(int fd, struct buf *out)
{
	char chunk[65536];
	ssize_t n;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		assert_int_equal(buf_add(out, chunk, (size_t)n), 0);
	assert_int_equal(n, 0);
}

static UNUSED int
fd_of(const void *p, size_t n)
{
	int fd = scratch();

	assert_int_equal(write(fd, p, n), n);
	return fd;
}

static UNUSED int
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

static UNUSED int
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
static UNUSED struct world *
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
static UNUSED void
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

/* ---- what an archive holds, record by record */

struct listing {
	struct json_object *records;	/* [kind, value] each, nothing that is nil or empty */
	struct buf bytes;		/* kinds and values as they stand */
};

/* Consul has nil or empty in some places for the same. */
static UNUSED struct json_object *
without_empty(struct json_object *j)
{
	struct json_object *out;

	if (json_object_is_type(j, json_type_object)) {
		out = json_object_new_object();
		json_object_object_foreach(j, name, v) {
			struct json_object *kept = without_empty(v);

			if (kept != NULL)
				json_object_object_add(out, name, kept);
		}
		if (json_object_object_length(out) > 0)
			return out;
		json_object_put(out);
		return NULL;
	}
	if (json_object_is_type(j, json_type_array)) {
		if (json_object_array_length(j) == 0)
			return NULL;
		out = json_object_new_array();
		for (size_t i = 0; i < json_object_array_length(j); i++)
			json_object_array_add(out, without_empty(json_object_array_get_idx(j, i)));
		return out;
	}
	return json_object_get(j);
}

static UNUSED int
on_listed(void *ctx, unsigned kind, struct str value, uint64_t offset, char ret_err[SNAP_ERROR_MAX])
{
	struct listing *l = ctx;
	struct buf json = BUF_INIT(FILE_MAX);
	struct mp_r r = mp_r_init(value.p, value.len);
	struct json_object *one = json_object_new_array(), *v;

	(void)offset;
	(void)ret_err;
	assert_int_equal(buf_addc(&l->bytes, (uint8_t)kind), 0);
	assert_int_equal(buf_add(&l->bytes, value.p, value.len), 0);
	assert_int_equal(json_from_mp(&json, &r, NULL), 0);
	v = json_tokener_parse(buf_cstr(&json));
	json_object_array_add(one, json_object_new_int((int)kind));
	json_object_array_add(one, without_empty(v));
	json_object_array_add(l->records, one);
	json_object_put(v);
	buf_release(&json);
	return 0;
}

static UNUSED int
on_header(void *ctx, uint64_t last)
{
	struct listing *l = ctx;

	json_object_array_add(l->records, json_object_new_int64((int64_t)last));
	return 0;
}

/* The caller's fd is closed. */
static UNUSED void
list_records(int fd, struct listing *ret)
{
	const struct snap_sink sink = { .ctx = ret, .header = on_header, .record = on_listed };
	struct snap_meta meta;
	char err[SNAP_ERROR_MAX] = "";

	*ret = (struct listing){ json_object_new_array(), BUF_INIT(FILE_MAX) };
	if (snap_read(fd, &sink, &meta, err) < 0)
		fail_msg("%s", err);
	(void)close(fd);
}

static UNUSED void
listing_free(struct listing *l)
{
	json_object_put(l->records);
	buf_release(&l->bytes);
}

static UNUSED int
save(struct world *w, const struct snap_meta *meta)
{
	char err[SNAP_ERROR_MAX] = "";
	int fd = scratch();

	if (archive_save(w->f, meta, 1795400860793, fd, err) < 0)
		fail_msg("%s", err);
	return fd;
}

#endif
