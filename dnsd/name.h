/*
 * name.h - the grammar of Consul's names.
 *
 * Pure. Names come in wire form and lower case, as packet.h reads them;
 * what they say is left in a struct dns_name.
 */
#ifndef DNSD_NAME_H
#define DNSD_NAME_H

#include "dnsd/packet.h"
#include "lib/str.h"

/* A domain that is served, in wire form and lower case. */
struct zone {
	uint8_t name[PKT_NAME_MAX + 1];
	uint8_t len;		/* 0: there is none */
};

enum name_kind {
	NAME_NONE,		/* says nothing: there is no such name */
	NAME_SERVICE,
	NAME_NODE,
	NAME_QUERY,		/* a prepared query */
	NAME_MESH,		/* proxies, gateways and virtual addresses of a service mesh */
	NAME_ADDR,		/* an address written in hex */
	NAME_ADDR_EMPTY,	/* hex digits of another length: exists, has no records */
};

struct dns_name {
	enum name_kind kind;
	struct str name;	/* service, node or query */
	struct str tag;		/* "" for none */
	struct str dc;		/* "" when the name has none */
	uint8_t addr[16];
	uint8_t addr_len;	/* 4 or 16 */
	char text[PKT_NAME_MAX + 1]; /* what the slices point into */
};

/*
 * Text with dots, with or without the last one, as wire form in out.
 * Returns its length, or -EINVAL: an empty or too long label or name.
 */
int MUST_CHECK name_to_wire(struct str text, uint8_t out[PKT_NAME_MAX + 1]);

int MUST_CHECK zone_set(struct zone *z, struct str text);

/* Whether name is the zone's or below; ret_prefix gets the length of what stands before the zone's labels. */
bool name_in_zone(const uint8_t *name, size_t len, const struct zone *z, size_t *ret_prefix);

/*
 * Read the labels in prefix_len bytes, those before the zone, of a question
 * of this type: [tag.]name.service[.dc] and its like, as Consul 1.10 has it,
 * and what 1.16 puts behind the keyword (.<dc>.dc, .<x>.peer, and of
 * partitions and namespaces the one that there is: default.ap, default.ns).
 */
void name_parse(const uint8_t *prefix, size_t prefix_len, uint16_t qtype, struct dns_name *ret);

#endif
