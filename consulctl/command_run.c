/*
 * command_run.c - from a row of the table to an exit code.
 */
#include "consulctl/commands.h"

enum { SENTENCE_MAX = 16 * KiB, ABOUT_INDENT = 2 };

void
command_help(FILE *f, const struct command *cmd)
{
	fprintf(f, "Usage: consulctl %s%s%s\n\n", cmd->name, *cmd->args != '\0' ? " " : "", cmd->args);
	if (cmd->about != NULL) {
		options_print_text(f, ABOUT_INDENT, cmd->about);
		fputc('\n', f);
	}
	if (cmd->common & COMMON_CLIENT)
		options_print(f, "HTTP API Options", options_client);
	if (cmd->common & COMMON_SERVER)
		options_print(f, "Server Options", options_server);
	options_print(f, "Command Options", cmd->options);
}

int
command_run(const struct command *cmd, int argc, char **argv)
{
	struct buf err = BUF_INIT(SENTENCE_MAX);
	struct options o;
	int rc;

	if (cmd->run_argv != NULL)
		return cmd->run_argv(argc, argv);
	options_init(&o);
	options_use(&o, cmd->options);
	options_use(&o, cmd->common & COMMON_CLIENT ? options_client : NULL);
	options_use(&o, cmd->common & COMMON_SERVER ? options_server : NULL);
	rc = options_parse(&o, argc, argv, &err);
	if (rc == 0) {
		rc = cmd->run(cmd, &o);
	} else if (rc > 0) {
		command_help(stdout, cmd);
		rc = 0;
	} else {
		const char *text = buf_cstr(&err);

		fprintf(stderr, "%s\n\n", text != NULL ? text : err_text(rc));
		command_help(stderr, cmd);
		rc = 1;
	}
	options_release(&o);
	buf_release(&err);
	return rc;
}
