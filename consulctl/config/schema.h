/*
 * schema.h - every key of the configuration: type, default, who needs it, and what becomes of it.
 *
 * Paths are lower-case names joined by dots. An object ("dns_config") has no
 * row of its own: it is there because keys begin with its name.
 */
#ifndef CONSULCTL_CONFIG_SCHEMA_H
#define CONSULCTL_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/str.h"

enum key_type {
	KT_BOOL,
	KT_INT,
	KT_FLOAT,
	KT_STR,
	KT_DURATION,	/* a Go duration string; kept as integer milliseconds */
	KT_PORT,	/* an integer up to 65535; 0 or less: off */
	KT_ADDR,	/* one IP address, or a template */
	KT_ADDRS,	/* IP addresses, unix:// paths or templates in one string, separated by blanks; kept as a list */
	KT_STRS,
	KT_STRMAP,
	KT_DURMAP,	/* name to duration */
	KT_SERVICE,	/* a definition, added to "services" */
	KT_SERVICES,
	KT_CHECK,	/* a definition, added to "checks" */
	KT_CHECKS,
	KT_WATCHES,	/* definitions of watches */
	KT_OBJECTS,	/* a list of objects whose members are not looked at */
	KT_ANY,		/* not looked at */
};

enum key_class {
	KC_USED,
	KC_IGNORED,	/* checked, told at info, and dropped */
	KC_REFUSED,	/* a protection that is not there: only values that switch it off */
	KC_RENAMED,	/* an old name: target is in dflt */
};

enum {
	TO_RAFTD = 1, TO_GOSSIPD = 2, TO_HTTPD = 4, TO_DNSD = 8, TO_CHECKD = 16,
	TO_ALL = 31,
	TO_NONE = 0,		/* the supervisor's own */
};

struct config_key {
	const char *path;
	enum key_type type;
	enum key_class class;
	unsigned daemons;	/* TO_ bits */
	bool reloadable;
	const char *dflt;	/* as it would be written (lists: JSON); NULL: none */
};

extern const struct config_key config_keys[];
extern const size_t config_nkeys;

/* The row of a path, whatever its case; NULL. */
const struct config_key *config_key_find(struct str path);

/* Whether keys below the path exist. */
bool config_key_is_object(struct str path);

/* What a type is called in messages: "a number". */
const char *config_type_text(enum key_type t);

#endif
