/*
 * settings.h - what of the configuration shapes answers.
 *
 * Read from the slice at start and at each reload. Pure apart from that.
 */
#ifndef DNSD_SETTINGS_H
#define DNSD_SETTINGS_H

#include <json-c/json_object.h>

#include "dnsd/name.h"

enum {
	SETTINGS_UDP_ANSWERS_MAX = 8,	/* above it udp_answer_limit means 8 */
	SETTINGS_SERVICE_TTLS_MAX = 4096,
};

/* dns_config.service_ttl, one row: a name, or a prefix when it ended in "*". */
struct service_ttl {
	struct str name;
	bool prefix;
	uint32_t ttl;
};

struct settings {
	struct zone domain, alt_domain;
	uint8_t soa_mname[PKT_NAME_MAX + 1], soa_rname[PKT_NAME_MAX + 1];
	char *datacenter, *token;
	bool allow_stale, only_passing, compress, enable_truncate, node_meta_txt;
	uint32_t udp_answer_limit, a_record_limit;	/* a_record_limit 0: none */
	uint32_t node_ttl, soa_refresh, soa_retry, soa_expire, soa_min_ttl;	/* seconds */
	int64_t max_stale_ms;
	struct service_ttl *service_ttls;
	size_t nservice_ttls;
};

/*
 * Read a slice. -EINVAL with one sentence in ret_err (a domain that is no
 * DNS name), -ENOMEM.
 */
int MUST_CHECK settings_read(struct json_object *slice, struct settings **ret, char *ret_err, size_t errlen);
void settings_free(struct settings *s);

/* What a reload does not change comes from the settings before: the domains and the datacenter. Then free old. */
void settings_inherit(struct settings *s, struct settings *old);

/* The TTL of a service, its name in lower case: its own row, else the longest prefix. */
uint32_t settings_service_ttl(const struct settings *s, struct str name);

#endif
