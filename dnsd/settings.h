/*
 * settings.h - what of the configuration shapes answers.
 *
 * Read from the slice at start and at each reload. Pure apart from that.
 */
#ifndef DNSD_SETTINGS_H
#define DNSD_SETTINGS_H

#include <json-c/json_object.h>

#include "dnsd/name.h"
#include "lib/sock.h"

enum {
	SETTINGS_UDP_ANSWERS_MAX = 8,	/* above it udp_answer_limit means 8 */
	SETTINGS_SERVICE_TTLS_MAX = 4096,
	SETTINGS_RECURSORS_MAX = 16,
	SETTINGS_WORKERS_MAX = 64,
};

/* dns_config.service_ttl, one row: a name, or a prefix when it ended in "*". */
struct service_ttl {
	struct str name;
	bool prefix;
	uint32_t ttl;
};

struct settings {
	struct zone domain, alt_domain;
	uint8_t soa_mname[PKT_NAME_MAX + 1], soa_rname[PKT_NAME_MAX + 1];	/* ns and hostmaster below domain */
	uint8_t alt_mname[PKT_NAME_MAX + 1], alt_rname[PKT_NAME_MAX + 1];	/* ... and below alt_domain */
	char *datacenter, *token, *node_name;
	bool allow_stale, only_passing, compress, enable_truncate, node_meta_txt;
	uint32_t udp_answer_limit, a_record_limit;	/* a_record_limit 0: none */
	uint32_t node_ttl, soa_refresh, soa_retry, soa_expire, soa_min_ttl;	/* seconds */
	int64_t max_stale_ms;
	struct service_ttl *service_ttls;
	size_t nservice_ttls;
	/* recursors: asked about what is not ours. None: such names are refused. */
	union sock_addr recursors[SETTINGS_RECURSORS_MAX];
	size_t nrecursors;
	int64_t recursor_timeout_ms;		/* of each */
	bool recursor_random;			/* recursor_strategy */
	bool translate_wan_addrs;
	/* Ours, below dns_config; doc/extensions.md says more. */
	bool combine_tags;		/* combine_tags, true: labels that are no tag together must each be one */
	bool udp_fill;			/* udp_fill, false: udp_answer_limit does not hold, the size alone does */
	bool alt_domain_targets;	/* alt_domain_targets, false: true has names in answers below the domain that was asked */
	bool minimal_any;		/* minimal_any, false: ANY over UDP gets one record set (RFC 8482) */
	bool cookies;			/* cookies, true: RFC 7873 */
	uint32_t rate_limit;		/* rate_limit, 0 = off: equal answers a second to one network over UDP */
	uint32_t rate_limit_slip;	/* rate_limit_slip, 2: of those that are too many every nth is answered, truncated */
	unsigned workers;		/* workers, 0: a process for each processor */
};

/*
 * Read a slice. -EINVAL with one sentence in ret_err (a domain that is no
 * DNS name), -ENOMEM.
 */
int MUST_CHECK settings_read(struct json_object *slice, struct settings **ret, char *ret_err, size_t errlen);
void settings_free(struct settings *s);

/*
 * What a reload does not change comes from the settings before: the domains,
 * the datacenter and translate_wan_addrs. Then free old.
 */
void settings_inherit(struct settings *s, struct settings *old);

/* The flags of an answer of ours: AA, and RA when there is somebody to ask about the rest. */
static inline unsigned
settings_flags(const struct settings *s)
{
	return s->nrecursors > 0 ? FLAG_AA | FLAG_RA : FLAG_AA;
}

/*
 * The zone of ours that a name (wire form, lower case) is in, the longer one
 * when it is in both; NULL: none. ret_prefix as name_in_zone() has it.
 */
const struct zone *settings_zone(const struct settings *s, const uint8_t *name, size_t len, size_t *ret_prefix);

/* The zone below which names in the answer to q are: the main one, or with alt_domain_targets the one asked. */
const struct zone *settings_answer_zone(const struct settings *s, const struct pkt_query *q);

/* The TTL of a service, its name in lower case: its own row, else the longest prefix. */
uint32_t settings_service_ttl(const struct settings *s, struct str name);

#endif
