/*
 * load.h - what the files that load a snapshot share: the loader, and what every record of it needs.
 */
#ifndef RAFTD_ARCHIVE_LOAD_H
#define RAFTD_ARCHIVE_LOAD_H

#include "raftd/archive/internal.h"

enum { LOAD_KEY_MAX = 1 << 20, LOAD_NAME_SHOWN = 200 };
#define LOAD_INDEX_END (UINT64_C(1) << 62)	/* indexes are below, and so they can still grow */

struct loader {
	struct fsm *f;
	struct str datacenter;
	struct arena arena;		/* of one record */
	struct buf image;		/* one record of the image */
	struct buf last_node;		/* each of a node's records repeats it */
	char *why;			/* of the record at hand */
	uint64_t kvs, tombstones, sessions, nodes, services, checks, queries;	/* the highest index of each, for tables without a record of it */
	uint64_t tokens, policies, roles, methods, bindings;	/* the same of ACLs */
	uint64_t last_index;		/* of the header */
	bool coordinates;		/* there are some, which have no index of their own */
};

/* A name for a sentence. */
#define SHOWN(s) (int)((s).len < LOAD_NAME_SHOWN ? (s).len : LOAD_NAME_SHOWN), (s).p != NULL ? (s).p : ""

/* ---- load_item.c */

/* Say why the record at hand is not taken: -EINVAL. */
int load_refuse(struct loader *l, const char *fmt, ...) PRINTF(2, 3);
/* s in lower case; and x NUL y: keys of services and checks. In the arena; p is NULL without memory. */
struct str load_lower(struct loader *l, struct str s);
struct str load_join_lower(struct loader *l, struct str x, struct str y);
/* A record of the image, into the state; key.p NULL: -ENOMEM. */
int MUST_CHECK load_put(struct loader *l, enum fsm_table table, struct str key, struct str value);
int MUST_CHECK load_put_record(struct loader *l, enum fsm_table table, struct str key, const struct record *rec, const void *obj);
/* A record of the snapshot. */
int MUST_CHECK load_decode(struct loader *l, const struct record *rec, struct str value, void *obj);
/* The indexes of an item are in bounds; the highest is remembered. */
int MUST_CHECK load_take_indexes(struct loader *l, uint64_t create, uint64_t modify, uint64_t *highest);
/* A name that becomes a part of a key. */
int MUST_CHECK load_check_name(struct loader *l, const char *what, struct str name);
/* Maps are kept in the order of their keys. */
void load_sort_strmap(struct strmap *m);
int MUST_CHECK load_sort_recmap(struct loader *l, struct recmap *m, size_t size);
/* 1: there is a record of this key; its value is appended. prefix: the key as fsm_walk() wants it. */
int MUST_CHECK load_find(struct loader *l, enum fsm_table table, struct str prefix, struct str key, struct buf *ret_value);

/* ---- load_catalog.c */

/* A node, with its services and checks. */
int MUST_CHECK load_register(struct loader *l, struct str value);

#endif
