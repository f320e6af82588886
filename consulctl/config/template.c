/*
 * template.c - "{{ GetPrivateIP }}" and its kin in addresses.
 *
 * The single functions of Consul's template library that people use. Its
 * pipelines over all interfaces are refused with a sentence.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "consulctl/config/build.h"

/* ---- interfaces */

static bool
in_net(uint32_t a, uint32_t net, unsigned bits)
{
	return (a ^ net) >> (32 - bits) == 0;
}

/* RFC 1918, and RFC 6598's shared space. */
static bool
is_private_v4(uint32_t a)
{
	return in_net(a, 0x0a000000, 8) || in_net(a, 0xac100000, 12) || in_net(a, 0xc0a80000, 16) || in_net(a, 0x64400000, 10);
}

/* Not private, not of this machine or link, no group. */
static bool
is_public_v4(uint32_t a)
{
	return !is_private_v4(a) && !in_net(a, 0x7f000000, 8) && !in_net(a, 0xa9fe0000, 16) && !in_net(a, 0, 8) && a < 0xe0000000;
}

static bool
is_public_v6(const struct in6_addr *a)
{
	return (a->s6_addr[0] & 0xe0) == 0x20;
}

static bool
matches(const struct ifaddrs *i, enum addr_kind kind, const char *interface)
{
	int family = i->ifa_addr->sa_family;
	uint32_t v4 = 0;

	if (kind == ADDRS_OF_INTERFACE)
		return strcmp(i->ifa_name, interface) == 0;
	if (kind == ADDRS_PUBLIC_V6)
		return family == AF_INET6 && is_public_v6(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr);
	if (family != AF_INET)
		return false;
	v4 = ntohl(((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr);
	return kind == ADDRS_PRIVATE_V4 ? is_private_v4(v4) : is_public_v4(v4);
}

static void
add_addr(struct config_addrs *out, const struct sockaddr *sa)
{
	const void *from = sa->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr :
	    (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

	if (out->n < CONFIG_ADDRS_MAX && inet_ntop(sa->sa_family, from, out->v[out->n], CONFIG_ADDR_MAX) != NULL)
		out->n++;
}

int
config_interface_addrs(enum addr_kind kind, const char *interface, struct config_addrs *ret)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct ifaddrs *all;

	ret->n = 0;
	if (getifaddrs(&all) < 0)
		return -errno;
	for (size_t f = 0; f < ARRAY_LEN(families); f++)
		for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
			if (i->ifa_addr != NULL && (i->ifa_flags & IFF_UP) != 0 && i->ifa_addr->sa_family == families[f] &&
			    matches(i, kind, interface))
				add_addr(ret, i->ifa_addr);
	freeifaddrs(all);
	return 0;
}

/* ---- templates */

static const struct {
	const char *name;
	enum addr_kind kind;
	bool many;
} functions[] = {
	{ "GetPrivateIP", ADDRS_PRIVATE_V4, false },
	{ "GetPrivateIPs", ADDRS_PRIVATE_V4, true },
	{ "GetPublicIP", ADDRS_PUBLIC_V4, false },
	{ "GetPublicIPs", ADDRS_PUBLIC_V4, true },
	{ "GetInterfaceIP", ADDRS_OF_INTERFACE, false },
	{ "GetInterfaceIPs", ADDRS_OF_INTERFACE, true },
};

static void
trim(struct str *s)
{
	while (s->len > 0 && strchr(" \t\r\n", s->p[0]) != NULL && s->p[0] != 0) {
		s->p++;
		s->len--;
	}
	while (s->len > 0 && strchr(" \t\r\n", s->p[s->len - 1]) != NULL && s->p[s->len - 1] != 0)
		s->len--;
}

/* The name between quotes (or backquotes) behind the function. */
static bool
take_argument(struct str rest, char name[IF_NAMESIZE + 1])
{
	if (rest.len < 3 || rest.len - 2 > IF_NAMESIZE || rest.p[0] != rest.p[rest.len - 1] ||
	    (rest.p[0] != '"' && rest.p[0] != '`'))
		return false;
	memcpy(name, rest.p + 1, rest.len - 2);
	name[rest.len - 2] = 0;
	return true;
}

static int
evaluate(struct str expr, struct buf *out, struct buf *why)
{
	char interface[IF_NAMESIZE + 1] = "";
	struct config_addrs found = { .n = 0 };
	struct str word, rest;
	int rc = 0;

	trim(&expr);
	for (word = (struct str){ expr.p, 0 }; word.len < expr.len && strchr(" \t", expr.p[word.len]) == NULL; )
		word.len++;
	rest = (struct str){ expr.p + word.len, expr.len - word.len };
	trim(&rest);
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		bool wants = functions[i].kind == ADDRS_OF_INTERFACE;

		if (!str_eqs(word, functions[i].name) || (wants ? !take_argument(rest, interface) : rest.len > 0))
			continue;
		rc = config_interface_addrs(functions[i].kind, interface, &found);
		if (rc < 0)
			return config_fail(why, -EINVAL, "cannot list the network interfaces: %s", err_text(rc));
		if (found.n == 0)
			return config_fail(why, -EINVAL, "no address found for template '{{ %.*s }}'",
			    expr.len < 100 ? (int)expr.len : 100, expr.p);
		for (size_t k = 0; rc == 0 && k < (functions[i].many ? found.n : 1); k++)
			rc = buf_addf(out, "%s%s", k > 0 ? " " : "", found.v[k]);
		return rc;
	}
	return config_fail(why, -EINVAL, "template '{{ %.*s }}' is not supported: only GetPrivateIP, GetPublicIP and "
	    "GetInterfaceIP \"NAME\", or their plurals, are", expr.len < 100 ? (int)expr.len : 100, expr.p);
}

int
config_template(struct str text, struct buf *out, struct buf *why)
{
	int rc = 0;

	while (rc == 0 && text.len > 0) {
		const char *open = memmem(text.p, text.len, "{{", 2), *close;
		size_t before = open != NULL ? (size_t)(open - text.p) : text.len;

		rc = buf_add(out, text.p, before);
		text.p += before;
		text.len -= before;
		if (rc < 0 || text.len == 0)
			break;
		close = memmem(text.p, text.len, "}}", 2);
		if (close == NULL)
			return config_fail(why, -EINVAL, "a template is not closed by '}}'");
		rc = evaluate((struct str){ text.p + 2, (size_t)(close - text.p) - 2 }, out, why);
		text.len -= (size_t)(close + 2 - text.p);
		text.p = close + 2;
	}
	return rc;
}
