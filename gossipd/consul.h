/*
 * consul.h - Consul's rules above Serf: who is a server, and who may be in
 * our pool (shared/spec/gossip-protocol.md sections 6.2, 6.3). Pure.
 */
#ifndef GOSSIPD_CONSUL_H
#define GOSSIPD_CONSUL_H

#include "gossipd/wire/wire.h"

/* Who we are, for the rules. */
struct consul_self {
	struct str name, id, dc, segment;
	bool wan;
};

/* What a server's tags say. */
struct consul_server {
	struct str dc, id;
	uint16_t port, wan_join_port;	/* 0: does not say */
};

/* Whether these are the tags of a server; ret may be NULL. */
bool consul_is_server(const struct strmap *tags, struct consul_server *ret);

/* May the member of this alive message be in our pool? -EINVAL with a sentence; a out of memory refuses too. */
int MUST_CHECK consul_admit(const struct consul_self *self, const struct msg_alive *m, struct arena *a, char err[256]);

/* May those of a whole push/pull? */
int MUST_CHECK consul_admit_all(const struct consul_self *self, const struct msg_alive *rows, size_t n, struct arena *a, char err[256]);

#endif
