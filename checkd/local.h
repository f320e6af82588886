/*
 * local.h - this node's own services and checks, as the catalog shall have
 * them.
 *
 * Every entry has a version that moves with each change, and is dirty until
 * the catalog is known to hold that version. A removed entry stays, without
 * its record's meaning, until the catalog has forgotten it as well.
 *
 * Entries are kept in the bytewise order of their ids, in which they are
 * shown.
 */
#ifndef CHECKD_LOCAL_H
#define CHECKD_LOCAL_H

#include "checkd/definition.h"
#include "checkd/schedule.h"
#include "checkd/status.h"
#include "lib/records.h"

enum {
	LOCAL_SERVICES_MAX = 65536,
	LOCAL_CHECKS_MAX = 131072,
	CHECK_OUTPUT_MAX = 4096,	/* of what a check says, unless check_output_max_size or its definition differ */
};

/* How far the catalog is behind. */
struct entry_sync {
	uint64_t version;
	bool dirty;		/* the catalog differs, or is not known to be equal */
	bool deleted;		/* gone here, to be taken out of the catalog */
	bool pushing;		/* a write about it is on its way, */
	uint64_t pushed;	/* with this version */
	bool denied;		/* the catalog would not take it, which has been said */
	bool there;		/* the catalog has one of this id, in whatever form */
};

struct checkd;

struct service {
	char *id;
	struct node_service *rec;	/* NULL only for one that the catalog alone knows */
	struct node_service *defined;	/* as it was registered, while the tags are the catalog's; else NULL */
	char *token;
	enum source source;
	char *from;			/* who said so: "FILE:LINE", or the client's address; NULL: not known */
	int64_t since_s;		/* when, Unix time; 0: not known */
	struct entry_sync sync;
};

struct check {
	char *id;
	struct checkd *cd;
	struct health_check *rec;	/* what does not change; status and output are below */
	struct check_def *def;		/* NULL: nothing runs it (maintenance) */
	enum source source;
	enum check_status status;
	struct str output;		/* malloc'ed */
	uint64_t critical_since_ms;	/* 0: it is not */
	uint64_t result_ms;		/* of the last result, clock_ms(); 0: none yet */
	struct entry_sync sync;
	struct runner runner;
	uv_timer_t *hold;		/* a new output waits to be pushed */
};

struct local {
	struct checkd *cd;		/* given to each check */
	struct service **services;
	struct check **checks;
	size_t nservices, nchecks, services_cap, checks_cap;
	uint64_t changes;		/* of whatever agent.* shows */
	bool resumed;			/* checkd alone was started again: the catalog has what checks found a moment ago */
	size_t adopted;			/* checks that took it over */
};

void local_release(struct local *l);

/* One that is there, not a removed one; NULL otherwise. */
struct service *local_service(const struct local *l, struct str id);
struct check *local_check(const struct local *l, struct str id);

/* The entry whatever its state. */
struct service *local_service_entry(const struct local *l, struct str id);
struct check *local_check_entry(const struct local *l, struct str id);

/*
 * Add or replace; rec and token are copied. An equal record stays in step
 * with the catalog; one that is as it was registered before keeps the tags
 * that were taken over from there (enable_tag_override). -ENOMEM, -ELIMIT (LOCAL_*_MAX).
 */
int MUST_CHECK local_put_service(struct local *l, const struct node_service *rec, struct str token, enum source source,
    struct service **ret);

/* Note who registered it (copied; without memory it is not known), and when. */
void local_note_origin(struct service *s, struct str from, int64_t since_s);

/* Take over the tags that the catalog has of a service. -ENOMEM. */
int MUST_CHECK local_adopt_tags(struct local *l, struct service *s, const struct strs *tags);

/*
 * Add or replace the record and definition of a check (def may be NULL);
 * a check that was there keeps status and output, else they are as given.
 * Its runner is left as it was.
 */
int MUST_CHECK local_put_check(struct local *l, const struct health_check *rec, const struct check_def *def, enum source source,
    enum check_status status, struct str output, struct check **ret);

/* Mark as removed; the checks of a service are the caller's to remove before. */
void local_remove_service(struct local *l, struct service *s);
void local_remove_check(struct local *l, struct check *c);

/* The catalog has something that is not ours: an entry that only waits to be deregistered. rec (for its service) may be NULL. */
int MUST_CHECK local_ghost_service(struct local *l, struct str id);
int MUST_CHECK local_ghost_check(struct local *l, const struct health_check *rec);

/* Drop a removed entry for good. */
void local_forget_service(struct local *l, struct service *s);
void local_forget_check(struct local *l, struct check *c);

void local_touch(struct entry_sync *s);

/* Take over what the catalog has of a check that has not run yet. -ENOMEM. */
int MUST_CHECK local_adopt_result(struct local *l, struct check *c, enum check_status status, struct str output);

/* What the catalog shall hold of a check; members point into it. */
void local_check_record(const struct check *c, struct health_check *ret);

/* Worst status of the checks of a service and of those of the node. */
struct status_sum local_service_status(const struct local *l, const struct service *s);

#endif
