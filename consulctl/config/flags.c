/* flags.c - the flags of `consulctl agent`: one table, each flag another name of a key. */
#include <json-c/json_tokener.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "consulctl/config/args.h"
#include "lib/hcl_text.h"

const struct config_flag config_flags[] = {
	{ "advertise", "advertise_addr", "ADDR", "address that other nodes use" },
	{ "advertise-wan", "advertise_addr_wan", "ADDR", "the same for other datacenters" },
	{ "allow-write-http-from", "http_config.allow_write_http_from", "CIDR", "only these networks may write (repeatable)" },
	{ "alt-domain", "alt_domain", "NAME", "second DNS domain" },
	{ "auto-reload-config", "auto_reload_config", NULL, "accepted, without effect" },
	{ "bind", "bind_addr", "ADDR", "address for the cluster's traffic" },
	{ "bootstrap", "bootstrap", NULL, "let this server elect itself" },
	{ "bootstrap-expect", "bootstrap_expect", "N", "begin when N servers are there" },
	{ "check_output_max_size", "check_output_max_size", "BYTES", "most output kept of a check" },
	{ "client", "client_addr", "ADDRS", "addresses for HTTP and DNS" },
	{ "config-dir", NULL, "DIR", "read each .hcl and .json file of the directory (repeatable)" },
	{ "config-file", NULL, "FILE", "read the file (repeatable)" },
	{ "config-format", NULL, "FORMAT", "hcl or json, whatever the files are called" },
	{ "data-dir", "data_dir", "DIR", "where the state is kept" },
	{ "datacenter", "datacenter", "NAME", "name of the datacenter" },
	{ "default-query-time", "default_query_time", "DURATION", "how long a blocking query waits" },
	{ "dev", NULL, NULL, "one server in memory, for trying things out" },
	{ "disable-host-node-id", "disable_host_node_id", NULL, "accepted: node ids are random" },
	{ "disable-keyring-file", "disable_keyring_file", NULL, "keep the keys of the gossip in memory alone" },
	{ "dns-port", "ports.dns", "PORT", "port for DNS" },
	{ "domain", "domain", "NAME", "DNS domain" },
	{ "enable-local-script-checks", "enable_local_script_checks", NULL, "allow script checks from files" },
	{ "enable-script-checks", "enable_script_checks", NULL, "allow script checks from files and over HTTP" },
	{ "encrypt", "encrypt", "KEY", "key that encrypts the gossip, in base64" },
	{ "grpc-port", "ports.grpc", "PORT", "accepted, without effect" },
	{ "hcl", NULL, "HCL", "a piece of configuration (repeatable)" },
	{ "http-port", "ports.http", "PORT", "port for HTTP" },
	{ "https-port", "ports.https", "PORT", "port for HTTPS: not supported yet" },
	{ "join", "start_join", "ADDR", "join the cluster of this node at start (repeatable)" },
	{ "join-wan", "start_join_wan", "ADDR", "join the datacenter of this server at start (repeatable)" },
	{ "log-file", "log_file", "FILE", "write the log to a file too" },
	{ "log-json", "log_json", NULL, "log lines as JSON" },
	{ "log-level", "log_level", "LEVEL", "trace, debug, info, warn or err" },
	{ "log-rotate-bytes", "log_rotate_bytes", "BYTES", "new log file after so many bytes" },
	{ "log-rotate-duration", "log_rotate_duration", "DURATION", "new log file after so long" },
	{ "log-rotate-max-files", "log_rotate_max_files", "N", "old log files kept" },
	{ "max-query-time", "max_query_time", "DURATION", "longest wait of a blocking query" },
	{ "node", "node_name", "NAME", "name of the node" },
	{ "node-id", "node_id", "UUID", "id of the node" },
	{ "node-meta", "node_meta", "KEY:VALUE", "metadata of the node (repeatable)" },
	{ "non-voting-server", "non_voting_server", NULL, "accepted, without effect" },
	{ "pid-file", "pid_file", "FILE", "write the process id there" },
	{ "primary-gateway", "primary_gateways", "ADDR", "accepted, without effect (repeatable)" },
	{ "protocol", "protocol", "N", "accepted, without effect" },
	{ "raft-protocol", "raft_protocol", "N", "version of Raft's protocol: 3" },
	{ "read-replica", "read_replica", NULL, "accepted, without effect" },
	{ "recursor", "recursors", "ADDR", "DNS server for other domains (repeatable)" },
	{ "rejoin", "rejoin_after_leave", NULL, "join again after a leave" },
	{ "retry-interval", "retry_interval", "DURATION", "wait between tries to join" },
	{ "retry-interval-wan", "retry_interval_wan", "DURATION", "the same for other datacenters" },
	{ "retry-join", "retry_join", "ADDR", "the same, tried until it works (repeatable)" },
	{ "retry-join-wan", "retry_join_wan", "ADDR", "the same for other datacenters (repeatable)" },
	{ "retry-max", "retry_max", "N", "tries to join; 0: for ever" },
	{ "retry-max-wan", "retry_max_wan", "N", "the same for other datacenters" },
	{ "segment", "segment", "NAME", "accepted, without effect" },
	{ "serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", "CIDR", "take members of these networks alone (repeatable)" },
	{ "serf-lan-bind", "serf_lan", "ADDR", "address for gossip in the datacenter" },
	{ "serf-lan-port", "ports.serf_lan", "PORT", "port for gossip in the datacenter" },
	{ "serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", "CIDR", "the same for other datacenters (repeatable)" },
	{ "serf-wan-bind", "serf_wan", "ADDR", "address for gossip between datacenters" },
	{ "serf-wan-port", "ports.serf_wan", "PORT", "port for gossip between datacenters" },
	{ "server", "server", NULL, "be a server" },
	{ "server-port", "ports.server", "PORT", "port for the servers' calls" },
	{ "syslog", "enable_syslog", NULL, "log to syslog too" },
	{ "ui", "ui_config.enabled", NULL, "accepted, without effect" },
	{ "ui-content-path", "ui_config.content_path", "PATH", "accepted, without effect" },
	{ "ui-dir", "ui_config.dir", "DIR", "accepted, without effect" },
};

const size_t config_nflags = ARRAY_LEN(config_flags);

/* As Go reads booleans. */
static struct json_object *
raw_bool(const char *text)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (strcmp(text, yes[i]) == 0)
			return json_object_new_boolean(1);
		if (strcmp(text, no[i]) == 0)
			return json_object_new_boolean(0);
	}
	return NULL;
}

struct json_object *
config_raw_from_text(enum key_type type, const char *text)
{
	struct json_object *v = NULL;

	switch (type) {
	case KT_BOOL:
		return raw_bool(text);
	case KT_INT:
	case KT_PORT:
	case KT_FLOAT:
		return hcl_number(str_from(text), &v) == 0 ? v : NULL;
	case KT_STR:
	case KT_ADDR:
	case KT_ADDRS:
	case KT_DURATION:
		return json_object_new_string(text);
	case KT_STRS:
	case KT_STRMAP:
	case KT_DURMAP:
	case KT_SERVICE:
	case KT_SERVICES:
	case KT_CHECK:
	case KT_CHECKS:
	case KT_WATCHES:
	case KT_OBJECTS:
	case KT_ANY:
		break;
	}
	return json_tokener_parse(text);
}

static int
add_pair(struct json_object *tree, const char *path, const char *text)
{
	const char *colon = strchr(text, ':');
	struct json_object *map = config_get(tree, path), *v;
	char *key;
	int rc;

	if (map == NULL) {
		map = json_object_new_object();
		rc = config_set(tree, path, map);
		if (rc < 0)
			return rc;
	}
	key = strndup(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
	v = json_object_new_string(colon != NULL ? colon + 1 : "");
	if (key == NULL || v == NULL || json_object_object_add(map, key, v) < 0) {
		json_object_put(v);
		free(key);
		return -ENOMEM;
	}
	free(key);
	return 0;
}

static int
add_element(struct json_object *tree, const char *path, const char *text)
{
	struct json_object *list = config_get(tree, path), *v;
	int rc;

	if (list == NULL) {
		list = json_object_new_array();
		rc = config_set(tree, path, list);
		if (rc < 0)
			return rc;
	}
	v = json_object_new_string(text);
	if (v == NULL || json_object_array_add(list, v) < 0) {
		json_object_put(v);
		return -ENOMEM;
	}
	return 0;
}

static int
set_key(struct config_args *a, const struct config_flag *f, const char *text, struct buf *err)
{
	enum key_type type = config_key_find(str_from(f->path))->type;
	struct json_object *v;

	if (type == KT_STRS)
		return add_element(a->lists, f->path, text) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
	if (type == KT_STRMAP)
		return add_pair(a->scalars, f->path, text) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
	v = config_raw_from_text(type, text);
	if (v == NULL && type == KT_BOOL)
		return config_fail(err, -EINVAL, "invalid boolean value \"%.100s\" for -%s: parse error", text, f->name);
	if (v == NULL)
		return config_fail(err, -EINVAL, "invalid value \"%.100s\" for flag -%s: parse error", text, f->name);
	return config_set(a->scalars, f->path, v) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}

/* The flags that name sources. */
static int
set_source(struct config_args *a, const struct config_flag *f, const char *text, struct buf *err)
{
	struct json_object *v;

	if (strcmp(f->name, "dev") == 0) {
		v = raw_bool(text);
		if (v == NULL)
			return config_fail(err, -EINVAL, "invalid boolean value \"%.100s\" for -dev: parse error", text);
		a->dev = json_object_get_boolean(v);
		json_object_put(v);
	} else if (strcmp(f->name, "config-format") == 0) {
		if (strcmp(text, "hcl") != 0 && strcmp(text, "json") != 0)
			return config_fail(err, -EINVAL, "-config-format must be either 'hcl' or 'json'");
		a->format = text;
	} else if (strcmp(f->name, "hcl") == 0) {
		a->fragments[a->nfragments++] = text;
	} else {
		a->paths[a->npaths++] = text;
	}
	return 0;
}

static const struct config_flag *
find_flag(struct str name)
{
	for (size_t i = 0; i < config_nflags; i++)
		if (str_eqs(name, config_flags[i].name))
			return &config_flags[i];
	return NULL;
}

/* One flag at argv[*i] and its value; *i moves behind them. 1: help is asked for. */
static int
take_flag(struct config_args *a, int argc, char **argv, int *i, struct buf *err)
{
	const char *arg = argv[(*i)++] + 1, *value;
	const struct config_flag *f;
	struct str name;

	if (*arg == '-')
		arg++;
	name = (struct str){ arg, strcspn(arg, "=") };
	value = arg[name.len] == '=' ? arg + name.len + 1 : NULL;
	if (str_eqs(name, "h") || str_eqs(name, "help"))
		return 1;
	f = find_flag(name);
	if (f == NULL)
		return config_fail(err, -EINVAL, "flag provided but not defined: -%.*s", name.len < 100 ? (int)name.len : 100, name.p);
	if (value == NULL && f->value == NULL)
		value = "true";
	if (value == NULL && *i < argc)
		value = argv[(*i)++];
	if (value == NULL)
		return config_fail(err, -EINVAL, "flag needs an argument: -%s", f->name);
	return f->path != NULL ? set_key(a, f, value, err) : set_source(a, f, value, err);
}

static int
parse_all(struct config_args *a, int argc, char **argv, struct buf *err)
{
	int i = 1, rc = 0;

	while (rc == 0 && i < argc && argv[i][0] == '-' && argv[i][1] != 0) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		rc = take_flag(a, argc, argv, &i, err);
	}
	if (rc == 0 && i < argc)
		rc = config_fail(err, -EINVAL, "Unexpected extra arguments: [%.100s%s]", argv[i], i + 1 < argc ? " ..." : "");
	return rc;
}

int
config_args_parse(int argc, char **argv, struct config_args **ret, struct buf *err)
{
	struct config_args *a;
	int rc;

	if (argc > CONFIG_ARGS_MAX)
		return config_fail(err, -ELIMIT, "more than %d arguments", CONFIG_ARGS_MAX);
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	a->lists = json_object_new_object();
	a->scalars = json_object_new_object();
	a->paths = calloc((size_t)argc + 1, sizeof(*a->paths));
	a->fragments = calloc((size_t)argc + 1, sizeof(*a->fragments));
	if (a->lists == NULL || a->scalars == NULL || a->paths == NULL || a->fragments == NULL)
		rc = config_fail(err, -ENOMEM, "out of memory");
	else
		rc = parse_all(a, argc, argv, err);
	if (rc != 0) {
		config_args_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void
config_args_free(struct config_args *a)
{
	if (a == NULL)
		return;
	json_object_put(a->lists);
	json_object_put(a->scalars);
	free(a->paths);
	free(a->fragments);
	free(a);
}

void
config_flags_print(FILE *f)
{
	for (size_t i = 0; i < config_nflags; i++) {
		const struct config_flag *flag = &config_flags[i];

		(void)fprintf(f, "  -%s%s%s\n      %s\n", flag->name, flag->value != NULL ? "=" : "",
		    flag->value != NULL ? flag->value : "", flag->help);
	}
}
