/*
 * gossip_stream.c - any bytes as a stream, at once and in pieces, which must
 * end alike; what was whole is written anew and comes back the same.
 */
#include "fuzz/fuzz.h"
#include "fuzz/gossip.h"

enum { STREAM_MAX = 1024 * 1024 };

/* So many bytes at a time, as the seed says; all at once when it is zero. */
static struct stream_reader *
read_in_pieces(struct wrap *w, bool dialled, struct str s, uint32_t seed, int *ret)
{
	struct stream_reader *r = stream_reader_new(w, dialled, STREAM_MAX);
	const char *why = NULL;
	int rc = 0;

	must(r != NULL);
	for (size_t at = 0, n; at < s.len && rc == 0; at += n) {
		seed = seed * 1103515245u + (seed != 0 ? 12345u : 0);
		n = seed == 0 ? s.len : 1 + (seed >> 16) % 7;
		if (n > s.len - at)
			n = s.len - at;
		rc = stream_reader_add(r, s.p + at, n, &why);
		must(rc == 0 || rc == 1 || why != NULL);
	}
	must((rc == 1) == (stream_reader_message(r) != NULL));
	*ret = rc;
	return r;
}

static bool
rows_alike(const struct stream_message *a, const struct stream_message *b)
{
	if (a->nrows != b->nrows)
		return false;
	for (size_t i = 0; i < a->nrows; i++)
		if (!record_equal(&rec_msg_row, &a->rows[i], &b->rows[i], NULL))
			return false;
	return true;
}

struct rows {
	const struct stream_message *m;
	size_t next;
};

static bool
next_row(void *ctx, struct msg_alive *ret)
{
	struct rows *rows = ctx;

	*ret = rows->m->rows[rows->next++];
	return true;
}

/* Only the layers and the order of keys may differ. */
static void
put_again(struct wrap *w, const struct stream_message *m)
{
	struct buf plain = BUF_INIT(AGAIN_MAX), out = BUF_INIT(AGAIN_MAX);
	struct rows rows = { m, 0 };
	struct stream_reader *r;
	const struct stream_message *back;
	int rc;

	if (m->type == WIRE_PUSH_PULL)
		must(stream_put_push_pull(&plain, m->join, m->nrows, next_row, &rows, m->user_state) == 0);
	else if (m->type == WIRE_USER)
		must(stream_put_user(&plain, m->body) == 0);
	else
		must(buf_addc(&plain, m->type) == 0 && buf_add(&plain, m->body.p, m->body.len) == 0);
	must(stream_wrap(w, whole(&plain), true, &out) == 0);
	if (out.len <= STREAM_MAX) {
		r = read_in_pieces(w, false, whole(&out), 0, &rc);
		must(rc == 1);
		back = stream_reader_message(r);
		must(back->type == m->type && back->join == m->join && rows_alike(back, m) && str_eq(back->user_state, m->user_state));
		must(m->type == WIRE_PUSH_PULL || str_eq(back->body, m->body));
		stream_reader_free(r);
	}
	buf_release(&plain);
	buf_release(&out);
}

static void
look_inside(const struct stream_message *m)
{
	struct arena a = ARENA_INIT(1 << 20);
	union gossip_any any;

	if (m->type == WIRE_USER)
		serf_again(m->body, &a, 0);
	if (m->type == WIRE_PUSH_PULL)
		serf_again(m->user_state, &a, 0);
	if (m->type == WIRE_PING)
		(void)again(m->body, &rec_msg_ping, &any, &a);
	if (m->type == WIRE_ACK)
		(void)again(m->body, &rec_msg_ack, &any, &a);
	if (m->type == WIRE_ERROR)
		(void)again(m->body, &rec_msg_error, &any, &a);
	for (size_t i = 0; i < m->nrows; i++) {
		arena_reset(&a);
		tags_again(m->rows[i].meta, &a);
	}
	arena_release(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keyring *keys = vector_keys();
	struct stream_reader *once, *pieces;
	const struct stream_message *m, *again_m;
	struct str s;
	struct wrap w;
	int rc, rc_pieces;

	if (size == 0)
		return 0;
	s = (struct str){ (const char *)data + 1, size - 1 };
	wrap_for(&w, keys, data[0]);
	once = read_in_pieces(&w, (data[0] & DIALLED) != 0, s, 0, &rc);
	pieces = read_in_pieces(&w, (data[0] & DIALLED) != 0, s, data[0] + 1u, &rc_pieces);
	must(rc == rc_pieces);
	if (rc == 1) {
		m = stream_reader_message(once);
		again_m = stream_reader_message(pieces);
		must(m->type == again_m->type && str_eq(m->body, again_m->body) && rows_alike(m, again_m));
		must(m->sealed == again_m->sealed && str_eq(m->user_state, again_m->user_state));
		look_inside(m);
		put_again(&w, m);
	}
	stream_reader_free(once);
	stream_reader_free(pieces);
	wrap_release(&w);
	return 0;
}
