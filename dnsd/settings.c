/* settings.c - dns_config and the domains, out of the slice. */
#include "dnsd/settings.h"

#include <json-c/linkhash.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/cfg.h"

static uint32_t
seconds(int64_t ms)
{
	/* A TTL has 31 bits (RFC 2181, 8). */
	if (ms <= 0)
		return 0;
	return ms / 1000 > INT32_MAX ? INT32_MAX : (uint32_t)(ms / 1000);
}

static uint32_t
bounded(int64_t v, uint32_t max)
{
	return v < 0 ? 0 : v > max ? max : (uint32_t)v;
}

static int
read_domain(struct json_object *slice, const char *key, const char *dflt, struct zone *z, char *err, size_t errlen)
{
	const char *text = cfg_str(slice, key, dflt);

	/* The root is no domain of ours: Consul means "none" by it. */
	if (text[0] == 0 || strcmp(text, ".") == 0 || zone_set(z, str_from(text)) == 0)
		return 0;
	snprintf(err, errlen, "%s \"%s\" is not a DNS name", key, text);
	return -EINVAL;
}

static int
prefixed(uint8_t out[PKT_NAME_MAX + 1], const char *label, const struct zone *z)
{
	size_t n = strlen(label);

	if (n + 1 + z->len > PKT_NAME_MAX)
		return -EINVAL;
	out[0] = (uint8_t)n;
	memcpy(out + 1, label, n);
	memcpy(out + 1 + n, z->name, z->len);
	return 0;
}

static int
add_service_ttl(struct settings *s, const char *key, struct json_object *value)
{
	struct service_ttl *t = &s->service_ttls[s->nservice_ttls];
	size_t n = strlen(key);
	char *name = strdup(key);

	if (name == NULL)
		return -ENOMEM;
	for (char *c = name; *c != 0; c++)
		*c = (char)ascii_lower((unsigned char)*c);
	t->prefix = n > 0 && key[n - 1] == '*';
	t->name = (struct str){ name, n - t->prefix };
	t->ttl = seconds(json_object_get_int64(value));
	s->nservice_ttls++;
	return 0;
}

static int
read_service_ttls(struct settings *s, struct json_object *map)
{
	int rc = 0;
	size_t n;

	if (!json_object_is_type(map, json_type_object))
		return 0;
	n = (size_t)json_object_object_length(map);
	if (n > SETTINGS_SERVICE_TTLS_MAX)
		return -ELIMIT;
	s->service_ttls = calloc(n + 1, sizeof(*s->service_ttls));
	if (s->service_ttls == NULL)
		return -ENOMEM;
	json_object_object_foreach(map, key, value) {
		if (rc == 0)
			rc = add_service_ttl(s, key, value);
	}
	return rc;
}

static void
read_knobs(struct settings *s, struct json_object *slice)
{
	int64_t limit = cfg_int(slice, "dns_config.udp_answer_limit", 3);

	s->allow_stale = cfg_bool(slice, "dns_config.allow_stale", true);
	s->only_passing = cfg_bool(slice, "dns_config.only_passing", false);
	s->compress = !cfg_bool(slice, "dns_config.disable_compression", false);
	s->enable_truncate = cfg_bool(slice, "dns_config.enable_truncate", false);
	s->node_meta_txt = cfg_bool(slice, "dns_config.enable_additional_node_meta_txt", true);
	s->udp_answer_limit = limit <= 0 ? 1 : bounded(limit, SETTINGS_UDP_ANSWERS_MAX);
	s->a_record_limit = bounded(cfg_int(slice, "dns_config.a_record_limit", 0), INT32_MAX);
	s->node_ttl = seconds(cfg_ms(slice, "dns_config.node_ttl", 0));
	s->recursor_timeout_ms = cfg_ms(slice, "dns_config.recursor_timeout", 2000);
	if (s->recursor_timeout_ms <= 0)
		s->recursor_timeout_ms = 2000;
	s->recursor_random = strcmp(cfg_str(slice, "dns_config.recursor_strategy", "sequential"), "random") == 0;
	s->translate_wan_addrs = cfg_bool(slice, "translate_wan_addrs", false);
	s->combine_tags = cfg_bool(slice, "dns_config.combine_tags", true);
	s->udp_fill = cfg_bool(slice, "dns_config.udp_fill", false);
	s->alt_domain_targets = cfg_bool(slice, "dns_config.alt_domain_targets", false);
	s->minimal_any = cfg_bool(slice, "dns_config.minimal_any", false);
	s->cookies = cfg_bool(slice, "dns_config.cookies", true);
	s->rate_limit = bounded(cfg_int(slice, "dns_config.rate_limit", 0), INT32_MAX);
	s->rate_limit_slip = bounded(cfg_int(slice, "dns_config.rate_limit_slip", 2), INT32_MAX);
	s->workers = bounded(cfg_int(slice, "dns_config.workers", 0), SETTINGS_WORKERS_MAX);
	s->max_stale_ms = cfg_ms(slice, "dns_config.max_stale", INT64_C(87600) * 3600 * 1000);
	/* Plain seconds in Consul's configuration, not durations. */
	s->soa_refresh = bounded(cfg_int(slice, "dns_config.soa.refresh", 3600), UINT32_MAX);
	s->soa_retry = bounded(cfg_int(slice, "dns_config.soa.retry", 600), UINT32_MAX);
	s->soa_expire = bounded(cfg_int(slice, "dns_config.soa.expire", 86400), UINT32_MAX);
	s->soa_min_ttl = bounded(cfg_int(slice, "dns_config.soa.min_ttl", 0), UINT32_MAX);
}

/* ip, ip:port or [ip]:port, as consulctl has spelled it. */
static int
read_recursor(const char *text, union sock_addr *ret)
{
	char ip[SOCK_ADDR_TEXT_MAX], *end;
	const char *port = strrchr(text, ':');
	size_t n;
	long v;

	/* An IPv6 address has colons of its own; with a port it stands in brackets. */
	if (port != NULL && (text[0] == '[' ? port[-1] != ']' : strchr(text, ':') != port))
		port = NULL;
	n = port != NULL ? (size_t)(port - text) : strlen(text);
	if (n >= sizeof(ip) || n == 0)
		return -EINVAL;
	memcpy(ip, text, n);
	ip[n] = 0;
	if (ip[0] == '[' && ip[n - 1] == ']') {
		ip[n - 1] = 0;
		memmove(ip, ip + 1, n - 1);
	}
	v = port != NULL ? strtol(port + 1, &end, 10) : 53;
	if (v <= 0 || v > UINT16_MAX || (port != NULL && *end != 0))
		return -EINVAL;
	return sock_addr_parse(ip, (uint16_t)v, ret);
}

static int
read_recursors(struct settings *s, struct json_object *slice, char *err, size_t errlen)
{
	struct json_object *list = cfg_get(slice, "recursors");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (n > SETTINGS_RECURSORS_MAX) {
		snprintf(err, errlen, "recursors has %zu addresses: at most %d are asked", n, SETTINGS_RECURSORS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));

		if (text == NULL || read_recursor(text, &s->recursors[i]) < 0) {
			snprintf(err, errlen, "recursors: \"%.100s\" is not an address", text != NULL ? text : "");
			return -EINVAL;
		}
	}
	s->nrecursors = n;
	return 0;
}

int
settings_read(struct json_object *slice, struct settings **ret, char *err, size_t errlen)
{
	struct settings *s = calloc(1, sizeof(*s));
	const char *token;
	int rc = -ENOMEM;

	snprintf(err, errlen, "out of memory");
	if (s == NULL)
		goto out;
	rc = read_domain(slice, "domain", "consul.", &s->domain, err, errlen);
	if (rc == 0)
		rc = read_domain(slice, "alt_domain", "", &s->alt_domain, err, errlen);
	if (rc < 0)
		goto out;
	rc = prefixed(s->soa_mname, "ns", &s->domain);
	if (rc == 0)
		rc = prefixed(s->soa_rname, "hostmaster", &s->domain);
	if (rc == 0)
		rc = prefixed(s->alt_mname, "ns", &s->alt_domain);
	if (rc == 0)
		rc = prefixed(s->alt_rname, "hostmaster", &s->alt_domain);
	if (rc < 0) {
		snprintf(err, errlen, "domain is too long to have names below it");
		goto out;
	}
	read_knobs(s, slice);
	rc = read_recursors(s, slice, err, errlen);
	if (rc < 0)
		goto out;
	rc = read_service_ttls(s, cfg_get(slice, "dns_config.service_ttl"));
	if (rc < 0) {
		snprintf(err, errlen, "dns_config.service_ttl: %s", err_text(rc));
		goto out;
	}
	s->datacenter = strdup(cfg_str(slice, "datacenter", "dc1"));
	token = cfg_str(slice, "acl.tokens.dns", "");
	s->token = strdup(token[0] != '\0' ? token : cfg_str(slice, "acl.tokens.default", ""));
	s->node_name = strdup(cfg_str(slice, "node_name", ""));
	rc = s->datacenter != NULL && s->token != NULL && s->node_name != NULL ? 0 : -ENOMEM;
	if (rc == 0) {
		*ret = s;
		s = NULL;
	}
out:
	settings_free(s);
	return rc;
}

void
settings_free(struct settings *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nservice_ttls; i++)
		free((char *)s->service_ttls[i].name.p);
	free(s->service_ttls);
	free(s->datacenter);
	free(s->node_name);
	if (s->token != NULL)
		sodium_memzero(s->token, strlen(s->token));
	free(s->token);
	free(s);
}

void
settings_inherit(struct settings *s, struct settings *old)
{
	char *dc = s->datacenter;

	s->domain = old->domain;
	s->alt_domain = old->alt_domain;
	memcpy(s->soa_mname, old->soa_mname, sizeof(s->soa_mname));
	memcpy(s->soa_rname, old->soa_rname, sizeof(s->soa_rname));
	memcpy(s->alt_mname, old->alt_mname, sizeof(s->alt_mname));
	memcpy(s->alt_rname, old->alt_rname, sizeof(s->alt_rname));
	s->translate_wan_addrs = old->translate_wan_addrs;
	s->datacenter = old->datacenter;
	old->datacenter = dc;
}

const struct zone *
settings_zone(const struct settings *s, const uint8_t *name, size_t len, size_t *ret_prefix)
{
	bool alt_first = s->alt_domain.len > s->domain.len;
	const struct zone *first = alt_first ? &s->alt_domain : &s->domain;
	const struct zone *second = alt_first ? &s->domain : &s->alt_domain;

	if (name_in_zone(name, len, first, ret_prefix))
		return first;
	return name_in_zone(name, len, second, ret_prefix) ? second : NULL;
}

const struct zone *
settings_answer_zone(const struct settings *s, const struct pkt_query *q)
{
	const struct zone *z;
	size_t prefix;

	if (!s->alt_domain_targets)
		return &s->domain;
	z = settings_zone(s, q->name, q->name_len, &prefix);
	return z != NULL ? z : &s->domain;
}

uint32_t
settings_service_ttl(const struct settings *s, struct str name)
{
	const struct service_ttl *best = NULL;

	for (size_t i = 0; i < s->nservice_ttls; i++) {
		const struct service_ttl *t = &s->service_ttls[i];

		if (!t->prefix && str_eq(t->name, name))
			return t->ttl;
		if (t->prefix && str_has_prefix(name, t->name) && (best == NULL || t->name.len > best->name.len))
			best = t;
	}
	return best != NULL ? best->ttl : 0;
}
