/*
 * ops.h - the operations that daemons serve, as a table (ops.def).
 */
#ifndef LIB_OPS_H
#define LIB_OPS_H

#include <stdint.h>

#include "lib/records_acl.h"

enum op_server { OP_SERVER_ANY, OP_SERVER_RAFTD, OP_SERVER_GOSSIPD, OP_SERVER_HTTPD, OP_SERVER_DNSD, OP_SERVER_CHECKD,
	OP_SERVER_CONSULCTL };
enum op_access { OP_ACCESS_LOCAL, OP_ACCESS_READ, OP_ACCESS_WRITE, OP_ACCESS_ACT, OP_ACCESS_STREAM, OP_ACCESS_LEADER,
	OP_ACCESS_PEER };

enum op {
#define OP(number, ident, name, server, access, body, request, reply, text) OP_##ident = number,
#include "lib/ops.def"
#undef OP
};

struct op_info {
	uint16_t number;
	const char *name;
	enum op_server server;
	enum op_access access;
	uint32_t body_max;		/* bytes, of a request */
	const struct record *request;	/* NULL: the body is QueryOptions alone */
	const char *reply, *text;	/* for doc/protocols.md */
};

/* The row of an operation, or NULL for a number that is not in the table. */
const struct op_info *op_info(uint16_t number);

/* Row i, or NULL past the last. */
const struct op_info *op_row(unsigned i);

const char *op_server_name(enum op_server s);

/*
 * Append a request body: options (NULL: none) and request (NULL: none),
 * which must be the operation's record.
 */
int MUST_CHECK op_request_encode(uint16_t number, const struct query_options *o, const void *request, struct buf *out);

/*
 * Read a request body into o and request (may be NULL when the row has no
 * record). -EDECODE when malformed or with bytes left over.
 */
int MUST_CHECK op_request_decode(const struct op_info *op, const void *body, size_t len, struct query_options *o,
    void *request, struct arena *a);

/* Read a reply's QueryMeta; ret_payload is the payload's bytes inside body. */
int MUST_CHECK op_reply_decode(const void *body, size_t len, struct query_meta *ret_meta, struct str *ret_payload);

#endif
