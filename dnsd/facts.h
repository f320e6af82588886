/*
 * facts.h - what is known of one service or node, kept small.
 *
 * Made from raftd's replies (health.service, catalog.node), which carry far
 * more than DNS can tell. Pure.
 */
#ifndef DNSD_FACTS_H
#define DNSD_FACTS_H

#include <netinet/in.h>

#include "lib/records.h"

enum { FACTS_MAX = 65535 };	/* instances kept of one service */

enum addr_kind { ADDR_NONE, ADDR_V4, ADDR_V6, ADDR_NAME };

struct addr {
	enum addr_kind kind;
	union {
		uint8_t ip[16];
		struct str name;	/* ADDR_NAME: a host name */
	} u;
};

/* One instance of a service, or one node (then without tags and port). */
struct instance {
	struct str node;		/* name as registered */
	struct addr any, v4, v6;	/* to be told, and what A and AAAA questions prefer */
	struct addr node_addr;
	bool own_addr;			/* `any` is not what the node was registered with */
	bool passing;			/* no check of it is anything else */
	bool critical;
	uint16_t port, weight;
	struct str *tags;
	struct strpair *meta;		/* of the node */
	size_t ntags, nmeta;
	struct instance *wan;		/* its addresses and port for other datacenters (translate_wan_addrs); NULL: the same */
};

/* What raftd says of a prepared query beside its instances. */
struct query_facts {
	bool has_ttl;			/* else that of the service holds */
	bool watchable;			/* raftd tells when the answer changes */
	bool sorted;			/* by distance: ranks differ */
	bool per_client;		/* the order depends on the client's address */
	uint32_t ttl;			/* seconds */
	struct str service, dc;		/* which was found, and the datacenter that answered; behind the ranks */
	uint16_t ranks[];		/* of each instance: equal ones are equally good */
};

/* A tag with a dot in it. */
struct dotted_tag {
	struct dotted_tag *next;
	struct str tag;
	char text[];
};

struct facts {
	bool known;			/* the service or node exists, whatever its health */
	struct dotted_tag *dotted;	/* of instances that were left out, each once: labels that are such a tag are no others */
	struct query_facts *query;	/* NULL unless these are a prepared query's */
	size_t n;
	struct instance *v[];		/* critical ones are left out, but for a query's: it has chosen already */
};

/* A text as an address: literal IPv4 or IPv6, else a name; "" is ADDR_NONE. The name is borrowed. */
struct addr addr_parse(struct str text);

/* The payload of health.service. -EDECODE, -ENOMEM. */
int MUST_CHECK facts_from_health(struct str payload, struct arena *scratch, struct facts **ret);

/* The payload of catalog.node. */
int MUST_CHECK facts_from_node(struct str payload, struct arena *scratch, struct facts **ret);

/* The payload of query.execute, asked with Ranked (query.c). */
int MUST_CHECK facts_from_query(struct str payload, struct arena *scratch, struct facts **ret);

/* A list of health entries, the critical ones too if all; nothing else of facts is set. For the two above. */
int MUST_CHECK facts_entries(struct mp_r *r, bool all, struct arena *scratch, struct facts **ret);

/* Facts of nothing. */
struct facts *facts_new_unknown(void);

void facts_free(struct facts *f);

#endif
