/* check_http.c - checks that ask a web server, with libcurl inside the loop. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/curl_loop.h"
#include "checkd/kinds.h"
#include "checkd/output.h"
#include "lib/duration.h"

enum { HTTP_TIMEOUT_DEFAULT_MS = 10000, REDIRECTS_MAX = 10, STATUS_LINE_MAX = 128, RESULT_MAX = 16 * 1024 * 1024 };

struct http_run {
	struct check *c;
	struct curl_job job;
	struct curl_slist *headers, *connect_to;
	struct output body;
	char status[STATUS_LINE_MAX];	/* "200 OK" */
};

/* ---- one request */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_run *r = arg;

	output_add(&r->body, p, size * n);
	return size * n;
}

/* Keep what follows the version in each status line; the last one is the answer's. */
static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_run *r = arg;
	struct str line = { p, size * n };
	const char *blank;

	if (str_has_prefix(line, STR("HTTP/")) && (blank = memchr(line.p, ' ', line.len)) != NULL) {
		size_t len = (size_t)(line.p + line.len - blank - 1);

		while (len > 0 && (blank[len] == '\r' || blank[len] == '\n' || blank[len] == ' '))
			len--;
		snprintf(r->status, sizeof(r->status), "%.*s", (int)len, blank + 1);
		/* A redirect's page is not the answer. */
		output_release(&r->body);
	}
	return size * n;
}

static void
run_free(struct http_run *r)
{
	curl_job_release(&r->job);
	curl.slist_free_all(r->headers);
	curl.slist_free_all(r->connect_to);
	output_release(&r->body);
	free(r);
}

static const char *
method_of(const struct check *c)
{
	return c->def->method.len > 0 ? c->def->method.p : "GET";
}

static enum check_status
status_of(long code)
{
	if (code >= 200 && code <= 299)
		return CHECK_PASSING;
	return code == 429 ? CHECK_WARNING : CHECK_CRITICAL;	/* 429: too many requests */
}

/* Why there was no answer, in the words of Go's client where it has some: `Get "URL": reason`. */
static int
describe_fault(struct http_run *r, CURLcode rc, struct buf *text)
{
	const char *method = method_of(r->c), *why = r->job.fault[0] != '\0' ? r->job.fault : curl.easy_strerror(rc);
	struct buf op = BUF_INIT(64 * KiB);
	long os_errno = 0;
	int err = buf_adds(&op, method);

	(void)curl.easy_getinfo(r->job.easy, CURLINFO_OS_ERRNO, &os_errno);
	if (rc == CURLE_OPERATION_TIMEDOUT)
		why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
	else if (rc == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED)
		why = "dial tcp: connect: connection refused";
	for (size_t i = 1; i < op.len; i++)
		op.data[i] = ascii_lower(op.data[i]);
	if (err == 0)
		err = buf_addf(text, "%.*s \"%s\": %s", (int)op.len, (const char *)op.data, r->c->def->http.p, why);
	buf_release(&op);
	return err;
}

static void
finish(struct http_run *r, CURLcode rc)
{
	struct check *c = r->c;
	struct buf text = BUF_INIT(RESULT_MAX);
	enum check_status status = CHECK_CRITICAL;
	long code = 0;
	int err;

	(void)curl.easy_getinfo(r->job.easy, CURLINFO_RESPONSE_CODE, &code);
	if (rc == CURLE_OK) {
		status = status_of(code);
		err = buf_addf(&text, "HTTP %s %s: %s Output: ", method_of(c), c->def->http.p, r->status);
		if (err == 0)
			err = output_append(&r->body, &text);
	} else {
		err = describe_fault(r, rc, &text);
	}
	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, err == 0 ? (struct str){ (char *)text.data, text.len } : STR("out of memory"));
	buf_release(&text);
}

static void
on_done(struct curl_job *j, CURLcode rc)
{
	finish(j->owner, rc);
}

/* The list stays as it was when that fails. */
static int
add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *next = line != NULL ? curl.slist_append(*list, line) : NULL;

	if (next == NULL)
		return -ENOMEM;
	*list = next;
	return 0;
}

static int
add_header(struct curl_slist **list, const char *name, struct str value)
{
	struct buf b = BUF_INIT(64 * KiB);
	/* With nothing behind the colon libcurl would leave the header out. */
	int rc = value.len > 0 ? buf_addf(&b, "%s: %.*s", name, STR_ARG(value)) : buf_addf(&b, "%s;", name);

	if (rc == 0)
		rc = add_line(list, buf_cstr(&b));
	buf_release(&b);
	return rc;
}

static int
set_headers(struct http_run *r)
{
	const struct recmap *m = &r->c->def->header;
	bool agent = false, accept = false, type = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->n; i++) {
		const struct strs_value *values = (const struct strs_value *)m->v + i;
		const char *name = m->keys[i].p;

		agent |= strcasecmp(name, "User-Agent") == 0;
		accept |= strcasecmp(name, "Accept") == 0;
		type |= strcasecmp(name, "Content-Type") == 0;
		for (size_t k = 0; rc == 0 && k < values->v.n; k++)
			rc = add_header(&r->headers, name, values->v.v[k]);
	}
	if (rc == 0 && !agent)
		rc = add_header(&r->headers, "User-Agent", STR("Consul Health Check"));
	if (rc == 0 && !accept)
		rc = add_header(&r->headers, "Accept", STR("text/plain, text/*, */*"));
	if (rc == 0)
		rc = add_header(&r->headers, "Connection", STR("close"));
	/* Habits of libcurl that no check has asked for: without a value they are left out. */
	if (rc == 0)
		rc = add_line(&r->headers, "Expect:");
	if (rc == 0 && r->c->def->body.len > 0 && !type)
		rc = add_line(&r->headers, "Content-Type:");
	return rc;
}

/*
 * tls_server_name is another name than the URL's to ask and check the
 * certificate for: put it into the URL, and connect to the URL's own host.
 */
static CURLcode
set_server_name(struct http_run *r)
{
	const struct check_def *d = r->c->def;
	char *host = NULL, *port = NULL, *url = NULL, *to = NULL;
	CURLU *u = curl.url();
	CURLcode rc = CURLE_OUT_OF_MEMORY;

	if (u == NULL || curl.url_set(u, CURLUPART_URL, d->http.p, 0) != 0 || curl.url_get(u, CURLUPART_HOST, &host, 0) != 0 ||
	    curl.url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != 0 ||
	    curl.url_set(u, CURLUPART_HOST, d->tls_server_name.p, 0) != 0 || curl.url_get(u, CURLUPART_URL, &url, 0) != 0)
		goto out;
	if (asprintf(&to, "%s:%s:%s:%s", d->tls_server_name.p, port, host, port) < 0) {
		to = NULL;
		goto out;
	}
	r->connect_to = curl.slist_append(NULL, to);
	if (r->connect_to == NULL || add_header(&r->headers, "Host", str_from(host)) < 0)
		goto out;
	rc = curl.easy_setopt(r->job.easy, CURLOPT_CONNECT_TO, r->connect_to);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(r->job.easy, CURLOPT_URL, url);
out:
	free(to);
	curl.free(host);
	curl.free(port);
	curl.free(url);
	curl.url_cleanup(u);
	return rc;
}

static CURLcode
set_request(struct http_run *r)
{
	const struct check_def *d = r->c->def;
	CURL *e = r->job.easy;
	CURLcode rc = curl.easy_setopt(e, CURLOPT_URL, d->http.p);

	if (rc == CURLE_OK && d->tls_server_name.len > 0 && strncasecmp(d->http.p, "https:", 6) == 0)
		rc = set_server_name(r);
	if (rc == CURLE_OK && strcmp(method_of(r->c), "HEAD") == 0)
		rc = curl.easy_setopt(e, CURLOPT_NOBODY, 1L);
	if (rc == CURLE_OK && d->body.len > 0) {
		rc = curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->body.len);
		if (rc == CURLE_OK)
			rc = curl.easy_setopt(e, CURLOPT_COPYPOSTFIELDS, d->body.p);
	}
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, method_of(r->c));
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
	return rc;
}

static CURLcode
set_limits(struct http_run *r)
{
	const struct check_def *d = r->c->def;
	long timeout = d->timeout > 0 ? (long)(d->timeout / NS_PER_MS) : HTTP_TIMEOUT_DEFAULT_MS;
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_TIMEOUT_MS, timeout > 0 ? timeout : 1 },
		{ CURLOPT_CONNECTTIMEOUT_MS, timeout > 0 ? timeout : 1 },
		{ CURLOPT_FRESH_CONNECT, 1 },
		{ CURLOPT_FORBID_REUSE, 1 },
		{ CURLOPT_QUICK_EXIT, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_FOLLOWLOCATION, d->disable_redirects ? 0 : 1 },
		{ CURLOPT_MAXREDIRS, REDIRECTS_MAX },
		{ CURLOPT_SSL_VERIFYPEER, d->tls_skip_verify ? 0 : 1 },
		{ CURLOPT_SSL_VERIFYHOST, d->tls_skip_verify ? 0 : 2 },
	};
	CURLcode rc = CURLE_OK;

	for (size_t i = 0; rc == CURLE_OK && i < ARRAY_LEN(numbers); i++)
		rc = curl.easy_setopt(r->job.easy, numbers[i].option, numbers[i].value);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(r->job.easy, CURLOPT_PROTOCOLS_STR, "http,https");
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(r->job.easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	return rc;
}

/* Other roots of trust than the system's, where Go's programs look for them too. */
static CURLcode
set_roots(struct http_run *r)
{
	const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");
	CURLcode rc = CURLE_OK;

	if (file != NULL && file[0] != '\0')
		rc = curl.easy_setopt(r->job.easy, CURLOPT_CAINFO, file);
	if (rc == CURLE_OK && dir != NULL && dir[0] != '\0')
		rc = curl.easy_setopt(r->job.easy, CURLOPT_CAPATH, dir);
	return rc;
}

static CURLcode
set_callbacks(struct http_run *r)
{
	CURL *e = r->job.easy;
	CURLcode rc = curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);

	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_WRITEDATA, r);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_HEADERDATA, r);
	return rc;
}

static void
http_start(struct check *c)
{
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	struct http_run *r = calloc(1, sizeof(*r));
	const char *why = "out of memory";

	if (r == NULL || curl_job_init(&r->job, c->cd, on_done, r, &why) < 0) {
		free(r);
		schedule_done(c, CHECK_CRITICAL, str_from(why));
		return;
	}
	r->c = c;
	output_init(&r->body, checkd_output_max(c));
	c->runner.run = r;
	if (set_headers(r) == 0)
		rc = set_callbacks(r);
	if (rc == CURLE_OK)
		rc = set_limits(r);
	if (rc == CURLE_OK)
		rc = set_roots(r);
	if (rc == CURLE_OK)
		rc = set_request(r);
	if (rc == CURLE_OK)
		rc = curl_job_start(&r->job);
	if (rc != CURLE_OK)
		finish(r, rc);
}

static void
http_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_http = { "http", true, http_start, http_stop };
