/*
 * packet.h - datagrams: label, seal, CRC, compression and compound, on and off
 * (spec 2.1). And the wrapping of a whole stream message (spec 3.1).
 *
 * Reading is bounded: PACKET_DEPTH_MAX layers, PACKET_INFLATED_MAX bytes out
 * of one datagram, 255 parts a compound.
 */
#ifndef GOSSIPD_WIRE_PACKET_H
#define GOSSIPD_WIRE_PACKET_H

#include "gossipd/wire/keyring.h"
#include "gossipd/wire/wire.h"

enum {
	PACKET_DEPTH_MAX = 8,
	PACKET_INFLATED_MAX = 1024 * 1024,	/* bytes inflated out of one datagram, all layers together */
	PACKET_PARTS_MAX = 4096,		/* messages out of one datagram */
	STREAM_SEALED_MAX = 20 * 1024 * 1024,
	STREAM_INFLATED_MAX = 64 * 1024 * 1024,
};

/* How one pool wraps. */
struct wrap {
	struct keyring *keys;		/* borrowed; empty: plain */
	bool compress;
	bool verify_incoming, verify_outgoing;	/* spec 2.4; without keys they mean nothing */
	struct str label;		/* borrowed, at most 255 bytes; "" : none */
	struct buf a, b;		/* scratch of packet_unwrap(): what was sealed, what was compressed */
};
/* Plain, uncompressed, and strict once there are keys. */
void wrap_init(struct wrap *w);
void wrap_release(struct wrap *w);

/* Bytes that label and seal add to a datagram. */
size_t wrap_overhead(const struct wrap *w);

/*
 * One message or compound into a datagram, appended to out (nothing on failure). crc: with one. -ENOMEM, -ELIMIT,
 * -EIO (see keyring_seal()).
 */
int MUST_CHECK packet_wrap(struct wrap *w, struct str plain, bool crc, struct buf *out);

/* Why a packet (or a part of it) was dropped: one counter each. */
enum packet_fault { PACKET_OK, PACKET_LABEL, PACKET_SEAL, PACKET_PLAIN, PACKET_CRC_WRONG, PACKET_COMPRESSION, PACKET_COMPOUND, PACKET_DEPTH,
	PACKET_LARGE, PACKET_TYPE, PACKET_EMPTY, PACKET_FAULTS };
const char *packet_fault_text(enum packet_fault f);

/*
 * Take a datagram apart: `message` gets each message (ping, indirect, ack, nack, suspect, alive, dead, user) with its
 * type and body, which point into the datagram or into scratch and last during
 * the call. Good parts count though others are bad; the first fault is returned.
 * `message` may wrap with w, but not unwrap.
 */
enum packet_fault packet_unwrap(struct wrap *w, struct str datagram, void (*message)(void *ctx, uint8_t type, struct str body), void *ctx);

/* Append parts as one compound, or as it is when there is one. -ELIMIT: more than 255 or a part of 64 KiB; -ENOMEM. */
int MUST_CHECK packet_compound(const struct str *parts, size_t n, struct buf *out);

/*
 * A whole stream message as it is sent, appended to out (nothing on failure). dialled: we opened the connection (a label
 * header goes first). -ELIMIT: STREAM_SEALED_MAX.
 */
int MUST_CHECK stream_wrap(struct wrap *w, struct str plain, bool dialled, struct buf *out);

/* LZW, least significant bit first (spec 2.6). -EDECODE; -ELIMIT: more than max bytes. */
int MUST_CHECK lzw_deflate(struct str in, struct buf *out);
int MUST_CHECK lzw_inflate(struct str in, size_t max, struct buf *out);

#endif
