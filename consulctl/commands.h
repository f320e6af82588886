/*
 * commands.h - the commands of consulctl, as one table.
 *
 * A command is one constant: what it is called, what its help says, its
 * flags, and the function that does it. The help text, the man page's
 * synopsis (by test) and the completions (by test) follow from it.
 */
#ifndef CONSULCTL_COMMANDS_H
#define CONSULCTL_COMMANDS_H

#include <stdio.h>

#include "consulctl/options.h"

enum {
	EXIT_MISS = 2,		/* nothing matched; the child of a lock failed */
	EXIT_USAGE = 127,	/* no such command */
};

/* Which of the common flags a command has. */
enum {
	COMMON_CLIENT = 1,	/* it talks to an agent */
	COMMON_SERVER = 2,	/* a server answers: -datacenter, -stale */
};

struct command {
	const char *name;	/* "members"; "kv get": the words of a group joined by one blank */
	const char *summary;	/* one line for the usage */
	const char *args;	/* what follows the name in the synopsis */
	const char *about;	/* paragraphs of the help, an empty line between */
	const struct option *options;
	unsigned common;
	/* Returns the exit code; o holds the parsed flags and the arguments behind them. */
	int (*run)(const struct command *cmd, const struct options *o);
	/* Instead of run, for a command that reads its own flags; argv[0] is the last word of the name. */
	int (*run_argv)(int argc, char **argv);
};

/* Ended by NULL. */
extern const struct command *const commands[];

/* Parse, run, return the exit code. */
int command_run(const struct command *cmd, int argc, char **argv);

/* "Usage: consulctl NAME ARGS", the explanation and all flags. */
void command_help(FILE *f, const struct command *cmd);

/* Reads its own flags. */
int cmd_agent(int argc, char **argv);

extern const struct command command_catalog_datacenters, command_catalog_nodes, command_catalog_services;
extern const struct command command_event, command_exec;
extern const struct command command_force_leave, command_join, command_leave;
extern const struct command command_info, command_reload;
extern const struct command command_keygen, command_keyring;
extern const struct command command_kv_delete, command_kv_export, command_kv_get, command_kv_import, command_kv_put;
extern const struct command command_lock;
extern const struct command command_maint;
extern const struct command command_members;
extern const struct command command_monitor;
extern const struct command command_operator_autopilot_get_config, command_operator_autopilot_set_config, command_operator_autopilot_state;
extern const struct command command_operator_raft_list_peers, command_operator_raft_recover, command_operator_raft_remove_peer,
    command_operator_raft_transfer_leader;
extern const struct command command_rtt;
extern const struct command command_services_deregister, command_services_register;
extern const struct command command_snapshot_inspect, command_snapshot_restore, command_snapshot_save;
extern const struct command command_validate;
extern const struct command command_version;
extern const struct command command_watch;
extern const struct command command_why;

#endif
