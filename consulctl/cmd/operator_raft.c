/*
 * operator_raft.c - consulctl operator raft: who the servers are, taking one
 * out, handing the leadership over, and going on without a lost majority.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consulctl/agent/agent.h"
#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/table.h"
#include "consulctl/value.h"

static bool
no_arguments(const struct options *o)
{
	if (o->nargs > 0)
		fprintf(stderr, "Too many arguments (expected 0, got %d)\n", o->nargs);
	return o->nargs == 0;
}

/* ---- list-peers */

static int
print_peers(struct json_object *servers)
{
	static const char *const heads[] = { "Node", "ID", "Address", "State", "Voter", "RaftProtocol" };
	struct table t;
	int rc;

	table_init(&t, ARRAY_LEN(heads));
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		table_adds(&t, heads[i]);
	for (size_t i = 0; i < value_count(servers); i++) {
		struct json_object *s = value_at(servers, i);
		const char *protocol = value_text(s, "ProtocolVersion");

		table_adds(&t, value_text(s, "Node"));
		table_adds(&t, value_text(s, "ID"));
		table_adds(&t, value_text(s, "Address"));
		table_adds(&t, json_object_get_boolean(value_get(s, "Leader")) ? "leader" : "follower");
		table_adds(&t, json_object_get_boolean(value_get(s, "Voter")) ? "true" : "false");
		table_adds(&t, *protocol != '\0' ? protocol : "<=1");
	}
	rc = table_print(&t, stdout, TABLE_GAP);
	table_release(&t);
	return rc < 0 ? 1 : 0;
}

static int
run_list(const struct command *cmd, const struct options *o)
{
	static const char failure[] = "Error getting peers: Failed to retrieve raft configuration";
	struct json_object *config;
	struct request r;
	int code;

	(void)cmd;
	if (!no_arguments(o))
		return 1;
	request_init(&r, "GET", "/v1/operator/raft/configuration", NULL);
	if (options_bool(o, "stale"))
		request_param(&r, "stale", NULL);
	code = client_do(o, &r, failure);
	if (code == 0) {
		config = request_json(&r, NULL);
		if (config == NULL)
			fprintf(stderr, "%s: %s\n", failure, r.error);
		code = config != NULL ? print_peers(value_get(config, "Servers")) : 1;
		json_object_put(config);
	}
	request_release(&r);
	return code;
}

const struct command command_operator_raft_list_peers = {
	.name = "operator raft list-peers",
	.summary = "Lists the servers of the Raft configuration",
	.args = "[options]",
	.about = "Lists the servers that decide, or will decide, what the cluster's state is. With -stale any server answers, "
	    "also when there is no leader.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_list,
};

/* ---- remove-peer */

static const struct option remove_options[] = {
	{ "address", OPT_STR, "ip:port", NULL, "The server's address in the Raft configuration." },
	{ "id", OPT_STR, "id", NULL, "The server's ID in the Raft configuration." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run_remove(const struct command *cmd, const struct options *o)
{
	const char *address = options_str(o, "address"), *id = options_str(o, "id");
	struct request r;
	int code;

	(void)cmd;
	if (!no_arguments(o))
		return 1;
	if (*address == '\0' && *id == '\0') {
		fputs("Error removing peer: an address or id is required for the peer to remove\n", stderr);
		return 1;
	}
	if (*address != '\0' && *id != '\0') {
		fputs("Error removing peer: cannot give both an address and id\n", stderr);
		return 1;
	}
	request_init(&r, "DELETE", "/v1/operator/raft/peer", NULL);
	request_param(&r, *address != '\0' ? "address" : "id", *address != '\0' ? address : id);
	code = client_do(o, &r, "Error removing peer");
	if (code == 0)
		printf("Removed peer with %s \"%s\"\n", *address != '\0' ? "address" : "id", *address != '\0' ? address : id);
	request_release(&r);
	return code;
}

const struct command command_operator_raft_remove_peer = {
	.name = "operator raft remove-peer",
	.summary = "Removes a server from the Raft configuration",
	.args = "[options]",
	.about = "Removes the server with the given -address or -id from the Raft configuration: one that is gone for good, so that "
	    "the others do not count on it. A server that is alive will join again.",
	.options = remove_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_remove,
};

/* ---- transfer-leader */

static const struct option transfer_options[] = {
	{ "id", OPT_STR, "id", NULL, "The server that shall lead; by default the one that is most up to date." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run_transfer(const struct command *cmd, const struct options *o)
{
	struct request r;
	int code;

	(void)cmd;
	if (!no_arguments(o))
		return 1;
	request_init(&r, "POST", "/v1/operator/raft/transfer-leader", NULL);
	if (*options_str(o, "id") != '\0')
		request_param(&r, "id", options_str(o, "id"));
	code = client_do(o, &r, "Error transferring leadership");
	if (code == 0)
		puts("Success");
	request_release(&r);
	return code;
}

const struct command command_operator_raft_transfer_leader = {
	.name = "operator raft transfer-leader",
	.summary = "Hands the leadership over to another server",
	.args = "[options]",
	.about = "Has the leader hand its duties over to another server, without an election by time-out.",
	.options = transfer_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_transfer,
};

/* ---- recover: raftd knows its files, so it does the work */

static const struct option recover_options[] = {
	{ "data-dir", OPT_STR, "directory", NULL, "The server's data directory." },
	{ "dry-run", OPT_BOOL, NULL, NULL, "Show what would change, and change nothing." },
	{ "peers", OPT_STR, "file", NULL, "The servers that stay; by default peers.json in the directory raftd of the data directory." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run_recover(const struct command *cmd, const struct options *o)
{
	const char *data_dir = options_str(o, "data-dir"), *peers = options_str(o, "peers");
	char *argv[7] = { (char *)(uintptr_t)"raftd", (char *)(uintptr_t)"recover" };
	char *path, *dir;
	int n = 2;

	if (!no_arguments(o))
		return 1;
	if (*data_dir == '\0') {
		fputs("The data directory of the server must be given.\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	path = agent_find_daemon("raftd");
	if (path == NULL || asprintf(&dir, "%s/raftd", data_dir) < 0) {
		fputs("Error recovering: out of memory\n", stderr);
		free(path);
		return 1;
	}
	if (options_bool(o, "dry-run"))
		argv[n++] = (char *)(uintptr_t)"-n";
	argv[n++] = (char *)(uintptr_t)"--";
	argv[n++] = dir;
	if (*peers != '\0')
		argv[n++] = (char *)(uintptr_t)peers;
	(void)execv(path, argv);
	fprintf(stderr, "Error recovering: cannot run %s: %s\n", path, strerror(errno));
	free(path);
	free(dir);
	return 1;
}

const struct command command_operator_raft_recover = {
	.name = "operator raft recover",
	.summary = "Lets a cluster go on that lost its majority for good",
	.args = "[options]",
	.about = "Changes the Raft configuration in a server's data directory to the servers that are left, when so many are lost for good "
	    "that the rest cannot elect a leader any more. The server must be stopped.\n\n"
	    "The servers that stay are listed in a file of Consul's format: [{\"id\": \"NODE ID\", \"address\": \"IP:PORT\", "
	    "\"non_voter\": false}]. Give every server that stays the same list, then start them. What only the lost servers "
	    "had is lost; with -dry-run the command shows how far the log of this server goes. The recovered cluster has "
	    "nothing to do with the servers left out any more: wipe them before they join it again.\n\n"
	    "The default file is used up: it is renamed to peers.json.done. A server that is started while it is there does the same.",
	.options = recover_options,
	.run = run_recover,
};
