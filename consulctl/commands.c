/*
 * commands.c - the table of commands.
 */
#include <stddef.h>

#include "consulctl/commands.h"

const struct command commands[] = {
	{ "agent",	cmd_agent,	"Run a node: the five daemons under their supervisor" },
	{ NULL, NULL, NULL },
};
