/*
 * services.c - consulctl services register and deregister, on the local agent.
 */
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/config/config.h"
#include "consulctl/value.h"

/*
 * The services of configuration files, read as the agent would read them. The
 * caller puts the list; NULL when the error was printed.
 */
static struct json_object *
services_of_files(char **files, int n)
{
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	struct config_args *args = NULL;
	struct config *config = NULL;
	struct json_object *list = NULL;
	char **argv = calloc((size_t)n * 2 + 4, sizeof(*argv));
	int argc = 0, rc;

	if (argv == NULL)
		return NULL;
	argv[argc++] = (char *)"agent";
	argv[argc++] = (char *)"-dev";
	/* Whether it runs scripts for us is for the agent to say. */
	argv[argc++] = (char *)"-enable-script-checks";
	for (int i = 0; i < n; i++) {
		argv[argc++] = (char *)"-config-file";
		argv[argc++] = files[i];
	}
	rc = config_args_parse(argc, argv, &args, &err);
	if (rc == 0)
		rc = config_load(args, &config, &err);
	if (rc == 0) {
		list = json_object_get(value_get(config_tree(config), "services"));
		if (list == NULL)
			list = json_object_new_array();
	} else {
		const char *text = err.len > 0 ? buf_cstr(&err) : NULL;

		fprintf(stderr, "Error: %s\n", text != NULL ? text : err_text(rc));
	}
	config_free(config);
	config_args_free(args);
	free(argv);
	buf_release(&err);
	return list;
}

static const char *
service_id(struct json_object *service)
{
	const char *id = value_text(service, "ID");

	return *id != '\0' ? id : value_text(service, "Name");
}

/* ---- register */

static const struct option register_options[] = {
	{ "id", OPT_STR, "id", NULL, "The service's ID; its name when not given." },
	{ "name", OPT_STR, "name", NULL, "The service's name." },
	{ "address", OPT_STR, "address", NULL, "The service's address; the node's when not given." },
	{ "port", OPT_INT, "number", NULL, "The service's port." },
	{ "socket", OPT_STR, "path", NULL, "The Unix socket at which the service listens, instead of address and port." },
	{ "tag", OPT_LIST, "text", NULL, "A tag of the service. May be repeated." },
	{ "meta", OPT_MAP, "key=value", NULL, "Metadata of the service. May be repeated." },
	{ "kind", OPT_STR, "kind", NULL, "The kind of service, for proxies and gateways." },
	{ "tagged-address", OPT_MAP, "name=address:port", NULL, "Another address of the service, by name. May be repeated." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
put_text(struct json_object *j, const char *name, const char *text)
{
	return *text == '\0' || json_object_object_add(j, name, json_object_new_string(text)) == 0 ? 0 : -ENOMEM;
}

/* "address:port" or "address" as {"Address", "Port"}; NULL when it is neither, which is told, or without memory. */
static struct json_object *
service_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct json_object *j = json_object_new_object();
	size_t len = strlen(text);
	unsigned long port = 0;
	char *end = NULL;

	if (colon != NULL && strchr(colon, ']') == NULL) {
		port = strtoul(colon + 1, &end, 10);
		if (end == colon + 1 || *end != '\0' || port > 65535) {
			fprintf(stderr, "Invalid Tagged Address: %s\n", text);
			json_object_put(j);
			return NULL;
		}
		len = (size_t)(colon - text);
	}
	if (j != NULL && (json_object_object_add(j, "Address", json_object_new_string_len(text, (int)len)) != 0 ||
	    json_object_object_add(j, "Port", json_object_new_int64((int64_t)port)) != 0)) {
		json_object_put(j);
		j = NULL;
	}
	return j;
}

/* A repeatable key=value flag as an object under `member`. */
static int
put_map(struct json_object *j, const char *member, const struct options *o, const char *flag, bool addresses)
{
	struct json_object *map;
	const char *text;

	if (options_list(o, flag, 0) == NULL)
		return 0;
	map = json_object_new_object();
	if (map == NULL || json_object_object_add(j, member, map) != 0)
		return -ENOMEM;
	for (size_t i = 0; (text = options_list(o, flag, i)) != NULL; i++) {
		const char *equals = strchr(text, '=');
		char *key = strndup(text, (size_t)(equals - text));
		struct json_object *v = addresses ? service_address(equals + 1) : json_object_new_string(equals + 1);
		int rc = key != NULL && v != NULL ? json_object_object_add(map, key, v) : -EINVAL;

		free(key);
		if (rc != 0) {
			json_object_put(v);
			return -EINVAL;
		}
	}
	return 0;
}

static int
put_tags(struct json_object *j, const struct options *o)
{
	struct json_object *tags;
	const char *text;

	if (options_list(o, "tag", 0) == NULL)
		return 0;
	tags = json_object_new_array();
	if (tags == NULL || json_object_object_add(j, "Tags", tags) != 0)
		return -ENOMEM;
	for (size_t i = 0; (text = options_list(o, "tag", i)) != NULL; i++)
		if (json_object_array_add(tags, json_object_new_string(text)) != 0)
			return -ENOMEM;
	return 0;
}

/* A list of the one service that the flags describe; NULL without memory. */
static struct json_object *
service_of_flags(const struct options *o)
{
	static const struct { const char *flag, *member; } texts[] = {
		{ "kind", "Kind" }, { "id", "ID" }, { "name", "Name" }, { "address", "Address" }, { "socket", "SocketPath" },
	};
	struct json_object *list = json_object_new_array(), *j = json_object_new_object();
	int rc = list != NULL && j != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(texts); i++)
		rc = put_text(j, texts[i].member, options_str(o, texts[i].flag));
	if (rc == 0 && options_int(o, "port") != 0)
		rc = json_object_object_add(j, "Port", json_object_new_int64(options_int(o, "port")));
	if (rc == 0)
		rc = put_tags(j, o);
	if (rc == 0)
		rc = put_map(j, "Meta", o, "meta", false);
	if (rc == 0)
		rc = put_map(j, "TaggedAddresses", o, "tagged-address", true);
	if (rc == 0)
		rc = json_object_array_add(list, j);
	if (rc != 0) {
		json_object_put(j);
		json_object_put(list);
		list = NULL;
	}
	return list;
}

static int
register_one(struct client *c, struct json_object *service)
{
	const char *name = value_text(service, "Name");
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/agent/service/register", NULL);
	r.ex.body = str_from(json_object_to_json_string_ext(service, JSON_C_TO_STRING_PLAIN));
	rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "Error registering service \"%s\": %s\n", name, r.error);
	else
		printf("Registered service: %s\n", name);
	request_release(&r);
	return rc;
}

static int
run_register(const struct command *cmd, const struct options *o)
{
	bool by_flags = *options_str(o, "name") != '\0';
	struct json_object *list;
	struct client c;
	int rc;

	(void)cmd;
	if (o->nargs == 0 && !by_flags) {
		fputs("Service registration requires at least one argument or flags.\n", stderr);
		return 1;
	}
	if (o->nargs > 0 && by_flags) {
		fputs("Service registration requires arguments or -id, not both.\n", stderr);
		return 1;
	}
	list = by_flags ? service_of_flags(o) : services_of_files(o->args, o->nargs);
	if (list == NULL)
		return 1;
	rc = client_open(&c, o);
	if (rc == 0) {
		for (size_t i = 0; rc == 0 && i < value_count(list); i++)
			rc = register_one(&c, value_at(list, i));
		client_close(&c);
	}
	json_object_put(list);
	return rc < 0 ? 1 : 0;
}

const struct command command_services_register = {
	.name = "services register",
	.summary = "Registers services with the local agent",
	.args = "[options] [FILE...]",
	.about = "Registers the services that configuration files (HCL or JSON) define, or the one that the flags describe. "
	    "They stay registered until they are deregistered.",
	.options = register_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_register,
};

/* ---- deregister */

static const struct option deregister_options[] = {
	{ "id", OPT_STR, "id", NULL, "The ID of the service, when no files are given." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
deregister_one(struct client *c, const char *id, const char *name)
{
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/agent/service/deregister/", id);
	rc = client_call(c, &r, false);
	if (rc < 0)
		fprintf(stderr, "Error registering service \"%s\": %s\n", name, r.error);
	else
		printf("Deregistered service: %s\n", id);
	request_release(&r);
	return rc;
}

static int
run_deregister(const struct command *cmd, const struct options *o)
{
	const char *id = options_str(o, "id");
	struct json_object *list = NULL;
	struct client c;
	int rc = 0;

	(void)cmd;
	if (o->nargs == 0 && *id == '\0') {
		fputs("Service deregistration requires at least one argument or -id.\n", stderr);
		return 1;
	}
	if (o->nargs > 0 && *id != '\0') {
		fputs("Service deregistration requires arguments or -id, not both.\n", stderr);
		return 1;
	}
	if (o->nargs > 0) {
		list = services_of_files(o->args, o->nargs);
		if (list == NULL)
			return 1;
	}
	if (client_open(&c, o) < 0) {
		json_object_put(list);
		return 1;
	}
	if (list == NULL)
		rc = deregister_one(&c, id, "");
	for (size_t i = 0; rc == 0 && i < value_count(list); i++)
		rc = deregister_one(&c, service_id(value_at(list, i)), value_text(value_at(list, i), "Name"));
	json_object_put(list);
	client_close(&c);
	return rc < 0 ? 1 : 0;
}

const struct command command_services_deregister = {
	.name = "services deregister",
	.summary = "Deregisters services from the local agent",
	.args = "[options] [FILE...]",
	.about = "Deregisters the services that configuration files define, or the one given by -id, from the agent at which they were "
	    "registered. A service that is not there is no error.",
	.options = deregister_options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run_deregister,
};
