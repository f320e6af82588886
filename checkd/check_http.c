/* check_http.c - checks that ask a web server, with libcurl inside the loop. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/curl_tls.h"
#include "checkd/http_redirect.h"
#include "checkd/kinds.h"
#include "checkd/output.h"
#include "checkd/proxy_env.h"
#include "lib/duration.h"

enum {
	HTTP_TIMEOUT_DEFAULT_MS = 10000,
	REQUESTS_MAX = 10,			/* of one run, redirects included: as Go's client */
	STATUS_LINE_MAX = 128,
	BODY_MAX = 16 * 1024 * 1024,		/* that is read of an answer; its status has been told before */
	RESULT_MAX = 16 * 1024 * 1024,
};

struct http_run {
	struct check *c;
	struct curl_job job;
	struct curl_slist *headers, *connect_to;
	struct http_request now;		/* what is asked at the moment */
	unsigned requests;
	struct output body;
	bool answered;				/* all headers of the answer at hand have come */
	bool cut;				/* it was longer than BODY_MAX */
	char status[STATUS_LINE_MAX];		/* "200 OK" */
	char location[HTTP_LOCATION_MAX];	/* as the server wrote it; "" is none */
};

static void ask(struct http_run *r);

static void
run_free(struct http_run *r)
{
	curl_job_release(&r->job);
	if (r->headers != NULL)
		curl.slist_free_all(r->headers);
	if (r->connect_to != NULL)
		curl.slist_free_all(r->connect_to);
	http_request_release(&r->now);
	output_release(&r->body);
	free(r);
}

static const char *
method_of(const struct check *c)
{
	return c->def->method.len > 0 ? c->def->method.p : "GET";
}

/* ---- what comes */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_run *r = arg;

	output_add(&r->body, p, size * n);
	r->cut = r->body.total > BODY_MAX;
	return r->cut ? 0 : size * n;
}

/* What follows the version in a status line. */
static void
take_status(struct http_run *r, struct str line)
{
	const char *blank = memchr(line.p, ' ', line.len);
	struct str s = blank != NULL ? (struct str){ blank + 1, (size_t)(line.p + line.len - blank - 1) } : STR("");

	while (s.len > 0 && (s.p[s.len - 1] == '\r' || s.p[s.len - 1] == '\n' || s.p[s.len - 1] == ' '))
		s.len--;
	snprintf(r->status, sizeof(r->status), "%.*s", STR_ARG(s));
	r->location[0] = '\0';
	r->answered = false;
}

/* Each answer begins with its status line and ends with an empty one; behind "100 Continue" there is another. */
static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_run *r = arg;
	struct str line = { p, size * n };

	if (str_has_prefix(line, STR("HTTP/")))
		take_status(r, line);
	else if (line.len > 9 && strncasecmp(line.p, "Location:", 9) == 0)
		http_header_value((struct str){ line.p + 9, line.len - 9 }, r->location, sizeof(r->location));
	else if (line.len > 0 && (line.p[0] == '\r' || line.p[0] == '\n'))
		r->answered = r->status[0] != '1';
	return size * n;
}

static enum check_status
status_of(long code)
{
	if (code >= 200 && code <= 299)
		return CHECK_PASSING;
	return code == 429 ? CHECK_WARNING : CHECK_CRITICAL;	/* 429: too many requests */
}

static void
finish(struct http_run *r, enum check_status status, int rc, const struct buf *text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	run_free(r);
	schedule_done(c, status, rc == 0 ? (struct str){ (char *)text->data, text->len } : STR("out of memory"));
}

/* No answer, in the words of Go's client: `Get "URL": reason`. */
static void
fail(struct http_run *r, const char *url, const char *why)
{
	const char *method = method_of(r->c);
	struct buf text = BUF_INIT(RESULT_MAX);
	int rc = buf_addf(&text, "%s \"", method);

	if (rc == 0)
		rc = http_url_add(url, &text);
	if (rc == 0)
		rc = buf_addf(&text, "\": %s", why);
	for (size_t i = 1; rc == 0 && method[i] != '\0'; i++)
		text.data[i] = ascii_lower(text.data[i]);
	finish(r, CHECK_CRITICAL, rc, &text);
	buf_release(&text);
}

static void
fail_curl(struct http_run *r, CURLcode rc)
{
	const char *why = r->job.fault[0] != '\0' ? r->job.fault : curl.easy_strerror(rc);
	char fault[CURL_ERROR_SIZE];
	long os_errno = 0;

	if (r->job.easy != NULL)
		(void)curl.easy_getinfo(r->job.easy, CURLINFO_OS_ERRNO, &os_errno);
	if (rc == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED)
		why = "dial tcp: connect: connection refused";
	snprintf(fault, sizeof(fault), "%s", why);
	fail(r, r->now.url, fault);
}

/* The answer is there; what came of its body belongs to it, even when that was not all. */
static void
judge(struct http_run *r)
{
	struct buf text = BUF_INIT(RESULT_MAX);
	long code = strtol(r->status, NULL, 10);
	int rc = buf_addf(&text, "HTTP %s %s: %s Output: ", method_of(r->c), r->c->def->http.p, r->status);

	if (rc == 0)
		rc = output_append(&r->body, &text);
	finish(r, status_of(code), rc, &text);
	buf_release(&text);
}

/* Follow it, when it leads somewhere. */
static void
redirect(struct http_run *r, long code)
{
	char url[HTTP_LOCATION_MAX], *to = NULL;
	int rc;

	(void)curl.easy_getinfo(r->job.easy, CURLINFO_REDIRECT_URL, &to);
	if (r->requests >= REQUESTS_MAX) {
		snprintf(url, sizeof(url), "%s", r->location);
		fail(r, url, "stopped after 10 redirects");
		return;
	}
	rc = to == NULL ? -EINVAL : http_request_redirect(&r->now, code, str_from(r->location), to);
	if (rc < 0) {
		snprintf(url, sizeof(url), "%s", r->location);
		fail(r, url, rc == -EINVAL ? "failed to parse Location header" : err_text(rc));
		return;
	}
	ask(r);
}

static bool
leads_on(const struct http_run *r)
{
	return !r->c->def->disable_redirects && r->location[0] != '\0' && http_is_redirect(strtol(r->status, NULL, 10));
}

static void
on_done(struct curl_job *j, CURLcode rc)
{
	struct http_run *r = j->owner;

	if (rc != CURLE_OK && !r->answered)
		fail_curl(r, rc);
	else if (leads_on(r))
		redirect(r, strtol(r->status, NULL, 10));
	else
		judge(r);
}

/* One limit for all of it, redirects and body included. */
static void
on_late(struct check *c)
{
	struct http_run *r = c->runner.run;

	if (r->answered && !leads_on(r))
		judge(r);
	else
		fail(r, r->now.url, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

/* ---- what is sent */

static int
add_header(struct curl_slist **list, const char *name, struct str value)
{
	struct buf b = BUF_INIT(64 * KiB);
	/* With nothing behind the colon libcurl would leave the header out. */
	int rc = value.len > 0 ? buf_addf(&b, "%s: %.*s", name, STR_ARG(value)) : buf_addf(&b, "%s;", name);

	if (rc == 0)
		rc = curl_add_line(list, buf_cstr(&b));
	buf_release(&b);
	return rc;
}

/* The definition's own; *ret_has says which of ours they replace. */
static int
add_own_headers(struct http_run *r, unsigned *ret_has)
{
	static const char *const ours[] = { "User-Agent", "Accept", "Content-Type" };
	const struct recmap *m = &r->c->def->header;
	int rc = 0;

	*ret_has = 0;
	for (size_t i = 0; rc == 0 && i < m->n; i++) {
		const struct strs_value *values = (const struct strs_value *)m->v + i;
		const char *name = m->keys[i].p;

		/* The host is set with the URL; a body that is not sent has no type. */
		if (strcasecmp(name, "Host") == 0 || !http_request_sends(&r->now, name))
			continue;
		for (unsigned k = 0; k < ARRAY_LEN(ours); k++)
			if (strcasecmp(name, ours[k]) == 0)
				*ret_has |= 1u << k;
		for (size_t k = 0; rc == 0 && k < values->v.n; k++)
			rc = add_header(&r->headers, name, values->v.v[k]);
	}
	return rc;
}

static struct str
own_host(const struct check_def *d)
{
	for (size_t i = 0; i < d->header.n; i++) {
		const struct strs_value *values = (const struct strs_value *)d->header.v + i;

		if (strcasecmp(d->header.keys[i].p, "Host") == 0 && values->v.n > 0)
			return values->v.v[0];
	}
	return STR("");
}

/* RFC 9110, 8.6: methods that mean something by a body say that there is none. */
static bool
tells_emptiness(const struct http_run *r)
{
	const char *m = r->now.method;

	return (r->c->def->body.len == 0 || !r->now.with_body) &&
	    (strcmp(m, "POST") == 0 || strcmp(m, "PUT") == 0 || strcmp(m, "PATCH") == 0);
}

static int
set_headers(struct http_run *r)
{
	const struct check_def *d = r->c->def;
	struct str host = r->now.own_host ? own_host(d) : STR("");
	unsigned has;
	int rc = add_own_headers(r, &has);

	if (rc == 0)
		rc = add_header(&r->headers, "Host", host.len > 0 ? host : str_from(r->now.host));
	if (rc == 0 && (has & 1) == 0)
		rc = add_header(&r->headers, "User-Agent", STR("Consul Health Check"));
	if (rc == 0 && (has & 2) == 0)
		rc = add_header(&r->headers, "Accept", STR("text/plain, text/*, */*"));
	if (rc == 0)
		rc = add_header(&r->headers, "Connection", STR("close"));
	if (rc == 0 && r->now.referer != NULL)
		rc = add_header(&r->headers, "Referer", str_from(r->now.referer));
	if (rc == 0 && tells_emptiness(r))
		rc = curl_add_line(&r->headers, "Content-Length: 0");
	/* Habits of libcurl that no check has asked for: without a value they are left out. */
	if (rc == 0)
		rc = curl_add_line(&r->headers, "Expect:");
	if (rc == 0 && (has & 4) == 0)
		rc = curl_add_line(&r->headers, "Content-Type:");
	return rc;
}

static CURLcode
set_request(struct http_run *r)
{
	const struct check_def *d = r->c->def;
	CURL *e = r->job.easy;
	CURLcode rc = CURLE_OK;

	if (strcmp(r->now.method, "HEAD") == 0)
		rc = curl.easy_setopt(e, CURLOPT_NOBODY, 1L);
	if (rc == CURLE_OK && r->now.with_body && d->body.len > 0) {
		rc = curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->body.len);
		if (rc == CURLE_OK)
			rc = curl.easy_setopt(e, CURLOPT_POSTFIELDS, d->body.p);
	}
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->now.method);
	return rc != CURLE_OK ? rc : curl.easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
}

static CURLcode
set_limits(struct http_run *r)
{
	static const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		/* The deadline is the check's own; libcurl's would end before it by default. */
		{ CURLOPT_CONNECTTIMEOUT, 24 * 3600 },
		{ CURLOPT_FRESH_CONNECT, 1 },
		{ CURLOPT_FORBID_REUSE, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		{ CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
	};
	CURLcode rc = CURLE_OK;

	for (size_t i = 0; rc == CURLE_OK && i < ARRAY_LEN(numbers); i++)
		rc = curl.easy_setopt(r->job.easy, numbers[i].option, numbers[i].value);
	return rc != CURLE_OK ? rc : curl.easy_setopt(r->job.easy, CURLOPT_PROTOCOLS_STR, "http,https");
}

static CURLcode
set_proxy(struct http_run *r)
{
	struct proxy_env env;
	const char *proxy;
	CURLcode rc;

	proxy_env_read(&env);
	proxy = proxy_env_pick(&env, r->now.https, str_from(r->now.name), str_from(r->now.port));
	rc = curl.easy_setopt(r->job.easy, CURLOPT_PROXY, proxy != NULL ? proxy : "");
	/* It was decided above. */
	return rc != CURLE_OK ? rc : curl.easy_setopt(r->job.easy, CURLOPT_NOPROXY, "");
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
	return rc != CURLE_OK ? rc : curl.easy_setopt(e, CURLOPT_HEADERDATA, r);
}

/* Forget the request before. */
static void
clear(struct http_run *r)
{
	curl_job_release(&r->job);
	if (r->headers != NULL)
		curl.slist_free_all(r->headers);
	if (r->connect_to != NULL)
		curl.slist_free_all(r->connect_to);
	r->headers = r->connect_to = NULL;
	output_release(&r->body);
	r->status[0] = r->location[0] = '\0';
	r->answered = r->cut = false;
}

/* One request, of r->now. */
static void
ask(struct http_run *r)
{
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	const char *why;

	clear(r);
	r->requests++;
	if (!r->now.web) {
		char fault[64];

		snprintf(fault, sizeof(fault), "unsupported protocol scheme \"%.*s\"", (int)strcspn(r->now.url, ":"), r->now.url);
		fail(r, r->now.url, strchr(r->now.url, ':') != NULL ? fault : "unsupported protocol scheme \"\"");
		return;
	}
	if (curl_job_init(&r->job, r->c->cd, on_done, r, &why) < 0) {
		fail(r, r->now.url, why);
		return;
	}
	if (set_headers(r) == 0)
		rc = set_callbacks(r);
	if (rc == CURLE_OK)
		rc = set_limits(r);
	if (rc == CURLE_OK)
		rc = set_request(r);
	if (rc == CURLE_OK)
		rc = set_proxy(r);
	if (rc == CURLE_OK)
		rc = curl_tls_set(&r->job, r->c->cd, r->c->def, r->now.url, &r->connect_to);
	if (rc == CURLE_OK)
		rc = curl_job_start(&r->job);
	if (rc != CURLE_OK)
		fail_curl(r, rc);
}

/* What would not be one request, or another one than it seems: false, and said. */
static bool
is_sendable(struct http_run *r)
{
	const struct recmap *m = &r->c->def->header;
	char why[256];

	for (size_t i = 0; i < m->n; i++) {
		const struct strs_value *values = (const struct strs_value *)m->v + i;
		bool named = http_is_token(m->keys[i]), fine = named;

		for (size_t k = 0; fine && k < values->v.n; k++)
			fine = http_is_value(values->v.v[k]);
		if (fine)
			continue;
		snprintf(why, sizeof(why), "net/http: invalid header field %s \"%.*s\"", named ? "value for" : "name",
		    (int)(m->keys[i].len < 128 ? m->keys[i].len : 128), m->keys[i].p != NULL ? m->keys[i].p : "");
		fail(r, r->now.url, why);
		return false;
	}
	return true;
}

static void
http_start(struct check *c)
{
	uint64_t timeout = c->def->timeout > 0 ? (uint64_t)(c->def->timeout / NS_PER_MS) : HTTP_TIMEOUT_DEFAULT_MS;
	struct http_run *r = calloc(1, sizeof(*r));
	int rc;

	if (!http_is_token(str_from(method_of(c)))) {
		free(r);
		schedule_done(c, CHECK_CRITICAL, STR("net/http: invalid method"));
		return;
	}
	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	output_init(&r->body, checkd_output_max(c));
	rc = http_request_init(&r->now, method_of(c), c->def->http.p);
	if (rc < 0) {
		run_free(r);
		schedule_done(c, CHECK_CRITICAL, str_from(err_text(rc)));
		return;
	}
	c->runner.run = r;
	schedule_deadline(c, timeout > 0 ? timeout : 1, on_late);
	if (is_sendable(r))
		ask(r);
}

static void
http_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_http = { "http", true, http_start, http_stop };
