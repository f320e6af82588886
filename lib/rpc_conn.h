/*
 * rpc_conn.h - what rpc_server.c (connections, requests) and rpc_reply.c
 * (answers) share.
 */
#ifndef LIB_RPC_CONN_H
#define LIB_RPC_CONN_H

#include "lib/link.h"
#include "lib/log.h"
#include "lib/sock.h"

enum {
	SERVER_LISTENERS_MAX = 4,
	SERVER_OPS_MAX = 512,
	SERVER_CONNS_MAX = RPC_CONNS_MAX + RPC_TCP_CONNS_MAX,
	CONN_NAME_MAX = 72,
};

/* The requests of a connection that have no answer yet: a hash table by id, at most half full. */
struct open_req {
	uint32_t id;		/* 0: free */
	uint16_t op;
};

struct open_reqs {
	struct open_req *v;
	size_t n, cap;		/* cap: 0 or a power of two */
};

/* False without memory. The id is not 0 and not in it. */
bool open_add(struct open_reqs *t, uint32_t id, uint16_t op);
bool open_has(const struct open_reqs *t, uint32_t id);
/* False: there is no such request. ret_op may be NULL. */
bool open_remove(struct open_reqs *t, uint32_t id, uint16_t *ret_op);

struct listener;

struct conn {
	struct link link;
	struct rpc_server *server;
	struct listener *listener;
	uint64_t id;			/* generation << 16 | slot */
	uid_t uid;
	pid_t pid;
	char name[CONN_NAME_MAX];	/* for the log: "pid=12", "peer=1.2.3.4:5" */
	union sock_addr addr;		/* TCP */
	uint64_t hello_by_ms;		/* TCP, not greeted: closed then */
	void *peer;			/* TCP: what it was accepted as */
	bool tcp;
	const char *why;		/* it is being closed, for the log */
	struct open_reqs open;
};

struct listener {
	uv_poll_t *poll;
	int fd;
	bool tcp;
	struct rpc_greeter greeter;
	struct rpc_server *server;
};

struct rpc_server {
	struct loop *loop;
	struct rpc_server_config config;
	rpc_handler *handlers[SERVER_OPS_MAX];
	struct listener listeners[SERVER_LISTENERS_MAX];
	size_t nlisteners;
	uv_timer_t *pause, *hello;
	struct conn *conns[SERVER_CONNS_MAX];
	size_t nlocal, ntcp, slots;	/* slots: one past the highest ever used */
	uint64_t generation;
	size_t tcp_in_max;		/* RPC_TCP_IN_MAX */
	size_t begun;			/* where rpc_reply_begin() wrote */
	struct conn *begun_conn;
	struct log_limit refusals;
	bool draining;
	bool starved;			/* of descriptors: told in the log, until everybody who waits is served */
};

struct conn *conn_find(const struct rpc_server *s, uint64_t id);
/* Close it at the end of the turn; rc is why. */
void conn_fail(struct conn *c, int rc);

#endif
