/* ops.c - the operations that show this node's services and checks. */
#include <sodium.h>
#include <stdlib.h>

#include "checkd/permit.h"
#include "checkd/sync.h"
#include "lib/bexpr.h"

enum { HASH_BYTES = 8, HASH_TEXT = 2 * HASH_BYTES + 1 };

/* An agent.service request whose service still has the hash it knows. The whole of it is kept: its rights are asked for again. */
struct hash_watch {
	struct hash_watch *next;
	struct acl_kept kept;
	char hash[HASH_TEXT];
	char *id;
};

static struct agent_service
show_service(const struct checkd *cd, const struct service *s)
{
	const struct node_service *r = s->rec;

	return (struct agent_service){
		.kind = r->kind, .id = r->id, .service = r->service, .tags = r->tags, .meta = r->meta, .port = r->port,
		.address = r->address, .socket_path = r->socket_path, .tagged_addresses = r->tagged_addresses,
		.weights = r->weights, .enable_tag_override = r->enable_tag_override,
		.datacenter = str_from(checkd_datacenter(cd)),
	};
}

/* A fingerprint of what is shown of a service. */
static int
content_hash(const struct agent_service *shown, char text[HASH_TEXT])
{
	struct buf b = BUF_INIT(MiB);
	struct mp_w w = mp_w_init(&b);
	unsigned char hash[crypto_generichash_BYTES];
	int rc;

	record_encode(&rec_agent_service, shown, RECORD_WHOLE, &w);
	rc = w.err;
	if (rc == 0)
		rc = crypto_generichash(hash, sizeof(hash), b.data, b.len, NULL, 0);
	if (rc == 0)
		sodium_bin2hex(text, HASH_TEXT, hash, HASH_BYTES);
	buf_release(&b);
	return rc;
}

/* Begin a reply with its meta; NULL when nobody waits for it any more. filtered: the asker's rights do not reach for all of it. */
static struct buf *
begin(struct checkd *cd, struct rpc_token t, bool filtered, struct mp_w *w)
{
	struct query_meta meta = { .index = cd->local.changes + 1, .known_leader = true, .filtered = filtered };
	struct buf *out = rpc_reply_begin(cd->d->rpc, t);

	if (out == NULL)
		return NULL;
	*w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, w);
	return out;
}

static bool
decode(struct checkd *cd, const struct rpc_request *req, struct agent_query *q, struct arena *a)
{
	struct query_options o;
	int rc = op_request_decode(req->info, req->body, req->len, &o, q, a);

	if (rc < 0)
		rpc_bad_request(cd->d->rpc, req, err_text(rc));
	return rc == 0;
}

/* Compile the filter of a list; false when the request has been answered with its fault. */
static bool
take_filter(struct checkd *cd, const struct rpc_request *req, const struct agent_query *q, const struct record *rec,
    struct arena *a, struct bexpr **ret)
{
	char why[1024];
	int rc = 0;

	*ret = NULL;
	if (q->filter.len > 0)
		rc = bexpr_parse(q->filter, rec, a, ret, why, sizeof(why));
	if (rc == -EINVAL)
		rpc_reply_error(cd->d->rpc, req->token, 500, "Failed to create boolean expression evaluator: %s", why);
	else if (rc < 0)
		rpc_reply_error(cd->d->rpc, req->token, 500, "%s", err_text(rc));
	return rc == 0;
}

/* Whether something of the list is hidden from the asker; asks for all of it. */
static bool
services_hidden(const struct checkd *cd, struct acl_facts *f)
{
	bool hidden = false;

	for (size_t i = 0; i < cd->local.nservices && !acl_open(f); i++)
		if (!cd->local.services[i]->sync.deleted && !permit_see_service(f, cd->local.services[i]))
			hidden = true;
	return hidden;
}

static bool
checks_hidden(const struct checkd *cd, struct acl_facts *f)
{
	bool hidden = false;

	for (size_t i = 0; i < cd->local.nchecks && !acl_open(f); i++)
		if (!cd->local.checks[i]->sync.deleted && !permit_see_check(cd, f, cd->local.checks[i]))
			hidden = true;
	return hidden;
}

static void
op_services(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct bexpr *filter = NULL;
	bool hidden = services_hidden(cd, f);
	struct agent_query q;
	uint32_t n = 0;
	struct mp_w w;
	size_t at;

	if (acl_pending(f) || !decode(cd, req, &q, &a) || !take_filter(cd, req, &q, &rec_agent_service, &a, &filter) ||
	    begin(cd, req->token, acl_filtered(f, hidden), &w) == NULL)
		goto out;
	at = mp_w_map_hold(&w);
	for (size_t i = 0; i < cd->local.nservices; i++) {
		struct service *s = cd->local.services[i];
		struct agent_service shown;

		if (s->sync.deleted || !permit_see_service(f, s))
			continue;
		shown = show_service(cd, s);
		if (filter != NULL && !bexpr_match(filter, &shown))
			continue;
		mp_w_cstr(&w, s->id);
		record_encode(&rec_agent_service, &shown, RECORD_PUBLIC, &w);
		n++;
	}
	mp_w_map_patch(&w, at, n);
	rpc_reply_end(cd->d->rpc, req->token, w.err == 0);
out:
	bexpr_free(filter);
	arena_release(&a);
}

static void
write_check(struct mp_w *w, const struct check *c)
{
	struct health_check h;

	local_check_record(c, &h);
	record_encode(&rec_health_check, &h, RECORD_PUBLIC, w);
}

static void
op_checks(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct bexpr *filter = NULL;
	bool hidden = checks_hidden(cd, f);
	struct agent_query q;
	uint32_t n = 0;
	struct mp_w w;
	size_t at;

	if (acl_pending(f) || !decode(cd, req, &q, &a) || !take_filter(cd, req, &q, &rec_health_check, &a, &filter) ||
	    begin(cd, req->token, acl_filtered(f, hidden), &w) == NULL)
		goto out;
	at = mp_w_map_hold(&w);
	for (size_t i = 0; i < cd->local.nchecks; i++) {
		const struct check *c = cd->local.checks[i];
		struct health_check h;

		if (c->sync.deleted || !permit_see_check(cd, f, c))
			continue;
		local_check_record(c, &h);
		if (filter != NULL && !bexpr_match(filter, &h))
			continue;
		mp_w_cstr(&w, c->id);
		write_check(&w, c);
		n++;
	}
	mp_w_map_patch(&w, at, n);
	rpc_reply_end(cd->d->rpc, req->token, w.err == 0);
out:
	bexpr_free(filter);
	arena_release(&a);
}

/* ---- one service, and waiting for it to change */

static void
answer_service(struct checkd *cd, struct rpc_token t, const struct service *s)
{
	struct agent_service shown;
	char hash[HASH_TEXT];
	struct mp_w w;

	shown = show_service(cd, s);
	if (content_hash(&shown, hash) < 0) {
		rpc_reply_error(cd->d->rpc, t, 500, "out of memory");
		return;
	}
	shown.content_hash = str_from(hash);
	if (begin(cd, t, false, &w) == NULL)
		return;
	record_encode(&rec_agent_service, &shown, RECORD_PUBLIC, &w);
	rpc_reply_end(cd->d->rpc, t, w.err == 0);
}

static bool
has_hash(const struct checkd *cd, struct str id, struct str hash)
{
	struct service *s = local_service(&cd->local, id);
	struct agent_service shown;
	char now[HASH_TEXT];

	if (s == NULL)
		return false;
	shown = show_service(cd, s);
	return content_hash(&shown, now) == 0 && str_eqs(hash, now);
}

static void
watch_free(struct hash_watch *x)
{
	acl_kept_release(&x->kept);
	free(x->id);
	free(x);
}

static void
park(struct checkd *cd, const struct rpc_request *req, const struct agent_query *q)
{
	struct hash_watch *x = cd->nwatches < HASH_WATCHES_MAX ? calloc(1, sizeof(*x)) : NULL;

	if (x != NULL)
		x->id = strndup(q->id.p, q->id.len);
	if (x == NULL || x->id == NULL || acl_keep(&x->kept, req) < 0) {
		if (x != NULL)
			watch_free(x);
		rpc_reply_error(cd->d->rpc, req->token, 500, "too many watches of services");
		return;
	}
	(void)snprintf(x->hash, sizeof(x->hash), "%.*s", STR_ARG(q->hash));
	x->next = cd->watches;
	cd->watches = x;
	cd->nwatches++;
}

/* The service is looked up first: whoever asks for one that is not there is told so, whatever the token. */
static void
op_service(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	const struct service *s;
	struct agent_query q;
	bool may;

	if (!decode(cd, req, &q, &a))
		goto out;
	s = local_service(&cd->local, q.id);
	if (s == NULL) {
		rpc_reply_error(cd->d->rpc, req->token, 404, "unknown service ID: %.*s", STR_ARG(q.id));
		goto out;
	}
	may = permit_see_service(f, s);
	if (acl_pending(f))
		goto out;
	if (!may)
		acl_refuse(f);
	else if (q.hash.len > 0 && has_hash(cd, q.id, q.hash))
		park(cd, req, &q);
	else
		answer_service(cd, req->token, s);
out:
	arena_release(&a);
}

void
ops_wake(struct checkd *cd)
{
	struct hash_watch **at = &cd->watches, *x;

	while ((x = *at) != NULL) {
		if (has_hash(cd, str_from(x->id), str_from(x->hash))) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		cd->nwatches--;
		acl_gate_serve(cd->gate, cd->d->rpc, cd->d, &x->kept.req, op_service);
		watch_free(x);
	}
}

/* ---- local health */

static void
write_health(struct checkd *cd, const struct service *s, struct mp_w *w)
{
	struct status_sum sum = local_service_status(&cd->local, s);
	struct agent_service shown = show_service(cd, s);
	uint32_t n = 0;
	size_t at;

	mp_w_map(w, 3);
	mp_w_cstr(w, "AggregatedStatus");
	mp_w_cstr(w, status_sum_text(&sum));
	mp_w_cstr(w, "Service");
	record_encode(&rec_agent_service, &shown, RECORD_PUBLIC, w);
	mp_w_cstr(w, "Checks");
	at = mp_w_array_hold(w);
	for (size_t i = 0; i < cd->local.nchecks; i++) {
		const struct check *c = cd->local.checks[i];

		if (c->sync.deleted || (c->rec->service_id.len > 0 && !str_eqs(c->rec->service_id, s->id)))
			continue;
		write_check(w, c);
		n++;
	}
	mp_w_array_patch(w, at, n);
}

static bool
is_asked_for(const struct service *s, const struct agent_query *q)
{
	return !s->sync.deleted && (q->by_name ? str_eq(s->rec->service, q->id) : str_eq(s->rec->id, q->id));
}

/* By name that name's right is asked for, found or not; by id that of the service that it is. */
static bool
may_see_health(const struct checkd *cd, const struct agent_query *q, struct acl_facts *f)
{
	const struct service *s = q->by_name ? NULL : local_service(&cd->local, q->id);

	if (q->by_name)
		return acl_may(f, "service", q->id, "read");
	return s == NULL || permit_see_service(f, s);
}

static void
op_health(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct agent_query q;
	uint32_t n = 0;
	struct mp_w w;
	size_t at;
	bool may;

	if (!decode(cd, req, &q, &a))
		goto out;
	may = may_see_health(cd, &q, f);
	if (acl_pending(f))
		goto out;
	if (!may) {
		acl_refuse(f);
	} else if (begin(cd, req->token, false, &w) != NULL) {
		at = mp_w_array_hold(&w);
		for (size_t i = 0; i < cd->local.nservices; i++) {
			if (!is_asked_for(cd->local.services[i], &q))
				continue;
			write_health(cd, cd->local.services[i], &w);
			n++;
		}
		mp_w_array_patch(&w, at, n);
		rpc_reply_end(cd->d->rpc, req->token, w.err == 0);
	}
out:
	arena_release(&a);
}

void
checkd_cancelled(void *ctx, struct rpc_token token)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;

	/* At the end of the daemon connections are closed last. */
	if (cd == NULL || acl_gate_cancelled(cd->gate, token))
		return;
	for (struct hash_watch **at = &cd->watches; *at != NULL; at = &(*at)->next) {
		struct hash_watch *x = *at;

		if (x->kept.req.token.conn == token.conn && x->kept.req.token.id == token.id) {
			*at = x->next;
			cd->nwatches--;
			watch_free(x);
			return;
		}
	}
	if (cd->sync != NULL)
		sync_cancelled(cd, token);
}

void
ops_release(struct checkd *cd)
{
	struct hash_watch *x;

	while ((x = cd->watches) != NULL) {
		cd->watches = x->next;
		watch_free(x);
	}
}

static const struct {
	uint16_t op;
	acl_handler *serve;
} served[] = {
	{ OP_AGENT_SERVICES, op_services },
	{ OP_AGENT_SERVICE, op_service },
	{ OP_AGENT_CHECKS, op_checks },
	{ OP_AGENT_HEALTH, op_health },
	{ OP_AGENT_SERVICE_REGISTER, op_service_register },
	{ OP_AGENT_SERVICE_DEREGISTER, op_service_deregister },
	{ OP_AGENT_CHECK_REGISTER, op_check_register },
	{ OP_AGENT_CHECK_DEREGISTER, op_check_deregister },
	{ OP_AGENT_CHECK_UPDATE, op_check_update },
	{ OP_AGENT_MAINTENANCE, op_maintenance },
	{ OP_AGENT_WHY, op_why },
};

/* Every operation goes through the gate. */
static void
serve(void *ctx, const struct rpc_request *req)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;

	for (size_t i = 0; i < ARRAY_LEN(served); i++)
		if (served[i].op == req->info->number)
			acl_gate_serve(cd->gate, cd->d->rpc, ctx, req, served[i].serve);
}

const struct rpc_route checkd_routes[] = {
	{ OP_AGENT_SERVICES, serve }, { OP_AGENT_SERVICE, serve }, { OP_AGENT_CHECKS, serve }, { OP_AGENT_HEALTH, serve },
	{ OP_AGENT_SERVICE_REGISTER, serve }, { OP_AGENT_SERVICE_DEREGISTER, serve }, { OP_AGENT_CHECK_REGISTER, serve },
	{ OP_AGENT_CHECK_DEREGISTER, serve }, { OP_AGENT_CHECK_UPDATE, serve }, { OP_AGENT_MAINTENANCE, serve },
	{ OP_AGENT_WHY, serve },
};
const size_t checkd_nroutes = ARRAY_LEN(checkd_routes);
