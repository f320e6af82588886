/* host.c - a question about a host name, and what of its answer is kept. */
#include "dnsd/host.h"

#include <stdlib.h>

#include "dnsd/message.h"

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

size_t
host_query(const uint8_t *name, uint16_t type, uint8_t out[HOST_QUERY_MAX])
{
	size_t len = pkt_name_len(name), at = PKT_HEADER;

	memset(out, 0, HOST_QUERY_MAX);
	put16(out + 2, FLAG_RD);
	put16(out + 4, 1);
	put16(out + 10, 1);
	memcpy(out + at, name, len);
	at += len;
	put16(out + at, type);
	put16(out + at + 2, CLASS_IN);
	at += 4;
	/* OPT (RFC 6891, 6.1.2): the root, type, size; no flags, no options. */
	put16(out + at + 1, TYPE_OPT);
	put16(out + at + 3, HOST_UDP_SIZE);
	return at + PKT_OPT_LEN;
}

/* One record with its names written out; where `at` stands if it is not NULL. Returns its bytes, 0 when it is none of ours. */
static size_t
copy_record(const struct msg *m, const struct msg_rr *rr, uint8_t *at, struct host_rr *ret)
{
	uint8_t owner[PKT_NAME_MAX + 1], data[PKT_NAME_MAX + 1];
	size_t owner_len = msg_name(m, rr->owner, owner), len = rr->len;

	if (owner_len == 0)
		return 0;
	if (rr->type == TYPE_CNAME)
		len = msg_name(m, rr->data, data);
	else if (len <= sizeof(data))
		memcpy(data, m->p + rr->data, len);
	if (len == 0 || len > sizeof(data))
		return 0;
	if (at == NULL)
		return owner_len + PKT_RR_FIXED + len;
	for (size_t i = 0; i < owner_len; i++)
		at[i] = ascii_lower(owner[i]);
	*ret = (struct host_rr){ at, at + owner_len, (uint16_t)(PKT_RR_FIXED + len) };
	at += owner_len;
	put16(at, rr->type);
	put16(at + 2, CLASS_IN);
	put16(at + 4, rr->ttl >> 16);
	put16(at + 6, rr->ttl & 0xffff);
	put16(at + 8, (unsigned)len);
	memcpy(at + PKT_RR_FIXED, data, len);
	return owner_len + PKT_RR_FIXED + len;
}

struct host_facts *
host_unknown(uint32_t ttl_ms)
{
	struct host_facts *f = malloc(sizeof(*f));

	if (f != NULL)
		*f = (struct host_facts){ .ttl_ms = ttl_ms };
	return f;
}

static uint32_t
belief_ms(uint32_t ttl)
{
	if (ttl > HOST_TTL_MAX_MS / 1000)
		return HOST_TTL_MAX_MS;
	return ttl < HOST_TTL_MIN_MS / 1000 ? HOST_TTL_MIN_MS : ttl * 1000;
}

static int
pack(const struct msg *m, const struct msg_rr *rr, size_t n, struct host_facts **ret)
{
	size_t size = 0, head = sizeof(struct host_facts) + n * sizeof(struct host_rr);
	uint32_t ttl = HOST_TTL_MAX_MS / 1000;
	struct host_facts *f;
	uint8_t *at;

	for (size_t i = 0; i < n; i++) {
		size_t one = copy_record(m, &rr[i], NULL, NULL);

		if (one == 0)
			return -EBADMSG;
		size += one;
		if (rr[i].ttl < ttl)
			ttl = rr[i].ttl;
	}
	f = malloc(head + size);
	if (f == NULL)
		return -ENOMEM;
	f->n = n;
	f->ttl_ms = n > 0 ? belief_ms(ttl) : HOST_NONE_MS;
	at = (uint8_t *)f + head;
	for (size_t i = 0; i < n; i++)
		at += copy_record(m, &rr[i], at, &f->rr[i]);
	*ret = f;
	return 0;
}

int
host_from_reply(const uint8_t *p, size_t n, const uint8_t *name, uint16_t type, struct host_facts **ret)
{
	struct msg_rr rr[HOST_RRS_MAX];
	struct msg m;
	unsigned rcode;
	int rc = msg_read(&m, p, n);

	if (rc < 0)
		return rc;
	rcode = msg_rcode(&m);
	if (rcode != RCODE_OK && rcode != RCODE_NXDOMAIN)
		return -EBADMSG;
	rc = msg_follow(&m, name, type, rr, HOST_RRS_MAX);
	return rc < 0 ? rc : pack(&m, rr, (size_t)rc, ret);
}
