/* check_grpc.c - checks that ask a server's grpc.health.v1.Health, by libcurl over HTTP/2. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/curl_tls.h"
#include "checkd/grpc_health.h"
#include "checkd/kinds.h"
#include "lib/duration.h"

enum { GRPC_TIMEOUT_DEFAULT_MS = 10000, URL_MAX = 1024, REPLY_MAX = 4096, MESSAGE_MAX = 1024, TEXT_MAX = 4096, TYPE_MAX = 64 };

struct grpc_run {
	struct check *c;
	struct curl_job job;
	struct curl_slist *headers, *connect_to;
	struct buf request, reply;
	struct buf message;		/* grpc-message */
	char type[TYPE_MAX];		/* content-type */
	long code;			/* grpc-status, -1 until it has come */
	bool too_long;
};

static void
run_free(struct grpc_run *r)
{
	curl_job_release(&r->job);
	if (r->headers != NULL)
		curl.slist_free_all(r->headers);
	if (r->connect_to != NULL)
		curl.slist_free_all(r->connect_to);
	buf_release(&r->request);
	buf_release(&r->reply);
	buf_release(&r->message);
	free(r);
}

static void
finish(struct grpc_run *r, enum check_status status, const char *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, str_from(text));
}

/* In the words of gRPC's client for Go. */
static void PRINTF(3, 4)
fail(struct grpc_run *r, long code, const char *fmt, ...)
{
	char text[TEXT_MAX], why[TEXT_MAX - 128], name[GRPC_STATUS_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	grpc_code_text(code, name);
	snprintf(text, sizeof(text), "rpc error: code = %s desc = %s", name, why);
	finish(r, CHECK_CRITICAL, text);
}

static void
on_late(struct check *c)
{
	fail(c->runner.run, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

/* ---- what comes */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct grpc_run *r = arg;

	r->too_long = buf_add(&r->reply, p, size * n) < 0;
	return r->too_long ? 0 : size * n;
}

/* The value of a header by that name, without blanks; NULL is another header. */
static bool
header_value(struct str line, const char *name, struct str *ret)
{
	size_t n = strlen(name);

	if (line.len <= n || strncasecmp(line.p, name, n) != 0 || line.p[n] != ':')
		return false;
	*ret = (struct str){ line.p + n + 1, line.len - n - 1 };
	while (ret->len > 0 && (ret->p[0] == ' ' || ret->p[0] == '\t')) {
		ret->p++;
		ret->len--;
	}
	while (ret->len > 0 && (ret->p[ret->len - 1] == '\r' || ret->p[ret->len - 1] == '\n' || ret->p[ret->len - 1] == ' '))
		ret->len--;
	return true;
}

/* Headers and trailers alike: an answer that is an error has no body, and brings its status in either. */
static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct grpc_run *r = arg;
	struct str line = { p, size * n }, v;
	char number[8];

	if (header_value(line, "grpc-status", &v)) {
		snprintf(number, sizeof(number), "%.*s", STR_ARG(v));
		r->code = v.len > 0 && v.len < sizeof(number) && strspn(number, "0123456789") == v.len ? strtol(number, NULL, 10) : GRPC_UNKNOWN;
	} else if (header_value(line, "grpc-message", &v)) {
		buf_clear(&r->message);
		/* As much of it as there is room for. */
		v.len = v.len < MESSAGE_MAX ? v.len : MESSAGE_MAX;
		if (grpc_message_decode(v, &r->message) < 0)
			buf_clear(&r->message);
	} else if (header_value(line, "content-type", &v)) {
		snprintf(r->type, sizeof(r->type), "%.*s", STR_ARG(v));
	}
	return size * n;
}

static void
judge_reply(struct grpc_run *r)
{
	char name[GRPC_STATUS_TEXT_MAX], text[TEXT_MAX];
	struct str target = r->c->def->grpc;
	int64_t status;

	if (grpc_health_reply(r->reply.data, r->reply.len, &status) < 0) {
		fail(r, GRPC_INTERNAL, "grpc: failed to unmarshal the received message");
	} else if (status != GRPC_SERVING) {
		grpc_serving_text(status, name);
		snprintf(text, sizeof(text), "gRPC %.*s serving status: %s", STR_ARG(target), name);
		finish(r, CHECK_CRITICAL, text);
	} else {
		snprintf(text, sizeof(text), "gRPC check %.*s: success", STR_ARG(target));
		finish(r, CHECK_PASSING, text);
	}
}

/* There was no answer. */
static void
judge_fault(struct grpc_run *r, CURLcode rc)
{
	const char *why = r->job.fault[0] != '\0' ? r->job.fault : curl.easy_strerror(rc);
	struct str host = r->c->def->grpc;
	const char *slash = memchr(host.p, '/', host.len);
	long os_errno = 0;

	if (slash != NULL)
		host.len = (size_t)(slash - host.p);
	(void)curl.easy_getinfo(r->job.easy, CURLINFO_OS_ERRNO, &os_errno);
	if (r->too_long)
		fail(r, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%d)", (int)REPLY_MAX);
	else if (rc == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED)
		fail(r, GRPC_UNAVAILABLE, "connection error: desc = \"transport: Error while dialing: dial tcp %.*s: connect: "
		    "connection refused\"", STR_ARG(host));
	else
		fail(r, GRPC_UNAVAILABLE, "connection error: desc = \"transport: %s\"", why);
}

static void
on_done(struct curl_job *j, CURLcode rc)
{
	struct grpc_run *r = j->owner;
	long http = 0;

	(void)curl.easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &http);
	if (r->code > GRPC_OK)
		fail(r, r->code, "%.*s", (int)r->message.len, (const char *)r->message.data);
	else if (rc != CURLE_OK)
		judge_fault(r, rc);
	else if (http != 200)
		fail(r, grpc_code_of_http(http), "unexpected HTTP status code received from server: %ld", http);
	else if (strncasecmp(r->type, "application/grpc", 16) != 0)
		fail(r, GRPC_UNKNOWN, "unexpected content-type \"%s\" received from server", r->type);
	else if (r->code < 0)
		fail(r, GRPC_INTERNAL, "server closed the stream without sending trailers");
	else
		judge_reply(r);
}

/* ---- what is sent */

/* "host:port/service"; the service may have slashes of its own. */
static int
set_target(struct grpc_run *r, char url[URL_MAX])
{
	const struct check_def *d = r->c->def;
	const char *slash = memchr(d->grpc.p, '/', d->grpc.len);
	struct str host = { d->grpc.p, slash != NULL ? (size_t)(slash - d->grpc.p) : d->grpc.len };
	struct str service = slash != NULL ? (struct str){ slash + 1, d->grpc.len - host.len - 1 } : STR("");
	int n = snprintf(url, URL_MAX, "%s://%.*s/grpc.health.v1.Health/Check", d->grpc_use_tls ? "https" : "http", STR_ARG(host));

	return n < 0 || n >= URL_MAX ? -ELIMIT : grpc_health_request(service, &r->request);
}

static CURLcode
set_headers(struct grpc_run *r)
{
	static const char *const lines[] = { "Content-Type: application/grpc", "TE: trailers", "User-Agent: Consul Health Check",
		"Accept:", "Expect:" };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (curl_add_line(&r->headers, lines[i]) < 0)
			return CURLE_OUT_OF_MEMORY;
	return curl.easy_setopt(r->job.easy, CURLOPT_HTTPHEADER, r->headers);
}

static CURLcode
set_options(struct grpc_run *r)
{
	CURL *e = r->job.easy;
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_HTTP_VERSION, r->c->def->grpc_use_tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE },
		{ CURLOPT_POST, 1 },
		{ CURLOPT_POSTFIELDSIZE, (long)r->request.len },
		{ CURLOPT_FRESH_CONNECT, 1 },
		{ CURLOPT_FORBID_REUSE, 1 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		/* The deadline is the check's own; libcurl's would end before it by default. */
		{ CURLOPT_CONNECTTIMEOUT, 24 * 3600 },
	};
	CURLcode rc = curl.easy_setopt(e, CURLOPT_POSTFIELDS, r->request.data);

	for (size_t i = 0; rc == CURLE_OK && i < ARRAY_LEN(numbers); i++)
		rc = curl.easy_setopt(e, numbers[i].option, numbers[i].value);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_PROXY, "");
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_WRITEDATA, r);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	return rc != CURLE_OK ? rc : curl.easy_setopt(e, CURLOPT_HEADERDATA, r);
}

static void
grpc_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : GRPC_TIMEOUT_DEFAULT_MS;
	struct grpc_run *r = calloc(1, sizeof(*r));
	const char *why = "out of memory";
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	char url[URL_MAX];

	if (r == NULL || curl_job_init(&r->job, c->cd, on_done, r, &why) < 0) {
		free(r);
		schedule_done(c, CHECK_CRITICAL, str_from(why));
		return;
	}
	r->c = c;
	r->code = -1;
	r->request = (struct buf)BUF_INIT(REPLY_MAX);
	r->reply = (struct buf)BUF_INIT(REPLY_MAX);
	r->message = (struct buf)BUF_INIT(MESSAGE_MAX);
	c->runner.run = r;
	schedule_deadline(c, timeout, on_late);
	if (set_target(r, url) == 0)
		rc = set_options(r);
	if (rc == CURLE_OK)
		rc = set_headers(r);
	if (rc == CURLE_OK)
		rc = curl_tls_set(&r->job, c->cd, c->def, url, &r->connect_to);
	if (rc == CURLE_OK)
		rc = curl_job_start(&r->job);
	if (rc != CURLE_OK)
		judge_fault(r, rc);
}

static void
grpc_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_grpc = { "grpc", true, grpc_start, grpc_stop };
