/*
 * rpc_client.h - what rpc_client.c (the connection) and rpc_calls.c (what is
 * asked on it) share.
 */
#ifndef LIB_RPC_CLIENT_H
#define LIB_RPC_CLIENT_H

#include "lib/link.h"
#include "lib/sock.h"

/* Of peer.hello: no call has it, since its slot would be above RPC_REQUESTS_MAX. */
#define HELLO_ID UINT32_MAX

/* Between attempts to connect. */
struct backoff {
	unsigned min_ms, max_ms;
};

/* An open call; body is kept while it may have to be sent again. */
struct call {
	struct call *next;	/* free list */
	uint32_t id;		/* slot + 1, with a generation above */
	uint16_t op;
	unsigned flags;
	uint64_t deadline_ms;	/* 0: none */
	bool open, sent;
	struct buf body;
	rpc_answer_cb *cb;
	void *arg;
};

/*
 * linked: there is a socket. ready: it is connected and, over TCP, greeted.
 * The timer `retry` runs while it is not linked (the next attempt) and, over
 * TCP, while it is linked and not ready (the end of this attempt).
 */
struct rpc_client {
	struct loop *loop;
	int rundir_fd;
	char name[SOCK_ADDR_TEXT_MAX];
	bool tcp, bound;	/* bound: to the local address `from` */
	union sock_addr addr, from;
	struct rpc_greeting greeting;
	struct link link;
	bool linked, ready;
	bool freed;		/* its memory goes when libuv has let go of the timers */
	uv_timer_t retry, sweep;
	int timers;
	const struct backoff *backoff;
	unsigned backoff_ms;
	size_t post;		/* where rpc_post_begin() wrote */
	uint16_t post_op;
	struct call **calls;	/* by slot */
	size_t ncalls, nopen;
	struct call *spare;
	void (*on_state)(void *arg, bool connected);
	void *state_arg;
};

/* ---- rpc_client.c */

/* Connect at once unless it is connected or planned. */
void client_wake(struct rpc_client *c);

/* ---- rpc_calls.c */

/* The connection is there: what waits for it goes out. */
void calls_begin(struct rpc_client *c);
/* It has gone: calls that may be repeated wait for the next one, the others end here. */
void calls_lost(struct rpc_client *c);
/* A reply or an event. */
void calls_answer(struct rpc_client *c, uint32_t id, const struct rpc_answer *a);
void calls_sweep(uv_timer_t *t);
/* None is answered any more. */
void calls_drop(struct rpc_client *c);
void calls_free(struct rpc_client *c);

#endif
