/*
 * tls.c - requests by https, through libcurl.
 *
 * libcurl is opened when the first https address is met: see transport.h.
 */
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/client/transport.h"

#define CURL_FUNCTIONS(F) \
	F(global_init) F(slist_append) F(slist_free_all) \
	F(easy_init) F(easy_cleanup) F(easy_setopt) F(easy_getinfo) F(easy_strerror) \
	F(multi_init) F(multi_cleanup) F(multi_add_handle) F(multi_remove_handle) F(multi_perform) F(multi_poll) \
	F(multi_info_read)

/* Every flavour of libcurl has the same functions; the first is the one that we are built with. */
static const char *const libraries[] = { "libcurl-gnutls.so.4", "libcurl.so.4", "libcurl-nss.so.4" };

#define MEMBER(name) __typeof__(&curl_##name) name;
static struct {
	void *handle;
	CURL_FUNCTIONS(MEMBER)
} lib;

struct transfer {
	CURL *easy;
	struct exchange *ex;	/* NULL: unused */
	struct curl_slist *headers, *connect_to;
	char error[CURL_ERROR_SIZE];
};

struct tls {
	struct transport base;
	CURLM *multi;
	char *url;
	struct tls_settings set;	/* texts are the caller's */
	struct transfer transfers[EXCHANGES_MAX];
};

/* The macros of curl.h that check types also turn the name of a member into a call. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static int
library_open(struct buf *err)
{
	for (size_t i = 0; i < ARRAY_LEN(libraries) && lib.handle == NULL; i++)
		lib.handle = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
	if (lib.handle == NULL)
		return buf_adds(err, "https needs libcurl: install the package libcurl3-gnutls") < 0 ? -ENOMEM : -ENOENT;
#define FIND(name) \
	*(void **)&lib.name = dlsym(lib.handle, "curl_" #name); \
	if (lib.name == NULL) \
		return buf_adds(err, "libcurl lacks curl_" #name) < 0 ? -ENOMEM : -ENOENT;
	CURL_FUNCTIONS(FIND)
	if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return buf_adds(err, "libcurl does not start") < 0 ? -ENOMEM : -ENOENT;
	return 0;
}

/* ---- callbacks of libcurl */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *x = arg;
	long status = 0;

	(void)lib.easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	return exchange_body(x->ex, (int)status, p, size * n) < 0 ? 0 : size * n;
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	static const char name[] = "X-Consul-Index:";
	struct transfer *x = arg;
	struct str line = { p, size * n };
	char text[32];

	if (line.len > sizeof(name) - 1 &&
	    str_eq_nocase((struct str){ p, sizeof(name) - 1 }, STR("X-Consul-Index:"))) {
		(void)snprintf(text, sizeof(text), "%.*s", (int)(line.len - (sizeof(name) - 1)), p + sizeof(name) - 1);
		x->ex->index = strtoull(text, NULL, 10);
	}
	return size * n;
}

/* ---- a transfer */

static int
add_headers(struct transfer *x, const struct exchange *ex)
{
	const char *p = (const char *)ex->headers.data, *end = p != NULL ? p + ex->headers.len : p;

	/* curl would ask for permission to send a large body, which costs a round trip. */
	x->headers = lib.slist_append(NULL, "Expect:");
	while (x->headers != NULL && p < end) {
		const char *nl = memchr(p, '\r', (size_t)(end - p));
		size_t len = nl != NULL ? (size_t)(nl - p) : (size_t)(end - p);
		char *text = strndup(p, len);
		struct curl_slist *l = text != NULL ? lib.slist_append(x->headers, text) : NULL;

		free(text);
		if (l == NULL)
			return -ENOMEM;
		x->headers = l;
		p += len + 2;
	}
	return x->headers != NULL ? 0 : -ENOMEM;
}

static void
set_text(CURL *e, CURLoption option, const char *text)
{
	if (text != NULL && *text != '\0')
		(void)lib.easy_setopt(e, option, text);
}

static void
set_tls(CURL *e, const struct tls_settings *s)
{
	(void)lib.easy_setopt(e, CURLOPT_SSL_VERIFYPEER, (long)s->verify);
	(void)lib.easy_setopt(e, CURLOPT_SSL_VERIFYHOST, s->verify ? 2L : 0L);
	set_text(e, CURLOPT_CAINFO, s->ca_file);
	set_text(e, CURLOPT_CAPATH, s->ca_path);
	set_text(e, CURLOPT_SSLCERT, s->client_cert);
	set_text(e, CURLOPT_SSLKEY, s->client_key);
}

/*
 * A certificate that bears another name than the address: ask for that name,
 * and connect to the address all the same.
 */
static int
set_server_name(struct tls *t, struct transfer *x, struct buf *url)
{
	const char *host = t->url + sizeof("https://") - 1, *colon = strrchr(host, ':');
	bool has_port = colon != NULL && strchr(colon, ']') == NULL;
	const char *port = has_port ? colon : ":443";
	char to[512];

	(void)snprintf(to, sizeof(to), "::%.*s%s", (int)(has_port ? (size_t)(colon - host) : strlen(host)), host, port);
	x->connect_to = lib.slist_append(NULL, to);
	if (x->connect_to == NULL)
		return -ENOMEM;
	(void)lib.easy_setopt(x->easy, CURLOPT_CONNECT_TO, x->connect_to);
	return buf_addf(url, "https://%s%s", t->set.server_name, port);
}

static int
set_url(struct tls *t, struct transfer *x)
{
	struct buf url = BUF_INIT(128 * KiB);
	const char *text;
	int rc;

	if (t->set.server_name != NULL && *t->set.server_name != '\0')
		rc = set_server_name(t, x, &url);
	else
		rc = buf_adds(&url, t->url);
	if (rc == 0)
		rc = buf_add(&url, x->ex->target.data, x->ex->target.len);
	text = rc == 0 ? buf_cstr(&url) : NULL;
	if (text != NULL)
		(void)lib.easy_setopt(x->easy, CURLOPT_URL, text);
	buf_release(&url);
	return text != NULL ? 0 : -ENOMEM;
}

static void
set_request(struct transfer *x, const struct exchange *ex)
{
	CURL *e = x->easy;

	(void)lib.easy_setopt(e, CURLOPT_PRIVATE, x);
	(void)lib.easy_setopt(e, CURLOPT_ERRORBUFFER, x->error);
	(void)lib.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)lib.easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS_MAX);
	(void)lib.easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)lib.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	(void)lib.easy_setopt(e, CURLOPT_WRITEDATA, x);
	(void)lib.easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	(void)lib.easy_setopt(e, CURLOPT_HEADERDATA, x);
	(void)lib.easy_setopt(e, CURLOPT_HTTPHEADER, x->headers);
	if (strcmp(ex->method, "GET") != 0) {
		/* A POST that is called otherwise: that is how curl sends a body from memory. */
		(void)lib.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ex->body.len);
		(void)lib.easy_setopt(e, CURLOPT_POSTFIELDS, ex->body.p != NULL ? ex->body.p : "");
		(void)lib.easy_setopt(e, CURLOPT_CUSTOMREQUEST, ex->method);
	}
}

static void
transfer_end(struct tls *t, struct transfer *x)
{
	if (x->easy != NULL) {
		(void)lib.multi_remove_handle(t->multi, x->easy);
		lib.easy_cleanup(x->easy);
	}
	lib.slist_free_all(x->headers);
	lib.slist_free_all(x->connect_to);
	*x = (struct transfer){ .ex = NULL };
}

static void
transfer_done(struct tls *t, struct transfer *x, CURLcode result)
{
	struct exchange *ex = x->ex;
	long status = 0, os_errno = 0;

	(void)lib.easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)lib.easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (result == CURLE_OK) {
		ex->status = (int)status;
		ex->done = true;
	} else if (result == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED) {
		exchange_fail(ex, -ECONNREFUSED, "dial tcp %s: connect: connection refused", t->url + sizeof("https://") - 1);
	} else {
		exchange_fail(ex, -ECLOSED, "%s", x->error[0] != '\0' ? x->error : lib.easy_strerror(result));
	}
	transfer_end(t, x);
}

/* ---- what transport.h promises */

static void
tls_begin(struct transport *base, struct exchange *ex)
{
	struct tls *t = (struct tls *)base;
	struct transfer *x = NULL;

	for (size_t i = 0; i < EXCHANGES_MAX && x == NULL; i++)
		if (t->transfers[i].ex == NULL)
			x = &t->transfers[i];
	if (x == NULL) {
		exchange_fail(ex, -ELIMIT, "too many requests at a time");
		return;
	}
	x->ex = ex;
	x->easy = lib.easy_init();
	if (x->easy == NULL || add_headers(x, ex) < 0 || set_url(t, x) < 0) {
		exchange_fail(ex, -ENOMEM, "out of memory");
		transfer_end(t, x);
		return;
	}
	set_request(x, ex);
	set_tls(x->easy, &t->set);
	(void)lib.multi_add_handle(t->multi, x->easy);
}

static void
collect(struct tls *t)
{
	int running = 0, more = 0;
	CURLMsg *m;

	(void)lib.multi_perform(t->multi, &running);
	while ((m = lib.multi_info_read(t->multi, &more)) != NULL) {
		for (size_t i = 0; i < EXCHANGES_MAX; i++)
			if (m->msg == CURLMSG_DONE && t->transfers[i].easy == m->easy_handle) {
				transfer_done(t, &t->transfers[i], m->data.result);
				break;
			}
	}
}

/* Exchanges under way. */
static unsigned
busy(const struct tls *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		n += t->transfers[i].ex != NULL;
	return n;
}

static bool
tls_wait(struct transport *base, int fd, int timeout_ms)
{
	struct tls *t = (struct tls *)base;
	struct curl_waitfd w = { .fd = fd, .events = CURL_WAIT_POLLIN };
	unsigned before = busy(t);

	collect(t);
	if (busy(t) < before)
		return false;
	(void)lib.multi_poll(t->multi, fd >= 0 ? &w : NULL, fd >= 0, timeout_ms >= 0 ? timeout_ms : 60 * 1000, NULL);
	collect(t);
	return fd >= 0 && w.revents != 0;
}

static void
tls_cancel(struct transport *base, struct exchange *ex)
{
	struct tls *t = (struct tls *)base;

	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		if (t->transfers[i].ex == ex)
			transfer_end(t, &t->transfers[i]);
}

static void
tls_free(struct transport *base)
{
	struct tls *t = (struct tls *)base;

	for (size_t i = 0; i < EXCHANGES_MAX; i++)
		if (t->transfers[i].ex != NULL)
			transfer_end(t, &t->transfers[i]);
	if (t->multi != NULL)
		(void)lib.multi_cleanup(t->multi);
	free(t->url);
	free(t);
}

struct transport *
tls_transport_new(const char *base, const struct tls_settings *s, struct buf *err)
{
	static const struct transport_ops ops = { tls_begin, tls_wait, tls_cancel, tls_free };
	struct tls *t;

	if (library_open(err) < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->base.ops = &ops;
	t->set = *s;
	t->url = strdup(base);
	t->multi = lib.multi_init();
	if (t->url == NULL || t->multi == NULL) {
		tls_free(&t->base);
		return NULL;
	}
	return &t->base;
}
