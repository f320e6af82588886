/* local.c - fuzz target: definitions (JSON) and catalogs (msgpack) that checkd's local state has to take. */
#include <stdlib.h>
#include <string.h>

#include "checkd/checkd.h"
#include "checkd/diff.h"
#include "fuzz/fuzz.h"
#include "lib/json.h"

enum { ARENA_MAX = 8 * 1024 * 1024 };

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* Entries stand in the order of their ids, each once. */
static void
check_order(const struct local *l)
{
	for (size_t i = 1; i < l->nservices; i++)
		must(strcmp(l->services[i - 1]->id, l->services[i]->id) < 0);
	for (size_t i = 1; i < l->nchecks; i++)
		must(strcmp(l->checks[i - 1]->id, l->checks[i]->id) < 0);
}

static void
put_definition(struct local *l, struct service_def *d, struct arena *a)
{
	const struct script_policy all = { true, true };
	const struct check_def *v;
	struct refusal why = { .text = "" };
	struct node_service rec;
	struct health_check h;
	struct service *s;
	struct check *c;
	int rc = definition_service(d, SOURCE_API, &all, a, &why);

	must((rc == 0) == (why.text[0] == '\0'));
	if (rc < 0)
		return;
	definition_node_service(d, &rec);
	must(rec.id.len > 0 && rec.service.len > 0 && local_put_service(l, &rec, d->token, SOURCE_API, &s) == 0);
	v = d->checks.v;
	for (size_t i = 0; i < d->checks.n; i++) {
		must(v[i].check_id.len > 0 && v[i].name.len > 0 && str_eq(v[i].service_id, d->id));
		if (definition_health_check(&v[i], &rec, STR("n1"), a, &h) == 0)
			must(local_put_check(l, &h, &v[i], SOURCE_API, CHECK_CRITICAL, STR(""), &c) == 0 && c->sync.dirty);
	}
	check_order(l);
}

static void
take_json(struct local *l, const uint8_t *data, size_t size, struct arena *a)
{
	struct persisted_check p = { .source = STR_NONE };
	struct service_def d = { .id = STR_NONE };
	struct check *c;
	char err[256];
	bool null;
	struct json_object *j = json_parse((const char *)data, size, &null, err, sizeof(err));

	if (j == NULL)
		return;
	if (record_from_json(&rec_service_def, j, &d, a, true, err, sizeof(err)) == 0)
		put_definition(l, &d, a);
	if (record_from_json(&rec_persisted_check, j, &p, a, false, err, sizeof(err)) == 0 && p.check.check_id.len > 0 &&
	    memchr(p.check.check_id.p, '\0', p.check.check_id.len) == NULL) {
		must(local_put_check(l, &p.check, p.def.n > 0 ? p.def.v : NULL, SOURCE_API, CHECK_CRITICAL, STR(""), &c) == 0);
		check_order(l);
	}
	json_object_put(j);
}

/* [service...], [check...] as a catalog would show them. */
static void
take_catalog(struct local *l, const uint8_t *data, size_t size, struct arena *a)
{
	struct mp_r r = mp_r_init(data, size);
	struct node_service *services;
	struct health_check *checks;
	size_t ns, nc;
	int rc = 0;

	ns = mp_r_array(&r);
	services = arena_alloc(a, (ns + 1) * sizeof(*services));
	for (size_t i = 0; services != NULL && rc == 0 && i < ns; i++)
		rc = record_decode(&rec_node_service, &r, &services[i], a);
	if (services == NULL || rc < 0)
		return;
	nc = mp_r_array(&r);
	checks = arena_alloc(a, (nc + 1) * sizeof(*checks));
	for (size_t i = 0; checks != NULL && rc == 0 && i < nc; i++)
		rc = record_decode(&rec_health_check, &r, &checks[i], a);
	if (checks == NULL || rc < 0)
		return;
	must(diff_services(l, services, ns) == 0 && diff_checks(l, checks, nc, false) == 0);
	check_order(l);
	/* What was just compared is the same the next time. */
	must(diff_services(l, services, ns) == 0 && diff_checks(l, checks, nc, true) == 0);
	check_order(l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT(ARENA_MAX);
	struct local l = { .cd = NULL };
	struct service_def own = { .name = STR("web"), .port = 80, .enable_tag_override = true };

	put_definition(&l, &own, &a);
	if (size > 0 && data[0] == '{')
		take_json(&l, data, size, &a);
	else
		take_catalog(&l, data, size, &a);
	local_release(&l);
	arena_release(&a);
	return 0;
}
