/* query.c - what a prepared query found, out of raftd's reply. */
#include <stdlib.h>

#include "dnsd/facts.h"
#include "lib/duration.h"
#include "lib/records_acl.h"

/* The reply while it is read: slices point into it. */
struct reply {
	struct facts *f;
	struct str service, dc, ttl;
	struct mp_r ranks;		/* before the first of them */
	uint32_t nranks;
	bool ranked, per_client;
};

static int
read_dns(struct mp_r *r, struct arena *scratch, struct reply *ret)
{
	struct pq_dns dns;
	int rc = record_decode(&rec_pq_dns, r, &dns, scratch);

	if (rc == 0)
		ret->ttl = dns.ttl;
	return rc;
}

static int
read_member(struct mp_r *r, struct str key, struct arena *scratch, struct reply *ret)
{
	if (str_eqs(key, "Service")) {
		ret->service = mp_r_str(r);
	} else if (str_eqs(key, "Datacenter")) {
		ret->dc = mp_r_str(r);
	} else if (str_eqs(key, "PerClient")) {
		ret->per_client = mp_r_bool(r);
	} else if (str_eqs(key, "Nodes") && ret->f == NULL) {
		return facts_entries(r, true, scratch, &ret->f);
	} else if (str_eqs(key, "DNS")) {
		return read_dns(r, scratch, ret);
	} else if (str_eqs(key, "Ranks")) {
		ret->ranked = true;
		ret->nranks = mp_r_array(r);
		ret->ranks = *r;
		for (uint32_t i = 0; i < ret->nranks && r->err == 0; i++)
			mp_r_skip(r);
	} else {
		mp_r_skip(r);
	}
	return r->err;
}

static struct str
put(char **at, struct str s)
{
	struct str r = { *at, s.len };

	if (s.len > 0)
		memcpy(*at, s.p, s.len);
	*at += s.len;
	return r;
}

/* A TTL has 31 bits (RFC 2181, 8); what is no duration counts as none. */
static bool
parse_ttl(struct str text, uint32_t *ret)
{
	int64_t ns;

	if (text.len == 0 || duration_parse(text, &ns) < 0 || ns < 0)
		return false;
	ns /= 1000000000;
	*ret = ns > INT32_MAX ? INT32_MAX : (uint32_t)ns;
	return true;
}

static struct query_facts *
pack(const struct reply *in)
{
	struct facts *f = in->f;
	struct query_facts *q = calloc(1, sizeof(*q) + f->n * sizeof(q->ranks[0]) + in->service.len + in->dc.len);
	struct mp_r r = in->ranks;
	char *at;

	if (q == NULL)
		return NULL;
	q->has_ttl = parse_ttl(in->ttl, &q->ttl);
	q->watchable = in->ranked;
	q->per_client = in->per_client;
	for (size_t i = 0; i < f->n && i < in->nranks; i++) {
		uint64_t rank = mp_r_uint(&r);

		q->ranks[i] = rank < UINT16_MAX ? (uint16_t)rank : UINT16_MAX;
		q->sorted |= q->ranks[i] != q->ranks[0];
	}
	at = (char *)&q->ranks[f->n];
	q->service = put(&at, in->service);
	q->dc = put(&at, in->dc);
	return q;
}

int
facts_from_query(struct str payload, struct arena *scratch, struct facts **ret)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);
	struct reply in = { .f = NULL };
	uint32_t n = mp_r_map(&r);
	int rc = r.err;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct str key = mp_r_str(&r);

		rc = r.err < 0 ? r.err : read_member(&r, key, scratch, &in);
	}
	if (rc == 0 && in.f == NULL)
		rc = -EDECODE;
	if (rc == 0) {
		/* A query without instances is a name that does not exist. */
		in.f->query = pack(&in);
		rc = in.f->query != NULL ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		facts_free(in.f);
		return rc;
	}
	*ret = in.f;
	return 0;
}
