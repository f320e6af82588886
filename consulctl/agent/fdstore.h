/*
 * fdstore.h - descriptors that a daemon leaves with its supervisor, to get
 * them back when it is started again.
 *
 * They are mostly listening sockets: as long as they are here, a connection
 * is queued by the kernel and not refused while nobody accepts it.
 */
#ifndef CONSULCTL_AGENT_FDSTORE_H
#define CONSULCTL_AGENT_FDSTORE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum { FDSTORE_MAX = 128, FDNAME_MAX = 63 };

/* All zero: empty. */
struct fdstore {
	struct stored_fd {
		int fd;
		char name[FDNAME_MAX + 1];
	} v[FDSTORE_MAX];
	size_t n;
};

/* Whether a name may stand in LISTEN_FDNAMES: printable, no colon, at most FDNAME_MAX bytes, not empty. */
bool fdname_valid(const char *name);

/*
 * Keep fd, which the store owns from now on in case of success. A socket that
 * is in the store already is closed, and kept under its first name. -EINVAL
 * (name), -ELIMIT (FDSTORE_MAX), -errno.
 */
int MUST_CHECK fdstore_add(struct fdstore *s, const char *name, int fd);

/* Close all of this name; how many there were. */
size_t fdstore_remove(struct fdstore *s, const char *name);

/* Append the names joined by colons, in the order of s->v. */
int MUST_CHECK fdstore_names(const struct fdstore *s, struct buf *out);

/* Close all. */
void fdstore_clear(struct fdstore *s);

#endif
