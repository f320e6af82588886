/* gossip.c - the rules of what gossip is told: its key, whom to join, who may be a member. */
#include <arpa/inet.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "consulctl/config/build.h"
#include "lib/json.h"

enum {
	RECONNECT_TIMEOUT_MS = 72 * 3600 * 1000,
	KEY_BYTES_MAX = 32,
	KEY_TEXT_MAX = 44,		/* so many in base64 */
	JOIN_TEXT_MAX = 64 * 1024,	/* what the templates of one entry may become */
};

static int
set(struct config *c, const char *path, struct json_object *v, struct buf *err)
{
	hcl_pos_set(v, hcl_pos(config_get(c->tree, path)));
	return config_set(c->tree, path, v) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
}

/* The key itself is in no message: they go to logs. */
static int
check_key(struct config *c, struct buf *err)
{
	struct json_object *v = config_get(c->tree, "encrypt");
	struct str s = str_from(json_object_get_string(v));
	struct buf key = BUF_INIT(KEY_BYTES_MAX + 3);
	bool good = false;

	if (s.len == 0)
		return 0;
	if (s.len <= KEY_TEXT_MAX && base64_decode(s, &key) == 0)
		good = key.len == 16 || key.len == 24 || key.len == 32;
	if (key.data != NULL)
		sodium_memzero(key.data, key.len);
	buf_release(&key);
	return good ? 0 : config_fail_at(c, v, err,
	    "encrypt has invalid key: it must be 16, 24 or 32 bytes in base64, as 'consulctl keygen' makes them");
}

/* "10.0.0.0/8", "fd00::/8". */
static bool
is_cidr(const char *s)
{
	const char *slash = strchr(s, '/');
	char host[INET6_ADDRSTRLEN];
	struct in6_addr a6;
	struct in_addr a4;
	unsigned long bits;
	char *end;

	if (slash == NULL || (size_t)(slash - s) >= sizeof(host) || slash[1] < '0' || slash[1] > '9' || strlen(slash) > 4)
		return false;
	memcpy(host, s, (size_t)(slash - s));
	host[slash - s] = 0;
	bits = strtoul(slash + 1, &end, 10);
	if (*end != 0)
		return false;
	if (inet_pton(AF_INET, host, &a4) == 1)
		return bits <= 32;
	return inet_pton(AF_INET6, host, &a6) == 1 && bits <= 128;
}

static int
check_cidrs(struct config *c, struct buf *err)
{
	static const char *const keys[] = { "serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs" };

	for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
		struct json_object *list = config_get(c->tree, keys[k]);

		for (size_t i = 0; i < json_object_array_length(list); i++) {
			const char *s = json_object_get_string(json_object_array_get_idx(list, i));

			if (!is_cidr(s))
				return config_fail_at(c, list, err, "%s: invalid cidr: %.100s", keys[k], s);
		}
	}
	return 0;
}

/* ---- whom to join */

static int
add_text(struct json_object *list, const char *s)
{
	struct json_object *v = json_object_new_string(s);

	if (v != NULL && json_object_array_add(list, v) == 0)
		return 0;
	json_object_put(v);
	return -ENOMEM;
}

/* One entry of a list; a template may become several addresses. */
static int
add_join(struct config *c, const char *path, const char *s, struct json_object *out, struct buf *err)
{
	struct json_object *at = config_get(c->tree, path);
	struct buf text = BUF_INIT(JOIN_TEXT_MAX), why = BUF_INIT(1024);
	char *next = NULL;
	int rc = 0;

	if (s[strspn(s, " \t\r\n")] == 0)
		return config_fail_at(c, at, err, "%s: an address is empty", path);
	if (strstr(s, "provider=") != NULL)
		return config_fail_at(c, at, err, "%s: asking a cloud provider for addresses (provider=...) is not supported: "
		    "give addresses or names", path);
	if (strstr(s, "{{") == NULL)
		return add_text(out, s) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
	rc = config_template(str_from(s), &text, &why);
	if (rc == 0 && buf_cstr(&text) == NULL)
		rc = -ENOMEM;
	if (rc < 0)
		rc = config_fail_at(c, at, err, "%s: %.*s", path, (int)why.len, why.data != NULL ? (const char *)why.data : "");
	for (char *p = rc == 0 ? strtok_r((char *)text.data, " \t\r\n", &next) : NULL; rc == 0 && p != NULL;
	    p = strtok_r(NULL, " \t\r\n", &next))
		rc = add_text(out, p) < 0 ? config_fail(err, -ENOMEM, "out of memory") : 0;
	buf_release(&why);
	buf_release(&text);
	return rc;
}

static int
resolve_join(struct config *c, const char *path, struct buf *err)
{
	struct json_object *list = config_get(c->tree, path), *out = json_object_new_array();
	int rc = out != NULL ? 0 : config_fail(err, -ENOMEM, "out of memory");

	for (size_t i = 0; rc == 0 && i < json_object_array_length(list); i++)
		rc = add_join(c, path, json_object_get_string(json_object_array_get_idx(list, i)), out, err);
	if (rc < 0) {
		json_object_put(out);
		return rc;
	}
	return set(c, path, out, err);
}

/* A client is in no pool of the datacenters: told to join one, it could never start. */
static int
resolve_wan(struct config *c, struct buf *err)
{
	struct json_object *once = config_get(c->tree, "start_join_wan"), *retry = config_get(c->tree, "retry_join_wan");

	if (json_object_get_boolean(config_get(c->tree, "server")))
		return 0;
	if (json_object_array_length(once) > 0)
		return config_fail_at(c, once, err, "start_join_wan: only a server can join other datacenters");
	if (json_object_array_length(retry) == 0)
		return 0;
	config_note(c, LOG_WARN, "retry_join_wan has no effect on a client: only a server can join other datacenters");
	return set(c, "retry_join_wan", json_object_new_array(), err);
}

/* ---- times */

static int
resolve_reconnect(struct config *c, struct buf *err)
{
	static const char *const keys[] = { "reconnect_timeout", "reconnect_timeout_wan" };
	struct json_object *own = config_get(c->tree, "advertise_reconnect_timeout");

	/* Consul takes 0 for the default. */
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (json_object_get_int64(config_get(c->tree, keys[i])) == 0) {
			int rc = set(c, keys[i], json_object_new_int64(RECONNECT_TIMEOUT_MS), err);

			if (rc < 0)
				return rc;
		}
	if (json_object_get_int64(own) != 0 && json_object_get_boolean(config_get(c->tree, "server")))
		return config_fail_at(c, own, err, "advertise_reconnect_timeout can only be used on a client");
	return 0;
}

int
config_resolve_gossip(struct config *c, struct buf *err)
{
	static const char *const joins[] = { "start_join", "start_join_wan", "retry_join", "retry_join_wan" };
	int rc = check_key(c, err);

	if (rc == 0 && json_object_get_int64(config_get(c->tree, "ports.serf_lan")) <= 0)
		rc = config_fail_at(c, config_get(c->tree, "ports.serf_lan"), err,
		    "ports.serf_lan cannot be off: every node takes part in its datacenter's gossip");
	if (rc == 0)
		rc = check_cidrs(c, err);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(joins); i++)
		rc = resolve_join(c, joins[i], err);
	if (rc == 0)
		rc = resolve_wan(c, err);
	return rc < 0 ? rc : resolve_reconnect(c, err);
}
