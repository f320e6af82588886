/* raft_core_failover.c - three cores with a network and disks that only take time: how long a cluster is without a leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "raftd/core/core.h"

enum { NODES = 3, PACKETS = 4096, RUNS = 101, NETWORK_MS = 1, DISK_MS = 3, WRITE_MS = 5, ELECTION = 1000, HEARTBEAT = 100, LEASE = 100 };

enum fault { KILLED, CUT_OFF, STOPPED };

struct packet {
	uint64_t at;
	struct raft_message m;
	struct raft_run run;
};

/* A sync of everything that was handed out before it began; one at a time. */
struct disk {
	uint64_t done_at;		/* 0: idle */
	uint64_t term, vote, epoch, index;
};

struct node {
	struct raft r;
	bool gone;
	uint64_t wake, commit;
	struct disk disk;
	bool dirty;
};

static struct node nodes[NODES];
static struct packet packets[PACKETS];
static size_t npackets;
static uint64_t now;

static void feed(struct node *n, struct raft_event ev);

/* Entries of one term at a time: the rest follows. */
static void
carry(struct node *n, struct raft_message m)
{
	struct packet *p;

	assert_true(npackets < PACKETS);
	p = &packets[npackets++];
	*p = (struct packet){ .at = now + NETWORK_MS, .m = m };
	if (m.type != RAFT_MSG_APPEND || m.last < m.first)
		return;
	p->run = (struct raft_run){ m.first, trail_term(&n->r.trail, m.first) };
	if (trail_last_of(&n->r.trail, p->run.term) < m.last)
		p->m.last = trail_last_of(&n->r.trail, p->run.term);
	feed(n, (struct raft_event){ .type = RAFT_SENT, .peer = m.to, .first = m.first, .index = p->m.last, .bytes = 100 });
}

static void
feed(struct node *n, struct raft_event ev)
{
	struct raft_message out[RAFT_MESSAGES_MAX];
	struct raft_effects fx;

	ev.now_ms = now;
	if (raft_step(&n->r, &ev, &fx) < 0)
		return;
	n->wake = fx.wake_ms;
	n->commit = fx.commit;
	n->dirty = n->dirty || fx.hard_state || fx.append_n > 0 || fx.truncate_from > 0;
	memcpy(out, fx.messages, fx.nmessages * sizeof(out[0]));
	for (size_t i = 0; i < fx.nmessages; i++)
		carry(n, out[i]);
	if (n->commit > n->r.applied)
		feed(n, (struct raft_event){ .type = RAFT_APPLIED, .index = n->commit });
}

static void
sync_disk(struct node *n)
{
	struct disk *d = &n->disk;

	if (d->done_at != 0 && now >= d->done_at) {
		d->done_at = 0;
		feed(n, (struct raft_event){ .type = RAFT_PERSISTED, .term = d->term, .vote = d->vote, .epoch = d->epoch, .index = d->index });
	}
	if (d->done_at == 0 && n->dirty) {
		*d = (struct disk){ now + DISK_MS, n->r.term, n->r.vote, n->r.epoch, n->r.trail.last };
		n->dirty = false;
	}
}

static void
deliver(void)
{
	size_t due = 0;

	while (due < npackets && packets[due].at <= now)
		due++;
	for (size_t i = 0; i < due; i++) {
		struct packet p = packets[i];
		struct node *n = &nodes[p.m.to - 1];

		if (!n->gone && !nodes[p.m.from - 1].gone)
			feed(n, (struct raft_event){ .type = RAFT_MESSAGE, .message = &p.m, .runs = &p.run, .nruns = p.run.term != 0 });
	}
	npackets -= due;
	memmove(packets, packets + due, npackets * sizeof(packets[0]));
}

static struct node *
leader(void)
{
	for (size_t i = 0; i < NODES; i++)
		if (!nodes[i].gone && nodes[i].r.role == RAFT_LEADER)
			return &nodes[i];
	return NULL;
}

static void
millisecond(void)
{
	now++;
	deliver();
	for (size_t i = 0; i < NODES; i++) {
		if (nodes[i].gone)
			continue;
		if (nodes[i].wake <= now)
			feed(&nodes[i], (struct raft_event){ .type = RAFT_TIMER });
		if (nodes[i].r.role == RAFT_LEADER && now % WRITE_MS == 0)
			feed(&nodes[i], (struct raft_event){ .type = RAFT_PROPOSE, .count = 1 });
		sync_disk(&nodes[i]);
	}
}

static void
begin(uint64_t seed)
{
	const struct raft_servers s = { 1, 3, { { 1, true }, { 2, true }, { 3, true } } };
	const struct raft_run run = { 1, 1 };
	const struct raft_start st = { 1, 0, 0, 1, 1, &run, 1, &s, 1 };

	now = 1000;
	npackets = 0;
	for (size_t i = 0; i < NODES; i++) {
		const struct raft_config c = { i + 1, ELECTION, HEARTBEAT, LEASE, 1 << 20, seed * NODES + i };

		nodes[i] = (struct node){ .gone = false };
		assert_int_equal(raft_init(&nodes[i].r, &c, &st, now), 0);
		nodes[i].wake = nodes[i].r.wake_ms;
	}
	/* Some writes into a leader's life. */
	for (uint64_t i = 0; i < 2500 + seed % 100; i++)
		millisecond();
	assert_non_null(leader());
}

/* From the fault to the first commit of the next leader's own, or of the old one's writers at that leader. */
static uint64_t
without_a_leader(uint64_t seed, enum fault fault)
{
	struct node *old, *next;
	uint64_t from;

	begin(seed);
	old = leader();
	from = now;
	if (fault == STOPPED)
		feed(old, (struct raft_event){ .type = RAFT_TRANSFER });
	else
		old->gone = true;
	for (size_t i = 0; i < NODES && fault == KILLED; i++)
		if (!nodes[i].gone)
			feed(&nodes[i], (struct raft_event){ .type = RAFT_LEADER_LOST, .peer = old->r.config.id });
	do {
		millisecond();
		next = leader();
		assert_true(now < from + 60000);
	} while (next == NULL || next == old || next->r.commit < next->r.term_start);
	for (size_t i = 0; i < NODES; i++)
		raft_release(&nodes[i].r);
	return now - from;
}

static int
ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
gaps(enum fault fault, const char *what, uint64_t *ret_median, uint64_t *ret_worst)
{
	uint64_t gap[RUNS];

	for (uint64_t seed = 0; seed < RUNS; seed++)
		gap[seed] = without_a_leader(seed, fault);
	qsort(gap, RUNS, sizeof(gap[0]), ascending);
	*ret_median = gap[RUNS / 2];
	*ret_worst = gap[RUNS - 1];
	print_message("# %s: median %d ms, worst %d ms\n", what, (int)*ret_median, (int)*ret_worst);
}

static void
a_leader_that_is_killed(void **state)
{
	uint64_t median, worst;

	(void)state;
	gaps(KILLED, "killed", &median, &worst);
	assert_true(median < 160);
	assert_true(worst < 500);
}

static void
a_leader_that_is_cut_off(void **state)
{
	uint64_t median, worst;

	(void)state;
	gaps(CUT_OFF, "cut off", &median, &worst);
	assert_true(median >= ELECTION && worst < 2 * ELECTION);
}

static void
a_leader_that_stops(void **state)
{
	uint64_t median, worst;

	(void)state;
	gaps(STOPPED, "stopped", &median, &worst);
	assert_true(worst < 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leader_that_is_killed),
		cmocka_unit_test(a_leader_that_is_cut_off),
		cmocka_unit_test(a_leader_that_stops),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
