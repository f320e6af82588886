/* args.h - the command line of `consulctl agent`, parsed. */
#ifndef CONSULCTL_CONFIG_ARGS_H
#define CONSULCTL_CONFIG_ARGS_H

#include "consulctl/config/build.h"

enum { CONFIG_ARGS_MAX = 4096 };

struct config_args {
	bool dev;
	const char *format;		/* -config-format, or NULL */
	const char **paths;		/* -config-file and -config-dir, as given */
	size_t npaths;
	const char **fragments;		/* -hcl */
	size_t nfragments;
	struct json_object *lists;	/* flags whose values are added: weaker than the files */
	struct json_object *scalars;	/* the other flags: stronger */
};

struct config_flag {
	const char *name;
	const char *path;		/* of the key; NULL: one of those that name sources */
	const char *value;		/* what usage calls the value; NULL: none is needed */
	const char *help;
};

extern const struct config_flag config_flags[];
extern const size_t config_nflags;

/* A raw value from a default's or flag's text; NULL when it is none of the type (or without memory). */
struct json_object *config_raw_from_text(enum key_type type, const char *text);

#endif
