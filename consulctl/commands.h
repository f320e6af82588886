/*
 * commands.h - the commands of consulctl, as one table.
 */
#ifndef CONSULCTL_COMMANDS_H
#define CONSULCTL_COMMANDS_H

struct command {
	const char *name;	/* "agent"; "kv get": the words of a group joined by one blank */
	/* argv[0] is the last word of the name. Returns the exit code. */
	int (*run)(int argc, char **argv);
	const char *summary;	/* one line for the usage */
};

/* Ended by a row without a name. */
extern const struct command commands[];

/* One a file; see the table for what each does. */
int cmd_agent(int argc, char **argv);

#endif
