/* exec_job.c - a job of remote execution, from its session to its end. */
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/client/errtext.h"
#include "consulctl/cmd/exec_job.h"
#include "consulctl/cmd/filter.h"
#include "consulctl/value.h"
#include "lib/json.h"

enum { BODY_MAX = 4 * MiB };

static int
fail(struct exec_job *j, int rc, const char *why)
{
	(void)snprintf(j->error, sizeof(j->error), "%s", why);
	return rc;
}

/* ---- the session is renewed while we wait for anything */

static void
renewal_begin(struct exec_job *j)
{
	request_init(&j->renewal, "PUT", "/v1/session/renew/", j->session);
	j->renewing = true;
	j->hook.due_ms = INT64_MAX;
	client_begin(j->client, &j->renewal);
}

/* Whether it worked or not: one that is gone is seen by what lies under it. */
static void
renewal_end(struct exec_job *j)
{
	int rc = client_judge(j->client, &j->renewal, true);

	if (rc < 0)
		fprintf(stderr, "Session renew failed: %s\n", j->renewal.error);
	request_release(&j->renewal);
	j->renewing = false;
	j->hook.due_ms = now_ms() + EXEC_RENEW_MS;
}

static void
on_tick(struct client_hook *h)
{
	struct exec_job *j = (struct exec_job *)h;

	if (j->renewing && j->renewal.ex.done)
		renewal_end(j);
	if (!j->renewing && j->session != NULL && now_ms() >= j->hook.due_ms)
		renewal_begin(j);
}

void
exec_job_init(struct exec_job *j, struct client *c, const struct options *o, int signal_fd)
{
	*j = (struct exec_job){ .hook = { .fd = signal_fd, .due_ms = INT64_MAX, .tick = on_tick }, .client = c, .options = o };
	c->hook = &j->hook;
}

/* client_call(), which a signal cannot interrupt: we must know whether there is a session, and whether it has gone. */
static int
call_through(struct exec_job *j, struct request *r)
{
	int fd = j->hook.fd, rc;

	j->hook.fd = -1;
	rc = client_call(j->client, r, false);
	j->hook.fd = fd;
	return rc;
}

static int
session_body(struct buf *b, const char *name, const char *node)
{
	int rc = buf_adds(b, "{\"Name\":");

	if (rc == 0)
		rc = json_add_string(b, str_from(name));
	if (rc == 0 && node != NULL)
		rc = buf_adds(b, ",\"Checks\":[],\"Node\":");
	if (rc == 0 && node != NULL)
		rc = json_add_string(b, str_from(node));
	if (rc == 0)
		rc = buf_addf(b, ",\"Behavior\":\"delete\",\"TTL\":\"%ds\"}", EXEC_TTL_MS / 1000);
	return rc;
}

/* Takes what the answer says. */
static int
session_take(struct exec_job *j, struct request *r)
{
	struct json_object *answer = request_json(r, NULL);
	const char *prefix = options_str(j->options, "prefix"), *id = value_text(answer, "ID");
	size_t len = strlen(prefix);
	int rc = 0;

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	j->session = *id != '\0' ? strdup(id) : NULL;
	if (j->session == NULL)
		rc = fail(j, -EBADMSG, *id != '\0' ? "out of memory" : r->error);
	else if (asprintf(&j->dir, "%.*s%s%s/", (int)len, prefix, len > 0 ? "/" : "", id) < 0) {
		j->dir = NULL;
		rc = fail(j, -ENOMEM, "out of memory");
	}
	json_object_put(answer);
	return rc;
}

int
exec_job_open(struct exec_job *j, const char *name, const char *node)
{
	struct buf body = BUF_INIT(64 * KiB);
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/session/create", NULL);
	rc = session_body(&body, name, node);
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	if (rc < 0)
		rc = fail(j, rc, errtext(rc));
	else if ((rc = call_through(j, &r)) < 0)
		rc = fail(j, rc, r.error);
	else
		rc = session_take(j, &r);
	if (rc == 0)
		j->hook.due_ms = now_ms() + EXEC_RENEW_MS;
	request_release(&r);
	buf_release(&body);
	return rc;
}

/* ---- what is to be done */

static int
add_args(struct buf *b, const struct options *o, bool shell)
{
	struct buf line = BUF_INIT(BODY_MAX);
	int rc = buf_adds(b, shell ? "\"Command\":" : "\"Args\":[");

	for (int i = 0; rc == 0 && i < o->nargs; i++) {
		if (i > 0)
			rc = buf_addc(shell ? &line : b, shell ? ' ' : ',');
		if (rc == 0)
			rc = shell ? buf_adds(&line, o->args[i]) : json_add_string(b, str_from(o->args[i]));
	}
	if (rc == 0)
		rc = shell ? json_add_string(b, (struct str){ (const char *)line.data, line.len }) : buf_addc(b, ']');
	buf_release(&line);
	return rc;
}

static int
job_body(struct exec_job *j, const struct buf *script, struct buf *b)
{
	int rc = buf_addc(b, '{');

	if (rc == 0 && script == NULL) {
		rc = add_args(b, j->options, options_bool(j->options, "shell"));
	} else if (rc == 0) {
		rc = buf_adds(b, "\"Script\":\"");
		if (rc == 0)
			rc = json_add_base64(b, (struct str){ (const char *)script->data, script->len });
		if (rc == 0)
			rc = buf_addc(b, '"');
	}
	return rc == 0 ? buf_addf(b, ",\"Wait\":%lld}", (long long)options_ns(j->options, "wait")) : rc;
}

int
exec_job_upload(struct exec_job *j, const struct buf *script)
{
	struct buf body = BUF_INIT(BODY_MAX), key = BUF_INIT(64 * KiB);
	struct request r;
	const char *path;
	int rc = job_body(j, script, &body);

	if (rc == 0)
		rc = buf_addf(&key, "%sjob", j->dir);
	path = rc == 0 ? buf_cstr(&key) : NULL;
	request_init(&r, "PUT", "/v1/kv/", path != NULL ? path : "");
	request_param(&r, "acquire", j->session);
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	j->uploaded = path != NULL;
	if (path == NULL)
		rc = fail(j, rc < 0 ? rc : -ENOMEM, errtext(rc < 0 ? rc : -ENOMEM));
	else if ((rc = call_through(j, &r)) < 0)
		rc = fail(j, rc, r.error);
	else if (!request_true(&r)) {
		rc = -EBUSY;
		(void)snprintf(j->error, sizeof(j->error), "failed to acquire key %s", path);
	}
	request_release(&r);
	buf_release(&key);
	buf_release(&body);
	return rc;
}

int
exec_job_fire(struct exec_job *j, char ret_id[64])
{
	const char *prefix = options_str(j->options, "prefix");
	struct buf body = BUF_INIT(64 * KiB);
	struct json_object *event = NULL;
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/event/fire/_rexec", NULL);
	filter_params(j->options, &r);
	rc = buf_adds(&body, "{\"Prefix\":");
	if (rc == 0)
		rc = json_add_string(&body, str_from(prefix));
	if (rc == 0)
		rc = buf_adds(&body, ",\"Session\":");
	if (rc == 0)
		rc = json_add_string(&body, str_from(j->session));
	if (rc == 0)
		rc = buf_addc(&body, '}');
	r.ex.body = (struct str){ (const char *)body.data, body.len };
	if (rc < 0)
		rc = fail(j, rc, errtext(rc));
	else if ((rc = client_call(j->client, &r, false)) < 0 || (event = request_json(&r, NULL)) == NULL)
		rc = fail(j, rc < 0 ? rc : -EBADMSG, r.error);
	(void)snprintf(ret_id, 64, "%s", value_text(event, "ID"));
	json_object_put(event);
	request_release(&r);
	buf_release(&body);
	return rc;
}

/* ---- the end */

static void
remove_data(struct exec_job *j)
{
	struct request r;

	request_init(&r, "DELETE", "/v1/kv/", j->dir);
	request_param(&r, "recurse", NULL);
	if (call_through(j, &r) < 0)
		fprintf(stderr, "Warning: what lies under %s stays: %s\n", j->dir, r.error);
	request_release(&r);
}

/* The session first: nodes write under it, so that nothing comes after the removal. */
void
exec_job_end(struct exec_job *j)
{
	struct request r;

	if (j->renewing) {
		client_cancel(j->client, &j->renewal);
		request_release(&j->renewal);
		j->renewing = false;
	}
	j->hook.due_ms = INT64_MAX;
	j->client->give_up_ms = now_ms() + EXEC_END_MS;
	if (j->session != NULL) {
		request_init(&r, "PUT", "/v1/session/destroy/", j->session);
		if (call_through(j, &r) < 0)
			fprintf(stderr, "Warning: the session %s stays until its TTL is over: %s\n", j->session, r.error);
		request_release(&r);
	}
	if (j->uploaded)
		remove_data(j);
	free(j->session);
	free(j->dir);
	j->session = j->dir = NULL;
	j->client->hook = NULL;
}
