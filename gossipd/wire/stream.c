/* stream.c - one stream message, read as it arrives; and the two that are not a plain msgpack value, written. */
#include "gossipd/wire/stream.h"

#include <stdlib.h>

#include "gossipd/wire/layers.h"
#include "gossipd/wire/scan.h"

enum stage { AT_LABEL, AT_FIRST, AT_SEALED, AT_COMPRESSED, AT_TYPE, AT_HEADER, AT_ROWS, AT_BYTES, AT_END };

struct stream_reader {
	struct wrap *w;
	struct buf in;			/* as it came; empty once it was opened or inflated */
	struct buf plain;		/* what was sealed or compressed in it */
	struct scan scan;		/* over the one that is read */
	enum stage stage;
	bool whole;			/* everything is in plain: nothing more can come */
	bool inflated;
	size_t inflated_max;		/* of what is not sealed */
	size_t start;			/* of the message, behind the label's header */
	size_t header_end, rows_end;
	int64_t user_len;
	struct stream_message m;
	struct arena arena;
	int failed;
	const char *why;
};

struct pp_header {
	bool join;
	int64_t nodes, user_state_len;
};
static const struct field pp_fields[] = {
	FIELD(pp_header, join, "Join", F_BOOL, W_AT(2)),
	FIELD(pp_header, nodes, "Nodes", F_INT, W_AT(0)),
	FIELD(pp_header, user_state_len, "UserStateLen", F_INT, W_AT(1)),
};
static RECORD(rec_pp_header, pp_header, "push/pull", pp_fields);

struct user_header {
	int64_t len;
};
static const struct field user_fields[] = {
	FIELD(user_header, len, "UserMsgLen", F_INT, W_AT(0)),
};
static RECORD(rec_user_header, user_header, "user message", user_fields);

struct stream_reader *
stream_reader_new(struct wrap *w, bool dialled, size_t max)
{
	struct stream_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->w = w;
	r->stage = dialled ? AT_FIRST : AT_LABEL;
	r->scan.limit = max;
	r->inflated_max = STREAM_INFLATED_MAX;
	buf_init(&r->in, max);
	buf_init(&r->plain, STREAM_INFLATED_MAX);
	arena_init(&r->arena, STREAM_INFLATED_MAX);
	return r;
}

void
stream_reader_free(struct stream_reader *r)
{
	if (r == NULL)
		return;
	buf_release(&r->in);
	buf_release(&r->plain);
	arena_release(&r->arena);
	free(r->m.rows);
	free(r);
}

void
stream_reader_bound(struct stream_reader *r, size_t inflated_max)
{
	r->inflated_max = inflated_max < STREAM_INFLATED_MAX ? inflated_max : STREAM_INFLATED_MAX;
}

/* What the message may take when it has been inflated. */
static size_t
inflated_max(const struct stream_reader *r)
{
	return r->m.sealed ? STREAM_INFLATED_MAX : r->inflated_max;
}

const struct stream_message *
stream_reader_message(const struct stream_reader *r)
{
	return r->stage == AT_END ? &r->m : NULL;
}

/* The stages below return 1: on to the next; 0: more bytes are needed; negative with a reason. */
static int
fail(struct stream_reader *r, int rc, const char *why)
{
	r->why = why;
	return rc;
}

/* Everything there is of what is read now. */
static struct str
all(const struct stream_reader *r)
{
	const struct buf *b = r->whole ? &r->plain : &r->in;

	return (struct str){ (const char *)b->data, b->len };
}

static struct str
part(const struct stream_reader *r, size_t from, size_t to)
{
	return (struct str){ all(r).p + from, to - from };
}

static int
scan_on(struct stream_reader *r)
{
	int rc = scan_go(&r->scan, all(r));

	if (r->whole && (rc == 0 || rc == -ELIMIT))
		return fail(r, -EDECODE, "the message is cut short");
	return rc == -ELIMIT ? fail(r, rc, "the message is too long") : rc < 0 ? fail(r, rc, "malformed msgpack") : rc;
}

/* ---- the layers round it */

static int
take_label(struct stream_reader *r)
{
	struct str s = all(r);
	size_t had = s.len;

	if (s.len == 0)
		return 0;
	/* The header's own length first, then all of it; and none of it where no label is wanted. */
	if ((uint8_t)s.p[0] == WIRE_LABEL && r->w->label.len > 0 && (s.len < 2 || s.len < 2 + (size_t)(uint8_t)s.p[1]))
		return 0;
	if (wrap_take_label(r->w, &s) < 0)
		return fail(r, -EBADMSG, "another label");
	r->start = r->scan.pos = had - s.len;
	r->stage = AT_FIRST;
	return 1;
}

/* Reads the message, or what is round it, from the beginning of `plain` on. */
static void
read_plain(struct stream_reader *r)
{
	buf_release(&r->in);
	r->scan = (struct scan){ .limit = r->plain.len };
	r->start = 0;
	r->whole = true;
	r->stage = AT_TYPE;
}

static int
take_first(struct stream_reader *r)
{
	struct str s = all(r);
	uint8_t first;

	if (s.len == r->start)
		return 0;
	first = (uint8_t)s.p[r->start];
	if (first == WIRE_ENCRYPT) {
		if (!wrap_has_keys(r->w))
			return fail(r, -EBADMSG, "it is sealed, and there is no key");
		r->stage = AT_SEALED;
		return 1;
	}
	if (wrap_has_keys(r->w) && r->w->verify_incoming)
		return fail(r, -EBADMSG, "it is not sealed");
	r->stage = AT_TYPE;
	return 1;
}

static int
take_sealed(struct stream_reader *r)
{
	struct str s = all(r);
	const uint8_t *p = (const uint8_t *)s.p + r->start;
	struct stream_auth auth;
	size_t n;
	int rc;

	s = (struct str){ s.p + r->start, s.len - r->start };
	if (s.len < STREAM_SEAL_HEAD)
		return 0;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
	if (n > STREAM_SEALED_MAX || n > r->in.max - r->start - STREAM_SEAL_HEAD)
		return fail(r, -ELIMIT, "the message is too long");
	if (s.len - STREAM_SEAL_HEAD < n)
		return 0;
	stream_auth(r->w, p, &auth);
	rc = keyring_open(r->w->keys, (struct str){ s.p + STREAM_SEAL_HEAD, n }, auth.s, &r->plain);
	if (rc < 0)
		return fail(r, rc, rc == -EBADMSG ? "no key opens it" : "no memory to open it");
	r->m.sealed = true;
	read_plain(r);
	return 1;
}

static int
take_compressed(struct stream_reader *r)
{
	struct buf inflated = BUF_INIT(STREAM_INFLATED_MAX);
	int rc = scan_on(r);

	if (rc <= 0)
		return rc;
	rc = wrap_inflate(part(r, r->start + 1, r->scan.pos), inflated_max(r), &inflated);
	buf_release(&r->plain);
	r->plain = inflated;
	if (rc < 0)
		return fail(r, rc, rc == -ELIMIT ? "it inflates to too much" : rc == -ENOMEM ? "no memory to inflate it" : "broken compression");
	read_plain(r);
	r->inflated = true;
	return 1;
}

/* ---- the message */

static int
take_type(struct stream_reader *r)
{
	struct str s = all(r);

	if (s.len == r->start)
		return fail(r, -EDECODE, "the message is empty");
	r->m.type = (uint8_t)s.p[r->start];
	r->scan.pos = r->start + 1;
	scan_values(&r->scan, 1);
	switch (r->m.type) {
	case WIRE_COMPRESS:
		if (r->inflated)
			break;
		r->stage = AT_COMPRESSED;
		return 1;
	case WIRE_PING:
	case WIRE_ACK:
	case WIRE_ERROR:
	case WIRE_USER:
	case WIRE_PUSH_PULL:
		r->stage = AT_HEADER;
		return 1;
	default:
		break;
	}
	return fail(r, -EDECODE, "a type that does not come on streams");
}

static int
want_bytes(struct stream_reader *r, int64_t n)
{
	if (n < 0)
		return fail(r, -EDECODE, "a negative length");
	scan_bytes(&r->scan, (uint64_t)n);
	r->stage = AT_BYTES;
	return 1;
}

static int
take_pp_header(struct stream_reader *r, struct str body)
{
	struct pp_header h;

	if (wire_get(body, &rec_pp_header, &h, NULL, NULL) < 0 || h.nodes < 0 || h.user_state_len < 0)
		return fail(r, -EDECODE, "malformed header of a push/pull");
	if (h.nodes > STREAM_ROWS_MAX || (uint64_t)h.nodes > inflated_max(r) / STREAM_ROW_MEAN)
		return fail(r, -ELIMIT, "too many rows");
	r->m.join = h.join;
	r->m.nrows = (size_t)h.nodes;
	r->user_len = h.user_state_len;
	scan_values(&r->scan, (uint64_t)h.nodes);
	r->stage = AT_ROWS;
	return 1;
}

static int
take_header(struct stream_reader *r)
{
	struct user_header h;
	int rc = scan_on(r);
	struct str body;

	if (rc <= 0)
		return rc;
	r->header_end = r->scan.pos;
	body = part(r, r->start + 1, r->header_end);
	if (r->m.type == WIRE_PUSH_PULL)
		return take_pp_header(r, body);
	if (r->m.type == WIRE_USER) {
		if (wire_get(body, &rec_user_header, &h, NULL, NULL) < 0)
			return fail(r, -EDECODE, "malformed header of a user message");
		return want_bytes(r, h.len);
	}
	r->m.body = body;
	r->stage = AT_END;
	return 1;
}

static int
take_rows(struct stream_reader *r)
{
	int rc = scan_on(r);

	if (rc <= 0)
		return rc;
	r->rows_end = r->scan.pos;
	return want_bytes(r, r->user_len);
}

static int
decode_rows(struct stream_reader *r)
{
	size_t at = r->header_end, used = 0;
	int rc = 0;

	if (r->m.nrows == 0)
		return 0;
	r->m.rows = calloc(r->m.nrows, sizeof(*r->m.rows));
	if (r->m.rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < r->m.nrows && rc == 0; i++) {
		rc = wire_get(part(r, at, r->rows_end), &rec_msg_row, &r->m.rows[i], &r->arena, &used);
		at += used;
	}
	return rc;
}

static int
take_bytes(struct stream_reader *r)
{
	int rc = scan_on(r);

	if (rc <= 0)
		return rc;
	if (r->m.type == WIRE_USER) {
		r->m.body = part(r, r->header_end, r->scan.pos);
	} else {
		rc = decode_rows(r);
		if (rc < 0)
			return fail(r, rc, rc == -ENOMEM ? "no memory for the rows" : "malformed row of a push/pull");
		r->m.body = part(r, r->start + 1, r->scan.pos);
		r->m.user_state = part(r, r->rows_end, r->scan.pos);
	}
	r->stage = AT_END;
	return 1;
}

static int
step(struct stream_reader *r)
{
	static int (*const stages[])(struct stream_reader *r) = {
		[AT_LABEL] = take_label, [AT_FIRST] = take_first, [AT_SEALED] = take_sealed, [AT_COMPRESSED] = take_compressed,
		[AT_TYPE] = take_type, [AT_HEADER] = take_header, [AT_ROWS] = take_rows, [AT_BYTES] = take_bytes,
	};

	return stages[r->stage](r);
}

int
stream_reader_add(struct stream_reader *r, const void *p, size_t n, const char **ret_why)
{
	size_t room;
	int rc;

	if (r->stage == AT_END)
		return 1;
	room = r->in.max - r->in.len;
	rc = r->failed;
	if (rc == 0 && buf_add(&r->in, p, n < room ? n : room) < 0)
		rc = fail(r, -ENOMEM, "no memory for it");
	while (rc >= 0 && r->stage != AT_END) {
		rc = step(r);
		if (rc == 0)
			break;
	}
	if (rc == 0 && n > room)
		rc = fail(r, -ELIMIT, "the message is too long");
	if (rc < 0) {
		r->failed = rc;
		*ret_why = r->why;
	}
	return rc;
}

/* ---- writing */

int
stream_put_push_pull(struct buf *out, bool join, size_t nrows, bool (*next)(void *ctx, struct msg_alive *ret), void *ctx,
    struct str user_state)
{
	const struct pp_header h = { join, (int64_t)nrows, (int64_t)user_state.len };
	size_t from = out->len;
	int rc = wire_put(out, WIRE_PUSH_PULL, &rec_pp_header, &h);

	for (size_t i = 0; rc == 0 && i < nrows; i++) {
		struct msg_alive row;

		rc = next(ctx, &row) ? wire_put_body(out, &rec_msg_row, &row) : -EINVAL;
	}
	if (rc == 0)
		rc = buf_add(out, user_state.p, user_state.len);
	if (rc < 0)
		out->len = from;
	return rc;
}

int
stream_put_user(struct buf *out, struct str message)
{
	const struct user_header h = { (int64_t)message.len };
	size_t from = out->len;
	int rc = wire_put(out, WIRE_USER, &rec_user_header, &h);

	if (rc == 0)
		rc = buf_add(out, message.p, message.len);
	if (rc < 0)
		out->len = from;
	return rc;
}
