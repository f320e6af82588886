/* snap_meta.c - meta.json of a snapshot, and the names of its records. */
#include <stdio.h>

#include "lib/json.h"
#include "lib/record.h"
#include "lib/snap_internal.h"

int
snap_fail(int rc, char err[SNAP_ERROR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, SNAP_ERROR_MAX, fmt, ap);
	va_end(ap);
	/* Names from the archive stand in it. */
	for (char *p = err; *p != 0; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return rc;
}

/* ---- kinds */

static const struct {
	const char *name;
	bool known;	/* stands in snapshots */
} kinds[SNAP_KINDS] = {
	[0] = { "Register", true }, [1] = { "Deregister", false }, [2] = { "KVS", true }, [3] = { "Session", true },
	[4] = { "ACL", true }, [5] = { "Tombstone", true }, [6] = { "CoordinateBatchUpdate", true },
	[7] = { "PreparedQuery", true }, [8] = { "Txn", false }, [9] = { "Autopilot", true }, [10] = { "Area", true },
	[11] = { "ACLBootstrap", true }, [12] = { "Intention", true }, [13] = { "ConnectCA", true },
	[14] = { "ConnectCAProviderState", true }, [15] = { "ConnectCAConfig", true }, [16] = { "Index", true },
	[17] = { "ACLToken", true }, [18] = { "ACLTokenDelete", false }, [19] = { "ACLPolicy", true },
	[20] = { "ACLPolicyDelete", false }, [21] = { "ConnectCALeaf", false }, [22] = { "ConfigEntry", true },
	[23] = { "ACLRole", true }, [24] = { "ACLRoleDelete", false }, [25] = { "ACLBindingRule", true },
	[26] = { "ACLBindingRuleDelete", false }, [27] = { "ACLAuthMethod", true }, [28] = { "ACLAuthMethodDelete", false },
	[29] = { "ChunkingState", true }, [30] = { "FederationState", true }, [31] = { "SystemMetadata", true },
};

const char *
snap_kind_name(unsigned kind)
{
	return kind < SNAP_KINDS ? kinds[kind].name : "Unknown";
}

bool
snap_kind_known(unsigned kind)
{
	return kind < SNAP_KINDS && kinds[kind].known;
}

/* ---- reading */

struct server {
	int64_t suffrage;	/* 0: voter */
	struct str id, address;
};

struct configuration {
	struct records servers;
};

struct meta {
	uint64_t version, index, term, configuration_index, size;
	struct str id;
	struct configuration configuration;
};

static const struct field f_server[] = {
	FIELD(server, suffrage, "Suffrage", F_INT, 0),
	FIELD(server, id, "ID", F_STR, 0),
	FIELD(server, address, "Address", F_STR, 0),
};
static RECORD(rec_server, server, "Server", f_server);

static const struct field f_configuration[] = {
	FIELD_SUB(configuration, servers, "Servers", F_RECORDS, FF_NULL, rec_server),
};
static RECORD(rec_configuration, configuration, "Configuration", f_configuration);

static const struct field f_meta[] = {
	FIELD(meta, version, "Version", F_UINT, 0),
	FIELD(meta, id, "ID", F_STR, 0),
	FIELD(meta, index, "Index", F_UINT, 0),
	FIELD(meta, term, "Term", F_UINT, 0),
	FIELD_SUB(meta, configuration, "Configuration", F_RECORD, 0, rec_configuration),
	FIELD(meta, configuration_index, "ConfigurationIndex", F_UINT, 0),
	FIELD(meta, size, "Size", F_UINT, 0),
};
static RECORD(rec_meta, meta, "SnapshotMeta", f_meta);

static void
copy_text(char *out, size_t size, struct str s)
{
	(void)snprintf(out, size, "%.*s", STR_ARG(s));
}

static void
take(const struct meta *in, struct snap_meta *ret)
{
	const struct server *servers = in->configuration.servers.v;
	size_t n = in->configuration.servers.n;

	*ret = (struct snap_meta){
		.version = in->version, .index = in->index, .term = in->term, .configuration_index = in->configuration_index,
		.size = in->size, .nservers = n < SNAP_SERVERS_MAX ? n : SNAP_SERVERS_MAX,
	};
	copy_text(ret->id, sizeof(ret->id), in->id);
	for (size_t i = 0; i < ret->nservers; i++) {
		copy_text(ret->servers[i].id, sizeof(ret->servers[i].id), servers[i].id);
		copy_text(ret->servers[i].address, sizeof(ret->servers[i].address), servers[i].address);
		ret->servers[i].voter = servers[i].suffrage == 0;
	}
}

int
snap_meta_parse(struct str text, struct snap_meta *ret, char err[SNAP_ERROR_MAX])
{
	struct arena arena = ARENA_INIT(16 * SNAP_META_MAX);
	struct meta in = { 0 };
	struct json_object *j;
	char why[512] = "it is not an object";
	bool null = false;
	int rc = -EINVAL;

	j = json_parse(text.p, text.len, &null, why, sizeof(why));
	if (j != NULL)
		rc = record_from_json(&rec_meta, j, &in, &arena, false, why, sizeof(why));
	if (rc == 0)
		take(&in, ret);
	else
		rc = snap_fail(-EINVAL, err, "failed to read snapshot file: failed to decode snapshot metadata: %s", why);
	json_object_put(j);
	arena_release(&arena);
	return rc;
}

/* ---- writing */

/* Deprecated, but every snapshot has it: the addresses in msgpack as Consul writes it (strings as raw). */
static int
format_peers(const struct snap_meta *m, struct buf *out)
{
	struct buf raw = BUF_INIT(64 * KiB);
	struct mp_w w = mp_w_init(&raw);
	int rc;

	mp_w_array(&w, (uint32_t)m->nservers);
	rc = w.err;
	for (size_t i = 0; i < m->nservers && rc == 0; i++) {
		size_t n = strlen(m->servers[i].address);
		const uint8_t head[3] = { 0xda, (uint8_t)(n >> 8), (uint8_t)n };

		rc = n < 32 ? buf_addc(&raw, (uint8_t)(0xa0 | n)) : buf_add(&raw, head, sizeof(head));
		if (rc == 0)
			rc = buf_add(&raw, m->servers[i].address, n);
	}
	if (rc == 0)
		rc = json_add_base64(out, (struct str){ (const char *)raw.data, raw.len });
	buf_release(&raw);
	return rc;
}

static int
format_servers(const struct snap_meta *m, struct buf *out)
{
	int rc = 0;

	for (size_t i = 0; i < m->nservers && rc == 0; i++) {
		rc = buf_addf(out, "%s{\"Suffrage\":%d,\"ID\":", i > 0 ? "," : "", m->servers[i].voter ? 0 : 1);
		if (rc == 0)
			rc = json_add_string(out, str_from(m->servers[i].id));
		if (rc == 0)
			rc = buf_adds(out, ",\"Address\":");
		if (rc == 0)
			rc = json_add_string(out, str_from(m->servers[i].address));
		if (rc == 0)
			rc = buf_adds(out, "}");
	}
	return rc;
}

int
snap_meta_format(const struct snap_meta *m, struct buf *out)
{
	int rc = buf_adds(out, "{\"Version\":1,\"ID\":");

	if (rc == 0)
		rc = json_add_string(out, str_from(m->id));
	if (rc == 0)
		rc = buf_addf(out, ",\"Index\":%llu,\"Term\":%llu,\"Peers\":\"", (unsigned long long)m->index, (unsigned long long)m->term);
	if (rc == 0)
		rc = format_peers(m, out);
	if (rc == 0)
		rc = buf_adds(out, "\",\"Configuration\":{\"Servers\":[");
	if (rc == 0)
		rc = format_servers(m, out);
	if (rc == 0)
		rc = buf_addf(out, "]},\"ConfigurationIndex\":%llu,\"Size\":%llu}\n", (unsigned long long)m->configuration_index,
		    (unsigned long long)m->size);
	return rc;
}
