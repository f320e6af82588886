/*
 * gossip.c - `t/sim/gossip`: how fast a pool of N members hears of a join, a leave and
 * a failure, what it costs while nothing happens, and how often it is wrong when some
 * members are starved of CPU and packets are lost; beside what the papers' formulae
 * say. Under one seed; the same seed gives the same digest.
 *
 *	t/sim/gossip [--seed N] [--members N[,N...]] [--loss PERCENT] [--starved PERCENT] [--quiet S] [--noisy S] [--swim]
 *	    [--timers-first] [--check]
 *
 * --swim: without Lifeguard. --timers-first: a member that was starved looks at its timers before the packets that waited for it. --check: exit 1 when something is out of the bounds
 * that the formulae give.
 */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/sim/gossip/world.h"

enum { SIZES_MAX = 16 };

static bool bad;

static void
row(const char *what, const char *measured, const char *expected)
{
	printf("  %-34s %-44s %s\n", what, measured, expected);
}

/* Told by --check; `of` in the words of the table. */
static void
bound(bool ok, uint32_t n, const char *of)
{
	if (!ok) {
		printf("  out of bounds: members=%" PRIu32 " %s\n", n, of);
		bad = true;
	}
}

/* ---- what the papers say */

/*
 * Push epidemics with fanout k among n: about log_{k+1} n rounds until half know, and ln n / k more for the
 * rest (Pittel 1987; SWIM, section 4.1). Lost packets thin the fanout out.
 */
static double
rounds(const struct world *w, double n)
{
	double k = (double)w->swim.gossip_nodes * (1 - w->loss);

	return log(n) / log(k + 1) + log(n) / k;
}

static double
spread_s(const struct world *w, double n)
{
	return rounds(w, n) * w->swim.gossip_ms / 1000.0;
}

/* A failed member is first probed after e / (e - 1) periods on average (SWIM, section 3.3). */
static double
first_probe_s(const struct world *w)
{
	return M_E / (M_E - 1) * w->swim.probe_interval_ms / 1000.0;
}

static double
suspicion_s(const struct world *w, size_t n, unsigned confirmations)
{
	return (double)swim_suspicion_ms(w->swim.suspicion_mult, w->swim.suspicion_max_mult, w->swim.probe_interval_ms, n, confirmations) / 1000;
}

/* What one member sends in a second when nothing happens: a ping and an ack, and its part of the push/pulls. */
static void
idle_bytes(struct world *w, double *ret_udp, double *ret_stream)
{
	struct member *m = &w->members[w->nmembers / 2];
	struct swim *s = serf_swim(m->serf);
	const struct gossip_addr *a = swim_node_addr(swim_self(s));
	const struct msg_ping ping = { .seqno = 300, .node = str_from(m->name), .source_addr = { (const char *)a->ip, a->len },
		.source_port = a->port, .source_node = str_from(m->name) };
	struct buf b = BUF_INIT(STREAM_INFLATED_MAX);
	struct msg_ack ack = { .seqno = 300 };
	size_t udp, payload;

	if (coord_put(&b, serf_coordinate(m->serf)) < 0)
		exit(2);
	payload = b.len;
	ack.payload = (struct str){ "", 0 };
	buf_clear(&b);
	if (wire_put(&b, WIRE_PING, &rec_msg_ping, &ping) < 0 || wire_put(&b, WIRE_ACK, &rec_msg_ack, &ack) < 0)
		exit(2);
	udp = b.len + payload + 2 + 2 * UDP_HEADER;	/* two more bytes for the payload's length */
	buf_clear(&b);
	if (swim_put_state(s, false, &b) < 0)
		exit(2);
	*ret_udp = (double)udp * 1000 / w->swim.probe_interval_ms;
	*ret_stream = 2 * (double)b.len * 1000 / swim_push_pull_ms(w->swim.push_pull_ms, swim_count(s));
	buf_release(&b);
}

/* ---- what is seen */

static void
count_bytes(const struct world *w, uint64_t *udp, uint64_t *stream, uint64_t *packets)
{
	*udp = *stream = *packets = 0;
	for (size_t i = 0; i < w->nmembers; i++) {
		*udp += w->members[i].bytes;
		*stream += w->members[i].stream_bytes;
		*packets += w->members[i].packets;
	}
}

static void
see_idle(struct world *w)
{
	uint64_t u0, s0, p0, u1, s1, p1, ignored;
	double n = (double)w->nmembers, turn = swim_push_pull_ms(w->swim.push_pull_ms, w->nmembers) / 1000.0;
	double quiet = w->o.quiet_s > 0 ? w->o.quiet_s : 1, udp, stream;
	char text[64], expected[64];

	/* Each member begins one push/pull within the first interval, and the next a turn of all later. */
	count_bytes(w, &ignored, &s0, &ignored);
	world_run(w, w->now + w->swim.push_pull_ms * MS, NULL);
	count_bytes(w, &u0, &s1, &p0);
	world_run(w, w->now + (uint64_t)(quiet * (double)SECOND), NULL);
	count_bytes(w, &u1, &ignored, &p1);
	idle_bytes(w, &udp, &stream);
	(void)snprintf(text, sizeof(text), "%.0f B/s in %.2f packets, streams %.0f B/s", (double)(u1 - u0) / n / quiet, (double)(p1 - p0) / n / quiet,
	    (double)(s1 - s0) / n / turn);
	(void)snprintf(expected, sizeof(expected), "%.0f B/s in 2 packets, streams %.0f B/s", udp, stream);
	row("sent by a member at rest", text, expected);
	bound((double)(u1 - u0) / n / quiet < 1.25 * udp && (double)(u1 - u0) / n / quiet > 0.75 * udp, (uint32_t)w->nmembers, "bytes at rest");
}

static void
show_spread(const char *what, const struct spread *s, const char *expected)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "%.2f / %.2f / %.2f s (%zu of %zu)", s->first, s->median, s->last, s->heard, s->of);
	row(what, text, expected);
}

static void
see_join(struct world *w)
{
	char expected[64], name[NAME_MAX_SIM];
	uint64_t from = w->now;
	double limit = spread_s(w, (double)w->nmembers);
	struct spread s;

	(void)snprintf(name, sizeof(name), "m%zu", w->nmembers);
	measure_watch(w, name, SERF_CHANGE_JOIN);
	(void)world_join(w, (uint32_t)(world_random(&w->rng) % w->nmembers));
	world_run(w, w->now + 60 * SECOND, measure_all_heard);
	s = measure_spread(w, from);
	(void)snprintf(expected, sizeof(expected), "last %.2f s (%.1f rounds)", limit, rounds(w, (double)w->nmembers));
	show_spread("a join is seen (first/half/last)", &s, expected);
	bound(s.heard == s.of && s.median < 3 * limit + 0.5 && s.last < 2 * swim_push_pull_ms(w->swim.push_pull_ms, w->nmembers) / 1000.0,
	    (uint32_t)w->nmembers, "join");
}

static void
see_leave(struct world *w)
{
	uint32_t i = (uint32_t)(world_random(&w->rng) % w->nmembers);
	char expected[64];
	uint64_t from = w->now;
	double limit = spread_s(w, (double)w->nmembers);
	struct spread s;

	measure_watch(w, w->members[i].name, SERF_CHANGE_LEAVE);
	world_leave(w, i);
	world_run(w, w->now + 60 * SECOND, measure_all_heard);
	s = measure_spread(w, from);
	/* The intent goes its full number of times first, one gossip a packet of its own turn. */
	(void)snprintf(expected, sizeof(expected), "%.2f s behind the intent's last sending", limit);
	show_spread("a leave is seen", &s, expected);
	/* In a small pool a member may get none of the few copies: a push/pull tells it. */
	bound(s.heard == s.of && s.median < 3 * limit + 6 && s.last < 2 * swim_push_pull_ms(w->swim.push_pull_ms, w->nmembers) / 1000.0,
	    (uint32_t)w->nmembers, "leave");
	world_run(w, w->now + 5 * SECOND, NULL);
	world_kill(w, i);
}

static void
see_failure(struct world *w)
{
	uint32_t i = (uint32_t)(world_random(&w->rng) % w->nmembers);
	char expected[80];
	uint64_t from = w->now;
	double period = w->swim.probe_interval_ms / 1000.0, least, most, likely;
	struct spread s;

	while (w->members[i].serf == NULL)
		i = (i + 1) % (uint32_t)w->nmembers;
	measure_watch(w, w->members[i].name, SERF_CHANGE_FAILED);
	world_kill(w, i);
	world_run(w, w->now + 180 * SECOND, measure_all_heard);
	s = measure_spread(w, from);
	least = suspicion_s(w, w->nmembers, 2);
	most = suspicion_s(w, w->nmembers, 0);
	likely = first_probe_s(w) + period + (least > 2 * period ? least : 2 * period);
	(void)snprintf(expected, sizeof(expected), "about %.1f s (suspicion %.1f to %.1f s)", likely, least, most);
	show_spread("a failure is seen", &s, expected);
	bound(s.heard == s.of && s.first >= least && s.median < 5 * period + most + 3 * spread_s(w, (double)w->nmembers),
	    (uint32_t)w->nmembers, "failure");
}

/* As in Lifeguard's evaluation, section V: what is told of members that are there, per member and hour. */
static void
see_trouble(struct world *w)
{
	char text[80], label[64];
	double hours;

	w->false_both = w->false_healthy = w->false_starved = 0;
	world_trouble(w, w->o.starved, w->o.loss);
	world_run(w, w->now + w->o.noisy_s * SECOND, NULL);
	hours = (double)w->nmembers * w->o.noisy_s / 3600;
	(void)snprintf(label, sizeof(label), "wrongly failed, %.0f%% starved %.0f%% lost", 100 * w->o.starved, 100 * w->o.loss);
	(void)snprintf(text, sizeof(text), "%" PRIu64 " at healthy, %" PRIu64 " anywhere", w->false_both, w->false_healthy);
	row(label, text, w->o.timers_first ? w->o.lifeguard ? "a fiftieth of SWIM's (Lifeguard)" :
	    "fifty times Lifeguard's" : "none: what waited is heard first");
	(void)snprintf(text, sizeof(text), "%.4f per member and hour; starved ones: %" PRIu64, (double)w->false_healthy / hours, w->false_starved);
	row("", text, "");
}

static void
run(const struct options *o, uint32_t n)
{
	struct world w;
	struct options mine = *o;

	mine.members = n;
	world_init(&w, &mine, n + 2);
	printf("members %" PRIu32 " seed %" PRIu64 " %s%s\n", n, o->seed, o->lifeguard ? "Lifeguard" : "plain SWIM",
	    o->timers_first ? ", timers before packets" : "");
	row("", "seen", "by the formulae");
	world_form(&w, n);
	see_idle(&w);
	see_join(&w);
	see_leave(&w);
	see_failure(&w);
	see_trouble(&w);
	printf("  digest %016" PRIx64 ", %.0f simulated seconds, %" PRIu64 " messages\n", w.digest, (double)(w.now - w.started) / 1e9, w.delivered);
	(void)fflush(stdout);
	world_release(&w);
}

/* ---- command line */

static double
number(const char *text, double most)
{
	char *end;
	double v = strtod(text, &end);

	if (*text == '\0' || *end != '\0' || !(v >= 0) || v > most) {
		fprintf(stderr, "t/sim/gossip: not a number from 0 to %.0f: %s\n", most, text);
		exit(2);
	}
	return v;
}

static size_t
sizes_of(char *text, uint32_t *sizes)
{
	size_t n = 0;
	char *save;

	for (char *s = strtok_r(text, ",", &save); s != NULL && n < SIZES_MAX; s = strtok_r(NULL, ",", &save)) {
		sizes[n] = (uint32_t)number(s, 20000);
		if (sizes[n++] < 4) {
			fputs("t/sim/gossip: a pool has 4 members at least\n", stderr);
			exit(2);
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "members", required_argument, NULL, 'm' }, { "loss", required_argument, NULL, 'l' },
		{ "starved", required_argument, NULL, 'c' }, { "quiet", required_argument, NULL, 'q' }, { "noisy", required_argument, NULL, 'n' },
		{ "swim", no_argument, NULL, 'w' }, { "check", no_argument, NULL, 'k' },
		{ "timers-first", no_argument, NULL, 't' }, { NULL, 0, NULL, 0 },
	};
	struct options o = { .seed = 1, .loss = 0.05, .starved = 0.01, .lifeguard = true, .quiet_s = 60, .noisy_s = 300 };
	uint32_t sizes[SIZES_MAX] = { 100 };
	size_t nsizes = 1;
	bool check = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': o.seed = strtoull(optarg, NULL, 10); break;
		case 'm': nsizes = sizes_of(optarg, sizes); break;
		case 'l': o.loss = number(optarg, 100) / 100; break;
		case 'c': o.starved = number(optarg, 50) / 100; break;
		case 'q': o.quiet_s = (uint32_t)number(optarg, 86400); break;
		case 'n': o.noisy_s = (uint32_t)number(optarg, 86400); break;
		case 'w': o.lifeguard = false; break;
		case 'k': check = true; break;
		case 't': o.timers_first = true; break;
		default: return 2;
		}
	}
	for (size_t i = 0; i < nsizes; i++)
		run(&o, sizes[i]);
	return check && bad ? 1 : 0;
}
