/*
 * view_inner.h - the inside of views: between view.c, view_table.c,
 * view_call.c, view_pulse.c and view_host.c.
 */
#ifndef DNSD_VIEW_INNER_H
#define DNSD_VIEW_INNER_H

#include "dnsd/index.h"
#include "dnsd/upstream.h"
#include "dnsd/view.h"

/*
 * ASK is answered by what the leader knows: a server that has just started
 * may remember less than we do. Only a view that knows nothing is content
 * with less, ASK_STALE, when there is no leader to ask.
 */
enum view_call { CALL_NONE, CALL_ASK, CALL_ASK_STALE, CALL_WATCH, CALL_HOST };
/*
 * Waiting to be asked or watched: at the end of the turn, once it is calm,
 * when raftd may be well again, or when others have been answered.
 */
enum view_queue { QUEUE_NOW, QUEUE_CALM, QUEUE_RETRY, QUEUE_PACED, QUEUES, QUEUE_NONE = QUEUES };
/* Each class has a list of its own, with a bound of its own. */
enum view_class { CLASS_KNOWN, CLASS_UNKNOWN, CLASS_CLIENT, CLASSES };

TAILQ_HEAD(view_list, view);

struct view {
	/* First what each warm question looks at: one line of the cache, or two. */
	struct views *vs;
	uint64_t used_ms;
	uint64_t stale_ms;		/* since when the watch is lost; 0: it is not */
	uint64_t believed_ms;		/* without a watch: until when */
	bool watched;			/* a watch is armed, or about to be */
	struct view *next_in_bucket;
	TAILQ_ENTRY(view) in_list;	/* most recently used first */
	TAILQ_ENTRY(view) in_queue;
	TAILQ_HEAD(, waiter) waiters;
	/* The one of its kind; NULL before the first answer. */
	struct facts *facts;
	struct reverse_facts *reverse;
	struct host_facts *host;
	struct answer *answers;
	struct upstream_call *host_call;
	uint64_t index, acl_index;	/* of the facts, for the watch */
	uint64_t changed_ms;
	uint64_t answered_ms;		/* when raftd or a recursor last told */
	uint32_t call, hash;
	enum view_call calling;
	enum view_queue queue;
	enum view_class class;
	bool asked_before;
	bool refreshing;		/* asked though it can answer: counted in nrefreshing */
	bool waking;			/* those who waited are being told: it stays */
	struct view_key key;
	char text[];
};

struct views {
	struct loop *loop;
	struct rpc_client *raftd;
	struct upstream *upstream;
	struct settings *const *settings;
	void (*ready)(void *ctx, struct waiter *w, bool ok);
	void *ctx;
	uint64_t seed;
	struct view **buckets;
	uint32_t nbuckets;
	struct answer_index answers;
	struct view_list list[CLASSES];
	size_t n[CLASSES], nstale;
	struct view_list queue[QUEUES];
	struct defer defer;		/* of QUEUE_NOW */
	uv_timer_t *timer[QUEUES];	/* of QUEUE_CALM and QUEUE_RETRY */
	unsigned nrefreshing;
	uv_timer_t *sweep;
	/* The pulse. */
	uv_timer_t *pulse;
	uint32_t pulse_call;
	bool pulsing, asked;		/* it beats; there was a question since the last beat */
	uint64_t heard_ms;		/* when raftd's state was last known to be its leader's */
	uint64_t lost_ms;		/* the same while it is too long ago; 0: it is not */
	struct arena scratch;
	struct metric_slot *stale_queries;
};

static inline bool
view_of_host(const struct view *v)
{
	return v->key.kind == VIEW_HOST4 || v->key.kind == VIEW_HOST6;
}

static inline bool
view_answered(const struct view *v)
{
	return v->facts != NULL || v->reverse != NULL || v->host != NULL;
}

/* ---- view_table.c: the table, the lists, the queues */
int MUST_CHECK view_table_init(struct views *vs);
uint32_t view_hash(const struct views *vs, const struct view_key *k);
struct view *view_find(const struct views *vs, uint32_t hash, const struct view_key *k);
/* NULL without memory, or when its list is full of views that are waited for. */
struct view *view_new(struct views *vs, uint32_t hash, const struct view_key *k);
void view_drop(struct view *v);
/* It was used: to the front of its list. */
void view_to_front(struct view *v);
void view_set_stale(struct view *v, bool stale);
void view_forget_answers(struct view *v);
void view_forget_answer(struct view *v, struct answer *a);
/* Room for one more answer of v. */
void view_answer_room(struct view *v);
void view_enqueue(struct view *v, enum view_queue q);
void view_dequeue(struct view *v);
/* What is known of v from now on: the one of its kind, which is taken. */
void view_set_known(struct view *v, struct facts *facts, struct reverse_facts *reverse, struct host_facts *host);
/* All that wait now. */
void view_wake(struct view *v, bool ok);

/* ---- view_call.c: asking raftd */
void view_ask(struct view *v);		/* for what it is now, unless that is under way */
void view_ask_again(struct view *v);	/* the same of one that is watched */
void view_call_end(struct view *v);	/* no answer is waited for any more */
void views_run_queue(struct views *vs, enum view_queue q);

/* ---- view_pulse.c: whether watches can be believed */
void view_pulse_start(struct views *vs);
void view_pulse_end(struct views *vs);
void view_pulse_heard(struct views *vs);	/* the leader has answered */

/* There was a question: how old watched views are matters. */
static inline void
view_pulse(struct views *vs)
{
	vs->asked = true;
	if (!vs->pulsing)
		view_pulse_start(vs);
}

/* ---- view_host.c: asking the recursors */
bool view_host_ask(struct view *v);	/* false: there is nobody to ask */

#endif
