/* checkd_foreign.c - what servers say to checks, and how checks address them: the pure parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkd/agent_tls.h"
#include "checkd/dial.h"
#include "checkd/docker_api.h"
#include "checkd/docker_stream.h"
#include "checkd/grpc_health.h"
#include "checkd/h2_ping.h"
#include "checkd/http_redirect.h"
#include "checkd/kinds.h"
#include "checkd/proxy_env.h"

static void
test_grpc_request(void **state)
{
	static const uint8_t empty[] = { 0, 0, 0, 0, 0 }, named[] = { 0, 0, 0, 0, 5, 0x0a, 3, 'd', 'b', '/' };
	struct buf b = BUF_INIT(1024);
	char big[300];

	(void)state;
	assert_int_equal(grpc_health_request(STR(""), &b), 0);
	assert_int_equal(b.len, sizeof(empty));
	assert_memory_equal(b.data, empty, sizeof(empty));
	buf_clear(&b);
	assert_int_equal(grpc_health_request(STR("db/"), &b), 0);
	assert_int_equal(b.len, sizeof(named));
	assert_memory_equal(b.data, named, sizeof(named));
	buf_clear(&b);
	memset(big, 'x', sizeof(big));
	assert_int_equal(grpc_health_request((struct str){ big, sizeof(big) }, &b), 0);
	assert_int_equal(b.len, 5 + 1 + 2 + sizeof(big));
	assert_int_equal(b.data[3] << 8 | b.data[4], 3 + sizeof(big));
	assert_int_equal((b.data[6] & 0x7f) | (b.data[7] & 0x7f) << 7, sizeof(big));
	buf_release(&b);
}

static void
test_grpc_reply(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int rc;
		int64_t status;
	} cases[] = {
		{ "\0\0\0\0\0", 5, 0, 0 },
		{ "\0\0\0\0\2\x08\1", 7, 0, 1 },
		{ "\0\0\0\0\2\x08\2", 7, 0, 2 },
		{ "\0\0\0\0\4\x08\2\x08\1", 9, 0, 1 },			/* the last one counts */
		{ "\0\0\0\0\7\x12\3abc\x08\1", 12, 0, 1 },		/* other fields are skipped */
		{ "\0\0\0\0\7\x1d\1\2\3\4\x08\1", 12, 0, 1 },
		{ "\0\0\0\0\x0b\x19\1\2\3\4\5\6\7\x08\x08\1", 16, 0, 1 },
		{ "\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 16, 0, -1 },
		{ "\0\0\0\0", 4, -EDECODE, 0 },
		{ "\1\0\0\0\2\x08\1", 7, -EDECODE, 0 },		/* compressed */
		{ "\0\0\0\0\3\x08\1", 7, -EDECODE, 0 },
		{ "\0\0\0\0\1\x08\1", 7, -EDECODE, 0 },
		{ "\0\0\0\0\1\x08", 6, -EDECODE, 0 },
		{ "\0\0\0\0\2\x08\x80", 7, -EDECODE, 0 },
		{ "\0\0\0\0\2\x12\5", 7, -EDECODE, 0 },
		{ "\0\0\0\0\2\x1d\1", 7, -EDECODE, 0 },
		{ "\0\0\0\0\2\x0b\1", 7, -EDECODE, 0 },		/* a group */
		{ "\0\0\0\0\2\0\1", 7, -EDECODE, 0 },			/* field 0 */
		{ "\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 17, -EDECODE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t status = 0;
		uint8_t *copy = malloc(cases[i].n);

		assert_non_null(copy);
		memcpy(copy, cases[i].bytes, cases[i].n);
		assert_int_equal(grpc_health_reply(copy, cases[i].n, &status), cases[i].rc);
		assert_int_equal(status, cases[i].status);
		free(copy);
	}
}

static void
test_grpc_texts(void **state)
{
	char text[GRPC_STATUS_TEXT_MAX];
	struct buf b = BUF_INIT(100);

	(void)state;
	grpc_serving_text(2, text);
	assert_string_equal(text, "NOT_SERVING");
	grpc_serving_text(-7, text);
	assert_string_equal(text, "-7");
	grpc_code_text(14, text);
	assert_string_equal(text, "Unavailable");
	grpc_code_text(17, text);
	assert_string_equal(text, "Code(17)");
	assert_int_equal(grpc_code_of_http(404), GRPC_UNIMPLEMENTED);
	assert_int_equal(grpc_code_of_http(502), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_code_of_http(418), GRPC_UNKNOWN);
	assert_int_equal(grpc_message_decode(STR("a%20b%zz%4"), &b), 0);
	assert_string_equal(buf_cstr(&b), "a b%zz%4");
	buf_release(&b);
}

/* ---- HTTP/2 */

static const uint8_t payload[H2_PING_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8 };

/* What comes of these bytes, given one by one; what we send behind our beginning is left in out. */
static enum h2_ping_state
ping(const char *bytes, size_t n, struct h2_ping *h, struct buf *out)
{
	enum h2_ping_state s = H2_WAITING;
	struct buf first = BUF_INIT(H2_PING_OUT_MAX);

	assert_int_equal(h2_ping_begin(h, payload, &first), 0);
	assert_int_equal(first.len, 24 + 9 + 17);
	assert_memory_equal(first.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x08\6\0\0\0\0\0\1\2\3\4\5\6\7\x08", 50);
	buf_release(&first);
	for (size_t i = 0; i < n; i++)
		s = h2_ping_take(h, (const uint8_t *)bytes + i, 1, out);
	return s;
}

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define PONG "\0\0\x08\6\1\0\0\0\0\1\2\3\4\5\6\7\x08"

static void
test_h2(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		enum h2_ping_state state;
		const char *fault;
		size_t sent;
	} cases[] = {
		{ SETTINGS PONG, 26, H2_PONG, "", 9 },
		{ "\0\0\6\4\0\0\0\0\0\0\4\0\1\0\0" PONG, 32, H2_PONG, "", 9 },
		/* its own PING, an answer to ours, a window, an unknown frame: all before the answer */
		{ SETTINGS "\0\0\x08\6\0\0\0\0\0abcdefgh" "\0\0\0\4\1\0\0\0\0" "\0\0\4\x08\0\0\0\0\0\0\0\0\1" "\0\0\2\x63\0\0\0\0\7xy" PONG,
		  9 + 17 + 9 + 13 + 11 + 17, H2_PONG, "", 9 + 17 },
		{ SETTINGS "\0\0\x08\6\1\0\0\0\0\1\2\3\4\5\6\7\x09", 26, H2_WAITING, "", 9 },
		{ PONG, 17, H2_FAILED, "connection error: PROTOCOL_ERROR (no SETTINGS at the beginning: not an HTTP/2 server)", 0 },
		{ "HTTP/1.1 ", 9, H2_FAILED, "connection error: PROTOCOL_ERROR (no SETTINGS at the beginning: not an HTTP/2 server)", 0 },
		{ SETTINGS "\0\0\x08\7\0\0\0\0\0\0\0\0\5\0\0\0\1", 26, H2_FAILED,
		  "http2: server sent GOAWAY and closed the connection; LastStreamID=5, ErrCode=PROTOCOL_ERROR", 9 },
		{ SETTINGS "\0\0\x08\7\0\0\0\0\0\0\0\0\5\0\0\1\1", 26, H2_FAILED,
		  "http2: server sent GOAWAY and closed the connection; LastStreamID=5, ErrCode=unknown", 9 },
		{ SETTINGS "\0\0\7\7\0\0\0\0\0", 18, H2_FAILED, "connection error: FRAME_SIZE_ERROR", 9 },
		{ SETTINGS "\0\0\7\6\0\0\0\0\0", 18, H2_FAILED, "connection error: FRAME_SIZE_ERROR", 9 },
		{ "\0\0\7\4\0\0\0\0\0", 9, H2_FAILED, "connection error: FRAME_SIZE_ERROR", 0 },
		{ SETTINGS "\0\0\x08\6\1\0\0\0\1", 18, H2_FAILED, "connection error: PROTOCOL_ERROR", 9 },
		{ SETTINGS "\0\x40\1\x63\0\0\0\0\0", 18, H2_FAILED, "http2: frame too large", 9 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = BUF_INIT(H2_PING_OUT_MAX);
		struct h2_ping h;

		assert_int_equal(ping(cases[i].bytes, cases[i].n, &h, &out), cases[i].state);
		assert_string_equal(h.fault, cases[i].fault);
		assert_int_equal(out.len, cases[i].sent);
		buf_release(&out);
	}
}

static void
test_h2_bounds(void **state)
{
	static const uint8_t head[9] = { 0x00, 0x40, 0, 0x63, 0, 0, 0, 0, 1 };
	static uint8_t junk[H2_FRAME_MAX];
	struct buf out = BUF_INIT(H2_PING_OUT_MAX);
	struct h2_ping h;
	unsigned n = 0;

	(void)state;
	assert_int_equal(ping(SETTINGS, 9, &h, &out), H2_WAITING);
	while (h2_ping_take(&h, head, sizeof(head), &out) == H2_WAITING && h2_ping_take(&h, junk, sizeof(junk), &out) == H2_WAITING)
		assert_true(++n < 100);
	assert_int_equal(h.state, H2_FAILED);
	assert_string_equal(h.fault, "the server sends much, but no answer");
	/* A peer that asks and asks is not answered without end. */
	assert_int_equal(ping(SETTINGS, 9, &h, &out), H2_WAITING);
	n = 0;
	while (h2_ping_take(&h, (const uint8_t *)SETTINGS, 9, &out) == H2_WAITING)
		assert_true(++n < 100000);
	assert_true(out.len <= H2_PING_OUT_MAX);
	buf_release(&out);
}

/* ---- containers */

static void
put(void *arg, const void *p, size_t n)
{
	assert_int_equal(buf_add(arg, p, n), 0);
}

static void
test_docker_stream(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want;
	} cases[] = {
		{ "\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\2de", 21, "abcde" },
		{ "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\1x", 17, "x" },
		{ "\1\0\0\0\0\0\0\5abc", 11, "abc" },
		{ "plain\1\0\0\0", 9, "plain\1" },
		{ "\1\0\0\0\0\0\0\1aB ", 11, "aB " },
		{ "\2\0", 2, "" },
		{ "\2 x", 3, "\2 x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t step = 1; step <= cases[i].n; step++) {
			struct buf b = BUF_INIT(1024);
			struct docker_stream s = { .nhead = 0 };

			for (size_t k = 0; k < cases[i].n; k += step)
				docker_stream_take(&s, (const uint8_t *)cases[i].bytes + k, cases[i].n - k < step ? cases[i].n - k : step,
				    put, &b);
			assert_string_equal(buf_cstr(&b), cases[i].want);
			buf_release(&b);
		}
}

static void
test_docker_host(void **state)
{
	static const struct {
		const char *text, *socket, *base, *fault;
	} cases[] = {
		{ NULL, "/var/run/docker.sock", "http://docker", NULL },
		{ "", "/var/run/docker.sock", "http://docker", NULL },
		{ "unix:///run/podman/podman.sock", "/run/podman/podman.sock", "http://docker", NULL },
		{ "tcp://10.0.0.1:2375", "", "http://10.0.0.1:2375", NULL },
		{ "tcp://engine:2375/base/", "", "http://engine:2375/base", NULL },
		{ "npipe:////./pipe/docker_engine", "", "", "unable to parse docker host `npipe:////./pipe/docker_engine`" },
		{ "/var/run/docker.sock", "", "", "unable to parse docker host `/var/run/docker.sock`" },
		{ "unix://", "", "", "unable to parse docker host `unix://`" },
		{ "tcp://", "", "", "unable to parse docker host `tcp://`" },
		{ "tcp://a b", "", "", "unable to parse docker host `tcp://a b`" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char fault[DOCKER_FAULT_MAX] = "";
		struct docker_host h;

		assert_int_equal(docker_host_parse(cases[i].text, &h, fault), cases[i].fault != NULL ? -EINVAL : 0);
		if (cases[i].fault != NULL) {
			assert_string_equal(fault, cases[i].fault);
			continue;
		}
		assert_string_equal(h.socket, cases[i].socket);
		assert_string_equal(h.base, cases[i].base);
	}
}

static void
test_docker_json(void **state)
{
	struct str words[] = { STR("sh"), STR("-c"), STR("echo \"a\"") };
	struct strs args = { words, 3 };
	struct buf b = BUF_INIT(1024);
	char id[DOCKER_ID_MAX];
	int64_t code = 7;

	(void)state;
	assert_int_equal(docker_exec_request(&args, &b), 0);
	assert_string_equal(buf_cstr(&b), "{\"AttachStdin\":false,\"AttachStdout\":true,\"AttachStderr\":true,\"Tty\":false,"
	    "\"Cmd\":[\"sh\",\"-c\",\"echo \\\"a\\\"\"]}");
	buf_clear(&b);
	assert_int_equal(docker_path_add(STR("web_1.x/../y z"), &b), 0);
	assert_string_equal(buf_cstr(&b), "web_1.x%2F.%2E%2Fy%20z");
	buf_release(&b);
	assert_int_equal(docker_exec_id(STR("{\"Id\":\"ab12\"}"), id), 0);
	assert_string_equal(id, "ab12");
	assert_int_equal(docker_exec_id(STR("{\"Id\":\"../x\"}"), id), -EDECODE);
	assert_int_equal(docker_exec_id(STR("{\"Id\":\"\"}"), id), -EDECODE);
	assert_int_equal(docker_exec_id(STR("{\"Id\":1}"), id), -EDECODE);
	assert_int_equal(docker_exec_id(STR("[]"), id), -EDECODE);
	assert_int_equal(docker_exec_id(STR("{\"Id"), id), -EDECODE);
	assert_int_equal(docker_exec_id(STR("null"), id), -EDECODE);
	assert_int_equal(docker_exit_code(STR("{\"Running\":false,\"ExitCode\":2}"), &code), 0);
	assert_int_equal(code, 2);
	assert_int_equal(docker_exit_code(STR("{\"Running\":true,\"ExitCode\":null}"), &code), -EAGAIN);
	assert_int_equal(docker_exit_code(STR("{\"Running\":false,\"ExitCode\":null}"), &code), -EDECODE);
	assert_int_equal(docker_exit_code(STR("{}"), &code), -EDECODE);
	assert_int_equal(docker_exit_code(STR(""), &code), -EDECODE);
}

/* ---- HTTP */

static void
test_proxy(void **state)
{
	static const struct {
		const char *no;
		bool https;
		const char *host, *port, *want;
	} cases[] = {
		{ NULL, false, "example.com", "80", "p:1" },
		{ NULL, true, "example.com", "443", "s:2" },
		{ NULL, false, "localhost", "80", NULL },
		{ NULL, false, "127.9.9.9", "80", NULL },
		{ NULL, false, "[::1]", "80", NULL },
		{ NULL, false, "::2", "80", "p:1" },
		{ "*", false, "example.com", "80", NULL },
		{ "example.com", false, "example.com", "80", NULL },
		{ "example.com", false, "a.EXAMPLE.com", "80", NULL },
		{ "example.com", false, "badexample.com", "80", "p:1" },
		{ ".example.com", false, "example.com", "80", "p:1" },
		{ ".example.com", false, "a.example.com", "80", NULL },
		{ "*.example.com", false, "a.example.com", "80", NULL },
		{ "*.example.com", false, "example.com", "80", "p:1" },
		{ "x, example.com:8080 ,y", false, "example.com", "8080", NULL },
		{ "example.com:8080", false, "example.com", "80", "p:1" },
		{ "10.0.0.0/8", false, "10.1.2.3", "80", NULL },
		{ "10.0.0.0/8", false, "11.1.2.3", "80", "p:1" },
		{ "10.0.0.0/8", false, "10.example.com", "80", "p:1" },
		{ "0.0.0.0/0", false, "11.1.2.3", "80", NULL },
		{ "fd00::/8", false, "fd12::1", "80", NULL },
		{ "fd00::/8", false, "10.0.0.1", "80", "p:1" },
		{ "10.0.0.1", false, "10.0.0.1", "80", NULL },
		{ "10.0.0.1:81", false, "10.0.0.1", "80", "p:1" },
		{ "[fd00::1]:80", false, "fd00::1", "80", NULL },
		{ "fd00::1", false, "[fd00::1]", "80", NULL },
		{ "10.0.0.0/x,10.0.0.0/99,/8,:,[,", false, "10.0.0.1", "80", "p:1" },
		{ ",,", false, "example.com", "80", "p:1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy_env e = { "p:1", "s:2", cases[i].no, false };
		const char *got = proxy_env_pick(&e, cases[i].https, str_from(cases[i].host), str_from(cases[i].port));

		if (cases[i].want == NULL && got != NULL)
			print_error("case %zu\n", i);
		if (cases[i].want == NULL)
			assert_null(got);
		else
			assert_string_equal(got, cases[i].want);
	}
	/* What a request's header may have set is not believed. */
	assert_null(proxy_env_pick(&(struct proxy_env){ "p:1", "s:2", NULL, true }, false, STR("a.b"), STR("80")));
	assert_null(proxy_env_pick(&(struct proxy_env){ NULL, NULL, NULL, false }, false, STR("a.b"), STR("80")));
}

static void
test_redirect(void **state)
{
	struct http_request r;

	(void)state;
	assert_true(http_is_redirect(303));
	assert_false(http_is_redirect(304));
	assert_int_equal(http_request_init(&r, "POST", "http://u:p@a.test:81/x?y#z"), 0);
	assert_string_equal(r.host, "a.test:81");
	assert_string_equal(r.name, "a.test");
	assert_string_equal(r.port, "81");
	assert_true(r.web && !r.https && r.with_body && r.own_host);
	assert_int_equal(http_request_redirect(&r, 307, STR("/next"), "http://a.test:81/next"), 0);
	assert_string_equal(r.method, "POST");
	assert_string_equal(r.referer, "http://a.test:81/x?y");
	assert_true(r.with_body && r.own_host && http_request_sends(&r, "authorization") && http_request_sends(&r, "content-type"));
	assert_int_equal(http_request_redirect(&r, 302, STR("https://sub.a.test/"), "https://sub.a.test/"), 0);
	assert_string_equal(r.method, "GET");
	assert_string_equal(r.port, "443");
	assert_true(r.https && !r.with_body && !r.own_host);
	assert_true(http_request_sends(&r, "Authorization"));
	assert_false(http_request_sends(&r, "Content-Type"));
	assert_int_equal(http_request_redirect(&r, 308, STR("http://b.test"), "http://b.test/"), 0);
	assert_null(r.referer);
	assert_false(http_request_sends(&r, "Cookie"));
	assert_true(http_request_sends(&r, "X-Any"));
	assert_int_equal(http_request_redirect(&r, 301, STR("http://a.test/"), "http://a.test/"), 0);
	assert_false(http_request_sends(&r, "Cookie"));	/* once strange, always strange */
	http_request_release(&r);
	assert_int_equal(http_request_init(&r, "HEAD", "https://[::1]:8443"), 0);
	assert_string_equal(r.host, "[::1]:8443");
	assert_string_equal(r.name, "::1");
	assert_string_equal(r.port, "8443");
	assert_int_equal(http_request_redirect(&r, 301, STR("//x/"), "https://x/"), 0);
	assert_string_equal(r.method, "HEAD");
	http_request_release(&r);
	assert_int_equal(http_request_init(&r, "GET", "file:///etc/passwd"), 0);
	assert_false(r.web);
	http_request_release(&r);
	assert_int_equal(http_request_init(&r, "GET", "nowhere"), 0);
	assert_false(r.web);
	assert_string_equal(r.host, "");
	http_request_release(&r);
}

/* ---- the rest */

static void
test_names(void **state)
{
	char host[DIAL_HOST_MAX], port[DIAL_PORT_MAX], text[200], v[32];

	(void)state;
	assert_int_equal(dial_split(STR("a.b:80"), host, port), 0);
	assert_string_equal(host, "a.b");
	assert_string_equal(port, "80");
	assert_int_equal(dial_split(STR("[::1]:http"), host, port), 0);
	assert_string_equal(host, "::1");
	assert_string_equal(port, "http");
	assert_int_equal(dial_split(STR(":9"), host, port), 0);
	assert_string_equal(host, "localhost");
	assert_int_equal(dial_split(STR("a"), host, port), -EINVAL);
	assert_int_equal(dial_split(STR("a:"), host, port), -EINVAL);
	assert_int_equal(dial_split(STR(""), host, port), -EINVAL);
	assert_int_equal(dial_split(STR("a:123456789"), host, port), -EINVAL);
	assert_true(dial_port_valid("65535") && dial_port_valid("http") && dial_port_valid("0"));
	assert_false(dial_port_valid("65536"));
	assert_false(dial_port_valid("99999"));
	assert_true(str_eqs(agent_tls_name(NULL, STR("own"), STR("host")), "own"));
	assert_true(str_eqs(agent_tls_name(NULL, STR(""), STR("host")), "host"));
	assert_int_equal(os_service_status(STR("db"), 0, STR("active\n"), text, sizeof(text)), CHECK_PASSING);
	assert_string_equal(text, "Service \"db\" is healthy");
	assert_int_equal(os_service_status(STR("db"), 3, STR("failed\n"), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "service status: failed - OS Service unhealthy");
	assert_int_equal(os_service_status(STR("db"), 3, STR("activating\n"), text, sizeof(text)), CHECK_WARNING);
	assert_string_equal(text, "service status: activating");
	assert_int_equal(os_service_status(STR("db"), 1, STR("System has not been booted\nreally"), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "cannot ask systemd for service \"db\": System has not been booted");
	assert_int_equal(os_service_status(STR("db"), -1, STR(""), text, sizeof(text)), CHECK_CRITICAL);
	assert_string_equal(text, "cannot ask systemd for service \"db\": systemctl has failed");
	http_header_value(STR(" \t/a b \r\n"), v, sizeof(v));
	assert_string_equal(v, "/a b");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grpc_request), cmocka_unit_test(test_grpc_reply), cmocka_unit_test(test_grpc_texts),
		cmocka_unit_test(test_h2), cmocka_unit_test(test_h2_bounds), cmocka_unit_test(test_docker_stream),
		cmocka_unit_test(test_docker_host), cmocka_unit_test(test_docker_json), cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_redirect), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
