/*
 * notify.h - systemd's notify protocol (sd_notify(3), LISTEN_FDS in
 * sd_listen_fds(3)), the daemon's half.
 */
#ifndef LIB_NOTIFY_H
#define LIB_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/errs.h"

/* Send "READY=1" and the like to $NOTIFY_SOCKET; 0 also when there is none. -errno. */
int notify_send(const char *state);

/* Store a descriptor under a name (FDSTORE=1, FDNAME=name). */
int notify_store(const char *name, int fd);

/* The handed-down descriptor of this name, close-on-exec, each given out once; -ENOENT when there is none. */
int notify_take(const char *name);

/* Close handed-down descriptors nobody took; unset the environment variables. */
void notify_close_rest(void);

/* Interval in ms at which WATCHDOG=1 is wanted ($WATCHDOG_USEC / 2), 0 for none. */
uint64_t notify_watchdog_ms(void);

#endif
