/*
 * maint.c - consulctl maint: taking a node or a service out of the answers.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"

static const struct option options[] = {
	{ "enable", OPT_BOOL, NULL, NULL, "Begin maintenance." },
	{ "disable", OPT_BOOL, NULL, NULL, "End maintenance." },
	{ "reason", OPT_STR, "text", NULL, "Why; it is shown in the notes of the check that is made." },
	{ "service", OPT_STR, "id", NULL, "Only this service of the agent, not the whole node." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static const char *
complaint(const struct options *o)
{
	bool enable = options_bool(o, "enable"), disable = options_bool(o, "disable");

	if (enable && disable)
		return "Only one of -enable or -disable may be provided";
	if (!enable && *options_str(o, "reason") != '\0')
		return "Reason may only be provided with -enable";
	if (!enable && !disable && *options_str(o, "service") != '\0')
		return "Service requires either -enable or -disable";
	return NULL;
}

static void
print_checks(struct json_object *checks, const char *node)
{
	static const char of_service[] = "_service_maintenance:";
	size_t n;
	const char **ids = value_names(checks, &n);

	for (size_t i = 0; ids != NULL && i < n; i++) {
		struct json_object *check = value_get(checks, ids[i]);

		if (strcmp(ids[i], "_node_maintenance") == 0)
			printf("Node:\n  Name:   %s\n  Reason: %s\n\n", node, value_text(check, "Notes"));
		else if (strncmp(ids[i], of_service, sizeof(of_service) - 1) == 0)
			printf("Service:\n  ID:     %s\n  Reason: %s\n\n", value_text(check, "ServiceID"), value_text(check, "Notes"));
	}
	free(ids);
}

static int
list(struct client *c, const char *node)
{
	struct json_object *checks = NULL;
	struct request r;
	bool is_null = false;
	int rc;

	request_init(&r, "GET", "/v1/agent/checks", NULL);
	rc = client_call(c, &r, false);
	if (rc == 0) {
		checks = request_json(&r, &is_null);
		rc = checks != NULL || is_null ? 0 : -EBADMSG;
	}
	if (rc < 0)
		fprintf(stderr, "Error getting checks: %s\n", r.error);
	else
		print_checks(checks, node);
	json_object_put(checks);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

static int
change(struct client *c, const struct options *o)
{
	const char *service = options_str(o, "service");
	bool enable = options_bool(o, "enable"), of_node = *service == '\0';
	struct request r;
	int rc;

	request_init(&r, "PUT", of_node ? "/v1/agent/maintenance" : "/v1/agent/service/maintenance/", of_node ? NULL : service);
	request_param(&r, "enable", enable ? "true" : "false");
	if (enable)
		request_param(&r, "reason", options_str(o, "reason"));
	rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "Error %s %s maintenance: %s\n", enable ? "enabling" : "disabling", of_node ? "node" : "service", r.error);
	else if (of_node)
		printf("Node maintenance is now %s\n", enable ? "enabled" : "disabled");
	else
		printf("Service maintenance is now %s for \"%s\"\n", enable ? "enabled" : "disabled", service);
	request_release(&r);
	return rc < 0 ? 1 : 0;
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *wrong = complaint(o);
	struct client c;
	char *node;
	int code = 1;

	(void)cmd;
	if (wrong != NULL) {
		fprintf(stderr, "%s\n", wrong);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	node = client_node_name(&c);
	if (node != NULL)
		code = options_bool(o, "enable") || options_bool(o, "disable") ? change(&c, o) : list(&c, node);
	free(node);
	client_close(&c);
	return code;
}

const struct command command_maint = {
	.name = "maint",
	.summary = "Controls node or service maintenance mode",
	.args = "[options]",
	.about = "Puts the agent's node, or one of its services, into maintenance: a critical check keeps it out of DNS answers "
	    "and of healthy services until maintenance is ended, also over restarts.\n\n"
	    "Without -enable or -disable, prints what is under maintenance.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
