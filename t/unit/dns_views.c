/*
 * dns_views.c - what views other than of services and nodes are made of:
 * names of addresses, host names, prepared queries; cut short at every byte,
 * and with every allocation failing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dnsd/answer_rr.h"
#include "dnsd/host.h"
#include "dnsd/message.h"
#include "dnsd/reverse.h"
#include "lib/records_acl.h"
#include "t/unit/dns_decode.h"
#include "t/unit/dns_world.h"
#include "t/unit/nomem.h"

static long fail_at = -1, count;
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

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

/* ---- names of addresses */

static const char *
address_of(const char *name)
{
	static char text[INET6_ADDRSTRLEN];
	uint8_t wire[PKT_NAME_MAX + 1];
	int n = name_to_wire(str_from(name), wire);

	assert_true(n > 0);
	return reverse_address(wire, (size_t)n, text) == 0 ? text : "none";
}

#define ZEROS16 "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."

static void
test_reverse_address(void **state)
{
	static const struct {
		const char *name, *address;
	} cases[] = {
		{ "1.2.3.10.in-addr.arpa", "10.3.2.1" }, { "255.0.0.0.in-addr.arpa", "0.0.0.255" }, { "256.0.0.10.in-addr.arpa", "none" },
		{ "01.0.0.10.in-addr.arpa", "none" }, { "0.0.10.in-addr.arpa", "none" }, { "1.1.0.0.10.in-addr.arpa", "none" },
		{ "1.0.0.10.in-addr.arpa.x", "none" }, { "in-addr.arpa", "none" }, { "arpa", "none" }, { "", "none" },
		{ "1.0.0.10.ip6.arpa", "none" }, { "-1.0.0.10.in-addr.arpa", "none" }, { "1000.0.0.10.in-addr.arpa", "none" },
		{ "b.a.9.8." ZEROS16 "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::89ab" },
		{ "b.a.9.8." ZEROS16 "0.0.0.0.8.b.d.0.1.0.0.g.ip6.arpa", "none" },
		{ "a.9.8." ZEROS16 "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "none" },
		{ "bb.a.9.8." ZEROS16 "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "none" },
		{ "0.b.a.9.8." ZEROS16 "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(address_of(cases[i].name), cases[i].address);
}

static size_t
put_reverse(uint8_t *out, size_t cap, const char *node, const char *service)
{
	struct buf b = BUF_INIT(4096);
	struct mp_w w = mp_w_init(&b);
	size_t n;

	mp_w_map(&w, 3);
	mp_w_cstr(&w, "Other");
	mp_w_nil(&w);
	mp_w_cstr(&w, "Node");
	mp_w_cstr(&w, node);
	mp_w_cstr(&w, "Services");
	mp_w_array(&w, service != NULL ? 2 : 0);
	if (service != NULL) {
		mp_w_cstr(&w, service);
		mp_w_cstr(&w, "zz");
	}
	assert_int_equal(w.err, 0);
	assert_true(b.len <= cap);
	memcpy(out, b.data, b.len);
	n = b.len;
	buf_release(&b);
	return n;
}

static void
check_ptr(const char *node, const char *service, const char *target)
{
	static struct decoded d;
	struct settings *s = world_settings("\"datacenter\":\"dc1\"");
	uint8_t in[512], question[512], out[PKT_UDP_MAX];
	struct reverse_facts *f = NULL;
	struct pkt_query q;
	char name[DECODE_NAME_MAX];
	size_t n = put_reverse(in, sizeof(in), node, service);

	assert_int_equal(reverse_from_reply((struct str){ (const char *)in, n }, &f), 0);
	assert_int_equal(pkt_query_read(question, query_bytes(question, "1.0.0.10.in-addr.arpa", TYPE_PTR, 0), &q), 0);
	n = reverse_answer(&q, s, f, out, sizeof(out));
	if (target == NULL) {
		assert_int_equal(n, 0);
	} else {
		assert_true(decode(&d, out, n));
		assert_int_equal(d.nrrs, 1);
		assert_int_equal(d.rr[0].type, TYPE_PTR);
		assert_int_equal(d.rr[0].ttl, 0);
		assert_int_equal(decode_name(&d, d.rr[0].at, name), d.rr[0].at + d.rr[0].rdlen);
		assert_string_equal(name, target);
	}
	free(f);
	settings_free(s);
}

static void
test_reverse_answer(void **state)
{
	char huge[300];

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = 0;
	check_ptr("Node-1", NULL, "Node-1.node.dc1.consul.");
	check_ptr("Node-1", "web", "Node-1.node.dc1.consul.");
	check_ptr("", "web", "web.service.dc1.consul.");
	check_ptr("a..b", NULL, NULL);
	check_ptr("", "a..b", NULL);
	check_ptr("", huge, NULL);
	check_ptr(huge, NULL, NULL);
}

static int
work_reverse(void)
{
	uint8_t in[128];
	struct reverse_facts *f = NULL;
	long at = fail_at;
	size_t n;
	int rc;

	fail_at = -1;
	n = put_reverse(in, sizeof(in), "n", "web");
	fail_at = at;
	count = 0;
	rc = reverse_from_reply((struct str){ (const char *)in, n }, &f);
	assert_true((rc == 0) == (f != NULL));
	free(f);
	return rc;
}

/* ---- host names */

/* A reply with a CNAME (in capitals, behind a pointer) and two addresses. */
static size_t
put_host(uint8_t *p, unsigned rcode)
{
	static const uint8_t rrs[] = {
		0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 90, 0, 7, 4, 'H', 'O', 'S', 'T', 0xc0, 16,
		0xc0, 41, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1,
		0xc0, 41, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2,
	};
	size_t n = query_bytes(p, "www.example", TYPE_A, 0);

	assert_int_equal(n, 29);
	p[2] = 0x81;
	p[3] = (uint8_t)(0x80 | rcode);
	p[7] = rcode == 0 ? 3 : 0;
	if (rcode != 0)
		return n;
	memcpy(p + n, rrs, sizeof(rrs));
	return n + sizeof(rrs);
}

static const uint8_t www[] = "\3www\7example";

static void
test_host(void **state)
{
	uint8_t p[512];
	struct host_facts *f = NULL;
	struct pkt_query q;
	size_t n = put_host(p, 0);

	(void)state;
	assert_int_equal(host_from_reply(p, n, www, TYPE_A, &f), 0);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->ttl_ms, 30000);
	assert_memory_equal(f->rr[0].owner, www, sizeof(www));
	assert_int_equal(f->rr[0].len, PKT_RR_FIXED + 14);
	assert_memory_equal(f->rr[0].tail + PKT_RR_FIXED, "\4HOST\7example", 14);
	assert_memory_equal(f->rr[1].owner, "\4host\7example", 14);
	assert_memory_equal(f->rr[2].tail + PKT_RR_FIXED, "\300\0\2\2", 4);
	free(f);
	f = NULL;
	assert_int_equal(host_from_reply(p, put_host(p, RCODE_NXDOMAIN), www, TYPE_A, &f), 0);
	assert_int_equal(f->n, 0);
	assert_int_equal(f->ttl_ms, HOST_NONE_MS);
	free(f);
	assert_int_equal(host_from_reply(p, put_host(p, RCODE_SERVFAIL), www, TYPE_A, &f), -EBADMSG);
	/* Cut at any byte: an error, or less than there was. */
	n = put_host(p, 0);
	for (size_t i = 0; i < n; i++) {
		uint8_t *cut = malloc(i + 1);

		assert_non_null(cut);
		memcpy(cut, p, i);
		f = NULL;
		if (host_from_reply(cut, i, www, TYPE_A, &f) == 0)
			assert_true(f->n < 3);
		free(f);
		free(cut);
	}
	n = host_query(www, TYPE_AAAA, p);
	assert_int_equal(pkt_query_read(p, n, &q), 0);
	assert_int_equal(q.type, TYPE_AAAA);
	assert_int_equal(q.name_len, sizeof(www));
	assert_true(q.edns && q.udp_size == HOST_UDP_SIZE && (q.flags & FLAG_RD) != 0);
}

static int
work_host(void)
{
	uint8_t p[512];
	struct host_facts *f = NULL;
	int rc = host_from_reply(p, put_host(p, 0), www, TYPE_A, &f);

	assert_true((rc == 0) == (f != NULL));
	free(f);
	return rc;
}

/* ---- prepared queries */

/* Three instances, the ranks of which are given; the reply is in b. */
static void
put_query(struct buf *b, const char *ranks, const char *ttl)
{
	struct mp_w w = mp_w_init(b);

	mp_w_map(&w, 6);
	mp_w_cstr(&w, "Service");
	mp_w_cstr(&w, "Web");
	mp_w_cstr(&w, "Nodes");
	mp_w_array(&w, 3);
	for (int i = 0; i < 3; i++) {
		char address[24];
		struct health_check c = { .status = STR("critical") };
		struct health_entry e = { .checks = { &c, i == 0 } };

		(void)snprintf(address, sizeof(address), "10.0.0.%d", i + 1);
		e.node.node = STR("n");
		e.node.address = str_from(address);
		record_encode(&rec_health_entry, &e, RECORD_PUBLIC, &w);
	}
	mp_w_cstr(&w, "DNS");
	record_encode(&rec_pq_dns, &(struct pq_dns){ str_from(ttl) }, RECORD_PUBLIC, &w);
	mp_w_cstr(&w, "Datacenter");
	mp_w_cstr(&w, "dc9");
	mp_w_cstr(&w, "PerClient");
	mp_w_bool(&w, true);
	mp_w_cstr(&w, "Ranks");
	mp_w_array(&w, (uint32_t)strlen(ranks));
	for (const char *r = ranks; *r != 0; r++)
		mp_w_uint(&w, (uint64_t)(*r - '0'));
	assert_int_equal(w.err, 0);
}

static struct facts *
query_facts(const char *ranks, const char *ttl)
{
	struct buf b = BUF_INIT(64 * KiB);
	struct arena scratch = ARENA_INIT(1 * MiB);
	struct facts *f = NULL;

	put_query(&b, ranks, ttl);
	assert_int_equal(facts_from_query((struct str){ (const char *)b.data, b.len }, &scratch, &f), 0);
	arena_release(&scratch);
	buf_release(&b);
	return f;
}

static void
test_query(void **state)
{
	struct facts *f = query_facts("012", "90s");

	(void)state;
	assert_int_equal(f->n, 3);
	assert_true(f->known && f->v[0]->critical);
	assert_true(f->query->has_ttl && f->query->ttl == 90);
	assert_true(f->query->watchable && f->query->sorted && f->query->per_client);
	assert_true(str_eqs(f->query->service, "Web") && str_eqs(f->query->dc, "dc9"));
	assert_int_equal(f->query->ranks[2], 2);
	facts_free(f);
	f = query_facts("000", "");
	assert_false(f->query->sorted || f->query->has_ttl);
	facts_free(f);
	f = query_facts("0", "soon");
	assert_false(f->query->sorted || f->query->has_ttl);
	facts_free(f);
	f = query_facts("0123456789", "-5s");
	assert_true(f->query->sorted && !f->query->has_ttl);
	facts_free(f);
}

static void
test_query_cut(void **state)
{
	struct buf b = BUF_INIT(64 * KiB);
	struct arena scratch = ARENA_INIT(1 * MiB);
	struct facts *f = NULL;

	(void)state;
	put_query(&b, "012", "9s");
	for (size_t i = 0; i < b.len; i++) {
		char *cut = malloc(i + 1);

		assert_non_null(cut);
		memcpy(cut, b.data, i);
		assert_int_equal(facts_from_query((struct str){ cut, i }, &scratch, &f), -EDECODE);
		assert_null(f);
		free(cut);
	}
	assert_int_equal(facts_from_query(STR("\x80"), &scratch, &f), -EDECODE);
	assert_int_equal(facts_from_query(STR("\xc0"), &scratch, &f), -EDECODE);
	arena_release(&scratch);
	buf_release(&b);
}

/* The last bytes of the addresses, in the order in which they are sent. */
static const char *
sent(struct answer *a, const struct pkt_query *q, const struct settings *s, uint64_t *rng)
{
	static struct decoded d;
	static char text[16];
	uint8_t out[PKT_UDP_MAX];
	size_t n = answer_write(a, q, s, false, rng, out, sizeof(out));

	assert_true(decode(&d, out, n));
	memset(text, 0, sizeof(text));
	for (unsigned i = 0; i < d.nrrs && d.rr[i].section == 1; i++)
		text[i] = (char)('0' + out[d.rr[i].at + 3]);
	return text;
}

static void
test_order(void **state)
{
	static const struct {
		const char *ranks, *orders;
	} cases[] = {
		{ "012", "123 " }, { "011", "123 132 " }, { "001", "123 213 " }, { "000", "123 132 213 231 312 321 " },
	};
	struct settings *s = world_settings("\"dns_config\":{\"only_passing\":true,\"service_ttl\":{\"web\":7000}}");
	uint8_t question[512];
	struct dns_name name = { .kind = NAME_QUERY, .name = STR("q") };
	struct pkt_query q;
	uint64_t rng = 1;

	(void)state;
	assert_int_equal(pkt_query_read(question, query_bytes(question, "q.query.consul", TYPE_A, 0), &q), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct facts *f = query_facts(cases[i].ranks, "");
		struct answer *a = NULL;
		enum outcome o;
		size_t seen = 0;

		assert_int_equal(answer_render(f, &name, &q, s, &o, &a), 0);
		assert_int_equal(o, OUTCOME_RECORDS);
		assert_true(a->of_query);
		for (int k = 0; k < 200; k++) {
			const char *at = strstr(cases[i].orders, sent(a, &q, s, &rng));

			assert_non_null(at);
			assert_int_equal(strlen(sent(a, &q, s, &rng)), 3);
			seen |= (size_t)1 << (at - cases[i].orders) / 4;
		}
		assert_int_equal(seen, ((size_t)1 << strlen(cases[i].orders) / 4) - 1);
		answer_free(a);
		facts_free(f);
	}
	settings_free(s);
}

static struct buf reply = BUF_INIT(64 * KiB);

static int
work_query(void)
{
	struct arena scratch = ARENA_INIT(1 * MiB);
	struct facts *f = NULL;
	int rc = facts_from_query((struct str){ (const char *)reply.data, reply.len }, &scratch, &f);

	assert_true((rc == 0) == (f != NULL));
	facts_free(f);
	arena_release(&scratch);
	return rc;
}

/* ---- answers that follow host names */

static size_t
find(void *ctx, const uint8_t *name, uint16_t type, struct host_rr *out)
{
	static const uint8_t host[] = "\4host\7example";
	static const uint8_t cname[] = "\0\5\0\1\0\0\0\1\0\16\4host\7example", a[] = "\0\1\0\1\0\0\0\1\0\4\300\0\2\1";
	const unsigned *n = ctx;

	assert_memory_equal(name, www, sizeof(www));
	assert_int_equal(type, TYPE_A);
	out[0] = (struct host_rr){ www, cname, sizeof(cname) };
	for (unsigned i = 1; i < *n; i++)
		out[i] = (struct host_rr){ host, a, sizeof(a) - 1 };
	return *n;
}

static unsigned chain;

static int
follow(unsigned udp_size, unsigned *ret_records)
{
	static struct decoded d;
	static struct settings *s;
	static struct facts *f;
	const struct hosts hosts = { &chain, find };
	struct dns_name name = { .kind = NAME_SERVICE, .name = STR("web") };
	uint8_t question[512], out[PKT_UDP_MAX];
	struct answer *a = NULL;
	struct pkt_query q;
	enum outcome o;
	uint64_t rng = 1;
	long at = fail_at;
	size_t len;
	int rc;

	fail_at = -1;
	if (s == NULL) {
		s = world_settings("\"dns_config\":{\"service_ttl\":{\"web\":7000}}");
		f = world_service("[{\"Node\":{\"Node\":\"n\",\"Address\":\"10.0.0.1\"},\"Service\":{\"Service\":\"web\",\"Address\":\"www.example\"},\"Checks\":[]}]");
	}
	assert_int_equal(pkt_query_read(question, query_bytes(question, "web.service.consul", TYPE_A, udp_size), &q), 0);
	fail_at = at;
	rc = answer_render_with(f, &name, &q, s, &hosts, &o, &a);
	if (rc < 0) {
		assert_null(a);
		return rc;
	}
	assert_int_equal(o, OUTCOME_RECORDS);
	len = answer_write(a, &q, s, false, &rng, out, sizeof(out));
	assert_true(decode(&d, out, len));
	*ret_records = d.count[1];
	for (unsigned i = 0; i < d.count[1]; i++)
		assert_int_equal(d.rr[i].ttl, 7);
	answer_free(a);
	return 0;
}

static void
test_follow(void **state)
{
	unsigned n = 0;

	(void)state;
	chain = 0;
	assert_int_equal(follow(0, &n), 0);
	assert_int_equal(n, 1);
	chain = 4;
	assert_int_equal(follow(0, &n), 0);
	assert_int_equal(n, 5);
	chain = HOST_RRS_MAX;
	assert_int_equal(follow(0, &n), 0);
	assert_int_equal(n, 1 + HOST_RRS_PLAIN);
	assert_int_equal(follow(4096, &n), 0);
	assert_int_equal(n, 1 + HOST_RRS_MAX);
}

static int
work_follow(void)
{
	unsigned n;

	return follow(0, &n);
}

static void
test_no_memory(void **state)
{
	static int (*const works[])(void) = { work_reverse, work_host, work_query, work_follow };

	(void)state;
	put_query(&reply, "012", "9s");
	for (size_t i = 0; i < ARRAY_LEN(works); i++) {
		unsigned n = 0;
		int rc;

		do {
			fail_at = n++;
			count = 0;
			rc = works[i]();
			fail_at = -1;
			assert_true(rc == 0 || rc == -ENOMEM);
		} while (rc != 0 && n < 1000);
		assert_true(n > 1 && n < 1000);
	}
	buf_release(&reply);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reverse_address), cmocka_unit_test(test_reverse_answer), cmocka_unit_test(test_host),
		cmocka_unit_test(test_query), cmocka_unit_test(test_query_cut), cmocka_unit_test(test_order), cmocka_unit_test(test_follow),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
