/* diff.c - what the catalog holds of this node against what it shall hold. */
#include <stdlib.h>
#include <string.h>

#include "checkd/diff.h"

/* The catalog shows the parts of the mesh filled in, even where we say nothing. */
static const char *const service_skip[] = { "Proxy", "Connect", "CreateIndex", "ModifyIndex", NULL };
/* The node's name compares without case, and is ours anyway; raftd writes definitions in its own form. */
static const char *const check_skip[] = { "Node", "Definition", "CreateIndex", "ModifyIndex", NULL };
static const char *const check_skip_output[] = { "Node", "Output", "Definition", "CreateIndex", "ModifyIndex", NULL };

/* These belong to the leader, not to the agent. */
static bool
is_leaders(struct str service_id)
{
	return str_eqs(service_id, "consul");
}

/* An id with a NUL cannot be ours, nor be named by our entries. */
static bool
has_nul(struct str id)
{
	return id.len > 0 && memchr(id.p, '\0', id.len) != NULL;
}

static bool
same_tags(const struct strs *a, const struct strs *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = str_eq(a->v[i], b->v[i]);
	return same;
}

/* What the catalog has as it is here was refused at some time before, at most. */
static void
differs(struct entry_sync *e, bool dirty)
{
	e->dirty = dirty;
	e->denied = e->denied && dirty;
}

/* Third parties may own the tags of a service in the catalog: whatever else differs, those are taken over. */
static int
compare_service(struct local *l, struct service *s, const struct node_service *remote)
{
	int rc = 0;

	if (s->rec->enable_tag_override && !same_tags(&s->rec->tags, &remote->tags))
		rc = local_adopt_tags(l, s, &remote->tags);
	s->sync.there = true;
	if (rc == 0)
		differs(&s->sync, !record_equal(&rec_node_service, s->rec, remote, service_skip));
	return rc;
}

/* What is gone there too: that its removal was denied does not matter any more. */
static void
forgive(struct entry_sync *e)
{
	if (e->deleted && !e->dirty && !e->pushing)
		e->denied = false;
}

int
diff_services(struct local *l, const struct node_service *v, size_t n)
{
	struct service *s;
	int rc = 0;

	for (size_t i = 0; i < l->nservices; i++) {
		s = l->services[i];
		/* What the catalog does not show has to be pushed, or is gone already. */
		s->sync.there = false;
		if (!s->sync.pushing)
			s->sync.dirty = !s->sync.deleted;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (has_nul(v[i].id))
			continue;
		s = local_service_entry(l, v[i].id);
		if (s == NULL && is_leaders(v[i].id))
			continue;
		if (s == NULL)
			rc = local_ghost_service(l, v[i].id);
		else if (s->sync.pushing)
			s->sync.there = true;
		else if (s->sync.deleted)
			s->sync.dirty = s->sync.there = true;
		else
			rc = compare_service(l, s, &v[i]);
	}
	for (size_t i = 0; i < l->nservices; i++)
		forgive(&l->services[i]->sync);
	return rc;
}

/* The catalog gives a check the tags of its service as it has them. */
static bool
has_foreign_tags(const struct local *l, const struct check *c)
{
	const struct service *s = c->rec->service_id.len > 0 ? local_service(l, c->rec->service_id) : NULL;

	return s != NULL && s->rec->enable_tag_override;
}

/*
 * When checkd alone was started again, what it had found is in the catalog:
 * to say critical until each check has run once more would take the node's
 * healthy services out of DNS for an interval. Checks that nothing runs, and
 * those whose definition is another one, have nothing to take over.
 */
static int
resume(struct local *l, struct check *c, const struct health_check *mine, const struct health_check *remote)
{
	static const char *const skip[] = { "Node", "Status", "Output", "Definition", "CreateIndex", "ModifyIndex", NULL };
	enum check_status status;

	if (c->result_ms != 0 || c->def == NULL || c->def->interval <= 0 || status_parse(remote->status, &status) < 0 ||
	    !record_equal(&rec_health_check, mine, remote, skip))
		return 0;
	return local_adopt_result(l, c, status, remote->output);
}

static int
compare_check(struct local *l, struct check *c, const struct health_check *remote, bool discard_output)
{
	struct health_check mine;
	int rc = 0;

	local_check_record(c, &mine);
	if (has_foreign_tags(l, c))
		mine.service_tags = remote->service_tags;
	if (l->resumed)
		rc = resume(l, c, &mine, remote);
	mine.status = str_from(status_text(c->status));
	mine.output = c->output;
	/* An output that is held back is pushed by its timer. */
	differs(&c->sync, !record_equal(&rec_health_check, &mine, remote,
	    discard_output || c->hold != NULL ? check_skip_output : check_skip));
	return rc;
}

int
diff_checks(struct local *l, const struct health_check *v, size_t n, bool discard_output)
{
	struct check *c;
	int rc = 0;

	for (size_t i = 0; i < l->nchecks; i++) {
		c = l->checks[i];
		if (!c->sync.pushing)
			c->sync.dirty = !c->sync.deleted;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (has_nul(v[i].check_id) || is_leaders(v[i].service_id))
			continue;
		c = local_check_entry(l, v[i].check_id);
		if (c == NULL && str_eqs(v[i].check_id, "serfHealth"))
			continue;
		if (c == NULL)
			rc = local_ghost_check(l, &v[i]);
		else if (c->sync.pushing)
			continue;
		else if (c->sync.deleted)
			c->sync.dirty = true;
		else
			rc = compare_check(l, c, &v[i], discard_output);
	}
	/* What comes later is what we have said ourselves. */
	if (rc == 0)
		l->resumed = false;
	for (size_t i = 0; i < l->nchecks; i++)
		forgive(&l->checks[i]->sync);
	return rc;
}

bool
diff_node_same(const struct self *self, const struct node *node)
{
	struct node mine = {
		.id = self->id,
		.tagged_addresses = self->tagged_addresses,
		.meta = self->meta,
	};
	static const char *const skip[] = { "Node", "Address", "Datacenter", "CreateIndex", "ModifyIndex", NULL };

	return record_equal(&rec_node, &mine, node, skip);
}
