/* persist.c - registrations kept in the data directory. */
#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkd/persist.h"
#include "lib/json.h"
#include "lib/log.h"

enum { HASH_TEXT = crypto_hash_sha256_BYTES * 2 + 1, LOAD_ARENA_MAX = 8 * 1024 * 1024 };

static const char *const dir_names[] = { "services", "checks", "checks/state" };

static const struct field f_persisted_service[] = {
	FIELD(persisted_service, token, "Token", F_STR, 0),
	FIELD_SUB(persisted_service, service, "Service", F_RECORD, 0, rec_node_service),
	FIELD(persisted_service, source, "Source", F_STR, 0),
	FIELD(persisted_service, from, "From", F_STR, FF_OMITEMPTY),
	FIELD(persisted_service, since_s, "Since", F_INT, FF_OMITEMPTY),
};
RECORD(rec_persisted_service, persisted_service, "PersistedService", f_persisted_service);

static const struct field f_persisted_check[] = {
	FIELD_SUB(persisted_check, check, "Check", F_RECORD, 0, rec_health_check),
	FIELD_SUB(persisted_check, def, "ChkType", F_RECORDS, FF_OMITEMPTY, rec_check_def),
	FIELD(persisted_check, token, "Token", F_STR, 0),
	FIELD(persisted_check, source, "Source", F_STR, 0),
};
RECORD(rec_persisted_check, persisted_check, "PersistedCheck", f_persisted_check);

static const struct field f_persisted_state[] = {
	FIELD(persisted_state, check_id, "CheckID", F_STR, 0),
	FIELD(persisted_state, output, "Output", F_STR, 0),
	FIELD(persisted_state, status, "Status", F_STR, 0),
	FIELD(persisted_state, expires_s, "Expires", F_INT, 0),
};
RECORD(rec_persisted_state, persisted_state, "PersistedState", f_persisted_state);

int
persist_open(struct persist *p, const char *data_dir)
{
	int base, rc = 0;

	for (int i = 0; i < PERSIST_DIRS; i++)
		p->fd[i] = -1;
	if (data_dir == NULL || data_dir[0] == '\0')
		return 0;
	base = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0) {
		rc = -errno;
		log_err("agent", "cannot open the data directory %s: %s", data_dir, err_text(rc));
		return rc;
	}
	for (int i = 0; rc == 0 && i < PERSIST_DIRS; i++) {
		if (mkdirat(base, dir_names[i], 0700) < 0 && errno != EEXIST)
			rc = -errno;
		else if ((p->fd[i] = openat(base, dir_names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			rc = -errno;
		if (rc < 0)
			log_err("agent", "cannot use the directory %s/%s: %s", data_dir, dir_names[i], err_text(rc));
	}
	close(base);
	return rc;
}

void
persist_close(struct persist *p)
{
	for (int i = 0; i < PERSIST_DIRS; i++) {
		if (p->fd[i] >= 0)
			close(p->fd[i]);
		p->fd[i] = -1;
	}
}

static void
file_name(struct str id, char text[HASH_TEXT])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, (const unsigned char *)id.p, id.len);
	sodium_bin2hex(text, HASH_TEXT, hash, sizeof(hash));
}

static int
write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* Whole or not at all: written beside, then renamed. */
static int
write_file(int dir, struct str id, const struct buf *text, bool sync)
{
	char name[HASH_TEXT], tmp[HASH_TEXT + 4];
	int fd, rc;

	file_name(id, name);
	snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text->data, text->len);
	if (rc == 0 && sync && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(dir, tmp, dir, name) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlinkat(dir, tmp, 0);
	else if (sync && fsync(dir) < 0)
		rc = -errno;
	return rc;
}

static int
store(const struct persist *p, enum persist_dir dir, struct str id, const struct record *rec, const void *obj, bool sync)
{
	struct buf mp = BUF_INIT(PERSIST_FILE_MAX), text = BUF_INIT(PERSIST_FILE_MAX);
	struct mp_w w = mp_w_init(&mp);
	struct mp_r r;
	int rc;

	if (p->fd[dir] < 0)
		return 0;
	record_encode(rec, obj, RECORD_WHOLE, &w);
	rc = w.err;
	if (rc == 0) {
		r = mp_r_init(mp.data, mp.len);
		rc = json_from_mp(&text, &r, NULL);
	}
	if (rc == 0)
		rc = write_file(p->fd[dir], id, &text, sync);
	buf_release(&mp);
	buf_release(&text);
	return rc;
}

int
persist_service(const struct persist *p, const struct node_service *rec, struct str token, struct str from, int64_t since_s)
{
	struct persisted_service s = { .token = token, .source = STR("remote"), .from = from, .since_s = since_s, .service = *rec };

	return store(p, PERSIST_SERVICES, rec->id, &rec_persisted_service, &s, true);
}

int
persist_check(const struct persist *p, const struct health_check *rec, const struct check_def *def)
{
	struct persisted_check c = { .check = *rec, .source = STR("remote") };

	if (def != NULL) {
		c.def = (struct records){ (void *)(uintptr_t)def, 1 };
		c.token = def->token;
	}
	return store(p, PERSIST_CHECKS, rec->check_id, &rec_persisted_check, &c, true);
}

int
persist_state(const struct persist *p, struct str id, struct str output, const char *status, int64_t expires_s)
{
	struct persisted_state s = { id, output, str_from(status), expires_s };

	return store(p, PERSIST_STATE, id, &rec_persisted_state, &s, false);
}

void
persist_remove(const struct persist *p, enum persist_dir dir, struct str id)
{
	char name[HASH_TEXT];

	if (p->fd[dir] < 0)
		return;
	file_name(id, name);
	if (unlinkat(p->fd[dir], name, 0) < 0 && errno != ENOENT)
		log_err("agent", "cannot remove a persisted registration: id=\"%.*s\" error=\"%s\"", STR_ARG(id), err_text(-errno));
}

/* ---- reading */

static int
read_file(int dir, const char *name, struct buf *b, const char **ret_why)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_why = err_text(-errno);
	} else if (!S_ISREG(st.st_mode)) {
		*ret_why = "not a file";
	} else {
		*ret_why = "too large";
		while (buf_reserve(b, 4 * KiB) == 0) {
			n = read(fd, b->data + b->len, b->cap - b->len);
			if (n < 0)
				*ret_why = err_text(-errno);
			if (n <= 0)
				break;
			b->len += (size_t)n;
		}
	}
	if (fd >= 0)
		close(fd);
	return n == 0 ? 0 : -EIO;
}

static void
load_file(int dir, const char *name, const struct record *rec, void *arg, void (*found)(void *arg, const void *obj))
{
	struct buf b = BUF_INIT(PERSIST_FILE_MAX);
	struct arena a = ARENA_INIT(LOAD_ARENA_MAX);
	struct json_object *j = NULL;
	char err[256] = "null";
	const char *why = err;
	bool null = false;
	void *obj = NULL;

	if (read_file(dir, name, &b, &why) < 0)
		goto out;
	why = err;
	j = json_parse((const char *)b.data, b.len, &null, err, sizeof(err));
	if (j == NULL)
		goto out;
	obj = calloc(1, rec->size);
	if (obj == NULL || record_from_json(rec, j, obj, &a, false, err, sizeof(err)) < 0)
		goto out;
	found(arg, obj);
	why = NULL;
out:
	if (why != NULL)
		log_err("agent", "cannot read a persisted registration, skipping it: file=%s error=\"%s\"", name, why);
	free(obj);
	json_object_put(j);
	arena_release(&a);
	buf_release(&b);
}

void
persist_load(const struct persist *p, enum persist_dir dir, const struct record *rec, void *arg,
    void (*found)(void *arg, const void *obj))
{
	struct dirent *e;
	DIR *dp;
	int fd;

	if (p->fd[dir] < 0)
		return;
	fd = openat(p->fd[dir], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dp = fd >= 0 ? fdopendir(fd) : NULL;
	if (dp == NULL) {
		log_err("agent", "cannot read the directory %s: error=\"%s\"", dir_names[dir], err_text(-errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(dp)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len == HASH_TEXT - 1)
			load_file(p->fd[dir], e->d_name, rec, arg, found);
		else if (len == HASH_TEXT + 3 && strcmp(e->d_name + HASH_TEXT - 1, ".tmp") == 0)
			(void)unlinkat(p->fd[dir], e->d_name, 0);	/* left by a write that was cut off */
	}
	closedir(dp);
}
