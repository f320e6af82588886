/*
 * spawn.h - starting a program.
 */
#ifndef CHECKD_SPAWN_H
#define CHECKD_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/record.h"

enum {
	SPAWN_GROUPS_MAX = 64,
	SPAWN_TASKS_MORE = 1024,	/* processes and threads that a caged program may add to those of the machine */
	SPAWN_TEXT_MAX = 256,
};

/* Whom programs run as; zeroed: as we do. */
struct spawn_user {
	bool set;
	uid_t uid;
	gid_t gid;
	gid_t groups[SPAWN_GROUPS_MAX];
	int ngroups;
	char name[SPAWN_TEXT_MAX], home[SPAWN_TEXT_MAX], shell[SPAWN_TEXT_MAX];
};

struct spawn {
	const struct strs *args;	/* the program and its arguments; strings end with a NUL */
	const struct strs *env;		/* changes of the environment: "NAME=value" sets, "NAME" takes out; NULL: none */
	const struct spawn_user *user;	/* NULL, or not set: as we do */
	const char *mark;		/* one more variable, "NAME=value"; NULL: none */
	bool caged;			/* with the limits of a check's script */
};

/* Allow us as many descriptors as we may have; programs get back what we had. Once, before any is started. */
void spawn_init(void);

/* Look up a user that this process may become: -ENOENT, -EPERM, -ELIMIT (too many groups). Blocks. */
int MUST_CHECK spawn_user_find(const char *name, struct spawn_user *ret);

/*
 * Run a program, looked for in $PATH, in a session and a process group of its
 * own that are numbered by its pid: stdin from /dev/null, stdout and stderr
 * into a pipe whose other end is *ret_fd (non-blocking), no other descriptor
 * of ours, no signal blocked or ignored, no core dump, and dead when this
 * process dies. Its environment is ours but for what concerns our supervisor,
 * and but for the changes; PATH and HOME are always there. Its directory and
 * umask are ours. -errno, also of the exec.
 */
int MUST_CHECK spawn_program(const struct spawn *s, pid_t *ret_pid, int *ret_fd);

#endif
