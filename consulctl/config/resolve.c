/* resolve.c - the merged tree completed and judged: rules between keys, in Consul's words where it has them. */
#include <config.h>

#include <json-c/linkhash.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/config/build.h"
#include "consulctl/config/judge.h"
#include "lib/duration.h"

enum { NODE_NAME_DNS_MAX = 63, RAFT_MULTIPLIER_MAX = 10, UUID_LEN = 36, HOUR_MS = 3600 * 1000 };

static struct json_object *
get(const struct config *c, const char *path)
{
	return config_get(c->tree, path);
}

static const char *
text(const struct config *c, const char *path)
{
	struct json_object *v = get(c, path);

	return v != NULL ? json_object_get_string(v) : "";
}

static int64_t
number(const struct config *c, const char *path)
{
	return json_object_get_int64(get(c, path));
}

static bool
yes(const struct config *c, const char *path)
{
	return json_object_get_boolean(get(c, path));
}

static int
set(struct config *c, const char *path, struct json_object *v, struct buf *err)
{
	hcl_pos_set(v, hcl_pos(get(c, path)));
	return config_set(c->tree, path, v) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}

/* ---- what is not there yet */

static bool
is_off(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_boolean:
		return !json_object_get_boolean(v);
	case json_type_int:
		return json_object_get_int64(v) <= 0;
	case json_type_string:
		return json_object_get_string_len(v) == 0;
	case json_type_array:
		return json_object_array_length(v) == 0;
	case json_type_object:
		return json_object_object_length(v) == 0;
	default:
		return false;
	}
}

/* A protection that somebody asks for is never passed over in silence. */
static int
refuse_security(struct config *c, struct buf *err)
{
	for (size_t i = 0; i < config_nkeys; i++) {
		struct json_object *v = config_keys[i].class == KC_REFUSED ? get(c, config_keys[i].path) : NULL;

		if (v != NULL && !is_off(v) && !config_tls_for_checks(c, config_keys[i].path))
			return config_fail_at(c, v, err, "%s is not supported yet, and a security setting is never ignored: "
			    "remove it or switch it off", config_keys[i].path);
	}
	return 0;
}

/* ---- who we are */

static bool
all_in(const char *s, const char *extra)
{
	for (; *s != 0; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr(extra, *s) != NULL))
			return false;
	return true;
}

static int
lower_key(struct config *c, const char *path, struct buf *err)
{
	char *s = strdup(text(c, path));
	int rc;

	if (s == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	for (char *p = s; *p != 0; p++)
		*p = (char)ascii_lower((unsigned char)*p);
	rc = set(c, path, json_object_new_string(s), err);
	free(s);
	return rc;
}

static int
resolve_datacenter(struct config *c, struct buf *err)
{
	static const char *const keys[] = { "datacenter", "primary_datacenter" };
	int rc;

	if (*text(c, "datacenter") == 0)
		return config_fail_at(c, get(c, "datacenter"), err, "datacenter cannot be empty");
	if (*text(c, "primary_datacenter") == 0) {
		rc = set(c, "primary_datacenter", json_object_new_string(text(c, "datacenter")), err);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!all_in(text(c, keys[i]), "_-"))
			return config_fail_at(c, get(c, keys[i]), err, "%s cannot be \"%.100s\". Please use only [a-z0-9-_]",
			    keys[i], text(c, keys[i]));
		rc = lower_key(c, keys[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
resolve_node_name(struct config *c, struct buf *err)
{
	char host[256] = "";
	const char *name;
	int rc;

	if (get(c, "node_name") == NULL) {
		if (gethostname(host, sizeof(host) - 1) < 0)
			return config_fail(err, -errno, "failed to get the hostname: %s", strerror(errno));
		rc = set(c, "node_name", json_object_new_string(host), err);
		if (rc < 0)
			return rc;
	}
	name = text(c, "node_name");
	if (name[strspn(name, " \t\r\n")] == 0)
		return config_fail_at(c, get(c, "node_name"), err, "node_name cannot be empty");
	if (!all_in(name, "-"))
		config_note(c, LOG_WARN, "Node name %s will not be discoverable via DNS due to invalid characters. Valid "
		    "characters include all alpha-numerics and dashes.", json_object_to_json_string(get(c, "node_name")));
	else if (strlen(name) > NODE_NAME_DNS_MAX)
		config_note(c, LOG_WARN, "Node name \"%s\" will not be discoverable via DNS due to it being too long. Valid "
		    "lengths are between 1 and 63 bytes.", name);
	return 0;
}

static int
check_node_id(struct config *c, struct buf *err)
{
	const char *id = text(c, "node_id"), *why = NULL;

	if (*id == 0)
		return 0;
	if (strlen(id) != UUID_LEN)
		why = "uuid string is wrong length";
	for (size_t i = 0; why == NULL && id[i] != 0; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? id[i] != '-' : strchr("0123456789abcdefABCDEF", id[i]) == NULL)
			why = "uuid is improperly formatted";
	if (why != NULL)
		return config_fail_at(c, get(c, "node_id"), err, "specified NodeID is invalid: %s", why);
	return lower_key(c, "node_id", err);
}

static int
check_node_meta(struct config *c, struct buf *err)
{
	char why[CONFIG_PATH_MAX];

	if (config_meta_problem(get(c, "node_meta"), why) != NULL)
		return config_fail_at(c, get(c, "node_meta"), err, "node_meta invalid: %s", why);
	return 0;
}

/* "consul" and "consul." are one; "." alone is none. */
static int
resolve_domain(struct config *c, const char *path, struct buf *err)
{
	const char *s = text(c, path);
	size_t n = strlen(s);
	struct buf dotted = BUF_INIT(1024);
	int rc = 0;

	if (n == 0)
		return strcmp(path, "domain") == 0 ? config_fail_at(c, get(c, path), err, "domain cannot be empty") : 0;
	if (n > 253 || !all_in(s, "-_.") || s[0] == '.' || strstr(s, "..") != NULL)
		return config_fail_at(c, get(c, path), err, "%s: \"%.100s\" is no DNS domain", path, s);
	if (s[n - 1] != '.') {
		if (buf_addf(&dotted, "%s.", s) < 0 || buf_cstr(&dotted) == NULL)
			rc = config_fail(err, -ENOMEM, "out of memory");
		else
			rc = set(c, path, json_object_new_string((const char *)dotted.data), err);
	}
	buf_release(&dotted);
	return rc;
}

/* A domain that begins like what stands in names could be read two ways. */
static int
check_alt_domain(struct config *c, struct buf *err)
{
	static const char *const words[] = { "service", "connect", "virtual", "ingress", "node", "query", "addr" };
	const char *s = text(c, "alt_domain"), *dc = text(c, "datacenter");
	size_t n = strcspn(s, ".");
	bool bad = n == strlen(dc) && strncasecmp(s, dc, n) == 0;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		bad |= n == strlen(words[i]) && strncasecmp(s, words[i], n) == 0;
	return n > 0 && bad ? config_fail_at(c, get(c, "alt_domain"), err,
	    "alt_domain cannot start with {service,connect,virtual,ingress,node,query,addr,%s}", dc) : 0;
}

static int
resolve_domains(struct config *c, struct buf *err)
{
	int rc = resolve_domain(c, "domain", err);

	if (rc == 0)
		rc = resolve_domain(c, "alt_domain", err);
	return rc < 0 ? rc : check_alt_domain(c, err);
}

/* ---- storage and mode */

static int
check_data_dir(struct config *c, struct buf *err)
{
	const char *dir = text(c, "data_dir");
	struct stat st;

	if (c->dev)
		return set(c, "data_dir", json_object_new_string(""), err);
	if (*dir == 0)
		return config_fail_at(c, get(c, "data_dir"), err, "data_dir cannot be empty");
	if (stat(dir, &st) < 0)
		return errno == ENOENT ? 0 :
		    config_fail_at(c, get(c, "data_dir"), err, "Error getting info on data_dir: stat %s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return config_fail_at(c, get(c, "data_dir"), err, "data_dir \"%s\" is not a directory", dir);
	return 0;
}

static int
resolve_mode(struct config *c, struct buf *err)
{
	int64_t expect = number(c, "bootstrap_expect");
	bool server = yes(c, "server");
	struct json_object *at = get(c, "bootstrap_expect");
	int rc;

	if (expect < 0)
		return config_fail_at(c, at, err, "bootstrap_expect cannot be %lld. Must be greater than or equal to zero",
		    (long long)expect);
	if (expect > 0 && c->dev)
		return config_fail_at(c, at, err, "'bootstrap_expect > 0' not allowed in dev mode");
	if (expect > 0 && !server)
		return config_fail_at(c, at, err, "'bootstrap_expect > 0' requires 'server = true'");
	if (expect > 0 && yes(c, "bootstrap"))
		return config_fail_at(c, at, err, "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
	if (yes(c, "bootstrap") && !server)
		return config_fail_at(c, get(c, "bootstrap"), err, "'bootstrap = true' requires 'server = true'");
	if (expect == 1) {
		config_note(c, LOG_WARN, "BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
		rc = set(c, "bootstrap", json_object_new_boolean(1), err);
		if (rc == 0)
			rc = set(c, "bootstrap_expect", json_object_new_int(0), err);
		if (rc < 0)
			return rc;
	} else if (expect == 2) {
		config_note(c, LOG_WARN, "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance.");
	} else if (expect > 0 && expect % 2 == 0) {
		config_note(c, LOG_WARN, "bootstrap_expect is even number: A cluster with an even number of servers does not "
		    "achieve optimum fault tolerance.");
	}
	if (yes(c, "bootstrap"))
		config_note(c, LOG_WARN, "Bootstrap mode enabled! Do not enable unless necessary");
	return 0;
}

/* Leaving by signal: clients leave, servers stay, unless told. */
static int
resolve_leaving(struct config *c, struct buf *err)
{
	int rc = 0;

	if (get(c, "leave_on_terminate") == NULL)
		rc = set(c, "leave_on_terminate", json_object_new_boolean(!yes(c, "server")), err);
	if (rc == 0 && get(c, "skip_leave_on_interrupt") == NULL)
		rc = set(c, "skip_leave_on_interrupt", json_object_new_boolean(yes(c, "server")), err);
	return rc;
}

static int
check_log(struct config *c, struct buf *err)
{
	enum log_level level;

	if (log_level_parse(text(c, "log_level"), &level) < 0)
		return config_fail_at(c, get(c, "log_level"), err,
		    "Invalid log level: %.100s. Valid log levels are: [TRACE DEBUG INFO WARN ERR]", text(c, "log_level"));
	return 0;
}

static int
check_sockets(struct config *c, struct buf *err)
{
	const char *mode = text(c, "unix_sockets.mode");

	if (*mode != 0 && (strlen(mode) > 4 || strspn(mode, "01234567") != strlen(mode)))
		return config_fail_at(c, get(c, "unix_sockets.mode"), err, "unix_sockets.mode: \"%.20s\" is no octal mode", mode);
	return 0;
}

/* ---- numbers */

#define GOSSIP_RANGES(pool) \
	{ pool ".gossip_interval", 1, HOUR_MS }, \
	{ pool ".gossip_nodes", 1, 64 }, \
	{ pool ".probe_interval", 1, HOUR_MS }, \
	{ pool ".probe_timeout", 1, HOUR_MS }, \
	{ pool ".retransmit_mult", 1, 100 }, \
	{ pool ".suspicion_mult", 1, 100 }

static const struct {
	const char *path;
	int64_t min, max;
} ranges[] = {
	{ "check_update_interval", 0, INT64_MAX },
	{ "check_output_max_size", 1, 512 * 1024 * 1024 },
	{ "performance.raft_multiplier", 1, RAFT_MULTIPLIER_MAX },
	{ "raft_protocol", 3, 3 },
	{ "bootstrap_expect", 0, 32 },
	{ "retry_interval", 0, INT64_MAX },
	{ "retry_max", 0, INT32_MAX },
	{ "retry_interval_wan", 0, INT64_MAX },
	{ "retry_max_wan", 0, INT32_MAX },
	{ "reconnect_timeout", 0, INT64_MAX },
	{ "reconnect_timeout_wan", 0, INT64_MAX },
	{ "advertise_reconnect_timeout", 0, INT64_MAX },
	{ "performance.leave_drain_time", 0, INT64_MAX },
	GOSSIP_RANGES("gossip_lan"),
	GOSSIP_RANGES("gossip_wan"),
	{ "autopilot.last_contact_threshold", 0, INT64_MAX },
	{ "autopilot.max_trailing_logs", 0, INT64_MAX },
	{ "autopilot.min_quorum", 0, 32 },
	{ "autopilot.server_stabilization_time", 0, INT64_MAX },
	{ "raft_trailing_logs", 0, INT64_MAX },
	{ "dns_config.udp_answer_limit", 0, INT32_MAX },
	{ "dns_config.a_record_limit", 0, INT32_MAX },
	{ "dns_config.max_stale", 0, INT64_MAX },
	{ "dns_config.node_ttl", 0, INT64_MAX },
	{ "dns_config.recursor_timeout", 0, HOUR_MS },
	{ "dns_config.rate_limit", 0, INT32_MAX },
	{ "dns_config.rate_limit_slip", 0, 10 },
	{ "dns_config.workers", 0, 64 },
	{ "dns_config.soa.refresh", 0, UINT32_MAX },
	{ "dns_config.soa.retry", 0, UINT32_MAX },
	{ "dns_config.soa.expire", 0, UINT32_MAX },
	{ "dns_config.soa.min_ttl", 0, UINT32_MAX },
	{ "limits.kv_max_value_size", 1, 512 * 1024 * 1024 },
	{ "limits.txn_max_req_len", 1, 512 * 1024 * 1024 },
	{ "limits.txn_max_ops", 1, 10000 },
	{ "limits.http_max_conns_per_client", 0, INT32_MAX },
	{ "http_config.max_header_bytes", 0, INT32_MAX },
	{ "acl.token_ttl", 0, HOUR_MS },
	{ "acl.policy_ttl", 0, HOUR_MS },
	{ "acl.role_ttl", 0, HOUR_MS },
	{ "default_query_time", 0, INT64_MAX },
	{ "max_query_time", 0, INT64_MAX },
};

enum { NUMBER_TEXT_MAX = 40 };

/* As somebody would write it: durations are not told in milliseconds. */
static const char *
number_text(const char *path, int64_t v, char out[NUMBER_TEXT_MAX])
{
	char duration[DURATION_TEXT_MAX];

	if (config_key_find(str_from(path))->type == KT_DURATION && v > INT64_MIN / NS_PER_MS && v < INT64_MAX / NS_PER_MS) {
		duration_format(v * NS_PER_MS, duration);
		(void)snprintf(out, NUMBER_TEXT_MAX, "%s", duration);
	} else {
		(void)snprintf(out, NUMBER_TEXT_MAX, "%lld", (long long)v);
	}
	return out;
}

static int
check_ranges(struct config *c, struct buf *err)
{
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		const char *path = ranges[i].path;
		int64_t v = number(c, path), min = ranges[i].min, max = ranges[i].max;
		char is[NUMBER_TEXT_MAX], low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];

		if (v >= min && v <= max)
			continue;
		(void)number_text(path, v, is);
		if (v < min && min == 0)
			return config_fail_at(c, get(c, path), err, "%s cannot be %s. Must be greater than or equal to zero", path, is);
		if (min == max)
			return config_fail_at(c, get(c, path), err, "%s cannot be %s. Must be %s", path, is, number_text(path, min, low));
		return config_fail_at(c, get(c, path), err, "%s cannot be %s. Must be between %s and %s", path, is,
		    number_text(path, min, low), number_text(path, max, high));
	}
	return 0;
}

static int
check_waits(struct config *c, struct buf *err)
{
	(void)err;
	if (number(c, "default_query_time") > number(c, "max_query_time"))
		config_note(c, LOG_WARN, "default_query_time is longer than max_query_time");
	return 0;
}

/* ---- scripts */

static bool
any_script(struct json_object *checks)
{
	for (size_t i = 0; checks != NULL && i < json_object_array_length(checks); i++)
		if (judge_is_script(json_object_array_get_idx(checks, i)))
			return true;
	return false;
}

/* Only a start asks: `validate` on another machine has no say in it. */
static int
check_scripts(struct config *c, struct buf *err)
{
	static const char advice[] = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
	    "'enable_local_script_checks' to true";
	struct json_object *services = get(c, "services"), *checks = get(c, "checks");

	if (c->validating || yes(c, "enable_script_checks") || yes(c, "enable_local_script_checks"))
		return 0;
	for (size_t i = 0; i < json_object_array_length(services); i++) {
		struct json_object *s = json_object_array_get_idx(services, i);

		if (any_script(config_get(s, "Checks")))
			return config_fail_at(c, s, err, "Failed to register service \"%.100s\": %s",
			    json_object_get_string(config_get(s, "Name")), advice);
	}
	for (size_t i = 0; i < json_object_array_length(checks); i++) {
		struct json_object *k = json_object_array_get_idx(checks, i);

		if (judge_is_script(k))
			return config_fail_at(c, k, err, "Failed to register check \"%.100s\": %s",
			    json_object_get_string(config_get(k, "Name")), advice);
	}
	return 0;
}

/* ---- the end */

/* Refused keys were off: they are no part of what is resolved. */
static void
drop_refused(struct config *c)
{
	for (size_t i = 0; i < config_nkeys; i++)
		if (config_keys[i].class == KC_REFUSED)
			config_remove(c->tree, config_keys[i].path);
}

static int
add_facts(struct config *c, struct buf *err)
{
	int rc = set(c, "dev_mode", json_object_new_boolean(c->dev), err);

	if (rc == 0)
		rc = set(c, "version", json_object_new_string(CONFIG_VERSION), err);
	if (rc == 0)
		rc = set(c, "revision", json_object_new_string(PACKAGE_VERSION), err);
	/* Off, whatever was written; listeners are told so. */
	if (rc == 0)
		rc = set(c, "ports.https", json_object_new_int(-1), err);
	return rc;
}

/* Where each service was written, "FILE:LINE", in the order of the definitions: checkd tells it who asks. */
static int
note_sources(struct config *c, struct buf *err)
{
	struct json_object *defs = get(c, "services"), *list = json_object_new_array();
	size_t n = defs != NULL ? json_object_array_length(defs) : 0;
	struct buf text = BUF_INIT(2 * PATH_MAX);

	for (size_t i = 0; list != NULL && i < n; i++) {
		struct hcl_pos pos = hcl_pos(json_object_array_get_idx(defs, i));
		bool known = pos.line > 0 && pos.source > 0 && pos.source < c->nsources;
		struct json_object *v = NULL;

		buf_clear(&text);
		if (!known || buf_addf(&text, "%s:%u", c->sources[pos.source], pos.line) == 0)
			v = json_object_new_string(known ? buf_cstr(&text) : "");
		if (v == NULL || json_object_array_add(list, v) < 0) {
			json_object_put(v);
			json_object_put(list);
			list = NULL;
		}
	}
	buf_release(&text);
	return list != NULL ? set(c, "definition_sources.services", list, err) : config_fail(err, -ENOMEM, "%s", err_text(-ENOMEM));
}

int
config_resolve(struct config *c, struct buf *err)
{
	static int (*const steps[])(struct config *, struct buf *) = {
		refuse_security, check_data_dir, resolve_datacenter, resolve_node_name, check_node_id, check_node_meta,
		resolve_domains, resolve_mode, resolve_leaving, check_log, check_sockets, config_resolve_addresses, config_resolve_recursors,
		check_ranges,
		config_resolve_gossip, config_resolve_acl, config_resolve_tls, check_waits, check_scripts,
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(steps); i++)
		rc = steps[i](c, err);
	if (rc < 0)
		return rc;
	drop_refused(c);
	rc = note_sources(c, err);
	hcl_pos_clear(c->tree);
	return rc == 0 ? add_facts(c, err) : rc;
}
