/* ops_why.c - agent.why: who registered the instances of a service here, and what their checks say. */
#include "checkd/permit.h"
#include "lib/duration.h"

static bool
is_of(const struct service *s, struct str name)
{
	return !s->sync.deleted && str_eq_nocase(s->rec->service, name);
}

static void
put_text(struct mp_w *w, const char *name, struct str v)
{
	mp_w_cstr(w, name);
	mp_w_str(w, v);
}

static struct str
source_text(enum source source)
{
	return source == SOURCE_FILE ? STR("file") : STR("api");
}

static void
write_check(struct mp_w *w, const struct check *c, uint64_t now_ms)
{
	mp_w_map(w, 8);
	put_text(w, "CheckID", str_from(c->id));
	put_text(w, "Source", source_text(c->source));
	put_text(w, "Name", c->rec->name);
	put_text(w, "Type", c->rec->type);
	put_text(w, "Status", str_from(status_text(c->status)));
	put_text(w, "Output", c->output);
	put_text(w, "Notes", c->rec->notes);
	/* Seconds since its last result; nil before the first. */
	mp_w_cstr(w, "Age");
	if (c->result_ms == 0)
		mp_w_nil(w);
	else
		mp_w_uint(w, (now_ms - c->result_ms) / 1000);
}

/* The checks of a service, or of the node ("") that the asker may see. */
static void
write_checks(struct checkd *cd, struct acl_facts *f, struct str service_id, struct mp_w *w)
{
	size_t at = mp_w_array_hold(w);
	uint64_t now = clock_ms();
	uint32_t n = 0;

	for (size_t i = 0; i < cd->local.nchecks; i++) {
		const struct check *c = cd->local.checks[i];

		if (c->sync.deleted || !str_eq(c->rec->service_id, service_id) || !permit_see_check(cd, f, c))
			continue;
		write_check(w, c, now);
		n++;
	}
	mp_w_array_patch(w, at, n);
}

static void
write_service(struct checkd *cd, struct acl_facts *f, const struct service *s, struct mp_w *w)
{
	mp_w_map(w, 8);
	put_text(w, "ID", str_from(s->id));
	put_text(w, "Service", s->rec->service);
	put_text(w, "Source", source_text(s->source));
	put_text(w, "From", s->from != NULL ? str_from(s->from) : STR_NONE);
	mp_w_cstr(w, "Since");
	mp_w_int(w, s->since_s);
	mp_w_cstr(w, "InSync");
	mp_w_bool(w, !s->sync.dirty && !s->sync.denied);
	mp_w_cstr(w, "Denied");
	mp_w_bool(w, s->sync.denied);
	mp_w_cstr(w, "Checks");
	write_checks(cd, f, str_from(s->id), w);
}

/* Ask for all that may be shown, so that it is known when it is written. */
static void
ask_rights(const struct checkd *cd, struct acl_facts *f, struct str name)
{
	(void)acl_may(f, "service", name, "read");
	(void)acl_may(f, "node", str_from(checkd_node(cd)), "read");
	for (size_t i = 0; i < cd->local.nservices; i++)
		if (is_of(cd->local.services[i], name))
			(void)permit_see_service(f, cd->local.services[i]);
}

static void
answer(struct checkd *cd, const struct rpc_request *req, struct acl_facts *f, struct str name)
{
	struct query_meta meta = { .index = cd->local.changes + 1, .known_leader = true };
	struct buf *out = rpc_reply_begin(cd->d->rpc, req->token);
	struct mp_w w;
	uint32_t n = 0;
	size_t at;

	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	mp_w_map(&w, 3);
	put_text(&w, "Node", str_from(checkd_node(cd)));
	mp_w_cstr(&w, "Services");
	at = mp_w_array_hold(&w);
	for (size_t i = 0; i < cd->local.nservices; i++) {
		const struct service *s = cd->local.services[i];

		if (!is_of(s, name) || !permit_see_service(f, s))
			continue;
		write_service(cd, f, s, &w);
		n++;
	}
	mp_w_array_patch(&w, at, n);
	mp_w_cstr(&w, "NodeChecks");
	write_checks(cd, f, STR(""), &w);
	rpc_reply_end(cd->d->rpc, req->token, w.err == 0);
}

void
op_why(void *ctx, const struct rpc_request *req, struct acl_facts *f)
{
	struct checkd *cd = ((struct daemon *)ctx)->ctx;
	struct arena a = ARENA_INIT(REQUEST_ARENA_MAX);
	struct query_options o;
	struct id_request q;
	int rc = op_request_decode(req->info, req->body, req->len, &o, &q, &a);

	if (rc < 0) {
		rpc_bad_request(cd->d->rpc, req, err_text(rc));
	} else {
		ask_rights(cd, f, q.id);
		if (acl_pending(f))
			goto out;
		if (!acl_may(f, "service", q.id, "read"))
			acl_refuse(f);
		else
			answer(cd, req, f, q.id);
	}
out:
	arena_release(&a);
}
