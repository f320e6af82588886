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
		{ { "connect", 7 }, NAME_MESH }, { { "ingress", 7 }, NAME_MESH },
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
	if (hex.len != 8 && hex.len != 32) {
		d->kind = NAME_ADDR_EMPTY;
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

void
name_parse(const uint8_t *prefix, size_t prefix_len, uint16_t qtype, struct dns_name *d)
{
	struct labels l;
	size_t parts = 0, behind = 0, at = 0;

	d->name = d->tag = d->dc = STR("");
	d->addr_len = 0;
	labels_split(prefix, prefix_len, &l);
	d->kind = find_keyword(&l, qtype, &parts, &behind);
	/* At least something before the keyword, and no more than a datacenter behind it. */
	if (d->kind == NAME_NONE || parts == 0 || l.n - behind > 1) {
		d->kind = NAME_NONE;
		return;
	}
	if (l.n > behind)
		d->dc = join(d, &at, &l.v[behind], 1);
	switch (d->kind) {
	case NAME_SERVICE:
		parse_service(d, &at, l.v, parts);
		break;
	case NAME_ADDR:
		if (parts == 1)
			parse_addr(d, l.v[0]);
		else
			d->kind = NAME_NONE;
		break;
	default:
		d->name = join(d, &at, l.v, parts);
		break;
	}
}
