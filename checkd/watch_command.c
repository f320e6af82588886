/* watch_command.c - the command that runs a watch of the config files. */
#include <json-c/json.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkd/watch_command.h"
#include "lib/cfg.h"

/* Words that are gathered; the first failure stays. */
struct words {
	struct arena *a;
	struct str *v;
	size_t n, cap;
	int rc;
};

static void
add(struct words *w, const char *word)
{
	if (w->rc == 0 && word == NULL)
		w->rc = -ENOMEM;
	else if (w->rc == 0 && w->n == w->cap)
		w->rc = -ELIMIT;
	if (w->rc == 0)
		w->v[w->n++] = str_from(word);
}

/* "-name=value"; a value with a NUL cannot be a word. */
static void
add_flag(struct words *w, const char *name, struct json_object *value)
{
	const char *text = json_object_get_string(value);

	if (json_object_is_type(value, json_type_string) && (size_t)json_object_get_string_len(value) != strlen(text))
		w->rc = -EINVAL;
	else
		add(w, arena_printf(w->a, "-%s=%s", name, text));
}

/* The member, alone or in a list; nothing when it is absent. */
static void
add_member(struct words *w, struct json_object *watch, const char *member)
{
	struct json_object *v = cfg_get(watch, member);

	if (v == NULL)
		return;
	if (!json_object_is_type(v, json_type_array)) {
		add_flag(w, member, v);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(v); i++)
		add_flag(w, member, json_object_array_get_idx(v, i));
}

/* ---- where */

const char *
watch_address(struct json_object *slice, struct arena *a)
{
	struct json_object *list = cfg_get(slice, "addresses.http");
	int64_t port = cfg_int(slice, "ports.http", 8500);
	const char *ip;

	if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
		list = cfg_get(slice, "client_addr");
	if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
		return NULL;
	ip = json_object_get_string(json_object_array_get_idx(list, 0));
	if (ip != NULL && strncmp(ip, "unix://", 7) == 0)
		return arena_strdup(a, str_from(ip));
	if (ip == NULL || port <= 0)
		return NULL;
	/* What listens everywhere is asked here. */
	if (strcmp(ip, "0.0.0.0") == 0)
		ip = "127.0.0.1";
	else if (strcmp(ip, "::") == 0)
		ip = "::1";
	return arena_printf(a, strchr(ip, ':') != NULL ? "http://[%s]:%lld" : "http://%s:%lld", ip, (long long)port);
}

/* Where told; else in the build tree that we run from; else below the same prefix; else where it was to be installed. */
const char *
watch_program(struct arena *a)
{
	const char *told = getenv("CONSULCTL_PROGRAM");
	static const char *const beside[] = { "../consulctl/consulctl", "../../bin/consulctl" };
	char exe[PATH_MAX];
	ssize_t n;

	if (told != NULL && told[0] != '\0')
		return arena_strdup(a, str_from(told));
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	for (size_t i = 0; n > 0 && i < ARRAY_LEN(beside); i++) {
		const char *path;

		exe[n] = '\0';
		path = arena_printf(a, "%s/%s", dirname(exe), beside[i]);
		if (path == NULL || access(path, X_OK) == 0)
			return path;
		n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	}
	return BINDIR "/consulctl";
}

/* ---- what it runs */

/* A line of the variable of headers: they may be secret. */
static void
add_header(struct words *w, const char **lines, const char *name, struct json_object *v)
{
	if (w->rc == 0 && (strpbrk(name, "\r\n") != NULL || strpbrk(json_object_get_string(v) == NULL ? "\n" : json_object_get_string(v), "\r\n") != NULL))
		w->rc = -EINVAL;
	*lines = *lines != NULL ? arena_printf(w->a, "%s%s:%s\n", *lines, name, json_object_get_string(v)) : NULL;
}

static void
add_headers(struct words *w, struct json_object *headers)
{
	const char *lines = "CONSULCTL_HTTP_HEADERS=";

	json_object_object_foreach(headers, name, v) {
		if (!json_object_is_type(v, json_type_array))
			add_header(w, &lines, name, v);
		for (size_t i = 0; json_object_is_type(v, json_type_array) && i < json_object_array_length(v); i++)
			add_header(w, &lines, name, json_object_array_get_idx(v, i));
	}
	add(w, lines);
}

static void
add_http(struct words *w, struct words *env, struct json_object *config)
{
	struct json_object *headers = cfg_get(config, "header"), *timeout = cfg_get(config, "timeout");
	const char *method = cfg_str(config, "method", "");

	add(w, arena_printf(w->a, "-http-handler=%s", cfg_str(config, "path", "")));
	if (method[0] != '\0')
		add(w, arena_printf(w->a, "-http-method=%s", method));
	if (json_object_is_type(headers, json_type_object) && json_object_object_length(headers) > 0)
		add_headers(env, headers);
	if (json_object_is_type(timeout, json_type_string))
		add_flag(w, "http-timeout", timeout);
	else if (json_object_is_type(timeout, json_type_int))
		add(w, arena_printf(w->a, "-http-timeout=%lldms", (long long)json_object_get_int64(timeout)));
	if (cfg_bool(config, "tls_skip_verify", false))
		add(w, "-http-tls-skip-verify");
}

/* The program of a watch and its arguments, or a line for the shell. */
static int
add_handler(struct words *w, struct words *env, struct json_object *watch, const char **ret_label)
{
	struct json_object *args = cfg_get(watch, "args"), *http = cfg_get(watch, "http_handler_config");
	const char *handler = cfg_str(watch, "handler", "");

	if (strcmp(cfg_str(watch, "handler_type", http != NULL ? "http" : "script"), "http") == 0) {
		*ret_label = arena_strdup(w->a, str_from(cfg_str(http, "path", "")));
		add_http(w, env, http);
		return cfg_str(http, "path", "")[0] != '\0' ? 0 : -EINVAL;
	}
	if (handler[0] != '\0') {
		add(w, "-shell=true");
		add(w, "--");
		add(w, arena_strdup(w->a, str_from(handler)));
	} else if (json_object_is_type(args, json_type_array) && json_object_array_length(args) > 0) {
		add(w, "-shell=false");
		add(w, "--");
		for (size_t i = 0; i < json_object_array_length(args); i++)
			add(w, arena_strdup(w->a, str_from(json_object_get_string(json_object_array_get_idx(args, i)))));
	} else {
		return -EINVAL;
	}
	*ret_label = arena_strdup(w->a, str_from(handler[0] != '\0' ? handler :
	    json_object_get_string(json_object_array_get_idx(args, 0))));
	return 0;
}

static int
make_args(struct words *w, struct words *env, struct json_object *watch, const char *program, const char *address,
    const char **ret_label, const char **ret_why)
{
	static const char *const params[] = { "datacenter", "key", "prefix", "service", "tag", "passingonly", "state", "name" };
	const char *type = cfg_str(watch, "type", "");

	if (type[0] == '\0') {
		*ret_why = "Watch type must be specified";
		return -EINVAL;
	}
	add(w, arena_strdup(w->a, str_from(program)));
	add(w, "watch");
	/* A handler that fails is told of, and run again with the next change. */
	add(w, "-keep-going");
	add(w, arena_printf(w->a, "-http-addr=%s", address));
	add(w, arena_printf(w->a, "-type=%s", type));
	for (size_t i = 0; i < ARRAY_LEN(params); i++)
		add_member(w, watch, params[i]);
	if (cfg_bool(watch, "stale", false))
		add(w, "-stale");
	if (add_handler(w, env, watch, ret_label) < 0) {
		*ret_why = "Handler must be specified";
		return -EINVAL;
	}
	if (w->rc == -EINVAL)
		*ret_why = "a parameter has a NUL in it";
	return w->rc;
}

int
watch_command(struct json_object *watch, const char *program, const char *address, struct arena *a, struct watch_command *ret,
    const char **ret_why)
{
	struct words args = { .a = a, .v = arena_alloc(a, WATCH_WORDS_MAX * sizeof(struct str)), .cap = WATCH_WORDS_MAX };
	struct words env = { .a = a, .v = arena_alloc(a, WATCH_ENV_MAX * sizeof(struct str)), .cap = WATCH_ENV_MAX };
	const char *token = cfg_str(watch, "token", ""), *label = NULL;
	int rc;

	if (args.v == NULL || env.v == NULL)
		return -ENOMEM;
	/* The address says how this node is reached. */
	add(&env, "CONSUL_HTTP_SSL");
	if (token[0] != '\0') {
		add(&env, "CONSUL_HTTP_TOKEN_FILE");
		add(&env, arena_printf(a, "CONSUL_HTTP_TOKEN=%s", token));
	}
	rc = make_args(&args, &env, watch, program, address, &label, ret_why);
	if (rc == 0 && env.rc == -EINVAL)
		*ret_why = "a header has more than one line";
	if (rc == 0)
		rc = env.rc;
	if (rc == 0 && label == NULL)
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	*ret = (struct watch_command){ { args.v, args.n }, { env.v, env.n }, label };
	return 0;
}
