/*
 * http_redirect.h - what one request of a check is, and what becomes of it
 * when the server points elsewhere: as Go's client does it, which differs
 * from libcurl in methods, bodies and headers.
 *
 * Pure.
 */
#ifndef CHECKD_HTTP_REDIRECT_H
#define CHECKD_HTTP_REDIRECT_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/errs.h"
#include "lib/str.h"

enum { HTTP_LOCATION_MAX = 4096, HTTP_HOST_MAX = 300, HTTP_PORT_MAX = 8 };

struct http_request {
	char *url, *method, *referer;	/* malloc'ed; referer may be NULL */
	bool web, https;		/* the scheme is http or https; the latter */
	char host[HTTP_HOST_MAX];	/* "host:port", "[v6]" as the URL has it, for the header */
	char name[HTTP_HOST_MAX];	/* without port and brackets */
	char port[HTTP_PORT_MAX];	/* the scheme's when the URL has none */
	char first[HTTP_HOST_MAX];	/* the first request's name, to which the secrets of the headers belong */
	bool with_body;			/* the check's body is sent */
	bool own_host;			/* the check's own Host header is sent */
	bool trusted;			/* the host may see the check's secrets */
};

/* The first request. -ENOMEM, -ELIMIT for a URL that is too long. An odd URL is not refused here. */
int MUST_CHECK http_request_init(struct http_request *r, const char *method, const char *url);
void http_request_release(struct http_request *r);

/* Whether an answer points elsewhere (with a Location): 301, 302, 303, 307, 308. */
bool http_is_redirect(long code);

/*
 * The request that follows one. location is the header's value, url the
 * same made absolute. -ENOMEM, -ELIMIT; r is as it was then.
 */
int MUST_CHECK http_request_redirect(struct http_request *r, long code, struct str location, const char *url);

/* Whether a header of the definition is sent along: secrets stay with the first host's domain, a body's with the body. */
bool http_request_sends(const struct http_request *r, const char *header);

/* Whether it may be a method or a header's name, or a header's value (RFC 9110, 5.6.2, 5.5): no line's end can be in them. */
bool http_is_token(struct str s);
bool http_is_value(struct str s);

/* A URL for others to read: a password in it becomes "***". -ENOMEM, -ELIMIT of the buffer. */
int MUST_CHECK http_url_add(const char *url, struct buf *to);

/* A header's value without the blanks and the line's end round it, as much of it as there is room for. */
void http_header_value(struct str raw, char *ret, size_t size);

#endif
