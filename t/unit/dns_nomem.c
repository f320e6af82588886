/* dns_nomem.c - dnsd's pure parts when the Nth allocation fails, for every N: an error, nothing leaked, nothing half done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsd/index.h"
#include "t/unit/dns_world.h"

/* Set by the linker in front of the C library's (--wrap). */
#include "t/unit/nomem.h"
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

static long fail_at = -1, count;

static bool
refuse(void)
{
	return fail_at >= 0 && count++ == fail_at;
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

/* Try with the first, second ... allocation failing until it succeeds. */
static unsigned
until_it_succeeds(int (*work)(void))
{
	for (unsigned n = 0; n < 10000; n++) {
		int rc;

		fail_at = n;
		count = 0;
		rc = work();
		fail_at = -1;
		if (rc == 0)
			return n;
		assert_int_equal(rc, -ENOMEM);
	}
	fail();
	return 0;
}

static struct buf reply = BUF_INIT(1 * MiB);
static struct json_object *slice;
static struct facts *facts;
static struct settings *settings;

static int
work_facts(void)
{
	struct arena scratch = ARENA_INIT(1 * MiB);
	struct facts *f = NULL;
	int rc = facts_from_health((struct str){ (const char *)reply.data, reply.len }, &scratch, &f);

	assert_true((rc == 0) == (f != NULL));
	facts_free(f);
	arena_release(&scratch);
	return rc;
}

static int
work_settings(void)
{
	struct settings *s = NULL;
	char err[256];
	int rc = settings_read(slice, &s, err, sizeof(err));

	assert_true((rc == 0) == (s != NULL));
	settings_free(s);
	return rc;
}

static int
work_answer(void)
{
	struct answer_index x;
	struct answer *a = NULL;
	struct pkt_query q;
	struct dns_name n;
	enum outcome o;
	uint8_t p[512];
	int rc;

	assert_int_equal(pkt_query_read(p, query_bytes(p, "many.service.consul", TYPE_SRV, 1232), &q), 0);
	name_parse(q.name, q.name_len - settings->domain.len, q.type, &n);
	rc = answer_render(facts, &n, &q, settings, &o, &a);
	assert_true((rc == 0) == (a != NULL));
	if (rc == 0)
		rc = answer_index_init(&x, 1);
	if (rc == 0) {
		answer_index_add(&x, a);
		assert_ptr_equal(answer_index_find(&x, &q), a);
		answer_index_remove(&x, a);
		assert_null(answer_index_find(&x, &q));
		answer_index_release(&x);
	}
	answer_free(a);
	return rc;
}

static void
test_every_allocation(void **state)
{
	static const char *const text = "{\"domain\":\"consul\",\"acl\":{\"tokens\":{\"default\":\"x\"}},"
	    "\"dns_config\":{\"service_ttl\":{\"a\":1,\"b*\":2,\"*\":3}}}";
	struct mp_w w = mp_w_init(&reply);
	struct strpair wan = { STR("wan"), STR("198.51.100.1") };
	struct health_entry e;

	(void)state;
	memset(&e, 0, sizeof(e));
	e.node.node = STR("n1");
	e.node.address = STR("host.example");
	e.service.service = STR("web");
	e.node.tagged_addresses.v = &wan;
	e.node.tagged_addresses.n = 1;
	mp_w_array(&w, 20);
	for (unsigned i = 0; i < 20; i++)
		record_encode(&rec_health_entry, &e, RECORD_PUBLIC, &w);
	slice = json_tokener_parse(text);
	settings = world_settings("");
	facts = world_many(30);
	assert_in_range(until_it_succeeds(work_facts), 40, 200);
	assert_in_range(until_it_succeeds(work_settings), 5, 50);
	assert_in_range(until_it_succeeds(work_answer), 5, 200);
	facts_free(facts);
	settings_free(settings);
	json_object_put(slice);
	buf_release(&reply);
}

/* The index grows as it must, and goes on when it cannot. */
static void
test_index_grows(void **state)
{
	enum { N = 2000 };
	static struct answer a[N];
	static uint8_t names[N][16];
	struct answer_index x;
	struct pkt_query q = { .type = TYPE_A };

	(void)state;
	for (int without_memory = 0; without_memory < 2; without_memory++) {
		assert_int_equal(answer_index_init(&x, 7), 0);
		for (unsigned i = 0; i < N; i++) {
			a[i] = (struct answer){ .type = TYPE_A, .name = names[i] };
			a[i].name_len = (uint8_t)snprintf((char *)names[i], sizeof(names[i]), "%cn%07u", 8, i) + 1;
			fail_at = without_memory != 0 ? 0 : -1;
			count = 0;
			answer_index_add(&x, &a[i]);
			fail_at = -1;
		}
		assert_int_equal(x.n, N);
		for (unsigned i = 0; i < N; i++) {
			memcpy(q.name, names[i], a[i].name_len);
			q.name_len = a[i].name_len;
			answer_index_ahead(&x, &q, 1);
			assert_ptr_equal(answer_index_find(&x, &q), &a[i]);
		}
		for (unsigned i = 0; i < N; i++)
			answer_index_remove(&x, &a[i]);
		assert_int_equal(x.n, 0);
		answer_index_release(&x);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation), cmocka_unit_test(test_index_grows),
	};

	return cmocka_run_group_tests_name("dns_nomem", tests, NULL, NULL);
}
