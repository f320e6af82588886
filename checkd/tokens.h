/*
 * tokens.h - with whose rights this node writes and asks.
 *
 * A service or check goes to the catalog with the token of its registration,
 * else, when the files define it, with acl.tokens.config_file_service_registration,
 * else with acl.tokens.default. What the agent does for itself - its node's
 * entry, taking out what is not ours, coordinates, remote execution - has
 * acl.tokens.agent, else the default.
 */
#ifndef CHECKD_TOKENS_H
#define CHECKD_TOKENS_H

#include "checkd/local.h"

struct tokens {
	char *agent, *dflt, *files;
};

/* Take them from a slice: 1 when one has changed, 0 when not, or -ENOMEM. */
int MUST_CHECK tokens_set(struct tokens *t, struct json_object *slice);
void tokens_release(struct tokens *t);

/* For the agent itself. The texts live until the next tokens_set(). */
struct str tokens_agent(const struct tokens *t);
/* For a service or check that is here; one that the catalog alone knows is the agent's to take out. */
struct str tokens_service(const struct tokens *t, const struct service *s);
struct str tokens_check(const struct tokens *t, const struct check *c);

/* What to keep of the token that came with a registration: the default one, which may change, is not. */
struct str tokens_given(const struct tokens *t, struct str definition, struct str request);

#endif
