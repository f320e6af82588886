/*
 * serve.h - from the bytes of a question to the bytes of its answer.
 *
 * A warm question is answered at once. One whose view is not there yet waits
 * for raftd, QUESTION_WAIT_MS at most, then gets SERVFAIL.
 */
#ifndef DNSD_SERVE_H
#define DNSD_SERVE_H

#include "dnsd/settings.h"
#include "dnsd/view.h"
#include "lib/sock.h"

enum {
	QUESTIONS_WAITING_MAX = 1024,	/* beyond it they get SERVFAIL at once */
	QUESTION_WAIT_MS = 2000,
	QUESTION_WAIT_HOST_MS = 8000,	/* longer, at most, when a recursor is asked for a part of the answer */
	ASKER_CONTROL_MAX = 64,
};

/* Where a question came from, and how its answer goes back when that is later. Copied while it waits. */
struct asker {
	/* Send a reply that took its time. Must not end other questions' waiting. */
	void (*deliver)(const struct asker *a, const uint8_t *reply, size_t len);
	void *transport;
	bool tcp;
	uint8_t control_len;		/* UDP: the control message that names our own address */
	union sock_addr peer;
	uint8_t control[ASKER_CONTROL_MAX];
};

struct serve;

/* Takes the settings. NULL without memory. */
struct serve *serve_new(struct loop *l, int run_fd, struct settings *settings);
void serve_free(struct serve *s);

/* Later questions are answered by these settings; takes them. */
void serve_set(struct serve *s, struct settings *settings);

/*
 * Answer n bytes of question into out (cap: PKT_TCP_MAX for TCP, else
 * PKT_UDP_MAX, at least). Returns the length; 0: no answer is due;
 * SERVE_LATER: it will be delivered.
 */
enum { SERVE_LATER = -1 };
int serve_query(struct serve *s, const struct asker *who, const uint8_t *p, size_t n, uint8_t *out, size_t cap);

/*
 * The same in two steps, for who has several questions at once: read them all, tell that they come (SERVE_AHEAD at
 * most), then answer each. q is what serve_read() made of these bytes, rc what it returned.
 */
enum { SERVE_AHEAD = 16 };
int serve_read(const uint8_t *p, size_t n, struct pkt_query *q);
void serve_ahead(const struct serve *s, const struct pkt_query *q, unsigned n);
int serve_answer(struct serve *s, const struct asker *who, const uint8_t *p, size_t n, struct pkt_query *q, int rc, uint8_t *out,
    size_t cap);

/* This transport has gone: forget its questions. */
void serve_forget(struct serve *s, const void *transport);

/* The debug line of a question that was answered, asked at since_ns of clock_ns(). */
void serve_log(const struct pkt_query *q, const struct asker *who, uint64_t since_ns);

/* Count n questions that took ms together. */
void serve_took(struct serve *s, unsigned n, double ms);

/* The settings in force, for whoever reads them through the pointer each time; while the serve lives. */
struct settings *const *serve_settings(const struct serve *s);

/* Questions that wait for raftd. */
size_t serve_waiting(const struct serve *s);
void serve_stats(const struct serve *s, struct views_stats *ret);

#endif
