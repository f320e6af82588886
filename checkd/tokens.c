/* tokens.c - with whose rights this node writes and asks. */
#include "checkd/tokens.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/checkd.h"
#include "lib/cfg.h"

static void
drop(char **token)
{
	if (*token != NULL)
		sodium_memzero(*token, strlen(*token));
	free(*token);
	*token = NULL;
}

void
tokens_release(struct tokens *t)
{
	drop(&t->agent);
	drop(&t->dflt);
	drop(&t->files);
}

int
tokens_set(struct tokens *t, struct json_object *slice)
{
	struct tokens next = {
		.agent = strdup(cfg_str(slice, "acl.tokens.agent", "")),
		.dflt = strdup(cfg_str(slice, "acl.tokens.default", "")),
		.files = strdup(cfg_str(slice, "acl.tokens.config_file_service_registration", "")),
	};
	bool same;

	if (next.agent == NULL || next.dflt == NULL || next.files == NULL) {
		tokens_release(&next);
		return -ENOMEM;
	}
	same = t->agent != NULL && strcmp(t->agent, next.agent) == 0 && strcmp(t->dflt, next.dflt) == 0 &&
	    strcmp(t->files, next.files) == 0;
	tokens_release(t);
	*t = next;
	return !same;
}

struct str
tokens_agent(const struct tokens *t)
{
	return str_from(t->agent[0] != '\0' ? t->agent : t->dflt);
}

static struct str
or_default(const struct tokens *t, struct str own, enum source source)
{
	if (own.len > 0)
		return own;
	return str_from(source == SOURCE_FILE && t->files[0] != '\0' ? t->files : t->dflt);
}

struct str
tokens_service(const struct tokens *t, const struct service *s)
{
	if (s->rec == NULL)
		return tokens_agent(t);
	return or_default(t, str_from(s->token), s->source);
}

/* A check without one has its service's. The node's maintenance is the agent's own. */
struct str
tokens_check(const struct tokens *t, const struct check *c)
{
	const struct service *s = c->rec != NULL && c->rec->service_id.len > 0 ? local_service_entry(&c->cd->local, c->rec->service_id) : NULL;
	struct str own = c->def != NULL ? c->def->token : STR_NONE;

	if (own.len == 0 && s != NULL)
		return tokens_service(t, s);
	if (c->def == NULL)
		return tokens_agent(t);
	return or_default(t, own, c->source);
}

struct str
tokens_given(const struct tokens *t, struct str definition, struct str request)
{
	if (definition.len > 0)
		return definition;
	return str_eqs(request, t->dflt) ? STR_NONE : request;
}
