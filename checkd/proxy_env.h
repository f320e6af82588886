/*
 * proxy_env.h - which proxy a request takes, by the environment, as programs
 * in Go decide it (libcurl's own habits differ).
 *
 * Pure.
 */
#ifndef CHECKD_PROXY_ENV_H
#define CHECKD_PROXY_ENV_H

#include <stdbool.h>

#include "lib/str.h"

/* NULL is not set. */
struct proxy_env {
	const char *http, *https, *no;
	bool cgi;		/* a request's own headers may have set HTTP_PROXY then */
};

/* What getenv() says now: names in capitals first, then in small letters. */
void proxy_env_read(struct proxy_env *ret);

/*
 * The proxy for a host (an address without brackets, or a name) and port;
 * NULL is none. Never one for this machine itself. NO_PROXY: "*", addresses,
 * CIDR ranges, domains (with what is below them; below alone with a leading
 * dot or "*."), all but ranges with an optional port.
 */
const char *proxy_env_pick(const struct proxy_env *e, bool https, struct str host, struct str port);

#endif
