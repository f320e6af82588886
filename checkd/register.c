/* register.c - adding and removing services and checks. */
#include <string.h>
#include <time.h>

#include "checkd/dns_names.h"
#include "checkd/kinds.h"
#include "checkd/register.h"
#include "lib/duration.h"

/* The runner goes on when the definition is the same. */
static bool
runs_the_same(const struct check *c, const struct check_def *def)
{
	return c != NULL && c->def != NULL && c->runner.kind != NULL && record_equal(&rec_check_def, c->def, def, NULL);
}

static int
put_check(struct checkd *cd, const struct check_def *def, const struct node_service *service, enum source source)
{
	struct check *c = local_check(&cd->local, def->check_id);
	struct arena a = ARENA_INIT(RECORD_ARENA_MAX);
	enum check_status status = CHECK_CRITICAL;
	bool same = runs_the_same(c, def);
	struct health_check rec;
	int rc;

	rc = definition_health_check(def, service, str_from(checkd_node(cd)), &a, &rec);
	if (rc < 0)
		goto out;
	if (def->status.len > 0 && status_parse(def->status, &status) < 0)
		status = CHECK_CRITICAL;
	if (c != NULL && !same)
		schedule_detach(c);
	if (!same && def->deregister_critical_service_after > 0 && def->deregister_critical_service_after < REAP_MIN_MS * NS_PER_MS)
		log_warn("agent", "check has deregister interval below minimum: check=%.*s minimum_interval=1m", STR_ARG(def->check_id));
	rc = local_put_check(&cd->local, &rec, def, source, status, STR(""), &c);
	if (rc == 0 && !same)
		rc = schedule_attach(c);
	if (rc == 0 && source == SOURCE_FILE)
		persist_remove(&cd->persist, PERSIST_CHECKS, def->check_id);
out:
	arena_release(&a);
	return rc;
}

static int
save_check(struct checkd *cd, const struct check_def *def, const struct node_service *service)
{
	struct arena a = ARENA_INIT(RECORD_ARENA_MAX);
	struct health_check rec;
	int rc;

	rc = definition_health_check(def, service, str_from(checkd_node(cd)), &a, &rec);
	if (rc == 0)
		rc = persist_check(&cd->persist, &rec, def);
	arena_release(&a);
	return rc;
}

/*
 * Save before anything else is done, so that what cannot be kept is not
 * begun. The service's file comes last: a check without its service is
 * dropped at the next start, should we not get that far.
 */
static int
save_service(struct checkd *cd, const struct service_def *def, const struct node_service *rec, struct str from)
{
	const struct check_def *v = def->checks.v;
	size_t done = 0;
	int rc = 0;

	for (; rc == 0 && done < def->checks.n; done++)
		rc = save_check(cd, &v[done], rec);
	if (rc == 0)
		rc = persist_service(&cd->persist, rec, def->token, from, (int64_t)time(NULL));
	for (size_t i = 0; rc < 0 && i < done; i++)
		if (local_check(&cd->local, v[i].check_id) == NULL)
			persist_remove(&cd->persist, PERSIST_CHECKS, v[i].check_id);
	return rc;
}

static bool
defines(const struct service_def *def, const char *check_id)
{
	const struct check_def *v = def->checks.v;

	for (size_t i = 0; i < def->checks.n; i++)
		if (str_eqs(v[i].check_id, check_id))
			return true;
	return false;
}

static void
drop_other_checks(struct checkd *cd, const struct service_def *def, enum source source, bool all)
{
	for (size_t i = cd->local.nchecks; i-- > 0;) {
		struct check *c = cd->local.checks[i];

		if (c->sync.deleted || !str_eq(c->rec->service_id, def->id) || defines(def, c->id) ||
		    status_is_maintenance(str_from(c->id)))
			continue;
		if (all || (source == SOURCE_FILE && c->source == SOURCE_FILE))
			deregister_check(cd, c);
	}
}

int
register_service(struct checkd *cd, const struct service_def *def, enum source source, struct str from, bool replace_checks)
{
	const struct check_def *v = def->checks.v;
	struct node_service rec;
	struct service *s = local_service(&cd->local, def->id);
	int rc;

	definition_node_service(def, &rec);
	dns_names_warn(&rec, s != NULL ? s->rec : NULL);
	rc = source == SOURCE_API ? save_service(cd, def, &rec, from) : 0;
	if (rc < 0)
		return rc;
	rc = local_put_service(&cd->local, &rec, def->token, source, &s);
	/* A file that is read again said so before. */
	if (rc == 0 && (source == SOURCE_API || s->from == NULL || !str_eqs(from, s->from)))
		local_note_origin(s, from, (int64_t)time(NULL));
	if (rc == 0 && source == SOURCE_FILE)
		persist_remove(&cd->persist, PERSIST_SERVICES, def->id);
	for (size_t i = 0; rc == 0 && i < def->checks.n; i++)
		rc = put_check(cd, &v[i], &rec, source);
	if (rc == 0)
		drop_other_checks(cd, def, source, replace_checks);
	checkd_changed(cd);
	return rc;
}

int
register_check(struct checkd *cd, const struct check_def *def, enum source source)
{
	struct service *s = def->service_id.len > 0 ? local_service(&cd->local, def->service_id) : NULL;
	const struct node_service *rec = s != NULL ? s->rec : NULL;
	int rc = source == SOURCE_API ? save_check(cd, def, rec) : 0;

	if (rc == 0)
		rc = put_check(cd, def, rec, source);
	checkd_changed(cd);
	return rc;
}

void
deregister_check(struct checkd *cd, struct check *c)
{
	persist_remove(&cd->persist, PERSIST_CHECKS, str_from(c->id));
	persist_remove(&cd->persist, PERSIST_STATE, str_from(c->id));
	log_debug("agent", "removed check: check=%s", c->id);
	local_remove_check(&cd->local, c);
	checkd_changed(cd);
}

void
deregister_service(struct checkd *cd, struct service *s)
{
	for (size_t i = cd->local.nchecks; i-- > 0;) {
		struct check *c = cd->local.checks[i];

		if (!c->sync.deleted && str_eqs(c->rec->service_id, s->id))
			deregister_check(cd, c);
	}
	persist_remove(&cd->persist, PERSIST_SERVICES, str_from(s->id));
	log_debug("agent", "removed service: service=%s", s->id);
	local_remove_service(&cd->local, s);
	checkd_changed(cd);
}

/* ---- maintenance */

static int
begin_maintenance(struct checkd *cd, const struct service *s, struct str id, struct str reason)
{
	struct health_check rec = {
		.node = str_from(checkd_node(cd)),
		.check_id = id,
		.name = s != NULL ? STR("Service Maintenance Mode") : STR("Node Maintenance Mode"),
		.notes = reason,
		.type = STR("maintenance"),
		.definition = STR("\x80"),
	};
	struct check *c;
	int rc;

	if (s != NULL) {
		rec.service_id = s->rec->id;
		rec.service_name = s->rec->service;
		rec.service_tags = s->rec->tags;
	}
	if (reason.len == 0)
		rec.notes = s != NULL ?
		    STR("Maintenance mode is enabled for this service, but no reason was provided. This is a default message.") :
		    STR("Maintenance mode is enabled for this node, but no reason was provided. This is a default message.");
	rc = persist_check(&cd->persist, &rec, NULL);
	return rc < 0 ? rc : local_put_check(&cd->local, &rec, NULL, SOURCE_API, CHECK_CRITICAL, STR(""), &c);
}

int
register_maintenance(struct checkd *cd, const struct service *s, bool enable, struct str reason)
{
	struct buf id = BUF_INIT(64 * KiB);
	struct str sid;
	struct check *c;
	int rc;

	rc = s != NULL ? buf_addf(&id, SERVICE_MAINTENANCE_PREFIX "%s", s->id) : buf_adds(&id, NODE_MAINTENANCE_ID);
	if (rc < 0)
		goto out;
	sid = (struct str){ (const char *)id.data, id.len };
	c = local_check(&cd->local, sid);
	if (enable == (c != NULL))
		goto out;
	if (enable)
		rc = begin_maintenance(cd, s, sid, reason);
	else
		deregister_check(cd, c);
	if (rc == 0 && s != NULL)
		log_info("agent", "Service %s maintenance mode: service=%s", enable ? "entered" : "left", s->id);
	else if (rc == 0)
		log_info("agent", "Node %s maintenance mode", enable ? "entered" : "left");
	checkd_changed(cd);
out:
	buf_release(&id);
	return rc;
}

/* ---- after a restart */

/* Ids are kept as C strings. */
static bool
is_id(struct str id)
{
	return id.len > 0 && memchr(id.p, '\0', id.len) == NULL;
}

static void
restore_service(void *arg, const void *obj)
{
	const struct persisted_service *p = obj;
	struct checkd *cd = arg;
	struct service *s;
	int rc;

	if (!is_id(p->service.id) || p->service.service.len == 0) {
		log_err("agent", "a persisted service has no proper name, skipping it");
		return;
	}
	rc = local_put_service(&cd->local, &p->service, p->token, SOURCE_API, &s);
	if (rc < 0)
		log_err("agent", "cannot restore a service: service=%.*s error=\"%s\"", STR_ARG(p->service.id), err_text(rc));
	else
		local_note_origin(s, p->from, p->since_s);
	if (rc == 0)
		log_debug("agent", "restored service definition from file: service=%s", s->id);
}

/* A definition that today's settings refuse (scripts were disabled) must not run again. */
static bool
may_restore(struct checkd *cd, const struct persisted_check *p)
{
	struct str id = p->check.check_id;
	struct refusal why;
	struct check_def def;

	if (!is_id(id)) {
		log_err("agent", "a persisted check has no proper id, skipping it");
		return false;
	}
	if (local_check(&cd->local, id) != NULL) {
		log_debug("agent", "check exists, not restoring from file: check=%.*s", STR_ARG(id));
		persist_remove(&cd->persist, PERSIST_CHECKS, id);
		return false;
	}
	if (p->check.service_id.len > 0 && local_service(&cd->local, p->check.service_id) == NULL) {
		log_warn("agent", "the service of a persisted check is gone, removing it: check=%.*s", STR_ARG(id));
		persist_remove(&cd->persist, PERSIST_CHECKS, id);
		return false;
	}
	if (p->def.n == 0)
		return true;
	def = *(const struct check_def *)p->def.v;
	if (definition_check(&def, SOURCE_API, &cd->script_policy, &why) == 0)
		return true;
	log_warn("agent", "a persisted check is not valid any more, skipping it: check=%.*s error=\"%s\"", STR_ARG(id), why.text);
	return false;
}

static void
restore_check(void *arg, const void *obj)
{
	const struct persisted_check *p = obj;
	struct checkd *cd = arg;
	struct health_check rec = p->check;
	struct check *c;
	int rc;

	if (!may_restore(cd, p))
		return;
	/* A renamed node keeps its checks. Their last status is not known to hold: critical until they have run. */
	rec.node = str_from(checkd_node(cd));
	rc = local_put_check(&cd->local, &rec, p->def.n > 0 ? p->def.v : NULL, SOURCE_API, CHECK_CRITICAL, STR(""), &c);
	if (rc == 0)
		rc = schedule_attach(c);
	if (rc < 0)
		log_err("agent", "cannot restore a check: check=%.*s error=\"%s\"", STR_ARG(rec.check_id), err_text(rc));
	else
		log_debug("agent", "restored health check from file: check=%s", c->id);
}

static void
restore_state(void *arg, const void *obj)
{
	const struct persisted_state *p = obj;
	struct checkd *cd = arg;
	struct check *c = local_check(&cd->local, p->check_id);
	enum check_status status;
	struct timespec now;
	int64_t left;

	clock_gettime(CLOCK_REALTIME, &now);
	left = p->expires_s - now.tv_sec;
	if (c == NULL || c->runner.kind != &check_kind_ttl || left <= 0 || status_parse(p->status, &status) < 0) {
		persist_remove(&cd->persist, PERSIST_STATE, p->check_id);
		return;
	}
	/* A clock that was set back must not lend more than the check's own time. */
	if (left > c->def->ttl / NS_PER_S)
		left = c->def->ttl / NS_PER_S;
	ttl_restore(c, status, p->output, (uint64_t)left * 1000);
}

void
register_persisted_services(struct checkd *cd)
{
	persist_load(&cd->persist, PERSIST_SERVICES, &rec_persisted_service, cd, restore_service);
}

void
register_persisted_checks(struct checkd *cd)
{
	persist_load(&cd->persist, PERSIST_CHECKS, &rec_persisted_check, cd, restore_check);
	persist_load(&cd->persist, PERSIST_STATE, &rec_persisted_state, cd, restore_state);
}
