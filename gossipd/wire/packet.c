/* packet.c - the layers round a message: on for what we send, off for what comes. */
#include "gossipd/wire/packet.h"

#include <assert.h>
#include <zlib.h>

#include "gossipd/wire/layers.h"
#include "gossipd/wire/lzw.h"

enum {
	CRC_HEAD = 5,		/* type, sum */
	LABEL_HEAD = 2,		/* type, length */
	SCRATCH_KEPT = 16 * 1024,
};

void
wrap_init(struct wrap *w)
{
	memset(w, 0, sizeof(*w));
	w->verify_incoming = w->verify_outgoing = true;
	buf_init(&w->a, WIRE_PACKET_MAX);
	buf_init(&w->b, PACKET_INFLATED_MAX);
}

void
wrap_release(struct wrap *w)
{
	buf_release(&w->a);
	buf_release(&w->b);
}

bool
wrap_has_keys(const struct wrap *w)
{
	return w->keys != NULL && keyring_count(w->keys) > 0;
}

static bool
seals(const struct wrap *w)
{
	return w->verify_outgoing && wrap_has_keys(w);
}

size_t
wrap_overhead(const struct wrap *w)
{
	return (w->label.len > 0 ? LABEL_HEAD + w->label.len : 0) + (seals(w) ? SEAL_OVERHEAD : 0);
}

/* ---- on */

int
wrap_put_label(const struct wrap *w, struct buf *out)
{
	const uint8_t head[LABEL_HEAD] = { WIRE_LABEL, (uint8_t)w->label.len };
	int rc;

	if (w->label.len == 0)
		return 0;
	if (w->label.len > UINT8_MAX)
		return -ELIMIT;
	rc = buf_add(out, head, sizeof(head));
	return rc < 0 ? rc : buf_add(out, w->label.p, w->label.len);
}

/* ---- compression: a map {Algo, Buf}, Algo 0 */

static const char compress_head[] = "\x09\x82\xa4" "Algo\x00\xa3" "Buf";
enum { COMPRESS_HEAD = sizeof(compress_head) - 1, RAW_HEAD_MAX = 5 };

/* The header of a byte string in the raw dialect. */
static size_t
raw_head(uint8_t head[RAW_HEAD_MAX], size_t n)
{
	if (n < 32) {
		head[0] = (uint8_t)(0xa0 | n);
		return 1;
	}
	if (n <= UINT16_MAX) {
		head[0] = 0xda;
		head[1] = (uint8_t)(n >> 8);
		head[2] = (uint8_t)n;
		return 3;
	}
	head[0] = 0xdb;
	for (int i = 0; i < 4; i++)
		head[1 + i] = (uint8_t)(n >> (24 - 8 * i));
	return RAW_HEAD_MAX;
}

int
wrap_put_compressed(struct str plain, size_t below, struct buf *out)
{
	size_t from = out->len, at = from + COMPRESS_HEAD + RAW_HEAD_MAX, n, head_len;
	uint8_t head[RAW_HEAD_MAX];
	int rc = buf_add(out, compress_head, COMPRESS_HEAD);

	/* How wide its length is will be known behind it. */
	if (rc == 0)
		rc = buf_add(out, (const uint8_t[RAW_HEAD_MAX]){ 0 }, RAW_HEAD_MAX);
	if (rc == 0)
		rc = lzw_deflate_within(plain, below, out);
	if (rc < 0) {
		out->len = from;
		return rc;
	}
	n = out->len - at;
	head_len = raw_head(head, n);
	if (COMPRESS_HEAD + head_len + n >= below) {
		out->len = from;
		return -ELIMIT;
	}
	memmove(out->data + from + COMPRESS_HEAD, head, head_len);
	memmove(out->data + from + COMPRESS_HEAD + head_len, out->data + at, n);
	out->len -= RAW_HEAD_MAX - head_len;
	return 0;
}

/* ---- a datagram of ours */

static int
put_maybe_compressed(const struct wrap *w, struct str plain, struct buf *out)
{
	int rc = w->compress ? wrap_put_compressed(plain, plain.len, out) : -ELIMIT;

	return rc == -ELIMIT ? buf_add(out, plain.p, plain.len) : rc;
}

static int
put_checked(const struct wrap *w, struct str plain, bool crc, struct buf *out)
{
	size_t from = out->len;
	uint8_t *p;
	uLong sum;
	int rc;

	if (!crc)
		return put_maybe_compressed(w, plain, out);
	rc = buf_add(out, (const uint8_t[CRC_HEAD]){ WIRE_CRC }, CRC_HEAD);
	if (rc == 0)
		rc = put_maybe_compressed(w, plain, out);
	if (rc < 0)
		return rc;
	p = out->data + from;
	sum = crc32(0, p + CRC_HEAD, (uInt)(out->len - from - CRC_HEAD));
	for (int i = 0; i < 4; i++)
		p[1 + i] = (uint8_t)(sum >> (24 - 8 * i));
	return 0;
}

int
packet_wrap(struct wrap *w, struct str plain, bool crc, struct buf *out)
{
	size_t from = out->len, sealed_from;
	int rc = wrap_put_label(w, out);

	sealed_from = out->len;
	if (rc == 0 && seals(w))
		rc = buf_add(out, (const uint8_t[SEAL_HEAD]){ 0 }, SEAL_HEAD);
	if (rc == 0)
		rc = put_checked(w, plain, crc, out);
	if (rc == 0 && seals(w))
		rc = keyring_seal_tail(w->keys, out, sealed_from, w->label);
	if (rc < 0)
		out->len = from;
	return rc;
}

int
packet_compound(const struct str *parts, size_t n, struct buf *out)
{
	size_t from = out->len;
	int rc;

	if (n == 1)
		return buf_add(out, parts[0].p, parts[0].len);
	if (n > UINT8_MAX)
		return -ELIMIT;
	rc = buf_add(out, (const uint8_t[2]){ WIRE_COMPOUND, (uint8_t)n }, 2);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (parts[i].len > UINT16_MAX)
			rc = -ELIMIT;
		else
			rc = buf_add(out, (const uint8_t[2]){ (uint8_t)(parts[i].len >> 8), (uint8_t)parts[i].len }, 2);
	}
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = buf_add(out, parts[i].p, parts[i].len);
	if (rc < 0)
		out->len = from;
	return rc;
}

int
stream_wrap(struct wrap *w, struct str plain, bool dialled, struct buf *out)
{
	size_t from = out->len, at, n;
	int rc = dialled ? wrap_put_label(w, out) : 0;
	struct stream_auth auth;

	at = out->len;
	if (rc == 0 && seals(w))
		rc = buf_add(out, (const uint8_t[STREAM_SEAL_HEAD + SEAL_HEAD]){ WIRE_ENCRYPT }, STREAM_SEAL_HEAD + SEAL_HEAD);
	/* A stream is compressed even when that makes it longer, as the peers do it. */
	if (rc == 0)
		rc = w->compress ? wrap_put_compressed(plain, SIZE_MAX, out) : buf_add(out, plain.p, plain.len);
	if (rc == 0 && seals(w)) {
		n = out->len - at - STREAM_SEAL_HEAD + SEAL_OVERHEAD - SEAL_HEAD;
		for (int i = 0; i < 4; i++)
			out->data[at + 1 + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
		stream_auth(w, out->data + at, &auth);
		rc = n > STREAM_SEALED_MAX ? -ELIMIT : keyring_seal_tail(w->keys, out, at + STREAM_SEAL_HEAD, auth.s);
	}
	if (rc < 0)
		out->len = from;
	return rc;
}

void
stream_auth(const struct wrap *w, const uint8_t head[STREAM_SEAL_HEAD], struct stream_auth *ret)
{
	assert(w->label.len <= UINT8_MAX);
	memcpy(ret->bytes, head, STREAM_SEAL_HEAD);
	if (w->label.len > 0)
		memcpy(ret->bytes + STREAM_SEAL_HEAD, w->label.p, w->label.len);
	ret->s = (struct str){ (const char *)ret->bytes, STREAM_SEAL_HEAD + w->label.len };
}

/* ---- a datagram of others */

static const char *const fault_texts[PACKET_FAULTS] = {
	[PACKET_OK] = "good", [PACKET_LABEL] = "another label", [PACKET_SEAL] = "no key opens it",
	[PACKET_PLAIN] = "not sealed", [PACKET_CRC_WRONG] = "wrong checksum", [PACKET_COMPRESSION] = "broken compression",
	[PACKET_COMPOUND] = "broken compound", [PACKET_DEPTH] = "too many layers", [PACKET_LARGE] = "too much in it",
	[PACKET_TYPE] = "unknown type", [PACKET_EMPTY] = "empty",
};

const char *
packet_fault_text(enum packet_fault f)
{
	return fault_texts[f];
}

struct unwrapping {
	struct wrap *w;
	void (*message)(void *ctx, uint8_t type, struct str body);
	void *ctx;
	enum packet_fault fault;
	size_t parts, inflated;
	bool b_taken;		/* a layer further out stands in the scratch */
};

static void unwrap_part(struct unwrapping *u, struct str part, int depth);

static void
drop(struct unwrapping *u, enum packet_fault f)
{
	if (u->fault == PACKET_OK)
		u->fault = f;
}

int
wrap_inflate(struct str body, size_t max, struct buf *out)
{
	static const struct field fields[] = {
		FIELD(compressed, algo, "Algo", F_UINT, W_U8 | W_AT(0)),
		FIELD(compressed, data, "Buf", F_BYTES, W_AT(1)),
	};
	static RECORD(rec_compressed, compressed, "compress", fields);
	struct arena a = ARENA_INIT(WIRE_PACKET_MAX);
	struct compressed c;
	int rc = wire_get(body, &rec_compressed, &c, &a, NULL);

	if (rc == 0 && c.algo != 0)
		rc = -EDECODE;
	if (rc == 0)
		rc = lzw_inflate(c.data, max, out);
	arena_release(&a);
	return rc;
}

static void
unwrap_compressed(struct unwrapping *u, struct str body, int depth)
{
	size_t max = PACKET_INFLATED_MAX - u->inflated;
	struct buf own = BUF_INIT(PACKET_INFLATED_MAX);
	/* Compression inside compression is legal and nobody does it: only the first one has a scratch kept warm. */
	const bool first = !u->b_taken;
	struct buf *out = first ? &u->w->b : &own;
	int rc;

	buf_clear(out);
	rc = wrap_inflate(body, max, out);
	if (rc == 0) {
		u->inflated += out->len;
		u->b_taken = true;
		unwrap_part(u, (struct str){ (const char *)out->data, out->len }, depth);
		u->b_taken = !first;
	} else {
		/* One bomb is enough: no other may cost as much. */
		u->inflated = rc == -ELIMIT ? PACKET_INFLATED_MAX : u->inflated;
		drop(u, rc == -ELIMIT ? PACKET_LARGE : PACKET_COMPRESSION);
	}
	buf_release(&own);
}

static void
unwrap_compound(struct unwrapping *u, struct str body, int depth)
{
	const uint8_t *lengths = (const uint8_t *)body.p + 1;
	size_t n = body.len > 0 ? (uint8_t)body.p[0] : 0, at = 1 + 2 * n;

	if (body.len == 0 || at > body.len) {
		drop(u, PACKET_COMPOUND);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)lengths[2 * i] << 8 | lengths[2 * i + 1];

		/* What came whole of a compound that was cut short counts. */
		if (len > body.len - at) {
			drop(u, PACKET_COMPOUND);
			return;
		}
		unwrap_part(u, (struct str){ body.p + at, len }, depth);
		at += len;
	}
}

static void
unwrap_part(struct unwrapping *u, struct str part, int depth)
{
	uint8_t type;
	struct str body;

	if (part.len == 0) {
		drop(u, PACKET_EMPTY);
		return;
	}
	type = (uint8_t)part.p[0];
	body = (struct str){ part.p + 1, part.len - 1 };
	switch (type) {
	case WIRE_COMPOUND:
	case WIRE_COMPRESS:
		if (depth == PACKET_DEPTH_MAX)
			drop(u, PACKET_DEPTH);
		else if (type == WIRE_COMPOUND)
			unwrap_compound(u, body, depth + 1);
		else
			unwrap_compressed(u, body, depth + 1);
		break;
	case WIRE_PING:
	case WIRE_INDIRECT:
	case WIRE_ACK:
	case WIRE_NACK:
	case WIRE_SUSPECT:
	case WIRE_ALIVE:
	case WIRE_DEAD:
	case WIRE_USER:
		if (u->parts == PACKET_PARTS_MAX) {
			drop(u, PACKET_LARGE);
			break;
		}
		u->parts++;
		u->message(u->ctx, type, body);
		break;
	default:
		drop(u, PACKET_TYPE);
	}
}

int
wrap_take_label(const struct wrap *w, struct str *s)
{
	size_t len;

	if (s->len == 0 || (uint8_t)s->p[0] != WIRE_LABEL)
		return w->label.len == 0 ? 0 : -EBADMSG;
	len = s->len > 1 ? (uint8_t)s->p[1] : 0;
	/* A header without a label is an error of its own, also where none is wanted. */
	if (len == 0 || len > s->len - LABEL_HEAD || !str_eq((struct str){ s->p + LABEL_HEAD, len }, w->label))
		return -EBADMSG;
	*s = (struct str){ s->p + LABEL_HEAD + len, s->len - LABEL_HEAD - len };
	return 0;
}

static bool
crc_right(struct str s)
{
	const uint8_t *p = (const uint8_t *)s.p;

	return crc32(0, p + CRC_HEAD, (uInt)(s.len - CRC_HEAD)) ==
	    ((uLong)p[1] << 24 | (uLong)p[2] << 16 | (uLong)p[3] << 8 | (uLong)p[4]);
}

/* Opens the seal when there are keys. A ping begins as a seal does: only trying tells them apart. */
static enum packet_fault
unseal(struct wrap *w, struct str *s)
{
	buf_clear(&w->a);
	if (!wrap_has_keys(w))
		return PACKET_OK;
	if (keyring_open(w->keys, *s, w->label, &w->a) == 0) {
		*s = (struct str){ (const char *)w->a.data, w->a.len };
		return PACKET_OK;
	}
	if (!w->verify_incoming)
		return PACKET_OK;
	return s->len > 0 && (uint8_t)s->p[0] > 1 && (uint8_t)s->p[0] <= WIRE_CRC ? PACKET_PLAIN : PACKET_SEAL;
}

enum packet_fault
packet_unwrap(struct wrap *w, struct str datagram, void (*message)(void *ctx, uint8_t type, struct str body), void *ctx)
{
	struct unwrapping u = { .w = w, .message = message, .ctx = ctx };
	struct str s = datagram;
	enum packet_fault f;

	if (s.len > WIRE_PACKET_MAX)
		return PACKET_LARGE;
	if (wrap_take_label(w, &s) < 0)
		return PACKET_LABEL;
	f = unseal(w, &s);
	if (f != PACKET_OK)
		return f;
	if (s.len >= CRC_HEAD && (uint8_t)s.p[0] == WIRE_CRC) {
		if (!crc_right(s))
			return PACKET_CRC_WRONG;
		s = (struct str){ s.p + CRC_HEAD, s.len - CRC_HEAD };
	}
	unwrap_part(&u, s, 0);
	buf_shrink(&w->b, SCRATCH_KEPT);
	buf_shrink(&w->a, SCRATCH_KEPT);
	return u.fault;
}
