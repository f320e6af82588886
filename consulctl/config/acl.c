/* acl.c - the rules of the keys of ACLs. */
#include <stdio.h>
#include <string.h>

#include "consulctl/config/build.h"

enum { TOKEN_TEXT_MAX = 1024, UUID_TEXT = 36 };

static const char tokens[] = "acl.tokens.";

static const char *
text(const struct config *c, const char *path)
{
	struct json_object *v = config_get(c->tree, path);

	return v != NULL ? json_object_get_string(v) : "";
}

/* The old acl_datacenter switched ACLs on, unless acl.enabled says otherwise. */
static int
resolve_enabled(struct config *c, struct buf *err)
{
	struct json_object *v = config_get(c->tree, "acl.enabled"), *on;
	bool implied = json_object_get_boolean(config_get(c->tree, CONFIG_ACL_IMPLIED));

	config_remove(c->tree, CONFIG_ACL_IMPLIED);
	if (v != NULL)
		return 0;
	on = json_object_new_boolean(implied);
	return on != NULL && config_set(c->tree, "acl.enabled", on) == 0 ? 0 : config_fail(err, -ENOMEM, "out of memory");
}

static int
check_word(const struct config *c, const char *path, const char *const *words, size_t n, struct buf *err)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text(c, path), words[i]) == 0)
			return 0;
	return config_fail_at(c, config_get(c->tree, path), err, "%s: \"%.100s\" is none of %s, %s%s%s%s%s", path, text(c, path), words[0],
	    words[1], n > 2 ? ", " : "", n > 2 ? words[2] : "", n > 3 ? ", " : "", n > 3 ? words[3] : "");
}

/* They travel in headers and lines: plain text. The token itself is in no message: they go to logs. */
const char *
config_token_problem(const char *token)
{
	for (const char *p = token; *p != 0; p++)
		if (*p <= ' ' || *p > '~')
			return "a token is printable ASCII text without blanks";
	return strlen(token) > TOKEN_TEXT_MAX ? "a token is no longer than 1024 bytes" : NULL;
}

static int
check_tokens(const struct config *c, struct buf *err)
{
	for (size_t i = 0; i < config_nkeys; i++) {
		const struct config_key *k = &config_keys[i];
		const char *why = k->class == KC_USED && strncmp(k->path, tokens, sizeof(tokens) - 1) == 0 ?
		    config_token_problem(text(c, k->path)) : NULL;

		if (why != NULL)
			return config_fail_at(c, config_get(c->tree, k->path), err, "%s: %s", k->path, why);
	}
	return 0;
}

int
config_set_token(struct config *c, const char *name, const char *value)
{
	char path[CONFIG_PATH_MAX];
	struct json_object *v = json_object_new_string(value);

	(void)snprintf(path, sizeof(path), "%s%s", tokens, name);
	return v != NULL ? config_set(c->tree, path, v) : -ENOMEM;
}

static bool
is_uuid(const char *s)
{
	if (strlen(s) != UUID_TEXT)
		return false;
	for (size_t i = 0; s[i] != 0; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : strchr("0123456789abcdefABCDEF", s[i]) == NULL)
			return false;
	return true;
}

int
config_resolve_acl(struct config *c, struct buf *err)
{
	static const char *const defaults[] = { "allow", "deny" }, *const down[] = { "allow", "deny", "extend-cache", "async-cache" };
	const char *first = text(c, "acl.tokens.initial_management");
	int rc = resolve_enabled(c, err);

	if (rc == 0)
		rc = check_word(c, "acl.default_policy", defaults, ARRAY_LEN(defaults), err);
	if (rc == 0)
		rc = check_word(c, "acl.down_policy", down, ARRAY_LEN(down), err);
	if (rc == 0)
		rc = check_tokens(c, err);
	if (rc < 0 || !json_object_get_boolean(config_get(c->tree, "acl.enabled")))
		return rc;
	if (strcmp(text(c, "primary_datacenter"), text(c, "datacenter")) != 0)
		return config_fail_at(c, config_get(c->tree, "primary_datacenter"), err,
		    "primary_datacenter: ACLs of another datacenter are not supported yet: this one is \"%.100s\", not \"%.100s\"",
		    text(c, "datacenter"), text(c, "primary_datacenter"));
	if (*first != 0 && !is_uuid(first))
		config_note(c, LOG_WARN, "acl.tokens.initial_management is no UUID: that is easier to guess");
	return 0;
}
