/* gossip_wire_stream.c - streams: whatever the pieces, what is refused, and when; and what it costs. */
#include "t/unit/gossip_vectors.h"

#include <time.h>

static const char key_bytes[32] = "0123456789abcdefghijklmnopqrstuv";

static struct wrap
wrap_with(size_t key)
{
	struct wrap w;

	wrap_init(&w);
	w.keys = keyring_new();
	assert_non_null(w.keys);
	if (key > 0)
		assert_int_equal(keyring_add(w.keys, (struct str){ key_bytes, key }), 0);
	return w;
}

static void
unwrap_end(struct wrap *w)
{
	keyring_free(w->keys);
	wrap_release(w);
}

/* The result of everything at once, and of every byte alone, which must be the same. */
static int
read_all(struct wrap *w, bool dialled, size_t max, struct str in, const char **ret_why)
{
	struct stream_reader *at_once = stream_reader_new(w, dialled, max), *bytewise = stream_reader_new(w, dialled, max);
	const char *why = "", *why_bytewise = "";
	int rc, rc_bytewise = 0;

	assert_non_null(at_once);
	assert_non_null(bytewise);
	rc = stream_reader_add(at_once, in.p, in.len, &why);
	for (size_t i = 0; i < in.len && rc_bytewise == 0; i++)
		rc_bytewise = stream_reader_add(bytewise, in.p + i, 1, &why_bytewise);
	if (rc != rc_bytewise || strcmp(why, why_bytewise) != 0)
		fail_msg("at once %d %s, bytewise %d %s", rc, why, rc_bytewise, why_bytewise);
	/* It stays as it is. */
	assert_int_equal(stream_reader_add(at_once, "\0", rc == 0 ? 0 : 1, &why), rc);
	assert_true((stream_reader_message(at_once) != NULL) == (rc == 1));
	stream_reader_free(at_once);
	stream_reader_free(bytewise);
	if (ret_why != NULL)
		*ret_why = why;
	return rc;
}

static struct buf
wrapped(struct wrap *w, struct str plain, bool dialled)
{
	struct buf b = BUF_INIT(1 << 26);

	assert_int_equal(stream_wrap(w, plain, dialled, &b), 0);
	return b;
}

#define PLAIN_PP "\6\x83\xa4Join\xc3\xa5Nodes\0\xacUserStateLen\3abc"

static void
what_is_wrong_is_refused_with_a_sentence(void **state)
{
	static const struct {
		struct str in;
		int rc;
		const char *why;
	} cases[] = {
		{ STR(""), 0, "" },
		{ STR("\3\x80"), -EDECODE, "a type that does not come on streams" },
		{ STR("\x07"), -EDECODE, "a type that does not come on streams" },
		{ STR("\xf4\3lab\2\x80"), -EBADMSG, "another label" },
		{ STR("\x0a"), -EBADMSG, "it is sealed, and there is no key" },
		{ STR("\2\xc1"), -EDECODE, "malformed msgpack" },
		{ STR("\2\x81\xa1x"), 0, "" },
		{ STR("\2\x80"), 1, "" },
		{ STR("\2\x80trailing"), 1, "" },
		{ STR("\0\x92\7\xdf\0\0\0\1\xd9\1k\xc7\2xyz"), 1, "" },	/* whatever is in it, its end is found */
		{ STR("\0\x93\xca" "1234\xd8" "12345678901234567\xd3" "12345678"), 1, "" },
		{ STR("\2\xdb\x7f\xff\xff\xff"), -ELIMIT, "the message is too long" },
		{ STR("\2\xdd\xff\xff\xff\xff"), -ELIMIT, "the message is too long" },
		{ STR("\2\xdf\xff\xff\xff\xff"), -ELIMIT, "the message is too long" },
		{ STR("\x09\x80"), -EDECODE, "broken compression" },
		{ STR("\x09\x82\xa4" "Algo\1\xa3" "Buf\xa3\0\3\2"), -EDECODE, "broken compression" },
		{ STR("\x09\x82\xa4" "Algo\0\xa3" "Buf\xa3\0\3\2"), -EDECODE, "the message is empty" },
		{ STR("\x08\x81\xaaUserMsgLen\xff"), -EDECODE, "a negative length" },
		{ STR("\x08\x81\xaaUserMsgLen\xa1" "1"), -EDECODE, "malformed header of a user message" },
		{ STR("\x08\x81\xaaUserMsgLen\3ab"), 0, "" },
		{ STR("\x08\x81\xaaUserMsgLen\3abc"), 1, "" },
		{ STR("\x08\x81\xaaUserMsgLen\xce\x7f\xff\xff\xff"), -ELIMIT, "the message is too long" },
		{ STR("\6\x81\xa5Nodes\xff"), -EDECODE, "malformed header of a push/pull" },
		{ STR("\6\x81\xacUserStateLen\xff"), -EDECODE, "malformed header of a push/pull" },
		{ STR("\6\x81\xa5Nodes\xa1x"), -EDECODE, "malformed header of a push/pull" },
		{ STR("\6\x81\xa5Nodes\xce\0\2\0\1"), -ELIMIT, "too many rows" },
		{ STR("\6\x81\xacUserStateLen\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), -ELIMIT, "the message is too long" },
		{ STR("\6\x81\xa5Nodes\1\x81\xa4Port\xce\0\1\0\0"), -EDECODE, "malformed row of a push/pull" },
		{ STR("\6\x81\xa5Nodes\2\x81\xa4Port\1"), 0, "" },
		{ STR("\6\x80"), 1, "" },
		{ STR(PLAIN_PP), 1, "" },
	};
	struct wrap w = wrap_with(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why;
		int rc = read_all(&w, false, 1 << 20, cases[i].in, &why);

		if (rc != cases[i].rc || strcmp(why, cases[i].why) != 0)
			fail_msg("%zu: %d %s", i, rc, why);
		/* An answer has no label, otherwise nothing differs. */
		if (strstr(why, "label") == NULL)
			assert_int_equal(read_all(&w, true, 1 << 20, cases[i].in, NULL), rc);
	}
	unwrap_end(&w);
}

static void
a_message_is_what_was_put(void **state)
{
	struct wrap w = wrap_with(16);
	struct buf plain = BUF_INIT(1 << 16), in;
	struct stream_reader *r;
	const char *why;
	const struct stream_message *m;

	(void)state;
	w.compress = true;
	assert_int_equal(stream_put_user(&plain, STR("\3hello")), 0);
	in = wrapped(&w, buf_str(&plain), true);
	r = stream_reader_new(&w, false, 4096);
	assert_non_null(r);
	assert_null(stream_reader_message(r));
	assert_int_equal(stream_reader_add(r, in.data, in.len, &why), 1);
	m = stream_reader_message(r);
	assert_true(m->type == WIRE_USER && m->sealed);
	assert_same(STR("\3hello"), m->body, "message");
	stream_reader_free(r);
	stream_reader_free(NULL);
	buf_release(&plain);
	buf_release(&in);
	unwrap_end(&w);
}

static void
seals_and_labels_are_wanted_as_configured(void **state)
{
	struct wrap none = wrap_with(0), a = wrap_with(16), b = wrap_with(32), lab = wrap_with(16);
	struct buf plain, sealed, labelled, answer;
	const char *why;

	(void)state;
	lab.label = STR("lab");
	plain = wrapped(&none, STR(PLAIN_PP), true);
	sealed = wrapped(&a, STR(PLAIN_PP), true);
	labelled = wrapped(&lab, STR(PLAIN_PP), true);
	answer = wrapped(&lab, STR(PLAIN_PP), false);
	assert_int_equal(labelled.len, answer.len + 5);
	assert_int_equal(read_all(&a, false, 4096, buf_str(&sealed), NULL), 1);
	assert_int_equal(read_all(&b, false, 4096, buf_str(&sealed), &why), -EBADMSG);
	assert_string_equal(why, "no key opens it");
	assert_int_equal(read_all(&a, false, 4096, buf_str(&plain), &why), -EBADMSG);
	assert_string_equal(why, "it is not sealed");
	a.verify_incoming = false;
	assert_int_equal(read_all(&a, false, 4096, buf_str(&plain), NULL), 1);
	assert_int_equal(read_all(&a, false, 4096, buf_str(&sealed), NULL), 1);
	assert_int_equal(read_all(&lab, false, 4096, buf_str(&labelled), NULL), 1);
	assert_int_equal(read_all(&lab, true, 4096, buf_str(&answer), NULL), 1);
	assert_int_equal(read_all(&lab, false, 4096, buf_str(&answer), &why), -EBADMSG);
	assert_string_equal(why, "another label");
	/* The label is sealed in, also where it is not sent. */
	assert_int_equal(read_all(&a, true, 4096, buf_str(&answer), &why), -EBADMSG);
	assert_string_equal(why, "no key opens it");
	assert_int_equal(read_all(&a, false, 4096, buf_str(&labelled), &why), -EBADMSG);
	assert_string_equal(why, "another label");
	/* The length is part of what is sealed. */
	assert_int_equal(buf_addc(&sealed, 0), 0);
	sealed.data[4]++;
	assert_int_equal(read_all(&a, false, 4096, buf_str(&sealed), &why), -EBADMSG);
	/* Too long for us, or for everybody. */
	assert_int_equal(read_all(&a, false, 4096, STR("\x0a\0\0\x0f\xfc"), &why), -ELIMIT);
	assert_int_equal(read_all(&a, false, 4096, STR("\x0a\0\0\x0f\xfb"), &why), 0);
	assert_int_equal(read_all(&a, false, STREAM_SEALED_MAX * 2, STR("\x0a\1\x40\0\1"), &why), -ELIMIT);
	assert_int_equal(read_all(&a, false, STREAM_SEALED_MAX * 2, STR("\x0a\1\x40\0\0"), &why), 0);
	assert_int_equal(read_all(&a, false, 4096, STR("\x0a\0\0\0\0"), &why), -EBADMSG);
	buf_release(&plain);
	buf_release(&sealed);
	buf_release(&labelled);
	buf_release(&answer);
	unwrap_end(&none);
	unwrap_end(&a);
	unwrap_end(&b);
	unwrap_end(&lab);
}

/* Layers, and what is behind them cut at every byte: inside a seal or compression nothing more can come. */
static void
what_is_whole_and_cut_short_is_refused(void **state)
{
	const struct str plain = STR("\6\x83\xa4Join\xc2\xa5Nodes\2\xacUserStateLen\3\x81\xa4Name\xa1x\x97\xa1y\xa4\1\2\3\4\7\xc0\1\0\x96\1\5\2\2\5\4us!");
	struct wrap w = wrap_with(32), open = wrap_with(0);
	struct stream_reader *r;
	const struct stream_message *m;
	const char *why;

	(void)state;
	open.compress = true;
	for (size_t n = 1; n <= plain.len; n++) {
		struct buf compressed = wrapped(&open, (struct str){ plain.p, n }, true), sealed = wrapped(&w, (struct str){ plain.p, n }, true);

		assert_int_equal(read_all(&open, false, 4096, buf_str(&compressed), NULL), n < plain.len ? -EDECODE : 1);
		assert_int_equal(read_all(&w, false, 4096, buf_str(&sealed), NULL), n < plain.len ? -EDECODE : 1);
		assert_int_equal(read_all(&open, false, 4096, (struct str){ plain.p, n }, NULL), n < plain.len ? 0 : 1);
		/* The limit is that of the bytes on their way. */
		assert_int_equal(read_all(&open, false, compressed.len - 1, buf_str(&compressed), NULL), -ELIMIT);
		if (n < plain.len)
			assert_int_equal(read_all(&open, false, n, plain, NULL), -ELIMIT);
		for (size_t k = 0; k < sealed.len; k++)
			assert_int_equal(read_all(&w, false, 4096, (struct str){ (char *)sealed.data, k }, NULL), 0);
		buf_release(&compressed);
		buf_release(&sealed);
	}
	r = stream_reader_new(&open, false, plain.len);
	assert_non_null(r);
	assert_int_equal(stream_reader_add(r, plain.p, plain.len, &why), 1);
	m = stream_reader_message(r);
	assert_true(m->nrows == 2 && !m->join && !m->sealed && m->rows[1].incarnation == 1 && m->rows[1].port == 7);
	assert_same(STR("x"), m->rows[0].node, "first");
	assert_same(STR("y"), m->rows[1].node, "second");
	assert_same(STR("\1\5\2\2\5\4"), m->rows[1].vsn, "a version as a list");
	assert_same(STR("us!"), m->user_state, "state");
	stream_reader_free(r);
	unwrap_end(&w);
	unwrap_end(&open);
}

static void
bombs_are_defused(void **state)
{
	struct wrap w = wrap_with(0);
	const size_t n = STREAM_INFLATED_MAX;
	char *zeros = calloc(1, n + 1);
	struct buf b;
	const char *why;

	(void)state;
	assert_non_null(zeros);
	w.compress = true;
	b = wrapped(&w, (struct str){ zeros, n + 1 }, false);
	assert_true(b.len < n / 500);
	assert_int_equal(read_all(&w, false, STREAM_SEALED_MAX, buf_str(&b), &why), -ELIMIT);
	assert_string_equal(why, "it inflates to too much");
	buf_release(&b);
	free(zeros);
	/* Compression within compression is not for streams. */
	b = wrapped(&w, STR("\x09\x82\xa4" "Algo\0\xa3" "Buf\xa3\0\3\2"), false);
	assert_int_equal(read_all(&w, false, 4096, buf_str(&b), &why), -EDECODE);
	assert_string_equal(why, "a type that does not come on streams");
	buf_release(&b);
	unwrap_end(&w);
}

/* ---- writing */

struct rows {
	size_t n;
	char name[32];
};

static bool
next_row(void *ctx, struct msg_alive *ret)
{
	struct rows *rows = ctx;

	if (rows->n == 0)
		return false;
	(void)snprintf(rows->name, sizeof(rows->name), "node-%zu", rows->n--);
	memset(ret, 0, sizeof(*ret));
	ret->node = str_from(rows->name);
	ret->addr = STR("\1\2\3\4");
	ret->vsn = STR("\1\5\2\2\5\4");
	ret->meta = STR("\xff\x80");
	return true;
}

static void
what_does_not_fit_leaves_nothing_behind(void **state)
{
	struct wrap w = wrap_with(0);
	struct rows rows = { .n = 3 };
	struct buf whole = BUF_INIT(4096), b;

	(void)state;
	assert_int_equal(stream_put_push_pull(&whole, true, 4, next_row, &rows, STR("state")), -EINVAL);
	assert_int_equal(whole.len, 0);
	rows.n = 3;
	assert_int_equal(stream_put_push_pull(&whole, true, 3, next_row, &rows, STR("state")), 0);
	assert_int_equal(read_all(&w, true, 4096, buf_str(&whole), NULL), 1);
	for (size_t max = 0; max < whole.len; max++) {
		buf_init(&b, max);
		rows.n = 3;
		assert_int_equal(stream_put_push_pull(&b, true, 3, next_row, &rows, STR("state")), -ELIMIT);
		assert_int_equal(b.len, 0);
		if (max < 18)
			assert_int_equal(stream_put_user(&b, STR("state")), -ELIMIT);
		assert_int_equal(b.len, 0);
		buf_release(&b);
	}
	buf_release(&whole);
	/* Sealed, it must not become longer than the peers take. */
	unwrap_end(&w);
	w = wrap_with(32);
	buf_init(&b, STREAM_SEALED_MAX * 2);
	buf_init(&whole, STREAM_SEALED_MAX + 1);
	assert_int_equal(buf_reserve(&whole, STREAM_SEALED_MAX), 0);
	memset(whole.data, 0, STREAM_SEALED_MAX);
	assert_int_equal(stream_wrap(&w, (struct str){ (char *)whole.data, STREAM_SEALED_MAX - SEAL_OVERHEAD }, true, &b), 0);
	assert_int_equal(b.len, 5 + STREAM_SEALED_MAX);
	buf_clear(&b);
	assert_int_equal(stream_wrap(&w, (struct str){ (char *)whole.data, STREAM_SEALED_MAX - SEAL_OVERHEAD + 1 }, true, &b), -ELIMIT);
	assert_int_equal(b.len, 0);
	buf_release(&b);
	buf_release(&whole);
	unwrap_end(&w);
}

/* 10,000 rows, byte by byte: a reader that began anew with each byte would look at half a million million of them. */
static void
bytes_are_looked_at_once(void **state)
{
	struct wrap w = wrap_with(0);
	struct rows rows = { .n = 10000 };
	struct buf b = BUF_INIT(1 << 26);
	struct stream_reader *r = stream_reader_new(&w, true, 1 << 26);
	const char *why = "";
	clock_t start = clock();
	int rc = 0;

	(void)state;
	assert_non_null(r);
	assert_int_equal(stream_put_push_pull(&b, false, 10000, next_row, &rows, STR("state")), 0);
	assert_true(b.len > 700000);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(rc, 0);
		rc = stream_reader_add(r, b.data + i, 1, &why);
	}
	assert_int_equal(rc, 1);
	assert_int_equal(stream_reader_message(r)->nrows, 10000);
	assert_same(STR("node-1"), stream_reader_message(r)->rows[9999].node, "the last");
	assert_true((clock() - start) / CLOCKS_PER_SEC < 30);
	stream_reader_free(r);
	buf_release(&b);
	unwrap_end(&w);
}

/* ---- every stream of the agents with each third bit turned, in pieces */

static void
no_damaged_stream_does_harm(void **state)
{
	struct json_object *all = vectors_load(), *vectors = member(all, "vectors");
	struct wrap w = wrap_with(16);

	(void)state;
	w.verify_incoming = false;
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i);
		struct buf in;

		if (member(v, "transport") == NULL)
			continue;
		/* As it came, and as it is inside. */
		for (int plain = 0; plain < 2; plain++) {
			in = hex_of(v, plain != 0 ? "plain_hex" : "hex");
			for (size_t bit = 0; bit < in.len * 8; bit += 3) {
				in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
				(void)read_all(&w, false, 4096, buf_str(&in), NULL);
				in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			buf_release(&in);
		}
	}
	unwrap_end(&w);
	json_object_put(all);
}

/* What a member sends that has the key, and nonsense to say. */
static void
nonsense_under_the_right_key_does_no_harm(void **state)
{
	struct json_object *all = vectors_load(), *vectors = member(all, "vectors");
	struct wrap w = wrap_with(32);

	(void)state;
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i);
		struct buf in;

		if (member(v, "transport") == NULL)
			continue;
		in = hex_of(v, "plain_hex");
		for (size_t bit = 0; bit < in.len * 8; bit += 5) {
			struct stream_reader *r = stream_reader_new(&w, false, 1 << 20);
			struct buf sealed;
			const char *why = "";
			int rc;

			assert_non_null(r);
			in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			w.compress = bit % 2 != 0;
			sealed = wrapped(&w, buf_str(&in), true);
			rc = stream_reader_add(r, sealed.data, sealed.len, &why);
			/* Nothing more can come: it is whole or wrong, and then said why. */
			assert_int_not_equal(rc, 0);
			assert_true(rc == 1 || why[0] != '\0');
			in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			stream_reader_free(r);
			buf_release(&sealed);
		}
		buf_release(&in);
	}
	unwrap_end(&w);
	json_object_put(all);
}

/* Strangers' streams have less room than those that a key has sealed. */
static void
what_is_not_sealed_may_be_bounded_further(void **state)
{
	static const size_t lengths[] = { 100, 1000, 1001, 5000 };
	struct wrap w = wrap_with(32), open = wrap_with(0);
	const char *why = "";

	(void)state;
	open.compress = w.compress = true;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct buf plain = BUF_INIT(1 << 20), plain_wrapped, sealed;
		char text[5000];
		struct stream_reader *r = stream_reader_new(&open, false, 1 << 20), *s = stream_reader_new(&w, false, 1 << 20);

		memset(text, 'x', sizeof(text));
		assert_true(r != NULL && s != NULL);
		stream_reader_bound(r, 1000 + 18);
		stream_reader_bound(s, 1000 + 18);
		assert_int_equal(stream_put_user(&plain, (struct str){ text, lengths[i] }), 0);
		plain_wrapped = wrapped(&open, buf_str(&plain), true);
		sealed = wrapped(&w, buf_str(&plain), true);
		assert_int_equal(stream_reader_add(r, plain_wrapped.data, plain_wrapped.len, &why), lengths[i] > 1001 ? -ELIMIT : 1);
		assert_int_equal(stream_reader_add(s, sealed.data, sealed.len, &why), 1);
		stream_reader_free(r);
		stream_reader_free(s);
		buf_release(&plain);
		buf_release(&plain_wrapped);
		buf_release(&sealed);
	}
	for (unsigned rows = 9; rows <= 11; rows++) {
		char pp[] = "\6\x83\xa4Join\xc3\xa5Nodes\0\xacUserStateLen\0" "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80";
		struct stream_reader *r = stream_reader_new(&open, false, 1 << 20);

		assert_non_null(r);
		stream_reader_bound(r, 10 * STREAM_ROW_MEAN);
		pp[14] = (char)rows;
		assert_int_equal(stream_reader_add(r, pp, sizeof(pp) - 1, &why), rows > 10 ? -ELIMIT : 1);
		stream_reader_free(r);
	}
	unwrap_end(&w);
	unwrap_end(&open);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_is_refused_with_a_sentence),
		cmocka_unit_test(a_message_is_what_was_put),
		cmocka_unit_test(seals_and_labels_are_wanted_as_configured),
		cmocka_unit_test(what_is_whole_and_cut_short_is_refused),
		cmocka_unit_test(bombs_are_defused),
		cmocka_unit_test(what_does_not_fit_leaves_nothing_behind),
		cmocka_unit_test(bytes_are_looked_at_once),
		cmocka_unit_test(no_damaged_stream_does_harm),
		cmocka_unit_test(nonsense_under_the_right_key_does_no_harm),
		cmocka_unit_test(what_is_not_sealed_may_be_bounded_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
