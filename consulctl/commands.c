/*
 * commands.c - the table of commands.
 */
#include <stddef.h>

#include "consulctl/commands.h"

static const struct command command_agent = {
	.name = "agent",
	.summary = "Runs a node: the five daemons under their supervisor",
	.args = "[options]",
	.run_argv = cmd_agent,
};

/* In the order in which the usage lists them. */
const struct command *const commands[] = {
	&command_agent,
	&command_catalog_datacenters,
	&command_catalog_nodes,
	&command_catalog_services,
	&command_event,
	&command_exec,
	&command_force_leave,
	&command_info,
	&command_join,
	&command_keygen,
	&command_keyring,
	&command_kv_delete,
	&command_kv_export,
	&command_kv_get,
	&command_kv_import,
	&command_kv_put,
	&command_leave,
	&command_lock,
	&command_maint,
	&command_members,
	&command_monitor,
	&command_operator_autopilot_get_config,
	&command_operator_autopilot_set_config,
	&command_operator_autopilot_state,
	&command_operator_raft_list_peers,
	&command_operator_raft_recover,
	&command_operator_raft_remove_peer,
	&command_operator_raft_transfer_leader,
	&command_reload,
	&command_rtt,
	&command_services_deregister,
	&command_services_register,
	&command_snapshot_inspect,
	&command_snapshot_restore,
	&command_snapshot_save,
	&command_validate,
	&command_version,
	&command_watch,
	&command_why,
	NULL,
};
