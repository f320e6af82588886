/*
 * acl_ask.h - asking this node's raftd what a token may do.
 *
 * A daemon that owns something (local services, the pool, the log) does not
 * know tokens: it asks raftd, with the token that it was given, and carries
 * on when the verdict is there. Nothing is remembered between two questions:
 * raftd, one socket away, is who knows when rights change.
 *
 * The token is copied to nowhere but the request's body, which is wiped when
 * it has been sent (lib/rpc_calls.c).
 */
#ifndef LIB_ACL_ASK_H
#define LIB_ACL_ASK_H

#include "lib/rpc.h"

enum {
	ACL_ASK_MS = 10 * 1000,		/* raftd itself may have to ask a server, or to wait for a leader */
	ACL_DENIED_MAX = 512,		/* bytes of a refusal's text */
};

/*
 * The outcome. code 0: the token is known, and allow tells of each question.
 * Else code (403 for a token that is not known, 500 ...) and text are what the
 * client is answered. Valid during the callback only.
 */
struct acl_verdict {
	uint64_t code;
	struct str text;
	struct str accessor;		/* of the token */
	size_t n;
	const struct str *allow;	/* acl_verdict_allows() */
};

/* Whether question i was answered with yes. */
bool acl_verdict_allows(const struct acl_verdict *v, size_t i);

struct acl_ask;
typedef void acl_ask_done(void *arg, const struct acl_verdict *v);

/*
 * Ask n questions (0: only whether the token is known; at most
 * ACL_AUTHORIZE_MAX) about the secret `token` ("" is the anonymous one). done
 * is called once, from the loop, never from here. NULL, with done never
 * called: no memory, or too many open questions.
 */
struct acl_ask *acl_ask_start(struct rpc_client *raftd, struct str token, const struct acl_question *q, size_t n,
    acl_ask_done *done, void *arg);

/* Nobody waits for it any more: done will not be called. NULL is fine. */
void acl_ask_cancel(struct acl_ask *a);

/* One question, as it stands in a table: resource and access from "agent:read". False when there is no such permission ("none"). */
bool acl_question_parse(const char *permission, struct str segment, struct acl_question *ret);

/* The accessor of the anonymous token. */
#define ACL_ANONYMOUS "00000000-0000-0000-0000-000000000002"

/* The sentence for what is denied, in the words that clients know; text is always terminated. */
void acl_denied_text(struct str accessor, const struct acl_question *q, char text[ACL_DENIED_MAX]);

#endif
