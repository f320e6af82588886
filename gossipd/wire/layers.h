/* layers.h - the layers round a message, as packet.c and stream.c share them. */
#ifndef GOSSIPD_WIRE_LAYERS_H
#define GOSSIPD_WIRE_LAYERS_H

#include "gossipd/wire/codec.h"
#include "gossipd/wire/packet.h"

enum { STREAM_SEAL_HEAD = 5 };	/* type, length */

/* The body of a compressed message. */
struct compressed {
	uint64_t algo;
	struct str data;
};

bool wrap_has_keys(const struct wrap *w);

/* Append the label's header when there is a label. */
int MUST_CHECK wrap_put_label(const struct wrap *w, struct buf *out);
/* Take it off: -EBADMSG when it is not the one wanted. */
int MUST_CHECK wrap_take_label(const struct wrap *w, struct str *s);

/* Append the compressed message, type byte included. -ELIMIT: it would not be shorter than `below`; nothing is appended then. */
int MUST_CHECK wrap_put_compressed(struct str plain, size_t below, struct buf *out);
/* Append what is in one, at most max bytes. -EDECODE, -ELIMIT, -ENOMEM. */
int MUST_CHECK wrap_inflate(struct str body, size_t max, struct buf *out);

/* What a stream's seal authenticates: its header and the label. */
struct stream_auth {
	uint8_t bytes[STREAM_SEAL_HEAD + UINT8_MAX];
	struct str s;		/* of them */
};
void stream_auth(const struct wrap *w, const uint8_t head[STREAM_SEAL_HEAD], struct stream_auth *ret);

#endif
