/* proxy_env.c - which proxy a request takes, by the environment. */
#include "checkd/proxy_env.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_TEXT_MAX = 64 };

/* An address as 16 bytes; v4 ones are mapped. */
struct address {
	uint8_t b[16];
	bool v4;
};

static const char *
env(const char *capitals, const char *small)
{
	const char *s = getenv(capitals);

	return s != NULL && s[0] != '\0' ? s : getenv(small);
}

void
proxy_env_read(struct proxy_env *ret)
{
	const char *cgi = getenv("REQUEST_METHOD");

	*ret = (struct proxy_env){
		.http = env("HTTP_PROXY", "http_proxy"),
		.https = env("HTTPS_PROXY", "https_proxy"),
		.no = env("NO_PROXY", "no_proxy"),
		.cgi = cgi != NULL && cgi[0] != '\0',
	};
}

static bool
parse_address(struct str s, struct address *ret)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	char text[ADDRESS_TEXT_MAX];

	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s = (struct str){ s.p + 1, s.len - 2 };
	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(s));
	if (inet_pton(AF_INET, text, ret->b + sizeof(mapped)) == 1) {
		memcpy(ret->b, mapped, sizeof(mapped));
		ret->v4 = true;
		return true;
	}
	ret->v4 = false;
	if (inet_pton(AF_INET6, text, ret->b) != 1)
		return false;
	ret->v4 = memcmp(ret->b, mapped, sizeof(mapped)) == 0;
	return true;
}

static bool
is_loopback(const struct address *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->v4 ? a->b[12] == 127 : memcmp(a->b, one, sizeof(one)) == 0;
}

/* "10.0.0.0/8": whether a lies in it; false for anything else. */
static bool
in_range(struct str range, const struct address *a)
{
	const char *slash = memchr(range.p, '/', range.len);
	struct address net;
	unsigned bits = 0;

	if (slash == NULL || slash + 1 == range.p + range.len ||
	    !parse_address((struct str){ range.p, (size_t)(slash - range.p) }, &net) || net.v4 != a->v4)
		return false;
	for (const char *c = slash + 1; c < range.p + range.len; c++) {
		if (*c < '0' || *c > '9' || bits > 128)
			return false;
		bits = bits * 10 + (unsigned)(*c - '0');
	}
	bits += net.v4 ? 96 : 0;
	if (bits > 128)
		return false;
	for (unsigned i = 0; i < bits; i++)
		if (((net.b[i / 8] ^ a->b[i / 8]) & (0x80 >> i % 8)) != 0)
			return false;
	return true;
}

static bool
ends_with_nocase(struct str s, struct str end)
{
	return s.len >= end.len && str_eq_nocase((struct str){ s.p + s.len - end.len, end.len }, end);
}

/* "foo.com" is it and what is below it, ".foo.com" what is below. */
static bool
in_domain(struct str domain, struct str host)
{
	if (domain.len > 1 && domain.p[0] == '*' && domain.p[1] == '.')
		domain = (struct str){ domain.p + 1, domain.len - 1 };
	if (domain.len == 0)
		return false;
	if (domain.p[0] == '.')
		return ends_with_nocase(host, domain);
	return str_eq_nocase(host, domain) ||
	    (ends_with_nocase(host, domain) && host.len > domain.len && host.p[host.len - domain.len - 1] == '.');
}

/* "host:port" or "[v6]:port" into both; an address of IPv6 without brackets has no port. */
static void
cut_port(struct str *entry, struct str *port)
{
	const char *colon = memrchr(entry->p, ':', entry->len);

	*port = STR("");
	if (colon == NULL || (entry->p[0] != '[' && memchr(entry->p, ':', entry->len) != colon) ||
	    (entry->p[0] == '[' && colon > entry->p && colon[-1] != ']'))
		return;
	*port = (struct str){ colon + 1, entry->len - (size_t)(colon + 1 - entry->p) };
	entry->len = (size_t)(colon - entry->p);
}

static bool
entry_matches(struct str entry, struct str host, struct str host_port, const struct address *address)
{
	struct address a;
	struct str port;

	if (str_eqs(entry, "*") || (address != NULL && in_range(entry, address)))
		return true;
	cut_port(&entry, &port);
	if (port.len > 0 && !str_eq(port, host_port))
		return false;
	if (parse_address(entry, &a))
		return address != NULL && memcmp(a.b, address->b, sizeof(a.b)) == 0;
	return address == NULL && in_domain(entry, host);
}

static bool
is_exempt(const char *no, struct str host, struct str port, const struct address *address)
{
	struct str left = str_from(no);

	while (left.len > 0) {
		const char *comma = memchr(left.p, ',', left.len);
		struct str entry = { left.p, comma != NULL ? (size_t)(comma - left.p) : left.len };

		left = comma != NULL ? (struct str){ comma + 1, left.len - entry.len - 1 } : STR("");
		while (entry.len > 0 && (entry.p[0] == ' ' || entry.p[0] == '\t'))
			entry = (struct str){ entry.p + 1, entry.len - 1 };
		while (entry.len > 0 && (entry.p[entry.len - 1] == ' ' || entry.p[entry.len - 1] == '\t'))
			entry.len--;
		if (entry.len > 0 && entry_matches(entry, host, port, address))
			return true;
	}
	return false;
}

const char *
proxy_env_pick(const struct proxy_env *e, bool https, struct str host, struct str port)
{
	const char *proxy = https ? e->https : e->http;
	struct address a;
	bool literal;

	if (proxy == NULL || proxy[0] == '\0' || (!https && e->cgi))
		return NULL;
	if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct str){ host.p + 1, host.len - 2 };
	literal = parse_address(host, &a);
	if (str_eq_nocase(host, STR("localhost")) || (literal && is_loopback(&a)))
		return NULL;
	return is_exempt(e->no, host, port, literal ? &a : NULL) ? NULL : proxy;
}
