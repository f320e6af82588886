/*
 * checkd.h - what the files of checkd share.
 */
#ifndef CHECKD_CHECKD_H
#define CHECKD_CHECKD_H

#include "checkd/local.h"
#include "checkd/persist.h"
#include "checkd/tokens.h"
#include "lib/acl_gate.h"
#include "lib/daemon.h"

enum {
	HASH_WATCHES_MAX = 4096,	/* waiting agent.service requests */
	REAP_TICK_MS = 30 * 1000,
	REAP_MIN_MS = 60 * 1000,	/* deregister_critical_service_after is not below */
	RECORD_ARENA_MAX = 64 * 1024,		/* texts made for one check */
	REQUEST_ARENA_MAX = 16 * 1024 * 1024,
};

struct sync;
struct agent_tls;
struct curl_loop;
struct tls_trust;
struct processes;
struct schedule;
struct hash_watch;
struct coordinates;
struct watches;
struct rexec;
struct statsd;

struct checkd {
	struct daemon *d;
	struct json_object *started_with;	/* the slice of the start: what needs a restart is compared with it */
	struct rpc_client *raftd, *gossipd;
	struct acl_gate *gate;
	struct tokens tokens;
	bool acls;			/* acl.enabled */
	struct local local;
	struct defer changed;			/* what follows from a change, once a turn */
	struct persist persist;
	struct sync *sync;
	struct agent_tls *agent_tls;	/* NULL: checks do not use it */
	struct tls_trust *tls_trust;	/* of checks by GnuTLS; NULL until one needs it */
	struct curl_loop *curl;		/* NULL until a check needs it */
	struct processes *processes;
	struct schedule *schedule;	/* NULL: no check runs */
	struct coordinates *coordinates;	/* NULL: disabled */
	struct watches *plans;			/* watches.c */
	struct rexec *rexec;			/* NULL: disabled */
	struct statsd *statsd;			/* NULL: nowhere to send to */
	struct script_policy script_policy;
	size_t output_max;			/* check_output_max_size */
	uint64_t update_interval_ms;		/* check_update_interval */
	bool discard_output;
	uv_timer_t *reap;
	struct hash_watch *watches;
	size_t nwatches;
};

/* The names this node goes by, from the slice. */
const char *checkd_node(const struct checkd *cd);
const char *checkd_datacenter(const struct checkd *cd);

/* How much of a check's output is kept. */
size_t checkd_output_max(const struct check *c);

/*
 * Something that agent.* shows or the catalog shall hold has changed: push
 * it, look at aliases and waiting questions again.
 */
void checkd_changed(struct checkd *cd);
/* The work of it, at the end of the turn. */
void checkd_on_changed(struct defer *d);

/* ---- result.c: what a check found */

/* Set status and output of a check, held back or pushed as the rules say. */
void result_set(struct check *c, enum check_status status, struct str output);

/* ---- reap.c: services that were critical for too long */

int MUST_CHECK reap_start(struct checkd *cd);

/* Deregister what is due. */
void reap_now(struct checkd *cd, uint64_t now_ms);

/* Whether a check has kept its service critical for longer than it says. Pure. */
bool reap_is_due(const struct check *c, uint64_t now_ms);

/* ---- ops.c: the operations; permit.h says which rights they take */

extern const struct rpc_route checkd_routes[];
extern const size_t checkd_nroutes;
void checkd_cancelled(void *ctx, struct rpc_token token);

/* Answer waiting agent.service requests whose service has changed. */
void ops_wake(struct checkd *cd);
void ops_release(struct checkd *cd);

/* ---- ops_write.c: behind the gate of ACLs */

/* ops_why.c */
acl_handler op_why;
acl_handler op_service_register, op_service_deregister, op_check_register, op_check_deregister, op_check_update, op_maintenance;

/* ---- reload.c: the definitions of the config files */

/*
 * Bring file definitions in line with a slice: all of them, or, when one is
 * refused, none. ret_why tells which.
 */
int MUST_CHECK reload_definitions(struct checkd *cd, struct json_object *slice, struct refusal *ret_why);

/* Take the keys that may change at run time from a slice. */
void reload_settings(struct checkd *cd, struct json_object *slice);

#endif
