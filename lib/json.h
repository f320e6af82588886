/*
 * json.h - JSON at the edges: msgpack written as JSON in one pass, and input
 * parsed by json-c within bounds.
 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <json-c/json.h>

#include "lib/mp.h"

enum {
	JSON_DEPTH_MAX = 64,		/* nesting that is read and written */
	JSON_RAW_DEPTH_MAX = 24,	/* of a value that is passed on as it came: whatever is wrapped round it, all can read it */
};

/* Append s as a JSON string, quoted and escaped as Go's encoder does (< > & and U+2028/9 as \u escapes, bad UTF-8 as \ufffd). */
int MUST_CHECK json_add_string(struct buf *out, struct str s);

/* Append s in standard base64 with padding, without quotes. */
int MUST_CHECK json_add_base64(struct buf *out, struct str s);

/*
 * Append one msgpack value as JSON: bin as a base64 string, nil as null,
 * maps in the order in which they were written. pretty: indented by four
 * blanks and without a newline behind, as Consul's ?pretty (empty containers
 * as [] and {}). indent is the string of one level for other habits (NULL:
 * compact, "    ": pretty, "\t": kv export).
 */
int MUST_CHECK json_from_mp(struct buf *out, struct mp_r *r, const char *indent);

/* Append a json-c value as msgpack (ints, doubles, strings, arrays, objects sorted by key); -ELIMIT below JSON_RAW_DEPTH_MAX. */
int MUST_CHECK mp_from_json(struct mp_w *w, struct json_object *j);

/*
 * Parse text whole, depth at most JSON_DEPTH_MAX. NULL with a sentence in
 * ret_err (where and what); the object is the caller's to put. A JSON null
 * gives *ret_null = true and NULL. What json-c would change without a word is
 * refused: integers beyond 64 bits, and names with a NUL.
 */
struct json_object *json_parse(const char *text, size_t len, bool *ret_null, char *ret_err, size_t errlen);

/* Standard base64 into the buffer; -EINVAL when malformed. */
int MUST_CHECK base64_decode(struct str s, struct buf *out);

#endif
