/* def.h - the members of service and check definitions, for the code that reads them and the test of the manual. */
#ifndef CONSULCTL_CONFIG_DEF_H
#define CONSULCTL_CONFIG_DEF_H

#include <stddef.h>

#include "consulctl/config/schema.h"

enum def_type {
	DT_STR,
	DT_BOOL,
	DT_INT,
	DT_PORT,
	DT_DURATION,	/* kept as the string */
	DT_STRS,
	DT_STRMAP,
	DT_HEADER,	/* name to list of strings */
	DT_ADDRMAP,	/* name to address and port */
	DT_OBJECT,	/* members in sub */
	DT_CHECK,
	DT_CHECKS,
	DT_ANY,
	DT_SCRIPT,	/* gone from Consul: refused */
};

struct def_table;

struct def_key {
	const char *name;	/* as in files; also read without underscores, whatever the case */
	const char *wire;	/* as in lib/records.c */
	enum def_type type;
	const struct def_table *sub;
};

struct def_table {
	const struct def_key *keys;
	size_t n;
};

extern const struct def_table def_service, def_check;

/* Watches are kept by the names that they have in files. */
struct watch_key {
	const char *name;
	enum key_type type;
};

extern const struct watch_key watch_keys[], watch_http_keys[];
extern const size_t watch_nkeys, watch_nhttp_keys;

#endif
