/* raft_core_hostile.c - the consensus core under whatever a peer may send, and with memory running out. */
#include "t/unit/raft_core_help.h"

#include <stdlib.h>
#include <time.h>

#include "t/unit/nomem.h"

static bool exhausted;

static bool
refuse(void)
{
	return exhausted;
}

static uint64_t seed;

static uint64_t
random_below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* Mostly near to what is there, sometimes far out. */
static uint64_t
number(void)
{
	static const uint64_t far[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1, RAFT_NUMBER_MAX, RAFT_NUMBER_MAX - 1, 1ull << 63, 1ull << 32 };

	switch (random_below(16)) {
	case 0:
		return far[random_below(ARRAY_LEN(far))];
	case 1:
	case 2:
	case 3:
		return r.trail.last + random_below(5) - 2;
	case 4:
	case 5:
		return r.commit + random_below(5) - 2;
	case 6:
	case 7:
	case 8:
		return r.term + random_below(3) - 1;
	default:
		return random_below(12);
	}
}

static struct raft_servers
random_servers(void)
{
	struct raft_servers s = { .index = number(), .n = random_below(6) };

	for (size_t i = 0; i < s.n; i++)
		s.v[i] = (struct raft_server){ random_below(8) == 0 ? number() : i + 1, random_below(3) > 0 };
	if (random_below(50) == 0)
		s.n = RAFT_SERVERS_MAX + 1;
	return s;
}

static struct raft_message
random_message(void)
{
	struct raft_message m = { .type = (enum raft_message_type)random_below(RAFT_MSG_TYPES + 2), .from = random_below(6), .to = SELF,
		.term = r.term + random_below(8) / 6, .prev_index = number(), .prev_term = number(), .transfer = random_below(2),
		.ok = random_below(2), .commit = number(), .round = number(), .sent_ms = now_ms - random_below(200), .match = number(),
		.hint_index = number(), .hint_term = number(), .offset = number(), .bytes = number(), .read = number(),
		.read_index = number(), .consistent = random_below(2) };

	if (random_below(4) > 0 && m.prev_index <= r.trail.last)
		m.prev_term = trail_term(&r.trail, m.prev_index);
	if (random_below(4) == 0)
		m.term = number();
	if (random_below(4) == 0)
		m.from = r.leader;
	if (m.type == RAFT_MSG_PREVOTE_REPLY && m.ok)
		m.term = r.term + 1;
	m.first = random_below(20) == 0 ? number() : m.prev_index + 1;
	m.last = random_below(20) == 0 ? number() : m.first + random_below(4) - 1;
	m.snapshot = (struct raft_snapshot){ random_below(4), number(), number(), random_below(20) };
	return m;
}

/* A message with what goes with it, which fits it most of the time. */
static void
random_post(struct raft_event *ev, struct raft_message *m, struct raft_run *runs, struct raft_servers *configs)
{
	*m = random_message();
	*ev = (struct raft_event){ .type = RAFT_MESSAGE, .message = m, .runs = runs, .configs = configs };
	runs[0] = (struct raft_run){ m->first, m->term };
	runs[1] = (struct raft_run){ m->first + 1, random_below(2) == 0 ? m->term : number() };
	runs[2] = (struct raft_run){ number(), number() };
	if (random_below(3) == 0)
		runs[0].term = number();
	configs[0] = random_servers();
	configs[1] = random_servers();
	if (random_below(4) > 0)
		configs[0].index = m->first;
	if (m->type != RAFT_MSG_APPEND || m->last < m->first)
		ev->nruns = random_below(50) == 0;
	else
		ev->nruns = random_below(10) == 0 ? random_below(4) : 1;
	ev->nconfigs = random_below(6) == 0 ? random_below(3) : 0;
}

/* What the caller does: mostly as the contract says. */
static void
random_own(struct raft_event *ev, struct raft_servers *config)
{
	*ev = (struct raft_event){ .type = (enum raft_event_type)random_below(RAFT_INSTALL_FAILED + 1), .count = 1 + random_below(3),
		.index = number(), .term = r.term, .vote = r.vote, .epoch = r.epoch, .peer = random_below(6), .first = r.trail.last,
		.bytes = random_below(2000), .consistent = random_below(2), .snapshot = r.incoming };
	*config = random_servers();
	if (ev->type == RAFT_BOOTSTRAP || ev->type == RAFT_INSTALLED || (ev->type == RAFT_PROPOSE && random_below(3) == 0))
		ev->config = config;
	if (ev->type == RAFT_PERSISTED && random_below(4) > 0)
		ev->index = r.trail.last;
	if (ev->type == RAFT_APPLIED && random_below(4) > 0)
		ev->index = r.commit < r.persisted ? r.commit : r.persisted;
	if (ev->type == RAFT_SENT && random_below(2) > 0)
		ev->index = ev->first = r.peers.n > 0 ? r.peers.v[random_below(r.peers.n)].next : 0;
	if (ev->type == RAFT_MESSAGE)
		ev->type = RAFT_TIMER;
}

static void
still_sound(void)
{
	assert_true(r.applied <= r.commit && r.applied <= r.persisted && r.persisted <= r.trail.last);
	assert_true(r.trail.base <= r.applied && r.commit <= r.trail.last);
	assert_true(r.term < RAFT_NUMBER_MAX && r.trail.last < RAFT_NUMBER_MAX);
	assert_true(r.nout <= RAFT_MESSAGES_MAX && r.nreads <= RAFT_READ_ROUNDS_MAX && r.nconfigs <= RAFT_CONFIGS_KEPT);
	assert_true(r.peers.n <= RAFT_SERVERS_MAX);
	assert_true(fx.commit <= r.persisted);
	assert_true(fx.wake_ms == r.wake_ms);
	for (size_t i = 0; r.role == RAFT_LEADER && i < r.peers.n; i++) {
		assert_true(r.peers.v[i].match <= r.trail.last);
		assert_true(r.peers.v[i].next > r.peers.v[i].match || r.peers.v[i].id == SELF);
		assert_true(r.peers.v[i].in_n <= RAFT_INFLIGHT_MAX);
	}
}

static void
anything_may_come(void **state)
{
	struct raft_event ev;
	struct raft_message m;
	struct raft_run runs[3];
	struct raft_servers configs[2];
	uint64_t led = 0, taken = 0, refused = 0;
	int rc;

	(void)state;
	seed = (uint64_t)time(NULL) * 2654435761u + 88172645463325252u;
	print_message("# seed %" PRIu64 "\n", seed);
	for (int life = 0; life < 300; life++) {
		start(1 + random_below(5), 4 + random_below(8), 3, 1 + random_below(5));
		for (int i = 0; i < 400; i++) {
			if (random_below(3) > 0)
				random_post(&ev, &m, runs, configs);
			else
				random_own(&ev, configs);
			now_ms += random_below(3) > 0 ? random_below(20) : 0;
			if (random_below(20) == 0 && fx.wake_ms != RAFT_NEVER && fx.wake_ms > now_ms)
				now_ms = fx.wake_ms;
			ev.now_ms = now_ms;
			rc = raft_step(&r, &ev, &fx);
			taken += rc == 0;
			refused += rc < 0;
			led += r.role == RAFT_LEADER;
			still_sound();
		}
		stop();
	}
	/* The dice have seen something of everything. */
	assert_true(led > 100 && taken > 1000 && refused > 1000);
}

/* All but what a step may change when it fails: the time. */
static void
unchanged_but_time(struct raft *before)
{
	before->now_ms = r.now_ms;
	before->late_ms = r.late_ms;
	before->wake_ms = r.wake_ms;
	before->nout = r.nout;
	assert_memory_equal(before, &r, sizeof(r));
}

/* Runs until the trail must grow, which it cannot. */
static void
without_memory_nothing_changes(void **state)
{
	static struct raft before;
	uint64_t term = 3;
	int rc;

	(void)state;
	start(2, 5, 5, 3);
	exhausted = true;
	for (;; term++) {
		before = r;
		rc = append(2, term, r.trail.last, trail_term(&r.trail, r.trail.last), r.trail.last + 1, term, 5);
		if (rc < 0)
			break;
	}
	assert_int_equal(rc, -ENOMEM);
	unchanged_but_time(&before);
	/* Nor does it stand, without room for the entry of its own term. */
	persisted(r.trail.last);
	now_ms = r.election_at;
	timer();
	assert_int_equal(r.role, RAFT_FOLLOWER);
	assert_int_equal(fx.nmessages, 0);
	exhausted = false;
	assert_int_equal(append(2, term, r.trail.last, trail_term(&r.trail, r.trail.last), r.trail.last + 1, term, 5), 0);
	stop();
}

static void
a_refused_step_changes_nothing(void **state)
{
	static struct raft before;
	struct raft_servers far = servers(0, 5);

	(void)state;
	lead(2, 5, 3);
	before = r;
	assert_int_equal(step("x", (struct raft_event){ .type = RAFT_PROPOSE, .count = 1, .config = &far }), -EINVAL);
	unchanged_but_time(&before);
	assert_int_equal(append(2, 3, 5, 2, 6, 3, 6), -EINVAL);
	unchanged_but_time(&before);
	assert_int_equal(append(2, 7, 3, 1, 6, 3, 6), -EINVAL);
	unchanged_but_time(&before);
	assert_int_equal(append(2, 7, 5, 2, 6, 9, 6), -EINVAL);
	unchanged_but_time(&before);
	assert_int_equal(reply(2, 99), -EINVAL);
	unchanged_but_time(&before);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anything_may_come),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(a_refused_step_changes_nothing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
