/*
 * mutex.c - a lock: the key PREFIX/.lock, acquired by one session.
 */
#include <stdlib.h>

#include "consulctl/cmd/lease.h"
#include "consulctl/value.h"

enum { FREE = 2, TAKEN = 3 };	/* beside LEASE_HELD and LEASE_STOPPED */

/* What an answer says of the key, and the index to wait behind. */
static int
judge(struct lease *l, struct request *r, uint64_t *ret_index)
{
	struct json_object *list = lease_entries(r), *e = value_at(list, 0);
	const char *session = value_text(e, "Session");
	int state = FREE;

	*ret_index = r->ex.index;
	if (e != NULL && value_u64(e, "Flags") != LOCK_FLAGS) {
		state = -EEXIST;
		(void)snprintf(l->error, sizeof(l->error), "Existing key does not match lock use");
	} else if (strcmp(session, l->session) == 0) {
		state = LEASE_HELD;
	} else if (*session != '\0') {
		state = TAKEN;
	}
	json_object_put(list);
	return state;
}

static int
look(struct lease *l, uint64_t index, int64_t wait_ms, uint64_t *ret_index)
{
	struct request r;
	int rc;

	lease_ask(l, &r, l->key, false, index, wait_ms);
	rc = client_call(l->client, &r, true);
	if (rc == -ECANCELED)
		rc = LEASE_STOPPED;
	else if (rc < 0)
		rc = lease_fail(l, rc, "failed to read lock", r.error);
	else
		rc = judge(l, &r, ret_index);
	request_release(&r);
	return rc;
}

/* LEASE_HELD, TAKEN (or a lock-delay), or negative. */
static int
try_acquire(struct lease *l)
{
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/kv/", l->key);
	request_param(&r, "acquire", l->session);
	request_param_u64(&r, "flags", LOCK_FLAGS);
	rc = lease_write(l, &r);
	if (rc < 0)
		rc = lease_fail(l, rc, "failed to acquire lock", r.error);
	else
		rc = request_true(&r) ? LEASE_HELD : TAKEN;
	request_release(&r);
	return rc;
}

/* After a refusal: somebody else was quicker, whom to wait for, or a lock-delay is running, which only time ends. */
static int
after_refusal(struct lease *l, uint64_t *index)
{
	int state = look(l, 0, 0, index);

	if (state != FREE)
		return state;
	*index = 0;
	return lease_sleep(l, LEASE_RETRY_MS) ? LEASE_STOPPED : TAKEN;
}

static int
acquire(struct lease *l)
{
	int64_t started = now_ms(), wait_ms;
	uint64_t index = 0;
	int state = TAKEN;

	for (bool first = true; state == TAKEN; first = false) {
		wait_ms = lease_time_left(l, started);
		if (wait_ms == 0 && !first)
			return LEASE_STOPPED;
		state = look(l, index, wait_ms, &index);
		if (state != FREE)
			continue;
		state = try_acquire(l);
		if (state == TAKEN)
			state = after_refusal(l, &index);
	}
	return state;
}

static void
ask(struct lease *l, struct request *r)
{
	lease_ask(l, r, l->key, false, 0, 0);
	request_param(r, "consistent", NULL);
}

static bool
still_held(struct lease *l, struct request *r)
{
	struct json_object *list = lease_entries(r);
	bool held = strcmp(value_text(value_at(list, 0), "Session"), l->session) == 0;

	json_object_put(list);
	return held;
}

static int
release(struct lease *l)
{
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/kv/", l->key);
	request_param(&r, "release", l->session);
	request_param_u64(&r, "flags", LOCK_FLAGS);
	rc = lease_write(l, &r);
	if (rc < 0)
		(void)lease_fail(l, rc, "failed to release lock", r.error);
	request_release(&r);
	return rc;
}

/* Delete the key as it was seen; 1 when it has changed since. */
static int
delete_seen(struct lease *l, uint64_t modify_index)
{
	struct request r;
	int rc;

	request_init(&r, "DELETE", "/v1/kv/", l->key);
	request_param_u64(&r, "cas", modify_index);
	rc = lease_write(l, &r);
	if (rc < 0)
		(void)lease_fail(l, rc, "failed to remove lock", r.error);
	else
		rc = request_true(&r) ? 0 : 1;
	request_release(&r);
	return rc;
}

static int
cleanup(struct lease *l)
{
	struct json_object *list = NULL, *e = NULL;
	struct request r;
	int rc;

	lease_ask(l, &r, l->key, false, 0, 0);
	rc = client_call(l->client, &r, true);
	if (rc < 0) {
		(void)lease_fail(l, rc, "failed to read lock", r.error);
	} else {
		list = lease_entries(&r);
		e = value_at(list, 0);
		rc = 0;
	}
	if (e != NULL && value_u64(e, "Flags") != LOCK_FLAGS) {
		(void)snprintf(l->error, sizeof(l->error), "Existing key does not match lock use");
		rc = -EEXIST;
	} else if (e != NULL) {
		rc = *value_text(e, "Session") != '\0' ? 1 : delete_seen(l, value_u64(e, "ModifyIndex"));
	}
	json_object_put(list);
	request_release(&r);
	return rc;
}

const struct lease_recipe mutex_recipe = { "", acquire, ask, still_held, release, cleanup };
