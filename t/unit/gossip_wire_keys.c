/* gossip_wire_keys.c - keyrings, the key file, and the seal by both libraries. */
#include "t/unit/gossip_vectors.h"

#include "gossipd/wire/gcm.h"

static const char bytes[32] = "0123456789abcdefghijklmnopqrstuv";
#define KEY(n) ((struct str){ bytes, (n) })

static struct keyring *
ring(size_t n)
{
	struct keyring *k = keyring_new();
	char key[16] = "key ";

	assert_non_null(k);
	for (size_t i = 0; i < n; i++) {
		key[15] = (char)i;
		assert_int_equal(keyring_add(k, (struct str){ key, 16 }), 0);
	}
	return k;
}

static void
the_first_key_is_the_primary_until_another_is_used(void **state)
{
	struct keyring *k = ring(0);

	(void)state;
	assert_int_equal(keyring_count(k), 0);
	assert_int_equal(keyring_remove(k, KEY(16)), 0);
	assert_int_equal(keyring_use(k, KEY(16)), -ENOENT);
	assert_int_equal(keyring_key(k, 0).len, 0);
	assert_int_equal(keyring_add(k, KEY(15)), -EINVAL);
	assert_int_equal(keyring_add(k, KEY(17)), -EINVAL);
	assert_int_equal(keyring_add(k, KEY(0)), -EINVAL);
	assert_int_equal(keyring_add(k, KEY(16)), 0);
	assert_int_equal(keyring_add(k, KEY(24)), 0);
	assert_int_equal(keyring_add(k, KEY(32)), 0);
	assert_int_equal(keyring_add(k, KEY(24)), 0);
	assert_int_equal(keyring_count(k), 3);
	assert_same(KEY(16), keyring_key(k, 0), "primary");
	assert_int_equal(keyring_use(k, KEY(32)), 0);
	assert_same(KEY(32), keyring_key(k, 0), "primary");
	assert_same(KEY(16), keyring_key(k, 1), "second");
	assert_same(KEY(24), keyring_key(k, 2), "third");
	assert_int_equal(keyring_remove(k, KEY(32)), -EPERM);
	assert_int_equal(keyring_remove(k, KEY(16)), 0);
	assert_int_equal(keyring_remove(k, KEY(16)), 0);
	assert_int_equal(keyring_count(k), 2);
	assert_same(KEY(24), keyring_key(k, 1), "moved up");
	assert_int_equal(keyring_use(k, KEY(32)), 0);
	keyring_free(k);
	keyring_free(NULL);
}

static void
keys_are_counted(void **state)
{
	struct keyring *k = ring(KEYS_MAX);

	(void)state;
	assert_int_equal(keyring_add(k, KEY(16)), -ELIMIT);
	assert_int_equal(keyring_remove(k, keyring_key(k, KEYS_MAX - 1)), 0);
	assert_int_equal(keyring_add(k, KEY(16)), 0);
	assert_int_equal(keyring_count(k), KEYS_MAX);
	keyring_free(k);
}

static void
keys_are_read_as_text_and_written(void **state)
{
	static const char *const bad[] = {
		"", "a", "AAAA", "AAECAwQFBgcICQoLDA0ODw=", "AAECAwQFBgcICQoLDA0OD-==", "AAECAwQFBgcICQoLDA0ODw==\n",
		"AAECAwQFBgcICQoLDA0ODxA=", " AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v",
	};
	uint8_t raw[KEY_BYTES_MAX];
	char text[KEY_TEXT_MAX];
	size_t len = 99;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (key_parse(str_from(bad[i]), raw, &len) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
	assert_int_equal(len, 99);
	assert_int_equal(key_parse(STR("AAECAwQFBgcICQoLDA0ODw=="), raw, &len), 0);
	assert_int_equal(len, 16);
	assert_memory_equal(raw, "\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf", 16);
	for (size_t n = 16; n <= 32; n += 8) {
		key_format(KEY(n), text);
		assert_int_equal(key_parse(str_from(text), raw, &len), 0);
		assert_same(KEY(n), (struct str){ (char *)raw, len }, "key");
	}
}

static void
a_key_file_is_taken_whole_or_not_at_all(void **state)
{
	static const struct {
		const char *json, *err;
	} bad[] = {
		{ "", NULL }, { "[", NULL },
		{ "null", "key file: not a list of keys" },
		{ "{}", "key file: not a list of keys" },
		{ "[]", "key file: not a list of keys" },
		{ "[1]", "key file: a key is not a string" },
		{ "[\"AAECAwQFBgcICQoLDA0ODw==\",null]", "key file: a key is not a string" },
		{ "[\"AAECAwQFBgcICQoLDA0ODw==\",\"AAAA\"]", "key file: a key is not base64 of 16, 24 or 32 bytes" },
	};
	struct keyring *k = ring(2);
	struct buf b = BUF_INIT(1 << 16), small = BUF_INIT(20);
	char err[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(keyring_load(k, str_from(bad[i].json), err), -EDECODE);
		if (bad[i].err != NULL)
			assert_string_equal(err, bad[i].err);
		assert_true(err[0] != 0);
		assert_int_equal(keyring_count(k), 2);
	}
	assert_int_equal(keyring_load(k, STR("[\"AAECAwQFBgcICQoLDA0ODw==\", \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\",\"AAECAwQFBgcICQoLDA0ODw==\"]"),
	    err), 0);
	assert_int_equal(keyring_count(k), 2);
	assert_int_equal(keyring_key(k, 0).len, 16);
	assert_int_equal(keyring_key(k, 1).len, 24);
	assert_int_equal(keyring_save(k, &b), 0);
	assert_same(STR("[\n  \"AAECAwQFBgcICQoLDA0ODw==\",\n  \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\"\n]"), buf_str(&b), "file");
	assert_int_equal(keyring_save(k, &small), -ELIMIT);
	assert_int_equal(small.len, 0);
	/* As many as there may be come back; one more does not. */
	keyring_free(k);
	k = ring(KEYS_MAX);
	buf_clear(&b);
	assert_int_equal(keyring_save(k, &b), 0);
	assert_int_equal(keyring_load(k, buf_str(&b), err), 0);
	assert_int_equal(keyring_count(k), KEYS_MAX);
	b.len--;
	assert_int_equal(buf_adds(&b, ",\"AAECAwQFBgcICQoLDA0ODw==\"]"), 0);
	assert_int_equal(keyring_load(k, buf_str(&b), err), -EDECODE);
	assert_string_equal(err, "key file: too many keys");
	keyring_free(k);
	buf_release(&b);
	buf_release(&small);
}

/* ---- the seal */

/* What one library sealed the other opens. */
static void
both_libraries_make_the_same_seal(void **state)
{
	const uint8_t nonce[GCM_NONCE] = "nonce-nonce";
	struct gcm *sodium, *gnutls;
	uint8_t a[200 + GCM_TAG], b[200 + GCM_TAG];

	(void)state;
	assert_int_equal(gcm_new(KEY(32), GCM_BEST, &sodium), 0);
	assert_int_equal(gcm_new(KEY(32), GCM_GNUTLS, &gnutls), 0);
	assert_same(KEY(32), gcm_key(gnutls), "key");
	for (size_t n = 0; n <= 200; n++) {
		const struct str aad = { bytes, n % 7 };

		memset(a, (int)n, n);
		memset(b, (int)n, n);
		assert_int_equal(gcm_seal(sodium, nonce, aad, a, n), 0);
		assert_int_equal(gcm_seal(gnutls, nonce, aad, b, n), 0);
		assert_memory_equal(a, b, n + GCM_TAG);
		assert_int_equal(gcm_open(gnutls, nonce, aad, a, n), 0);
		assert_int_equal(gcm_open(sodium, nonce, aad, b, n), 0);
		for (size_t i = 0; i < n; i++)
			assert_true(a[i] == n && b[i] == n);
		assert_int_equal(gcm_seal(sodium, nonce, aad, a, n), 0);
		memcpy(b, a, n + GCM_TAG);
		a[n + n % GCM_TAG] ^= 1;
		b[0] ^= 1;
		assert_int_equal(gcm_open(gnutls, nonce, aad, a, n), -EBADMSG);
		assert_int_equal(gcm_open(sodium, nonce, aad, b, n), -EBADMSG);
	}
	gcm_free(sodium);
	gcm_free(gnutls);
	gcm_free(NULL);
}

/* A seal of version 0 as it would be made, with any last bytes as its pad. */
static struct buf
seal_v0(struct str padded)
{
	struct buf b = BUF_INIT(4096);
	uint8_t head[SEAL_HEAD] = { 0, 'n', 'o', 'n', 'c', 'e' };
	struct gcm *g;

	assert_int_equal(gcm_new(KEY(24), GCM_BEST, &g), 0);
	assert_int_equal(buf_add(&b, head, sizeof(head)), 0);
	assert_int_equal(buf_add(&b, padded.p, padded.len), 0);
	assert_int_equal(buf_reserve(&b, GCM_TAG), 0);
	assert_int_equal(gcm_seal(g, head + 1, STR_NONE, b.data + SEAL_HEAD, padded.len), 0);
	b.len += GCM_TAG;
	gcm_free(g);
	return b;
}

static void
the_pad_of_version_0_is_checked(void **state)
{
	static const struct {
		struct str padded;
		int rc;
		struct str plain;
	} cases[] = {
		{ STR("0123456789abcde\1"), 0, STR("0123456789abcde") },
		{ STR("\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"), 0, STR("") },
		{ STR("0123456789abcdef0123456789abc\3\3\3"), 0, STR("0123456789abcdef0123456789abc") },
		{ STR(""), -EBADMSG, STR("") },				/* at least one byte of it */
		{ STR("0123456789abcde\0"), -EBADMSG, STR("") },
		{ STR("0123456789abcde\x11"), -EBADMSG, STR("") },
		{ STR("0123456789abcdef0123456789abcde\x11"), -EBADMSG, STR("") },
		{ STR("0123456789abc\3\2\3"), -EBADMSG, STR("") },
		{ STR("0123456789abcde"), -EBADMSG, STR("") },		/* not of sixteen */
		{ STR("\1"), -EBADMSG, STR("") },
	};
	struct keyring *k = keyring_new();

	(void)state;
	assert_non_null(k);
	assert_int_equal(keyring_add(k, KEY(24)), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf sealed = seal_v0(cases[i].padded), out = BUF_INIT(4096);

		if (keyring_open(k, buf_str(&sealed), STR_NONE, &out) != cases[i].rc)
			fail_msg("%zu", i);
		assert_same(cases[i].plain, buf_str(&out), "plain");
		buf_release(&sealed);
		buf_release(&out);
	}
	keyring_free(k);
}

static void
every_key_opens_and_the_primary_seals(void **state)
{
	struct keyring *k = keyring_new(), *last = keyring_new(), *none = keyring_new();
	struct buf out = BUF_INIT(1 << 16), sealed = BUF_INIT(1 << 16), tight;

	(void)state;
	assert_int_equal(keyring_add(k, KEY(16)), 0);
	assert_int_equal(keyring_add(k, KEY(24)), 0);
	assert_int_equal(keyring_add(k, KEY(32)), 0);
	assert_int_equal(keyring_add(last, KEY(32)), 0);
	assert_int_equal(keyring_seal(none, STR("x"), STR_NONE, &sealed), -ENOENT);
	assert_int_equal(sealed.len, 0);
	assert_int_equal(buf_adds(&sealed, "in front"), 0);
	assert_int_equal(keyring_seal(last, STR("text"), STR("who"), &sealed), 0);
	buf_consume(&sealed, 8);
	assert_int_equal(buf_adds(&out, "in front"), 0);
	assert_int_equal(keyring_open(k, buf_str(&sealed), STR("who"), &out), 0);
	assert_same(STR("in fronttext"), buf_str(&out), "appended");
	assert_int_equal(keyring_open(k, buf_str(&sealed), STR("whom"), &out), -EBADMSG);
	assert_int_equal(keyring_open(none, buf_str(&sealed), STR("who"), &out), -EBADMSG);
	assert_same(STR("in fronttext"), buf_str(&out), "unchanged");
	sealed.data[0] = 2;
	assert_int_equal(keyring_open(k, buf_str(&sealed), STR("who"), &out), -EBADMSG);
	assert_int_equal(keyring_open(k, STR_NONE, STR("who"), &out), -EBADMSG);
	buf_clear(&sealed);
	assert_int_equal(keyring_seal(k, STR("text"), STR("who"), &sealed), 0);
	assert_int_equal(keyring_open(last, buf_str(&sealed), STR("who"), &out), -EBADMSG);
	/* No text is sealed, too. Nonces differ. */
	for (int i = 0; i < 100; i++) {
		uint8_t nonce[12];

		memcpy(nonce, sealed.data + 1, sizeof(nonce));
		buf_clear(&sealed);
		buf_clear(&out);
		assert_int_equal(keyring_seal(k, STR_NONE, STR("who"), &sealed), 0);
		assert_int_equal(sealed.len, SEAL_OVERHEAD);
		assert_memory_not_equal(nonce, sealed.data + 1, sizeof(nonce));
		assert_int_equal(keyring_open(k, buf_str(&sealed), STR("who"), &out), 0);
		assert_int_equal(out.len, 0);
	}
	for (size_t max = 0; max < SEAL_OVERHEAD + 4; max++) {
		buf_init(&tight, max);
		assert_int_equal(keyring_seal(k, STR("text"), STR_NONE, &tight), -ELIMIT);
		assert_int_equal(tight.len, 0);
		buf_release(&tight);
	}
	buf_init(&tight, SEAL_OVERHEAD - SEAL_HEAD - 1);
	assert_int_equal(keyring_open(k, buf_str(&sealed), STR("who"), &tight), -ELIMIT);
	buf_release(&tight);
	buf_release(&out);
	buf_release(&sealed);
	keyring_free(k);
	keyring_free(last);
	keyring_free(none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_key_is_the_primary_until_another_is_used),
		cmocka_unit_test(keys_are_counted),
		cmocka_unit_test(keys_are_read_as_text_and_written),
		cmocka_unit_test(a_key_file_is_taken_whole_or_not_at_all),
		cmocka_unit_test(both_libraries_make_the_same_seal),
		cmocka_unit_test(the_pad_of_version_0_is_checked),
		cmocka_unit_test(every_key_opens_and_the_primary_seals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
