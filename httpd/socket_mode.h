/* socket_mode.h - owner and mode of a Unix socket for clients. */
#ifndef HTTPD_SOCKET_MODE_H
#define HTTPD_SOCKET_MODE_H

#include <json-c/json_object.h>

#include "lib/errs.h"

/* Apply unix_sockets.{user,group,mode} of the slice to the socket at path. Negative with one sentence logged. */
int MUST_CHECK socket_mode_apply(struct json_object *slice, const char *path);

#endif
