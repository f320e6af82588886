/*
 * stream.h - reading one message of a TCP stream as its bytes arrive (spec 3).
 *
 * Without a seal there is no outer length: the reader follows the msgpack as
 * it comes, and never looks at a byte twice for that. It holds at most `max`
 * bytes as they came, and STREAM_INFLATED_MAX inflated.
 */
#ifndef GOSSIPD_WIRE_STREAM_H
#define GOSSIPD_WIRE_STREAM_H

#include "gossipd/wire/packet.h"

enum {
	STREAM_ROWS_MAX = 128 * 1024,	/* rows of a push/pull that are read */
	STREAM_ROW_MEAN = 128,		/* bytes: less only where there are few */
};

struct stream_reader;

/* dialled: we opened the connection (no label header comes back). w must live as long. NULL without memory. */
struct stream_reader *stream_reader_new(struct wrap *w, bool dialled, size_t max);
void stream_reader_free(struct stream_reader *r);

/*
 * From somebody who may be anybody: what is not sealed is inflated to this many bytes at most, and has a row for each
 * STREAM_ROW_MEAN of them at most. What a key has sealed keeps the limits above.
 */
void stream_reader_bound(struct stream_reader *r, size_t inflated_max);

/*
 * More bytes. 1: the message is whole (stream_reader_message()), 0: more are
 * needed, negative: -EDECODE, -ELIMIT (too long), -EBADMSG (seal, label, or plain where sealed is
 * wanted), -ENOMEM; why is one sentence.
 */
int MUST_CHECK stream_reader_add(struct stream_reader *r, const void *p, size_t n, const char **ret_why);

struct stream_message {
	uint8_t type;			/* WIRE_PUSH_PULL, WIRE_PING, WIRE_ACK, WIRE_USER, WIRE_ERROR */
	struct str body;		/* behind the type byte; of WIRE_USER the Serf message, of others the msgpack */
	/* WIRE_PUSH_PULL: */
	bool join;
	size_t nrows;
	struct msg_alive *rows;		/* owned by the reader */
	struct str user_state;
	bool sealed;
};
/* NULL until it is whole; valid until the reader is freed. */
const struct stream_message *stream_reader_message(const struct stream_reader *r);

/* Append a plain push/pull: header, rows given one by one by `next` (-EINVAL when it gives fewer than nrows), user state. */
int MUST_CHECK stream_put_push_pull(struct buf *out, bool join, size_t nrows, bool (*next)(void *ctx, struct msg_alive *ret), void *ctx,
    struct str user_state);
/* Append a plain user message: its header and the Serf message. */
int MUST_CHECK stream_put_user(struct buf *out, struct str message);

#endif
