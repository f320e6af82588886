/*
 * net.h - what net.c (connections of ours) and greet.c (who is at the other
 * end) share.
 */
#ifndef RAFTD_NET_H
#define RAFTD_NET_H

#include "lib/sock.h"
#include "raftd/raftd.h"

enum { NET_STRANGERS_MAX = 2 * RAFT_SERVERS_MAX };	/* servers that greeted us and are not in the configuration */

enum purpose { FOR_RAFT, FOR_FORWARD, FOR_JOIN, PURPOSES };

/* One connection of ours, and what was last said about it in the log. */
struct line {
	struct net *net;
	struct server *server;		/* NULL: to anybody, of net_client() */
	enum purpose purpose;
	struct rpc_client *client;
	uint64_t said_ms;
	int said;
};

/* Another server. */
struct server {
	struct server *next;
	uint64_t id;
	char ip[SERVER_IP_MAX], address[SOCK_ADDR_TEXT_MAX];
	uint16_t port;
	bool configured;		/* in our configuration; else it has a connection to us */
	char cluster[17];		/* as its own greeting said; "": it has not */
	bool moved;			/* to a new address: the core is told that the old connection has gone */
	struct line raft, forward;
};

struct net {
	struct raftd *r;
	char *from;			/* the address to connect from, NULL: any */
	struct server *servers;
	struct line any[PURPOSES];	/* of net_client() */
	struct net_peer *peers;		/* who greeted us */
	struct defer moved;
	struct log_limit refused, strangers;
	bool listening;
};

/* ---- net.c */

/* Know this server at this address, with a connection for messages. NULL: the address is none, or no memory. */
struct server *net_keep(struct net *n, uint64_t id, struct str address);
struct server *net_find(const struct net *n, uint64_t id);
/* Let go of it when we are no longer to talk to it, and it does not talk to us. */
void net_forget_if_idle(struct net *n, struct server *s);

/* ---- greet.c */

/* The purpose of this name; PURPOSES: none. */
enum purpose greet_purpose(const char *name);
const char *greet_purpose_name(enum purpose p);
/* For struct rpc_greeting; arg is the struct line. */
int greet_say(void *arg, struct buf *body);
int greet_answered(void *arg, const struct rpc_answer *a);
/* For struct rpc_greeter; ctx is the struct net. */
void *greet_hear(void *ctx, const struct rpc_request *req, struct buf *reply, char err[256]);
void greet_gone(void *ctx, void *peer, bool reset);
/* Whose messages come on a connection to us; NULL: it has none. */
struct net_peer *greet_raft_peer(const struct net *n, uint64_t id);

#endif
