/* records_gossip.c - the tables of membership: members, events, keys, coordinates. */
#include "lib/records.h"

#define E FF_OMITEMPTY

static const struct field f_member[] = {
	FIELD(member, name, "Name", F_STR, 0),
	FIELD(member, addr, "Addr", F_STR, 0),
	FIELD(member, port, "Port", F_INT, 0),
	FIELD(member, tags, "Tags", F_STRMAP, 0),
	FIELD(member, status, "Status", F_INT, 0),
	FIELD(member, protocol_min, "ProtocolMin", F_INT, 0),
	FIELD(member, protocol_max, "ProtocolMax", F_INT, 0),
	FIELD(member, protocol_cur, "ProtocolCur", F_INT, 0),
	FIELD(member, delegate_min, "DelegateMin", F_INT, 0),
	FIELD(member, delegate_max, "DelegateMax", F_INT, 0),
	FIELD(member, delegate_cur, "DelegateCur", F_INT, 0),
};
RECORD(rec_member, member, "Member", f_member);

static const struct field f_member_query[] = {
	FIELD(member_query, wan, "WAN", F_BOOL, E),
	FIELD(member_query, segment, "Segment", F_STR, E),
	FIELD(member_query, own, "Own", F_BOOL, E),
};
RECORD(rec_member_query, member_query, "MemberQuery", f_member_query);

static const struct field f_join_request[] = {
	FIELD(join_request, addrs, "Addrs", F_STRS, 0),
	FIELD(join_request, wan, "WAN", F_BOOL, E),
};
RECORD(rec_join_request, join_request, "JoinRequest", f_join_request);

static const struct field f_force_leave_request[] = {
	FIELD(force_leave_request, node, "Node", F_STR, 0),
	FIELD(force_leave_request, prune, "Prune", F_BOOL, E),
	FIELD(force_leave_request, wan, "WAN", F_BOOL, E),
};
RECORD(rec_force_leave_request, force_leave_request, "ForceLeaveRequest", f_force_leave_request);

static const struct field f_user_event[] = {
	FIELD(user_event, id, "ID", F_STR, 0),
	FIELD(user_event, name, "Name", F_STR, 0),
	FIELD(user_event, payload, "Payload", F_BYTES, FF_NULL),
	FIELD(user_event, node_filter, "NodeFilter", F_STR, 0),
	FIELD(user_event, service_filter, "ServiceFilter", F_STR, 0),
	FIELD(user_event, tag_filter, "TagFilter", F_STR, 0),
	FIELD(user_event, version, "Version", F_UINT, 0),
	FIELD(user_event, ltime, "LTime", F_UINT, 0),
};
RECORD(rec_user_event, user_event, "UserEvent", f_user_event);

static const struct field f_event_query[] = {
	FIELD(event_query, name, "Name", F_STR, E),
	FIELD(event_query, internal, "Internal", F_BOOL, E),
};
RECORD(rec_event_query, event_query, "EventQuery", f_event_query);

static const struct field f_serf_event[] = {
	FIELD(serf_event, name, "Name", F_STR, 0),
	FIELD(serf_event, payload, "Payload", F_BYTES, FF_NULL),
	FIELD(serf_event, coalesce, "Coalesce", F_BOOL, E),
};
RECORD(rec_serf_event, serf_event, "SerfEvent", f_serf_event);

static const struct field f_keyring_request[] = {
	FIELD(keyring_request, verb, "Verb", F_STR, 0),
	FIELD(keyring_request, key, "Key", F_STR, E),
	FIELD(keyring_request, relay_factor, "RelayFactor", F_INT, E),
	FIELD(keyring_request, local_only, "LocalOnly", F_BOOL, E),
};
RECORD(rec_keyring_request, keyring_request, "KeyringRequest", f_keyring_request);

static const struct field f_key_count[] = { FIELD(key_count, v, "", F_UINT, 0) };
RECORD(rec_key_count, key_count, "", f_key_count);

static const struct field f_keyring_response[] = {
	FIELD(keyring_response, wan, "WAN", F_BOOL, 0),
	FIELD(keyring_response, datacenter, "Datacenter", F_STR, 0),
	FIELD(keyring_response, segment, "Segment", F_STR, 0),
	FIELD(keyring_response, messages, "Messages", F_STRMAP, E),
	FIELD_SUB(keyring_response, keys, "Keys", F_RECMAP, 0, rec_key_count),
	FIELD_SUB(keyring_response, primary_keys, "PrimaryKeys", F_RECMAP, 0, rec_key_count),
	FIELD(keyring_response, num_nodes, "NumNodes", F_INT, 0),
	FIELD(keyring_response, num_resp, "NumResp", F_INT, FF_INTERNAL),
	FIELD(keyring_response, num_err, "NumErr", F_INT, FF_INTERNAL),
	FIELD(keyring_response, error, "Error", F_STR, FF_INTERNAL),
};
RECORD(rec_keyring_response, keyring_response, "KeyringResponse", f_keyring_response);

static const struct field f_coordinate_axis[] = { FIELD(coordinate_axis, v, "", F_DOUBLE, 0) };
RECORD(rec_coordinate_axis, coordinate_axis, "", f_coordinate_axis);

static const struct field f_coordinate[] = {
	FIELD_SUB(coordinate, vec, "Vec", F_RECORDS, 0, rec_coordinate_axis),
	FIELD(coordinate, error, "Error", F_DOUBLE, 0),
	FIELD(coordinate, adjustment, "Adjustment", F_DOUBLE, 0),
	FIELD(coordinate, height, "Height", F_DOUBLE, 0),
};
RECORD(rec_coordinate, coordinate, "Coordinate", f_coordinate);

static const struct field f_coordinate_entry[] = {
	FIELD(coordinate_entry, node, "Node", F_STR, 0),
	FIELD(coordinate_entry, segment, "Segment", F_STR, 0),
	FIELD_SUB(coordinate_entry, coord, "Coord", F_RECORD, 0, rec_coordinate),
};
RECORD(rec_coordinate_entry, coordinate_entry, "CoordinateEntry", f_coordinate_entry);
