/* view_host.c - views of foreign hosts ask the recursors, and believe them for their TTL. */
#include <stdlib.h>

#include "dnsd/view_inner.h"
#include "lib/log.h"

#define LOG "agent.dns"

static uint16_t
type_of(const struct view *v)
{
	return v->key.kind == VIEW_HOST4 ? TYPE_A : TYPE_AAAA;
}

/* No recursor knows: what was known before goes on for a while, so that a recursor's fault takes no name away. */
static void
failed(struct view *v)
{
	uint64_t now = uv_now(&v->vs->loop->uv);
	struct host_facts *f;

	if (v->host != NULL && v->host->n > 0 && now - v->answered_ms < HOST_STALE_MS) {
		v->believed_ms = now + HOST_RECHECK_MS;
		view_wake(v, true);
		return;
	}
	f = host_unknown(HOST_FAILED_MS);
	if (f == NULL) {
		view_wake(v, false);
		return;
	}
	view_set_known(v, NULL, NULL, f);
	v->believed_ms = now + f->ttl_ms;
	view_wake(v, true);
}

static void
on_reply(void *arg, const uint8_t *reply, size_t len)
{
	struct view *v = arg;
	struct host_facts *f = NULL;
	int rc = -ETIMEDOUT;

	v->host_call = NULL;
	v->calling = CALL_NONE;
	if (reply != NULL)
		rc = host_from_reply(reply, len, (const uint8_t *)v->key.name.p, type_of(v), &f);
	if (rc < 0) {
		log_debug(LOG, "recursors do not resolve the address of a service or node: error=\"%s\"", err_text(rc));
		failed(v);
		return;
	}
	view_set_known(v, NULL, NULL, f);
	v->believed_ms = uv_now(&v->vs->loop->uv) + f->ttl_ms;
	view_wake(v, true);
}

bool
view_host_ask(struct view *v)
{
	uint8_t query[HOST_QUERY_MAX];
	size_t n;

	if (v->calling != CALL_NONE)
		return true;
	n = host_query((const uint8_t *)v->key.name.p, type_of(v), query);
	v->host_call = upstream_ask(v->vs->upstream, query, n, false, on_reply, v);
	if (v->host_call != NULL)
		v->calling = CALL_HOST;
	return v->host_call != NULL;
}
