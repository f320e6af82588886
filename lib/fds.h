/* fds.h - descriptors that a forked child has from its parent. */
#ifndef LIB_FDS_H
#define LIB_FDS_H

#include <stddef.h>

#include "lib/errs.h"

/*
 * Put /dev/null in the place of every socket and regular file from
 * descriptor 3 on, but for the n in keep: what owns them can then be freed in
 * the usual way without a word to anybody, and nothing is held open for
 * others. Pipes and the kernel's own kinds (epoll, eventfd) stay. -errno.
 */
int MUST_CHECK fds_nullify(const int *keep, size_t n);

#endif
