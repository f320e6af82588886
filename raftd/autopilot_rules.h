/*
 * autopilot_rules.h - what autopilot thinks of the servers, and what it
 * would do about them: pure, numbers in and decisions out.
 *
 * Times are milliseconds of one clock that never goes back.
 */
#ifndef RAFTD_AUTOPILOT_RULES_H
#define RAFTD_AUTOPILOT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	AP_SERVERS_MAX = 32,
	/*
	 * Without an answer for this long a server counts as failed, as a member
	 * does that gossip has found dead (its suspicion takes some 5 to 10 s).
	 */
	AP_FAILED_MS = 10 * 1000,
	/* Gossip says that it has failed, and it has not answered for this long: it has. */
	AP_SILENT_MS = 2 * 1000,
	/*
	 * One that gossip does not know is taken out after this long without an
	 * answer: longer than the restart of a daemon or of a small machine, short
	 * enough that a second failure finds a smaller quorum.
	 */
	AP_DEAD_MS = 30 * 1000,
};

struct ap_config {
	bool cleanup;
	uint64_t contact_ms;		/* last_contact_threshold */
	uint64_t trailing_max, min_quorum;
	uint64_t stable_ms;		/* server_stabilization_time */
};

/* What gossip says of a server's node. */
enum ap_gossip { AP_UNKNOWN, AP_ALIVE, AP_LEAVING, AP_LEFT, AP_FAILED };

/* What the leader sees of one server at a moment. */
struct ap_sight {
	uint64_t id;
	bool voter, leader;
	enum ap_gossip gossip;
	uint64_t contact_ms;		/* since it was last heard of; since our term began when never */
	bool heard;			/* in this term */
	uint64_t index, term;		/* of the last entry known to be on its disk */
};

/* What is remembered of it. */
struct ap_server {
	struct ap_sight now;
	bool healthy, failed;
	uint64_t since_ms;		/* healthy, or not, since then */
};

struct ap_view {
	struct ap_server v[AP_SERVERS_MAX];
	size_t n;
	uint64_t term, last;		/* the leader's */
};

enum ap_action { AP_NOTHING, AP_PROMOTE, AP_REMOVE };

struct ap_decision {
	enum ap_action action;
	uint64_t id;
};

/* Take a new look: servers that are not seen any more are forgotten. n <= AP_SERVERS_MAX. */
void ap_look(struct ap_view *view, const struct ap_config *c, const struct ap_sight *seen, size_t n, uint64_t term,
    uint64_t last, uint64_t now_ms);
/*
 * The one thing to do now. Taken out is, one at a time and never so many that
 * no quorum is left: who has left; and with cleanup, who is dead: failed by gossip's word
 * and silent for AP_FAILED_MS, or unknown to gossip and silent for AP_DEAD_MS. One whose node is alive is not.
 */
struct ap_decision ap_decide(const struct ap_view *view, const struct ap_config *c, uint64_t now_ms);
/* All servers are healthy. */
bool ap_healthy(const struct ap_view *view);
/* How many voters may fail at once before there is no quorum. */
uint64_t ap_tolerance(const struct ap_view *view);
const struct ap_server *ap_find(const struct ap_view *view, uint64_t id);
/*
 * Whether the voters that would be left without this server hold a quorum
 * among themselves, as far as they are heard of.
 */
bool ap_may_remove(const struct ap_view *view, uint64_t id);

#endif
