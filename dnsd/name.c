/* name.c - the grammar of Consul's names. */
#include "dnsd/name.h"

enum { LABELS_MAX = PKT_NAME_MAX / 2 };

int
name_to_wire(struct str text, uint8_t out[PKT_NAME_MAX + 1])
{
	size_t at = 0, start = 0;

	if (text.len > 0 && text.p[text.len - 1] == '.')
		text.len--;
	while (start < text.len) {
		const char *dot = memchr(text.p + start, '.', text.len - start);
		size_t n = dot != NULL ? (size_t)(dot - text.p) - start : text.len - start;

		if (n == 0 || n > PKT_LABEL_MAX || at + n + 2 > PKT_NAME_MAX)
			return -EINVAL;
		if (dot != NULL && start + n + 1 == text.len)
			return -EINVAL;
		out[at++] = (uint8_t)n;
		memcpy(out + at, text.p + start, n);
		at += n;
		start += n + 1;
	}
	out[at++] = 0;
	return (int)at;
}

int
zone_set(struct zone *z, struct str text)
{
	int n = name_to_wire(text, z->name);

	if (n < 0)
		return n;
	z->len = (uint8_t)n;
	for (int i = 0; i < n; i++)
		z->name[i] = ascii_lower(z->name[i]);
	return 0;
}

bool
name_in_zone(const uint8_t *name, size_t len, const struct zone *z, size_t *ret_prefix)
{
	size_t at = 0, want;

	if (z->len == 0 || len < z->len)
		return false;
	want = len - z->len;
	if (memcmp(name + want, z->name, z->len) != 0)
		return false;
	/* The zone must begin where a label does. */
	while (at < want)
		at += name[at] + 1u;
	if (at != want)
		return false;
	*ret_prefix = want;
	return true;
}

/* ---- the grammar */

struct labels {
	struct str v[LABELS_MAX];
	size_t n;
};

static void
labels_split(const uint8_t *p, size_t len, struct labels *l)
{
	l->n = 0;
	for (size_t at = 0; at < len && l->n < LABELS_MAX; at += p[at] + 1u)
		l->v[l->n++] = (struct str){ (const char *)p + at + 1, p[at] };
}

static enum name_kind
keyword(struct str label)
{
	static const struct {
		struct str word;
		enum name_kind kind;
	} words[] = {
		{ { "service", 7 }, NAME_SERVICE }, { { "node", 4 }, NAME_NODE },
		{ { "addr", 4 }, NAME_ADDR }, { { "query", 5 }, NAME_QUERY },
		{ { "connect", 7 }, NAME_MESH }, { { "ingress", 7 }, NAME_MESH }, { { "virtual", 7 }, NAME_MESH },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(label, words[i].word))
			return words[i].kind;
	return NAME_NONE;
}

/* Copy labels, joined by dots, behind what text holds already. They came out of one name: there is room. */
static struct str
join(struct dns_name *d, size_t *at, const struct str *v, size_t n)
{
	struct str r = { d->text + *at, 0 };

	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			d->text[(*at)++] = '.';
		memcpy(d->text + *at, v[i].p, v[i].len);
		*at += v[i].len;
	}
	r.len = (size_t)(d->text + *at - r.p);
	return r;
}

static bool
underscored(struct str s)
{
	return s.len > 0 && s.p[0] == '_';
}

/* [tag.]service, where the tag may have dots, or _service._tag as in RFC 2782. */
static void
parse_service(struct dns_name *d, size_t *at, struct str *v, size_t n)
{
	if (n == 2 && underscored(v[0]) && underscored(v[1])) {
		struct str service = { v[0].p + 1, v[0].len - 1 }, tag = { v[1].p + 1, v[1].len - 1 };

		d->name = join(d, at, &service, 1);
		if (!str_eqs(tag, "tcp"))
			d->tag = join(d, at, &tag, 1);
		return;
	}
	d->name = join(d, at, &v[n - 1], 1);
	d->tag = join(d, at, v, n - 1);
}

/* The name or ID of a prepared query; _name._protocol as in RFC 2782, where the protocol says nothing. */
static void
parse_query(struct dns_name *d, size_t *at, struct str *v, size_t n)
{
	if (n >= 2 && underscored(v[0]) && underscored(v[n - 1])) {
		v[0] = (struct str){ v[0].p + 1, v[0].len - 1 };
		n--;
	}
	d->name = join(d, at, v, n);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
parse_addr(struct dns_name *d, struct str hex)
{
	/* One digit too many is taken for a spelling mistake, any other length for an address without records. */
	if (hex.len / 2 != 4 && hex.len / 2 != 16) {
		d->kind = NAME_ADDR_EMPTY;
		return;
	}
	if (hex.len % 2 != 0) {
		d->kind = NAME_NONE;
		return;
	}
	for (size_t i = 0; i < hex.len; i += 2) {
		int hi = hex_digit(hex.p[i]), lo = hex_digit(hex.p[i + 1]);

		if (hi < 0 || lo < 0) {
			d->kind = NAME_NONE;
			return;
		}
		d->addr[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	d->addr_len = (uint8_t)(hex.len / 2);
}

/*
 * The rightmost keyword decides. For SRV a label with an underscore does too,
 * and belongs to the service: "service" may be left out there.
 */
static enum name_kind
find_keyword(const struct labels *l, uint16_t qtype, size_t *ret_parts, size_t *ret_behind)
{
	for (size_t i = l->n; i-- > 0;) {
		enum name_kind kind = keyword(l->v[i]);

		if (kind == NAME_NONE && (qtype != TYPE_SRV || !underscored(l->v[i])))
			continue;
		*ret_parts = kind == NAME_NONE ? i + 1 : i;
		*ret_behind = i + 1;
		return kind == NAME_NONE ? NAME_SERVICE : kind;
	}
	return NAME_NONE;
}

/* Where a name is looked up: what stands behind the keyword. */
struct locality {
	struct str dc, peer, partition, namespace;
};

/*
 * One label is a datacenter; more are pairs of a value and what it is, as
 * Consul 1.16 has them. False: neither.
 */
static bool
parse_locality(const struct str *v, size_t n, struct locality *ret)
{
	const struct {
		struct str word;
		struct str *to;
	} words[] = {
		{ { "dc", 2 }, &ret->dc }, { { "peer", 4 }, &ret->peer },
		{ { "ap", 2 }, &ret->partition }, { { "ns", 2 }, &ret->namespace },
	};

	*ret = (struct locality){ .dc = STR("") };
	if (n == 1)
		ret->dc = v[0];
	if (n <= 1)
		return true;
	for (size_t i = 0; i + 1 < n; i += 2) {
		struct str *to = NULL;

		for (size_t k = 0; k < ARRAY_LEN(words); k++)
			if (str_eq(v[i + 1], words[k].word))
				to = words[k].to;
		if (to == NULL || to->len > 0)
			return false;
		*to = v[i];
	}
	return n % 2 == 0;
}

/* There is one partition with one namespace, and no peer. Addresses are the same everywhere. */
static bool
is_here(const struct locality *where, enum name_kind kind)
{
	if (kind == NAME_ADDR)
		return true;
	return where->peer.len == 0 && (where->partition.len == 0 || str_eqs(where->partition, "default")) &&
	    (where->namespace.len == 0 || str_eqs(where->namespace, "default"));
}

/* What stands before the keyword: n labels, at least one. */
static void
parse_subject(struct dns_name *d, size_t *at, struct str *v, size_t n)
{
	switch (d->kind) {
	case NAME_SERVICE:
		parse_service(d, at, v, n);
		break;
	case NAME_QUERY:
		parse_query(d, at, v, n);
		break;
	case NAME_ADDR:
		if (n == 1)
			parse_addr(d, v[0]);
		else
			d->kind = NAME_NONE;
		return;
	default:
		d->name = join(d, at, v, n);
		break;
	}
	/* All of the name was the underscore. */
	if (d->name.len == 0)
		d->kind = NAME_NONE;
}

void
name_parse(const uint8_t *prefix, size_t prefix_len, uint16_t qtype, struct dns_name *d)
{
	struct labels l;
	struct locality where;
	size_t parts = 0, behind = 0, at = 0;

	d->name = d->tag = d->dc = STR("");
	d->addr_len = 0;
	labels_split(prefix, prefix_len, &l);
	d->kind = find_keyword(&l, qtype, &parts, &behind);
	if (d->kind == NAME_NONE || parts == 0 || !parse_locality(&l.v[behind], l.n - behind, &where) ||
	    !is_here(&where, d->kind)) {
		d->kind = NAME_NONE;
		return;
	}
	if (where.dc.len > 0)
		d->dc = join(d, &at, &where.dc, 1);
	parse_subject(d, &at, l.v, parts);
}
