/*
 * lock.c - consulctl lock: run a program while holding a lock.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "consulctl/cmd/child.h"
#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/lease.h"

enum { GRACE_MS = 5000, RETRY_MS = 1000 };

static const struct option options[] = {
	{ "child-exit-code", OPT_BOOL, NULL, NULL, "Exit with 2 when the child fails." },
	{ "monitor-retry", OPT_INT, "number", "3",
	  "How often to ask again, a second apart, when the agent fails to say whether the lock is still held." },
	{ "n", OPT_INT, "number", "1", "How many may hold it at the same time; more than one makes it a semaphore." },
	{ "name", OPT_STR, "text", NULL, "The name of the session; made from the command when not given." },
	{ "pass-stdin", OPT_BOOL, NULL, NULL, "Give our standard input to the child." },
	{ "shell", OPT_BOOL, NULL, "true", "Give the command to the shell that the variable SHELL names, or /bin/sh." },
	{ "timeout", OPT_DURATION, "duration", NULL, "Give up when the lock was not acquired in this time; 0 waits for ever." },
	{ "try", OPT_DURATION, "duration", NULL, "The old name of -timeout." },
	{ "verbose", OPT_BOOL, NULL, NULL, "Print what is done." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

enum outcome { CHILD_ENDED, LOCK_LOST, SHUTDOWN };

struct holder {
	const struct options *options;
	struct client client;
	struct lease lease;
	struct child child;
	bool verbose, child_failed;
	/* Watching the lock. */
	struct request question;
	bool asking;
	uint64_t index;
	int64_t retries, ask_ms;	/* how many failures are still borne, and when to ask again */
};

static void PRINTF(2, 3)
tell(const struct holder *h, const char *fmt, ...)
{
	va_list ap;

	if (!h->verbose)
		return;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	(void)fflush(stdout);
}

/* ---- is it still ours? */

static void
question_begin(struct holder *h)
{
	struct lease *l = &h->lease;

	l->recipe->ask(l, &h->question);
	if (h->index > 0)
		request_param_u64(&h->question, "index", h->index);
	h->asking = true;
	client_begin(&h->client, &h->question);
}

/* The answer has come: false when the lock is lost. */
static bool
question_end(struct holder *h)
{
	struct request *r = &h->question;
	int rc = client_judge(&h->client, r, true);
	bool held = true;

	h->asking = false;
	if (rc >= 0) {
		held = h->lease.recipe->still_held(&h->lease, r);
		h->index = r->ex.index;
		h->retries = options_int(h->options, "monitor-retry");
		h->ask_ms = 0;
	} else if (h->retries > 0 && (r->ex.rc < 0 || r->ex.status >= 500)) {
		h->retries--;
		h->index = 0;
		h->ask_ms = now_ms() + RETRY_MS;
	} else {
		held = false;
	}
	request_release(r);
	return held;
}

/* ---- the child */

static int
child_begin(struct holder *h)
{
	const struct options *o = h->options;
	struct child_spec spec = {
		.words = o->args + 1, .shell = options_bool(o, "shell"),
		.variable = "CONSUL_LOCK_HELD=true",
		.stdin_fd = options_bool(o, "pass-stdin") ? STDIN_FILENO : -1,
	};
	int rc;

	tell(h, "Starting handler");
	if (spec.stdin_fd >= 0)
		tell(h, "Stdin passed to handler process");
	rc = child_start(&spec, &h->child);
	if (rc < 0) {
		fprintf(stderr, "Error starting handler: %s: %s\n", spec.words[0], errtext(rc));
		h->child_failed = true;
	}
	return rc;
}

static bool
child_has_ended(struct holder *h)
{
	const char *failure;
	int status;

	if (!child_reap(&h->child, &status))
		return false;
	failure = child_failure(status);
	if (failure != NULL) {
		fprintf(stderr, "Error running handler: %s\n", failure);
		h->child_failed = true;
	}
	return true;
}

/* Signals that have come: true when one asks us to end; others go to the child. */
static bool
handle_signals(struct holder *h)
{
	int signo;

	while ((signo = signals_read(h->lease.hook.fd)) != 0) {
		if (signal_ends(signo, true))
			return true;
		if (signo != SIGCHLD)
			child_signal(&h->child, signo);
	}
	return false;
}

/* Until the child ends, the lock is lost or we are told to end. */
static enum outcome
hold(struct holder *h)
{
	h->retries = options_int(h->options, "monitor-retry");
	for (;;) {
		int64_t now = now_ms();

		if (!h->asking && now >= h->ask_ms)
			question_begin(h);
		(void)client_wait(&h->client, h->asking ? RETRY_MS : (int)(h->ask_ms - now));
		if (handle_signals(h))
			return SHUTDOWN;
		if (child_has_ended(h))
			return CHILD_ENDED;
		if (h->asking && h->question.ex.done && !question_end(h))
			return LOCK_LOST;
		if (now_ms() - h->lease.renewed_ms > LEASE_LOST_MS)
			return LOCK_LOST;
	}
}

static void
child_stop(struct holder *h)
{
	int pid = (int)h->child.pid;

	tell(h, "Terminating child pid %d", pid);
	if (child_end(&h->child, h->lease.hook.fd, GRACE_MS)) {
		tell(h, "Child did not exit after grace period of %ds", GRACE_MS / 1000);
		tell(h, "Killing child pid %d", pid);
	} else {
		tell(h, "Child terminated");
	}
}

static void
run_child(struct holder *h)
{
	enum outcome why;

	if (child_begin(h) < 0)
		return;
	why = hold(h);
	if (h->asking) {
		client_cancel(&h->client, &h->question);
		request_release(&h->question);
		h->asking = false;
	}
	if (why == CHILD_ENDED) {
		tell(h, "Child terminated, releasing lock");
		return;
	}
	tell(h, why == SHUTDOWN ? "Shutdown triggered, killing child" : "Lock lost, killing child");
	child_stop(h);
}

/* ---- the whole */

/* Give the lock back and remove its key if nobody else wants it. */
static int
let_go(struct holder *h)
{
	struct lease *l = &h->lease;
	int fd = l->hook.fd, rc;

	/* From here on a signal would only leave something behind. */
	l->hook.fd = -1;
	h->client.give_up_ms = now_ms() + LEASE_END_MS;
	rc = l->recipe->release(l);
	if (rc < 0) {
		fprintf(stderr, "Lock release failed: %s\n", l->error);
	} else {
		rc = l->recipe->cleanup(l);
		if (rc < 0)
			fprintf(stderr, "Lock cleanup failed: %s\n", l->error);
		else
			tell(h, rc > 0 ? "Cleanup aborted, lock in use" : "Cleanup succeeded");
	}
	l->hook.fd = fd;
	return rc < 0 ? rc : 0;
}

static int
with_lock(struct holder *h)
{
	int fd = signals_open(h->lease.hook.fd, true);
	int code;

	if (fd < 0) {
		fprintf(stderr, "Error starting handler: %s\n", errtext(fd));
		h->child_failed = true;
	} else if (handle_signals(h)) {
		fputs("Shutdown triggered during lock acquisition\n", stderr);
	} else {
		run_child(h);
	}
	code = let_go(h) < 0 ? 1 : 0;
	if (code == 0 && h->child_failed && options_bool(h->options, "child-exit-code"))
		code = EXIT_MISS;
	return code;
}

static int
acquire_and_run(struct holder *h, const char *session_name)
{
	const struct options *o = h->options;
	int64_t timeout_ns = options_given(o, "timeout") ? options_ns(o, "timeout") : options_ns(o, "try");
	int limit = (int)options_int(o, "n"), fd = signals_open(-1, false), code = 1, rc;
	const char *prefix = o->args[0] + (o->args[0][0] == '/');

	if (fd < 0 || lease_init(&h->lease, &h->client, prefix, limit, session_name, fd) < 0) {
		fputs("Lock setup failed: out of memory\n", stderr);
		return 1;
	}
	h->lease.wait_ms = (timeout_ns + 999999) / 1000000;
	if (limit == 1)
		tell(h, "Setting up lock at path: %s", h->lease.key);
	else
		tell(h, "Setting up semaphore (limit %d) at prefix: %s", limit, prefix);
	tell(h, "Attempting lock acquisition");
	rc = lease_acquire(&h->lease);
	if (rc == LEASE_HELD)
		code = with_lock(h);
	else if (rc == LEASE_STOPPED)
		fputs("Shutdown triggered or timeout during lock acquisition\n", stderr);
	else
		fprintf(stderr, "Lock acquisition failed: %s\n", h->lease.error);
	lease_release_all(&h->lease);
	close(fd);
	return code;
}

static const char *
complaint(const struct options *o)
{
	if (options_int(o, "n") <= 0)
		return "Lock holder limit must be positive";
	if (options_int(o, "n") > INT32_MAX)
		return "Lock holder limit is too large";
	if (o->nargs < 2)
		return "Key prefix and child command must be specified";
	if (options_int(o, "n") > 1 && *o->args[0] == '\0')
		return "Lock setup failed: missing prefix";
	if (options_ns(o, "timeout") < 0 || options_ns(o, "try") < 0)
		return "Timeout must be positive";
	if (options_int(o, "monitor-retry") < 0)
		return "Number for 'monitor-retry' must be >= 0";
	return NULL;
}

/* "Consul lock for 'COMMAND' at 'PREFIX'"; the caller frees. */
static char *
default_name(const struct options *o)
{
	struct buf b = BUF_INIT(64 * KiB);
	const char *text;
	char *copy;
	int rc = buf_adds(&b, "Consul lock for '");

	for (int i = 1; rc == 0 && i < o->nargs; i++)
		rc = buf_addf(&b, "%s%s", i > 1 ? " " : "", o->args[i]);
	if (rc == 0)
		rc = buf_addf(&b, "' at '%s'", o->args[0] + (o->args[0][0] == '/'));
	text = rc == 0 ? buf_cstr(&b) : NULL;
	copy = strdup(text != NULL ? text : "Consul lock");
	buf_release(&b);
	return copy;
}

static int
run(const struct command *cmd, const struct options *o)
{
	struct holder h = { .options = o, .verbose = options_bool(o, "verbose") };
	const char *wrong = complaint(o);
	char *node, *name;
	int code = 1;

	(void)cmd;
	if (wrong != NULL) {
		fprintf(stderr, "%s\n", wrong);
		return 1;
	}
	if (client_open(&h.client, o) < 0)
		return 1;
	name = *options_str(o, "name") != '\0' ? strdup(options_str(o, "name")) : default_name(o);
	node = client_node_name(&h.client);
	if (node != NULL && name != NULL)
		code = acquire_and_run(&h, name);
	free(node);
	free(name);
	client_close(&h.client);
	return code;
}

const struct command command_lock = {
	.name = "lock",
	.summary = "Executes a command holding a lock",
	.args = "[options] PREFIX CHILD...",
	.about = "Waits until it holds the lock (or, with -n, one of several slots) at PREFIX, runs the child, and gives the lock back when the "
	    "child has ended. The key is PREFIX/.lock; CONSUL_LOCK_HELD=true is in the child's environment.\n\n"
	    "When the lock is lost, or on SIGINT or SIGTERM, the child gets SIGTERM and, five seconds later, SIGKILL; other signals are "
	    "passed on to it. The exit code is 0 whatever the child's is, unless -child-exit-code is given.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
