/* messages.c - the tables of the messages: names, types and widths of their fields. */
#include "gossipd/wire/codec.h"
#include "gossipd/wire/wire.h"

/* ---- membership */

static const struct field ping_fields[] = {
	FIELD(msg_ping, node, "Node", F_STR, W_AT(1)),
	FIELD(msg_ping, seqno, "SeqNo", F_UINT, W_U32 | W_AT(0)),
	FIELD(msg_ping, source_addr, "SourceAddr", F_BYTES, FF_OMITEMPTY | W_AT(2)),
	FIELD(msg_ping, source_node, "SourceNode", F_STR, FF_OMITEMPTY | W_AT(4)),
	FIELD(msg_ping, source_port, "SourcePort", F_UINT, FF_OMITEMPTY | W_U16 | W_AT(3)),
};
RECORD(rec_msg_ping, msg_ping, "ping", ping_fields);

static const struct field indirect_fields[] = {
	FIELD(msg_indirect, nack, "Nack", F_BOOL, W_AT(4)),
	FIELD(msg_indirect, node, "Node", F_STR, W_AT(3)),
	FIELD(msg_indirect, port, "Port", F_UINT, W_U16 | W_AT(2)),
	FIELD(msg_indirect, seqno, "SeqNo", F_UINT, W_U32 | W_AT(0)),
	FIELD(msg_indirect, source_addr, "SourceAddr", F_BYTES, FF_OMITEMPTY | W_AT(5)),
	FIELD(msg_indirect, source_node, "SourceNode", F_STR, FF_OMITEMPTY | W_AT(7)),
	FIELD(msg_indirect, source_port, "SourcePort", F_UINT, FF_OMITEMPTY | W_U16 | W_AT(6)),
	FIELD(msg_indirect, target, "Target", F_BYTES, FF_NULL | W_AT(1)),
};
RECORD(rec_msg_indirect, msg_indirect, "indirect ping", indirect_fields);

static const struct field ack_fields[] = {
	FIELD(msg_ack, payload, "Payload", F_BYTES, FF_NULL | W_AT(1)),
	FIELD(msg_ack, seqno, "SeqNo", F_UINT, W_U32 | W_AT(0)),
};
RECORD(rec_msg_ack, msg_ack, "ack", ack_fields);

static const struct field nack_fields[] = {
	FIELD(msg_nack, seqno, "SeqNo", F_UINT, W_U32 | W_AT(0)),
};
RECORD(rec_msg_nack, msg_nack, "nack", nack_fields);

static const struct field accuse_fields[] = {
	FIELD(msg_accuse, from, "From", F_STR, W_AT(2)),
	FIELD(msg_accuse, incarnation, "Incarnation", F_UINT, W_U32 | W_AT(0)),
	FIELD(msg_accuse, node, "Node", F_STR, W_AT(1)),
};
RECORD(rec_msg_accuse, msg_accuse, "suspect or dead", accuse_fields);

static const struct field alive_fields[] = {
	FIELD(msg_alive, addr, "Addr", F_BYTES, FF_NULL | W_AT(2)),
	FIELD(msg_alive, incarnation, "Incarnation", F_UINT, W_U32 | W_AT(0)),
	FIELD(msg_alive, meta, "Meta", F_BYTES, FF_NULL | W_AT(4)),
	FIELD(msg_alive, node, "Node", F_STR, W_AT(1)),
	FIELD(msg_alive, port, "Port", F_UINT, W_U16 | W_AT(3)),
	FIELD(msg_alive, vsn, "Vsn", F_BYTES, FF_NULL | W_AT(5)),
};
RECORD(rec_msg_alive, msg_alive, "alive", alive_fields);

static const struct field row_fields[] = {
	FIELD(msg_alive, addr, "Addr", F_BYTES, FF_NULL | W_AT(1)),
	FIELD(msg_alive, incarnation, "Incarnation", F_UINT, W_U32 | W_AT(4)),
	FIELD(msg_alive, meta, "Meta", F_BYTES, FF_NULL | W_AT(3)),
	FIELD(msg_alive, node, "Name", F_STR, W_AT(0)),
	FIELD(msg_alive, port, "Port", F_UINT, W_U16 | W_AT(2)),
	FIELD(msg_alive, state, "State", F_INT, W_AT(5)),
	FIELD(msg_alive, vsn, "Vsn", F_BYTES, FF_NULL | W_AT(6)),
};
RECORD(rec_msg_row, msg_alive, "push/pull row", row_fields);

static const struct field error_fields[] = {
	FIELD(msg_error, error, "Error", F_STR, W_AT(0)),
};
RECORD(rec_msg_error, msg_error, "error", error_fields);

/* ---- Serf */

static const struct field leave_fields[] = {
	FIELD(msg_leave, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_leave, node, "Node", F_STR, W_AT(1)),
	FIELD(msg_leave, prune, "Prune", F_BOOL, W_AT(2)),
};
RECORD(rec_msg_leave, msg_leave, "leave", leave_fields);

static const struct field join_fields[] = {
	FIELD(msg_join, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_join, node, "Node", F_STR, W_AT(1)),
};
RECORD(rec_msg_join, msg_join, "join", join_fields);

static const struct field event_fields[] = {
	FIELD(msg_event, coalesce, "CC", F_BOOL, W_AT(3)),
	FIELD(msg_event, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_event, name, "Name", F_STR, W_AT(1)),
	FIELD(msg_event, payload, "Payload", F_BYTES, FF_NULL | W_AT(2)),
};
RECORD(rec_msg_event, msg_event, "user event", event_fields);

static const struct field query_fields[] = {
	FIELD(msg_query, addr, "Addr", F_BYTES, FF_NULL | W_AT(2)),
	FIELD(msg_query, filters, "Filters", F_STRS, FF_NULL | W_BYTES | W_AT(5)),
	FIELD(msg_query, flags, "Flags", F_UINT, W_U32 | W_AT(6)),
	FIELD(msg_query, id, "ID", F_UINT, W_U32 | W_AT(1)),
	FIELD(msg_query, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_query, name, "Name", F_STR, W_AT(9)),
	FIELD(msg_query, payload, "Payload", F_BYTES, FF_NULL | W_AT(10)),
	FIELD(msg_query, port, "Port", F_UINT, W_U16 | W_AT(3)),
	FIELD(msg_query, relay_factor, "RelayFactor", F_UINT, W_U8 | W_AT(7)),
	FIELD(msg_query, source_node, "SourceNode", F_STR, W_AT(4)),
	FIELD(msg_query, timeout, "Timeout", F_INT, W_AT(8)),
};
RECORD(rec_msg_query, msg_query, "query", query_fields);

static const struct field filter_tag_fields[] = {
	FIELD(msg_filter_tag, expr, "Expr", F_STR, W_AT(1)),
	FIELD(msg_filter_tag, tag, "Tag", F_STR, W_AT(0)),
};
RECORD(rec_msg_filter_tag, msg_filter_tag, "tag filter", filter_tag_fields);

static const struct field response_fields[] = {
	FIELD(msg_response, flags, "Flags", F_UINT, W_U32 | W_AT(3)),
	FIELD(msg_response, from, "From", F_STR, W_AT(2)),
	FIELD(msg_response, id, "ID", F_UINT, W_U32 | W_AT(1)),
	FIELD(msg_response, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_response, payload, "Payload", F_BYTES, FF_NULL | W_AT(4)),
};
RECORD(rec_msg_response, msg_response, "query response", response_fields);

/* The key of a list request is empty, never nil. */
static const struct field key_request_fields[] = {
	FIELD(msg_key_request, key, "Key", F_BYTES, W_AT(0)),
};
RECORD(rec_msg_key_request, msg_key_request, "key request", key_request_fields);

static const struct field key_response_fields[] = {
	FIELD(msg_key_response, keys, "Keys", F_STRS, FF_NULL | W_AT(2)),
	FIELD(msg_key_response, message, "Message", F_STR, W_AT(1)),
	FIELD(msg_key_response, primary_key, "PrimaryKey", F_STR, W_AT(3)),
	FIELD(msg_key_response, result, "Result", F_BOOL, W_AT(0)),
};
RECORD(rec_msg_key_response, msg_key_response, "key response", key_response_fields);

static const struct field member_fields[] = {
	FIELD(msg_member, addr, "Addr", F_BYTES, FF_NULL | W_AT(1)),
	FIELD(msg_member, delegate_cur, "DelegateCur", F_UINT, W_U8 | W_AT(10)),
	FIELD(msg_member, delegate_max, "DelegateMax", F_UINT, W_U8 | W_AT(9)),
	FIELD(msg_member, delegate_min, "DelegateMin", F_UINT, W_U8 | W_AT(8)),
	FIELD(msg_member, name, "Name", F_STR, W_AT(0)),
	FIELD(msg_member, port, "Port", F_UINT, W_U16 | W_AT(2)),
	FIELD(msg_member, protocol_cur, "ProtocolCur", F_UINT, W_U8 | W_AT(7)),
	FIELD(msg_member, protocol_max, "ProtocolMax", F_UINT, W_U8 | W_AT(6)),
	FIELD(msg_member, protocol_min, "ProtocolMin", F_UINT, W_U8 | W_AT(5)),
	FIELD(msg_member, status, "Status", F_INT, W_AT(4)),
	FIELD(msg_member, tags, "Tags", F_STRMAP, W_AT(3)),
};
RECORD(rec_msg_member, msg_member, "member", member_fields);

/* ---- the state of Serf in a push/pull */

static const struct field ltime_fields[] = {
	FIELD(msg_ltime, v, "", F_UINT, 0),
};
static RECORD(rec_ltime, msg_ltime, "", ltime_fields);

static const struct field past_event_fields[] = {
	FIELD(msg_event, name, "Name", F_STR, W_AT(0)),
	FIELD(msg_event, payload, "Payload", F_BYTES, FF_NULL | W_AT(1)),
};
static RECORD(rec_past_event, msg_event, "past event", past_event_fields);

static const struct field event_slot_fields[] = {
	FIELD_SUB(msg_event_slot, events, "Events", F_RECORDS, W_AT(1), rec_past_event),
	FIELD(msg_event_slot, ltime, "LTime", F_UINT, W_AT(0)),
};
static RECORD(rec_event_slot, msg_event_slot, "events of one time", event_slot_fields);

static const struct field serf_state_fields[] = {
	FIELD(msg_serf_state, event_ltime, "EventLTime", F_UINT, W_AT(3)),
	FIELD_SUB(msg_serf_state, events, "Events", F_RECORDS, W_SPARSE | W_AT(4), rec_event_slot),
	FIELD(msg_serf_state, ltime, "LTime", F_UINT, W_AT(0)),
	FIELD(msg_serf_state, left_members, "LeftMembers", F_STRS, W_AT(2)),
	FIELD(msg_serf_state, query_ltime, "QueryLTime", F_UINT, W_AT(5)),
	FIELD_SUB(msg_serf_state, status_ltimes, "StatusLTimes", F_RECMAP, W_AT(1), rec_ltime),
};
RECORD(rec_msg_serf_state, msg_serf_state, "Serf state", serf_state_fields);
