/* progress.c - how far one server is, and how much is on its way to it. */
#include "raftd/core/internal.h"

static void
clear_flight(struct raft_progress *p)
{
	p->in_first = p->in_n = 0;
	p->in_bytes = 0;
	p->check_index = 0;
	p->waiting = false;
}

/* To us as the leader, or to us who lead already: nothing is known of it. */
void
progress_new(struct raft *r, struct raft_progress *p)
{
	*p = (struct raft_progress){ .id = p->id, .voter = p->voter, .vote = p->vote, .heard_ms = r->now_ms };
	progress_probe(p, r->trail.last + 1);
}

void
progress_probe(struct raft_progress *p, uint64_t next)
{
	p->flow = RAFT_PROBE;
	p->next = next;
	clear_flight(p);
}

void
progress_pipeline(struct raft_progress *p, uint64_t next)
{
	p->flow = RAFT_PIPELINE;
	p->next = next;
	clear_flight(p);
}

void
progress_snapshot(struct raft_progress *p)
{
	p->flow = RAFT_SNAPSHOT;
	clear_flight(p);
}

void
progress_sent(struct raft_progress *p, uint64_t last, uint64_t bytes)
{
	size_t i = (p->in_first + p->in_n) % RAFT_INFLIGHT_MAX;

	p->next = last + 1;
	if (p->in_n == RAFT_INFLIGHT_MAX)
		return;
	p->inflight[i].last = last;
	p->inflight[i].bytes = bytes;
	p->in_n++;
	p->in_bytes += bytes;
}

void
progress_matched(struct raft_progress *p, uint64_t match)
{
	p->match = max_u64(p->match, match);
	p->next = max_u64(p->next, p->match + 1);
	while (p->in_n > 0 && p->inflight[p->in_first].last <= p->match) {
		p->in_bytes -= p->inflight[p->in_first].bytes;
		p->in_first = (p->in_first + 1) % RAFT_INFLIGHT_MAX;
		p->in_n--;
	}
}

bool
progress_room(const struct raft *r, const struct raft_progress *p)
{
	return p->in_n < RAFT_INFLIGHT_MAX && (p->in_n == 0 || p->in_bytes < r->config.inflight_bytes);
}
