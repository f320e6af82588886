/*
 * record.h - C structures described by tables.
 *
 * A record is described once: for each member its wire name, type and
 * offset. From the table come its msgpack writer and reader, its reader from
 * JSON, its deep copy, and the columns of the command line. Wire names are
 * the field names of Consul's own structures. Unknown msgpack fields are
 * skipped, so that nodes of two versions understand each other.
 *
 * Members of a decoded record point into the input (strings, bytes) and into
 * the arena (lists, maps, sub-records): it is valid as long as both are.
 */
#ifndef LIB_RECORD_H
#define LIB_RECORD_H

#include <json-c/json_object.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/mp.h"

/* The C type of each member. */
enum field_type {
	F_BOOL,		/* bool */
	F_INT,		/* int64_t */
	F_UINT,		/* uint64_t */
	F_DOUBLE,	/* double */
	F_STR,		/* struct str, msgpack str */
	F_BYTES,	/* struct str, msgpack bin; base64 in JSON */
	F_DURATION,	/* int64_t nanoseconds; JSON in: a Go duration string or nanoseconds */
	F_STRS,		/* struct strs */
	F_STRMAP,	/* struct strmap */
	F_RECORD,	/* an embedded struct, table in sub */
	F_RECORDS,	/* struct records of sub */
	F_RECMAP,	/* struct recmap of sub: string keys */
	F_RAW,		/* struct str: one msgpack value as it came; JSON in: anything, or what the table in sub shows of it */
};

enum field_flag {
	FF_OMITEMPTY = 1,	/* left out when zero or empty */
	FF_NULL = 2,		/* an empty str, list or map is written as nil (a Go nil); without it as "" [] {} */
				/* F_RECORDS and F_STRMAP that were read as empty, not nil, are written so: RECORD_EMPTY */
	FF_INTERNAL = 4,	/* between daemons and on disk only: record_encode() with RECORD_PUBLIC leaves it out */
	FF_DURSTR = 8,		/* F_DURATION written as a Go duration string */
	FF_SECONDS = 16,	/* F_DURATION from JSON: a bare number below 1000 means seconds */
	FF_ALIAS = 32,		/* a second name of a member above: read, never written */
};

struct field;

/* A record named "" has one unnamed field and stands for that field's bare value (a list as a map's value). */
struct record {
	const char *name;
	size_t size;
	const struct field *fields;
	size_t nfields;
};

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	size_t offset;
	const struct record *sub;
};

struct strs {
	struct str *v;
	size_t n;
};

struct strpair {
	struct str key, value;
};

/* Kept in the bytewise order of the keys by every writer of this project. */
struct strmap {
	struct strpair *v;
	size_t n;
};

struct records {
	void *v;		/* array of n structs of sub->size */
	size_t n;
};

struct recmap {
	struct str *keys;
	void *v;
	size_t n;
};

#define FIELD(st, member, wire, type_, flags_) { wire, type_, flags_, offsetof(struct st, member), NULL }
#define FIELD_SUB(st, member, wire, type_, flags_, sub_) { wire, type_, flags_, offsetof(struct st, member), &(sub_) }
#define RECORD(var, st, wire, fields_) const struct record var = { wire, sizeof(struct st), fields_, ARRAY_LEN(fields_) }

/* In the place of a list's or map's elements: it is there, and empty. Never followed. */
extern char record_empty[1];
#define RECORD_EMPTY ((void *)record_empty)

enum record_mode { RECORD_WHOLE = 0, RECORD_PUBLIC = 1 };

enum { RECORD_ELEMS_MAX = 1 << 20 };	/* elements of one list or map */

/* Append obj as a msgpack map. Errors are left in w->err. */
void record_encode(const struct record *rec, const void *obj, enum record_mode mode, struct mp_w *w);

/*
 * Append its members without the map's header, and return how many they
 * are: for a writer that adds large members from several pieces (FF_OMITEMPTY
 * ones, left empty in obj).
 */
uint32_t record_encode_members(const struct record *rec, const void *obj, enum record_mode mode, struct mp_w *w);

/*
 * Read one map (nil: all zero) into obj, which is zeroed first. Lists and
 * maps come from the arena. -EDECODE for a malformed value or a field of the
 * wrong type, -ENOMEM or -ELIMIT from the arena.
 */
int MUST_CHECK record_decode(const struct record *rec, struct mp_r *r, void *obj, struct arena *a);

/*
 * JSON object into obj, which is NOT zeroed: what the object does not name
 * keeps its value (defaults). Names match whatever their case, and with
 * underscores left out, as Consul's decoders do. null leaves a member alone.
 * F_RECORDS also takes a single object, as a list of one.
 *
 * Returns 0, or -EINVAL with one sentence in ret_err (at most errlen bytes):
 * `json: unknown field "x"` when strict and a name is not in the table, or
 * which field had a value of the wrong kind. Strings are copied to the arena.
 */
int MUST_CHECK record_from_json(const struct record *rec, struct json_object *j, void *obj, struct arena *a,
    bool strict, char *ret_err, size_t errlen);

/* A deep copy in one malloc'ed block (free() it); NULL without memory. */
void *record_dup(const struct record *rec, const void *obj);

/* Whether two objects have equal members (fields named in `skip`, NULL-terminated or NULL, left out). */
bool record_equal(const struct record *rec, const void *a, const void *b, const char *const *skip);

/* The member called `wire`, or NULL. */
const struct field *record_field(const struct record *rec, struct str wire);

/* Look a key up; NULL when absent. */
const struct str *strmap_get(const struct strmap *m, struct str key);

#endif
