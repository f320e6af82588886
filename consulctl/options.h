/*
 * options.h - the flags of a command, parsed and explained from one table.
 *
 * The rules are those of Go's flag package, which Consul's users know: one or
 * two dashes, "-x v" or "-x=v", a bool may stand alone or be "-x=false",
 * parsing ends at the first argument that is no flag, or behind "--".
 */
#ifndef CONSULCTL_OPTIONS_H
#define CONSULCTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/buf.h"

enum option_type {
	OPT_BOOL,
	OPT_STR,
	OPT_INT,
	OPT_U64,
	OPT_DURATION,	/* as Go writes it */
	OPT_LIST,	/* repeatable text */
	OPT_MAP,	/* repeatable key=value */
};

struct option {
	const char *name;	/* without dashes; NULL ends a table */
	enum option_type type;
	const char *arg;	/* what the help calls the value; NULL for a bool */
	const char *dflt;	/* as it would be typed; NULL: false, "", 0 or nothing */
	const char *help;
};

enum { OPTIONS_TABLES_MAX = 3 };

struct option_value;

/* The flags of one command line. All text is borrowed from argv and the tables. */
struct options {
	const struct option *tables[OPTIONS_TABLES_MAX];
	size_t ntables;
	struct option_value *values;	/* in the order of the command line */
	size_t nvalues;
	char **args;			/* what followed the flags */
	int nargs;
};

/* The flags that every command talking to an agent has, and those of commands that a server answers. */
extern const struct option options_client[];
extern const struct option options_server[];

/* Add a table (NULL: nothing) before options_parse(). */
void options_init(struct options *o);
void options_use(struct options *o, const struct option *table);

/*
 * Parse argv[1..]. 0; 1 when help was asked for; -EINVAL with a sentence in
 * err; -ENOMEM. Values are checked for their type here, so the getters cannot
 * fail. argv must outlive o.
 */
int MUST_CHECK options_parse(struct options *o, int argc, char **argv, struct buf *err);
void options_release(struct options *o);

/* The last value given, else the default. The name must be in a table: anything else is our own mistake. */
bool options_bool(const struct options *o, const char *name);
const char *options_str(const struct options *o, const char *name);
int64_t options_int(const struct options *o, const char *name);
uint64_t options_u64(const struct options *o, const char *name);
int64_t options_ns(const struct options *o, const char *name);

/* Was it on the command line? */
bool options_given(const struct options *o, const char *name);

/* The i-th value of a repeatable flag, NULL behind the last. */
const char *options_list(const struct options *o, const char *name, size_t i);

/* Go's idea of a bool: 1 t T true TRUE True and their opposites. -EINVAL otherwise. */
int MUST_CHECK options_bool_parse(const char *s, bool *ret);

/* The explanation of every flag of a table, sorted by name, under a title. Nothing for an empty table. */
void options_print(FILE *f, const char *title, const struct option *table);

/* Text filled to 72 columns, each line behind `indent` blanks; an empty line begins a paragraph. */
void options_print_text(FILE *f, unsigned indent, const char *text);

#endif
