/*
 * watch.c - consulctl watch: run a program whenever something changes, or
 * print it once.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consulctl/cmd/child.h"
#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "consulctl/value.h"
#include "consulctl/cmd/watch_http.h"
#include "consulctl/cmd/watch_plan.h"
#include "lib/duration.h"
#include "lib/log.h"

enum { RETRY_S = 5, RETRY_S_MAX = 180, GRACE_MS = 5000 };

static const struct option options[] = {
	{ "http-handler", OPT_STR, "url", NULL, "Send the data there, with the header X-Consul-Index, instead of running a child." },
	{ "http-header", OPT_LIST, "name:value", NULL, "Add this header to it. May be repeated." },
	{ "http-method", OPT_STR, "method", "POST", "Send it by this method." },
	{ "http-timeout", OPT_DURATION, "duration", "10s", "Give up on it after so long." },
	{ "http-tls-skip-verify", OPT_BOOL, NULL, NULL, "Take any certificate there." },
	{ "keep-going", OPT_BOOL, NULL, NULL, "Go on when the child fails; else the watch ends." },
	{ "type", OPT_STR, "type", NULL, "What to watch: key, keyprefix, services, nodes, service, checks or event." },
	{ "key", OPT_STR, "key", NULL, "The key, for type key." },
	{ "prefix", OPT_STR, "prefix", NULL, "What the keys begin with, for type keyprefix." },
	{ "service", OPT_STR, "name", NULL, "The service, for type service, and if wanted for type checks." },
	{ "tag", OPT_LIST, "text", NULL, "Only instances with this tag, for type service. May be repeated." },
	{ "passingonly", OPT_STR, "bool", NULL, "Only instances that pass all checks, for type service." },
	{ "state", OPT_STR, "state", NULL, "Only checks in this state, for type checks." },
	{ "name", OPT_STR, "name", NULL, "Only events of this name, for type event." },
	{ "shell", OPT_BOOL, NULL, "true", "Give the command to the shell that the variable SHELL names, or /bin/sh." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

struct watch {
	struct watch_plan plan;
	struct watch_http http;
	bool keep_going;
	struct client client;
	struct client_hook hook;	/* fd: our signals */
	const struct options *options;
	struct buf last;		/* the document that was shown */
	bool shown;
	uint64_t index;
	unsigned failures;
};

/* What a step of the watch leads to; others are exit codes. */
enum { GO_ON = -1 };

static int
print_document(const struct buf *document)
{
	struct buf out = BUF_INIT(EXCHANGE_BODY_MAX);
	int rc = value_reindent((struct str){ (const char *)document->data, document->len }, "    ", &out);

	if (rc < 0)
		fprintf(stderr, "Error encoding output: %s\n", errtext(rc));
	else
		printf("%.*s\n", (int)out.len, (const char *)out.data);
	buf_release(&out);
	return rc < 0 ? 1 : 0;
}

/* The document as a file that has no name: the child may read it or not, we need not wait for either. */
static int
document_file(const struct buf *document)
{
	int fd = memfd_create("watch", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < document->len) {
		ssize_t n = write(fd, document->data + done, document->len - done);

		if (n < 0) {
			int err = errno;

			close(fd);
			return -err;
		}
		done += (size_t)n;
	}
	if (write(fd, "\n", 1) != 1 || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* GO_ON or an exit code. */
static int
handler_failed(const struct watch *w, const char *what, const char *who, const char *why)
{
	fprintf(stderr, "%s%s%s%s\n", what, who, *who != '\0' ? ": " : "", why);
	return w->keep_going ? GO_ON : 1;
}

/* Until the child ends; GO_ON or an exit code. */
static int
wait_handler(struct watch *w, struct child *child)
{
	const char *failure;
	int status, signo;

	for (;;) {
		struct pollfd p = { w->hook.fd, POLLIN, 0 };

		while ((signo = signals_read(w->hook.fd)) != 0) {
			if (signal_ends(signo, true)) {
				(void)child_end(child, w->hook.fd, GRACE_MS);
				return 0;
			}
			if (signo != SIGCHLD)
				child_signal(child, signo);
		}
		if (child_reap(child, &status))
			break;
		(void)poll(&p, 1, -1);
	}
	failure = child_failure(status);
	if (failure == NULL)
		return GO_ON;
	return handler_failed(w, "Error executing handler: ", "", failure);
}

static int
run_handler(struct watch *w, uint64_t index, const struct buf *document)
{
	struct child child = { .pid = 0 };
	struct child_spec spec = { .words = w->options->args, .shell = options_bool(w->options, "shell") };
	char variable[64];
	int rc;

	(void)snprintf(variable, sizeof(variable), "CONSUL_INDEX=%llu", (unsigned long long)index);
	spec.variable = variable;
	spec.stdin_fd = document_file(document);
	rc = spec.stdin_fd;
	if (rc >= 0) {
		rc = child_start(&spec, &child);
		close(spec.stdin_fd);
	}
	if (rc < 0) {
		return handler_failed(w, "Error starting handler: ", spec.words[0], errtext(rc));
	}
	return wait_handler(w, &child);
}

/* Wait longer after each failure in a row; GO_ON, or 0 when we are to end. */
static int
pause_after_failure(struct watch *w, const char *error)
{
	unsigned s = RETRY_S * (w->failures + 1) * (w->failures + 1);
	int64_t until;
	char text[DURATION_TEXT_MAX];

	if (s > RETRY_S_MAX)
		s = RETRY_S_MAX;
	else
		w->failures++;
	duration_format(s * NS_PER_S, text);
	log_err("watch", "Watch errored: type=%s error=\"%s\" retry=%s", w->plan.type_name, error, text);
	until = now_ms() + (int64_t)s * 1000;
	for (int64_t left; (left = until - now_ms()) > 0;)
		if (client_wait(&w->client, (int)left) > 0 && signals_end(w->hook.fd))
			return 0;
	return GO_ON;
}

/* The next change goes there all the same. GO_ON, or 0 when we are to end. */
static int
send_document(struct watch *w, uint64_t index, const struct buf *document)
{
	int rc = watch_http_send(&w->http, index, document, w->hook.fd);

	if (rc == -ECANCELED && signals_end(w->hook.fd))
		return 0;
	if (rc < 0)
		fprintf(stderr, "Error executing handler: %s\n", w->http.error);
	return GO_ON;
}

/* A document came with an index: is it new, and what does it lead to? */
static int
show(struct watch *w, uint64_t index, struct buf *document)
{
	uint64_t before = w->index;
	bool same;

	if (w->shown && index == before)
		return GO_ON;
	/* An index that went back means another store: from there everything is new. An event's is no number, but its name. */
	w->index = index < before && w->plan.type != WATCH_EVENT ? 0 : index;
	same = w->shown && document->len == w->last.len && memcmp(document->data, w->last.data, document->len) == 0;
	if (same)
		return GO_ON;
	buf_release(&w->last);
	w->last = *document;
	*document = (struct buf)BUF_INIT(EXCHANGE_BODY_MAX);
	w->shown = true;
	if (w->http.transport != NULL)
		return send_document(w, index, &w->last);
	if (w->options->nargs == 0)
		return print_document(&w->last);
	return run_handler(w, index, &w->last);
}

static bool
has_handler(const struct watch *w)
{
	return w->options->nargs > 0 || w->http.transport != NULL;
}

/* A question that the agent does not understand: it will not do so later. */
static bool
is_final(const struct request *r)
{
	return r->ex.done && r->ex.rc == 0 && (r->ex.status == 400 || r->ex.status == 404 || r->ex.status == 405);
}

static int
step(struct watch *w)
{
	struct buf document = BUF_INIT(EXCHANGE_BODY_MAX);
	struct request r;
	int rc, next;

	watch_plan_request(&w->plan, w->index, &r);
	rc = client_call(&w->client, &r, watch_plan_may_miss(&w->plan));
	if (rc >= 0) {
		rc = watch_plan_document(&w->plan, &r, w->index, &document);
		if (rc < 0 && r.error[0] == '\0')
			(void)snprintf(r.error, sizeof(r.error), "%s", errtext(rc));
	}
	if (rc == -ECANCELED) {
		next = signals_end(w->hook.fd) ? 0 : GO_ON;
	} else if (rc < 0 && is_final(&r)) {
		fprintf(stderr, "Error querying Consul agent: %s\n", r.error);
		next = 1;
	} else if (rc < 0) {
		w->index = 0;
		next = pause_after_failure(w, r.error);
	} else if (r.ex.index == 0 && has_handler(w)) {
		/* Not from an agent: there is nothing to wait for, and asking again would never stop. */
		next = pause_after_failure(w, "the answer has no X-Consul-Index");
	} else {
		w->failures = 0;
		next = show(w, r.ex.index, &document);
	}
	buf_release(&document);
	request_release(&r);
	return next;
}

static int
watch(struct watch *w)
{
	char *node;
	int code = GO_ON;

	/* Is there an agent at all? A watch that cannot start should not wait for one. */
	node = client_node_name(&w->client);
	if (node == NULL)
		return 1;
	free(node);
	w->hook.fd = signals_open(-1, w->options->nargs > 0);
	if (w->hook.fd < 0) {
		fprintf(stderr, "Error starting the watch: %s\n", errtext(w->hook.fd));
		return 1;
	}
	w->client.hook = &w->hook;
	while (code == GO_ON)
		code = step(w);
	close(w->hook.fd);
	return code;
}

static int
run(const struct command *cmd, const struct options *o)
{
	struct watch w = { .options = o, .keep_going = options_bool(o, "keep-going"), .hook = { .fd = -1, .due_ms = INT64_MAX },
		.last = BUF_INIT(EXCHANGE_BODY_MAX) };
	struct buf err = BUF_INIT(4 * KiB);
	int code = 1;

	if (*options_str(o, "type") == '\0') {
		fputs("Watch type must be specified\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	if (watch_plan_init(&w.plan, o, &err) < 0) {
		const char *text = buf_cstr(&err);

		fprintf(stderr, "%s\n", text != NULL ? text : "out of memory");
	} else if (watch_http_open(&w.http, o) < 0) {
		fprintf(stderr, "%s\n", w.http.error);
	} else if (w.http.transport != NULL && o->nargs > 0) {
		fputs("Only one watch handler allowed\n", stderr);
	} else if (client_open(&w.client, o) == 0) {
		code = watch(&w);
		client_close(&w.client);
	}
	watch_http_close(&w.http);
	buf_release(&w.last);
	buf_release(&err);
	return code;
}

const struct command command_watch = {
	.name = "watch",
	.summary = "Watches for changes",
	.args = "[options] [CHILD...]",
	.about = "Runs the child program with the latest data as JSON on its standard input, now and whenever the data change; "
	    "CONSUL_INDEX in its environment is the index of the data. The watch ends, with exit code 1, when the child fails.\n\n"
	    "With -http-handler, sends the data there instead. With neither, prints the data once and exits.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
