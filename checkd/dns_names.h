/*
 * dns_names.h - names that DNS cannot tell.
 *
 * They may be registered and are found over HTTP; the log says what becomes
 * of them, in Consul's words.
 */
#ifndef CHECKD_DNS_NAMES_H
#define CHECKD_DNS_NAMES_H

#include "lib/str.h"

struct node_service;

enum { DNS_LABEL_MAX = 63 };

/* NULL: it can be a label; else what is wrong, as the log says it. Pure. */
const char *dns_name_fault(struct str name);

/* Log what is wrong with the name (a warning) and the tags (debug) of a service, unless `was` (may be NULL) had the same. */
void dns_names_warn(const struct node_service *rec, const struct node_service *was);

#endif
