/*
 * dns_upstream.c - recursors as the configuration writes them; questions to
 * one on this machine, answered once whatever memory fails on the way, and
 * none when they are taken back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>

#include "dnsd/relay.h"
#include "t/unit/dns_query.h"
#include "t/unit/dns_world.h"
#include "t/unit/nomem.h"

static long fail_at = -1, count;

static bool
refuse(void)
{
	return fail_at >= 0 && count++ == fail_at;
}

/* serve.c's, which is not here. */
void
serve_log(const struct pkt_query *q, const struct asker *who, uint64_t since_ns)
{
	assert_non_null(q);
	assert_non_null(who);
	assert_true(since_ns > 0);
}

/* ---- how they are written */

static void
test_settings(void **state)
{
	static const struct {
		const char *json, *text;
	} all[] = {
		{ "10.0.0.1", "10.0.0.1:53" }, { "10.0.0.1:5353", "10.0.0.1:5353" }, { "::1", "[::1]:53" }, { "[fd00::1]:54", "[fd00::1]:54" },
		{ "[::1]", "[::1]:53" }, { "fd00:0:0:0:0:0:0:1", "[fd00::1]:53" },
		{ "", NULL }, { "host", NULL }, { "10.0.0.1:", NULL }, { "10.0.0.1:0", NULL }, { "10.0.0.1:65536", NULL }, { "10.0.0.1:5x", NULL },
		{ "[::1]:", NULL }, { "[::1", NULL }, { ":53", NULL }, { "[]:53", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		char text[256], addr[SOCK_ADDR_TEXT_MAX], err[256];
		struct json_object *slice;
		struct settings *s = NULL;
		int rc;

		(void)snprintf(text, sizeof(text), "{\"recursors\":[\"192.0.2.1\",\"%s\"],\"dns_config\":{\"recursor_timeout\":0}}", all[i].json);
		slice = json_tokener_parse(text);
		assert_non_null(slice);
		rc = settings_read(slice, &s, err, sizeof(err));
		json_object_put(slice);
		if (all[i].text == NULL) {
			assert_int_equal(rc, -EINVAL);
			assert_non_null(strstr(err, "recursors: \""));
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(s->nrecursors, 2);
		assert_int_equal(s->recursor_timeout_ms, 2000);
		sock_addr_format(&s->recursors[1], addr);
		assert_string_equal(addr, all[i].text);
		settings_free(s);
	}
}

/* ---- a recursor on the same loop */

static struct {
	struct loop loop;
	struct settings *settings;
	struct upstream *upstream;
	struct relay *relay;
	uv_poll_t poll;
	int fd;
	unsigned asked, delivered;
	unsigned rcode, id;
	bool silent;
} w;

/* The query itself with QR set is the answer. */
static void
on_question(uv_poll_t *h, int status, int events)
{
	union sock_addr from;
	socklen_t len = sizeof(from);
	uint8_t p[512];
	ssize_t n = recvfrom(w.fd, p, sizeof(p), 0, &from.sa, &len);

	(void)h;
	(void)events;
	assert_int_equal(status, 0);
	assert_true(n > PKT_HEADER);
	w.asked++;
	p[2] |= 0x80;
	if (!w.silent)
		assert_int_equal(sendto(w.fd, p, (size_t)n, 0, &from.sa, len), n);
}

static void
deliver(const struct asker *a, const uint8_t *reply, size_t len)
{
	assert_non_null(a->transport);
	assert_true(len >= PKT_HEADER);
	w.delivered++;
	w.id = (unsigned)reply[0] << 8 | reply[1];
	w.rcode = reply[3] & 15;
}

static void
begin(int family)
{
	union sock_addr a;
	socklen_t len = sizeof(a);
	char text[128], addr[SOCK_ADDR_TEXT_MAX];

	memset(&w, 0, sizeof(w));
	assert_int_equal(sock_addr_parse(family == AF_INET ? "127.0.0.1" : "::1", 0, &a), 0);
	w.fd = socket(family, SOCK_DGRAM, 0);
	if (w.fd < 0 || bind(w.fd, &a.sa, sock_addr_len(&a)) < 0) {
		(void)close(w.fd);
		skip();
	}
	assert_int_equal(getsockname(w.fd, &a.sa, &len), 0);
	sock_addr_format(&a, addr);
	(void)snprintf(text, sizeof(text), "\"recursors\":[\"%s\"],\"dns_config\":{\"recursor_timeout\":30000}", addr);
	w.settings = world_settings(text);
	assert_int_equal(loop_init(&w.loop), 0);
	assert_int_equal(uv_poll_init(&w.loop.uv, &w.poll, w.fd), 0);
	assert_int_equal(uv_poll_start(&w.poll, UV_READABLE, on_question), 0);
}

static void
end(void)
{
	relay_free(w.relay);
	upstream_free(w.upstream);
	uv_close((uv_handle_t *)&w.poll, NULL);
	loop_release(&w.loop);
	(void)close(w.fd);
	settings_free(w.settings);
}

static bool
ask(const char *name, uint16_t id, void *transport)
{
	struct asker who = { .deliver = deliver, .transport = transport };
	struct pkt_query q;
	uint8_t p[512];
	size_t n = query_bytes(p, name, TYPE_A, 1232);

	p[0] = (uint8_t)(id >> 8);
	p[1] = (uint8_t)id;
	assert_int_equal(pkt_query_read(p, n, &q), 0);
	return relay_ask(w.relay, &who, &q, id % 2 ? p : NULL, id % 2 ? n : 0);
}

static void
make(void)
{
	w.upstream = upstream_new(&w.loop, &w.settings);
	w.relay = w.upstream != NULL ? relay_new(&w.settings, w.upstream) : NULL;
}

static void
until(unsigned *what, unsigned n)
{
	for (unsigned ms = 0; *what < n; ms++) {
		assert_true(ms < 60000);
		(void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		(void)usleep(1000);
	}
}

static void
answered(int family)
{
	begin(family);
	make();
	assert_non_null(w.relay);
	for (uint16_t id = 1; id <= 4; id++) {
		assert_true(ask("host.example", id, &w));
		assert_int_equal(w.delivered, id - 1);
		until(&w.delivered, id);
		assert_int_equal(w.id, id);
		assert_int_equal(w.rcode, RCODE_OK);
	}
	assert_int_equal(relay_waiting(w.relay), 0);
	assert_int_equal(upstream_calls(w.upstream), 0);
	end();
}

static void
test_answered(void **state)
{
	(void)state;
	answered(AF_INET);
}

static void
test_answered_v6(void **state)
{
	(void)state;
	answered(AF_INET6);
}

/* Equal ones are one call; those of a transport that goes are forgotten, the others are not. */
static void
test_joined_and_forgotten(void **state)
{
	int here, there;

	(void)state;
	begin(AF_INET);
	make();
	assert_non_null(w.relay);
	w.silent = true;
	assert_true(ask("same.example", 1, &here));
	assert_true(ask("same.example", 3, &there));
	assert_true(ask("other.example", 5, &here));
	assert_int_equal(relay_waiting(w.relay), 3);
	assert_int_equal(upstream_calls(w.upstream), 2);
	until(&w.asked, 2);
	relay_forget(w.relay, &here);
	assert_int_equal(relay_waiting(w.relay), 1);
	assert_int_equal(upstream_calls(w.upstream), 1);
	relay_forget(w.relay, &there);
	assert_int_equal(upstream_calls(w.upstream), 0);
	w.silent = false;
	assert_true(ask("same.example", 7, &here));
	until(&w.delivered, 1);
	assert_int_equal(w.id, 7);
	/* Some are under way at the end. */
	w.silent = true;
	assert_true(ask("last.example", 9, &here));
	end();
	assert_int_equal(w.delivered, 1);
}

/* The Nth allocation fails, for every N: not taken, or SERVFAIL, once; then it goes well. */
static void
test_every_allocation(void **state)
{
	unsigned n, refused = 0, failed = 0;

	(void)state;
	for (n = 0; n < 100; n++) {
		bool taken;

		begin(AF_INET);
		fail_at = n;
		count = 0;
		make();
		taken = w.relay != NULL && ask("host.example", 1, &w);
		if (taken)
			until(&w.delivered, 1);
		fail_at = -1;
		refused += !taken;
		failed += taken && w.rcode == RCODE_SERVFAIL;
		assert_int_equal(w.delivered, taken);
		assert_true(!taken || w.rcode == RCODE_OK || w.rcode == RCODE_SERVFAIL);
		end();
		if (taken && w.rcode == RCODE_OK)
			break;
	}
	assert_in_range(n, 6, 30);
	assert_in_range(refused, 4, 29);
	assert_in_range(failed, 1, 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings), cmocka_unit_test(test_answered), cmocka_unit_test(test_answered_v6),
		cmocka_unit_test(test_joined_and_forgotten), cmocka_unit_test(test_every_allocation),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("dns_upstream", tests, NULL, NULL);
}
