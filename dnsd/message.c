/* message.c - DNS messages that others wrote: read with bounds, never trusted. */
#include "dnsd/message.h"

#include <string.h>

#include "lib/str.h"

enum { OPTION_HEADER = 4 };

static unsigned
get_u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void
put_u16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Offset behind the name at `at`, which is not followed; 0: it does not end. */
static size_t
name_end(const uint8_t *p, size_t n, size_t at)
{
	size_t len = 1;

	while (at < n) {
		unsigned label = p[at];

		if (label == 0)
			return at + 1;
		if (label >= 0xc0)
			return n - at >= 2 ? at + 2 : 0;
		len += label + 1;
		if (label > PKT_LABEL_MAX || len > PKT_NAME_MAX)
			return 0;
		at += label + 1;
	}
	return 0;
}

size_t
msg_name(const struct msg *m, size_t at, uint8_t out[PKT_NAME_MAX + 1])
{
	size_t len = 0, lowest = at;

	for (unsigned jumps = 0; at < m->n;) {
		unsigned label = m->p[at];

		if (label >= 0xc0) {
			if (m->n - at < 2)
				return 0;
			at = get_u16(m->p + at) & PKT_POINTER_MAX;
			/* Ever further back: no way leads round in a circle. */
			if (at >= lowest || at < PKT_HEADER || ++jumps > MSG_POINTERS_MAX)
				return 0;
			lowest = at;
			continue;
		}
		if (label > PKT_LABEL_MAX || m->n - at < label + 1 || len + label + 1 + (label > 0) > PKT_NAME_MAX)
			return 0;
		memcpy(out + len, m->p + at, label + 1);
		len += label + 1;
		if (label == 0)
			return len;
		at += label + 1;
	}
	return 0;
}

bool
msg_name_same(const uint8_t *a, const uint8_t *b)
{
	size_t n = pkt_name_len(a);

	if (pkt_name_len(b) != n)
		return false;
	/* Length bytes are below 'A': the whole can be folded bytewise. */
	for (size_t i = 0; i < n; i++)
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
	return true;
}

int
msg_read(struct msg *m, const uint8_t *p, size_t n)
{
	size_t at = PKT_HEADER;

	if (n < PKT_HEADER)
		return -EBADMSG;
	m->p = p;
	m->n = n;
	m->id = (uint16_t)get_u16(p);
	m->flags = (uint16_t)get_u16(p + 2);
	for (unsigned i = 0; i < 4; i++)
		m->count[i] = (uint16_t)get_u16(p + 4 + 2 * i);
	for (unsigned i = 0; i < m->count[0]; i++) {
		at = name_end(p, n, at);
		if (at == 0 || n - at < 4)
			return -EBADMSG;
		at += 4;
	}
	m->question_end = at;
	msg_rewind(m);
	return 0;
}

void
msg_rewind(struct msg *m)
{
	m->at = m->question_end;
	m->section = SECTION_ANSWER;
	m->done = 0;
}

int
msg_next(struct msg *m, struct msg_rr *ret)
{
	const uint8_t *p = m->p;
	size_t at;

	while (m->section <= SECTION_ADDITIONAL && m->done == m->count[1 + m->section]) {
		m->section++;
		m->done = 0;
	}
	if (m->section > SECTION_ADDITIONAL)
		return 0;
	at = name_end(p, m->n, m->at);
	if (at == 0 || m->n - at < PKT_RR_FIXED)
		return -EBADMSG;
	ret->section = (enum pkt_section)m->section;
	ret->owner = m->at;
	ret->type = (uint16_t)get_u16(p + at);
	ret->class = (uint16_t)get_u16(p + at + 2);
	ret->ttl = (uint32_t)get_u16(p + at + 4) << 16 | get_u16(p + at + 6);
	ret->len = get_u16(p + at + 8);
	ret->data = at + PKT_RR_FIXED;
	if (m->n - ret->data < ret->len)
		return -EBADMSG;
	m->at = ret->data + ret->len;
	m->done++;
	return 1;
}

size_t
msg_end(struct msg *m)
{
	struct msg_rr rr;
	int rc;

	msg_rewind(m);
	while ((rc = msg_next(m, &rr)) > 0)
		;
	return rc == 0 ? m->at : 0;
}

/* The OPT record: 1, 0 when there is none, -EBADMSG. */
static int
find_opt(struct msg *m, struct msg_rr *ret)
{
	struct msg_rr rr;
	int rc, found = 0;

	msg_rewind(m);
	while ((rc = msg_next(m, &rr)) > 0) {
		if (rr.type != TYPE_OPT || rr.section != SECTION_ADDITIONAL)
			continue;
		*ret = rr;
		found = 1;
	}
	return rc < 0 ? rc : found;
}

unsigned
msg_rcode(struct msg *m)
{
	struct msg_rr opt;
	unsigned low = m->flags & 15;

	return find_opt(m, &opt) > 0 ? (opt.ttl >> 24) << 4 | low : low;
}

/* ---- following CNAMEs */

static bool
data_fits(const struct msg *m, const struct msg_rr *rr)
{
	uint8_t name[PKT_NAME_MAX + 1];

	switch (rr->type) {
	case TYPE_A:
		return rr->len == 4;
	case TYPE_AAAA:
		return rr->len == 16;
	default:
		return name_end(m->p, m->n, rr->data) == rr->data + rr->len && msg_name(m, rr->data, name) > 0;
	}
}

static bool
address_type(uint16_t have, uint16_t want)
{
	return (have == TYPE_A || have == TYPE_AAAA) && (want == TYPE_ANY || have == want);
}

/* Whether rr is an answer of class IN under this name with sound data. */
static bool
answers(const struct msg *m, const struct msg_rr *rr, const uint8_t *name)
{
	uint8_t owner[PKT_NAME_MAX + 1];

	return rr->section == SECTION_ANSWER && rr->class == CLASS_IN && msg_name(m, rr->owner, owner) > 0 &&
	    msg_name_same(owner, name) && data_fits(m, rr);
}

/* The addresses of name into out, or its CNAME into *cname: 1 then, else 0. */
static int
one_step(struct msg *m, const uint8_t *name, uint16_t type, struct msg_rr *out, size_t max, size_t *n, struct msg_rr *cname)
{
	struct msg_rr rr;
	bool alias = false, addresses = false;
	int rc;

	msg_rewind(m);
	while ((rc = msg_next(m, &rr)) > 0) {
		if (rr.type != TYPE_CNAME && !address_type(rr.type, type))
			continue;
		if (!answers(m, &rr, name))
			continue;
		if (rr.type == TYPE_CNAME && !alias) {
			*cname = rr;
			alias = true;
		} else if (rr.type != TYPE_CNAME) {
			addresses = true;
			if (*n < max)
				out[(*n)++] = rr;
		}
	}
	if (rc < 0)
		return rc;
	/* A name with addresses has no other name (RFC 1034, 3.6.2). */
	return alias && !addresses;
}

int
msg_follow(struct msg *m, const uint8_t *name, uint16_t type, struct msg_rr *out, size_t max)
{
	uint8_t here[PKT_NAME_MAX + 1];
	struct msg_rr cname;
	size_t n = 0;

	memcpy(here, name, pkt_name_len(name));
	for (unsigned step = 0; step <= MSG_CHAIN_MAX; step++) {
		int rc = one_step(m, here, type, out, max, &n, &cname);

		if (rc <= 0)
			return rc < 0 ? rc : (int)n;
		if (n < max)
			out[n++] = cname;
		if (msg_name(m, cname.data, here) == 0)
			return -EBADMSG;
	}
	return 0;
}

/* ---- replies */

/* Id, one question, the same to the letter (RFC 5452, 9.1). */
static bool
reply_fits(const uint8_t *query, size_t question_end, const struct msg *m)
{
	unsigned rcode = m->flags & 15;

	if (m->id != get_u16(query) || (m->flags & FLAG_QR) == 0)
		return false;
	/* Who cannot read a question may send it back empty. */
	if (m->count[0] == 0)
		return rcode != RCODE_OK && rcode != RCODE_NXDOMAIN;
	return m->count[0] == 1 && m->question_end == question_end &&
	    memcmp(m->p + PKT_HEADER, query + PKT_HEADER, question_end - PKT_HEADER) == 0;
}

enum msg_verdict
msg_judge(const uint8_t *query, size_t question_end, uint8_t *p, size_t *n)
{
	struct msg m;
	size_t end;
	unsigned rcode;

	if (msg_read(&m, p, *n) < 0 || !reply_fits(query, question_end, &m))
		return REPLY_FOREIGN;
	end = msg_end(&m);
	if (end == 0 && (m.flags & FLAG_TC) != 0) {
		/* Cut in the middle of a record: the client is told to ask by TCP, and gets nothing else. */
		memset(p + 6, 0, 6);
		end = m.question_end;
	}
	rcode = m.flags & 15;
	if (end == 0 || (rcode != RCODE_OK && rcode != RCODE_NXDOMAIN))
		return REPLY_NEXT;
	*n = end;
	return REPLY_FINAL;
}

/* ---- options */

/* OPT, and that nothing is behind it: what follows could hold pointers that a move would break. */
static int
last_opt(struct msg *m, const uint8_t *p, size_t n, struct msg_rr *ret)
{
	int rc = msg_read(m, p, n);

	if (rc == 0)
		rc = find_opt(m, ret);
	if (rc > 0 && (ret->data + ret->len != n || p[ret->owner] != 0))
		rc = -EBADMSG;
	return rc;
}

size_t
msg_strip_options(uint8_t *p, size_t n)
{
	struct msg m;
	struct msg_rr opt;
	size_t to, at, end = n;

	if (last_opt(&m, p, n, &opt) <= 0)
		return n;
	for (to = at = opt.data; end - at >= OPTION_HEADER;) {
		unsigned code = get_u16(p + at);
		size_t len = OPTION_HEADER + get_u16(p + at + 2);

		/* What lies about its length is left for the other side to refuse. */
		if (len > end - at)
			break;
		if (code != OPTION_COOKIE && code != OPTION_KEEPALIVE) {
			memmove(p + to, p + at, len);
			to += len;
		}
		at += len;
	}
	memmove(p + to, p + at, end - at);
	to += end - at;
	put_u16(p + opt.data - 2, to - opt.data);
	return to;
}

size_t
msg_add_option(uint8_t *p, size_t n, size_t cap, uint16_t udp_size, uint16_t code, const uint8_t *data, size_t len)
{
	struct msg m;
	struct msg_rr opt = { .len = 0 };
	size_t more = OPTION_HEADER + len, at = n;
	int rc = last_opt(&m, p, n, &opt);

	if (rc == 0)
		more += PKT_OPT_LEN;
	if (rc < 0 || cap < n || cap - n < more || opt.len + OPTION_HEADER + len > UINT16_MAX)
		return n;
	if (rc == 0) {
		/* Behind bytes that no record claims an OPT would not be found. */
		if (m.count[3] == UINT16_MAX || msg_end(&m) != n)
			return n;
		memset(p + at, 0, PKT_OPT_LEN);
		put_u16(p + at + 1, TYPE_OPT);
		put_u16(p + at + 3, udp_size);
		put_u16(p + 10, m.count[3] + 1u);
		at += PKT_OPT_LEN;
		opt.data = at;
	}
	put_u16(p + at, code);
	put_u16(p + at + 2, len);
	memcpy(p + at + OPTION_HEADER, data, len);
	put_u16(p + opt.data - 2, opt.len + OPTION_HEADER + len);
	return n + more;
}
