/* net.c - addresses of members, and the networks that they may come from. */
#include "gossipd/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

int
addr_parse(const char *ip, uint16_t port, struct gossip_addr *ret)
{
	union sock_addr sa;

	if (sock_addr_parse(ip, port, &sa) < 0)
		return -EINVAL;
	return addr_from_sock(&sa, ret);
}

int
addr_from_sock(const union sock_addr *sa, struct gossip_addr *ret)
{
	if (sa->sa.sa_family == AF_INET)
		return gossip_addr_set(ret, (struct str){ (const char *)&sa->in.sin_addr, 4 }, ntohs(sa->in.sin_port));
	if (sa->sa.sa_family == AF_INET6)
		return gossip_addr_set(ret, (struct str){ (const char *)&sa->in6.sin6_addr, 16 }, ntohs(sa->in6.sin6_port));
	return -EINVAL;
}

void
addr_to_sock(const struct gossip_addr *a, union sock_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->len == 4) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(a->port);
		memcpy(&ret->in.sin_addr, a->ip, 4);
	} else {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(a->port);
		memcpy(&ret->in6.sin6_addr, a->ip, 16);
	}
}

void
addr_ip_text(const struct gossip_addr *a, char text[SOCK_ADDR_TEXT_MAX])
{
	text[0] = '\0';
	if (a->len != 0 && inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->ip, text, SOCK_ADDR_TEXT_MAX) == NULL)
		text[0] = '\0';
}

void
addr_text(const struct gossip_addr *a, char text[SOCK_ADDR_TEXT_MAX])
{
	union sock_addr sa;

	addr_to_sock(a, &sa);
	sock_addr_format(&sa, text);
}

/* "ADDRESS/BITS" */
static int
cidr_parse(const char *text, struct cidr *ret)
{
	const char *slash = strchr(text, '/');
	char ip[SOCK_ADDR_TEXT_MAX], *end;
	struct gossip_addr a;
	unsigned long bits;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(ip) || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	memcpy(ip, text, (size_t)(slash - text));
	ip[slash - text] = '\0';
	bits = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || addr_parse(ip, 0, &a) < 0 || bits > a.len * 8u)
		return -EINVAL;
	*ret = (struct cidr){ a, (unsigned)bits };
	return 0;
}

int
cidrs_load(struct cidrs *c, struct json_object *list, const char **ret_bad)
{
	size_t n = list != NULL && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	*c = (struct cidrs){ NULL, 0 };
	if (n == 0)
		return 0;
	if (n > CIDRS_MAX)
		return -ELIMIT;
	c->v = calloc(n, sizeof(c->v[0]));
	if (c->v == NULL)
		return -ENOMEM;
	for (c->n = 0; c->n < n; c->n++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, c->n));

		if (text == NULL || cidr_parse(text, &c->v[c->n]) < 0) {
			*ret_bad = text != NULL ? text : "null";
			cidrs_release(c);
			return -EINVAL;
		}
	}
	return 0;
}

void
cidrs_release(struct cidrs *c)
{
	free(c->v);
	*c = (struct cidrs){ NULL, 0 };
}

static bool
within(const struct cidr *c, const struct gossip_addr *a)
{
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (a->len != c->net.len || memcmp(a->ip, c->net.ip, whole) != 0)
		return false;
	return rest == 0 || (a->ip[whole] ^ c->net.ip[whole]) >> (8 - rest) == 0;
}

bool
cidrs_allow(const struct cidrs *c, const struct gossip_addr *a)
{
	for (size_t i = 0; i < c->n; i++)
		if (within(&c->v[i], a))
			return true;
	return c->n == 0;
}
