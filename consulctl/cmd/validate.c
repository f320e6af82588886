/* validate.c - `consulctl validate`: is the configuration one that the agent would take. */
#include <stdio.h>
#include <string.h>

#include "consulctl/commands.h"
#include "consulctl/config/config.h"

static const struct option options[] = {
	{ "config-format", OPT_STR, "hcl|json", NULL, "Read all files in this format, whatever they are called." },
	{ "quiet", OPT_BOOL, NULL, NULL, "Print nothing when the configuration is valid." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
run(const struct command *cmd, const struct options *o)
{
	const char *format = options_str(o, "config-format");
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	int rc;

	(void)cmd;
	if (*format != 0 && strcmp(format, "hcl") != 0 && strcmp(format, "json") != 0) {
		(void)fprintf(stderr, "-config-format must be either 'hcl' or 'json'\n");
		return 1;
	}
	if (o->nargs == 0) {
		(void)fprintf(stderr, "Must specify at least one config file or directory\n");
		return 1;
	}
	rc = config_validate((const char *const *)o->args, (size_t)o->nargs, *format != 0 ? format : NULL, &err);
	if (rc < 0)
		(void)fprintf(stderr, "Config validation failed: %.*s\n", (int)err.len,
		    err.data != NULL ? (const char *)err.data : "");
	else if (!options_bool(o, "quiet"))
		(void)printf("Configuration is valid!\n");
	buf_release(&err);
	return rc < 0 ? 1 : 0;
}

const struct command command_validate = {
	.name = "validate",
	.summary = "Checks configuration files and directories",
	.args = "[options] FILE_OR_DIRECTORY...",
	.about = "Reads the files, and the .hcl and .json files of the directories, as the agent would, and says whether it "
	    "would start with them.",
	.options = options,
	.run = run,
};
