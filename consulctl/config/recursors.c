/* recursors.c - the servers that dnsd asks about what is not ours: templates filled in, addresses and ports checked. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "consulctl/config/build.h"

enum {
	RECURSORS_MAX = 16,		/* as many as dnsd holds */
	TEXT_MAX = 4096,
	ENDPOINT_MAX = INET6_ADDRSTRLEN + 10,	/* [address]:port */
};

/* A port in digits alone; 0 is none. */
static unsigned
port_of(const char *s)
{
	unsigned long v = 0;

	if (strlen(s) > 5)
		return 0;
	for (; *s != 0; s++) {
		if (*s < '0' || *s > '9')
			return 0;
		v = v * 10 + (unsigned long)(*s - '0');
	}
	return v <= UINT16_MAX ? (unsigned)v : 0;
}

/*
 * ip, [ip], ip:port or [ip]:port, taken apart in place. NULL, or what is wrong
 * with it. *port is NULL when there is none.
 */
static const char *
split(char *s, char **ip, char **port)
{
	char *colon = strchr(s, ':'), *end;

	*ip = s;
	*port = NULL;
	if (s[0] == '[') {
		end = strchr(s, ']');
		if (end == NULL || (end[1] != 0 && end[1] != ':'))
			return "invalid ip address";
		*ip = s + 1;
		*port = end[1] == ':' ? end + 2 : NULL;
		*end = 0;
	} else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
		*colon = 0;
		*port = colon + 1;
	}
	return *port != NULL && port_of(*port) == 0 ? "invalid port" : NULL;
}

/* s, which is taken apart, as everybody else writes it. NULL, or what is wrong with it. */
static const char *
spell(char *s, char out[ENDPOINT_MAX])
{
	char *ip, *port, text[INET6_ADDRSTRLEN];
	const char *wrong = split(s, &ip, &port);
	struct in6_addr a;
	int family;

	if (wrong != NULL)
		return wrong;
	family = inet_pton(AF_INET, ip, &a) == 1 ? AF_INET : inet_pton(AF_INET6, ip, &a) == 1 ? AF_INET6 : 0;
	if (family == 0 || inet_ntop(family, &a, text, sizeof(text)) == NULL)
		return "invalid ip address";
	if (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0)
		return "DNS recursor address cannot be 0.0.0.0, :: or [::]";
	if (port == NULL)
		(void)snprintf(out, ENDPOINT_MAX, "%s", text);
	else
		(void)snprintf(out, ENDPOINT_MAX, family == AF_INET ? "%s:%u" : "[%s]:%u", text, port_of(port));
	return NULL;
}

static int
add_endpoint(struct config *c, struct json_object *at, const char *s, struct json_object *list, struct buf *err)
{
	char copy[INET6_ADDRSTRLEN + 16], endpoint[ENDPOINT_MAX];
	const char *wrong = "invalid ip address";
	struct json_object *item;

	if (strlen(s) < sizeof(copy)) {
		memcpy(copy, s, strlen(s) + 1);
		wrong = spell(copy, endpoint);
	}
	if (wrong != NULL)
		return config_fail_at(c, at, err, "recursors: %s: %.100s", wrong, s);
	if (json_object_array_length(list) >= RECURSORS_MAX)
		return config_fail_at(c, at, err, "recursors: more than %d addresses: %.100s", RECURSORS_MAX, s);
	item = json_object_new_string(endpoint);
	if (item == NULL || json_object_array_add(list, item) < 0) {
		json_object_put(item);
		return config_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* One entry of the key, which a template may turn into several addresses. */
static int
add_entry(struct config *c, struct json_object *at, const char *text, struct json_object *list, struct buf *err)
{
	struct buf out = BUF_INIT(TEXT_MAX), why = BUF_INIT(1024);
	size_t before = json_object_array_length(list);
	int rc = config_template(str_from(text), &out, &why);
	char *next = NULL;

	if (rc == 0 && buf_cstr(&out) == NULL)
		rc = -ENOMEM;
	if (rc < 0)
		rc = config_fail_at(c, at, err, "recursors: %.100s: %.*s", text, (int)why.len,
		    why.data != NULL ? (const char *)why.data : "");
	else
		for (char *s = strtok_r((char *)out.data, " \t\r\n", &next); rc == 0 && s != NULL; s = strtok_r(NULL, " \t\r\n", &next))
			rc = add_endpoint(c, at, s, list, err);
	if (rc == 0 && json_object_array_length(list) == before)
		rc = config_fail_at(c, at, err, "recursors: an empty address: \"%.100s\"", text);
	buf_release(&why);
	buf_release(&out);
	return rc;
}

static int
check_strategy(struct config *c, struct buf *err)
{
	struct json_object *v = config_get(c->tree, "dns_config.recursor_strategy");
	const char *s = v != NULL ? json_object_get_string(v) : "";

	if (*s == 0 || strcmp(s, "sequential") == 0 || strcmp(s, "random") == 0)
		return 0;
	return config_fail_at(c, v, err, "dns_config.recursor_strategy: invalid strategy: %.100s, must be \"sequential\" or \"random\"", s);
}

int
config_resolve_recursors(struct config *c, struct buf *err)
{
	struct json_object *v = config_get(c->tree, "recursors"), *list;
	int rc = check_strategy(c, err);

	if (rc < 0 || v == NULL || json_object_array_length(v) == 0)
		return rc;
	list = json_object_new_array();
	if (list == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	hcl_pos_set(list, hcl_pos(v));
	for (size_t i = 0; rc == 0 && i < json_object_array_length(v); i++)
		rc = add_entry(c, v, json_object_get_string(json_object_array_get_idx(v, i)), list, err);
	if (rc < 0) {
		json_object_put(list);
		return rc;
	}
	return config_set(c->tree, "recursors", list) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}
