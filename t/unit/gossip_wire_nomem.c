/* gossip_wire_nomem.c - the Nth allocation fails, for every N; and none is made for a datagram once the scratch is warm. */
#include "t/unit/gossip_vectors.h"

#include "t/unit/nomem.h"
void *__real_sodium_malloc(size_t n);
void *__wrap_sodium_malloc(size_t n);

/* Allocations that still succeed; below 0: all. */
static long left = -1;
static bool refused;
static size_t made;

static bool
refuse(void)
{
	made++;
	if (left != 0) {
		left -= left > 0;
		return false;
	}
	refused = true;
	return true;
}

void *
__wrap_sodium_malloc(size_t n)
{
	return refuse() ? NULL : __real_sodium_malloc(n);
}

static const char key_bytes[32] = "0123456789abcdefghijklmnopqrstuv";
#define KEY(n) ((struct str){ key_bytes, (n) })

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	size_t *n = ctx;

	(void)type;
	*n += 1 + body.len;
}

/* ---- what is tried: 0 when all of it worked, -ENOMEM when a refusal was told, anything else is wrong */

static int
load_keys(void)
{
	struct keyring *k = keyring_new();
	char err[256] = "";
	int rc = -ENOMEM;

	if (k == NULL)
		return rc;
	rc = keyring_add(k, KEY(32));
	if (rc == 0) {
		rc = keyring_load(k, STR("[\"AAECAwQFBgcICQoLDA0ODw==\",\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\"]"), err);
		/* Without memory the parser of JSON says so in words: what was there is kept whatever it is. */
		if (rc < 0 && (err[0] == 0 || keyring_count(k) != 1))
			rc = -EFAULT;
		if (rc == -EDECODE && refused)
			rc = -ENOMEM;
	}
	keyring_free(k);
	return rc;
}

static int
save_keys(void)
{
	struct keyring *k;
	struct buf b = BUF_INIT(4096);
	long now = left;
	int rc;

	left = -1;
	k = keyring_new();
	assert_non_null(k);
	assert_int_equal(keyring_add(k, KEY(32)), 0);
	left = now;
	rc = keyring_save(k, &b);
	assert_true(rc == 0 || b.len == 0);
	keyring_free(k);
	buf_release(&b);
	return rc;
}

/* A message with lists of each kind. */
static int
read_lists(void)
{
	static const struct str states[] = {
		STR("\x83\xa6" "Events\x92\xc0\x82\xa6" "Events\x91\x81\xa7Payload\x92\1\2\xa5LTime\1\xabLeftMembers\x91\xa1x\xacStatusLTimes\x81\xa1n\7"),
	};
	struct arena a = ARENA_INIT(1 << 20);
	struct msg_serf_state m;
	struct strmap tags;
	int rc = wire_get(states[0], &rec_msg_serf_state, &m, &a, NULL);

	if (rc == 0)
		rc = wire_get_tags(STR("\xff\x82\xa1k\xa1v\xa1" "a\xa1" "b"), &tags, &a);
	if (rc == 0)
		rc = wire_get_tags(STR("role"), &tags, &a);
	arena_release(&a);
	return rc;
}

static int
write_message(void)
{
	struct buf b = BUF_INIT(1 << 20);
	static char text[2000];
	const struct msg_error m = { { text, sizeof(text) } };
	int rc = wire_put(&b, WIRE_ERROR, &rec_msg_error, &m);

	assert_true(rc == 0 || b.len == 0);
	buf_release(&b);
	return rc;
}

static const char text_2k[2000] = "\x08";

static int
through_a_datagram(void)
{
	struct buf out = BUF_INIT(1 << 20), nested = BUF_INIT(1 << 20);
	struct wrap w;
	size_t heard = 0;
	long now = left;
	int rc;
	enum packet_fault f;

	left = -1;
	wrap_init(&w);
	w.keys = keyring_new();
	assert_non_null(w.keys);
	assert_int_equal(keyring_add(w.keys, KEY(32)), 0);
	w.compress = true;
	left = now;
	/* Compressed twice: the inner one is inflated into memory of its own. */
	w.verify_outgoing = false;
	rc = packet_wrap(&w, (struct str){ text_2k, sizeof(text_2k) }, false, &nested);
	w.verify_outgoing = true;
	w.label = STR("lab");
	assert_true(rc == 0 || nested.len == 0);
	if (rc == 0)
		rc = packet_wrap(&w, buf_str(&nested), true, &out);
	assert_true(rc == 0 || out.len == 0);
	if (rc == 0) {
		f = packet_unwrap(&w, buf_str(&out), on_message, &heard);
		/* A datagram that cannot be opened or inflated is dropped like one that is broken. */
		rc = f == PACKET_OK ? 0 : f == PACKET_SEAL || f == PACKET_COMPRESSION ? -ENOMEM : -EFAULT;
		assert_int_equal(heard, f == PACKET_OK ? sizeof(text_2k) : 0);
	}
	keyring_free(w.keys);
	wrap_release(&w);
	buf_release(&out);
	buf_release(&nested);
	return rc;
}

static int
through_a_stream(void)
{
	static const char plain[] = "\6\x82\xa5Nodes\1\xacUserStateLen\1\x81\xa4Meta\x92\1\2!";
	struct buf out = BUF_INIT(1 << 20);
	struct stream_reader *r = NULL;
	const char *why = NULL;
	struct wrap w;
	long now = left;
	int rc;

	left = -1;
	wrap_init(&w);
	w.keys = keyring_new();
	assert_non_null(w.keys);
	assert_int_equal(keyring_add(w.keys, KEY(32)), 0);
	w.compress = true;
	left = now;
	rc = stream_wrap(&w, (struct str){ plain, sizeof(plain) - 1 }, true, &out);
	assert_true(rc == 0 || out.len == 0);
	if (rc == 0) {
		r = stream_reader_new(&w, false, 4096);
		rc = r == NULL ? -ENOMEM : 0;
	}
	if (rc == 0) {
		rc = stream_reader_add(r, out.data, out.len, &why);
		assert_true(rc == 1 || why != NULL);
		assert_true((rc == 1) == (stream_reader_message(r) != NULL));
		rc = rc == 1 ? 0 : rc;
	}
	stream_reader_free(r);
	keyring_free(w.keys);
	wrap_release(&w);
	buf_release(&out);
	return rc;
}

static void
each_allocation_may_fail(void **state)
{
	static int (*const trials[])(void) = {
		load_keys, save_keys, read_lists, write_message, through_a_datagram, through_a_stream,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
		long n;
		int rc;

		for (n = 0;; n++) {
			left = n;
			refused = false;
			rc = trials[i]();
			left = -1;
			if (!refused)
				break;
			if (rc != -ENOMEM)
				fail_msg("%zu: allocation %ld: %d", i, n, rc);
			assert_true(n < 200);
		}
		if (rc != 0)
			fail_msg("%zu: %d", i, rc);
		assert_true(n > 0);
	}
}

static void
a_datagram_allocates_nothing_when_warm(void **state)
{
	static const char long_text[] = "\x08the same again and again, the same again and again, the same again and again, the same again";
	struct str parts[5];
	struct buf plain = BUF_INIT(4096), out = BUF_INIT(4096);
	struct wrap w;
	size_t heard = 0;

	(void)state;
	wrap_init(&w);
	w.keys = keyring_new();
	w.compress = true;
	for (size_t i = 0; i < 5; i++)
		parts[i] = (struct str){ long_text, sizeof(long_text) - 1 };
	for (int key = 0; key < 2; key++) {
		if (key == 1)
			assert_int_equal(keyring_add(w.keys, KEY(32)), 0);
		for (int round = 0; round < 100; round++) {
			if (round == 1)
				made = 0;
			buf_clear(&plain);
			buf_clear(&out);
			assert_int_equal(packet_compound(parts, 5, &plain), 0);
			assert_int_equal(packet_wrap(&w, buf_str(&plain), true, &out), 0);
			assert_int_equal(packet_unwrap(&w, buf_str(&out), on_message, &heard), PACKET_OK);
		}
		assert_int_equal(made, 0);
	}
	assert_int_equal(heard, 200 * 5 * (sizeof(long_text) - 1));
	keyring_free(w.keys);
	wrap_release(&w);
	buf_release(&plain);
	buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_may_fail),
		cmocka_unit_test(a_datagram_allocates_nothing_when_warm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
