/*
 * lease.h - a session kept alive, and what is held by it: a lock (mutex.c) or
 * a slot of a semaphore (semaphore.c), by the recipes of Consul's Go client,
 * so that holders of both kinds of program respect each other.
 */
#ifndef CONSULCTL_CMD_LEASE_H
#define CONSULCTL_CMD_LEASE_H

#include "consulctl/client/client.h"

#define LOCK_FLAGS UINT64_C(0x2ddccbc058a50c18)
#define SEMAPHORE_FLAGS UINT64_C(0xe0f69a2baa414de0)

enum {
	LEASE_TTL_MS = 15 * 1000,	/* of a session that is not renewed */
	LEASE_WAIT_MS = 15 * 1000,	/* of one look at who holds it */
	LEASE_RETRY_MS = 5 * 1000,	/* while a lock-delay forbids taking it */
	LEASE_RENEW_RETRY_MS = 1000,
	LEASE_END_MS = 15 * 1000,	/* for giving it back: an agent that hangs must not keep us */
	LEASE_LOST_MS = 2 * LEASE_TTL_MS - 5000, /* not renewed for so long: others may take it when the child has had its time to end */
	LEASE_ERROR_MAX = REQUEST_ERROR_MAX + 128,
};

/* How acquiring ended, besides negative codes with an error text. */
enum {
	LEASE_HELD = 0,
	LEASE_STOPPED = 1,	/* a signal came, or the time was over */
};

struct lease;

struct lease_recipe {
	const char *behavior;	/* of the session: "" or "delete" */
	int (*acquire)(struct lease *l);
	/* The question by which a holder sees whether it still is one; whether the answer says so. */
	void (*ask)(struct lease *l, struct request *r);
	bool (*still_held)(struct lease *l, struct request *r);
	int (*release)(struct lease *l);
	/* Remove the key. 1: somebody uses it. */
	int (*cleanup)(struct lease *l);
};

extern const struct lease_recipe mutex_recipe, semaphore_recipe;

struct lease {
	struct client_hook hook;	/* fd: our signals; due_ms: the next renewal */
	const struct lease_recipe *recipe;
	struct client *client;
	const char *prefix, *session_name;
	char *key;			/* PREFIX/.lock */
	int limit;
	int64_t wait_ms;		/* give up after; 0: never */
	char *session;			/* NULL: none */
	struct request renewal;
	bool renewing;
	int64_t renewal_ms, renewed_ms;	/* when the last one was sent, and the last one that succeeded */
	char error[LEASE_ERROR_MAX];
};

/* signal_fd: where a signal ends waiting. */
int MUST_CHECK lease_init(struct lease *l, struct client *c, const char *prefix, int limit, const char *session_name,
    int signal_fd);

/* Make the session and acquire. LEASE_HELD, LEASE_STOPPED, or negative with l->error; the session is gone unless held. */
int MUST_CHECK lease_acquire(struct lease *l);

/* Destroys the session if there is still one. */
void lease_release_all(struct lease *l);

/* ---- for the recipes */

/* Set l->error to "<what>: <why>" and return rc. */
int lease_fail(struct lease *l, int rc, const char *what, const char *why);

/* client_call(), which a signal cannot interrupt: what it writes must be known. */
int MUST_CHECK lease_write(struct lease *l, struct request *r);

/* Sleep; true when a signal came. */
bool lease_sleep(struct lease *l, int ms);

/* Milliseconds that one look may wait, at most LEASE_WAIT_MS; 0 when the time is over. started: now_ms() of the beginning. */
int64_t lease_time_left(const struct lease *l, int64_t started);

/* A read of a key or a tree: index and wait of a blocking query (0: neither). */
void lease_ask(struct lease *l, struct request *r, const char *key, bool tree, uint64_t index, int64_t wait_ms);

/* The entries of a done read, as a JSON array; NULL when there are none, also on garbage. */
struct json_object *lease_entries(struct request *r);

#endif
