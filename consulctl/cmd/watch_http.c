/* watch_http.c - a watch's document to a URL. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consulctl/client/client.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/watch_http.h"

static int
refuse(struct watch_http *h, const char *sentence, const char *detail)
{
	(void)snprintf(h->error, sizeof(h->error), "%s%.200s", sentence, detail);
	return -EINVAL;
}

static bool
is_token(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 127 || strchr("()<>@,;:\\\"/[]?={}", s[i]) != NULL)
			return false;
	return n > 0;
}

/*
 * Header i, "NAME:VALUE": those of the flags, then those of the environment,
 * a line each, since everybody may read a command line. p is NULL behind the
 * last one.
 */
static struct str
header(const struct options *o, size_t i)
{
	const char *text;
	size_t n = 0, len;

	for (; (text = options_list(o, "http-header", n)) != NULL; n++)
		if (n == i)
			return str_from(text);
	text = getenv("CONSULCTL_HTTP_HEADERS");
	for (; text != NULL && *text != '\0'; n++) {
		len = strcspn(text, "\n");
		if (n == i)
			return (struct str){ text, len };
		text += len + (text[len] == '\n');
	}
	return STR_NONE;
}

static size_t
name_length(struct str text)
{
	const char *colon = memchr(text.p, ':', text.len);

	return colon != NULL ? (size_t)(colon - text.p) : text.len;
}

/* Whatever goes into the head of a request must not end it. */
static int
check_words(struct watch_http *h, const struct options *o)
{
	const char *method = options_str(o, "http-method");
	struct str text;

	if (!is_token(method, strlen(method)))
		return refuse(h, "-http-method is no method: ", method);
	for (size_t i = 0; (text = header(o, i)).p != NULL; i++) {
		size_t n = name_length(text);

		if (n == text.len || !is_token(text.p, n) || memchr(text.p, '\r', text.len) != NULL || memchr(text.p, '\n', text.len) != NULL)
			return refuse(h, "-http-header must be NAME:VALUE, not ", text.p);
	}
	if (options_ns(o, "http-timeout") <= 0)
		return refuse(h, "-http-timeout must be above zero", "");
	return 0;
}

static int
split_url(struct watch_http *h, const char *url)
{
	const char *host = strstr(url, "://"), *rest;
	size_t len;

	if (host == NULL || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
		return refuse(h, "-http-handler must begin with http:// or https://, not ", url);
	host += 3;
	len = strcspn(host, "/?#");
	rest = host + len;
	for (const char *p = url; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
			return refuse(h, "-http-handler: a URL has no such characters: ", url);
	if (len == 0 || memchr(host, '@', len) != NULL)
		return refuse(h, "-http-handler needs a host, without a user before it: ", url);
	h->base = strndup(url, (size_t)(rest - url));
	if (asprintf(&h->target, "%s%.*s", *rest == '/' ? "" : "/", (int)strcspn(rest, "#"), rest) < 0)
		h->target = NULL;
	return h->base != NULL && h->target != NULL ? 0 : refuse(h, "out of memory", "");
}

int
watch_http_open(struct watch_http *h, const struct options *o)
{
	struct buf err = BUF_INIT(1024);
	const char *url = options_str(o, "http-handler"), *text;
	int rc;

	*h = (struct watch_http){ .options = o };
	if (*url == '\0')
		return 0;
	h->timeout_ms = (options_ns(o, "http-timeout") + 999999) / 1000000;
	h->tls = (struct tls_settings){ "", "", "", "", "", !options_bool(o, "http-tls-skip-verify") };
	rc = check_words(h, o);
	if (rc == 0)
		rc = split_url(h, url);
	if (rc < 0) {
		watch_http_close(h);
		return rc;
	}
	if (strncmp(h->base, "https://", 8) == 0)
		h->transport = tls_transport_new(h->base, &h->tls, &err);
	else
		h->transport = http_transport_new(h->base + sizeof("http://") - 1, false);
	if (h->transport == NULL) {
		text = buf_cstr(&err);
		rc = refuse(h, "-http-handler: ", text != NULL && *text != '\0' ? text : "out of memory");
		watch_http_close(h);
	}
	buf_release(&err);
	return rc;
}

void
watch_http_close(struct watch_http *h)
{
	if (h->transport != NULL)
		h->transport->ops->free(h->transport);
	free(h->base);
	free(h->target);
	h->transport = NULL;
	h->base = h->target = NULL;
}

/* Does the user's header take the place of one of ours? */
static bool
is_given(const struct options *o, const char *name)
{
	struct str text;

	for (size_t i = 0; (text = header(o, i)).p != NULL; i++)
		if (str_eq_nocase((struct str){ text.p, name_length(text) }, str_from(name)))
			return true;
	return false;
}

static int
build(struct watch_http *h, uint64_t index, const struct buf *document, struct exchange *ex)
{
	const struct options *o = h->options;
	struct str text;
	int rc;

	ex->method = options_str(o, "http-method");
	ex->body = (struct str){ (const char *)document->data, document->len };
	rc = buf_adds(&ex->target, h->target);
	if (rc == 0)
		rc = buf_addf(&ex->headers, "X-Consul-Index: %llu\r\n", (unsigned long long)index);
	if (rc == 0 && !is_given(o, "User-Agent"))
		rc = buf_adds(&ex->headers, "User-Agent: consulctl/" PACKAGE_VERSION "\r\n");
	if (rc == 0 && !is_given(o, "Content-Type"))
		rc = buf_adds(&ex->headers, "Content-Type: application/json\r\n");
	for (size_t i = 0; rc == 0 && (text = header(o, i)).p != NULL; i++) {
		size_t n = name_length(text), at = n + 1;

		while (at < text.len && (text.p[at] == ' ' || text.p[at] == '\t'))
			at++;
		rc = buf_addf(&ex->headers, "%.*s: %.*s\r\n", (int)n, text.p, (int)(text.len - at), text.p + at);
	}
	return rc;
}

int
watch_http_send(struct watch_http *h, uint64_t index, const struct buf *document, int fd)
{
	int64_t until = now_ms() + h->timeout_ms;
	const struct transport_ops *ops = h->transport->ops;
	struct exchange ex;
	bool stopped = false;
	int rc;

	exchange_init(&ex);
	rc = build(h, index, document, &ex);
	if (rc < 0)
		(void)snprintf(h->error, sizeof(h->error), "%s", errtext(rc));
	else
		ops->begin(h->transport, &ex);
	for (int64_t left; rc == 0 && !ex.done && !stopped && (left = until - now_ms()) > 0;)
		stopped = ops->wait(h->transport, fd, left < INT32_MAX ? (int)left : INT32_MAX) && !ex.done;
	if (rc == 0 && !ex.done) {
		ops->cancel(h->transport, &ex);
		rc = stopped ? -ECANCELED : -ETIMEDOUT;
		(void)snprintf(h->error, sizeof(h->error), "%s%s: %s", h->base, h->target, stopped ? "interrupted" : "no answer in time");
	} else if (rc == 0 && ex.rc < 0) {
		rc = ex.rc;
		(void)snprintf(h->error, sizeof(h->error), "%s%s: %s", h->base, h->target, ex.error);
	} else if (rc == 0 && (ex.status < 200 || ex.status >= 300)) {
		rc = -EBADMSG;
		(void)snprintf(h->error, sizeof(h->error), "%s%s: the answer is %d: %.*s", h->base, h->target, ex.status,
		    ex.reply.len < 200 ? (int)ex.reply.len : 200, ex.reply.len > 0 ? (const char *)ex.reply.data : "");
	}
	exchange_release(&ex);
	return rc;
}
