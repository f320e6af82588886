/*
 * tokens.h - the agent's own tokens, as set by the API.
 *
 * They stand above those of the config files, from one configuration to the
 * next, and over restarts when acl.enable_token_persistence says so: in
 * data_dir/acl-tokens.json, in the form that Consul's agents know.
 */
#ifndef CONSULCTL_AGENT_TOKENS_H
#define CONSULCTL_AGENT_TOKENS_H

#include <stdbool.h>

#include "consulctl/config/config.h"
#include "lib/str.h"

enum { AGENT_TOKENS = 6 };

struct agent_tokens {
	char *v[AGENT_TOKENS];		/* NULL: as the files say; "" is one, too */
};

/* Which one a name of the API means, old names too; -1: none. */
int agent_token_kind(struct str name);

/* What was kept. A file that cannot be read is told by a notice of c, and is no reason not to start. */
void agent_tokens_load(struct agent_tokens *t, struct config *c);

/* Put those that are set into a loaded configuration. -ENOMEM. */
int MUST_CHECK agent_tokens_apply(const struct agent_tokens *t, struct config *c);

/*
 * Set one, in the file first where they are kept. Negative with a sentence in
 * err, and nothing has changed: no plain text (-EINVAL), or not written.
 */
int MUST_CHECK agent_tokens_set(struct agent_tokens *t, const struct config *c, int kind, struct str token, struct buf *err);

/* Whether a daemon ("dnsd") uses tokens of this kind. */
bool agent_token_used_by(int kind, const char *daemon);

void agent_tokens_release(struct agent_tokens *t);

#endif
