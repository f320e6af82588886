/*
 * build.h - what the parts of the configuration code share.
 *
 * A source (file, flags, fragment) becomes a raw tree, config_check() makes a
 * typed one of it, config_merge() adds that to c->tree, config_resolve()
 * completes and judges the whole. Values keep their position (lib/hcl.h) until
 * then, source being an index into c->sources.
 */
#ifndef CONSULCTL_CONFIG_BUILD_H
#define CONSULCTL_CONFIG_BUILD_H

#include "consulctl/config/config.h"
#include "consulctl/config/schema.h"
#include "lib/hcl.h"

/* What clients are told that we are: they compare it. */
#define CONFIG_VERSION "1.10.12"

enum {
	CONFIG_PROBLEMS_MAX = 20,	/* told of one source */
	CONFIG_NOTICES_MAX = 1000,
	CONFIG_PATH_MAX = 1024,		/* bytes of a key's path in messages */
};

struct config {
	struct json_object *tree;
	struct config_notice *notices;
	size_t nnotices;
	char **sources;			/* [0] is "": no source */
	size_t nsources;
	bool dev;
	bool validating;		/* for `validate`: what only a start needs is not asked for */
};

/* What is wrong with one source, as Consul lists it. */
struct problems {
	struct config *c;
	unsigned source;
	unsigned n;
	struct buf text;
};

void problems_init(struct problems *p, struct config *c, unsigned source);
/* pos: line 0 is left out. */
void problem(struct problems *p, struct hcl_pos pos, const char *fmt, ...) PRINTF(3, 4);
/* -EINVAL with everything in err if there was any; releases p. */
int MUST_CHECK problems_end(struct problems *p, struct buf *err);

/* Put a sentence into err and return rc. */
int config_fail(struct buf *err, int rc, const char *fmt, ...) PRINTF(3, 4);
/* The same, with " (FILE, line N)" when v's position is known. -EINVAL. */
int config_fail_at(const struct config *c, struct json_object *v, struct buf *err, const char *fmt, ...) PRINTF(4, 5);

/* Copies name; its number, or -ELIMIT, -ENOMEM. */
int MUST_CHECK config_add_source(struct config *c, const char *name);

/* ---- config_source.c: files */

struct config_paths {
	char **v;
	size_t n;
};

/* The files that a file's or directory's name stands for, added to out. */
int MUST_CHECK config_expand_path(struct config *c, const char *path, const char *format, struct config_paths *out, struct buf *err);
void config_paths_release(struct config_paths *p);

/* Read, check and merge one file. format NULL: by its name. */
int MUST_CHECK config_add_file(struct config *c, const char *path, const char *format, struct buf *err);
/* The same for a text in HCL, named for messages. */
int MUST_CHECK config_add_text(struct config *c, const char *name, struct str text, struct buf *err);
/* The same for a raw tree, which stays the caller's. */
int MUST_CHECK config_add_raw(struct config *c, const char *name, struct json_object *raw, struct buf *err);

/* config_json.c: JSON by json-c, its values given the positions that they have in the text. -EINVAL with ret_err, -ENOMEM. */
int MUST_CHECK config_json_parse(struct str text, unsigned source, struct json_object **ret, struct hcl_error *ret_err);

/* ---- check.c, value.c, def.c, watch.c: types */

int MUST_CHECK config_check(struct config *c, unsigned source, struct json_object *raw, struct json_object **ret, struct buf *err);

/* raw as a new value of the type, or NULL with the problem told under path. */
struct json_object *config_value(struct problems *p, enum key_type type, const char *path, struct json_object *raw);

/* The same for a service's or a check's definition, in Consul's CamelCase. */
struct json_object *config_service_def(struct problems *p, const char *path, struct json_object *raw);
struct json_object *config_check_def(struct problems *p, const char *path, struct json_object *raw, bool top);
/* A watch's, by the files' names; "tag" and headers become lists, "handler_type" is always there. */
struct json_object *config_watch_def(struct problems *p, const char *path, struct json_object *raw);

/* An object, or the only one in a list (a block of HCL); NULL. Borrowed. */
struct json_object *config_single(struct json_object *raw);

/* A new string, list and so on at the position of raw. */
struct json_object *config_at(struct json_object *made, struct json_object *raw);

/* NULL, or why pairs of metadata are refused. text has room for CONFIG_PATH_MAX. */
const char *config_meta_problem(struct json_object *map, char *text);

/* ---- config_tree.c: trees by path */

/* Borrowed; NULL when absent. */
struct json_object *config_get(struct json_object *tree, const char *path);
/* Takes value in any case. -ENOMEM. */
int MUST_CHECK config_set(struct json_object *tree, const char *path, struct json_object *value);
void config_remove(struct json_object *tree, const char *path);
/* Lists append, objects overlay, the rest is replaced. src's values are shared. */
int MUST_CHECK config_merge(struct json_object *dst, struct json_object *src);

/* ---- resolve.c, address.c, recursors.c, gossip.c, acl.c, tls.c, template.c: the whole */

int MUST_CHECK config_resolve(struct config *c, struct buf *err);
int MUST_CHECK config_resolve_addresses(struct config *c, struct buf *err);
int MUST_CHECK config_resolve_recursors(struct config *c, struct buf *err);
int MUST_CHECK config_resolve_gossip(struct config *c, struct buf *err);
int MUST_CHECK config_resolve_acl(struct config *c, struct buf *err);
/* Reads the files of TLS that serve checks into "agent_tls", which is in checkd's slice alone. */
int MUST_CHECK config_resolve_tls(struct config *c, struct buf *err);
/* Whether a key that is refused otherwise is taken, since it serves checks alone. */
bool config_tls_for_checks(const struct config *c, const char *path);

/* In the tree until it is resolved: an old key was there that means acl.enabled. */
#define CONFIG_ACL_IMPLIED "acl_implied"

enum { CONFIG_ADDRS_MAX = 32, CONFIG_ADDR_MAX = 46 };

struct config_addrs {
	char v[CONFIG_ADDRS_MAX][CONFIG_ADDR_MAX];
	size_t n;
};

/* Interfaces of this machine; a stand-in makes tests possible. */
enum addr_kind { ADDRS_PRIVATE_V4, ADDRS_PUBLIC_V4, ADDRS_PUBLIC_V6, ADDRS_OF_INTERFACE };
int MUST_CHECK config_interface_addrs(enum addr_kind kind, const char *interface, struct config_addrs *ret);

/* Replace every "{{ ... }}" in text; the rest is copied. -EINVAL with a sentence in why. */
int MUST_CHECK config_template(struct str text, struct buf *out, struct buf *why);

#endif
