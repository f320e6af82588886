/* reload.c - the definitions of the config files, at start and after changes. */
#include <stdio.h>
#include <string.h>

#include "checkd/register.h"
#include "lib/duration.h"

enum { DEFINITIONS_ARENA_MAX = 256 * 1024 * 1024, DEFINITIONS_MAX = LOCAL_SERVICES_MAX };

/* Everything the files define, completed and checked. */
struct desired {
	struct service_def *services;
	struct check_def *checks;
	size_t nservices, nchecks;
	struct arena arena;
};

static int PRINTF(2, 3)
refuse(struct refusal *why, const char *fmt, ...)
{
	va_list ap;

	why->code = 500;
	va_start(ap, fmt);
	(void)vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The definitions of one list of the slice into an array of rec. */
static int
read_list(struct json_object *slice, const char *key, const struct record *rec, struct arena *a, void **ret_v, size_t *ret_n,
    struct refusal *why)
{
	struct json_object *list = cfg_get(slice, key);
	size_t n = list != NULL && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
	char err[512];
	char *v;

	if (n > DEFINITIONS_MAX)
		return refuse(why, "%s: more than %d definitions", key, (int)DEFINITIONS_MAX);
	v = arena_alloc(a, (n > 0 ? n : 1) * rec->size);
	if (v == NULL)
		return refuse(why, "%s: %s", key, err_text(-ENOMEM));
	for (size_t i = 0; i < n; i++)
		if (record_from_json(rec, json_object_array_get_idx(list, i), v + i * rec->size, a, true, err, sizeof(err)) < 0)
			return refuse(why, "%s: %s", key, err);
	*ret_v = v;
	*ret_n = n;
	return 0;
}

static bool
service_defined(const struct desired *d, struct str id)
{
	for (size_t i = 0; i < d->nservices; i++)
		if (str_eq(d->services[i].id, id))
			return true;
	return false;
}

/*
 * Whether what came from there is known only as long as the files define it:
 * a reload reads everything anew, and without a data directory there is
 * nothing but the files.
 */
static bool
reread(const struct checkd *cd, enum source source)
{
	return source == SOURCE_FILE || cd->persist.fd[PERSIST_SERVICES] < 0;
}

/* Whether there will be such a service. */
static bool
service_stays(const struct checkd *cd, const struct desired *d, struct str id)
{
	const struct service *s = local_service(&cd->local, id);

	return service_defined(d, id) || (s != NULL && !reread(cd, s->source));
}

static int
read_desired(struct checkd *cd, struct json_object *slice, struct desired *d, struct refusal *why)
{
	struct refusal inner = { .text = "" };
	void *v;
	int rc;

	rc = read_list(slice, "services", &rec_service_def, &d->arena, &v, &d->nservices, why);
	if (rc < 0)
		return rc;
	d->services = v;
	rc = read_list(slice, "checks", &rec_check_def, &d->arena, &v, &d->nchecks, why);
	if (rc < 0)
		return rc;
	d->checks = v;
	for (size_t i = 0; i < d->nservices; i++)
		if (definition_service(&d->services[i], SOURCE_FILE, &cd->script_policy, &d->arena, &inner) < 0)
			return refuse(why, "Failed to register service \"%.*s\": %s", STR_ARG(d->services[i].name), inner.text);
	for (size_t i = 0; i < d->nchecks; i++) {
		struct check_def *c = &d->checks[i];

		if (definition_check(c, SOURCE_FILE, &cd->script_policy, &inner) < 0)
			return refuse(why, "Failed to register check \"%.*s\": %s", STR_ARG(c->name), inner.text);
		if (c->service_id.len > 0 && !service_stays(cd, d, c->service_id))
			return refuse(why, "Failed to register check \"%.*s\": ServiceID \"%.*s\" does not exist", STR_ARG(c->name),
			    STR_ARG(c->service_id));
	}
	return 0;
}

static bool
check_desired(const struct desired *d, const struct check *c)
{
	for (size_t i = 0; i < d->nchecks; i++)
		if (str_eqs(d->checks[i].check_id, c->id))
			return true;
	for (size_t i = 0; i < d->nservices; i++) {
		const struct check_def *v = d->services[i].checks.v;

		for (size_t k = 0; k < d->services[i].checks.n; k++)
			if (str_eqs(v[k].check_id, c->id))
				return true;
	}
	return false;
}

/* What is neither defined by the files nor kept. */
static void
drop_undefined(struct checkd *cd, const struct desired *d)
{
	for (size_t i = cd->local.nservices; i-- > 0;) {
		struct service *s = cd->local.services[i];

		if (!s->sync.deleted && reread(cd, s->source) && !service_defined(d, str_from(s->id)))
			deregister_service(cd, s);
	}
	for (size_t i = cd->local.nchecks; i-- > 0;) {
		struct check *c = cd->local.checks[i];

		if (!c->sync.deleted && reread(cd, c->source) && !check_desired(d, c))
			deregister_check(cd, c);
	}
}

/* "FILE:LINE" of a service definition. */
static struct str
written_in(struct json_object *slice, size_t i)
{
	struct json_object *list = cfg_get(slice, "definition_sources.services");
	struct json_object *v = json_object_is_type(list, json_type_array) ? json_object_array_get_idx(list, i) : NULL;

	return json_object_is_type(v, json_type_string) ? str_from(json_object_get_string(v)) : STR_NONE;
}

int
reload_definitions(struct checkd *cd, struct json_object *slice, struct refusal *ret_why)
{
	struct desired d = { .services = NULL };
	int rc;

	arena_init(&d.arena, DEFINITIONS_ARENA_MAX);
	rc = read_desired(cd, slice, &d, ret_why);
	if (rc < 0)
		goto out;
	drop_undefined(cd, &d);
	/* Registering what stands already changes nothing: its checks go on as they were. */
	for (size_t i = 0; rc == 0 && i < d.nservices; i++)
		rc = register_service(cd, &d.services[i], SOURCE_FILE, written_in(slice, i), false);
	for (size_t i = 0; rc == 0 && i < d.nchecks; i++)
		rc = register_check(cd, &d.checks[i], SOURCE_FILE);
	if (rc < 0)
		rc = refuse(ret_why, "cannot register the services of the config files: %s", err_text(rc));
out:
	arena_release(&d.arena);
	return rc;
}

void
reload_settings(struct checkd *cd, struct json_object *slice)
{
	cd->discard_output = cfg_bool(slice, "discard_check_output", false);
}
