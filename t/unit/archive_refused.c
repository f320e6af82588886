/* archive_refused.c - archives made by hand, damaged, cut and mutated: taken as Consul takes them, or refused whole. */
#include <sodium.h>
#include <time.h>
#include <zlib.h>

#include "t/unit/archive.h"

/* ---- archives made by hand */

struct made {
	const char *meta;		/* NULL: one that is right */
	struct str state;
	const char *sums;		/* NULL: those that are right */
	const char *order;		/* of the members: m s S, x another, d a directory */
	const char *tail;		/* behind the members: NULL the usual end */
	size_t tail_len;
	const char *behind;		/* bytes behind the gzip */
};

static void
tar_member(struct buf *tar, const char *name, char type, const void *p, size_t n)
{
	char b[512] = { 0 };
	static const char zeros[512];
	unsigned sum = 0;

	(void)snprintf(b, 100, "%s", name);
	(void)snprintf(b + 124, 12, "%011zo", n);
	memset(b + 148, ' ', 8);
	b[156] = type;
	memcpy(b + 257, "ustar\0" "00", 8);
	for (size_t i = 0; i < sizeof(b); i++)
		sum += (unsigned char)b[i];
	(void)snprintf(b + 148, 7, "%06o", sum);
	assert_int_equal(buf_add(tar, b, sizeof(b)), 0);
	assert_int_equal(buf_add(tar, p, n), 0);
	assert_int_equal(buf_add(tar, zeros, -n & 511), 0);
}

static void
gzip(const struct buf *in, struct buf *out)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(buf_reserve(out, deflateBound(&z, in->len) + 64), 0);
	z.next_in = in->data;
	z.avail_in = (uInt)in->len;
	z.next_out = out->data + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len = out->cap - z.avail_out;
	(void)deflateEnd(&z);
}

static void
hex_of(const void *p, size_t n, char out[65])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(hash, p, n);
	(void)sodium_bin2hex(out, 65, hash, sizeof(hash));
}

static int
make(const struct made *m)
{
	struct buf tar = BUF_INIT(64 << 20), gz = BUF_INIT(64 << 20);
	char meta[512], sums[512], a[65], b[65], zeros[1024] = { 0 };
	int fd;

	(void)snprintf(meta, sizeof(meta), "{\"Version\":1,\"ID\":\"x\",\"Index\":7,\"Term\":2,\"Size\":%zu}\n", m->state.len);
	if (m->meta != NULL)
		(void)snprintf(meta, sizeof(meta), "%s", m->meta);
	hex_of(meta, strlen(meta), a);
	hex_of(m->state.p, m->state.len, b);
	(void)snprintf(sums, sizeof(sums), "%s  meta.json\n%s  state.bin\n", a, b);
	if (m->sums != NULL)
		(void)snprintf(sums, sizeof(sums), m->sums, a, b);
	for (const char *o = m->order != NULL ? m->order : "msS"; *o != 0; o++) {
		if (*o == 'm')
			tar_member(&tar, "meta.json", '0', meta, strlen(meta));
		else if (*o == 's')
			tar_member(&tar, "state.bin", '0', m->state.p, m->state.len);
		else if (*o == 'S')
			tar_member(&tar, "SHA256SUMS", 0, sums, strlen(sums));
		else
			tar_member(&tar, *o == 'x' ? "./meta.json" : "meta.json", *o == 'x' ? '0' : '5', "", 0);
	}
	assert_int_equal(buf_add(&tar, m->tail != NULL ? m->tail : zeros, m->tail != NULL ? m->tail_len : sizeof(zeros)), 0);
	gzip(&tar, &gz);
	if (m->behind != NULL)
		assert_int_equal(buf_adds(&gz, m->behind), 0);
	fd = fd_of(gz.data, gz.len);
	buf_release(&tar);
	buf_release(&gz);
	return fd;
}

#define HEADER "\x81\xa9LastIndex\x05"
#define KVS "\x02\x82\xa3Key\xa1k\xabModifyIndex\x03"
#define STATE(text) { text, sizeof(text) - 1 }

/* Forms that Consul takes too. */
static void
test_taken(void **state)
{
	static const struct made cases[] = {
		{ .state = STATE(HEADER KVS) },
		{ .state = STATE(HEADER KVS), .order = "Ssm" },
		{ .state = STATE(HEADER KVS), .tail = "", .tail_len = 0 },
		{ .state = STATE("\x82\xa1x\x93\x01\xc0\x81\xa1y\xcb\0\0\0\0\0\0\0\0\xa9LastIndex\xcf\0\0\0\0\0\0\0\x05" KVS) },
		{ .state = STATE(HEADER KVS), .sums = "%.64s meta.json\n%.64s  state.bin" },
		{ .state = STATE(HEADER KVS), .meta = "{\"version\":1,\"Term\":2,\"Index\":7,\"Size\":33,\"Unknown\":{}}" },
		/* str8 and bin, integers of any form, unknown and missing fields, any order, nil for nothing. */
		{ .state = STATE(HEADER "\x02\x85\xd9\x0bModifyIndex\xd3\0\0\0\0\0\0\0\x03\xc4\x03Key\xd9\x01k\xa1?\x91\xc3\xa5" "Flags\xc0\xa7Session\xd9\x00") },
		{ .state = STATE(HEADER "\x02\x82\xa3Key\xa1k\xabModifyIndex\x01" KVS) },	/* the later one stands */
		{ .state = STATE(HEADER "\x1d\x81\xa8" "ChunkMap\x80" KVS) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct snap_meta meta;
		struct world *w = load(make(&cases[i]), &meta);

		assert_int_equal(meta.index, 7);
		assert_string_equal(get(w, "k"), "[{'LockIndex':0,'Key':'k','Flags':0,'Value':null,'CreateIndex':0,'ModifyIndex':3}]");
		world_free(w);
	}
}

static void
test_container(void **state)
{
	static const char padding[8192], no_header[1024] = { 'a' };
	static const struct {
		struct made m;
		const char *want;
	} cases[] = {
		{ { .state = STATE(HEADER), .meta = "{\"Version\":2,\"Index\":1,\"Term\":1,\"Size\":12}" }, "unsupported snapshot version 2" },
		{ { .state = STATE(HEADER), .meta = "{\"Version\":0,\"Index\":1,\"Term\":1,\"Size\":12}" }, "unsupported snapshot version 0" },
		{ { .state = STATE(HEADER), .meta = "{\"Index\":1,\"Term\":1,\"Size\":12}" }, "unsupported snapshot version 0" },
		{ { .state = STATE(HEADER), .meta = "{\"Version\":1,\"Index\":1,\"Term\":1,\"Size\":13}" }, "size didn't match (12 != 13)" },
		{ { .state = STATE(HEADER), .meta = "{\"Version\":1," }, "failed to decode snapshot metadata: " },
		{ { .state = STATE(HEADER), .meta = "[]" }, "failed to decode snapshot metadata: " },
		{ { .state = STATE(HEADER), .meta = "{\"Version\":1,\"Index\":-1}" }, "failed to decode snapshot metadata: " },
		{ { .state = STATE(HEADER), .meta = "{\"Version\":1,\"Index\":9223372036854775807,\"Term\":1,\"Size\":12}" }, "its index 9223372036854775807 is too high" },
		{ { .state = STATE(HEADER), .order = "msSx" }, "failed to read snapshot file: unexpected file \"./meta.json\" in snapshot" },
		{ { .state = STATE(HEADER), .order = "dmsS" }, "unexpected file \"meta.json\" in snapshot" },
		{ { .state = STATE(HEADER), .order = "mssS" }, "unexpected file \"state.bin\" in snapshot" },
		{ { .state = STATE(HEADER), .order = "ms" },
		    "failed to read snapshot file: failed checking integrity of snapshot: file missing for \"meta.json\"" },
		{ { .state = STATE(HEADER), .order = "mS" }, "hash check failed for \"state.bin\"" },
		{ { .state = STATE(HEADER), .order = "" }, "file missing for \"meta.json\"" },
		{ { .state = STATE(HEADER), .sums = "%.64s  meta.json\n" }, "file missing for \"state.bin\"" },
		{ { .state = STATE(HEADER), .sums = "%.64s  meta.json\n%.64s  other\n" }, "list missing hash for \"other\"" },
		{ { .state = STATE(HEADER), .sums = "%.64s  meta.json\n%.60s0000  state.bin\n" }, "hash check failed for \"state.bin\"" },
		{ { .state = STATE(HEADER), .sums = "nonsense\n" }, "malformed line" },
		{ { .state = STATE(HEADER), .tail = "x", .tail_len = 1 }, "failed reading snapshot: unexpected EOF" },
		{ { .state = STATE(HEADER), .tail = padding, .tail_len = sizeof(padding) }, "7168 unread uncompressed bytes remain" },
		{ { .state = STATE(HEADER), .tail = no_header, .tail_len = sizeof(no_header) }, "archive/tar: invalid tar header" },
		{ { .state = STATE(HEADER), .behind = "x" }, "unexpected EOF" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		refused(make(&cases[i].m), cases[i].want);
	refused(fd_of("", 0), "failed to decompress snapshot: EOF");
	refused(fd_of("\x1f\x8b", 2), "failed to decompress snapshot: unexpected EOF");
	refused(fd_of("{\"Version\":1}\n", 14), "failed to decompress snapshot: gzip: invalid header");
}

static void
test_damaged(void **state)
{
	static const char *const cases[][2] = {
		{ "e-truncated.snap", "unexpected EOF" },
		{ "e-bitflip.snap", "failed to read snapshot file: " },
		{ "e-bitflip-state.snap", "failed checking integrity of snapshot: hash check failed for \"state.bin\"" },
		{ "e-badsum.snap", "failed checking integrity of snapshot: hash check failed for " },
		{ "e-shortstate.snap", "state.bin ends inside a record" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		refused(open_data(cases[i][0]), cases[i][1]);
}

#define NODE "\x00\x82\xa4Node\xa1n\xa7" "Address\xa1x"

/* Right digests, wrong records: they kill a leader of Consul's; here they are refused before anything is done. */
static void
test_records_refused(void **state)
{
	static const struct {
		struct str state;
		const char *want;
	} cases[] = {
		{ STATE(""), "state.bin has no header" },
		{ STATE("\x90"), "begins with no header" },
		{ STATE("\x81\xa9LastIndex\xa1x"), "begins with no header" },
		{ STATE(HEADER "\x63\x80"), "Unrecognized msg type 99" },
		{ STATE(HEADER "\x82\x80"), "Unrecognized msg type 130" },
		{ STATE(HEADER "\x01\x80"), "Unrecognized msg type 1" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa3" "a\nb\xa5" "Check\x82\xa7" "CheckID\xa1" "c\xa9ServiceID\xa1s"), "on node \"a?b\"" },
		{ STATE(HEADER "\x12\x80"), "Unrecognized msg type 18" },
		{ STATE(HEADER KVS "\x02\x82\xa3Key\xa1"), "state.bin ends inside a record (KVS at byte 33)" },
		{ STATE(HEADER "\x02"), "state.bin ends inside a record" },
		{ STATE(HEADER "\x02\xc1"), "KVS at byte 12 is not msgpack" },
		{ STATE(HEADER "\x02\xdb\xff\xff\xff\xff"), "or larger than 1024 MiB" },
		{ STATE(HEADER "\x02\xdf\xff\xff\xff\xff"), "or larger than 1024 MiB" },
		{ STATE(HEADER "\x02\x93\x01\x02\x03"), "KVS record at byte 12: it is not a map" },
		{ STATE(HEADER "\x02\x80"), "it has no key" },
		{ STATE(HEADER "\x02\x82\xa3Key\xa1k\xabModifyIndex\xcb\x3f\xf0\0\0\0\0\0\0"), "a field of it has the wrong type" },
		{ STATE(HEADER "\x02\x82\xa3Key\xa1k\xabModifyIndex\xcf\x40\0\0\0\0\0\0\0"), "its index is too high" },
		{ STATE(HEADER "\x00\x81\xa7" "Address\xa1x"), "it has no node name" },
		{ STATE(HEADER "\x00\x81\xa4Node\xa3" "a\0b"), "the node name holds a NUL" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa1n\xa7Service\x81\xa2ID\xa1x"), "it has no service name" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa1n\xa7Service\x93\x01\x02\x03"), "it is not a map" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa1n\xa5" "Check\x82\xa7" "CheckID\xa1" "c\xa9ServiceID\xa1s"), "Missing service registration on node \"n\"" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa1n\xa5" "Check\x82\xa7" "CheckID\xa1" "c\xa4Node\xa1m"), "check node \"m\" does not match node \"n\"" },
		{ STATE(HEADER "\x00\x82\xa4Node\xa1n\xa2ID\xda\0\x24" "aaaaaaaa-0000-0000-0000-000000000001"
		    "\x00\x82\xa4Node\xa1m\xa2ID\xda\0\x24" "aaaaaaaa-0000-0000-0000-000000000001"), "it does not fit into the state" },
		{ STATE(HEADER "\x03\x82\xa2ID\xa1x\xa3TTL\xa1x"), "session \"x\": its TTL or its ID is none" },
		{ STATE(HEADER "\x03\x82\xa2ID\xa1x\xa3TTL\xa8" "9999999h"), "session \"x\": its TTL or its ID is none" },
		{ STATE(HEADER "\x06\x80"), "CoordinateBatchUpdate record at byte 12: it is not a list" },
		{ STATE(HEADER "\x06\x91\xc0"), "it is not of the form of its kind" },
		{ STATE(HEADER "\x10\x81\xa5Value\x01"), "it has no key" },
		{ STATE(HEADER "\x10\x82\xa3Key\xa3kvs\xa5Value\xcf\xff\0\0\0\0\0\0\0"), "its index is too high" },
		{ STATE(HEADER "\x11\x93\x01\x02\x03"), "ACLToken record at byte 12: it is not of the form of its kind" },
		{ STATE(HEADER "\x16\xa3" "abc"), "it is not of the form of its kind" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		refused(make(&(struct made){ .state = cases[i].state }), cases[i].want);
}

/* Without index records: the highest of what they hold; with folded records; with old kinds. */
static void
test_converted(void **state)
{
	static const char text[] = HEADER
	    "\x00\x84\xa4Node\xa1N\xabModifyIndex\x02\xa7Service\x82\xa7Service\xa3Web\xabModifyIndex\x04"
	    "\xa6" "Checks\x91\x84\xa7" "CheckID\xa1" "c\xa9ServiceID\xa3web\xa6Status\xa7passing\xabModifyIndex\x03"
	    "\x03\x83\xa2ID\xda\0\x24" SID(1) "\xa6" "Checks\x91\xa1" "c\xa4Node\xa1N"
	    "\x05\x82\xa3Key\xa1t\xabModifyIndex\x06"
	    "\x0b\x82\xae" "AllowBootstrap\xc2\xabModifyIndex\x05";
	struct made m = { .state = { text, sizeof(text) - 1 } };
	struct listing l;
	struct snap_meta meta;
	struct world *w = load(make(&m), &meta);

	(void)state;
	assert_non_null(strstr(query(w, OP_CATALOG_SERVICE, "{'Service':'web'}"), "'ServiceID':'Web'"));
	assert_non_null(strstr(w->text, "'Datacenter':'dc1'"));
	assert_non_null(strstr(w->text, "'ServiceWeights':{'Passing':1,'Warning':1}"));
	assert_int_equal(w->result_index, 4);
	assert_non_null(strstr(query(w, OP_HEALTH_STATE, "{'State':'passing'}"), "'ServiceID':'web','ServiceName':'Web'"));
	assert_int_equal(w->result_index, 3);
	(void)query(w, OP_CATALOG_NODES, "{}");
	assert_int_equal(w->result_index, 2);
	assert_non_null(strstr(query(w, OP_SESSION_INFO, "{'ID':'" SID(1) "'}"), "'NodeChecks':['c']"));
	(void)get(w, "none");
	assert_int_equal(w->result_index, 6);
	list_records(save(w, &meta), &l);
	assert_non_null(strstr(json_object_to_json_string_ext(l.records, JSON_C_TO_STRING_PLAIN),
	    "[16,{\"Key\":\"acl-token-bootstrap\",\"Value\":5}]"));
	listing_free(&l);
	world_free(w);
}

/* ---- anything at all */

static void
any_answer(const uint8_t *p, size_t n)
{
	struct told t = { world_new(), 0, 0 };
	const struct archive_sink sink = { &t, on_record };
	struct snap_meta meta;
	char err[SNAP_ERROR_MAX] = "";
	int fd = fd_of(p, n), rc = archive_load(fd, "dc1", &sink, &meta, err);

	assert_true(rc == 0 || (rc == -EINVAL && err[0] != 0 && t.n == 0));
	(void)close(fd);
	world_free(t.w);
}

static void
test_truncated(void **state)
{
	struct buf b = BUF_INIT(FILE_MAX);
	struct made m = { .state = STATE(HEADER NODE KVS) };
	int small = make(&m);

	(void)state;
	read_fd(small, &b);
	for (size_t n = 0; n < b.len; n++)
		refused(fd_of(b.data, n), n < 10 ? "failed to decompress snapshot: " : "unexpected EOF");
	buf_release(&b);
	(void)close(small);
}

/* xorshift: the seed tells the whole row. */
static uint64_t
next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t
seed_of_run(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();

	print_message("# SEED=%llu\n", (unsigned long long)seed);
	return seed | 1;
}

static int
on_state(void *ctx, struct snap_out *o)
{
	const struct buf *b = ctx;

	snap_out_bytes(o, b->data, b->len);
	return 0;
}

/* state.bin of a snapshot with a few bytes changed, in a container that is right. */
static void
mutate_state(const struct buf *state, uint64_t *seed)
{
	struct buf b = BUF_INIT(FILE_MAX);
	struct snap_meta meta = { .index = 1, .term = 1 };
	struct buf out = BUF_INIT(FILE_MAX);
	char err[SNAP_ERROR_MAX];
	int fd = scratch();

	assert_int_equal(buf_add(&b, state->data, state->len), 0);
	for (uint64_t n = 1 + next_random(seed) % 4; n > 0; n--) {
		size_t at = next_random(seed) % b.len;

		b.data[at] = (uint8_t)next_random(seed);
		if (next_random(seed) % 8 == 0)
			b.len = at + 1;
	}
	assert_int_equal(snap_write(fd, &meta, 0, on_state, &b, err), 0);
	read_fd(fd, &out);
	any_answer(out.data, out.len);
	(void)close(fd);
	buf_release(&out);
	buf_release(&b);
}

static void
state_bin(const char *name, struct buf *out)
{
	struct listing l;

	list_records(open_data(name), &l);
	assert_int_equal(buf_add(out, HEADER, sizeof(HEADER) - 1), 0);
	assert_int_equal(buf_add(out, l.bytes.data, l.bytes.len), 0);
	listing_free(&l);
}

static void
test_mutated(void **state)
{
	uint64_t seed = seed_of_run();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct buf file = BUF_INIT(FILE_MAX), inside = BUF_INIT(FILE_MAX);
		char name[64];
		int fd;

		(void)snprintf(name, sizeof(name), "%s.snap", good[i]);
		fd = open_data(name);
		read_fd(fd, &file);
		(void)close(fd);
		state_bin(name, &inside);
		for (int n = 0; n < 400; n++) {
			size_t at = next_random(&seed) % file.len;
			uint8_t was = file.data[at];

			file.data[at] = (uint8_t)next_random(&seed);
			any_answer(file.data, file.len);
			file.data[at] = was;
			mutate_state(&inside, &seed);
		}
		buf_release(&file);
		buf_release(&inside);
	}
}

/* A few KiB that unpack to more than they should: refused, or read in little memory. */
static void
test_bombs(void **state)
{
	static char zeros[24 << 20];
	static const char one_string[] = HEADER "\x02\x82\xa3Key\xa1k\xa5Value\xdb\x30\0\0\0";
	struct made unread = { .state = STATE(HEADER KVS), .tail = zeros, .tail_len = sizeof(zeros) };
	struct buf big = BUF_INIT(64 << 20);

	(void)state;
	refused(make(&unread), "more than 16777216 unread uncompressed bytes remain");
	assert_int_equal(buf_add(&big, one_string, sizeof(one_string) - 1), 0);
	assert_int_equal(buf_add(&big, zeros, sizeof(zeros)), 0);
	refused(make(&(struct made){ .state = { (char *)big.data, big.len } }), "ends inside a record (KVS at byte 12)");
	/* A list of millions of nothings. */
	big.len = 0;
	assert_int_equal(buf_add(&big, HEADER "\x03\x81\xaaNodeChecks\xdd\x01\0\0\0", 12 + 18), 0);
	memset(zeros, 0xc0, sizeof(zeros));
	assert_int_equal(buf_add(&big, zeros, 1 << 24), 0);
	{
		struct told t = { NULL, 0, -EIO };
		const struct archive_sink sink = { &t, on_record };
		struct snap_meta meta;
		char err[SNAP_ERROR_MAX] = "";
		int fd = make(&(struct made){ .state = { (char *)big.data, big.len } });

		assert_true(archive_load(fd, "dc1", &sink, &meta, err) < 0);
		assert_int_equal(t.n, 0);
		(void)close(fd);
	}
	buf_release(&big);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken), cmocka_unit_test(test_container), cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_records_refused), cmocka_unit_test(test_converted), cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_mutated), cmocka_unit_test(test_bombs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
