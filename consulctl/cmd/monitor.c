/*
 * monitor.c - consulctl monitor: the agent's log as it is written.
 */
#include <unistd.h>

#include "consulctl/cmd/child.h"
#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"

static const struct option options[] = {
	{ "log-level", OPT_STR, "level", "INFO", "The lowest level to show: trace, debug, info, warn or err." },
	{ "log-json", OPT_BOOL, NULL, NULL, "Show each line as a JSON object." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
print_piece(void *arg, const void *p, size_t n)
{
	(void)arg;
	if (fwrite(p, 1, n, stdout) != n || fflush(stdout) != 0)
		return -errno;
	return 0;
}

static int
follow(struct client *c, const struct options *o)
{
	struct request r;
	int rc;

	request_init(&r, "GET", "/v1/agent/monitor", NULL);
	request_param(&r, "loglevel", options_str(o, "log-level"));
	if (options_bool(o, "log-json"))
		request_param(&r, "logjson", "true");
	r.ex.sink = print_piece;
	rc = client_call(c, &r, false);
	if (rc == -ECANCELED)
		rc = 0;
	else if (rc == -EPIPE || rc == -EBADMSG || rc == -ECONNREFUSED || rc == -ENOENT) {
		/* The reader of our output has gone, which is nobody's fault, or there was nothing to follow. */
		if (rc != -EPIPE)
			fprintf(stderr, "Error starting monitor: %s\n", r.error);
		rc = 1;
	} else {
		puts("\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.");
		rc = 1;
	}
	request_release(&r);
	return rc;
}

static int
run(const struct command *cmd, const struct options *o)
{
	struct client_hook hook = { .fd = signals_open(-1, false), .due_ms = INT64_MAX };
	struct client c;
	int code;

	(void)cmd;
	if (hook.fd < 0) {
		fprintf(stderr, "Error starting monitor: %s\n", errtext(hook.fd));
		return 1;
	}
	if (client_open(&c, o) < 0) {
		close(hook.fd);
		return 1;
	}
	c.hook = &hook;
	code = follow(&c, o);
	client_close(&c);
	close(hook.fd);
	return code;
}

const struct command command_monitor = {
	.name = "monitor",
	.summary = "Streams logs from the agent",
	.args = "[options]",
	.about = "Prints the agent's log as it is written, until it is interrupted. The level may be lower than the one that the agent "
	    "itself logs at.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
