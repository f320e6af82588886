/*
 * lease.c - a session that is kept alive while something is done under it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/cmd/lease.h"
#include "consulctl/value.h"
#include "lib/json.h"

static void renewal_tick(struct client_hook *h);

int
lease_init(struct lease *l, struct client *c, const char *prefix, int limit, const char *session_name, int signal_fd)
{
	size_t len = strlen(prefix);

	*l = (struct lease){
		.hook = { .fd = signal_fd, .due_ms = INT64_MAX, .tick = renewal_tick },
		.recipe = limit == 1 ? &mutex_recipe : &semaphore_recipe,
		.client = c, .prefix = prefix, .session_name = session_name, .limit = limit,
	};
	while (len > 0 && prefix[len - 1] == '/')
		len--;
	if (asprintf(&l->key, "%.*s%s.lock", (int)len, prefix, len > 0 ? "/" : "") < 0) {
		l->key = NULL;
		return -ENOMEM;
	}
	c->hook = &l->hook;
	return 0;
}

int
lease_fail(struct lease *l, int rc, const char *what, const char *why)
{
	(void)snprintf(l->error, sizeof(l->error), "%s: %s", what, why);
	return rc;
}

/* ---- the session */

static int
session_open(struct lease *l)
{
	struct buf body = BUF_INIT(64 * KiB);
	struct json_object *answer = NULL;
	struct request r;
	const char *id = "";
	int rc;

	request_init(&r, "PUT", "/v1/session/create", NULL);
	rc = buf_adds(&body, "{\"Name\":");
	if (rc == 0)
		rc = json_add_string(&body, str_from(l->session_name));
	if (rc == 0 && *l->recipe->behavior != '\0')
		rc = buf_addf(&body, ",\"Behavior\":\"%s\"", l->recipe->behavior);
	if (rc == 0)
		rc = buf_addf(&body, ",\"TTL\":\"%ds\"}", LEASE_TTL_MS / 1000);
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	if (rc == 0)
		rc = lease_write(l, &r);
	if (rc == 0)
		answer = request_json(&r, NULL);
	if (answer != NULL)
		id = value_text(answer, "ID");
	if (*id == '\0')
		rc = lease_fail(l, rc < 0 ? rc : -EBADMSG, "failed to create session", r.error);
	else
		l->session = strdup(id);
	if (rc == 0 && l->session == NULL)
		rc = lease_fail(l, -ENOMEM, "failed to create session", "out of memory");
	l->renewed_ms = now_ms();
	l->hook.due_ms = rc == 0 ? l->renewed_ms + LEASE_TTL_MS / 2 : INT64_MAX;
	json_object_put(answer);
	request_release(&r);
	buf_release(&body);
	return rc;
}

static void
renewal_begin(struct lease *l)
{
	request_init(&l->renewal, "PUT", "/v1/session/renew/", l->session);
	l->renewing = true;
	l->renewal_ms = now_ms();
	l->hook.due_ms = INT64_MAX;
	client_begin(l->client, &l->renewal);
}

/* Renew again at half the TTL; soon, when it failed; never, when the session is gone: the lock's key then tells. */
static void
renewal_end(struct lease *l)
{
	int64_t now = now_ms();
	int rc = client_judge(l->client, &l->renewal, true);

	request_release(&l->renewal);
	l->renewing = false;
	if (rc == 0) {
		l->renewed_ms = l->renewal_ms;
		l->hook.due_ms = now + LEASE_TTL_MS / 2;
	} else if (rc < 0 && now - l->renewed_ms < LEASE_TTL_MS) {
		l->hook.due_ms = now + LEASE_RENEW_RETRY_MS;
	}
}

static void
renewal_tick(struct client_hook *h)
{
	struct lease *l = (struct lease *)h;

	if (l->renewing && l->renewal.ex.done)
		renewal_end(l);
	if (!l->renewing && l->session != NULL && l->hook.due_ms != INT64_MAX && now_ms() >= l->hook.due_ms)
		renewal_begin(l);
}

static void
session_close(struct lease *l)
{
	struct request r;

	if (l->renewing) {
		client_cancel(l->client, &l->renewal);
		request_release(&l->renewal);
		l->renewing = false;
	}
	l->hook.due_ms = INT64_MAX;
	if (l->session == NULL)
		return;
	if (l->client->give_up_ms == 0)
		l->client->give_up_ms = now_ms() + LEASE_END_MS;
	request_init(&r, "PUT", "/v1/session/destroy/", l->session);
	if (lease_write(l, &r) < 0)
		fprintf(stderr, "Warning: the session %s stays until its TTL is over: %s\n", l->session, r.error);
	request_release(&r);
	free(l->session);
	l->session = NULL;
}

/* ---- holding */

int
lease_acquire(struct lease *l)
{
	int rc = session_open(l);

	if (rc == 0)
		rc = l->recipe->acquire(l);
	if (rc != LEASE_HELD)
		session_close(l);
	return rc;
}

void
lease_release_all(struct lease *l)
{
	session_close(l);
	free(l->key);
	l->key = NULL;
	l->client->hook = NULL;
}

int
lease_write(struct lease *l, struct request *r)
{
	int fd = l->hook.fd, rc;

	l->hook.fd = -1;
	rc = client_call(l->client, r, false);
	l->hook.fd = fd;
	return rc;
}

bool
lease_sleep(struct lease *l, int ms)
{
	int64_t until = now_ms() + ms;

	for (int64_t left; (left = until - now_ms()) > 0;)
		if (client_wait(l->client, (int)left) > 0)
			return true;
	return false;
}

int64_t
lease_time_left(const struct lease *l, int64_t started)
{
	int64_t left;

	if (l->wait_ms == 0)
		return LEASE_WAIT_MS;
	left = started + l->wait_ms - now_ms();
	return left < 0 ? 0 : left < LEASE_WAIT_MS ? left : LEASE_WAIT_MS;
}

void
lease_ask(struct lease *l, struct request *r, const char *key, bool tree, uint64_t index, int64_t wait_ms)
{
	char text[32];

	(void)l;
	request_init(r, "GET", "/v1/kv/", key);
	if (tree)
		request_param(r, "recurse", NULL);
	if (index > 0)
		request_param_u64(r, "index", index);
	if (wait_ms > 0) {
		(void)snprintf(text, sizeof(text), "%lldms", (long long)wait_ms);
		request_param(r, "wait", text);
	}
}

struct json_object *
lease_entries(struct request *r)
{
	struct json_object *list;

	if (r->ex.status == 404)
		return NULL;
	list = request_json(r, NULL);
	if (!json_object_is_type(list, json_type_array) || value_count(list) == 0) {
		json_object_put(list);
		return NULL;
	}
	return list;
}
