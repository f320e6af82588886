/*
 * membership.c - consulctl join, leave and force-leave.
 */
#include "consulctl/client/client.h"
#include "consulctl/commands.h"

/* ---- join */

static const struct option join_options[] = {
	{ "wan", OPT_BOOL, NULL, NULL, "Join a server to the pool of servers of all datacenters." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static bool
join_one(struct client *c, const char *address, bool wan)
{
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/agent/join/", address);
	if (wan)
		request_param(&r, "wan", "1");
	rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "Error joining address '%s': %s\n", address, r.error);
	request_release(&r);
	return rc == 0;
}

static int
run_join(const struct command *cmd, const struct options *o)
{
	struct client c;
	int joined = 0;

	if (o->nargs == 0) {
		fputs("At least one address to join must be specified.\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	for (int i = 0; i < o->nargs; i++)
		joined += join_one(&c, o->args[i], options_bool(o, "wan"));
	client_close(&c);
	if (joined == 0) {
		fputs("Failed to join any nodes.\n", stderr);
		return 1;
	}
	printf("Successfully joined cluster by contacting %d nodes.\n", joined);
	return 0;
}

const struct command command_join = {
	.name = "join",
	.summary = "Tells the agent to join a cluster",
	.args = "[options] ADDRESS...",
	.about = "Tells a running agent to join the cluster of which the nodes at the given addresses are members. "
	    "One that answers is enough.",
	.options = join_options,
	.common = COMMON_CLIENT,
	.run = run_join,
};

/* ---- leave */

static int
run_leave(const struct command *cmd, const struct options *o)
{
	struct request r;
	int code;

	if (o->nargs > 0) {
		fputs("This command takes no arguments\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	request_init(&r, "PUT", "/v1/agent/leave", NULL);
	code = client_do(o, &r, "Error leaving");
	request_release(&r);
	if (code == 0)
		puts("Graceful leave complete");
	return code;
}

const struct command command_leave = {
	.name = "leave",
	.summary = "Makes the agent leave the cluster and stop",
	.args = "[options]",
	.about = "Makes the agent leave its cluster gracefully, which takes the node and its services out of the catalog, "
	    "and then stop.",
	.common = COMMON_CLIENT,
	.run = run_leave,
};

/* ---- force-leave */

static const struct option force_leave_options[] = {
	{ "prune", OPT_BOOL, NULL, NULL, "Take the member out of the list of members at once." },
	{ "wan", OPT_BOOL, NULL, NULL, "A server of the pool of all datacenters, written NODE.DATACENTER." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run_force_leave(const struct command *cmd, const struct options *o)
{
	struct request r;
	int code;

	if (o->nargs != 1) {
		fputs("A single node name must be specified to force leave.\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	request_init(&r, "PUT", "/v1/agent/force-leave/", o->args[0]);
	if (options_bool(o, "prune"))
		request_param(&r, "prune", "1");
	if (options_bool(o, "wan"))
		request_param(&r, "wan", "1");
	code = client_do(o, &r, "Error force leaving");
	request_release(&r);
	return code;
}

const struct command command_force_leave = {
	.name = "force-leave",
	.summary = "Makes a member of the cluster leave",
	.args = "[options] NODE",
	.about = "Turns a failed member into one that left, so that nobody tries to reach it any more. "
	    "A member that is alive will join again.",
	.options = force_leave_options,
	.common = COMMON_CLIENT,
	.run = run_force_leave,
};
