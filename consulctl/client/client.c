/*
 * client.c - requests to an agent and the meaning of its answers.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "consulctl/client/client.h"
#include "consulctl/client/errtext.h"
#include "consulctl/value.h"
#include "lib/json.h"

int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- building */

static bool
is_plain(unsigned char c, bool in_path)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr(in_path ? "-._~$&+,/:;=@" : "-._~", c) != NULL;
}

static int
add_escaped(struct buf *b, const char *s, bool in_path)
{
	int rc = 0;

	for (; rc == 0 && *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (is_plain(c, in_path))
			rc = buf_addc(b, c);
		else if (c == ' ' && !in_path)
			rc = buf_addc(b, '+');
		else
			rc = buf_addf(b, "%%%02X", c);
	}
	return rc;
}

static void
keep_error(struct request *r, int rc)
{
	if (r->rc == 0 && rc < 0)
		r->rc = rc;
}

void
request_init(struct request *r, const char *method, const char *path, const char *tail)
{
	exchange_init(&r->ex);
	r->ex.method = method;
	r->nparams = 0;
	r->rc = 0;
	r->error[0] = '\0';
	keep_error(r, buf_adds(&r->ex.target, path));
	if (tail != NULL)
		keep_error(r, add_escaped(&r->ex.target, tail, true));
}

void
request_release(struct request *r)
{
	for (size_t i = 0; i < r->nparams; i++)
		free(r->params[i].value);
	r->nparams = 0;
	exchange_release(&r->ex);
}

void
request_param(struct request *r, const char *name, const char *value)
{
	char *copy = strdup(value != NULL ? value : "");

	if (copy == NULL || r->nparams == PARAMS_MAX) {
		keep_error(r, copy == NULL ? -ENOMEM : -ELIMIT);
		free(copy);
		return;
	}
	r->params[r->nparams++] = (struct param){ name, copy };
}

void
request_param_u64(struct request *r, const char *name, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	request_param(r, name, text);
}

/* By name; those of one name stay in the order in which they came. */
static void
sort_params(struct request *r)
{
	for (size_t i = 1; i < r->nparams; i++) {
		struct param p = r->params[i];
		size_t j = i;

		for (; j > 0 && strcmp(r->params[j - 1].name, p.name) > 0; j--)
			r->params[j] = r->params[j - 1];
		r->params[j] = p;
	}
}

static void
finish_target(const struct client *c, struct request *r)
{
	struct buf *b = &r->ex.target;

	if (*c->datacenter != '\0')
		request_param(r, "dc", c->datacenter);
	sort_params(r);
	for (size_t i = 0; i < r->nparams; i++) {
		keep_error(r, buf_addc(b, i == 0 ? '?' : '&'));
		keep_error(r, add_escaped(b, r->params[i].name, false));
		keep_error(r, buf_addc(b, '='));
		keep_error(r, add_escaped(b, r->params[i].value, false));
	}
	if (*c->prefix != '\0') {
		struct buf with = BUF_INIT(b->max);

		keep_error(r, buf_adds(&with, c->prefix));
		keep_error(r, buf_add(&with, b->data, b->len));
		buf_release(b);
		*b = with;
	}
}

static void
add_headers(const struct client *c, struct request *r)
{
	struct buf *b = &r->ex.headers;

	keep_error(r, buf_adds(b, "User-Agent: consulctl/" PACKAGE_VERSION "\r\n"));
	if (c->token != NULL)
		keep_error(r, buf_addf(b, "X-Consul-Token: %s\r\n", c->token));
	if (c->auth != NULL) {
		keep_error(r, buf_adds(b, "Authorization: Basic "));
		keep_error(r, json_add_base64(b, str_from(c->auth)));
		keep_error(r, buf_adds(b, "\r\n"));
	}
}

/* ---- asking */

void
client_begin(struct client *c, struct request *r)
{
	finish_target(c, r);
	add_headers(c, r);
	if (r->rc < 0) {
		exchange_fail(&r->ex, r->rc, "the request cannot be built: %s", errtext(r->rc));
		return;
	}
	c->transport->ops->begin(c->transport, &r->ex);
}

void
client_cancel(struct client *c, struct request *r)
{
	c->transport->ops->cancel(c->transport, &r->ex);
}

int
client_wait(struct client *c, int timeout_ms)
{
	struct client_hook *h = c->hook;
	bool readable;

	if (h != NULL && h->tick != NULL) {
		int64_t left;

		h->tick(h);
		left = h->due_ms - now_ms();
		if (left < 0)
			left = 0;
		if (timeout_ms < 0 || left < timeout_ms)
			timeout_ms = left < 60 * 1000 ? (int)left : 60 * 1000;
	}
	readable = c->transport->ops->wait(c->transport, h != NULL ? h->fd : -1, timeout_ms);
	if (h != NULL && h->tick != NULL)
		h->tick(h);
	return readable;
}

/* `Get "http://127.0.0.1:8500/v1/status/leader": dial tcp ...`: Go names the method so. */
static void
describe_failure(const struct client *c, struct request *r)
{
	const char *m = r->ex.method;

	(void)snprintf(r->error, sizeof(r->error), "%c", m[0]);
	for (size_t i = 1; i < 16 && m[i] != '\0'; i++) {
		r->error[i] = (char)ascii_lower((unsigned char)m[i]);
		r->error[i + 1] = '\0';
	}
	(void)snprintf(r->error + strlen(r->error), sizeof(r->error) - strlen(r->error), " \"%s%.*s\": %s", c->base,
	    (int)r->ex.target.len, (const char *)r->ex.target.data, r->ex.error);
}

int
client_judge(const struct client *c, struct request *r, bool may_miss)
{
	struct str body = { (const char *)r->ex.reply.data, r->ex.reply.len };

	if (r->ex.rc < 0) {
		describe_failure(c, r);
		return r->ex.rc;
	}
	if (r->ex.status == 200)
		return 0;
	if (r->ex.status == 404 && may_miss)
		return 1;
	while (body.len > 0 && strchr(" \t\r\n", body.p[body.len - 1]) != NULL)
		body.len--;
	(void)snprintf(r->error, sizeof(r->error), "Unexpected response code: %d (%.*s)", r->ex.status, STR_ARG(body));
	return -EBADMSG;
}

static int
give_up(struct client *c, struct request *r, int rc, const char *why)
{
	client_cancel(c, r);
	(void)snprintf(r->error, sizeof(r->error), "%s", why);
	return rc;
}

int
client_call(struct client *c, struct request *r, bool may_miss)
{
	client_begin(c, r);
	while (!r->ex.done) {
		int64_t left = c->give_up_ms != 0 ? c->give_up_ms - now_ms() : INT32_MAX;

		if (left <= 0)
			return give_up(c, r, -ETIMEDOUT, "the agent does not answer");
		if (client_wait(c, (int)left) > 0 && !r->ex.done)
			return give_up(c, r, -ECANCELED, "interrupted");
	}
	return client_judge(c, r, may_miss);
}

/* ---- answers */

struct json_object *
request_json(struct request *r, bool *ret_null)
{
	char err[256] = "";
	bool is_null = false;
	struct json_object *j;

	j = json_parse((const char *)r->ex.reply.data, r->ex.reply.len, &is_null, err, sizeof(err));
	if (ret_null != NULL)
		*ret_null = is_null;
	if (j == NULL && (!is_null || ret_null == NULL))
		(void)snprintf(r->error, sizeof(r->error), "the agent's answer is not what was expected: %s",
		    is_null ? "null" : err);
	return j;
}

bool
request_true(const struct request *r)
{
	struct str s = { (const char *)r->ex.reply.data, r->ex.reply.len };

	while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
		s.len--;
	return str_eq(s, STR("true"));
}

int
client_do(const struct options *o, struct request *r, const char *failure)
{
	struct client c;
	int rc = client_open(&c, o);

	if (rc < 0)
		return 1;
	rc = client_call(&c, r, false);
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", failure, r->error);
	client_close(&c);
	return rc < 0 ? 1 : 0;
}

char *
client_node_name(struct client *c)
{
	struct request r;
	struct json_object *self = NULL;
	const char *name = NULL;
	char *copy = NULL;
	int rc;

	request_init(&r, "GET", "/v1/agent/self", NULL);
	rc = client_call(c, &r, false);
	if (rc == 0)
		self = request_json(&r, NULL);
	if (self != NULL) {
		name = value_text(value_get(self, "Config"), "NodeName");
		copy = strdup(name);
	} else {
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
	}
	json_object_put(self);
	request_release(&r);
	return copy;
}
