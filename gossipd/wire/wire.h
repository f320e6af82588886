/*
 * wire.h - the messages of memberlist and Serf: structures, and their bytes.
 *
 * Pure. A message is a type byte and one msgpack value in the old raw dialect
 * (no str8, no bin family): shared/spec/gossip-protocol.md sections 1, 2.3, 3
 * and 5. Writing is exactly what the peers write, reading takes whatever they
 * take: any order of keys, unknown and missing fields, any width of integers,
 * str8 and bin, a list in the order of declaration instead of a map, bytes
 * behind the value.
 *
 * Strings and bytes of a decoded message point into the input.
 */
#ifndef GOSSIPD_WIRE_WIRE_H
#define GOSSIPD_WIRE_WIRE_H

#include "lib/record.h"

/* First byte of a packet, a part of a compound, or a stream. */
enum wire_type {
	WIRE_PING = 0, WIRE_INDIRECT = 1, WIRE_ACK = 2, WIRE_SUSPECT = 3, WIRE_ALIVE = 4, WIRE_DEAD = 5, WIRE_PUSH_PULL = 6,
	WIRE_COMPOUND = 7, WIRE_USER = 8, WIRE_COMPRESS = 9, WIRE_ENCRYPT = 10, WIRE_NACK = 11, WIRE_CRC = 12, WIRE_ERROR = 13,
	WIRE_LABEL = 244,
};

/* First byte of a Serf message. */
enum serf_type {
	SERF_LEAVE = 0, SERF_JOIN = 1, SERF_PUSH_PULL = 2, SERF_EVENT = 3, SERF_QUERY = 4, SERF_RESPONSE = 5, SERF_CONFLICT = 6,
	SERF_KEY_REQUEST = 7, SERF_KEY_RESPONSE = 8, SERF_RELAY = 9,
};

enum {
	WIRE_NAME_MAX = 512,		/* bytes of a node's name that we take */
	WIRE_META_MAX = 512,
	WIRE_PACKET_MAX = 65536,
	WIRE_VSN = 6,			/* membership min, max, current, Serf min, max, current */
};

/* An IP address with a port, comparable bytewise when both were made by the functions below. */
struct gossip_addr {
	uint8_t ip[16];			/* the rest is zero */
	uint8_t len;			/* 4 or 16; 0: none */
	uint16_t port;			/* host order */
};
/* 4 or 16 bytes; a mapped IPv4 address becomes one of 4. -EINVAL for another length. */
int MUST_CHECK gossip_addr_set(struct gossip_addr *a, struct str ip, uint64_t port);
bool gossip_addr_eq(const struct gossip_addr *a, const struct gossip_addr *b);

/* ---- membership messages: every integer is 64 bits wide here, and bounded as the protocol's field when read */

struct msg_ping {
	uint64_t seqno;
	struct str node;		/* "" : whoever hears it */
	struct str source_addr;		/* raw IP, with source_port where the ack goes; "" : to where the ping came from */
	uint64_t source_port;
	struct str source_node;
};

struct msg_indirect {
	uint64_t seqno;
	struct str target;		/* raw IP */
	uint64_t port;			/* 0: our own */
	struct str node;
	bool nack;
	struct str source_addr;
	uint64_t source_port;
	struct str source_node;
};

struct msg_ack {
	uint64_t seqno;
	struct str payload;		/* p NULL: nil */
};

struct msg_nack {
	uint64_t seqno;
};

/* suspect and dead */
struct msg_accuse {
	uint64_t incarnation;
	struct str node, from;
};

/* alive; and a row of a push/pull, with state */
struct msg_alive {
	uint64_t incarnation;
	struct str node;
	struct str addr;		/* raw IP as it came */
	uint64_t port;
	struct str meta;
	struct str vsn;			/* 6 bytes; p NULL or shorter: it did not tell */
	int64_t state;			/* rows only: enum swim_state */
};

struct msg_error {
	struct str error;
};

/* ---- Serf messages */

struct msg_leave {
	uint64_t ltime;
	struct str node;
	bool prune;
};

struct msg_join {
	uint64_t ltime;
	struct str node;
};

struct msg_event {
	uint64_t ltime;
	struct str name, payload;
	bool coalesce;
};

struct msg_query {
	uint64_t ltime, id;
	struct str addr;		/* of the asker, raw IP */
	uint64_t port;
	struct str source_node;
	struct strs filters;		/* each: a type byte and what it takes */
	uint64_t flags;			/* QUERY_ACK, QUERY_NO_BROADCAST */
	uint64_t relay_factor;
	int64_t timeout;		/* ns */
	struct str name, payload;
};
enum { QUERY_ACK = 1, QUERY_NO_BROADCAST = 2 };
enum { FILTER_NODES = 0, FILTER_TAG = 1 };

struct msg_filter_tag {
	struct str tag, expr;
};

struct msg_response {
	uint64_t ltime, id;
	struct str from;
	uint64_t flags;
	struct str payload;
};

struct msg_key_request {
	struct str key;			/* raw; "" for list */
};

struct msg_key_response {
	bool result;
	struct str message;
	struct strs keys;		/* base64 */
	struct str primary_key;
};

struct msg_member {			/* conflict response */
	struct str addr, name;
	uint64_t port;
	struct strmap tags;
	int64_t status;
	uint64_t protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur;
};

struct msg_relay {
	struct str dest_ip, dest_zone, dest_name;
	uint64_t dest_port;
	struct str message;		/* behind the header: a Serf message, type byte included */
};

/* One slot of the ring of events in a push/pull: what came at one LTime. */
struct msg_event_slot {
	uint64_t ltime;
	struct records events;		/* struct msg_event: name and payload only */
};

struct msg_serf_state {
	uint64_t ltime;
	struct strmap unused;		/* never filled */
	struct recmap status_ltimes;	/* name to struct msg_ltime */
	struct strs left_members;
	uint64_t event_ltime;
	struct records events;		/* struct msg_event_slot: nil slots are left out when read */
	uint64_t query_ltime;
};
struct msg_ltime {
	uint64_t v;
};

/* One table a message; rec_* as in lib/records.h. */
extern const struct record rec_msg_ping, rec_msg_indirect, rec_msg_ack, rec_msg_nack, rec_msg_accuse, rec_msg_alive, rec_msg_row,
    rec_msg_error;
extern const struct record rec_msg_leave, rec_msg_join, rec_msg_event, rec_msg_query, rec_msg_filter_tag, rec_msg_response,
    rec_msg_key_request, rec_msg_key_response, rec_msg_member, rec_msg_serf_state;

/*
 * Append the type byte and the body. rec_msg_alive leaves State out, rec_msg_row writes it and names the
 * node "Name". -ENOMEM, -ELIMIT (out is bounded); nothing is appended then.
 */
int MUST_CHECK wire_put(struct buf *out, uint8_t type, const struct record *rec, const void *msg);

/* The body alone. */
int MUST_CHECK wire_put_body(struct buf *out, const struct record *rec, const void *msg);

/*
 * Read a body (behind the type byte). Lists and maps come from the arena, and
 * bytes that came as a list of integers; a NULL: what needs it is -EDECODE.
 * ret_used (may be NULL): bytes read. -EDECODE: malformed, or a value out of
 * its field's range; -ENOMEM, -ELIMIT from the arena.
 */
int MUST_CHECK wire_get(struct str body, const struct record *rec, void *ret, struct arena *a, size_t *ret_used);

/* A relay: the type byte SERF_RELAY, header and message; reading begins behind the type byte. */
int MUST_CHECK wire_put_relay(struct buf *out, const struct msg_relay *m);
int MUST_CHECK wire_get_relay(struct str body, struct msg_relay *ret, struct arena *a);

/* Tags as they stand in Meta: 0xff and a map, in the order of keys. -ELIMIT above WIRE_META_MAX. */
int MUST_CHECK wire_put_tags(struct buf *out, const struct strmap *tags);
/* Also the old form (the value of "role"). In the order of keys; of a key named twice the last value counts. -EDECODE, -ENOMEM, -ELIMIT. */
int MUST_CHECK wire_get_tags(struct str meta, struct strmap *ret, struct arena *a);

#endif
