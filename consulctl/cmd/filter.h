/*
 * filter.h - the filters of an event: regular expressions for the nodes,
 * services and tags that it is for.
 */
#ifndef CONSULCTL_CMD_FILTER_H
#define CONSULCTL_CMD_FILTER_H

#include "consulctl/client/client.h"

/* Are the flags node, service and tag what an event can have? -EINVAL when not, and the sentence has been printed. */
int MUST_CHECK filter_check(const struct options *o);

/* Add those that were given. */
void filter_params(const struct options *o, struct request *r);

#endif
