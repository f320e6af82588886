/*
 * persist.h - registrations that came over the API, kept in the data
 * directory.
 *
 *	services/HASH	{"Token", "Service", "Source", "From", "Since"}
 *	checks/HASH	{"Check", "ChkType", "Token", "Source"}
 *	checks/state/HASH {"CheckID", "Output", "Status", "Expires"} of TTL checks
 *
 * HASH is the SHA-256 of the id in hex. Files appear whole or not at all. A
 * node without a data directory keeps nothing.
 */
#ifndef CHECKD_PERSIST_H
#define CHECKD_PERSIST_H

#include "lib/records.h"

enum { PERSIST_FILE_MAX = 4 * 1024 * 1024 };

enum persist_dir { PERSIST_SERVICES, PERSIST_CHECKS, PERSIST_STATE, PERSIST_DIRS };

struct persist {
	int fd[PERSIST_DIRS];	/* -1: nothing is kept */
};

/* data_dir NULL or "": keep nothing. Negative with one sentence logged. */
int MUST_CHECK persist_open(struct persist *p, const char *data_dir);
void persist_close(struct persist *p);

/* Write; -errno, -ENOMEM. Registrations are synced to disk before these return, states are not. */
int MUST_CHECK persist_service(const struct persist *p, const struct node_service *rec, struct str token, struct str from,
    int64_t since_s);
int MUST_CHECK persist_check(const struct persist *p, const struct health_check *rec, const struct check_def *def);
int MUST_CHECK persist_state(const struct persist *p, struct str id, struct str output, const char *status, int64_t expires_s);

/* Remove the file of an id, if there is one. */
void persist_remove(const struct persist *p, enum persist_dir dir, struct str id);

struct persisted_service {
	struct str token, source;
	struct str from;	/* the client that registered it */
	int64_t since_s;	/* when, Unix time */
	struct node_service service;
};

struct persisted_check {
	struct health_check check;
	struct records def;	/* check_def: 0 or 1 */
	struct str token, source;
};

struct persisted_state {
	struct str check_id, output, status;
	int64_t expires_s;	/* CLOCK_REALTIME */
};

/*
 * Read every file of a directory: rec is the record of its files
 * (&rec_persisted_*), found() gets each, valid during the call. A file that
 * cannot be read is reported in the log and left where it is.
 */
extern const struct record rec_persisted_service, rec_persisted_check, rec_persisted_state;
void persist_load(const struct persist *p, enum persist_dir dir, const struct record *rec, void *arg,
    void (*found)(void *arg, const void *obj));

#endif
