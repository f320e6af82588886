/*
 * spawn.h - starting a check's program.
 */
#ifndef CHECKD_SPAWN_H
#define CHECKD_SPAWN_H

#include <sys/types.h>

#include "lib/record.h"

/*
 * Run args[0], looked for in $PATH, in a process group of its own that is
 * numbered by its pid: stdin from /dev/null, stdout and stderr into a pipe
 * whose other end is *ret_fd (non-blocking), no other descriptor of ours, no
 * signal blocked or ignored, and dead when this process dies. -errno, also
 * of the exec.
 */
int MUST_CHECK spawn_group(const struct strs *args, pid_t *ret_pid, int *ret_fd);

#endif
