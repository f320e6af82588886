/*
 * dns_packet.c - any bytes as a DNS packet: read, answered in every way, and
 * each reply checked by a decoder that shares nothing with the writer.
 */
#include <stdlib.h>

#include "dnsd/apex.h"
#include "dnsd/guard.h"
#include "fuzz/fuzz.h"
#include "t/unit/dns_decode.h"
#include "t/unit/dns_world.h"

static struct world {
	struct settings *settings[4];
	struct settings *limited;	/* as guard sees it */
	struct guard *guard;
	struct facts *small, *many;
	uint64_t rng;
	uint8_t out[PKT_TCP_MAX];
	struct decoded d;
} *w;

static void
world_make(void)
{
	static const char few[] = "[{\"Node\":{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Meta\":{\"k\":\"v\",\"rfc1035-x\":\"y\"}},"
	    "\"Service\":{\"Service\":\"web\",\"Port\":80,\"Tags\":[\"a\",\"x.y\"]}},"
	    "{\"Node\":{\"Node\":\"n2\",\"Address\":\"fd00::2\"},\"Service\":{\"Service\":\"web\",\"Port\":81,\"Address\":\"10.9.9.9\"}},"
	    "{\"Node\":{\"Node\":\"n.3\",\"Address\":\"h.example\"},\"Service\":{\"Service\":\"web\",\"Port\":82}},"
	    "{\"Node\":{\"Node\":\"n4\",\"Address\":\"10.0.0.4\",\"TaggedAddresses\":{\"wan\":\"192.0.2.4\",\"lan_ipv6\":\"fd00::4\"}},"
	    "\"Service\":{\"Service\":\"web\",\"Port\":83,\"Tags\":[\"a\",\"b\"]}}]";

	w = calloc(1, sizeof(*w));
	assert(w != NULL);
	w->rng = 1;
	w->settings[0] = world_settings("");
	w->settings[1] = world_settings("\"alt_domain\":\"alt.example\",\"dns_config\":{\"disable_compression\":true,"
	    "\"enable_truncate\":true,\"udp_answer_limit\":8}");
	w->settings[2] = world_settings("\"domain\":\"a.very.long.domain.example.consul\",\"dns_config\":{\"only_passing\":true,"
	    "\"a_record_limit\":2,\"service_ttl\":{\"*\":1000}}");
	w->settings[3] = world_settings("\"alt_domain\":\"alt.consul\",\"translate_wan_addrs\":true,\"recursors\":[\"127.0.0.1\"],"
	    "\"dns_config\":{\"alt_domain_targets\":true,\"minimal_any\":true,\"udp_fill\":true}");
	w->limited = world_settings("\"dns_config\":{\"rate_limit\":100,\"rate_limit_slip\":1}");
	w->guard = guard_new(&w->limited);
	assert(w->guard != NULL);
	w->small = world_service(few);
	w->many = world_many(200);
}

/* A reply of n bytes is whole and answers q. */
static void
check(const struct pkt_query *q, size_t n, size_t max)
{
	if (n == 0 || n > max || !decode(&w->d, w->out, n) || w->d.id != q->id || (w->d.flags & 0x8000) == 0)
		abort();
	if (q->question_len > 0 && (w->d.qtype != q->type || memcmp(w->out + PKT_HEADER, q->question, q->question_len) != 0))
		abort();
	if (q->edns != (w->d.nrrs > 0 && w->d.rr[w->d.nrrs - 1].type == TYPE_OPT))
		abort();
}

static void
answer_from(const struct pkt_query *q, const struct dns_name *n, const struct settings *s, const struct facts *f)
{
	struct answer *a = NULL;
	enum outcome o;

	if (answer_render(f, n, q, s, &o, &a) < 0)
		abort();
	if (o != OUTCOME_RECORDS)
		return;
	check(q, answer_write(a, q, s, false, &w->rng, w->out, PKT_UDP_MAX), PKT_UDP_MAX);
	/* A single record is sent whatever its size. */
	if (w->d.count[1] > 1 && w->d.n > answer_max(q, false))
		abort();
	check(q, answer_write(a, q, s, true, &w->rng, w->out, PKT_TCP_MAX), PKT_TCP_MAX);
	answer_free(a);
}

static void
answer_all(const struct pkt_query *q, const struct settings *s)
{
	struct dns_name n;
	size_t prefix;

	check(q, apex_error(q, s, 0, RCODE_REFUSED, w->out, sizeof(w->out)), PKT_UDP_MIN);
	if (settings_zone(s, q->name, q->name_len, &prefix) == NULL)
		return;
	check(q, apex_negative(q, s, 1, RCODE_NXDOMAIN, w->out, PKT_UDP_MIN), PKT_UDP_MIN);
	check(q, apex_answer(q, s, w->small, 1, &w->rng, w->out, PKT_UDP_MIN), PKT_UDP_MIN);
	name_parse(q->name, prefix, q->type, &n);
	if (n.kind == NAME_ADDR)
		check(q, apex_addr(q, s, &n, w->out, sizeof(w->out)), PKT_UDP_MIN);
	if (n.kind == NAME_SERVICE || n.kind == NAME_NODE) {
		answer_from(q, &n, s, w->small);
		answer_from(q, &n, s, w->many);
	}
}

/* Through cookies and rate limiting: what is sent in place of an answer is whole, and never longer. */
static void
guarded(struct pkt_query *q)
{
	struct asker who = { .peer.in = { .sin_family = AF_INET } };
	int rc = guard_query(w->guard, q, &who);
	size_t n, len;

	if (q->cookie.len > 0 && !q->cookie.reply)
		abort();
	n = apex_error(q, w->limited, FLAG_AA, rc > 0 ? (enum pkt_rcode)rc : RCODE_OK, w->out, PKT_UDP_MAX);
	check(q, n, 2 * PKT_UDP_MIN);
	len = guard_reply(w->guard, q, &who, w->out, n);
	if (len > 0)
		check(q, len, n);
	if (!guard_relay(w->guard, q, &who, w->out, &len) && len > 0)
		check(q, len, n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pkt_query q;
	int rc;

	if (w == NULL)
		world_make();
	rc = pkt_query_read(data, size, &q);
	if (rc < 0)
		return 0;
	if (rc > 0)
		check(&q, apex_error(&q, w->settings[0], 0, (enum pkt_rcode)rc, w->out, sizeof(w->out)), PKT_UDP_MIN);
	if (rc == 0)
		guarded(&q);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(w->settings); i++)
		answer_all(&q, w->settings[i]);
	return 0;
}
