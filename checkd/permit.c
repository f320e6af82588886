/* permit.c - which rights the operations on this node's services and checks take. */
#include "checkd/permit.h"

bool
permit_see_service(struct acl_facts *f, const struct service *s)
{
	return acl_may(f, "service", s->rec->service, "read");
}

/* Of a service, or, without one, of the node. */
static bool
may(const struct checkd *cd, struct acl_facts *f, struct str service_name, const char *access)
{
	if (service_name.len > 0)
		return acl_may(f, "service", service_name, access);
	return acl_may(f, "node", str_from(checkd_node(cd)), access);
}

bool
permit_see_check(const struct checkd *cd, struct acl_facts *f, const struct check *c)
{
	return may(cd, f, c->rec->service_name, "read");
}

bool
permit_change_service(struct acl_facts *f, const struct service *s)
{
	return acl_may(f, "service", s->rec->service, "write");
}

bool
permit_change_check(const struct checkd *cd, struct acl_facts *f, const struct check *c)
{
	return may(cd, f, c->rec->service_name, "write");
}

bool
permit_change_node(const struct checkd *cd, struct acl_facts *f)
{
	return may(cd, f, STR_NONE, "write");
}

/* A check that comes with a service takes the place of one with its ID, whosesoever that is. */
static bool
permit_checks_of(const struct checkd *cd, struct acl_facts *f, const struct service_def *def)
{
	const struct check_def *v = def->checks.v;
	bool all = true;

	for (size_t i = 0; i < def->checks.n; i++) {
		const struct check *old = local_check(&cd->local, v[i].check_id);

		if (old != NULL && !str_eq(old->rec->service_id, def->id) && !permit_change_check(cd, f, old))
			all = false;
	}
	return all;
}

/* The new one is asked about last: when both are denied it is what the client is told of. */
bool
permit_register_service(const struct checkd *cd, struct acl_facts *f, const struct service_def *def)
{
	const struct service *old = local_service(&cd->local, def->id);
	bool checks = permit_checks_of(cd, f, def), replace = old == NULL || permit_change_service(f, old);

	return acl_may(f, "service", def->name, "write") && replace && checks;
}

bool
permit_register_check(const struct checkd *cd, struct acl_facts *f, const struct check_def *def)
{
	const struct service *s = def->service_id.len > 0 ? local_service(&cd->local, def->service_id) : NULL;
	const struct check *old = local_check(&cd->local, def->check_id);
	bool replace = old == NULL || permit_change_check(cd, f, old);

	return may(cd, f, s != NULL ? s->rec->service : STR_NONE, "write") && replace;
}
