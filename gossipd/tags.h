/*
 * tags.h - what this node says of itself: name, address and tags, by its
 * config slice. Pure.
 */
#ifndef GOSSIPD_TAGS_H
#define GOSSIPD_TAGS_H

#include "gossipd/net.h"
#include "lib/cfg.h"
#include "lib/records.h"

enum { TAGS_MAX = 20 };

/* On our servers: raftd talks to those that have it, since another program's server has another RPC. */
#define MEMBER_TAG_OURS "ft_consulctl"

/* The tags in the order of keys; strings from the arena. -ENOMEM, -ELIMIT: they would not fit WIRE_META_MAX. */
int MUST_CHECK tags_own(struct json_object *slice, bool wan, struct arena *a, struct strmap *ret);

/* Name in the pool: NODE, or NODE.DC in the WAN; from the arena, p NULL without memory. */
struct str tags_own_name(struct json_object *slice, bool wan, struct arena *a);

/* The address that is advertised, with the pool's port. -EINVAL. */
int MUST_CHECK tags_own_addr(struct json_object *slice, bool wan, struct gossip_addr *ret);

#endif
