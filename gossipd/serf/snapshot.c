/* snapshot.c - the lines of the snapshot file: who was alive and how far the clocks were (5.8). */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gossipd/serf/internal.h"

enum { LINE_MAX_BYTES = WIRE_NAME_MAX + 96, PLACES_FIRST = 64 };

/* ---- writing */

/* Text that would read as another line is not written. */
static bool
name_writable(struct str name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] < ' ')
			return false;
	return name_ok(name);
}

static int
put_alive(struct buf *out, const struct swim_node *n)
{
	const struct gossip_addr *a = swim_node_addr(n);
	struct str name = swim_node_name(n);
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(a->len == 16 ? AF_INET6 : AF_INET, a->ip, text, sizeof(text)) == NULL)
		return -EINVAL;
	return buf_addf(out, a->len == 16 ? "alive: %.*s [%s]:%u" : "alive: %.*s %s:%u", STR_ARG(name), text, (unsigned)a->port);
}

static void
tell(struct serf *s, struct buf *line, int rc)
{
	if (rc == 0)
		s->hooks.snapshot(s->hooks.ctx, (struct str){ (const char *)line->data, line->len });
	else
		s->stats.dropped++;
	buf_release(line);
}

void
serf_snapshot_changed(struct serf *s, enum serf_change what, const struct member *m)
{
	struct str name = swim_node_name(m->node);
	struct buf line = BUF_INIT(LINE_MAX_BYTES);

	/* What happens while we leave is of no interest to our next life. */
	if (s->hooks.snapshot == NULL || s->state != SERF_ALIVE || !name_writable(name))
		return;
	if (what == SERF_CHANGE_JOIN)
		tell(s, &line, put_alive(&line, m->node));
	else if (what == SERF_CHANGE_LEAVE || what == SERF_CHANGE_FAILED)
		tell(s, &line, buf_addf(&line, "not-alive: %.*s", STR_ARG(name)));
}

void
serf_snapshot_left(struct serf *s)
{
	if (s->hooks.snapshot != NULL)
		s->hooks.snapshot(s->hooks.ctx, STR("leave"));
}

static void
clock_line(struct serf *s, const char *what, uint64_t seen, uint64_t *line)
{
	struct buf text = BUF_INIT(LINE_MAX_BYTES);

	if (seen <= *line)
		return;
	*line = seen;
	tell(s, &text, buf_addf(&text, "%s: %" PRIu64, what, seen));
}

static bool
clocks_moved(const struct serf *s)
{
	return s->hooks.snapshot != NULL && s->state == SERF_ALIVE &&
	    (s->clock - 1 > s->clock_line || s->event_seen > s->event_line || s->query_seen > s->query_line);
}

void
serf_snapshot_advance(struct serf *s)
{
	if (!clocks_moved(s) || s->lines_at > serf_now(s))
		return;
	s->lines_at = after(serf_now(s), ms(CLOCK_LINE_MS));
	clock_line(s, "clock", s->clock - 1, &s->clock_line);
	clock_line(s, "event-clock", s->event_seen, &s->event_line);
	clock_line(s, "query-clock", s->query_seen, &s->query_line);
}

uint64_t
serf_snapshot_next(const struct serf *s)
{
	return clocks_moved(s) ? s->lines_at : UINT64_MAX;
}

int
serf_snapshot_write(struct serf *s, struct buf *out)
{
	size_t from = out->len;
	bool alive = s->state == SERF_ALIVE || s->config.rejoin_after_leave;
	int rc = 0;

	for (size_t i = 0; i < s->roster.n && alive && rc == 0; i++) {
		const struct member *m = &s->roster.v[i];

		if ((m->status != SERF_ALIVE && m->status != SERF_LEAVING) || !name_writable(swim_node_name(m->node)))
			continue;
		rc = put_alive(out, m->node);
		if (rc == 0)
			rc = buf_addc(out, '\n');
	}
	if (rc == 0)
		rc = buf_addf(out, "clock: %" PRIu64 "\nevent-clock: %" PRIu64 "\nquery-clock: %" PRIu64 "\n%s", s->clock - 1, s->event_seen,
		    s->query_seen, s->state == SERF_ALIVE ? "" : "leave\n");
	if (rc < 0)
		out->len = from;
	return rc;
}

/* ---- reading */

/* While it is read: a member that is not alive any more keeps its entry, without an address. */
struct reading {
	struct serf_previous *p;
	bool rejoin;
	uint32_t *places;		/* index into p->alive, +1 */
	size_t nplaces, bad;
};

static uint32_t
hash_name(struct str name)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t *
place_of(const struct reading *r, struct str name)
{
	size_t at = hash_name(name) & (r->nplaces - 1);

	while (r->places[at] != 0 && !str_eq(str_from(r->p->alive[r->places[at] - 1].name), name))
		at = (at + 1) & (r->nplaces - 1);
	return &r->places[at];
}

/* Room for one more, in the list and among the places. */
static int
grow(struct reading *r)
{
	struct serf_previous *p = r->p;
	size_t cap = p->cap == 0 ? PLACES_FIRST / 2 : p->cap * 2;
	uint32_t *places;
	void *v;

	if (p->n < p->cap)
		return 0;
	v = realloc(p->alive, cap * sizeof(*p->alive));
	if (v == NULL)
		return -ENOMEM;
	p->alive = v;
	places = calloc(2 * cap, sizeof(*places));
	if (places == NULL)
		return -ENOMEM;
	p->cap = cap;
	free(r->places);
	r->places = places;
	r->nplaces = 2 * cap;
	for (size_t i = 0; i < p->n; i++)
		*place_of(r, str_from(p->alive[i].name)) = (uint32_t)i + 1;
	return 0;
}

static int
parse_u64(struct str text, uint64_t *ret)
{
	uint64_t v = 0;

	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || v > (UINT64_MAX - 9) / 10)
			return -EINVAL;
		v = v * 10 + (uint64_t)(text.p[i] - '0');
	}
	*ret = v;
	return 0;
}

/* The last of this byte; the length if there is none. */
static size_t
last_of(struct str s, char c)
{
	for (size_t i = s.len; i-- > 0;)
		if (s.p[i] == c)
			return i;
	return s.len;
}

static int
parse_addr(struct str text, struct gossip_addr *ret)
{
	size_t colon = last_of(text, ':');
	char ip[INET6_ADDRSTRLEN];
	uint8_t raw[16];
	uint64_t port;
	bool six = text.len > 2 && text.p[0] == '[';
	size_t from = six ? 1 : 0, to = six ? colon - 1 : colon;

	if (colon == text.len || to <= from || to - from >= sizeof(ip) || (six && text.p[to] != ']'))
		return -EINVAL;
	memcpy(ip, text.p + from, to - from);
	ip[to - from] = 0;
	if (inet_pton(six ? AF_INET6 : AF_INET, ip, raw) != 1)
		return -EINVAL;
	if (parse_u64((struct str){ text.p + colon + 1, text.len - colon - 1 }, &port) < 0 || port == 0)
		return -EINVAL;
	return gossip_addr_set(ret, (struct str){ (const char *)raw, six ? 16 : 4 }, port);
}

static int
read_alive(struct reading *r, struct str rest)
{
	size_t space = last_of(rest, ' ');
	struct str name = { rest.p, space };
	struct serf_previous *p = r->p;
	struct gossip_addr addr;
	uint32_t *place;
	int rc;

	if (space + 1 >= rest.len || !name_ok(name) || name.len >= WIRE_NAME_MAX || memchr(name.p, 0, name.len) != NULL ||
	    parse_addr((struct str){ rest.p + space + 1, rest.len - space - 1 }, &addr) < 0)
		return -EINVAL;
	rc = grow(r);
	if (rc < 0)
		return rc;
	place = place_of(r, name);
	if (*place == 0 && p->n >= SERF_PREVIOUS_MAX)
		return -ELIMIT;
	p->left = false;
	if (*place == 0) {
		memcpy(p->alive[p->n].name, name.p, name.len);
		p->alive[p->n].name[name.len] = 0;
		*place = (uint32_t)++p->n;
	}
	p->alive[*place - 1].addr = addr;
	return 0;
}

static int
read_not_alive(struct reading *r, struct str name)
{
	uint32_t at = r->nplaces > 0 ? *place_of(r, name) : 0;

	if (at > 0)
		r->p->alive[at - 1].addr.len = 0;
	return 0;
}

static int
read_leave(struct reading *r)
{
	struct serf_previous *p = r->p;

	p->left = true;
	if (r->rejoin)
		return 0;
	for (size_t i = 0; i < p->n; i++)
		p->alive[i].addr.len = 0;
	p->clock = p->event_clock = p->query_clock = 0;
	return 0;
}

static bool
cut(struct str line, const char *prefix, struct str *rest)
{
	size_t n = strlen(prefix);

	if (!str_has_prefix(line, str_from(prefix)))
		return false;
	*rest = (struct str){ line.p + n, line.len - n };
	return true;
}

/* -ENOMEM, or another negative: it is damaged. */
static int
read_line(struct reading *r, struct str line)
{
	struct str rest;

	if (cut(line, "alive: ", &rest))
		return read_alive(r, rest);
	if (cut(line, "not-alive: ", &rest))
		return read_not_alive(r, rest);
	if (cut(line, "clock: ", &rest))
		return parse_u64(rest, &r->p->clock);
	if (cut(line, "event-clock: ", &rest))
		return parse_u64(rest, &r->p->event_clock);
	if (cut(line, "query-clock: ", &rest))
		return parse_u64(rest, &r->p->query_clock);
	if (str_eqs(line, "leave"))
		return read_leave(r);
	return line.len == 0 || line.p[0] == '#' || cut(line, "coordinate: ", &rest) ? 0 : -EINVAL;
}

static int
read_lines(struct reading *r, struct str text)
{
	while (text.len > 0) {
		const char *end = memchr(text.p, '\n', text.len);
		size_t n = end != NULL ? (size_t)(end - text.p) : text.len;
		/* The last line may have been torn: half an address is another address. */
		int rc = end != NULL ? read_line(r, (struct str){ text.p, n }) : -EINVAL;

		if (rc == -ENOMEM)
			return rc;
		r->bad += rc < 0;
		n += end != NULL;
		text = (struct str){ text.p + n, text.len - n };
	}
	return 0;
}

int
serf_snapshot_read(struct str text, bool rejoin, struct serf_previous *ret, size_t *ret_bad)
{
	struct reading r = { .p = ret, .rejoin = rejoin };
	size_t n = 0;
	int rc;

	*ret = (struct serf_previous){ .n = 0 };
	rc = read_lines(&r, text);
	free(r.places);
	if (rc < 0) {
		serf_previous_release(ret);
		return rc;
	}
	for (size_t i = 0; i < ret->n; i++)
		if (ret->alive[i].addr.len > 0)
			ret->alive[n++] = ret->alive[i];
	ret->n = n;
	*ret_bad = r.bad;
	return 0;
}

void
serf_previous_release(struct serf_previous *p)
{
	free(p->alive);
	*p = (struct serf_previous){ .n = 0 };
}

/* Our own file is believed, but for a clock that is at its end. */
static uint64_t
resume_clock(uint64_t *clock, uint64_t t)
{
	uint64_t seen = t < UINT64_MAX - CLOCK_STEP ? t : UINT64_MAX - CLOCK_STEP;

	if (seen >= *clock)
		*clock = seen + 1;
	return seen;
}

void
serf_resume(struct serf *s, const struct serf_previous *p)
{
	s->clock_line = resume_clock(&s->clock, p->clock);
	s->event_line = s->event_seen = resume_clock(&s->event_clock, p->event_clock);
	s->query_line = s->query_seen = resume_clock(&s->query_clock, p->query_clock);
	s->event_min = s->event_seen + 1;
	s->query_min = s->query_seen + 1;
}
