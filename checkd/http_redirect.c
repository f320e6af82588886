/* http_redirect.c - what one request of a check is, and where it is sent next. */
#include "checkd/http_redirect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { URL_MAX = 64 * 1024 };

/* What is between "//" and the path, without a name and password. */
static struct str
authority(const char *url)
{
	const char *at = strstr(url, "://"), *end, *user;

	if (at == NULL)
		return STR("");
	at += 3;
	end = at + strcspn(at, "/?#");
	user = memrchr(at, '@', (size_t)(end - at));
	if (user != NULL)
		at = user + 1;
	return (struct str){ at, (size_t)(end - at) };
}

/* Fill in what the URL says of its host. */
static int
take_url(struct http_request *r)
{
	struct str all = authority(r->url), name = all;
	const char *colon = all.len > 0 ? memrchr(all.p, ':', all.len) : NULL;
	struct str port;

	r->https = strncasecmp(r->url, "https://", 8) == 0;
	r->web = r->https || strncasecmp(r->url, "http://", 7) == 0;
	port = r->https ? STR("443") : STR("80");
	if (colon != NULL && memchr(colon, ']', all.len - (size_t)(colon - all.p)) == NULL) {
		name.len = (size_t)(colon - all.p);
		if (all.len > name.len + 1)
			port = (struct str){ colon + 1, all.len - name.len - 1 };
	}
	if (name.len >= 2 && name.p[0] == '[' && name.p[name.len - 1] == ']')
		name = (struct str){ name.p + 1, name.len - 2 };
	if (all.len >= sizeof(r->host) || port.len >= sizeof(r->port))
		return -ELIMIT;
	snprintf(r->host, sizeof(r->host), "%.*s", STR_ARG(all));
	snprintf(r->name, sizeof(r->name), "%.*s", STR_ARG(name));
	snprintf(r->port, sizeof(r->port), "%.*s", STR_ARG(port));
	return 0;
}

int
http_request_init(struct http_request *r, const char *method, const char *url)
{
	int rc = -ENOMEM;

	*r = (struct http_request){ .with_body = true, .own_host = true, .trusted = true };
	if (strlen(url) > URL_MAX)
		return -ELIMIT;
	r->url = strdup(url);
	r->method = strdup(method);
	if (r->url != NULL && r->method != NULL)
		rc = take_url(r);
	if (rc < 0)
		http_request_release(r);
	else
		memcpy(r->first, r->name, sizeof(r->first));
	return rc;
}

void
http_request_release(struct http_request *r)
{
	free(r->url);
	free(r->method);
	free(r->referer);
	r->url = r->method = r->referer = NULL;
}

bool
http_is_redirect(long code)
{
	return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

/* What the next server hears of where the request comes from: never from https to http, never a password. */
static char *
referer_of(const struct http_request *from, bool to_https)
{
	struct str host = authority(from->url);
	char *text;

	if ((from->https && !to_https) || host.len == 0)
		return NULL;
	if (asprintf(&text, "%s://%s", from->https ? "https" : "http", host.p) < 0)
		return NULL;
	text[strcspn(text, "#")] = '\0';
	return text;
}

/* Whether a host is the other, or below it. */
static bool
is_below(const char *host, const char *parent)
{
	size_t n = strlen(host), p = strlen(parent);

	if (n == p)
		return strcasecmp(host, parent) == 0;
	return n > p && host[n - p - 1] == '.' && strcasecmp(host + n - p, parent) == 0 && strspn(parent, "0123456789.") != p &&
	    strchr(parent, ':') == NULL;
}

int
http_request_redirect(struct http_request *r, long code, struct str location, const char *url)
{
	struct http_request next = { .with_body = r->with_body && (code == 307 || code == 308) };
	bool to_get = code != 307 && code != 308 && strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0;
	const char *colon = location.len > 0 ? memchr(location.p, ':', location.len) : NULL;
	const char *slash = location.len > 0 ? memchr(location.p, '/', location.len) : NULL;
	int rc = -ENOMEM;

	if (strlen(url) > URL_MAX)
		return -ELIMIT;
	next.url = strdup(url);
	next.method = strdup(to_get ? "GET" : r->method);
	if (next.url != NULL && next.method != NULL)
		rc = take_url(&next);
	if (rc < 0) {
		http_request_release(&next);
		return rc;
	}
	next.referer = referer_of(r, next.https);
	/* Go takes a location without a scheme for one of the same host. */
	next.own_host = r->own_host && (colon == NULL || (slash != NULL && slash < colon));
	memcpy(next.first, r->first, sizeof(next.first));
	next.trusted = r->trusted && is_below(next.name, next.first);
	http_request_release(r);
	*r = next;
	return 0;
}

bool
http_request_sends(const struct http_request *r, const char *header)
{
	static const char *const secrets[] = { "Authorization", "Www-Authenticate", "Cookie", "Cookie2" };
	static const char *const of_body[] = { "Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Location" };

	for (size_t i = 0; !r->trusted && i < ARRAY_LEN(secrets); i++)
		if (strcasecmp(header, secrets[i]) == 0)
			return false;
	for (size_t i = 0; !r->with_body && i < ARRAY_LEN(of_body); i++)
		if (strcasecmp(header, of_body[i]) == 0)
			return false;
	return true;
}

bool
http_is_token(struct str s)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.len; i++) {
		char c = (char)ascii_lower((uint8_t)s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return s.len > 0;
}

bool
http_is_value(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((uint8_t)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

int
http_url_add(const char *url, struct buf *to)
{
	const char *at = strstr(url, "://"), *user, *colon = NULL;
	int rc;

	user = at != NULL ? memrchr(at + 3, '@', strcspn(at + 3, "/?#")) : NULL;
	if (user != NULL)
		colon = memchr(at + 3, ':', (size_t)(user - at - 3));
	if (colon == NULL)
		return buf_adds(to, url);
	rc = buf_add(to, url, (size_t)(colon + 1 - url));
	if (rc == 0)
		rc = buf_adds(to, "***");
	return rc < 0 ? rc : buf_adds(to, user);
}

void
http_header_value(struct str raw, char *ret, size_t size)
{
	while (raw.len > 0 && (raw.p[0] == ' ' || raw.p[0] == '\t'))
		raw = (struct str){ raw.p + 1, raw.len - 1 };
	while (raw.len > 0 && (raw.p[raw.len - 1] == '\r' || raw.p[raw.len - 1] == '\n' || raw.p[raw.len - 1] == ' '))
		raw.len--;
	snprintf(ret, size, "%.*s", STR_ARG(raw));
}
