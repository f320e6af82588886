/*
 * exec.c - consulctl exec: run a command on many nodes and show what it says.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "consulctl/client/errtext.h"
#include "consulctl/cmd/child.h"
#include "consulctl/cmd/exec_job.h"
#include "consulctl/cmd/filter.h"
#include "consulctl/cmd/input.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"

enum { EXIT_BAD = 2 };

static const struct option options[] = {
	{ "node", OPT_STR, "regexp", NULL, "Only nodes whose name matches." },
	{ "prefix", OPT_STR, "key", "_rexec", "Where in the KV store the job and its results lie meanwhile." },
	{ "service", OPT_STR, "regexp", NULL, "Only nodes with a service whose name matches." },
	{ "shell", OPT_BOOL, NULL, "true", "Give the command to the nodes' shell." },
	{ "tag", OPT_STR, "regexp", NULL, "Only nodes with such a service that has a tag that matches. Needs -service." },
	{ "verbose", OPT_BOOL, NULL, NULL, "Print what is done." },
	{ "wait", OPT_DURATION, "duration", "2s", "End when nothing was heard for so long; twice as long while a node still works." },
	{ "wait-repl", OPT_DURATION, "duration", "200ms", "How long the servers are given to pass the job on before nodes are called." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

struct run {
	const struct options *options;
	struct client client;
	struct exec_job job;
	bool verbose;
	struct json_object *seen;	/* keys that have been shown, as members */
	uint64_t index;
	unsigned acked, ended, bad;
	int64_t started_ms, heard_ms;
};

/* What a step leads to; others are exit codes. */
enum { GO_ON = -1 };

static void PRINTF(2, 3)
tell(const struct run *x, const char *fmt, ...)
{
	va_list ap;

	if (!x->verbose)
		return;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	(void)fflush(stdout);
}

/* ---- what nodes write */

/* Each line behind the node's name. What follows the last newline is a line too, as Consul's command has it. */
static void
print_output(struct str node, struct str text)
{
	for (;;) {
		const char *nl = text.len > 0 ? memchr(text.p, '\n', text.len) : NULL;
		size_t n = nl != NULL ? (size_t)(nl - text.p) : text.len;

		if (n > 0)
			printf("    %.*s: %.*s\n", STR_ARG(node), (int)n, text.p);
		else
			printf("    %.*s:\n", STR_ARG(node));
		if (nl == NULL)
			break;
		text = (struct str){ nl + 1, text.len - n - 1 };
	}
	(void)fflush(stdout);
}

/* What lies at a key, in r->ex.reply. 0, or GO_ON: it was told that there is nothing; -ECANCELED. */
static int
fetch(struct run *x, const char *key, struct request *r)
{
	int rc;

	request_init(r, "GET", "/v1/kv/", key);
	request_param(r, "raw", NULL);
	rc = client_call(&x->client, r, false);
	if (rc == -ECANCELED)
		return rc;
	if (rc < 0) {
		fprintf(stderr, "Failed to read key '%s': %s\n", key, r->error);
		return GO_ON;
	}
	return 0;
}

static int
take_exit(struct run *x, const char *key, struct str node)
{
	struct request r;
	int rc = fetch(x, key, &r);
	const char *text;
	char *end;
	long code;

	if (rc == 0) {
		text = buf_cstr(&r.ex.reply);
		code = text != NULL ? strtol(text, &end, 10) : 0;
		if (text == NULL || end == text || *end != '\0') {
			fprintf(stderr, "Failed to parse exit code '%s'\n", text != NULL ? text : "");
		} else {
			x->ended++;
			x->bad += code != 0;
			printf("==> %.*s: finished with exit code %ld\n", STR_ARG(node), code);
			(void)fflush(stdout);
		}
	}
	request_release(&r);
	return rc == -ECANCELED ? rc : 0;
}

static int
take_output(struct run *x, const char *key, struct str node)
{
	struct request r;
	int rc = fetch(x, key, &r);

	if (rc == 0 && r.ex.reply.len == 0)
		tell(x, "==> %.*s: heartbeat received", STR_ARG(node));
	else if (rc == 0)
		print_output(node, (struct str){ (const char *)r.ex.reply.data, r.ex.reply.len });
	request_release(&r);
	return rc == -ECANCELED ? rc : 0;
}

/* The node of NODE<suffix>; its name is empty when the key has no such end. */
static struct str
node_of(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	if (len <= n || strcmp(name + len - n, suffix) != 0)
		return (struct str){ name, 0 };
	return (struct str){ name, len - n };
}

/* The node of NODE/out/NUMBER. */
static struct str
node_of_output(const char *name)
{
	const char *last = NULL;

	for (const char *p = strstr(name, "/out/"); p != NULL; p = strstr(p + 1, "/out/"))
		last = p;
	return (struct str){ name, last != NULL ? (size_t)(last - name) : 0 };
}

/* A key that was not there before. */
static int
take_key(struct run *x, const char *key)
{
	size_t dir = strlen(x->job.dir);
	const char *name = strncmp(key, x->job.dir, dir) == 0 ? key + dir : key;
	struct str ack = node_of(name, "/ack"), done = node_of(name, "/exit"), out = node_of_output(name);

	x->heard_ms = now_ms();
	if (strcmp(name, "job") == 0)
		return 0;
	if (ack.len > 0) {
		x->acked++;
		tell(x, "==> %.*s: acknowledged", STR_ARG(ack));
		return 0;
	}
	if (done.len > 0)
		return take_exit(x, key, done);
	if (out.len > 0)
		return take_output(x, key, out);
	fprintf(stderr, "Unknown key '%s', ignoring.\n", name);
	return 0;
}

static int
take_keys(struct run *x, struct json_object *keys)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < value_count(keys); i++) {
		struct json_object *v = value_at(keys, i);
		const char *key = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";

		if (*key == '\0' || json_object_object_get_ex(x->seen, key, NULL))
			continue;
		if (json_object_object_add(x->seen, key, NULL) < 0)
			rc = -ENOMEM;
		else
			rc = take_key(x, key);
	}
	return rc;
}

/* ---- waiting for them */

/* Milliseconds that are left until it has been quiet for too long. */
static int64_t
patience(const struct run *x)
{
	int64_t wait = options_ns(x->options, "wait") / 1000000;

	if (x->acked > x->ended)
		wait *= 2;
	return x->heard_ms + wait - now_ms();
}

static int
finish(struct run *x)
{
	printf("%u / %u node(s) completed / acknowledged\n", x->ended, x->acked);
	tell(x, "Completed in %.2f seconds", (double)(now_ms() - x->started_ms) / 1000);
	return x->bad > 0 || x->ended < x->acked ? EXIT_BAD : 0;
}

/* The answer to the question for keys has come; GO_ON or an exit code. */
static int
take_answer(struct run *x, struct request *r)
{
	int rc = client_judge(&x->client, r, true);
	struct json_object *keys = NULL;

	if (rc == 0) {
		keys = request_json(r, NULL);
		rc = keys != NULL ? 0 : -EBADMSG;
	}
	if (rc < 0) {
		fprintf(stderr, "Failed to read results: %s\n", r->error);
		return 1;
	}
	x->index = r->ex.index;
	rc = take_keys(x, keys);
	json_object_put(keys);
	if (rc == -ECANCELED)
		return signals_end(x->job.hook.fd) ? 1 : GO_ON;
	if (rc < 0)
		fprintf(stderr, "Failed to read results: %s\n", errtext(rc));
	return rc < 0 ? 1 : GO_ON;
}

/* One question for the keys, until it is answered or patience is at its end. */
static int
step(struct run *x)
{
	struct request r;
	int64_t left = patience(x);
	char wait[32];
	int code = GO_ON;

	request_init(&r, "GET", "/v1/kv/", x->job.dir);
	request_param(&r, "keys", NULL);
	(void)snprintf(wait, sizeof(wait), "%lldms", (long long)(left > 0 ? left + 1 : 1));
	request_param(&r, "wait", wait);
	if (x->index > 0)
		request_param_u64(&r, "index", x->index);
	client_begin(&x->client, &r);
	while (code == GO_ON && !r.ex.done) {
		left = patience(x);
		if (left <= 0)
			code = finish(x);
		else if (client_wait(&x->client, left < INT32_MAX ? (int)left : INT32_MAX) > 0 && signals_end(x->job.hook.fd))
			code = 1;
	}
	if (r.ex.done && code == GO_ON)
		code = take_answer(x, &r);
	else
		client_cancel(&x->client, &r);
	if (code == GO_ON && patience(x) <= 0)
		code = finish(x);
	request_release(&r);
	return code;
}

/* ---- the whole */

/* Sleep; true when we are to end. */
static bool
pause_for(struct run *x, int64_t ms)
{
	int64_t until = now_ms() + ms;

	for (int64_t left; (left = until - now_ms()) > 0;)
		if (client_wait(&x->client, left < INT32_MAX ? (int)left : INT32_MAX) > 0 && signals_end(x->job.hook.fd))
			return true;
	return false;
}

static int
complain(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	return 1;
}

static int
with_session(struct run *x, const struct buf *script)
{
	struct exec_job *j = &x->job;
	char id[64];
	int code = GO_ON;

	tell(x, "Created remote execution session: %s", j->session);
	if (exec_job_upload(j, script) < 0)
		return complain("Failed to create job file", j->error);
	tell(x, "Uploaded remote execution spec");
	if (pause_for(x, options_ns(x->options, "wait-repl") / 1000000))
		return 1;
	if (exec_job_fire(j, id) < 0)
		return complain("Failed to fire event", j->error);
	tell(x, "Fired remote execution event: %s", id);
	x->started_ms = x->heard_ms = now_ms();
	while (code == GO_ON)
		code = step(x);
	return code;
}

/* A server of the other datacenter, for the session to hang on; the caller frees. NULL when the error was printed. */
static char *
foreign_node(struct run *x)
{
	struct json_object *list = NULL;
	struct request r;
	char *node = NULL;
	const char *name;
	int rc;

	request_init(&r, "GET", "/v1/health/service/consul", NULL);
	request_param(&r, "passing", "1");
	rc = client_call(&x->client, &r, false);
	if (rc == 0)
		list = request_json(&r, NULL);
	name = value_text(value_get(value_at(list, 0), "Node"), "Node");
	if (*name != '\0')
		node = strdup(name);
	if (node == NULL)
		fprintf(stderr, "Failed to create session: Failed to find Consul server in remote datacenter%s%s\n",
		    r.error[0] != '\0' ? ": " : "", r.error);
	else
		tell(x, "Binding session to remote node %s@%s", node, x->client.datacenter);
	json_object_put(list);
	request_release(&r);
	return node;
}

/* Open the session, for which another datacenter has to be told the node; GO_ON or 1. */
static int
open_session(struct run *x, struct json_object *self)
{
	struct json_object *config = value_get(self, "Config");
	const char *dc = x->client.datacenter, *own = value_text(config, "Datacenter");
	bool foreign = *dc != '\0' && strcmp(dc, own) != 0;
	char name[512] = "Remote Exec", *node = NULL;
	int rc;

	if (foreign) {
		tell(x, "Remote exec in foreign datacenter, using Session TTL");
		(void)snprintf(name, sizeof(name), "Remote Exec via %s@%s", value_text(config, "NodeName"), own);
		node = foreign_node(x);
		if (node == NULL)
			return 1;
	}
	rc = exec_job_open(&x->job, name, node);
	free(node);
	return rc < 0 ? complain("Failed to create session", x->job.error) : GO_ON;
}

static int
execute(struct run *x, const struct buf *script)
{
	struct json_object *self = NULL;
	struct request r;
	int code = GO_ON;

	request_init(&r, "GET", "/v1/agent/self", NULL);
	if (client_call(&x->client, &r, false) == 0)
		self = request_json(&r, NULL);
	if (self == NULL)
		code = complain("Error querying Consul agent", r.error);
	request_release(&r);
	if (code == GO_ON)
		code = open_session(x, self);
	json_object_put(self);
	if (code == GO_ON)
		code = with_session(x, script);
	exec_job_end(&x->job);
	return code;
}

/* The script of the standard input; negative when the error was printed. */
static int
read_script(const struct command *cmd, const struct options *o, struct buf *script)
{
	int rc;

	if (!options_bool(o, "shell")) {
		fputs("Cannot configure -shell=false when reading from stdin\n", stderr);
		return -EINVAL;
	}
	rc = input_fd(STDIN_FILENO, script);
	if (rc < 0)
		fprintf(stderr, "Failed to read stdin: %s\n", errtext(rc));
	else if (script->len == 0) {
		fputs("Must specify a command to execute\n\n", stderr);
		command_help(stderr, cmd);
		rc = -EINVAL;
	}
	return rc;
}

static int
run(const struct command *cmd, const struct options *o)
{
	bool from_stdin = o->nargs == 1 && strcmp(o->args[0], "-") == 0;
	struct run x = { .options = o, .verbose = options_bool(o, "verbose"), .seen = json_object_new_object() };
	struct buf script = BUF_INIT(EXEC_SCRIPT_MAX);
	int code = 1, fd = -1;

	if (o->nargs == 0 || (o->nargs == 1 && *o->args[0] == '\0')) {
		fputs("Must specify a command to execute\n\n", stderr);
		command_help(stderr, cmd);
	} else if (options_ns(o, "wait") <= 0 || options_ns(o, "wait-repl") < 0) {
		fputs("-wait must be above zero, and -wait-repl not below\n", stderr);
	} else if ((!from_stdin || read_script(cmd, o, &script) == 0) && filter_check(o) == 0 && client_open(&x.client, o) == 0) {
		fd = signals_open(-1, false);
		exec_job_init(&x.job, &x.client, o, fd);
		if (fd < 0 || x.seen == NULL)
			code = complain("Failed to start", errtext(fd < 0 ? fd : -ENOMEM));
		else
			code = execute(&x, from_stdin ? &script : NULL);
		client_close(&x.client);
	}
	if (fd >= 0)
		close(fd);
	json_object_put(x.seen);
	buf_release(&script);
	return code;
}

const struct command command_exec = {
	.name = "exec",
	.summary = "Executes a command on the nodes of the cluster",
	.args = "[options] COMMAND...",
	.about = "Has all nodes that match run the command, and shows what it says there as it comes. Instead of a command, - stands for "
	    "a script on the standard input. Only nodes with disable_remote_exec switched off take part.\n\n"
	    "The exit code is 2 when the command failed on a node, or when a node that began has not ended.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
