/*
 * operator_autopilot.c - consulctl operator autopilot: how the leader looks
 * after the servers, and what it sees.
 */
#include <stdlib.h>
#include <string.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"
#include "lib/duration.h"

static const char path[] = "/v1/operator/autopilot/configuration";

static bool
no_arguments(const struct options *o)
{
	if (o->nargs > 0)
		fprintf(stderr, "Too many arguments (expected 0, got %d)\n", o->nargs);
	return o->nargs == 0;
}

static const char *
truth(struct json_object *j, const char *name)
{
	return json_object_get_boolean(value_get(j, name)) ? "true" : "false";
}

/* ---- get-config */

static void
print_config(struct json_object *c)
{
	printf("CleanupDeadServers = %s\n", truth(c, "CleanupDeadServers"));
	printf("LastContactThreshold = %s\n", value_text(c, "LastContactThreshold"));
	printf("MaxTrailingLogs = %llu\n", (unsigned long long)value_u64(c, "MaxTrailingLogs"));
	printf("MinQuorum = %llu\n", (unsigned long long)value_u64(c, "MinQuorum"));
	printf("ServerStabilizationTime = %s\n", value_text(c, "ServerStabilizationTime"));
	printf("RedundancyZoneTag = \"%s\"\n", value_text(c, "RedundancyZoneTag"));
	printf("DisableUpgradeMigration = %s\n", truth(c, "DisableUpgradeMigration"));
	printf("UpgradeVersionTag = \"%s\"\n", value_text(c, "UpgradeVersionTag"));
}

/* NULL: the error was printed. */
static struct json_object *
read_config(const struct options *o)
{
	static const char failure[] = "Error querying Autopilot configuration";
	struct json_object *config = NULL;
	struct request r;

	request_init(&r, "GET", path, NULL);
	if (client_do(o, &r, failure) == 0) {
		config = request_json(&r, NULL);
		if (config == NULL)
			fprintf(stderr, "%s: %s\n", failure, r.error);
	}
	request_release(&r);
	return config;
}

static int
run_get(const struct command *cmd, const struct options *o)
{
	struct json_object *config;

	(void)cmd;
	config = no_arguments(o) ? read_config(o) : NULL;
	if (config == NULL)
		return 1;
	print_config(config);
	json_object_put(config);
	return 0;
}

const struct command command_operator_autopilot_get_config = {
	.name = "operator autopilot get-config",
	.summary = "Prints autopilot's configuration",
	.args = "[options]",
	.about = "Prints how autopilot looks after the servers.",
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_get,
};

/* ---- set-config */

static const struct option set_options[] = {
	{ "cleanup-dead-servers", OPT_BOOL, NULL, NULL, "Take servers that failed out of the cluster." },
	{ "disable-upgrade-migration", OPT_BOOL, NULL, NULL, "Kept, and not used: upgrades by migration are not supported." },
	{ "last-contact-threshold", OPT_DURATION, "duration", NULL, "A server not heard of for longer is not healthy." },
	{ "max-trailing-logs", OPT_U64, "number", NULL, "A server that lacks more entries is not healthy." },
	{ "min-quorum", OPT_U64, "number", NULL, "Voters that are kept, failed or not." },
	{ "redundancy-zone-tag", OPT_STR, "name", NULL, "Kept, and not used: redundancy zones are not supported." },
	{ "server-stabilization-time", OPT_DURATION, "duration", NULL, "How long a new server must be healthy before it gets a vote." },
	{ "upgrade-version-tag", OPT_STR, "name", NULL, "Kept, and not used: upgrades by migration are not supported." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static struct json_object *
flag_value(const struct options *o, const struct option *f)
{
	char text[DURATION_TEXT_MAX];

	switch (f->type) {
	case OPT_BOOL:
		return json_object_new_boolean(options_bool(o, f->name));
	case OPT_U64:
		return json_object_new_uint64(options_u64(o, f->name));
	case OPT_DURATION:
		duration_format(options_ns(o, f->name), text);
		return json_object_new_string(text);
	default:
		return json_object_new_string(options_str(o, f->name));
	}
}

/* Lay the flags that were given over the configuration. -ENOMEM. */
static int
merge(struct json_object *config, const struct options *o)
{
	static const char *const names[] = { "CleanupDeadServers", "DisableUpgradeMigration", "LastContactThreshold", "MaxTrailingLogs",
		"MinQuorum", "RedundancyZoneTag", "ServerStabilizationTime", "UpgradeVersionTag" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct json_object *v;

		if (!options_given(o, set_options[i].name))
			continue;
		v = flag_value(o, &set_options[i]);
		if (v == NULL || json_object_object_add(config, names[i], v) < 0) {
			json_object_put(v);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Only if nobody has changed it since it was read. */
static int
write_config(struct json_object *config, const struct options *o)
{
	const char *text = json_object_to_json_string_ext(config, JSON_C_TO_STRING_PLAIN);
	struct request r;
	int code;

	if (text == NULL) {
		fputs("Error setting Autopilot configuration: out of memory\n", stderr);
		return 1;
	}
	request_init(&r, "PUT", path, NULL);
	request_param_u64(&r, "cas", value_u64(config, "ModifyIndex"));
	r.ex.body = (struct str){ text, strlen(text) };
	code = client_do(o, &r, "Error setting Autopilot configuration");
	if (code == 0 && request_true(&r)) {
		puts("Configuration updated!");
	} else if (code == 0) {
		puts("Configuration could not be atomically updated, please try again");
		code = 1;
	}
	request_release(&r);
	return code;
}

static int
run_set(const struct command *cmd, const struct options *o)
{
	struct json_object *config;
	int code = 1;

	(void)cmd;
	config = no_arguments(o) ? read_config(o) : NULL;
	if (config == NULL)
		return 1;
	if (merge(config, o) < 0)
		fputs("Error setting Autopilot configuration: out of memory\n", stderr);
	else
		code = write_config(config, o);
	json_object_put(config);
	return code;
}

const struct command command_operator_autopilot_set_config = {
	.name = "operator autopilot set-config",
	.summary = "Changes autopilot's configuration",
	.args = "[options]",
	.about = "Changes how autopilot looks after the servers: what is not given stays as it is.",
	.options = set_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_set,
};

/* ---- state */

static const struct option state_options[] = {
	{ "format", OPT_STR, "format", "pretty", "pretty or json." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static void
print_meta(struct json_object *meta)
{
	size_t n;
	const char **names = value_names(meta, &n);

	if (names != NULL && n > 0)
		puts("      Meta");
	for (size_t i = 0; names != NULL && i < n; i++)
		printf("         \"%s\": \"%s\"\n", names[i], value_text(meta, names[i]));
	free(names);
}

static void
print_server(struct json_object *s)
{
	printf("   %s\n", value_text(s, "ID"));
	printf("      Name:            %s\n", value_text(s, "Name"));
	printf("      Address:         %s\n", value_text(s, "Address"));
	printf("      Version:         %s\n", value_text(s, "Version"));
	printf("      Status:          %s\n", value_text(s, "Status"));
	printf("      Node Type:       %s\n", value_text(s, "NodeType"));
	printf("      Node Status:     %s\n", value_text(s, "NodeStatus"));
	printf("      Healthy:         %s\n", truth(s, "Healthy"));
	printf("      Last Contact:    %s\n", value_text(s, "LastContact"));
	printf("      Last Term:       %llu\n", (unsigned long long)value_u64(s, "LastTerm"));
	printf("      Last Index:      %llu\n", (unsigned long long)value_u64(s, "LastIndex"));
	print_meta(value_get(s, "Meta"));
}

static int
print_state(struct json_object *state)
{
	struct json_object *voters = value_get(state, "Voters"), *servers = value_get(state, "Servers");
	size_t n;
	const char **ids = value_names(servers, &n);

	if (ids == NULL)
		return 1;
	printf("Healthy:                      %s\n", truth(state, "Healthy"));
	printf("Failure Tolerance:            %llu\n", (unsigned long long)value_u64(state, "FailureTolerance"));
	printf("Optimistic Failure Tolerance: %llu\n", (unsigned long long)value_u64(state, "OptimisticFailureTolerance"));
	printf("Leader:                       %s\n", value_text(state, "Leader"));
	puts("Voters:");
	for (size_t i = 0; i < value_count(voters); i++)
		printf("   %s\n", json_object_get_string(value_at(voters, i)));
	puts("Servers:");
	for (size_t i = 0; i < n; i++)
		print_server(value_get(servers, ids[i]));
	free(ids);
	return 0;
}

static int
print_json(const struct request *r)
{
	struct buf out = BUF_INIT(16 * MiB);
	int rc = value_reindent((struct str){ (const char *)r->ex.reply.data, r->ex.reply.len }, "    ", &out);

	if (rc == 0)
		printf("%.*s\n", (int)out.len, (const char *)out.data);
	buf_release(&out);
	return rc < 0 ? 1 : 0;
}

static int
run_state(const struct command *cmd, const struct options *o)
{
	static const char failure[] = "Error querying Autopilot state";
	const char *format = options_str(o, "format");
	struct json_object *state;
	struct request r;
	int code;

	(void)cmd;
	if (!no_arguments(o))
		return 1;
	if (strcmp(format, "pretty") != 0 && strcmp(format, "json") != 0) {
		fprintf(stderr, "Unknown format: %s\n", format);
		return 1;
	}
	request_init(&r, "GET", "/v1/operator/autopilot/state", NULL);
	code = client_do(o, &r, failure);
	if (code == 0) {
		state = request_json(&r, NULL);
		if (state == NULL)
			fprintf(stderr, "%s: %s\n", failure, r.error);
		code = state == NULL ? 1 : strcmp(format, "json") == 0 ? print_json(&r) : print_state(state);
		json_object_put(state);
	}
	request_release(&r);
	return code;
}

const struct command command_operator_autopilot_state = {
	.name = "operator autopilot state",
	.summary = "Prints what autopilot sees of the servers",
	.args = "[options]",
	.about = "Prints the servers as autopilot sees them: who is healthy, who votes, and how many may fail.",
	.options = state_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_state,
};
