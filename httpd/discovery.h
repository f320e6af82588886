/*
 * discovery.h - what catalog and health reads have in common.
 */
#ifndef HTTPD_DISCOVERY_H
#define HTTPD_DISCOVERY_H

#include "httpd/request.h"

enum discovery_param { D_NEAR = 1, D_META = 2, D_FILTER = 4, D_TAG = 8 };

/* Fill q from the parameters that the endpoint takes. false: the request was answered. */
bool discovery_query(struct request *r, unsigned takes, struct catalog_query *q);

/* false, and 400 with this text, when nothing follows the path. */
bool discovery_needs(struct request *r, const char *missing);

/* Ask, with the headers of such reads. */
void discovery_read(struct request *r, uint16_t op, const struct catalog_query *q, render_fn *render);

#endif
