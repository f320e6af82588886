/* config.c - the slice decoded. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "httpd/httpd.h"

enum { MS_S = 1000 };

static int
parse_cidr(const char *text, struct cidr *ret)
{
	char ip[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned max;

	if (n >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, text, n);
	ip[n] = '\0';
	ret->family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;
	if (inet_pton(ret->family, ip, ret->addr) != 1)
		return -EINVAL;
	max = ret->family == AF_INET6 ? 128 : 32;
	ret->bits = slash != NULL ? (unsigned)strtoul(slash + 1, NULL, 10) : max;
	return ret->bits <= max ? 0 : -EINVAL;
}

static int
read_write_from(struct http_config *c, char *err, size_t errlen)
{
	struct json_object *list = cfg_get(c->slice, "http_config.allow_write_http_from");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (n == 0)
		return 0;
	c->write_from = calloc(n, sizeof(*c->write_from));
	if (c->write_from == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));

		if (text == NULL || parse_cidr(text, &c->write_from[i]) < 0) {
			(void)snprintf(err, errlen, "allow_write_http_from: \"%s\" is not a network", text != NULL ? text : "");
			return -EINVAL;
		}
		c->nwrite_from = i + 1;
	}
	return 0;
}

int
http_config_read(struct json_object *slice, struct http_config *ret, char *err, size_t errlen)
{
	int rc;

	*ret = (struct http_config){
		.slice = slice,
		.node_name = cfg_str(slice, "node_name", ""), .node_id = cfg_str(slice, "node_id", ""),
		.datacenter = cfg_str(slice, "datacenter", "dc1"),
		.version = cfg_str(slice, "version", ""), .revision = cfg_str(slice, "revision", ""),
		.acls = cfg_bool(slice, "acl.enabled", false),
		.acl_enabled = cfg_bool(slice, "acl.enabled", false), .default_policy = cfg_str(slice, "acl.default_policy", "allow"),
		.default_token = cfg_str(slice, "acl.tokens.default", ""),
		.dev_mode = cfg_bool(slice, "dev_mode", false), .server = cfg_bool(slice, "server", false),
		.translate_wan = cfg_bool(slice, "translate_wan_addrs", false),
		.disable_coordinates = cfg_bool(slice, "disable_coordinates", false),
		.filter_unprintable = !cfg_bool(slice, "disable_http_unprintable_char_filter", false),
		.kv_max_value = cfg_int(slice, "limits.kv_max_value_size", 512 * 1024),
		.txn_max_req = cfg_int(slice, "limits.txn_max_req_len", 512 * 1024),
		.txn_max_ops = cfg_int(slice, "limits.txn_max_ops", 64),
		.conns_per_client = cfg_int(slice, "limits.http_max_conns_per_client", 200),
		.default_wait_ms = cfg_ms(slice, "default_query_time", 300 * MS_S),
		.max_wait_ms = cfg_ms(slice, "max_query_time", 600 * MS_S),
		.hold_ms = cfg_ms(slice, "performance.rpc_hold_timeout", 7 * MS_S),
		.discovery_max_stale_ms = cfg_ms(slice, "discovery_max_stale", 0),
		.prometheus_retention_ms = cfg_ms(slice, "telemetry.prometheus_retention_time", 0),
		.max_header_bytes = cfg_int(slice, "http_config.max_header_bytes", 0),
		.use_cache = cfg_bool(slice, "http_config.use_cache", true),
		.response_headers = cfg_get(slice, "http_config.response_headers"),
		.block_endpoints = cfg_get(slice, "http_config.block_endpoints"),
	};
	ret->primary_datacenter = cfg_str(slice, "primary_datacenter", "");
	if (ret->primary_datacenter[0] == '\0')
		ret->primary_datacenter = ret->datacenter;
	if (!json_object_is_type(ret->response_headers, json_type_object))
		ret->response_headers = NULL;
	rc = read_write_from(ret, err, errlen);
	if (rc < 0)
		http_config_release(ret);
	return rc;
}

void
http_config_release(struct http_config *c)
{
	free(c->write_from);
	c->write_from = NULL;
	c->nwrite_from = 0;
}

bool
http_config_blocked(const struct http_config *c, struct str path)
{
	size_t n = json_object_is_type(c->block_endpoints, json_type_array) ? json_object_array_length(c->block_endpoints) : 0;

	for (size_t i = 0; i < n; i++) {
		const char *prefix = json_object_get_string(json_object_array_get_idx(c->block_endpoints, i));

		if (prefix != NULL && str_has_prefix(path, str_from(prefix)))
			return true;
	}
	return false;
}

static bool
in_network(const uint8_t *addr, const struct cidr *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (memcmp(addr, net->addr, whole) != 0)
		return false;
	return rest == 0 || (addr[whole] ^ net->addr[whole]) >> (8 - rest) == 0;
}

bool
http_config_may_write(const struct http_config *c, const struct sockaddr *addr)
{
	const uint8_t *bytes;

	if (c->nwrite_from == 0)
		return true;
	if (addr == NULL || (addr->sa_family != AF_INET && addr->sa_family != AF_INET6))
		return false;
	bytes = addr->sa_family == AF_INET ?
	    (const uint8_t *)&((const struct sockaddr_in *)(const void *)addr)->sin_addr :
	    (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
	for (size_t i = 0; i < c->nwrite_from; i++)
		if (c->write_from[i].family == addr->sa_family && in_network(bytes, &c->write_from[i]))
			return true;
	return false;
}
