/*
 * agent_state.c - consulctl info and reload: what the agent says of itself,
 * and making it read its configuration again.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"

/* ---- info */

static int
print_section(struct json_object *stats, const char *section)
{
	struct json_object *values = value_get(stats, section);
	size_t n;
	const char **names = value_names(values, &n);

	if (names == NULL)
		return -ENOMEM;
	printf("%s:\n", section);
	for (size_t i = 0; i < n; i++)
		printf("\t%s = %s\n", names[i], value_text(values, names[i]));
	free(names);
	return 0;
}

static int
print_stats(struct json_object *self)
{
	struct json_object *stats = value_get(self, "Stats");
	size_t n;
	const char **names;
	int rc = 0;

	if (stats == NULL) {
		fputs("Agent response did not contain 'Stats' key\n", stderr);
		return -EBADMSG;
	}
	names = value_names(stats, &n);
	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = print_section(stats, names[i]);
	free(names);
	return rc;
}

static int
run_info(const struct command *cmd, const struct options *o)
{
	struct json_object *self;
	struct request r;
	int code;

	(void)cmd;
	request_init(&r, "GET", "/v1/agent/self", NULL);
	code = client_do(o, &r, "Error querying agent");
	if (code == 0) {
		self = request_json(&r, NULL);
		if (self == NULL)
			fprintf(stderr, "Error querying agent: %s\n", r.error);
		code = self != NULL && print_stats(self) == 0 ? 0 : 1;
		json_object_put(self);
	}
	request_release(&r);
	return code;
}

const struct command command_info = {
	.name = "info",
	.summary = "Prints figures for operators",
	.args = "[options]",
	.about = "Prints what the agent and its parts say of their state, in sections.",
	.common = COMMON_CLIENT,
	.run = run_info,
};

/* ---- reload */

static int
run_reload(const struct command *cmd, const struct options *o)
{
	struct request r;
	int code;

	(void)cmd;
	request_init(&r, "PUT", "/v1/agent/reload", NULL);
	code = client_do(o, &r, "Error reloading");
	request_release(&r);
	if (code == 0)
		puts("Configuration reload triggered");
	return code;
}

const struct command command_reload = {
	.name = "reload",
	.summary = "Makes the agent read its configuration again",
	.args = "[options]",
	.about = "Makes the agent read its configuration files again, as SIGHUP does. A configuration that is refused changes nothing.",
	.common = COMMON_CLIENT,
	.run = run_reload,
};
