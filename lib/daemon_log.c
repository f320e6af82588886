/* daemon_log.c - subscribers of a daemon's log. */
#include "lib/daemon_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"

enum { SUBSCRIBERS_MAX = 16 };

struct subscriber {
	struct rpc_server *server;
	struct rpc_token token;
	enum log_level level;
	bool json, used;
	uint32_t credit;
	uint64_t missed;
};

static struct subscriber subs[SUBSCRIBERS_MAX];
static int lowest_wanted = LOG_ERR + 1;
static void (*level_changed)(void *arg, int lowest);
static void *level_arg;

static void
send_line(struct subscriber *s, const char *text)
{
	struct log_line line = { str_from(text) };
	struct buf *b = rpc_event_begin(s->server, s->token);
	struct mp_w w;

	if (b == NULL) {
		s->missed++;
		return;
	}
	w = mp_w_init(b);
	record_encode(&rec_log_line, &line, RECORD_WHOLE, &w);
	rpc_event_end(s->server, s->token, w.err == 0);
	s->credit--;
}

static void
on_line(void *arg, enum log_level l, const char *text, const char *json_text)
{
	(void)arg;
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++) {
		struct subscriber *s = &subs[i];

		if (!s->used || l < s->level)
			continue;
		if (s->credit > 0)
			send_line(s, s->json ? json_text : text);
		else
			s->missed++;
	}
}

/* The tap listens as low as the lowest subscriber wants, or not at all. */
static void
set_tap(void)
{
	enum log_level lowest = LOG_ERR;
	bool any = false;

	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (subs[i].used) {
			any = true;
			if (subs[i].level < lowest)
				lowest = subs[i].level;
		}
	log_set_tap(lowest, any ? on_line : NULL, NULL);
	lowest_wanted = any ? (int)lowest : LOG_ERR + 1;
	if (level_changed != NULL)
		level_changed(level_arg, lowest_wanted);
}

void
daemon_log_on_level(void (*changed)(void *arg, int lowest), void *arg)
{
	level_changed = changed;
	level_arg = arg;
}

int
daemon_log_level(void)
{
	return lowest_wanted;
}

void
daemon_log_line(enum log_level l, const char *text, const char *json_text)
{
	on_line(NULL, l, text, json_text);
}

void
daemon_log_init(void)
{
	memset(subs, 0, sizeof(subs));
	lowest_wanted = LOG_ERR + 1;
	level_changed = NULL;
}

void
daemon_log_fini(void)
{
	log_set_tap(LOG_ERR, NULL, NULL);
}

void
daemon_log_subscribe(struct rpc_server *server, const struct rpc_request *req)
{
	struct arena a = ARENA_INIT(4 * KiB);
	enum log_level level = LOG_INFO;
	struct query_options o;
	struct log_query q;
	char name[16];

	if (op_request_decode(req->info, req->body, req->len, &o, &q, &a) < 0) {
		rpc_bad_request(server, req, "malformed LogQuery");
		goto out;
	}
	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(q.level));
	if (q.level.len > 0 && log_level_parse(name, &level) < 0) {
		rpc_reply_error(server, req->token, 400, "Unknown log level: %.*s", STR_ARG(q.level));
		goto out;
	}
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (!subs[i].used) {
			subs[i] = (struct subscriber){ .server = server, .token = req->token, .level = level, .json = q.json,
				.used = true };
			set_tap();
			goto out;
		}
	rpc_reply_error(server, req->token, 429, "too many log subscribers");
out:
	arena_release(&a);
}

static struct subscriber *
find(struct rpc_token t)
{
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (subs[i].used && subs[i].token.conn == t.conn && subs[i].token.id == t.id)
			return &subs[i];
	return NULL;
}

void
daemon_log_cancelled(struct rpc_token t)
{
	struct subscriber *s = find(t);

	if (s == NULL)
		return;
	s->used = false;
	set_tap();
}

void
daemon_log_credit(struct rpc_token t, uint32_t credits)
{
	struct subscriber *s = find(t);
	char text[96];

	if (s == NULL)
		return;
	s->credit = credits > UINT32_MAX - s->credit ? UINT32_MAX : s->credit + credits;
	if (s->missed > 0 && s->credit > 0) {
		(void)snprintf(text, sizeof(text), s->json ? "{\"@level\":\"warn\",\"@message\":\"%" PRIu64 " lines missed\"}" :
		    "[WARN]  agent: %" PRIu64 " lines missed", s->missed);
		s->missed = 0;
		send_line(s, text);
	}
}
