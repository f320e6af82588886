/*
 * authz.c - rules of several policies, compiled into one sorted array a resource.
 *
 * An entry is one segment with what is said of exactly this name and of all
 * names that begin so. Each knows the nearest entry above it whose prefix
 * rule applies to it. The longest prefix for a name is found from the last
 * entry not behind it: whatever lies between a prefix of the name and the
 * name begins with that prefix too, so the prefix is among the entries above.
 */
#include "raftd/acl/authz.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "raftd/acl/tree.h"

#define NO_ENTRY UINT32_MAX

struct entry {
	struct str segment;
	uint32_t above;			/* nearest entry with a prefix rule whose segment this one begins with; NO_ENTRY */
	uint32_t unwritable;		/* how many rules of the entries before do not allow to write */
	uint8_t exact, prefix;		/* enum acl_access */
};

struct table {
	const struct entry *v;
	uint32_t n;
	uint8_t any, all;		/* bits of enum acl_access: what some rule, and what each rule allows */
};

struct authz {
	unsigned refs;
	struct authz_config config;
	struct table tables[ACL_RESOURCES];
	struct entry entries[];		/* and the segments behind them */
};

/* What a rule with this access allows, a bit each. */
static uint8_t
granted(unsigned access)
{
	static const uint8_t bits[] = {
		[ACL_NONE] = 0,
		[ACL_READ] = 1 << ACL_READ,
		[ACL_LIST] = 1 << ACL_READ | 1 << ACL_LIST,
		[ACL_WRITE] = 1 << ACL_READ | 1 << ACL_LIST | 1 << ACL_WRITE,
		[ACL_DENY] = 0,
	};

	return bits[access];
}

static bool
grants(unsigned access, enum acl_access want)
{
	return (granted(access) & 1 << want) != 0;
}

/* ---- building */

/* A rule, or what a service's rule says of intentions where no policy says more. */
struct item {
	enum acl_resource resource;
	struct str segment;
	uint8_t exact, prefix;
	uint8_t implied_exact, implied_prefix;
};

static void
note(struct item *it, const struct acl_rule *r, bool implied)
{
	/* What has no names is decided by one rule, whatever is asked. */
	bool prefix = r->prefix || acl_resource_is_scalar(r->resource);

	*it = (struct item){ .resource = implied ? ACL_INTENTION : r->resource, .segment = r->segment };
	if (prefix && implied)
		it->implied_prefix = r->access;
	else if (prefix)
		it->prefix = r->access;
	else if (implied)
		it->implied_exact = r->access;
	else
		it->exact = r->access;
}

static int
by_segment(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->resource != y->resource)
		return x->resource < y->resource ? -1 : 1;
	return str_cmp(x->segment, y->segment);
}

/* Of two rules for the same the stronger counts: deny, write, list, read. */
static uint8_t
stronger(uint8_t a, uint8_t b)
{
	return a > b ? a : b;
}

/* Who may see or register a service may see its intentions, unless a policy says something of them. */
static uint8_t
with_implied(uint8_t access, uint8_t service)
{
	if (access != ACL_NONE || service == ACL_NONE)
		return access;
	return service == ACL_DENY ? ACL_DENY : ACL_READ;
}

/* Items of one segment become one, in place; the number that stays. */
static size_t
merge(struct item *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct item *last = kept > 0 ? &v[kept - 1] : NULL;

		if (last == NULL || by_segment(last, &v[i]) != 0) {
			v[kept++] = v[i];
			continue;
		}
		last->exact = stronger(last->exact, v[i].exact);
		last->prefix = stronger(last->prefix, v[i].prefix);
		last->implied_exact = stronger(last->implied_exact, v[i].implied_exact);
		last->implied_prefix = stronger(last->implied_prefix, v[i].implied_prefix);
	}
	for (size_t i = 0; i < kept; i++) {
		v[i].exact = with_implied(v[i].exact, v[i].implied_exact);
		v[i].prefix = with_implied(v[i].prefix, v[i].implied_prefix);
	}
	return kept;
}

static unsigned
unwritable(const struct entry *e)
{
	return (e->exact != ACL_NONE && e->exact != ACL_WRITE) + (e->prefix != ACL_NONE && e->prefix != ACL_WRITE);
}

/* One resource's entries are in their place and sorted. */
static void
link_table(struct table *t, struct entry *v, uint32_t n)
{
	*t = (struct table){ .v = v, .n = n, .all = granted(ACL_WRITE) };
	for (uint32_t i = 0; i < n; i++) {
		uint32_t above = i > 0 ? i - 1 : NO_ENTRY;

		while (above != NO_ENTRY && (v[above].prefix == ACL_NONE || !str_has_prefix(v[i].segment, v[above].segment)))
			above = v[above].above;
		v[i].above = above;
		v[i].unwritable = i > 0 ? v[i - 1].unwritable + unwritable(&v[i - 1]) : 0;
		t->any |= granted(v[i].exact) | granted(v[i].prefix);
		t->all &= v[i].exact != ACL_NONE ? granted(v[i].exact) : t->all;
		t->all &= v[i].prefix != ACL_NONE ? granted(v[i].prefix) : t->all;
	}
}

static void
fill(struct authz *a, const struct item *v, size_t n)
{
	char *bytes = (char *)(a->entries + n);
	size_t i = 0;

	for (unsigned r = 0; r < ACL_RESOURCES; r++) {
		size_t first = i;

		for (; i < n && v[i].resource == r; i++) {
			if (v[i].segment.len > 0)
				memcpy(bytes, v[i].segment.p, v[i].segment.len);
			a->entries[i] = (struct entry){ .segment = { bytes, v[i].segment.len }, .exact = v[i].exact, .prefix = v[i].prefix };
			bytes += v[i].segment.len;
		}
		link_table(&a->tables[r], a->entries + first, (uint32_t)(i - first));
	}
	assert(i == n);
}

/* All sets' rules, and for each of a service the one of intentions that may follow from it. */
static struct item *
gather(const struct acl_rules *const *sets, size_t n, size_t *ret_n)
{
	size_t total = 0, k = 0;
	struct item *v;

	for (size_t s = 0; s < n; s++)
		for (size_t i = 0; i < sets[s]->n; i++)
			total += sets[s]->v[i].resource == ACL_SERVICE ? 2 : 1;
	v = calloc(total + 1, sizeof(*v));
	if (v == NULL)
		return NULL;
	/* So many take more memory than there is. */
	assert(total < NO_ENTRY);
	for (size_t s = 0; s < n; s++) {
		for (size_t i = 0; i < sets[s]->n; i++) {
			note(&v[k++], &sets[s]->v[i], false);
			if (sets[s]->v[i].resource == ACL_SERVICE)
				note(&v[k++], &sets[s]->v[i], true);
		}
	}
	*ret_n = total;
	return v;
}

int
authz_new(const struct acl_rules *const *sets, size_t n, const struct authz_config *c, struct authz **ret)
{
	size_t items = 0, bytes = 0;
	struct item *v = gather(sets, n, &items);
	struct authz *a = NULL;
	int rc = -ENOMEM;

	if (v == NULL)
		goto out;
	qsort(v, items, sizeof(*v), by_segment);
	items = merge(v, items);
	for (size_t i = 0; i < items; i++)
		bytes += v[i].segment.len;
	a = malloc(sizeof(*a) + items * sizeof(*a->entries) + bytes);
	if (a == NULL)
		goto out;
	a->refs = 1;
	a->config = *c;
	fill(a, v, items);
	*ret = a;
	rc = 0;
out:
	free(v);
	return rc;
}

struct authz *
authz_ref(struct authz *a)
{
	if (a != NULL) {
		assert(a->refs > 0 && a->refs < UINT32_MAX);
		a->refs++;
	}
	return a;
}

void
authz_unref(struct authz *a)
{
	if (a == NULL)
		return;
	assert(a->refs > 0);
	if (--a->refs == 0)
		free(a);
}

/* ---- deciding */

/* The first entry behind s (or not before it, with equal). */
static uint32_t
search(const struct table *t, struct str s, bool equal)
{
	uint32_t low = 0, high = t->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int c = str_cmp(t->v[mid].segment, s);

		if (c < 0 || (c == 0 && !equal))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t
common_prefix(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len, i = 0;

	while (i < n && a.p[i] == b.p[i])
		i++;
	return i;
}

/* The access of the longest prefix rule for name, given the first entry behind it; ACL_NONE when no rule speaks of it. */
static unsigned
longest_prefix(const struct table *t, struct str name, uint32_t behind)
{
	uint32_t i = behind > 0 ? behind - 1 : NO_ENTRY;
	size_t common = i != NO_ENTRY ? common_prefix(t->v[i].segment, name) : 0;

	/* All above are prefixes of this entry, so their length tells whether they are prefixes of the name. */
	while (i != NO_ENTRY && (t->v[i].prefix == ACL_NONE || t->v[i].segment.len > common))
		i = t->v[i].above;
	return i != NO_ENTRY ? t->v[i].prefix : ACL_NONE;
}

static unsigned
decide(const struct table *t, struct str name)
{
	uint32_t behind = search(t, name, false);

	if (behind > 0 && t->v[behind - 1].exact != ACL_NONE && str_eq(t->v[behind - 1].segment, name))
		return t->v[behind - 1].exact;
	return longest_prefix(t, name, behind);
}

/* What holds for a name that no rule speaks of. */
static bool
default_grants(const struct authz *a, enum acl_resource r, enum acl_access want)
{
	return r != ACL_ACL && grants(a->config.default_access, want);
}

/* mesh and peering fall back on operator. */
static enum acl_resource
with_rules(const struct authz *a, enum acl_resource r)
{
	return (r == ACL_MESH || r == ACL_PEERING) && a->tables[r].n == 0 ? ACL_OPERATOR : r;
}

static enum acl_access
meant(const struct authz *a, enum acl_access want)
{
	assert(want == ACL_READ || want == ACL_LIST || want == ACL_WRITE);
	return want == ACL_LIST && !a->config.key_list ? ACL_READ : want;
}

bool
authz_may(const struct authz *a, enum acl_resource r, struct str name, enum acl_access want)
{
	unsigned access;

	assert((unsigned)r < ACL_RESOURCES);
	want = meant(a, want);
	if (a->config.management)
		return true;
	/* Of intentions with any service. */
	if (r == ACL_INTENTION && str_eq(name, STR("*")))
		return want == ACL_WRITE ? authz_may_all(a, r, want) : authz_may_any(a, r, want);
	r = with_rules(a, r);
	access = decide(&a->tables[r], name);
	return access != ACL_NONE ? grants(access, want) : default_grants(a, r, want);
}

/* The first entry behind all that begin with prefix, from the first that may. */
static uint32_t
end_of(const struct table *t, struct str prefix, uint32_t first)
{
	uint32_t low = first, high = t->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (str_has_prefix(t->v[mid].segment, prefix))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
authz_may_below(const struct authz *a, enum acl_resource r, struct str prefix)
{
	const struct table *t;
	uint32_t first, end, behind;
	unsigned access;

	assert((unsigned)r < ACL_RESOURCES);
	if (a->config.management)
		return true;
	r = with_rules(a, r);
	t = &a->tables[r];
	first = search(t, prefix, true);
	end = end_of(t, prefix, first);
	if (first < end && t->v[end - 1].unwritable + unwritable(&t->v[end - 1]) != t->v[first].unwritable)
		return false;
	behind = first < end && str_eq(t->v[first].segment, prefix) ? first + 1 : first;
	access = longest_prefix(t, prefix, behind);
	return access != ACL_NONE ? grants(access, ACL_WRITE) : default_grants(a, r, ACL_WRITE);
}

/* Whether a rule speaks of each name. */
static bool
covers_all(const struct table *t)
{
	return t->n > 0 && t->v[0].segment.len == 0 && t->v[0].prefix != ACL_NONE;
}

bool
authz_may_any(const struct authz *a, enum acl_resource r, enum acl_access want)
{
	assert((unsigned)r < ACL_RESOURCES);
	want = meant(a, want);
	if (a->config.management)
		return true;
	r = with_rules(a, r);
	return (a->tables[r].any & 1 << want) != 0 || (!covers_all(&a->tables[r]) && default_grants(a, r, want));
}

bool
authz_may_all(const struct authz *a, enum acl_resource r, enum acl_access want)
{
	assert((unsigned)r < ACL_RESOURCES);
	want = meant(a, want);
	if (a->config.management)
		return true;
	r = with_rules(a, r);
	return (a->tables[r].all & 1 << want) != 0 && (covers_all(&a->tables[r]) || default_grants(a, r, want));
}

/* ---- who asks */

void
asker_denied(const struct asker *w, enum acl_resource r, struct str name, enum acl_access want, char *text, size_t len)
{
	bool anonymous = w != NULL && str_eqs(w->accessor, ACL_ANONYMOUS_ACCESSOR);
	char who[96], what[288] = "";

	if (w == NULL || w->accessor.len == 0)
		(void)snprintf(who, sizeof(who), "provided token");
	else if (anonymous)
		(void)snprintf(who, sizeof(who), "anonymous token");
	else
		(void)snprintf(who, sizeof(who), "token with AccessorID '%.*s'", w->accessor.len < 64 ? (int)w->accessor.len : 64, w->accessor.p);
	if (name.len > 0)
		(void)snprintf(what, sizeof(what), " on \"%.*s\"", name.len < 256 ? (int)name.len : 256, name.p);
	(void)snprintf(text, len, "Permission denied: %s lacks permission '%s:%s'%s%s", who, acl_resource_name(r), acl_access_name(want), what,
	    anonymous ? ". The anonymous token is used implicitly when a request does not specify a token." : "");
}

bool
authz_lists_keys(const struct authz *a)
{
	return a->config.key_list;
}
