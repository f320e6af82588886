/*
 * input.h - data that a command line names: literally, as @FILE, or as - for
 * the standard input.
 */
#ifndef CONSULCTL_CMD_INPUT_H
#define CONSULCTL_CMD_INPUT_H

#include "lib/buf.h"

/* Everything, up to the buffer's maximum. -errno or -ELIMIT. */
int MUST_CHECK input_file(const char *path, struct buf *out);
int MUST_CHECK input_fd(int fd, struct buf *out);

/* What arg names. Negative, with a sentence in err: it cannot be read. */
int MUST_CHECK input_argument(const char *arg, struct buf *out, struct buf *err);

#endif
