/* address.c - addresses made literal: templates, defaults from each other, what is advertised, collisions. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/config/build.h"

enum { ADDR_TEXT_MAX = 4096 };

static const char *
text(struct config *c, const char *path)
{
	struct json_object *v = config_get(c->tree, path);

	return v != NULL ? json_object_get_string(v) : "";
}

/* AF_INET, AF_INET6 or 0. */
static int
family_of(const char *s)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, s, &a4) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, s, &a6) == 1 ? AF_INET6 : 0;
}

/* As everybody else writes it, for addresses are compared as text: "FD00:0::1" is "fd00::1". Its family, or 0. */
static int
spell(const char *s, char out[INET6_ADDRSTRLEN])
{
	int family = family_of(s);
	struct in6_addr a;

	if (family == 0 || inet_pton(family, s, &a) != 1 || inet_ntop(family, &a, out, INET6_ADDRSTRLEN) == NULL)
		return 0;
	return family;
}

static bool
is_any(const char *s)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, s, &a4) == 1)
		return a4.s_addr == 0;
	return inet_pton(AF_INET6, s, &a6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&a6);
}

static int
set_text(struct config *c, const char *path, const char *value, struct buf *err)
{
	struct json_object *old = config_get(c->tree, path), *v = json_object_new_string(value);

	hcl_pos_set(v, hcl_pos(old));
	return config_set(c->tree, path, v) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}

/* Templates of a key's text replaced, in out. */
static int
expand(struct config *c, const char *path, struct buf *out, struct buf *err)
{
	struct json_object *v = config_get(c->tree, path);
	struct buf why = BUF_INIT(1024);
	int rc = config_template(str_from(json_object_get_string(v)), out, &why);

	if (rc == 0 && buf_cstr(out) == NULL)
		rc = -ENOMEM;
	if (rc < 0)
		rc = config_fail_at(c, v, err, "%s: %.*s", path, (int)why.len, why.data != NULL ? (const char *)why.data : "");
	buf_release(&why);
	return rc;
}

/* [::1] is as good as ::1. */
static void
strip_brackets(char *s)
{
	size_t n = strlen(s);

	if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
		memmove(s, s + 1, n - 2);
		s[n - 2] = 0;
	}
}

/* A key of one address; absent and "" stay. family 0: either. */
static int
resolve_one(struct config *c, const char *path, int family, struct buf *err)
{
	struct json_object *v = config_get(c->tree, path);
	struct buf out = BUF_INIT(ADDR_TEXT_MAX);
	char *s, *next = NULL, ip[INET6_ADDRSTRLEN];
	int rc, is;

	if (v == NULL || *json_object_get_string(v) == 0)
		return 0;
	rc = expand(c, path, &out, err);
	if (rc < 0)
		goto out;
	s = strtok_r((char *)out.data, " \t\r\n", &next);
	if (s == NULL)
		rc = config_fail_at(c, v, err, "%s cannot be empty", path);
	else if (strtok_r(NULL, " \t\r\n", &next) != NULL)
		rc = config_fail_at(c, v, err, "%s cannot contain multiple addresses. Please specify only one", path);
	else if (strncmp(s, "unix://", 7) == 0)
		rc = config_fail_at(c, v, err, "%s cannot be a unix socket", path);
	if (rc < 0)
		goto out;
	strip_brackets(s);
	is = spell(s, ip);
	if (is == 0)
		rc = config_fail_at(c, v, err, "%s: invalid ip address: %.100s", path, s);
	else if (family != 0 && is != family)
		rc = config_fail_at(c, v, err, "%s: %s is no IPv%c address", path, s, family == AF_INET ? '4' : '6');
	else
		rc = set_text(c, path, ip, err);
out:
	buf_release(&out);
	return rc;
}

static int
add_listener(struct config *c, const char *path, char *s, bool sockets, struct json_object *list, struct buf *err)
{
	struct json_object *v = config_get(c->tree, path), *item;
	char ip[INET6_ADDRSTRLEN];

	if (strncmp(s, "unix://", 7) == 0) {
		if (!sockets)
			return config_fail_at(c, v, err, "%s cannot be a unix socket", path);
		if (s[7] != '/')
			return config_fail_at(c, v, err, "%s: a unix:// address needs an absolute path", path);
	} else {
		strip_brackets(s);
		if (spell(s, ip) == 0)
			return config_fail_at(c, v, err, "%s: invalid ip address: %.100s", path, s);
		s = ip;
	}
	item = json_object_new_string(s);
	if (item == NULL || json_object_array_add(list, item) < 0) {
		json_object_put(item);
		return config_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* A key of several addresses becomes a list of them; absent: the list of client_addr. */
static int
resolve_many(struct config *c, const char *path, bool sockets, struct buf *err)
{
	struct json_object *v = config_get(c->tree, path), *list;
	struct buf out = BUF_INIT(ADDR_TEXT_MAX);
	char *next = NULL;
	int rc;

	if (strcmp(path, "client_addr") != 0 && *text(c, path) == 0) {
		v = json_object_get(config_get(c->tree, "client_addr"));
		return config_set(c->tree, path, v) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
	}
	list = json_object_new_array();
	if (list == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	hcl_pos_set(list, hcl_pos(v));
	rc = expand(c, path, &out, err);
	if (rc == 0)
		for (char *s = strtok_r((char *)out.data, " \t\r\n", &next); rc == 0 && s != NULL; s = strtok_r(NULL, " \t\r\n", &next))
			rc = add_listener(c, path, s, sockets, list, err);
	buf_release(&out);
	if (rc == 0 && json_object_array_length(list) == 0)
		rc = config_fail_at(c, v, err, "%s cannot be empty", path);
	if (rc < 0) {
		json_object_put(list);
		return rc;
	}
	return config_set(c->tree, path, list) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}

/* bind_addr is any address: the one that others can reach us at. */
static int
detect_advertise(struct config *c, struct buf *err)
{
	bool v6 = family_of(text(c, "bind_addr")) == AF_INET6;
	const char *kind = v6 ? "public IPv6" : "private IPv4";
	struct config_addrs found;
	int rc = config_interface_addrs(v6 ? ADDRS_PUBLIC_V6 : ADDRS_PRIVATE_V4, "", &found);

	if (rc < 0)
		return config_fail(err, rc, "Error detecting %s address: %s", kind, err_text(rc));
	if (found.n == 0)
		return config_fail(err, -EINVAL, "No %s address found", kind);
	if (found.n > 1)
		return config_fail(err, -EINVAL,
		    "Multiple %s addresses found. Please configure one with 'bind' and/or 'advertise'.", kind);
	return set_text(c, "advertise_addr", found.v[0], err);
}

static int
default_to(struct config *c, const char *path, const char *value, struct buf *err)
{
	if (*text(c, path) != 0 || *value == 0)
		return 0;
	return set_text(c, path, value, err);
}

static int
resolve_advertise(struct config *c, struct buf *err)
{
	int rc = default_to(c, "advertise_addr", text(c, "advertise_addr_ipv4"), err);

	if (rc == 0)
		rc = default_to(c, "advertise_addr", text(c, "advertise_addr_ipv6"), err);
	if (rc == 0 && *text(c, "advertise_addr") == 0)
		rc = is_any(text(c, "bind_addr")) ? detect_advertise(c, err) :
		    set_text(c, "advertise_addr", text(c, "bind_addr"), err);
	if (rc == 0 && is_any(text(c, "advertise_addr")))
		rc = config_fail_at(c, config_get(c->tree, "advertise_addr"), err,
		    "Advertise address cannot be 0.0.0.0, :: or [::]");
	if (rc == 0)
		rc = default_to(c, "advertise_addr_wan", text(c, "advertise_addr_wan_ipv4"), err);
	if (rc == 0)
		rc = default_to(c, "advertise_addr_wan", text(c, "advertise_addr_wan_ipv6"), err);
	if (rc == 0)
		rc = default_to(c, "advertise_addr_wan", text(c, "advertise_addr"), err);
	if (rc == 0 && is_any(text(c, "advertise_addr_wan")))
		rc = config_fail_at(c, config_get(c->tree, "advertise_addr_wan"), err,
		    "Advertise WAN address cannot be 0.0.0.0, :: or [::]");
	return rc;
}

/* lan and wan are what is advertised, and each is told by its family too. */
static int
fill_tagged(struct config *c, const char *net, const char *key, struct buf *err)
{
	const char *addr = text(c, key);
	char path[64], given[64];
	int rc;

	(void)snprintf(path, sizeof(path), "tagged_addresses.%s", net);
	rc = set_text(c, path, addr, err);
	for (int i = 0; rc == 0 && i < 2; i++) {
		int family = i == 0 ? AF_INET : AF_INET6;

		(void)snprintf(path, sizeof(path), "tagged_addresses.%s_ipv%c", net, i == 0 ? '4' : '6');
		(void)snprintf(given, sizeof(given), "%s_ipv%c", key, i == 0 ? '4' : '6');
		if (*text(c, given) != 0)
			rc = set_text(c, path, text(c, given), err);
		else if (family_of(addr) == family)
			rc = set_text(c, path, addr, err);
	}
	return rc;
}

struct listener {
	const char *name, *addrs, *port;
	bool server_only;
};

/* One pair of listeners: must not want the same port of an address, or of all addresses. */
static int
check_pair(struct config *c, const struct listener *a, const struct listener *b, struct buf *err)
{
	int64_t port = json_object_get_int64(config_get(c->tree, a->port));
	struct json_object *la = config_get(c->tree, a->addrs), *lb = config_get(c->tree, b->addrs);
	bool many_a = json_object_is_type(la, json_type_array), many_b = json_object_is_type(lb, json_type_array);

	if (port <= 0 || port != json_object_get_int64(config_get(c->tree, b->port)))
		return 0;
	for (size_t i = 0; i < (many_a ? json_object_array_length(la) : 1); i++)
		for (size_t k = 0; k < (many_b ? json_object_array_length(lb) : 1); k++) {
			const char *x = json_object_get_string(many_a ? json_object_array_get_idx(la, i) : la);
			const char *y = json_object_get_string(many_b ? json_object_array_get_idx(lb, k) : lb);

			if (x[0] != 'u' && y[0] != 'u' && (strcmp(x, y) == 0 || is_any(x) || is_any(y)))
				return config_fail_at(c, config_get(c->tree, b->port), err,
				    "%s address %s:%lld already configured for %s", b->name, y, (long long)port, a->name);
		}
	return 0;
}

static int
check_collisions(struct config *c, struct buf *err)
{
	static const struct listener all[] = {
		{ "DNS", "addresses.dns", "ports.dns", false },
		{ "HTTP", "addresses.http", "ports.http", false },
		{ "RPC Advertise", "bind_addr", "ports.server", true },
		{ "Serf Advertise LAN", "serf_lan", "ports.serf_lan", false },
		{ "Serf Advertise WAN", "serf_wan", "ports.serf_wan", true },
	};
	bool server = json_object_get_boolean(config_get(c->tree, "server"));
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(all); i++)
		for (size_t k = i + 1; rc == 0 && k < ARRAY_LEN(all); k++)
			if (server || (!all[i].server_only && !all[k].server_only))
				rc = check_pair(c, &all[i], &all[k], err);
	return rc;
}

int
config_resolve_addresses(struct config *c, struct buf *err)
{
	static const struct {
		const char *path;
		int family;
	} single[] = {
		{ "bind_addr", 0 }, { "advertise_addr", 0 }, { "advertise_addr_ipv4", AF_INET }, { "advertise_addr_ipv6", AF_INET6 },
		{ "advertise_addr_wan", 0 }, { "advertise_addr_wan_ipv4", AF_INET }, { "advertise_addr_wan_ipv6", AF_INET6 },
		{ "serf_lan", 0 }, { "serf_wan", 0 },
	};
	int rc = 0;

	if (*text(c, "bind_addr") == 0)
		return config_fail_at(c, config_get(c->tree, "bind_addr"), err, "bind_addr cannot be empty");
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(single); i++)
		rc = resolve_one(c, single[i].path, single[i].family, err);
	if (rc == 0)
		rc = resolve_many(c, "client_addr", false, err);
	if (rc == 0)
		rc = resolve_many(c, "addresses.dns", false, err);
	if (rc == 0)
		rc = resolve_many(c, "addresses.http", true, err);
	if (rc == 0)
		rc = resolve_many(c, "addresses.https", true, err);
	if (rc == 0)
		rc = resolve_advertise(c, err);
	if (rc == 0)
		rc = default_to(c, "serf_lan", text(c, "bind_addr"), err);
	if (rc == 0)
		rc = default_to(c, "serf_wan", text(c, "bind_addr"), err);
	if (rc == 0)
		rc = fill_tagged(c, "lan", "advertise_addr", err);
	if (rc == 0)
		rc = fill_tagged(c, "wan", "advertise_addr_wan", err);
	return rc < 0 ? rc : check_collisions(c, err);
}
