/* status.c - /v1/status, "/", and endpoints of features that are off. */
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

void
status_leader(struct request *r)
{
	upstream_read(r, OP_STATUS_LEADER, NULL, render_json);
}

void
status_peers(struct request *r)
{
	upstream_read(r, OP_STATUS_PEERS, NULL, render_json);
}

void
root_get(struct request *r)
{
	respond_text(r, 200, "Consul Agent");
}

void
acl_disabled(struct request *r)
{
	respond_text(r, 401, "ACL support disabled");
}
