/* local.c - this node's own services and checks. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/local.h"

/* Both kinds of entries begin with their id. */
static size_t
find(void *const *v, size_t n, struct str id, bool *ret_found)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = str_cmp(str_from(*(char *const *)v[mid]), id);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = false;
	return lo;
}

static int
insert(void ***v, size_t *n, size_t *cap, size_t max, size_t at, void *entry)
{
	if (*n >= max)
		return -ELIMIT;
	if (*n == *cap) {
		size_t bigger = *cap > 0 ? *cap * 2 : 16;
		void **p = realloc(*v, bigger * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		*v = p;
		*cap = bigger;
	}
	memmove(*v + at + 1, *v + at, (*n - at) * sizeof(**v));
	(*v)[at] = entry;
	++*n;
	return 0;
}

static void
erase(void **v, size_t *n, size_t at)
{
	--*n;
	memmove(v + at, v + at + 1, (*n - at) * sizeof(*v));
}

static void
service_free(struct service *s)
{
	if (s == NULL)
		return;
	free(s->id);
	free(s->rec);
	free(s->defined);
	free(s->token);
	free(s->from);
	free(s);
}

static void
check_free(struct check *c)
{
	if (c == NULL)
		return;
	schedule_detach(c);
	timer_free(c->hold);
	free(c->id);
	free(c->rec);
	free(c->def);
	free((char *)(uintptr_t)c->output.p);
	free(c);
}

void
local_release(struct local *l)
{
	for (size_t i = 0; i < l->nservices; i++)
		service_free(l->services[i]);
	for (size_t i = 0; i < l->nchecks; i++)
		check_free(l->checks[i]);
	free(l->services);
	free(l->checks);
	*l = (struct local){ .cd = l->cd, .changes = l->changes };
}

struct service *
local_service_entry(const struct local *l, struct str id)
{
	bool found;
	size_t at = find((void *const *)l->services, l->nservices, id, &found);

	return found ? l->services[at] : NULL;
}

struct check *
local_check_entry(const struct local *l, struct str id)
{
	bool found;
	size_t at = find((void *const *)l->checks, l->nchecks, id, &found);

	return found ? l->checks[at] : NULL;
}

struct service *
local_service(const struct local *l, struct str id)
{
	struct service *s = local_service_entry(l, id);

	return s != NULL && !s->sync.deleted ? s : NULL;
}

struct check *
local_check(const struct local *l, struct str id)
{
	struct check *c = local_check_entry(l, id);

	return c != NULL && !c->sync.deleted ? c : NULL;
}

void
local_touch(struct entry_sync *s)
{
	s->version++;
	s->dirty = true;
}

static char *
dup_str(struct str s)
{
	char *p = malloc(s.len + 1);

	if (p == NULL)
		return NULL;
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

static int
service_entry(struct local *l, struct str id, struct service **ret)
{
	bool found;
	size_t at = find((void *const *)l->services, l->nservices, id, &found);
	struct service *s;
	int rc;

	if (found) {
		*ret = l->services[at];
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->sync.deleted = true;	/* until it has a record */
	s->id = dup_str(id);
	rc = s->id == NULL ? -ENOMEM :
	    insert((void ***)&l->services, &l->nservices, &l->services_cap, LOCAL_SERVICES_MAX, at, s);
	if (rc < 0) {
		service_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

static int
check_entry(struct local *l, struct str id, struct check **ret)
{
	bool found;
	size_t at = find((void *const *)l->checks, l->nchecks, id, &found);
	struct check *c;
	int rc;

	if (found) {
		*ret = l->checks[at];
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->cd = l->cd;
	c->sync.deleted = true;
	c->id = dup_str(id);
	rc = c->id == NULL ? -ENOMEM :
	    insert((void ***)&l->checks, &l->nchecks, &l->checks_cap, LOCAL_CHECKS_MAX, at, c);
	if (rc < 0) {
		check_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

static bool
same_definition(const struct service *s, const struct node_service *rec)
{
	return record_equal(&rec_node_service, s->defined != NULL ? s->defined : s->rec, rec, NULL);
}

/* The record is taken over. Tags that belong to others stay as the catalog has them as long as the definition is the same. */
static void
take_record(struct service *s, struct node_service *rec)
{
	if (!s->sync.deleted && s->defined != NULL && same_definition(s, rec)) {
		free(rec);
		return;
	}
	free(s->defined);
	s->defined = NULL;
	free(s->rec);
	s->rec = rec;
}

void
local_note_origin(struct service *s, struct str from, int64_t since_s)
{
	free(s->from);
	s->from = dup_str(from);
	s->since_s = since_s;
}

int
local_adopt_tags(struct local *l, struct service *s, const struct strs *tags)
{
	struct node_service merged = *s->rec, *copy;

	merged.tags = *tags;
	copy = record_dup(&rec_node_service, &merged);
	if (copy == NULL)
		return -ENOMEM;
	if (s->defined == NULL)
		s->defined = s->rec;
	else
		free(s->rec);
	s->rec = copy;
	l->changes++;
	return 0;
}

int
local_adopt_result(struct local *l, struct check *c, enum check_status status, struct str output)
{
	char *copy = malloc(output.len + 1);

	if (copy == NULL)
		return -ENOMEM;
	if (output.len > 0)
		memcpy(copy, output.p, output.len);
	copy[output.len] = '\0';
	free((char *)(uintptr_t)c->output.p);
	c->output = (struct str){ copy, output.len };
	c->status = status;
	l->changes++;
	l->adopted++;
	return 0;
}

int
local_put_service(struct local *l, const struct node_service *rec, struct str token, enum source source, struct service **ret)
{
	struct node_service *copy = record_dup(&rec_node_service, rec);
	char *tok = dup_str(token);
	struct service *s;
	int rc;

	if (copy == NULL || tok == NULL) {
		free(copy);
		free(tok);
		return -ENOMEM;
	}
	rc = service_entry(l, rec->id, &s);
	if (rc < 0) {
		free(copy);
		free(tok);
		return rc;
	}
	if (s->sync.deleted || s->rec == NULL || !same_definition(s, copy) || strcmp(s->token, tok) != 0)
		local_touch(&s->sync);
	take_record(s, copy);
	s->sync.deleted = false;
	free(s->token);
	s->token = tok;
	s->source = source;
	l->changes++;
	*ret = s;
	return 0;
}

/* The definition is taken over. An equal one stays where it is: a run that is under way may point into it. */
static void
keep_definition(struct check *c, struct check_def *def)
{
	if (c->def != NULL && def != NULL && record_equal(&rec_check_def, c->def, def, NULL)) {
		free(def);
		return;
	}
	free(c->def);
	c->def = def;
}

int
local_put_check(struct local *l, const struct health_check *rec, const struct check_def *def, enum source source,
    enum check_status status, struct str output, struct check **ret)
{
	struct health_check *copy = record_dup(&rec_health_check, rec);
	struct check_def *def_copy = def != NULL ? record_dup(&rec_check_def, def) : NULL;
	char *out = dup_str(output);
	struct check *c = NULL;
	int rc = copy == NULL || out == NULL || (def != NULL && def_copy == NULL) ? -ENOMEM : 0;

	if (rc == 0)
		rc = check_entry(l, rec->check_id, &c);
	if (rc < 0) {
		free(copy);
		free(def_copy);
		free(out);
		return rc;
	}
	if (c->sync.deleted) {
		free((char *)(uintptr_t)c->output.p);
		c->status = status;
		c->output = (struct str){ out, output.len };
		c->critical_since_ms = 0;
		local_touch(&c->sync);
	} else {
		free(out);
		if (!record_equal(&rec_health_check, c->rec, copy, NULL))
			local_touch(&c->sync);
	}
	c->sync.deleted = false;
	free(c->rec);
	c->rec = copy;
	keep_definition(c, def_copy);
	c->source = source;
	l->changes++;
	*ret = c;
	return 0;
}

void
local_remove_service(struct local *l, struct service *s)
{
	s->sync.deleted = true;
	local_touch(&s->sync);
	l->changes++;
}

void
local_remove_check(struct local *l, struct check *c)
{
	schedule_detach(c);
	timer_free(c->hold);
	c->hold = NULL;
	c->sync.deleted = true;
	local_touch(&c->sync);
	l->changes++;
}

int
local_ghost_service(struct local *l, struct str id)
{
	struct service *s;
	int rc = service_entry(l, id, &s);

	if (rc < 0)
		return rc;
	assert(s->sync.deleted);
	local_touch(&s->sync);
	return 0;
}

int
local_ghost_check(struct local *l, const struct health_check *rec)
{
	struct health_check *copy = record_dup(&rec_health_check, rec);
	struct check *c;
	int rc;

	if (copy == NULL)
		return -ENOMEM;
	rc = check_entry(l, rec->check_id, &c);
	if (rc < 0) {
		free(copy);
		return rc;
	}
	assert(c->sync.deleted);
	free(c->rec);
	c->rec = copy;
	local_touch(&c->sync);
	return 0;
}

void
local_forget_service(struct local *l, struct service *s)
{
	bool found;
	size_t at = find((void *const *)l->services, l->nservices, str_from(s->id), &found);

	assert(found && s->sync.deleted);
	erase((void **)l->services, &l->nservices, at);
	service_free(s);
}

void
local_forget_check(struct local *l, struct check *c)
{
	bool found;
	size_t at = find((void *const *)l->checks, l->nchecks, str_from(c->id), &found);

	assert(found && c->sync.deleted);
	erase((void **)l->checks, &l->nchecks, at);
	check_free(c);
}

void
local_check_record(const struct check *c, struct health_check *ret)
{
	*ret = *c->rec;
	ret->status = str_from(status_text(c->status));
	ret->output = c->output;
}

struct status_sum
local_service_status(const struct local *l, const struct service *s)
{
	struct status_sum sum = { .worst = CHECK_PASSING };

	for (size_t i = 0; i < l->nchecks; i++) {
		const struct check *c = l->checks[i];

		if (c->sync.deleted || (c->rec->service_id.len > 0 && !str_eqs(c->rec->service_id, s->id)))
			continue;
		status_sum_add(&sum, str_from(c->id), c->status);
	}
	return sum;
}
