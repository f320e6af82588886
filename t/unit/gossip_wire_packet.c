/* gossip_wire_packet.c - datagrams: what of the layers is taken, refused, and bounded; and LZW. */
#include "t/unit/gossip_vectors.h"

#include <sodium.h>
#include <zlib.h>

#include "gossipd/wire/lzw.h"

/* What came out of a datagram. */
struct heard {
	size_t n, bytes;
	uint8_t type;			/* of the last */
	struct str body;
	char copy[64];
};

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	struct heard *h = ctx;

	h->n++;
	h->bytes += body.len;
	h->type = type;
	if (body.len <= sizeof(h->copy))
		memcpy(h->copy, body.p, body.len);
	h->body = body;
	/* All of it can be read. */
	assert_true(crc32(0, (const uint8_t *)body.p, (uInt)body.len) != 1 || body.len > 0);
}

static enum packet_fault
hear(struct wrap *w, struct str datagram, struct heard *h)
{
	memset(h, 0, sizeof(*h));
	return packet_unwrap(w, datagram, on_message, h);
}

static const uint8_t key1[16] = "0123456789abcdef", key2[32] = "0123456789abcdef0123456789abcdef";
#define KEY1 ((struct str){ (const char *)key1, 16 })
#define KEY2 ((struct str){ (const char *)key2, 32 })

static struct wrap
wrap_with(struct str key)
{
	struct wrap w;

	wrap_init(&w);
	w.keys = keyring_new();
	assert_non_null(w.keys);
	if (key.len > 0)
		assert_int_equal(keyring_add(w.keys, key), 0);
	return w;
}

static void
unwrap_end(struct wrap *w)
{
	keyring_free(w->keys);
	wrap_release(w);
}

static struct buf
wrapped(struct wrap *w, struct str plain, bool crc)
{
	struct buf b = BUF_INIT(1 << 20);

	assert_int_equal(packet_wrap(w, plain, crc, &b), 0);
	return b;
}

/* ---- what real agents do with odd packets */

static void
odd_packets_meet_the_fate_they_meet_elsewhere(void **state)
{
	struct json_object *all = vectors_load(), *cases = member(member(all, "tolerance"), "cases");
	struct wrap w = wrap_with(STR_NONE);
	struct arena a = ARENA_INIT(1 << 16);

	(void)state;
	assert_true(json_object_array_length(cases) >= 16);
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		struct json_object *c = json_object_array_get_idx(cases, i);
		const char *expect = text_of(c, "expect"), *id = text_of(c, "id");
		struct buf in = hex_of(c, "hex");
		struct msg_ping ping;
		struct heard h;
		bool answered = false;

		(void)hear(&w, buf_str(&in), &h);
		assert_true(h.n <= 1);
		if (h.n == 1 && h.type == WIRE_PING &&
		    wire_get((struct str){ h.copy, h.bytes }, &rec_msg_ping, &ping, &a, NULL) == 0) {
			/* The name is judged by who answers: ours is srv1 here. */
			answered = ping.node.len == 0 || str_eqs(ping.node, "srv1");
			if (strstr(expect, "SeqNo 0") != NULL)
				assert_int_equal(ping.seqno, 0);
		}
		if (answered != (strstr(expect, "answered") != NULL))
			fail_msg("%s: %s", id, answered ? "answered" : "dropped");
		buf_release(&in);
	}
	arena_release(&a);
	unwrap_end(&w);
	json_object_put(all);
}

/* ---- keys */

static void
seals_are_checked_as_asked(void **state)
{
	struct wrap none = wrap_with(STR_NONE), one = wrap_with(KEY1), two = wrap_with(KEY2);
	const struct str ping = STR("\0\x80"), ack = STR("\2\x80");
	struct buf plain = wrapped(&none, ping, false), sealed = wrapped(&one, ping, true), other = wrapped(&two, ping, false);
	struct buf plain_ack = wrapped(&none, ack, false);
	struct heard h;

	(void)state;
	assert_int_equal(sealed.len, 2 + 5 + wrap_overhead(&one));
	assert_int_equal(hear(&one, buf_str(&sealed), &h), PACKET_OK);
	assert_true(h.n == 1 && h.type == WIRE_PING && h.bytes == 1);
	assert_int_equal(hear(&one, buf_str(&other), &h), PACKET_SEAL);
	assert_int_equal(hear(&one, buf_str(&plain), &h), PACKET_SEAL);
	assert_int_equal(hear(&one, buf_str(&plain_ack), &h), PACKET_PLAIN);
	assert_int_equal(h.n, 0);
	/* A sealed one where there is no key begins like an indirect ping: it is one that cannot be read. */
	assert_int_equal(hear(&none, buf_str(&sealed), &h), PACKET_OK);
	assert_int_equal(h.type, WIRE_INDIRECT);
	/* Both are understood while a pool changes over; what is sealed is opened all the same. */
	one.verify_incoming = false;
	assert_int_equal(hear(&one, buf_str(&plain), &h), PACKET_OK);
	assert_true(h.n == 1 && h.type == WIRE_PING);
	assert_int_equal(hear(&one, buf_str(&plain_ack), &h), PACKET_OK);
	assert_int_equal(hear(&one, buf_str(&sealed), &h), PACKET_OK);
	assert_true(h.n == 1 && h.type == WIRE_PING && h.bytes == 1);
	one.verify_outgoing = false;
	assert_int_equal(wrap_overhead(&one), 0);
	buf_release(&sealed);
	sealed = wrapped(&one, ack, false);
	assert_same(ack, buf_str(&sealed), "not sealed");
	/* Every key opens, the first one seals. */
	assert_int_equal(keyring_add(two.keys, KEY1), 0);
	buf_release(&sealed);
	one.verify_outgoing = true;
	sealed = wrapped(&one, ack, false);
	assert_int_equal(hear(&two, buf_str(&sealed), &h), PACKET_OK);
	assert_int_equal(h.type, WIRE_ACK);
	for (size_t n = 0; n < sealed.len; n++)
		assert_int_equal(hear(&two, (struct str){ (char *)sealed.data, n }, &h), PACKET_SEAL);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.data[i] ^= 0x40;
		assert_true(hear(&two, buf_str(&sealed), &h) != PACKET_OK && h.n == 0);
		sealed.data[i] ^= 0x40;
	}
	buf_release(&plain);
	buf_release(&plain_ack);
	buf_release(&sealed);
	buf_release(&other);
	unwrap_end(&none);
	unwrap_end(&one);
	unwrap_end(&two);
}

static void
labels_are_equal_or_refused(void **state)
{
	struct wrap plain = wrap_with(STR_NONE), lab = wrap_with(KEY1), other = wrap_with(KEY1);
	static char longest[256];
	struct buf b;
	struct heard h;

	(void)state;
	lab.label = STR("lab");
	other.label = STR("lob");
	b = wrapped(&lab, STR("\2\x80"), false);
	assert_int_equal(b.len, 2 + wrap_overhead(&lab));
	assert_int_equal(hear(&lab, buf_str(&b), &h), PACKET_OK);
	assert_int_equal(hear(&other, buf_str(&b), &h), PACKET_LABEL);
	assert_int_equal(hear(&plain, buf_str(&b), &h), PACKET_LABEL);
	/* The label is sealed with the rest: changed in the header alone it does not open. */
	b.data[3] = 'o';
	assert_int_equal(hear(&other, buf_str(&b), &h), PACKET_SEAL);
	assert_int_equal(hear(&lab, STR("\2\x80"), &h), PACKET_LABEL);
	assert_int_equal(hear(&lab, STR("\xf4"), &h), PACKET_LABEL);
	assert_int_equal(hear(&lab, STR("\xf4\3la"), &h), PACKET_LABEL);
	assert_int_equal(hear(&lab, STR("\xf4\0\2\x80"), &h), PACKET_LABEL);
	assert_int_equal(hear(&lab, STR(""), &h), PACKET_LABEL);
	memset(longest, 'l', sizeof(longest));
	plain.label = (struct str){ longest, 255 };
	buf_release(&b);
	b = wrapped(&plain, STR("\2\x80"), true);
	assert_int_equal(hear(&plain, buf_str(&b), &h), PACKET_OK);
	plain.label.len = 256;
	assert_int_equal(packet_wrap(&plain, STR("\2\x80"), false, &b), -ELIMIT);
	assert_int_equal(b.len, 2 + 255 + 5 + 2);
	buf_release(&b);
	unwrap_end(&plain);
	unwrap_end(&lab);
	unwrap_end(&other);
}

/* ---- layers */

static void
good_parts_count_though_others_are_bad(void **state)
{
	struct wrap w = wrap_with(STR_NONE);
	struct heard h;
	static const struct {
		struct str in;
		enum packet_fault fault;
		size_t messages;
	} cases[] = {
		{ STR(""), PACKET_EMPTY, 0 },
		{ STR("\0"), PACKET_OK, 1 },
		{ STR("\6\x80"), PACKET_TYPE, 0 },
		{ STR("\x0a\x80"), PACKET_TYPE, 0 },
		{ STR("\x0d\x80"), PACKET_TYPE, 0 },
		{ STR("\x0c\0\0\0"), PACKET_TYPE, 0 },
		{ STR("\x0c\0\0\0\1\2\x80"), PACKET_CRC_WRONG, 0 },
		{ STR("\x0c\0\0\0\0"), PACKET_EMPTY, 0 },
		{ STR("\7"), PACKET_COMPOUND, 0 },
		{ STR("\7\0"), PACKET_OK, 0 },
		{ STR("\7\1"), PACKET_COMPOUND, 0 },
		{ STR("\7\1\0"), PACKET_COMPOUND, 0 },
		{ STR("\7\1\0\2\2\x80"), PACKET_OK, 1 },
		{ STR("\7\2\0\2\0\2\2\x80"), PACKET_COMPOUND, 1 },
		{ STR("\7\3\0\2\0\2\0\2\2\x80\x06\x80\2\x80"), PACKET_TYPE, 2 },
		{ STR("\7\3\0\2\0\0\0\2\2\x80\2\x80"), PACKET_EMPTY, 2 },
		{ STR("\7\2\0\2\0\6\2\x80\7\1\0\2\2\x80"), PACKET_OK, 2 },
		{ STR("\x09\x80"), PACKET_COMPRESSION, 0 },		/* nothing in it: not even the end */
		{ STR("\x09\x82\xa4" "Algo\0\xa3" "Buf\xa3\0\3\2"), PACKET_EMPTY, 0 },
		{ STR("\x09\x82\xa4" "Algo\1\xa3" "Buf\xa3\0\3\2"), PACKET_COMPRESSION, 0 },
		{ STR("\x09\x82\xa4" "Algo\0\xa3" "Buf\x93\0\3\2"), PACKET_EMPTY, 0 },	/* a list of integers */
		{ STR("\7\2\0\2\0\2\2\x80\x09\xc1"), PACKET_COMPRESSION, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum packet_fault f = hear(&w, cases[i].in, &h);

		if (f != cases[i].fault || h.n != cases[i].messages)
			fail_msg("%zu: %s, %zu messages", i, packet_fault_text(f), h.n);
	}
	unwrap_end(&w);
}

static void
a_datagram_is_compressed_only_when_that_makes_it_shorter(void **state)
{
	struct wrap w = wrap_with(STR_NONE);
	char text[1400];
	struct buf b;
	struct heard h;

	(void)state;
	w.compress = true;
	memset(text, 'x', sizeof(text));
	text[0] = WIRE_USER;
	for (size_t n = 1; n < sizeof(text); n++) {
		b = wrapped(&w, (struct str){ text, n }, false);
		assert_true(b.len <= n);
		assert_int_equal(b.data[0], b.len < n ? WIRE_COMPRESS : WIRE_USER);
		assert_int_equal(hear(&w, buf_str(&b), &h), PACKET_OK);
		assert_true(h.n == 1 && h.type == WIRE_USER && h.bytes == n - 1);
		buf_release(&b);
	}
	b = wrapped(&w, (struct str){ text, sizeof(text) }, false);
	assert_true(b.len < 200);
	buf_release(&b);
	unwrap_end(&w);
}

/* Inner inside so many layers of compression and of compounds of one. */
static struct buf
nested(const uint8_t *layers, size_t n, struct str inner)
{
	struct buf b = BUF_INIT(WIRE_PACKET_MAX), next;
	struct wrap w;

	wrap_init(&w);
	w.compress = true;
	assert_int_equal(buf_add(&b, inner.p, inner.len), 0);
	while (n-- > 0) {
		buf_init(&next, WIRE_PACKET_MAX);
		if (layers[n] == WIRE_COMPRESS) {
			assert_int_equal(stream_wrap(&w, buf_str(&b), false, &next), 0);
		} else {
			assert_int_equal(buf_add(&next, (uint8_t[]){ WIRE_COMPOUND, 1, (uint8_t)(b.len >> 8), (uint8_t)b.len }, 4), 0);
			assert_int_equal(buf_add(&next, b.data, b.len), 0);
		}
		buf_release(&b);
		b = next;
	}
	wrap_release(&w);
	return b;
}

static void
layers_are_followed_so_deep_and_no_deeper(void **state)
{
	struct wrap w = wrap_with(STR_NONE);
	uint8_t layers[PACKET_DEPTH_MAX + 1];
	struct heard h;

	(void)state;
	for (unsigned mix = 0; mix < 512; mix++) {
		struct buf fits, deeper;

		for (size_t i = 0; i < sizeof(layers); i++)
			layers[i] = (mix >> i & 1) != 0 ? WIRE_COMPRESS : WIRE_COMPOUND;
		fits = nested(layers, PACKET_DEPTH_MAX, STR("\2hello"));
		deeper = nested(layers, PACKET_DEPTH_MAX + 1, STR("\2hello"));
		assert_int_equal(hear(&w, buf_str(&fits), &h), PACKET_OK);
		assert_true(h.n == 1 && h.type == WIRE_ACK && h.bytes == 5 && memcmp(h.copy, "hello", 5) == 0);
		assert_int_equal(hear(&w, buf_str(&deeper), &h), PACKET_DEPTH);
		assert_int_equal(h.n, 0);
		buf_release(&fits);
		buf_release(&deeper);
	}
	unwrap_end(&w);
}

static void
a_sum_is_known_outermost_alone(void **state)
{
	struct wrap w = wrap_with(STR_NONE);
	struct buf once = wrapped(&w, STR("\2\x80"), true), twice = wrapped(&w, buf_str(&once), true);
	struct heard h;

	(void)state;
	assert_int_equal(hear(&w, buf_str(&once), &h), PACKET_OK);
	assert_int_equal(h.n, 1);
	assert_int_equal(hear(&w, buf_str(&twice), &h), PACKET_TYPE);
	buf_release(&once);
	buf_release(&twice);
	unwrap_end(&w);
}

/* ---- bombs */

/* So many equal bytes, compressed. */
static struct buf
bomb(size_t n, uint8_t c)
{
	struct buf b = BUF_INIT(1 << 20);
	char *zeros = malloc(n);
	struct wrap w;

	assert_non_null(zeros);
	memset(zeros, c, n);
	wrap_init(&w);
	w.compress = true;
	assert_int_equal(stream_wrap(&w, (struct str){ zeros, n }, false, &b), 0);
	free(zeros);
	return b;
}

static void
bombs_are_defused(void **state)
{
	struct wrap w = wrap_with(STR_NONE);
	struct buf largest = bomb(PACKET_INFLATED_MAX, WIRE_ACK), larger = bomb(PACKET_INFLATED_MAX + 1, WIRE_ACK);
	struct buf half = bomb(PACKET_INFLATED_MAX / 2, WIRE_ACK), two = BUF_INIT(1 << 20), many = BUF_INIT(1 << 20), more = BUF_INIT(1 << 20);
	struct str parts[255];
	struct heard h;

	(void)state;
	assert_true(larger.len < 4096);
	assert_int_equal(hear(&w, buf_str(&largest), &h), PACKET_OK);
	assert_int_equal(h.bytes, PACKET_INFLATED_MAX - 1);
	/* What it took is given back. */
	assert_true(w.b.cap <= 65536);
	assert_int_equal(hear(&w, buf_str(&larger), &h), PACKET_LARGE);
	assert_int_equal(h.n, 0);
	/* All layers of one datagram share the bound. */
	for (size_t i = 0; i < 3; i++)
		parts[i] = buf_str(&half);
	assert_int_equal(packet_compound(parts, 2, &two), 0);
	assert_int_equal(hear(&w, buf_str(&two), &h), PACKET_OK);
	assert_int_equal(h.n, 2);
	buf_clear(&two);
	assert_int_equal(packet_compound(parts, 3, &two), 0);
	assert_int_equal(hear(&w, buf_str(&two), &h), PACKET_LARGE);
	assert_int_equal(h.n, 2);
	/* Behind a part that was too much nothing more is inflated. */
	parts[0] = buf_str(&larger);
	buf_clear(&two);
	assert_int_equal(packet_compound(parts, 3, &two), 0);
	assert_int_equal(hear(&w, buf_str(&two), &h), PACKET_LARGE);
	assert_int_equal(h.n, 0);
	/* Messages are counted: compounds of compounds of the smallest. */
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = STR("\2");
	assert_int_equal(packet_compound(parts, ARRAY_LEN(parts), &many), 0);
	for (size_t i = 0; i < 17; i++)
		parts[i] = buf_str(&many);
	assert_int_equal(packet_compound(parts, 16, &more), 0);
	assert_int_equal(hear(&w, buf_str(&more), &h), PACKET_OK);
	assert_int_equal(h.n, 16 * 255);
	buf_clear(&more);
	assert_int_equal(packet_compound(parts, 17, &more), 0);
	assert_int_equal(hear(&w, buf_str(&more), &h), PACKET_LARGE);
	assert_int_equal(h.n, PACKET_PARTS_MAX);
	buf_release(&largest);
	buf_release(&larger);
	buf_release(&half);
	buf_release(&two);
	buf_release(&many);
	buf_release(&more);
	unwrap_end(&w);
}

static void
larger_than_a_datagram_is_refused(void **state)
{
	struct wrap w = wrap_with(KEY2);
	char *zeros = calloc(1, WIRE_PACKET_MAX + 1);
	struct heard h;

	(void)state;
	assert_non_null(zeros);
	assert_int_equal(hear(&w, (struct str){ zeros, WIRE_PACKET_MAX + 1 }, &h), PACKET_LARGE);
	assert_int_equal(hear(&w, (struct str){ zeros, WIRE_PACKET_MAX }, &h), PACKET_SEAL);
	free(zeros);
	unwrap_end(&w);
}

static void
compounds_have_their_limits(void **state)
{
	static char big[65536];
	struct str parts[256];
	struct buf b = BUF_INIT(1 << 20), small = BUF_INIT(8);
	struct heard h;
	struct wrap w = wrap_with(STR_NONE);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = STR("\2\x80");
	assert_int_equal(packet_compound(parts, 256, &b), -ELIMIT);
	assert_int_equal(packet_compound(parts, 255, &b), 0);
	assert_int_equal(hear(&w, buf_str(&b), &h), PACKET_OK);
	assert_int_equal(h.n, 255);
	buf_clear(&b);
	assert_int_equal(packet_compound(parts, 1, &b), 0);
	assert_same(parts[0], buf_str(&b), "one part");
	parts[1] = (struct str){ big, 65536 };
	assert_int_equal(packet_compound(parts, 2, &b), -ELIMIT);
	parts[1].len--;
	assert_int_equal(b.len, 2);
	assert_int_equal(packet_compound(parts, 2, &b), 0);
	assert_int_equal(packet_compound(parts + 2, 2, &small), -ELIMIT);
	assert_int_equal(packet_compound(parts + 2, 3, &small), -ELIMIT);
	assert_int_equal(small.len, 0);
	buf_release(&b);
	buf_release(&small);
	unwrap_end(&w);
}

static void
nothing_is_appended_where_it_does_not_fit(void **state)
{
	struct wrap w = wrap_with(KEY1);
	const struct str plain = STR("\2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	struct buf whole = BUF_INIT(1 << 16), stream = BUF_INIT(1 << 16), b;

	(void)state;
	w.label = STR("lab");
	w.compress = true;
	assert_int_equal(packet_wrap(&w, plain, true, &whole), 0);
	assert_int_equal(stream_wrap(&w, plain, true, &stream), 0);
	assert_int_equal(whole.len, stream.len);
	for (size_t max = 0; max < stream.len; max++) {
		buf_init(&b, max);
		assert_int_equal(stream_wrap(&w, plain, true, &b), -ELIMIT);
		assert_int_equal(b.len, 0);
		assert_int_equal(packet_wrap(&w, plain, true, &b), -ELIMIT);
		assert_int_equal(b.len, 0);
		buf_release(&b);
	}
	buf_release(&whole);
	buf_release(&stream);
	unwrap_end(&w);
}

/* ---- every datagram of the agents, cut and with each bit turned */

static void
no_damaged_datagram_does_harm(void **state)
{
	struct json_object *all = vectors_load(), *vectors = member(all, "vectors");
	struct wrap w = wrap_with(KEY1);

	(void)state;
	w.verify_incoming = false;
	for (size_t i = 0; i < json_object_array_length(vectors); i++) {
		struct json_object *v = json_object_array_get_idx(vectors, i);
		struct buf in = hex_of(v, "hex");
		struct heard h;

		for (size_t n = 0; n < in.len; n++) {
			char *copy = malloc(n > 0 ? n : 1);

			assert_non_null(copy);
			memcpy(copy, in.data, n);
			(void)hear(&w, (struct str){ copy, n }, &h);
			free(copy);
		}
		for (size_t bit = 0; bit < in.len * 8; bit += 3) {
			in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			(void)hear(&w, buf_str(&in), &h);
			in.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		buf_release(&in);
	}
	unwrap_end(&w);
	json_object_put(all);
}

/* ---- LZW */

static struct buf
inflated(struct str in, size_t max, int want)
{
	struct buf b = BUF_INIT(1 << 22);

	assert_int_equal(buf_addc(&b, '!'), 0);
	assert_int_equal(lzw_inflate(in, max, &b), want);
	assert_true(want == 0 || b.len == 1);
	buf_consume(&b, 1);
	return b;
}

static void
long_inputs_deflate_as_the_reference_does(void **state)
{
	struct json_object *all = vectors_load(), *cases = member(member(all, "lzw_generated"), "cases");

	(void)state;
	assert_int_equal(json_object_array_length(cases), 3);
	for (size_t i = 0; i < 3; i++) {
		struct json_object *c = json_object_array_get_idx(cases, i);
		size_t len = (size_t)json_object_get_int64(member(c, "length"));
		uint32_t x = 12345, modulus = (uint32_t)json_object_get_int64(member(c, "modulus"));
		struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), back;
		uint8_t sum[crypto_hash_sha256_BYTES];
		char hex[2 * sizeof(sum) + 1];

		for (size_t k = 0; k < len; k++) {
			x = x * 1103515245u + 12345u;
			assert_int_equal(buf_addc(&in, (uint8_t)((x >> 16) % modulus + 97)), 0);
		}
		assert_int_equal(crypto_hash_sha256(sum, in.data, in.len), 0);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum)), text_of(c, "input_sha256"));
		assert_int_equal(lzw_deflate(buf_str(&in), &out), 0);
		assert_int_equal(out.len, json_object_get_int64(member(c, "compressed_length")));
		assert_int_equal(crypto_hash_sha256(sum, out.data, out.len), 0);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum)), text_of(c, "compressed_sha256"));
		back = inflated(buf_str(&out), len, 0);
		assert_same(buf_str(&in), buf_str(&back), "inflated");
		buf_release(&back);
		back = inflated(buf_str(&out), len - 1, -ELIMIT);
		for (size_t n = 0; n < out.len; n += n < 300 || n + 300 > out.len ? 1 : 97) {
			buf_release(&back);
			back = inflated((struct str){ (char *)out.data, n }, len, -EDECODE);
		}
		buf_release(&in);
		buf_release(&out);
		buf_release(&back);
	}
	json_object_put(all);
}

/* Lengths about the places where codes widen and the table begins anew, of bytes that do not repeat. */
static void
every_length_comes_back(void **state)
{
	static char text[5000];
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		x = x * 1103515245u + 12345u;
		text[i] = (char)(x >> 16);
	}
	for (size_t n = 0; n < sizeof(text); n += (n > 250 && n < 262) || (n > 3830 && n < 3845) ? 1 : 5) {
		struct buf out = BUF_INIT(1 << 20), back;

		assert_int_equal(lzw_deflate((struct str){ text, n }, &out), 0);
		back = inflated(buf_str(&out), n, 0);
		assert_same((struct str){ text, n }, buf_str(&back), "inflated");
		/* Its own length is just enough. */
		assert_int_equal(lzw_deflate_within((struct str){ text, n }, out.len - 1, &back), -ELIMIT);
		assert_int_equal(back.len, n);
		assert_int_equal(lzw_deflate_within((struct str){ text, n }, out.len, &back), 0);
		buf_release(&out);
		buf_release(&back);
	}
}

/* Codes of 9 bits, packed. */
static struct buf
codes(const unsigned *v, size_t n, unsigned width)
{
	struct buf b = BUF_INIT(1 << 20);
	uint32_t acc = 0, bits = 0;

	for (size_t i = 0; i < n; i++) {
		acc |= v[i] << bits;
		for (bits += width; bits >= 8; bits -= 8, acc >>= 8)
			assert_int_equal(buf_addc(&b, (uint8_t)acc), 0);
	}
	if (bits > 0)
		assert_int_equal(buf_addc(&b, (uint8_t)acc), 0);
	return b;
}

static void
codes_out_of_nowhere_are_refused(void **state)
{
	static const struct {
		unsigned v[6];
		size_t n;
		int rc;
		struct str text;
	} cases[] = {
		{ { 256, 257 }, 2, 0, STR("") },
		{ { 257 }, 1, 0, STR("") },
		{ { 'a', 257 }, 2, 0, STR("a") },			/* without the clear */
		{ { 256, 258, 257 }, 3, -EDECODE, STR("") },		/* the table is empty */
		{ { 256, 'a', 258, 257 }, 4, 0, STR("aaa") },		/* the code that is being made */
		{ { 256, 'a', 259, 257 }, 4, -EDECODE, STR("") },
		{ { 256, 'a', 'b', 258, 259, 257 }, 6, 0, STR("ababba") },
		{ { 256, 'a', 'b', 256, 258, 257 }, 6, -EDECODE, STR("") },	/* forgotten */
		{ { 256, 256, 256, 'x', 257 }, 5, 0, STR("x") },
		{ { 256, 'a' }, 2, -EDECODE, STR("") },			/* no end */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf in = codes(cases[i].v, cases[i].n, 9), out = inflated(buf_str(&in), 1000, cases[i].rc);

		assert_same(cases[i].text, buf_str(&out), "codes");
		buf_release(&in);
		buf_release(&out);
	}
}

/* A writer that never clears: the table is full, and stays. */
static void
a_full_table_goes_on(void **state)
{
	struct buf in = BUF_INIT(1 << 20), out;
	uint32_t acc = 0, bits = 0;
	unsigned hi = 257, width = 9;

	(void)state;
	for (size_t i = 0; i <= 6001; i++) {
		/* 4095 is there for ever once the table is full. */
		unsigned code = i == 0 ? 256 : i == 6001 ? 257 : i > 5000 && i % 100 == 0 ? 4095 : 'a' + i % 3;

		acc |= code << bits;
		for (bits += width; bits >= 8; bits -= 8, acc >>= 8)
			assert_int_equal(buf_addc(&in, (uint8_t)acc), 0);
		if (i > 0 && ++hi == 1u << width) {
			if (width < 12)
				width++;
			else
				hi--;
		}
	}
	assert_int_equal(buf_addc(&in, (uint8_t)acc), 0);
	out = inflated(buf_str(&in), 10000, 0);
	/* 6000 codes, ten of them of two bytes. */
	assert_int_equal(out.len, 6010);
	buf_release(&in);
	buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_packets_meet_the_fate_they_meet_elsewhere),
		cmocka_unit_test(seals_are_checked_as_asked),
		cmocka_unit_test(labels_are_equal_or_refused),
		cmocka_unit_test(good_parts_count_though_others_are_bad),
		cmocka_unit_test(a_datagram_is_compressed_only_when_that_makes_it_shorter),
		cmocka_unit_test(layers_are_followed_so_deep_and_no_deeper),
		cmocka_unit_test(a_sum_is_known_outermost_alone),
		cmocka_unit_test(bombs_are_defused),
		cmocka_unit_test(larger_than_a_datagram_is_refused),
		cmocka_unit_test(compounds_have_their_limits),
		cmocka_unit_test(nothing_is_appended_where_it_does_not_fit),
		cmocka_unit_test(no_damaged_datagram_does_harm),
		cmocka_unit_test(long_inputs_deflate_as_the_reference_does),
		cmocka_unit_test(every_length_comes_back),
		cmocka_unit_test(codes_out_of_nowhere_are_refused),
		cmocka_unit_test(a_full_table_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
