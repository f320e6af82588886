/*
 * watch_command.h - the command that runs a watch of the config files.
 *
 * Pure, but for watch_program().
 */
#ifndef CHECKD_WATCH_COMMAND_H
#define CHECKD_WATCH_COMMAND_H

#include <json-c/json_object.h>

#include "lib/record.h"

enum {
	WATCH_WORDS_MAX = 512,
	WATCH_ENV_MAX = 8,
	WATCH_ARENA_MAX = 4 * 1024 * 1024,
};

struct watch_command {
	struct strs args, env;	/* as for process_start(); what is secret is in env */
	const char *label;	/* what it runs, for the log */
};

/* Where this node serves HTTP, as -http-addr takes it; NULL: nowhere, or without memory. */
const char *watch_address(struct json_object *slice, struct arena *a);

/* The program consulctl; NULL without memory. */
const char *watch_program(struct arena *a);

/*
 * The command of one member of the slice's watches. All strings are the
 * arena's. -EINVAL with *ret_why told, -ENOMEM, -ELIMIT.
 */
int MUST_CHECK watch_command(struct json_object *watch, const char *program, const char *address, struct arena *a,
    struct watch_command *ret, const char **ret_why);

#endif
