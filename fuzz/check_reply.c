/* check_reply.c - fuzz target: what targets of checks send: gRPC health, frames of HTTP/2, a container engine's stream and JSON, redirects. */
#include <stdlib.h>
#include <string.h>

#include "checkd/docker_api.h"
#include "checkd/docker_stream.h"
#include "checkd/grpc_health.h"
#include "checkd/h2_ping.h"
#include "checkd/http_redirect.h"
#include "checkd/kinds.h"
#include "checkd/proxy_env.h"
#include "fuzz/fuzz.h"

enum { INPUT_MAX = 256 * 1024 };

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
try_grpc(const uint8_t *p, size_t n)
{
	struct buf text = BUF_INIT(INPUT_MAX);
	char name[GRPC_STATUS_TEXT_MAX];
	int64_t status = -7;

	if (grpc_health_reply(p, n, &status) == 0) {
		must(status >= INT32_MIN && status <= INT32_MAX);
		grpc_serving_text(status, name);
		must(strlen(name) > 0);
	} else {
		must(status == -7);
	}
	must(grpc_message_decode((struct str){ (const char *)p, n }, &text) == 0 && text.len <= n);
	buf_release(&text);
}

/* In pieces of a size; what is answered must not depend on it. */
static enum h2_ping_state
ping(const uint8_t *p, size_t n, size_t step, struct h2_ping *h, struct buf *out)
{
	static const uint8_t payload[H2_PING_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	must(h2_ping_begin(h, payload, out) == 0);
	for (size_t i = 0; i < n && h->state == H2_WAITING; i += step)
		(void)h2_ping_take(h, p + i, n - i < step ? n - i : step, out);
	return h->state;
}

static void
try_h2(const uint8_t *p, size_t n)
{
	struct buf a = BUF_INIT(H2_PING_OUT_MAX), b = BUF_INIT(H2_PING_OUT_MAX);
	struct h2_ping whole, bytes;

	must(ping(p, n, n > 0 ? n : 1, &whole, &a) == ping(p, n, 1, &bytes, &b));
	must(strcmp(whole.fault, bytes.fault) == 0);
	must(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
	buf_release(&a);
	buf_release(&b);
}

static void
put(void *arg, const void *p, size_t n)
{
	must(buf_add(arg, p, n) == 0);
}

static void
try_stream(const uint8_t *p, size_t n)
{
	struct buf a = BUF_INIT(INPUT_MAX), b = BUF_INIT(INPUT_MAX);
	struct docker_stream whole = { .plain = false }, bytes = { .plain = false };

	docker_stream_take(&whole, p, n, put, &a);
	for (size_t i = 0; i < n; i++)
		docker_stream_take(&bytes, p + i, 1, put, &b);
	must(a.len <= n && a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0));
	buf_release(&a);
	buf_release(&b);
}

static void
try_json(const uint8_t *p, size_t n)
{
	struct str s = { (const char *)p, n };
	char id[DOCKER_ID_MAX];
	int64_t code = 0;
	int rc;

	if (docker_exec_id(s, id) == 0)
		must(strlen(id) > 0 && strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == strlen(id));
	rc = docker_exit_code(s, &code);
	must(rc == 0 || (code == 0 && (rc == -EAGAIN || rc == -EDECODE)));
}

/* A Location, an environment and a unit's state: all of them texts. */
static void
try_text(const uint8_t *p, size_t n)
{
	char *text = malloc(n + 1), value[64], said[100];
	struct http_request r;
	struct proxy_env e = { "http://proxy", NULL, text, false };

	must(text != NULL);
	if (n > 0)
		memcpy(text, p, n);
	text[n] = '\0';
	must(http_request_init(&r, "POST", "http://user:secret@a.test/x") == 0);
	if (http_request_redirect(&r, 302 + (long)(n % 8), str_from(text), text) == 0)
		must(r.referer == NULL || strstr(r.referer, "secret") == NULL);
	http_request_release(&r);
	(void)proxy_env_pick(&e, false, STR("a.test"), STR("80"));
	(void)proxy_env_pick(&e, false, STR("10.1.2.3"), STR("80"));
	e.no = "a.test, 10.0.0.0/8, [::1]:80";
	(void)proxy_env_pick(&e, false, str_from(text), STR("80"));
	http_header_value((struct str){ text, n }, value, sizeof(value));
	(void)os_service_status(STR("db"), n % 2 == 0 ? 3 : -1, (struct str){ text, n }, said, sizeof(said));
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const uint8_t *p, size_t n) = { try_grpc, try_h2, try_stream, try_json, try_text };

	if (size == 0 || size > INPUT_MAX)
		return 0;
	tries[data[0] % ARRAY_LEN(tries)](data + 1, size - 1);
	return 0;
}
