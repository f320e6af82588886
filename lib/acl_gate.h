/*
 * acl_gate.h - serving requests whose answer depends on what their token may
 * do, in daemons that have to ask raftd for that.
 *
 * A handler behind the gate is a function that may be called several times
 * for one request. It says what it wants to know with acl_may(); while some
 * of it is not known yet acl_pending() is true, and the handler returns
 * without having done or answered anything. The gate keeps the request, asks
 * raftd for all that was missing in one question, and calls the handler
 * again. So a decision is always made on the state of the moment: what
 * changed meanwhile leads to another question, not to an answer about the past.
 *
 *	void handler(void *ctx, const struct rpc_request *req, struct acl_facts *f)
 *	{
 *		... decode, look up ...
 *		bool ok = acl_may(f, "service", name, "read");
 *		if (acl_pending(f))
 *			return;
 *		if (!ok) { acl_refuse(f); return; }
 *		... do, answer ...
 *	}
 *
 * With ACLs off, and for a daemon's own question (QueryOptions.Internal, which
 * httpd never sets for a client), everything is allowed and nothing is asked.
 */
#ifndef LIB_ACL_GATE_H
#define LIB_ACL_GATE_H

#include "lib/acl_ask.h"

enum {
	ACL_GATE_WAITING_MAX = 4096,		/* requests that wait for raftd */
	ACL_GATE_BYTES_MAX = 64 * 1024 * 1024,	/* of their bodies */
	ACL_GATE_FACTS_MAX = 16 * 1024 * 1024,	/* bytes of what one of them asks */
	ACL_GATE_ROUNDS_MAX = 64,		/* questions sent for one of them */
};

struct acl_gate;
struct acl_facts;
typedef void acl_handler(void *ctx, const struct rpc_request *req, struct acl_facts *f);

/* A gate in front of the operations of a server. NULL without memory. enabled: acl.enabled. */
struct acl_gate *acl_gate_new(struct rpc_client *raftd, bool enabled);

/* Drops all that waits; before the client of raftd is freed. NULL is fine. */
void acl_gate_free(struct acl_gate *g);

/* Serve a request through the gate: fn is called with it, now and perhaps later. */
void acl_gate_serve(struct acl_gate *g, struct rpc_server *s, void *ctx, const struct rpc_request *req, acl_handler *fn);

/* Its asker does not wait any more; false: not one of ours. */
bool acl_gate_cancelled(struct acl_gate *g, struct rpc_token token);

/*
 * A request that waits for something else than its rights, whole: when that
 * has come it goes through the gate anew, with the rights of then.
 */
struct acl_kept {
	struct rpc_request req;
	uint8_t *body;
};
/* A copy of req; -ENOMEM. */
int MUST_CHECK acl_keep(struct acl_kept *k, const struct rpc_request *req);
/* Wipes it. Fine on one that is all zero. */
void acl_kept_release(struct acl_kept *k);

/* How many wait. */
size_t acl_gate_waiting(const struct acl_gate *g);

/*
 * ---- for handlers
 *
 * resource and access are constants ("service", "read"); segment is copied.
 * acl_may() is false as long as it is not known.
 */
bool acl_may(struct acl_facts *f, const char *resource, struct str segment, const char *access);

/* Whether the handler has to return and wait for the answers. */
bool acl_pending(const struct acl_facts *f);

/* Whether nothing is looked at: ACLs are off, or it is a daemon's own question. */
bool acl_open(const struct acl_facts *f);

/* Whether it is a daemon's own question. With ACLs off, too. */
bool acl_internal(const struct acl_facts *f);

/* Answer 403 with the sentence for the last acl_may() that was false; acl_refuse_missing() in the short words of Consul's agent for changes. */
void acl_refuse(const struct acl_facts *f);
void acl_refuse_missing(const struct acl_facts *f);

/* QueryMeta's mark for a list from which something was left out: those without a token are not told. */
bool acl_filtered(const struct acl_facts *f, bool hidden);

#endif
