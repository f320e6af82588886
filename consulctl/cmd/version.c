/*
 * version.c - consulctl version.
 */
#include <config.h>
#include <string.h>

#include "consulctl/commands.h"

static const struct option options[] = {
	{ "format", OPT_STR, "pretty|json", "pretty", "How to print it." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run(const struct command *cmd, const struct options *o)
{
	const char *format = options_str(o, "format");

	(void)cmd;
	if (strcmp(format, "json") == 0) {
		puts("{\n    \"Version\": \"" PACKAGE_VERSION "\",\n    \"Revision\": \"\",\n    \"Prerelease\": \"\",\n"
		    "    \"RPC\": {\n        \"Default\": 2,\n        \"Min\": 2,\n        \"Max\": 3\n    }\n}");
		return 0;
	}
	if (strcmp(format, "pretty") != 0) {
		fprintf(stderr, "Unknown format: %s\n", format);
		return 1;
	}
	puts("Consulctl v" PACKAGE_VERSION "\nCompatible with Consul v1.10.12\n"
	    "Protocol 2 spoken by default, understands 2 to 3");
	return 0;
}

const struct command command_version = {
	.name = "version",
	.summary = "Prints the version",
	.args = "[options]",
	.about = "Prints the version of this program, and the version of Consul whose interfaces it has.",
	.options = options,
	.run = run,
};
