/*
 * client.h - asking an agent over HTTP: where it is, who we are, and what
 * its answers mean. Texts of errors are those of Consul's command.
 */
#ifndef CONSULCTL_CLIENT_CLIENT_H
#define CONSULCTL_CLIENT_CLIENT_H

#include <json-c/json_object.h>

#include "consulctl/options.h"
#include "consulctl/client/transport.h"

enum { PARAMS_MAX = 80, REQUEST_ERROR_MAX = 4 * KiB };

/*
 * What has to go on while a call waits (a lock's session must be renewed
 * while we wait for the lock). Either part may be absent.
 */
struct client_hook {
	int fd;				/* readable: a call is given up; -1: none */
	int64_t due_ms;			/* by now_ms(): when to call tick at the latest; INT64_MAX: whenever */
	void (*tick)(struct client_hook *h);
};

struct client {
	struct transport *transport;
	char *base;			/* "http://127.0.0.1:8500", as errors show it */
	char *prefix;			/* of every path; "" but behind a gateway */
	char *token, *auth;		/* NULL: none; auth is "user:password" */
	const char *datacenter;		/* "": the agent's */
	bool stale;
	struct client_hook *hook;
	int64_t give_up_ms;		/* by now_ms(): calls end with -ETIMEDOUT then; 0: they have all the time */
};

/* From flags and environment. On failure the error has been printed. */
int MUST_CHECK client_open(struct client *c, const struct options *o);
void client_close(struct client *c);

struct param {
	const char *name;
	char *value;
};

struct request {
	struct exchange ex;
	struct param params[PARAMS_MAX];
	size_t nparams;
	int rc;				/* the first error of building it; sticky */
	char error[REQUEST_ERROR_MAX];	/* a sentence, once something failed */
};

/* path is literal; tail (NULL: none) is escaped and added to it. */
void request_init(struct request *r, const char *method, const char *path, const char *tail);
void request_release(struct request *r);

/* name is borrowed, value (NULL: empty) copied. */
void request_param(struct request *r, const char *name, const char *value);
void request_param_u64(struct request *r, const char *name, uint64_t value);

/* Start it and return; the answer (or ex.rc) is there once client_wait() made ex.done true. */
void client_begin(struct client *c, struct request *r);
void client_cancel(struct client *c, struct request *r);

/* Wait for any exchange to move, at most timeout_ms (-1: for ever). 1 when the hook's descriptor is readable. */
int client_wait(struct client *c, int timeout_ms);

/* Judge one that is done: 0 for 200; 1 for 404 when may_miss; else negative with r->error. */
int MUST_CHECK client_judge(const struct client *c, struct request *r, bool may_miss);

/* Send it, wait for the answer and judge it. -ECANCELED when the hook's descriptor became readable, -ETIMEDOUT. */
int MUST_CHECK client_call(struct client *c, struct request *r, bool may_miss);

/* The answer as JSON; NULL with r->error when it is none, NULL with *ret_null for a null. The caller puts it. */
struct json_object *request_json(struct request *r, bool *ret_null);

/* The answer's text is "true". */
bool request_true(const struct request *r);

/*
 * The whole of a simple command: connect, send r, wait. Prints "<failure>:
 * <error>" when that fails. The exit code.
 */
int client_do(const struct options *o, struct request *r, const char *failure);

/* The name of the agent's node, as Consul's commands ask first. The caller frees; NULL when the error was printed. */
char *client_node_name(struct client *c);

/* Milliseconds of CLOCK_BOOTTIME: a machine that slept must not believe that it still holds a lock. */
int64_t now_ms(void);

#endif
