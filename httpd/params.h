/*
 * params.h - the query string, and the parameters that many endpoints share.
 * Pure.
 */
#ifndef HTTPD_PARAMS_H
#define HTTPD_PARAMS_H

#include "httpd/httpd.h"

struct param {
	struct str key, value;
};

struct params {
	struct param *v;	/* in the order given */
	size_t n;
};

/*
 * Split and decode a query string in place. -EINVAL for a malformed escape,
 * -ELIMIT for more than HTTP_PARAMS_MAX, -ENOMEM.
 */
int MUST_CHECK params_parse(char *query, size_t len, struct arena *a, struct params *ret);

/* The first value of this name, or NULL. */
const struct str *param_get(const struct params *p, const char *name);
bool param_has(const struct params *p, const char *name);

/* As Go encodes url.Values: sorted by name. NULL without memory. */
const char *params_encode(const struct params *p, struct arena *a);

/* What a read asks for besides its own arguments. */
struct read_params {
	int64_t wait_ms;	/* bounded, without jitter */
	bool cached, leader;
	/* of ?cached: Cache-Control. 0: not given; max-age=0 is must-revalidate. */
	bool must_revalidate;
	uint64_t max_age_s, stale_if_error_s;
};

/* An error text for the client with its status; status 0: none. */
struct param_error {
	int status;
	const char *text;	/* in the arena or static */
};

/* index and wait: into o->min_index and ret->wait_ms. */
void params_wait(const struct params *p, const struct http_config *c, struct query_options *o, struct read_params *ret,
    struct param_error *e);

/* stale, consistent, leader, cached, max_stale. discovery: a catalog or health read. */
void params_consistency(const struct params *p, const struct http_config *c, bool discovery, struct query_options *o,
    struct read_params *ret, struct param_error *e, struct arena *a);

/* Cache-Control with ?cached. */
void params_cache_control(struct str header, struct read_params *ret, struct param_error *e);

/* ns and partition belong to another edition. */
void params_namespace(const struct params *p, struct str namespace_header, struct param_error *e);

/* node-meta=k:v, each time it is there, sorted by key. -ENOMEM. */
int MUST_CHECK params_node_meta(const struct params *p, struct arena *a, struct strmap *ret);

/* Every value of a name. -ENOMEM. */
int MUST_CHECK params_list(const struct params *p, const char *name, struct arena *a, struct strs *ret);

/* As strconv.ParseUint and ParseBool; -EINVAL, -ERANGE. */
int MUST_CHECK parse_u64(struct str s, uint64_t *ret);
int MUST_CHECK parse_bool(struct str s, bool *ret);

/* Go's %q of a text (printable as it is, the rest escaped). NULL without memory. */
const char *go_quote(struct str s, struct arena *a);

#endif
