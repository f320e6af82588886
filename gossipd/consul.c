/* consul.c - Consul's rules above Serf: who is a server, who may be in our pool. */
#include "gossipd/consul.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/swim/swim.h"

enum { ROW_ARENA_MAX = 256 * 1024 };	/* the tags of one member */

/* From this release on node IDs are unique: 0.8.5. */
static const unsigned unique_ids_from[3] = { 0, 8, 5 };

static struct str
tag(const struct strmap *tags, const char *key)
{
	const struct str *v = strmap_get(tags, str_from(key));

	return v != NULL ? *v : STR_NONE;
}

/* A decimal number with a sign or none, the whole of the text. */
static bool
is_integer(struct str s, long *ret)
{
	char text[24], *end;
	long v;

	if (s.len == 0 || s.len >= sizeof(text) || (s.p[0] != '-' && s.p[0] != '+' && (s.p[0] < '0' || s.p[0] > '9')))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	errno = 0;
	v = strtol(text, &end, 10);
	if (*end != '\0' || end != text + s.len || errno != 0)
		return false;
	if (ret != NULL)
		*ret = v;
	return true;
}

/* The first N.N.N in the text. */
static bool
find_version(struct str s, unsigned ret[3])
{
	for (size_t start = 0; start < s.len; start++) {
		size_t i = start;
		unsigned part = 0;

		while (part < 3) {
			unsigned long n = 0;
			size_t from = i;

			for (; i < s.len && s.p[i] >= '0' && s.p[i] <= '9' && i - from < 9; i++)
				n = n * 10 + (unsigned long)(s.p[i] - '0');
			if (i == from)
				break;
			ret[part++] = (unsigned)n;
			if (part < 3 && (i == s.len || s.p[i++] != '.'))
				break;
		}
		if (part == 3)
			return true;
	}
	return false;
}

/* "host:port", the port a number, an IPv6 address in brackets */
static bool
is_host_port(struct str s)
{
	const char *colon = s.len > 0 ? memrchr(s.p, ':', s.len) : NULL;
	struct str host;

	if (colon == NULL || !is_integer((struct str){ colon + 1, (size_t)(s.p + s.len - colon - 1) }, NULL))
		return false;
	host = (struct str){ s.p, (size_t)(colon - s.p) };
	if (host.len > 0 && host.p[0] == '[')
		return host.p[host.len - 1] == ']';
	return host.len == 0 || memchr(host.p, ':', host.len) == NULL;
}

static bool
port_of(const struct strmap *tags, const char *key, bool wanted, uint16_t *ret)
{
	struct str s = tag(tags, key);
	long v = 0;

	if (s.p == NULL)
		return !wanted;
	if (!is_integer(s, &v))
		return false;
	*ret = v > 0 && v <= 65535 ? (uint16_t)v : 0;
	return true;
}

static bool
optional_integer(const struct strmap *tags, const char *key)
{
	struct str s = tag(tags, key);

	return s.p == NULL || is_integer(s, NULL);
}

bool
consul_is_server(const struct strmap *tags, struct consul_server *ret)
{
	struct consul_server s = { .dc = tag(tags, "dc"), .id = tag(tags, "id") };
	unsigned version[3];

	if (!str_eqs(tag(tags, "role"), "consul") || !is_integer(tag(tags, "vsn"), NULL) || !find_version(tag(tags, "build"), version) ||
	    !port_of(tags, "port", true, &s.port) || !port_of(tags, "wan_join_port", false, &s.wan_join_port) ||
	    !optional_integer(tags, "expect") || !optional_integer(tags, "raft_vsn"))
		return false;
	for (size_t i = 0; i < tags->n; i++) {
		if (str_has_prefix(tags->v[i].key, STR("ft_")) && !is_integer(tags->v[i].value, NULL))
			return false;
		if (str_has_prefix(tags->v[i].key, STR("sl_")) && !is_host_port(tags->v[i].value))
			return false;
	}
	if (ret != NULL)
		*ret = s;
	return true;
}

static int
refuse(char err[256], struct str name, const char *what, struct str value)
{
	snprintf(err, 256, "Member '%.*s' %s '%.*s'", name.len > 80 ? 80 : (int)name.len, name.p != NULL ? name.p : "", what,
	    value.len > 80 ? 80 : (int)value.len, value.p != NULL ? value.p : "");
	return -EINVAL;
}

/* Where and what it is: the same for one and for many. */
static int
check_place(const struct consul_self *self, struct str name, const struct strmap *tags, char err[256])
{
	struct str role = tag(tags, "role"), dc = tag(tags, "dc"), segment = tag(tags, "segment");

	if (self->wan)
		return consul_is_server(tags, NULL) ? 0 : refuse(err, name, "is not a server: role", role);
	if ((str_eqs(role, "node") || consul_is_server(tags, NULL)) && !str_eq(dc, self->dc))
		return refuse(err, name, "part of wrong datacenter", dc);
	if (!str_eq(segment, self->segment))
		return refuse(err, name, "part of wrong segment", segment);
	return 0;
}

static int
check_form(const struct msg_alive *m, struct strmap *ret_tags, struct arena *a, char err[256])
{
	int rc;

	if (m->node.len == 0 || m->node.len > WIRE_NAME_MAX)
		return refuse(err, m->node, "has a name that is empty or too long", STR_NONE);
	if (m->addr.len != 4 && m->addr.len != 16)
		return refuse(err, m->node, "has no address", STR_NONE);
	if (m->meta.len > WIRE_META_MAX)
		return refuse(err, m->node, "has tags that are too long", STR_NONE);
	rc = wire_get_tags(m->meta, ret_tags, a);
	return rc < 0 ? refuse(err, m->node, "has tags that cannot be read:", str_from(err_text(rc))) : 0;
}

int
consul_admit(const struct consul_self *self, const struct msg_alive *m, struct arena *a, char err[256])
{
	struct strmap tags;
	struct str id;
	int rc = check_form(m, &tags, a, err);

	if (rc < 0)
		return rc;
	id = tag(&tags, "id");
	if (!self->wan && id.len > 0 && str_eq(id, self->id) && !str_eq(m->node, self->name))
		return refuse(err, m->node, "has this agent's node ID", id);
	return check_place(self, m->node, &tags, err);
}

/* Whether its release gave each node an ID of its own. */
static bool
has_unique_id(const struct strmap *tags)
{
	unsigned v[3];

	if (!find_version(tag(tags, "build"), v))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		if (v[i] != unique_ids_from[i])
			return v[i] > unique_ids_from[i];
	return true;
}

/* A row's ID with who has it, sorted to find two of one. */
struct holder {
	struct str id, name;
};

static int
by_id(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return str_cmp(x->id, y->id);
}

static int
check_unique(struct holder *v, size_t n, char err[256])
{
	if (n > 1)
		qsort(v, n, sizeof(v[0]), by_id);
	for (size_t i = 1; i < n; i++)
		if (str_eq(v[i].id, v[i - 1].id) && !str_eq(v[i].name, v[i - 1].name))
			return refuse(err, v[i].name, "has the node ID of another member,", v[i - 1].name);
	return 0;
}

int
consul_admit_all(const struct consul_self *self, const struct msg_alive *rows, size_t n, struct arena *a, char err[256])
{
	struct holder *holders = n > 0 ? arena_alloc(a, n * sizeof(holders[0])) : NULL;
	struct arena row = ARENA_INIT(ROW_ARENA_MAX);
	size_t nholders = 0;
	int rc = 0;

	if (n > 0 && holders == NULL) {
		snprintf(err, 256, "out of memory");
		return -EINVAL;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct msg_alive *m = &rows[i];
		struct strmap tags;
		struct str id;

		/* Of a row only its ID is kept, which lies in its Meta. */
		arena_reset(&row);
		rc = check_form(m, &tags, &row, err);
		if (rc < 0)
			break;
		id = tag(&tags, "id");
		/* Who has left keeps nothing busy. */
		if (!self->wan && id.len > 0 && m->state == SWIM_LEFT)
			continue;
		/* Nor does who has failed: a machine that crashed and got another name shall not keep everybody out. Consul is stricter. */
		if (!self->wan && id.len > 0 && m->state != SWIM_DEAD) {
			if (str_eq(id, self->id) && !str_eq(m->node, self->name))
				rc = refuse(err, m->node, "has this agent's node ID", id);
			if (has_unique_id(&tags))
				holders[nholders++] = (struct holder){ id, m->node };
		}
		if (rc == 0)
			rc = check_place(self, m->node, &tags, err);
	}
	arena_release(&row);
	return rc < 0 ? rc : check_unique(holders, nholders, err);
}
