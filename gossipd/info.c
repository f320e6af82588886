/* info.c - what gossipd tells of itself: info's sections, and metrics under Consul's names. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "gossipd/gossipd.h"

/* Consul's keys. */
static void
pool_section(struct info_writer *iw, const char *section, struct pool *p)
{
	struct serf_stats s;

	serf_get_stats(p->serf, &s);
	info_section(iw, section);
	info_add(iw, "coordinate_resets", "%" PRIu64, s.coordinate_resets);
	info_add(iw, "encrypted", "%s", keyring_count(p->keys) > 0 ? "true" : "false");
	info_add(iw, "event_queue", "%zu", s.event_queue);
	info_add(iw, "event_time", "%" PRIu64, s.event_clock);
	info_add(iw, "failed", "%zu", serf_count(p->serf, SERF_FAILED));
	info_add(iw, "health_score", "%u", swim_health(serf_swim(p->serf)));
	info_add(iw, "intent_queue", "%zu", s.intent_queue);
	info_add(iw, "left", "%zu", serf_count(p->serf, SERF_LEFT));
	info_add(iw, "member_time", "%" PRIu64, s.clock);
	info_add(iw, "members", "%zu", serf_count(p->serf, SERF_NONE));
	info_add(iw, "query_queue", "%zu", s.query_queue);
	info_add(iw, "query_time", "%" PRIu64, s.query_clock);
}

struct counter {
	char name[32];
	uint64_t v;
};
enum { COUNTERS_MAX = PACKET_FAULTS + 24 };

static void
add(struct counter *v, size_t *n, const char *name, uint64_t value)
{
	snprintf(v[*n].name, sizeof(v[*n].name), "%s", name);
	v[(*n)++].v = value;
}

/* A fault's text as a word. */
static void
word_of(const char *text, char word[32])
{
	size_t n = 0;

	for (; *text != '\0' && n < 26; text++)
		if (isalnum((unsigned char)*text))
			word[n++] = (char)ascii_lower((unsigned char)*text);
		else if (n > 0 && word[n - 1] != '_')
			word[n++] = '_';
	word[n] = '\0';
}

/* What a pool has dropped and refused, each by its reason. */
static size_t
dropped(struct pool *p, struct counter v[COUNTERS_MAX])
{
	const struct udp_counts *u = &p->udp.counts;
	const struct stream_counts *t = &p->streams.counts;
	const struct swim_stats *s = swim_stats(serf_swim(p->serf));
	struct serf_stats f;
	size_t n = 0;
	char word[32];

	serf_get_stats(p->serf, &f);
	for (int i = PACKET_OK + 1; i < PACKET_FAULTS; i++) {
		word_of(packet_fault_text((enum packet_fault)i), word);
		add(v, &n, word, u->faults[i]);
	}
	add(v, &n, "packet_network", u->strangers);
	add(v, &n, "packet_unsent", u->unsent);
	add(v, &n, "message_malformed", s->malformed);
	add(v, &n, "message_dropped", s->dropped_messages);
	add(v, &n, "member_refused", s->refused_members + p->name_conflicts);
	add(v, &n, "serf_malformed", f.malformed);
	add(v, &n, "serf_refused", f.refused);
	add(v, &n, "stream_network", t->strangers);
	add(v, &n, "stream_crowded", t->crowded);
	add(v, &n, "stream_malformed", t->malformed);
	add(v, &n, "stream_late", t->late);
	add(v, &n, "stream_cut", t->cut);
	add(v, &n, "stream_merge_refused", t->merges_refused);
	add(v, &n, "stream_undialled", t->undialled);
	return n;
}

/* Ours, in the section of the daemon itself: what Consul shows in metrics only. */
static void
drops_info(struct info_writer *iw, const char *prefix, struct pool *p)
{
	struct counter v[COUNTERS_MAX];
	size_t n = dropped(p, v);
	char key[64];

	for (size_t i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%s_dropped_%.31s", prefix, v[i].name);
		info_add(iw, key, "%" PRIu64, v[i].v);
	}
	snprintf(key, sizeof(key), "%s_packets_received", prefix);
	info_add(iw, key, "%" PRIu64, p->udp.counts.received);
	snprintf(key, sizeof(key), "%s_packets_sent", prefix);
	info_add(iw, key, "%" PRIu64, p->udp.counts.sent);
	snprintf(key, sizeof(key), "%s_bytes_sent", prefix);
	info_add(iw, key, "%" PRIu64, p->udp.counts.sent_bytes + p->streams.counts.sent_bytes);
	snprintf(key, sizeof(key), "%s_bytes_received", prefix);
	info_add(iw, key, "%" PRIu64, p->udp.counts.received_bytes + p->streams.counts.received_bytes);
}

void
gossipd_info(struct daemon *d, struct info_writer *iw)
{
	struct gossipd *g = d->ctx;

	drops_info(iw, "lan", &g->lan);
	if (g->has_wan)
		drops_info(iw, "wan", &g->wan);
	info_add(iw, "events_malformed", "%" PRIu64, g->events.malformed);
	pool_section(iw, "serf_lan", &g->lan);
	if (g->has_wan)
		pool_section(iw, "serf_wan", &g->wan);
}

/* ---- metrics */

/* Add what has come to a counter since the last time. */
static void
count_up(const char *name, uint64_t now, uint64_t *before)
{
	if (now != *before)
		metric_add(metric_get(name, METRIC_COUNTER), (double)(now - *before));
	*before = now;
}

static uint64_t
both(const struct gossipd *g, uint64_t (*of)(const struct pool *p))
{
	return of(&g->lan) + (g->has_wan ? of(&g->wan) : 0);
}

#define OF(name, expression) static uint64_t name(const struct pool *p) { return expression; }
OF(udp_received, p->udp.counts.received_bytes)
OF(udp_sent, p->udp.counts.sent_bytes)
OF(tcp_accept, p->streams.counts.accepted)
OF(tcp_connect, p->streams.counts.dialled)
OF(tcp_sent, p->streams.counts.sent_bytes)
OF(tcp_received, p->streams.counts.received_bytes)
OF(msg_suspect, swim_stats(serf_swim(p->serf))->suspected)
OF(msg_dead, swim_stats(serf_swim(p->serf))->declared_dead)
OF(degraded_probe, swim_stats(serf_swim(p->serf))->probes_failed)
OF(probes, swim_stats(serf_swim(p->serf))->probes)
OF(refuted, swim_stats(serf_swim(p->serf))->refuted)

static const struct {
	const char *name;
	uint64_t (*of)(const struct pool *p);
} counted[] = {
	{ "memberlist.udp.received", udp_received }, { "memberlist.udp.sent", udp_sent }, { "memberlist.tcp.accept", tcp_accept },
	{ "memberlist.tcp.connect", tcp_connect }, { "memberlist.tcp.sent", tcp_sent }, { "memberlist.tcp.received", tcp_received },
	{ "memberlist.msg.suspect", msg_suspect }, { "memberlist.msg.dead", msg_dead }, { "memberlist.degraded.probe", degraded_probe },
	{ "memberlist.probeNode", probes }, { "memberlist.msg.refuted", refuted },
};

static void
measure_drops(struct gossipd *g)
{
	static uint64_t before[COUNTERS_MAX];
	struct counter lan[COUNTERS_MAX], wan[COUNTERS_MAX];
	size_t n = dropped(&g->lan, lan);
	char name[METRIC_NAME_MAX];

	if (g->has_wan && dropped(&g->wan, wan) == n)
		for (size_t i = 0; i < n; i++)
			lan[i].v += wan[i].v;
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "memberlist.dropped.%.31s", lan[i].name);
		count_up(name, lan[i].v, &before[i]);
	}
}

static void
measure_queues(struct pool *p)
{
	struct serf_stats s;

	serf_get_stats(p->serf, &s);
	metric_add(metric_get("serf.queue.Intent", METRIC_SAMPLE), (double)s.intent_queue);
	metric_add(metric_get("serf.queue.Event", METRIC_SAMPLE), (double)s.event_queue);
	metric_add(metric_get("serf.queue.Query", METRIC_SAMPLE), (double)s.query_queue);
	metric_set(metric_get("memberlist.health.score", METRIC_GAUGE), swim_health(serf_swim(p->serf)));
}

void
gossipd_measure(struct gossipd *g)
{
	static uint64_t before[ARRAY_LEN(counted)], events, queries;
	struct serf_stats s;

	for (size_t i = 0; i < ARRAY_LEN(counted); i++)
		count_up(counted[i].name, both(g, counted[i].of), &before[i]);
	measure_drops(g);
	measure_queues(&g->lan);
	serf_get_stats(g->lan.serf, &s);
	count_up("serf.events", s.events, &events);
	count_up("serf.queries", s.queries, &queries);
}
