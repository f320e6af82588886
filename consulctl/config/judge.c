/* judge.c - the rules of service and check definitions, in Consul's words. */
#include <arpa/inet.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/config/judge.h"
#include "lib/duration.h"

enum { META_PAIRS_MAX = 64, META_KEY_MAX = 128, META_VALUE_MAX = 512, WEIGHT_MAX = 65535 };

static const char *
text(struct json_object *def, const char *key)
{
	struct json_object *v = config_get(def, key);

	return v != NULL ? json_object_get_string(v) : "";
}

static bool
has(struct json_object *def, const char *key)
{
	return *text(def, key) != 0;
}

/* Nanoseconds; the text was checked before. */
static int64_t
duration(struct json_object *def, const char *key)
{
	int64_t ns = 0;

	if (has(def, key) && duration_parse(str_from(text(def, key)), &ns) < 0)
		return 0;
	return ns;
}

static bool
is_meta_key(const char *s)
{
	for (; *s != 0; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_' || *s == '-'))
			return false;
	return true;
}

const char *
config_meta_problem(struct json_object *map, char *out)
{
	if (json_object_object_length(map) > META_PAIRS_MAX) {
		(void)snprintf(out, CONFIG_PATH_MAX, "Node metadata cannot contain more than %d key/value pairs", META_PAIRS_MAX);
		return out;
	}
	json_object_object_foreach(map, key, v) {
		const char *why = NULL;

		if (*key == 0)
			why = "Key cannot be blank";
		else if (!is_meta_key(key))
			why = "Key contains invalid characters";
		else if (strlen(key) > META_KEY_MAX)
			why = "Key is too long (limit: 128 characters)";
		else if (strncmp(key, "consul-", 7) == 0)
			why = "Key prefix 'consul-' is reserved for internal use";
		else if (json_object_get_string_len(v) > META_VALUE_MAX)
			why = "Value is too long (limit: 512 characters)";
		if (why != NULL) {
			(void)snprintf(out, CONFIG_PATH_MAX, "Couldn't load metadata pair ('%.130s', '%.520s'): %s", key,
			    json_object_get_string(v), why);
			return out;
		}
	}
	return NULL;
}

static bool
is_any_address(const char *s)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, s, &a4) == 1)
		return a4.s_addr == 0;
	return inet_pton(AF_INET6, s, &a6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&a6);
}

static void
judge_weights(struct problems *p, const char *path, struct json_object *def)
{
	struct json_object *w = config_get(def, "Weights");
	int64_t pass, warn;

	if (w == NULL)
		return;
	pass = json_object_get_int64(config_get(w, "Passing"));
	warn = json_object_get_int64(config_get(w, "Warning"));
	if (pass < 1)
		problem(p, hcl_pos(w), "%s: Invalid Weights: Passing must be greater than 0", path);
	else if (warn < 0)
		problem(p, hcl_pos(w), "%s: Invalid Weights: Warning must be greater or equal than 0", path);
	else if (pass > WEIGHT_MAX || warn > WEIGHT_MAX)
		problem(p, hcl_pos(w), "%s: Invalid Weights: Passing Weight and Warning Weight must be between 0 and 65535", path);
}

static void
judge_tagged_addresses(struct problems *p, const char *path, struct json_object *def)
{
	static const char *const tags[] = { "lan", "lan_ipv4", "lan_ipv6", "wan", "wan_ipv4", "wan_ipv6", "virtual" };
	struct json_object *map = config_get(def, "TaggedAddresses");

	if (map == NULL)
		return;
	json_object_object_foreach(map, key, v) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(tags); i++)
			known = known || strcmp(key, tags[i]) == 0;
		if (!known)
			problem(p, hcl_pos(v), "%s: Invalid Tagged Address tag: %.100s", path, key);
		else if (is_any_address(text(v, "Address")))
			problem(p, hcl_pos(v), "%s: Invalid tagged address '%s'", path, key);
	}
}

void
judge_service(struct problems *p, const char *path, struct json_object *def)
{
	static const char *const kinds[] = {
		"", "connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway",
	};
	struct json_object *meta = config_get(def, "Meta"), *port = config_get(def, "Port");
	int64_t number = port != NULL ? json_object_get_int64(port) : 0;
	bool known = false;
	char why[CONFIG_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		known = known || strcmp(text(def, "Kind"), kinds[i]) == 0;
	if (!known)
		problem(p, hcl_pos(def), "%s: Invalid service kind: %.100s", path, text(def, "Kind"));
	if (!has(def, "Name"))
		problem(p, hcl_pos(def), "%s: Missing service name", path);
	if (is_any_address(text(def, "Address")))
		problem(p, hcl_pos(def), "%s: Invalid service address", path);
	if (number < 0 || number > 65535)
		problem(p, hcl_pos(port), "%s: Invalid service port %lld", path, (long long)number);
	if (has(def, "SocketPath") && (has(def, "Address") || number != 0))
		problem(p, hcl_pos(def), "%s: a service with a socket path has no address or port", path);
	if (meta != NULL && config_meta_problem(meta, why) != NULL)
		problem(p, hcl_pos(meta), "%s: Invalid Service Meta: %s", path, why);
	judge_weights(p, path, def);
	judge_tagged_addresses(p, path, def);
	if (config_get(def, "Connect") != NULL || config_get(def, "Proxy") != NULL)
		config_note(p->c, LOG_INFO, "config key has no effect here: key=%s.%s file=%s", path,
		    config_get(def, "Connect") != NULL ? "connect" : "proxy", p->c->sources[p->source]);
}

bool
judge_is_script(struct json_object *check)
{
	struct json_object *args = config_get(check, "Args");

	return args != NULL && json_object_array_length(args) > 0 && !has(check, "DockerContainerID");
}

static bool
has_args(struct json_object *check)
{
	struct json_object *args = config_get(check, "Args");

	return args != NULL && json_object_array_length(args) > 0;
}

/* NULL, or which rule of Consul's is broken. */
static const char *
check_problem(struct json_object *def)
{
	bool alias = has(def, "AliasNode") || has(def, "AliasService");
	bool timed = has_args(def) || has(def, "HTTP") || has(def, "TCP") || has(def, "GRPC") || has(def, "H2PING") ||
	    has(def, "UDP") || has(def, "OSService") || has(def, "DockerContainerID");
	int64_t interval = duration(def, "Interval"), ttl = duration(def, "TTL");
	struct json_object *size = config_get(def, "OutputMaxSize");
	struct json_object *warning = config_get(def, "FailuresBeforeWarning"), *critical = config_get(def, "FailuresBeforeCritical");

	if (interval > 0 && ttl > 0)
		return "Interval and TTL cannot both be specified";
	if (timed && interval <= 0)	/* each release of Consul names the types that it has */
		return has(def, "UDP") || has(def, "OSService") ?
		    "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks" :
		    "Interval must be > 0 for Script, HTTP, H2PING, or TCP checks";
	if (alias && timed)	/* an interval alone does no harm */
		return "Interval cannot be set for Alias checks";
	if (alias && ttl > 0)
		return "TTL must be not be set for Alias checks";
	if (!timed && !alias && ttl <= 0)
		return "TTL must be > 0 for TTL checks";
	if (size != NULL && json_object_get_int64(size) < 0)
		return "MaxOutputMaxSize must be positive";
	if (has(def, "DockerContainerID") && !has_args(def))
		return "a Docker check needs \"args\", the command that it runs in the container";
	if (json_object_get_int64(critical) >= 0 && json_object_get_int64(warning) > json_object_get_int64(critical))
		return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical";
	return NULL;
}

void
judge_check(struct problems *p, const char *path, struct json_object *def, bool top)
{
	static const char *const counts[] = { "SuccessBeforePassing", "FailuresBeforeWarning", "FailuresBeforeCritical" };
	const char *status = text(def, "Status"), *why = check_problem(def);

	if (top && !has(def, "Name"))
		problem(p, hcl_pos(def), "%s: Missing check name", path);
	if (why != NULL)
		problem(p, hcl_pos(def), "%s: Invalid check: %s", path, why);
	if (*status != 0 && strcmp(status, "passing") != 0 && strcmp(status, "warning") != 0 && strcmp(status, "critical") != 0)
		problem(p, hcl_pos(config_get(def, "Status")),
		    "%s: Status for checks must 'passing', 'warning', 'critical'", path);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct json_object *n = config_get(def, counts[i]);

		if (n != NULL && json_object_get_int64(n) < 0)
			problem(p, hcl_pos(n), "%s: Invalid check: %s must not be negative", path, counts[i]);
	}
}
