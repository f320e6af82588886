/*
 * semaphore.c - a slot of several: every contender has a key
 * PREFIX/SESSION, and the key PREFIX/.lock, changed by check-and-set, lists
 * who of them are holders.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/cmd/kv.h"
#include "consulctl/cmd/lease.h"
#include "consulctl/value.h"
#include "lib/json.h"

enum { FULL = 2, RACE = 3 };	/* beside LEASE_HELD and LEASE_STOPPED */

/* The list of holders as it was read. */
struct slots {
	struct json_object *holders;	/* an object: session to true */
	int64_t limit;
	uint64_t modify_index;		/* 0: the key does not exist */
};

static void
slots_release(struct slots *s)
{
	json_object_put(s->holders);
	s->holders = NULL;
}

static struct json_object *
find_entry(struct json_object *list, const char *key)
{
	for (size_t i = 0; i < value_count(list); i++)
		if (strcmp(value_text(value_at(list, i), "Key"), key) == 0)
			return value_at(list, i);
	return NULL;
}

/* The value of the list's key. */
static int
decode(struct lease *l, struct json_object *entry, struct slots *s)
{
	struct buf value = BUF_INIT(KV_VALUE_MAX);
	struct json_object *j = NULL;
	bool is_null = false;
	char why[128] = "not base64";
	int rc = kv_value(entry, &value);

	if (rc == 0 && value.len > 0)
		j = json_parse((const char *)value.data, value.len, &is_null, why, sizeof(why));
	if (rc < 0 || (value.len > 0 && !json_object_is_type(j, json_type_object))) {
		rc = lease_fail(l, -EBADMSG, "lock decoding failed", why);
	} else if (j != NULL) {
		s->limit = (int64_t)value_u64(j, "Limit");
		json_object_put(s->holders);
		s->holders = json_object_get(value_get(j, "Holders"));
	}
	if (rc == 0 && s->holders == NULL)
		s->holders = json_object_new_object();
	json_object_put(j);
	buf_release(&value);
	return rc;
}

static bool
is_alive(struct json_object *list, const char *session)
{
	for (size_t i = 0; i < value_count(list); i++)
		if (strcmp(value_text(value_at(list, i), "Session"), session) == 0)
			return true;
	return false;
}

/* Holders whose contender key has no session any more hold nothing. */
static void
prune(struct slots *s, struct json_object *list)
{
	size_t n = 0;
	const char **sessions = value_names(s->holders, &n);

	for (size_t i = 0; sessions != NULL && i < n; i++)
		if (!is_alive(list, sessions[i]))
			json_object_object_del(s->holders, sessions[i]);
	free(sessions);
}

/* What a read of the whole prefix says. -EEXIST when the key is something else. */
static int
slots_of_tree(struct lease *l, struct json_object *list, struct slots *s)
{
	struct json_object *entry = find_entry(list, l->key);
	int rc;

	*s = (struct slots){ .limit = l->limit, .modify_index = value_u64(entry, "ModifyIndex") };
	if (entry != NULL && value_u64(entry, "Flags") != SEMAPHORE_FLAGS) {
		(void)snprintf(l->error, sizeof(l->error), "Existing key does not match semaphore use");
		return -EEXIST;
	}
	rc = decode(l, entry, s);
	if (rc == 0)
		prune(s, list);
	return rc;
}

/* Write the list back if nobody else did meanwhile: 1 written, 0 not. */
static int
slots_write(struct lease *l, const struct slots *s)
{
	struct buf body = BUF_INIT(MiB);
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/kv/", l->key);
	rc = buf_addf(&body, "{\"Limit\":%lld,\"Holders\":%s}", (long long)s->limit,
	    json_object_to_json_string_ext(s->holders, JSON_C_TO_STRING_PLAIN));
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	request_param_u64(&r, "cas", s->modify_index);
	request_param_u64(&r, "flags", SEMAPHORE_FLAGS);
	if (rc == 0)
		rc = lease_write(l, &r);
	if (rc < 0)
		(void)lease_fail(l, rc, "failed to update lock", r.error);
	else
		rc = request_true(&r);
	request_release(&r);
	buf_release(&body);
	return rc;
}

/* PREFIX/SESSION, next to the list's key; the caller frees. */
static char *
contender_key(const struct lease *l)
{
	char *key;
	int dir = (int)(strlen(l->key) - strlen(".lock"));

	return asprintf(&key, "%.*s%s", dir, l->key, l->session) < 0 ? NULL : key;
}

static int
contend(struct lease *l)
{
	char *key = contender_key(l);
	struct request r;
	int rc;

	if (key == NULL)
		return lease_fail(l, -ENOMEM, "failed to make contender entry", "out of memory");
	request_init(&r, "PUT", "/v1/kv/", key);
	request_param(&r, "acquire", l->session);
	request_param_u64(&r, "flags", SEMAPHORE_FLAGS);
	rc = lease_write(l, &r);
	if (rc == 0 && !request_true(&r))
		rc = -EBUSY;
	if (rc < 0)
		(void)lease_fail(l, rc, "failed to make contender entry", r.error[0] != '\0' ? r.error : "it is locked");
	request_release(&r);
	free(key);
	return rc;
}

/* Take a slot if one is free. */
static int
take(struct lease *l, struct slots *s)
{
	char text[128];
	int rc;

	if (s->limit != l->limit) {
		(void)snprintf(text, sizeof(text), "lock: %lld, local: %d", (long long)s->limit, l->limit);
		(void)snprintf(l->error, sizeof(l->error), "semaphore limit conflict (%s)", text);
		return -EINVAL;
	}
	if ((int64_t)value_count(s->holders) >= s->limit)
		return FULL;
	if (json_object_object_add(s->holders, l->session, json_object_new_boolean(1)) != 0)
		return lease_fail(l, -ENOMEM, "failed to update lock", "out of memory");
	rc = slots_write(l, s);
	return rc < 0 ? rc : rc > 0 ? LEASE_HELD : RACE;
}

/* One look at the prefix, waiting for a change behind index, and one attempt. */
static int
attempt(struct lease *l, uint64_t *index, int64_t wait_ms)
{
	struct json_object *list = NULL;
	struct slots s = { .holders = NULL };
	struct request r;
	int rc;

	lease_ask(l, &r, l->prefix, true, *index, wait_ms);
	rc = client_call(l->client, &r, true);
	if (rc == -ECANCELED) {
		rc = LEASE_STOPPED;
	} else if (rc < 0) {
		rc = lease_fail(l, rc, "failed to read prefix", r.error);
	} else {
		*index = r.ex.index;
		list = lease_entries(&r);
		rc = slots_of_tree(l, list, &s);
		if (rc == 0)
			rc = take(l, &s);
	}
	slots_release(&s);
	json_object_put(list);
	request_release(&r);
	return rc;
}

static int
acquire(struct lease *l)
{
	int64_t started = now_ms(), wait_ms;
	uint64_t index = 0;
	int rc = contend(l);

	if (rc < 0)
		return rc;
	for (bool first = true;; first = false) {
		wait_ms = lease_time_left(l, started);
		if (wait_ms == 0 && !first)
			return LEASE_STOPPED;
		rc = attempt(l, &index, wait_ms);
		if (rc != FULL && rc != RACE)
			return rc;
		if (rc == RACE)
			index = 0;
	}
}

static void
ask(struct lease *l, struct request *r)
{
	lease_ask(l, r, l->prefix, true, 0, 0);
	request_param(r, "consistent", NULL);
}

static bool
still_held(struct lease *l, struct request *r)
{
	struct json_object *list = lease_entries(r);
	struct slots s = { .holders = NULL };
	bool held = slots_of_tree(l, list, &s) == 0 && value_get(s.holders, l->session) != NULL;

	slots_release(&s);
	json_object_put(list);
	return held;
}

/* Read the prefix and what it says of the slots. */
static int
read_slots(struct lease *l, struct slots *s)
{
	struct json_object *list;
	struct request r;
	int rc;

	lease_ask(l, &r, l->prefix, true, 0, 0);
	rc = client_call(l->client, &r, true);
	if (rc < 0) {
		(void)lease_fail(l, rc, "failed to read prefix", r.error);
	} else {
		list = lease_entries(&r);
		rc = slots_of_tree(l, list, s);
		json_object_put(list);
	}
	request_release(&r);
	return rc;
}

static int
forget_contender(struct lease *l)
{
	char *key = contender_key(l);
	struct request r;
	int rc;

	if (key == NULL)
		return lease_fail(l, -ENOMEM, "failed to delete contender entry", "out of memory");
	request_init(&r, "DELETE", "/v1/kv/", key);
	rc = lease_write(l, &r);
	if (rc < 0)
		(void)lease_fail(l, rc, "failed to delete contender entry", r.error);
	request_release(&r);
	free(key);
	return rc;
}

static int
release(struct lease *l)
{
	int rc;

	for (;;) {
		struct slots s = { .holders = NULL };

		rc = read_slots(l, &s);
		if (rc == 0 && value_get(s.holders, l->session) != NULL) {
			json_object_object_del(s.holders, l->session);
			rc = slots_write(l, &s);
			if (rc == 0)
				rc = RACE;
		}
		slots_release(&s);
		if (rc != RACE)
			break;
	}
	return rc < 0 ? rc : forget_contender(l);
}

static int
cleanup(struct lease *l)
{
	struct slots s = { .holders = NULL };
	struct request r;
	int rc = read_slots(l, &s);

	if (rc == 0 && value_count(s.holders) > 0) {
		rc = 1;
	} else if (rc == 0 && s.modify_index > 0) {
		request_init(&r, "DELETE", "/v1/kv/", l->key);
		request_param_u64(&r, "cas", s.modify_index);
		rc = lease_write(l, &r);
		if (rc < 0)
			(void)lease_fail(l, rc, "failed to remove semaphore", r.error);
		else
			rc = request_true(&r) ? 0 : 1;
		request_release(&r);
	}
	slots_release(&s);
	return rc;
}

const struct lease_recipe semaphore_recipe = { "delete", acquire, ask, still_held, release, cleanup };
