/* diff.c - what the catalog holds of this node against what it shall hold. */
#include <stdlib.h>
#include <string.h>

#include "checkd/diff.h"

/* The catalog shows the parts of the mesh filled in, even where we say nothing. */
static const char *const service_skip[] = { "Proxy", "Connect", "CreateIndex", "ModifyIndex", NULL };
static const char *const service_skip_tags[] = { "Proxy", "Connect", "CreateIndex", "ModifyIndex", "Tags", NULL };
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

/* Third parties may own the tags of a service in the catalog: take them over. */
static int
adopt_tags(struct local *l, struct service *s, const struct node_service *remote)
{
	struct node_service merged = *s->rec, *copy;

	merged.tags = remote->tags;
	copy = record_dup(&rec_node_service, &merged);
	if (copy == NULL)
		return -ENOMEM;
	free(s->rec);
	s->rec = copy;
	l->changes++;
	return 0;
}

static int
compare_service(struct local *l, struct service *s, const struct node_service *remote)
{
	if (s->rec->enable_tag_override && record_equal(&rec_node_service, s->rec, remote, service_skip_tags) &&
	    !record_equal(&rec_node_service, s->rec, remote, service_skip)) {
		int rc = adopt_tags(l, s, remote);

		if (rc < 0)
			return rc;
	}
	s->sync.dirty = !record_equal(&rec_node_service, s->rec, remote, service_skip);
	return 0;
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
			continue;
		else if (s->sync.deleted)
			s->sync.dirty = true;
		else
			rc = compare_service(l, s, &v[i]);
	}
	for (size_t i = 0; i < l->nservices; i++)
		forgive(&l->services[i]->sync);
	return rc;
}

static void
compare_check(struct check *c, const struct health_check *remote, bool discard_output)
{
	struct health_check mine;

	local_check_record(c, &mine);
	/* An output that is held back is pushed by its timer. */
	c->sync.dirty = !record_equal(&rec_health_check, &mine, remote,
	    discard_output || c->hold != NULL ? check_skip_output : check_skip);
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
			compare_check(c, &v[i], discard_output);
	}
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
