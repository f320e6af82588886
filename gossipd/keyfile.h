/*
 * keyfile.h - the keyring of one pool and the file that it is kept in: read
 * at start, changed by the pool's key queries.
 *
 * A change counts at once and is written by the thread pool. While the file
 * cannot be written each further change is answered with an error.
 */
#ifndef GOSSIPD_KEYFILE_H
#define GOSSIPD_KEYFILE_H

#include <limits.h>

#include "gossipd/serf/serf.h"
#include "gossipd/wire/keyring.h"
#include "lib/daemon.h"

struct pool;

enum {
	KEYFILE_MAX = 64 * 1024,
	KEYFILE_RETRY_MS = 5000,
};

struct keyfile {
	struct pool *p;
	char path[PATH_MAX];
	bool on;			/* keys are kept in the file */
	bool open, busy, again;
	int rc;				/* of the last writing */
	int work_rc;			/* the thread's, while busy */
	struct buf writing;
	uv_work_t work;
	uv_timer_t retry;
	struct log_limit limit;
	/* Of the answer that was given last. */
	char texts[KEYS_MAX][KEY_TEXT_MAX];
	struct str list[KEYS_MAX];
};

/* Fill p->keys: from the file, else from `encrypt` (which makes the file), else nothing. Negative: the reason has been logged. */
int MUST_CHECK keyfile_open(struct keyfile *k, struct pool *p, struct json_object *slice, const char *path);

/* One of the pool's key queries; see serf_hooks.key. */
void keyfile_query(struct keyfile *k, const char *op, struct str key, struct msg_key_response *reply);

bool keyfile_idle(const struct keyfile *k);
void keyfile_close(struct keyfile *k);
void keyfile_release(struct keyfile *k);

#endif
