/*
 * cfg.h - reading a daemon's config slice.
 *
 * The slice was checked whole by consulctl: keys are those of config.md
 * ("dns_config.node_ttl" is member node_ttl of object dns_config), every key
 * that the daemon may read is there with its default, addresses are literal,
 * durations are integer milliseconds. A missing key therefore means a slice
 * written for another version: the given default is used.
 *
 * Besides the keys of config.md every slice holds: "version", "dev_mode"
 * (bool), "revision", "run_dir" (text), and, resolved: "node_id",
 * "node_name", "datacenter", "domain" ("consul."), "bind_addr",
 * "advertise_addr" (literal), "client_addr" ([text]),
 * "addresses": {"http": [text], "https": [text], "dns": [text]} (text is an IP
 * or unix:///path), "ports": {"http": int ...} (0 or less: off), "tagged_addresses": {text: text}.
 */
#ifndef LIB_CFG_H
#define LIB_CFG_H

#include <json-c/json_object.h>
#include <stdbool.h>
#include <stdint.h>

/* path: names joined by dots. Strings are owned by the slice. */
const char *cfg_str(struct json_object *slice, const char *path, const char *dflt);
int64_t cfg_int(struct json_object *slice, const char *path, int64_t dflt);
double cfg_double(struct json_object *slice, const char *path, double dflt);
bool cfg_bool(struct json_object *slice, const char *path, bool dflt);
/* Milliseconds. */
int64_t cfg_ms(struct json_object *slice, const char *path, int64_t dflt);
/* Borrowed; NULL when absent. */
struct json_object *cfg_get(struct json_object *slice, const char *path);

#endif
