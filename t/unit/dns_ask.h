/* dns_ask.h - questions about facts, asked of dnsd's pure parts, and their answers decoded. */
#ifndef T_UNIT_DNS_ASK_H
#define T_UNIT_DNS_ASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "t/unit/dns_decode.h"
#include "t/unit/dns_world.h"

static struct decoded d;
static uint64_t rng = 1;

/* One question about facts; the outcome, and for records the decoded reply in d. */
static inline enum outcome
ask_facts(const struct facts *f, const struct settings *s, const char *name, uint16_t type, unsigned udp_size, bool tcp)
{
	static uint8_t out[PKT_TCP_MAX];
	uint8_t p[512];
	struct pkt_query q;
	struct dns_name n;
	struct answer *a = NULL;
	enum outcome o = OUTCOME_EMPTY;
	size_t prefix, len;

	assert_int_equal(pkt_query_read(p, query_bytes(p, name, type, udp_size), &q), 0);
	assert_non_null(settings_zone(s, q.name, q.name_len, &prefix));
	name_parse(q.name, prefix, type, &n);
	assert_int_equal(answer_render(f, &n, &q, s, &o, &a), 0);
	if (o != OUTCOME_RECORDS)
		return o;
	len = answer_write(a, &q, s, tcp, &rng, out, tcp ? PKT_TCP_MAX : PKT_UDP_MAX);
	assert_true(decode(&d, out, len));
	assert_int_equal(d.id, 0x1234);
	answer_free(a);
	return o;
}

/* Whether the reply has this record. */
static inline bool
has(unsigned section, unsigned type, const char *owner, const char *data)
{
	for (unsigned i = 0; i < d.nrrs; i++)
		if (d.rr[i].section == section && d.rr[i].type == type && strcmp(d.rr[i].owner, owner) == 0 &&
		    strcmp(decode_data(&d, &d.rr[i]), data) == 0)
			return true;
	return false;
}

#define INSTANCE(node, naddr, svc) "{\"Node\":{\"Node\":\"" node "\",\"Address\":\"" naddr "\"},\"Service\":{\"Service\":\"web\"," svc "}"
#define CHECK(status) ",\"Checks\":[{\"CheckID\":\"c\",\"Status\":\"passing\"},{\"CheckID\":\"d\",\"Status\":\"" status "\"}]}"

/* Facts of a node out of JSON. */
static inline struct facts *
node_facts(const char *json)
{
	struct json_object *j = json_tokener_parse(json);
	struct arena a = ARENA_INIT(1 * MiB), scratch = ARENA_INIT(1 * MiB);
	struct buf b = BUF_INIT(1 * MiB);
	struct mp_w w = mp_w_init(&b);
	struct facts *f = NULL;
	struct node n;
	char err[256];

	memset(&n, 0, sizeof(n));
	assert_int_equal(record_from_json(&rec_node, j, &n, &a, true, err, sizeof(err)), 0);
	mp_w_map(&w, 2);
	mp_w_cstr(&w, "Node");
	record_encode(&rec_node, &n, RECORD_PUBLIC, &w);
	mp_w_cstr(&w, "Services");
	mp_w_map(&w, 0);
	assert_int_equal(facts_from_node((struct str){ (const char *)b.data, b.len }, &scratch, &f), 0);
	buf_release(&b);
	arena_release(&a);
	arena_release(&scratch);
	json_object_put(j);
	return f;
}

#endif
