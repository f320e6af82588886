/*
 * snapshot.c - consulctl snapshot save and restore. Archives go between the
 * agent and a file piece by piece, whatever their size.
 */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/client/client.h"
#include "consulctl/client/errtext.h"
#include "consulctl/commands.h"
#include "lib/snap_archive.h"

/* The one argument; NULL when the error was printed. */
static const char *
file_argument(const struct options *o)
{
	if (o->nargs == 1)
		return o->args[0];
	if (o->nargs == 0)
		fputs("Missing FILE argument\n", stderr);
	else
		fprintf(stderr, "Too many arguments (expected 1, got %d)\n", o->nargs);
	return NULL;
}

/* ---- save */

struct download {
	int fd, rc;	/* rc: the first failed write */
	bool begun;
};

static int
write_piece(void *arg, const void *p, size_t n)
{
	struct download *d = arg;
	const char *from = p;

	d->begun = true;
	while (n > 0) {
		ssize_t done = write(d->fd, from, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			d->rc = -errno;
			return d->rc;
		}
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

static int
download(const struct options *o, struct download *d, uint64_t *ret_index)
{
	struct request r;
	struct client c;
	int rc;

	if (client_open(&c, o) < 0)
		return -EINVAL;
	request_init(&r, "GET", "/v1/snapshot", NULL);
	if (c.stale)
		request_param(&r, "stale", NULL);
	r.ex.sink = write_piece;
	r.ex.sink_arg = d;
	rc = client_call(&c, &r, false);
	if (rc < 0 && d->rc < 0)
		fprintf(stderr, "Error writing unverified snapshot file: %s\n", errtext(d->rc));
	else if (rc < 0)
		fprintf(stderr, "Error %s: %s\n", d->begun ? "writing unverified snapshot file" : "saving snapshot", r.error);
	*ret_index = r.ex.index;
	request_release(&r);
	client_close(&c);
	return rc;
}

static int
verify(int fd)
{
	static const struct snap_sink nothing = { .ctx = NULL };
	char err[SNAP_ERROR_MAX] = "";
	struct snap_meta meta;
	int rc = snap_read(fd, &nothing, &meta, err);

	if (rc < 0)
		fprintf(stderr, "Error verifying snapshot file: %s\n", err);
	return rc;
}

/* The new name must outlast a loss of power as the bytes do. */
static int
sync_directory(const char *file)
{
	char *copy = strdup(file);
	int fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		(void)close(fd);
	free(copy);
	return rc;
}

static int
put_in_place(int fd, const char *unverified, const char *file)
{
	int rc = fsync(fd) < 0 || rename(unverified, file) < 0 ? -errno : sync_directory(file);

	if (rc < 0)
		fprintf(stderr, "Error renaming snapshot file: rename %s %s: %s\n", unverified, file, errtext(rc));
	return rc;
}

static int
run_save(const struct command *cmd, const struct options *o)
{
	const char *file = file_argument(o);
	struct download d = { .fd = -1 };
	uint64_t index = 0;
	char *unverified;
	int rc;

	(void)cmd;
	if (file == NULL)
		return 1;
	if (asprintf(&unverified, "%s.unverified", file) < 0) {
		fprintf(stderr, "Error saving snapshot: %s\n", errtext(-ENOMEM));
		return 1;
	}
	/* It may hold secrets: only its owner reads it. */
	d.fd = open(unverified, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (d.fd < 0) {
		fprintf(stderr, "Error writing unverified snapshot file: open %s: %s\n", unverified, errtext(-errno));
		free(unverified);
		return 1;
	}
	rc = download(o, &d, &index);
	if (rc == 0)
		rc = verify(d.fd);
	if (rc == 0)
		rc = put_in_place(d.fd, unverified, file);
	if (rc < 0)
		(void)unlink(unverified);
	else
		printf("Saved and verified snapshot to index %llu\n", (unsigned long long)index);
	(void)close(d.fd);
	free(unverified);
	return rc < 0 ? 1 : 0;
}

const struct command command_snapshot_save = {
	.name = "snapshot save",
	.summary = "Saves a snapshot of the servers' state to a file",
	.args = "[options] FILE",
	.about = "Asks the leader (with -stale: any server) for a snapshot of its state at one index - keys, sessions, the catalog and "
	    "the rest - and writes it to FILE once it has been checked. The format is Consul's own, and its programs can read "
	    "it. The file is readable by its owner alone, since it may hold secrets.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_save,
};

/* ---- restore */

static int
upload(const struct options *o, struct str body)
{
	struct request r;
	int code;

	request_init(&r, "PUT", "/v1/snapshot", NULL);
	r.ex.body = body;
	code = client_do(o, &r, "Error restoring snapshot");
	request_release(&r);
	if (code == 0)
		puts("Restored snapshot");
	return code;
}

static int
run_restore(const struct command *cmd, const struct options *o)
{
	const char *file = file_argument(o);
	struct stat st = { .st_size = 0 };
	void *map = NULL;
	int fd, code;

	(void)cmd;
	if (file == NULL)
		return 1;
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd < 0 || map == MAP_FAILED) {
		fprintf(stderr, "Error opening snapshot file: open %s: %s\n", file, errtext(-errno));
		if (fd >= 0)
			(void)close(fd);
		return 1;
	}
	code = upload(o, map != NULL ? (struct str){ map, (size_t)st.st_size } : STR(""));
	if (map != NULL)
		(void)munmap(map, (size_t)st.st_size);
	(void)close(fd);
	return code;
}

const struct command command_snapshot_restore = {
	.name = "snapshot restore",
	.summary = "Restores the servers' state from a snapshot",
	.args = "[options] FILE",
	.about = "Replaces the whole state of the servers by that of the snapshot, which may be one of Consul's. What was written since "
	    "it was saved is gone. An archive that is damaged in any way changes nothing. Servers stay who they are: the list "
	    "of servers is not restored.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_restore,
};
