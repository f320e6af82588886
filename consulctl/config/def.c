/*
 * def.c - service and check definitions: from the files' names to
 * Consul's CamelCase, member by member. What they mean together is judged in
 * config_judge.c.
 */
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/config/build.h"
#include "consulctl/config/def.h"
#include "consulctl/config/judge.h"
#include "lib/duration.h"

static const struct def_key weights_keys[] = {
	{ "passing", "Passing", DT_INT, NULL },
	{ "warning", "Warning", DT_INT, NULL },
};
static const struct def_table def_weights = { weights_keys, ARRAY_LEN(weights_keys) };

static const struct def_key address_keys[] = {
	{ "address", "Address", DT_STR, NULL },
	{ "port", "Port", DT_PORT, NULL },
};
static const struct def_table def_address = { address_keys, ARRAY_LEN(address_keys) };

static const struct def_key service_keys[] = {
	{ "kind", "Kind", DT_STR, NULL },
	{ "id", "ID", DT_STR, NULL },
	{ "name", "Name", DT_STR, NULL },
	{ "tags", "Tags", DT_STRS, NULL },
	{ "address", "Address", DT_STR, NULL },
	{ "tagged_addresses", "TaggedAddresses", DT_ADDRMAP, &def_address },
	{ "meta", "Meta", DT_STRMAP, NULL },
	{ "port", "Port", DT_PORT, NULL },
	{ "socket_path", "SocketPath", DT_STR, NULL },
	{ "weights", "Weights", DT_OBJECT, &def_weights },
	{ "enable_tag_override", "EnableTagOverride", DT_BOOL, NULL },
	{ "token", "Token", DT_STR, NULL },
	{ "check", "Checks", DT_CHECK, NULL },
	{ "checks", "Checks", DT_CHECKS, NULL },
	{ "proxy", "Proxy", DT_ANY, NULL },
	{ "connect", "Connect", DT_ANY, NULL },
};
const struct def_table def_service = { service_keys, ARRAY_LEN(service_keys) };

static const struct def_key check_keys[] = {
	{ "id", "CheckID", DT_STR, NULL },
	{ "check_id", "CheckID", DT_STR, NULL },
	{ "name", "Name", DT_STR, NULL },
	{ "notes", "Notes", DT_STR, NULL },
	{ "service_id", "ServiceID", DT_STR, NULL },
	{ "status", "Status", DT_STR, NULL },
	{ "token", "Token", DT_STR, NULL },
	{ "args", "Args", DT_STRS, NULL },
	{ "script_args", "Args", DT_STRS, NULL },
	{ "script", "Script", DT_SCRIPT, NULL },
	{ "interval", "Interval", DT_DURATION, NULL },
	{ "timeout", "Timeout", DT_DURATION, NULL },
	{ "ttl", "TTL", DT_DURATION, NULL },
	{ "http", "HTTP", DT_STR, NULL },
	{ "method", "Method", DT_STR, NULL },
	{ "header", "Header", DT_HEADER, NULL },
	{ "body", "Body", DT_STR, NULL },
	{ "disable_redirects", "DisableRedirects", DT_BOOL, NULL },
	{ "tls_skip_verify", "TLSSkipVerify", DT_BOOL, NULL },
	{ "tls_server_name", "TLSServerName", DT_STR, NULL },
	{ "output_max_size", "OutputMaxSize", DT_INT, NULL },
	{ "tcp", "TCP", DT_STR, NULL },
	{ "tcp_use_tls", "TCPUseTLS", DT_BOOL, NULL },
	{ "udp", "UDP", DT_STR, NULL },
	{ "grpc", "GRPC", DT_STR, NULL },
	{ "grpc_use_tls", "GRPCUseTLS", DT_BOOL, NULL },
	{ "h2ping", "H2PING", DT_STR, NULL },
	{ "h2ping_use_tls", "H2PingUseTLS", DT_BOOL, NULL },
	{ "docker_container_id", "DockerContainerID", DT_STR, NULL },
	{ "shell", "Shell", DT_STR, NULL },
	{ "os_service", "OSService", DT_STR, NULL },
	{ "alias_node", "AliasNode", DT_STR, NULL },
	{ "alias_service", "AliasService", DT_STR, NULL },
	{ "success_before_passing", "SuccessBeforePassing", DT_INT, NULL },
	{ "failures_before_warning", "FailuresBeforeWarning", DT_INT, NULL },
	{ "failures_before_critical", "FailuresBeforeCritical", DT_INT, NULL },
	{ "deregister_critical_service_after", "DeregisterCriticalServiceAfter", DT_DURATION, NULL },
};
const struct def_table def_check = { check_keys, ARRAY_LEN(check_keys) };

/* "tls_skip_verify" in a file may be that or TLSSkipVerify; nothing between them. */
static bool
same_name(const char *file_name, const char *key)
{
	struct str k = str_from(key);

	if (str_eq_nocase(k, str_from(file_name)))
		return true;
	for (; *file_name != 0; file_name++) {
		if (*file_name == '_')
			continue;
		if (k.len == 0 || ascii_lower((unsigned char)k.p[0]) != (unsigned char)*file_name)
			return false;
		k.p++;
		k.len--;
	}
	return k.len == 0;
}

static const struct def_key *
find(const struct def_table *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++)
		if (same_name(t->keys[i].name, key))
			return &t->keys[i];
	return NULL;
}

static struct json_object *read_def(struct problems *p, const struct def_table *t, const char *path, struct json_object *raw);

/* Put made under key, which must have come; told already when it has not. */
static void
put(struct problems *p, struct json_object *obj, const char *key, struct json_object *made, struct json_object *raw)
{
	if (made == NULL)
		return;
	if (json_object_object_add(obj, key, config_at(made, raw)) < 0) {
		json_object_put(made);
		problem(p, hcl_pos(raw), "%s: out of memory", key);
	}
}

static struct json_object *
read_map(struct problems *p, const struct def_key *k, const char *path, struct json_object *raw)
{
	struct json_object *from = config_single(raw), *map;

	if (from == NULL) {
		problem(p, hcl_pos(raw), "%s: expected an object", path);
		return NULL;
	}
	map = json_object_new_object();
	if (map == NULL)
		return NULL;
	json_object_object_foreach(from, key, v) {
		char sub[CONFIG_PATH_MAX];

		if (v == NULL)
			continue;
		(void)snprintf(sub, sizeof(sub), "%.700s.%.200s", path, key);
		put(p, map, key, k->type == DT_HEADER ? config_value(p, KT_STRS, sub, v) : read_def(p, k->sub, sub, v), v);
	}
	return map;
}

static struct json_object *
read_duration(struct problems *p, const char *path, struct json_object *raw)
{
	struct json_object *v = config_value(p, KT_DURATION, path, raw);

	if (v == NULL)
		return NULL;
	json_object_put(v);
	return config_value(p, KT_STR, path, raw);
}

static struct json_object *
read_checks(struct problems *p, const char *path, struct json_object *raw, bool list)
{
	struct json_object *out = json_object_new_array(), *def;
	bool many = list && json_object_is_type(raw, json_type_array);
	size_t n = many ? json_object_array_length(raw) : 1;

	for (size_t i = 0; out != NULL && i < n; i++) {
		char sub[CONFIG_PATH_MAX];

		if (many)
			(void)snprintf(sub, sizeof(sub), "%.900s[%zu]", path, i);
		else
			(void)snprintf(sub, sizeof(sub), "%.900s", path);
		def = config_check_def(p, sub, many ? json_object_array_get_idx(raw, i) : raw, false);
		if (def != NULL && json_object_array_add(out, def) < 0)
			json_object_put(def);
	}
	return out;
}

static struct json_object *
read_member(struct problems *p, const struct def_key *k, const char *path, struct json_object *raw)
{
	static const enum key_type plain[] = {
		[DT_STR] = KT_STR, [DT_BOOL] = KT_BOOL, [DT_INT] = KT_INT, [DT_PORT] = KT_INT, [DT_STRS] = KT_STRS,
		[DT_STRMAP] = KT_STRMAP, [DT_ANY] = KT_ANY,
	};

	switch (k->type) {
	case DT_SCRIPT:
		problem(p, hcl_pos(raw), "%s: shell scripts as one string are gone: give the command as a list in 'args'", path);
		return NULL;
	case DT_DURATION:
		return read_duration(p, path, raw);
	case DT_HEADER:
	case DT_ADDRMAP:
		return read_map(p, k, path, raw);
	case DT_OBJECT:
		return read_def(p, k->sub, path, raw);
	case DT_CHECK:
	case DT_CHECKS:
		return read_checks(p, path, raw, k->type == DT_CHECKS);
	case DT_STR:
	case DT_BOOL:
	case DT_INT:
	case DT_PORT:
	case DT_STRS:
	case DT_STRMAP:
	case DT_ANY:
		break;
	}
	return config_value(p, plain[k->type], path, raw);
}

/* check and checks are kept as one list. */
static void
add_checks(struct problems *p, struct json_object *def, const char *wire, struct json_object *made, struct json_object *raw)
{
	struct json_object *old = NULL;

	if (made == NULL || !json_object_object_get_ex(def, wire, &old)) {
		put(p, def, wire, made, raw);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(made); i++) {
		struct json_object *v = json_object_get(json_object_array_get_idx(made, i));

		if (json_object_array_add(old, v) < 0)
			json_object_put(v);
	}
	json_object_put(made);
}

static struct json_object *
read_def(struct problems *p, const struct def_table *t, const char *path, struct json_object *raw)
{
	struct json_object *from = config_single(raw), *def;

	if (from == NULL) {
		problem(p, hcl_pos(raw), "%s: expected an object", path);
		return NULL;
	}
	def = json_object_new_object();
	if (def == NULL)
		return NULL;
	json_object_object_foreach(from, key, v) {
		const struct def_key *k = find(t, key);
		char sub[CONFIG_PATH_MAX];

		(void)snprintf(sub, sizeof(sub), "%.700s.%.200s", path, key);
		if (k == NULL)
			problem(p, hcl_pos(v != NULL ? v : raw), "invalid config key %s", sub);
		else if (v != NULL && (k->type == DT_CHECK || k->type == DT_CHECKS))
			add_checks(p, def, k->wire, read_member(p, k, sub, v), v);
		else if (v != NULL)
			put(p, def, k->wire, read_member(p, k, sub, v), v);
	}
	return config_at(def, raw);
}

/* Both weights are there when one is. */
static void
fill_weights(struct problems *p, struct json_object *def)
{
	struct json_object *w = config_get(def, "Weights");

	for (size_t i = 0; w != NULL && i < ARRAY_LEN(weights_keys); i++)
		if (config_get(w, weights_keys[i].wire) == NULL)
			put(p, w, weights_keys[i].wire, json_object_new_int64(1), w);
}

struct json_object *
config_service_def(struct problems *p, const char *path, struct json_object *raw)
{
	unsigned before = p->n;
	struct json_object *def = read_def(p, &def_service, path, raw);

	if (def != NULL && p->n == before) {
		fill_weights(p, def);
		judge_service(p, path, def);
	}
	return def;
}

struct json_object *
config_check_def(struct problems *p, const char *path, struct json_object *raw, bool top)
{
	unsigned before = p->n;
	struct json_object *def = read_def(p, &def_check, path, raw);

	if (def != NULL && p->n == before)
		judge_check(p, path, def, top);
	return def;
}
