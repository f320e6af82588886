/*
 * daemon_log.h - the DAEMON_LOG operation: lines to subscribers as they are
 * written, as many as they have given credit for; a line without credit is
 * counted, and the count is told when credit comes.
 */
#ifndef LIB_DAEMON_LOG_H
#define LIB_DAEMON_LOG_H

#include "lib/log.h"
#include "lib/rpc.h"

void daemon_log_init(void);
void daemon_log_fini(void);
void daemon_log_subscribe(struct rpc_server *s, const struct rpc_request *req);
void daemon_log_cancelled(struct rpc_token t);

/*
 * For daemons of several processes: changed is called whenever another level
 * is the lowest that somebody subscribed to (LOG_ERR + 1: nobody did), and
 * lines of the other processes go in by daemon_log_line().
 */
void daemon_log_on_level(void (*changed)(void *arg, int lowest), void *arg);
int daemon_log_level(void);
void daemon_log_line(enum log_level l, const char *text, const char *json_text);
void daemon_log_credit(struct rpc_token t, uint32_t credits);

#endif
