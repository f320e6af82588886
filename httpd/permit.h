/*
 * permit.h - the rights of a request's token, for what httpd itself answers.
 *
 * Other daemons decide about what they own, with the token that they are
 * given. Routes with RT_OWN are decided about here, by their row's permission.
 */
#ifndef HTTPD_PERMIT_H
#define HTTPD_PERMIT_H

#include "httpd/request.h"

/* Call the route's handler, now or when raftd has said that the token may. */
void permit_serve(struct request *r);

#endif
