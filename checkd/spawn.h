/*
 * spawn.h - starting a program.
 */
#ifndef CHECKD_SPAWN_H
#define CHECKD_SPAWN_H

#include <sys/types.h>

#include "lib/record.h"

/*
 * Run args[0], looked for in $PATH, in a process group of its own that is
 * numbered by its pid: stdin from /dev/null, stdout and stderr into a pipe
 * whose other end is *ret_fd (non-blocking), no other descriptor of ours, no
 * signal blocked or ignored, and dead when this process dies. Its environment
 * is ours but for what concerns our supervisor and for change (NULL: nothing):
 * "NAME=value" sets, "NAME" takes out. All strings end with a NUL. -errno,
 * also of the exec.
 */
int MUST_CHECK spawn_group(const struct strs *args, const struct strs *change, pid_t *ret_pid, int *ret_fd);

#endif
