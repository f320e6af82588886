/* worker.c - forking workers, watching them, and what they and their parent tell each other. */
#include "dnsd/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/daemon_log.h"

#define LOG "agent.dns"

enum { MESSAGE_MAX = 10 * LOG_LINE_MAX, MESSAGES_A_TURN = 64, TICK_MS = 1000, AREA_AT = 128 };

/* A message: its kind, a level of the log, text. From SAY_READY on they go up. */
enum say { SAY_RELOAD, SAY_TOKENS, SAY_LEVEL, SAY_DRAIN, SAY_READY, SAY_RELOADED, SAY_LINE };

struct worker_shared {
	struct worker_numbers numbers;
	/* At AREA_AT: the metrics. */
};
_Static_assert(sizeof(struct worker_shared) <= AREA_AT, "the metrics begin behind the numbers");

unsigned
workers_count(unsigned wanted)
{
	unsigned n = uv_available_parallelism();

	if (wanted > 0)
		return wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
	return n < 1 ? 1 : n < WORKERS_AUTO_MAX ? n : WORKERS_AUTO_MAX;
}

/* ---- memory in common: a worker's next process goes on with it */

static struct worker_shared *shared_of[WORKERS_MAX];

static struct metrics_area *
area_of(struct worker_shared *s)
{
	return (struct metrics_area *)(void *)((char *)s + AREA_AT);
}

static struct worker_shared *
shared_get(unsigned w)
{
	void *p;

	if (shared_of[w] != NULL)
		return shared_of[w];
	p = mmap(NULL, AREA_AT + metrics_area_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	shared_of[w] = p;
	metrics_add_area(area_of(p));
	return p;
}

/* ---- the channel */

struct channel {
	uv_poll_t poll;
	int fd;
	void *owner;
};

static void
channel_closed(uv_handle_t *h)
{
	struct channel *c = h->data;

	(void)close(c->fd);
	free(c);
}

/* Takes fd, also when it fails. */
static struct channel *
channel_new(struct loop *l, int fd, uv_poll_cb cb, void *owner)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (c == NULL || uv_poll_init(&l->uv, &c->poll, fd) < 0) {
		free(c);
		(void)close(fd);
		return NULL;
	}
	c->fd = fd;
	c->owner = owner;
	c->poll.data = c;
	(void)uv_poll_start(&c->poll, UV_READABLE | UV_DISCONNECT, cb);
	return c;
}

static void
channel_free(struct channel *c)
{
	if (c != NULL)
		uv_close((uv_handle_t *)&c->poll, channel_closed);
}

/* Whether it went out; the other end is slow or gone else. */
static bool
say(const struct channel *c, enum say kind, int level, const void *text, size_t len)
{
	uint8_t head[2] = { (uint8_t)kind, (uint8_t)level };
	struct iovec v[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)text, len } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = len > 0 ? 2 : 1 };

	return sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* The next message: its length; 0: the other end has gone; negative: nothing has come. */
static ssize_t
hear(const struct channel *c, uint8_t out[MESSAGE_MAX])
{
	ssize_t n = recv(c->fd, out, MESSAGE_MAX, MSG_DONTWAIT);

	if (n >= 2)
		return n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? -1 : 0;
}

/* ---- in the parent */

struct child {
	struct workers *ws;
	struct channel *channel;	/* NULL: not there */
	pid_t pid;
	unsigned number, reloads;	/* reloads it has not said to be done */
	uint64_t since_ms, pause_ms, beat;
	unsigned silent;		/* ticks with the same beat */
	bool ready;
	uv_timer_t again;
};

struct workers {
	struct daemon *d;
	struct workers_config c;
	bool draining;
	unsigned handles;		/* open ones */
	uv_timer_t tick, reload;
	struct child v[];		/* [0] is us, and unused */
};

static void start(struct child *k);

static bool
reloads_open(const struct workers *ws)
{
	for (unsigned i = 1; i < ws->c.n; i++)
		if (ws->v[i].channel != NULL && ws->v[i].reloads > 0)
			return true;
	return false;
}

static void
settle_reloads(struct workers *ws)
{
	if (reloads_open(ws))
		return;
	(void)uv_timer_stop(&ws->reload);
	daemon_reload_done(ws->d);
}

static void
on_reload_over(uv_timer_t *t)
{
	struct workers *ws = t->data;

	log_warn(LOG, "not every worker has reloaded in time");
	daemon_reload_done(ws->d);
}

static void
on_again(uv_timer_t *t)
{
	start(t->data);
}

static void
start_later(struct child *k)
{
	struct workers *ws = k->ws;

	if (ws->draining)
		return;
	if (uv_now(&ws->d->loop.uv) - k->since_ms >= WORKER_CALM_MS)
		k->pause_ms = 0;
	(void)uv_timer_start(&k->again, on_again, k->pause_ms, 0);
	k->pause_ms = k->pause_ms == 0 ? WORKER_PAUSE_MS : k->pause_ms * 2 > WORKER_PAUSE_MAX_MS ? WORKER_PAUSE_MAX_MS : k->pause_ms * 2;
}

/* Its end of the channel is closed: it is dead, or as good as that. */
static void
gone(struct child *k)
{
	struct workers *ws = k->ws;
	int status = 0;
	pid_t rc;

	channel_free(k->channel);
	k->channel = NULL;
	(void)kill(k->pid, SIGKILL);
	do
		rc = waitpid(k->pid, &status, 0);
	while (rc < 0 && errno == EINTR);
	shared_of[k->number]->numbers = (struct worker_numbers){ 0 };
	if (!ws->draining) {
		log_warn(LOG, "a worker has ended and is started again: worker=%u pid=%d %s=%d", k->number, (int)k->pid,
		    WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		ws->c.ready(ws->c.ctx, k->number, false);
	}
	k->pid = 0;
	k->ready = false;
	settle_reloads(ws);
	start_later(k);
}

static void
on_line(const uint8_t *m, size_t n)
{
	const char *text = (const char *)m + 2, *end = memchr(text, 0, n - 2);

	/* Text, NUL, JSON, NUL. */
	if (end != NULL && m[n - 1] == 0 && m[1] <= LOG_ERR && end + 1 < (const char *)m + n)
		daemon_log_line((enum log_level)m[1], text, end + 1);
}

static void
take_up(struct child *k, const uint8_t *m, size_t n)
{
	struct workers *ws = k->ws;

	switch ((enum say)m[0]) {
	case SAY_READY:
		log_debug(LOG, "worker is ready: worker=%u pid=%d", k->number, (int)k->pid);
		k->ready = true;
		ws->c.ready(ws->c.ctx, k->number, true);
		break;
	case SAY_RELOADED:
		if (k->reloads > 0)
			k->reloads--;
		settle_reloads(ws);
		break;
	case SAY_LINE:
		on_line(m, n);
		break;
	case SAY_RELOAD:
	case SAY_TOKENS:
	case SAY_LEVEL:
	case SAY_DRAIN:
		break;
	}
}

static void
on_child(uv_poll_t *h, int status, int events)
{
	struct channel *c = h->data;
	struct child *k = c->owner;
	uint8_t m[MESSAGE_MAX];

	(void)status;
	(void)events;
	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		ssize_t n = hear(c, m);

		if (n < 0)
			return;
		if (n == 0) {
			gone(k);
			return;
		}
		take_up(k, m, (size_t)n);
	}
}

static void
start(struct child *k)
{
	struct workers *ws = k->ws;
	int pair[2];

	k->since_ms = uv_now(&ws->d->loop.uv);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_err(LOG, "cannot start a worker: worker=%u error=\"%s\"", k->number, err_text(-errno));
		start_later(k);
		return;
	}
	k->pid = ws->c.spawn(ws->c.ctx, k->number, pair[1], shared_of[k->number]);
	(void)close(pair[1]);
	if (k->pid < 0) {
		log_err(LOG, "cannot start a worker: worker=%u error=\"%s\"", k->number, err_text((int)k->pid));
		(void)close(pair[0]);
		start_later(k);
		return;
	}
	k->reloads = k->silent = 0;
	k->beat = 0;
	k->channel = channel_new(&ws->d->loop, pair[0], on_child, k);
	if (k->channel == NULL) {
		/* It sees the end of the channel, and ends. */
		(void)waitpid(k->pid, NULL, 0);
		start_later(k);
		return;
	}
	(void)say(k->channel, SAY_LEVEL, daemon_log_level(), NULL, 0);
}

static void
on_level(void *arg, int lowest)
{
	struct workers *ws = arg;

	for (unsigned i = 1; i < ws->c.n; i++)
		if (ws->v[i].channel != NULL)
			(void)say(ws->v[i].channel, SAY_LEVEL, lowest, NULL, 0);
}

/* Counted in ticks of ours: when the machine was suspended nobody is to blame. */
static void
on_tick(uv_timer_t *t)
{
	struct workers *ws = t->data;

	for (unsigned i = 1; i < ws->c.n; i++) {
		struct child *k = &ws->v[i];
		uint64_t beat = shared_of[i]->numbers.beat;

		if (k->channel == NULL)
			continue;
		k->silent = beat == k->beat ? k->silent + 1 : 0;
		k->beat = beat;
		if (k->silent < WORKER_SILENT_TICKS)
			continue;
		log_err(LOG, "a worker does not get on and is killed: worker=%u pid=%d", i, (int)k->pid);
		k->silent = 0;
		(void)kill(k->pid, SIGKILL);
	}
}

static void
timer_open(struct workers *ws, uv_timer_t *t, void *data)
{
	(void)uv_timer_init(&ws->d->loop.uv, t);
	t->data = data;
	ws->handles++;
}

struct workers *
workers_new(struct daemon *d, const struct workers_config *c)
{
	struct workers *ws = calloc(1, sizeof(*ws) + c->n * sizeof(ws->v[0]));

	if (ws == NULL)
		return NULL;
	ws->d = d;
	ws->c = *c;
	for (unsigned i = 1; i < c->n; i++)
		if (shared_get(i) == NULL) {
			free(ws);
			return NULL;
		}
	timer_open(ws, &ws->tick, ws);
	timer_open(ws, &ws->reload, ws);
	for (unsigned i = 1; i < c->n; i++) {
		ws->v[i].ws = ws;
		ws->v[i].number = i;
		timer_open(ws, &ws->v[i].again, &ws->v[i]);
		/* In the loop's first turn: then our own start has come to its end. */
		(void)uv_timer_start(&ws->v[i].again, on_again, 0, 0);
	}
	(void)uv_timer_start(&ws->tick, on_tick, TICK_MS, TICK_MS);
	daemon_log_on_level(on_level, ws);
	return ws;
}

void
workers_reload(struct workers *ws, bool tokens)
{
	for (unsigned i = 1; i < ws->c.n; i++) {
		struct child *k = &ws->v[i];

		if (k->channel != NULL && say(k->channel, tokens ? SAY_TOKENS : SAY_RELOAD, 0, NULL, 0))
			k->reloads++;
		else if (k->channel != NULL)
			(void)kill(k->pid, SIGKILL);	/* it has not listened for long; its successor has the new slice */
	}
	if (!reloads_open(ws))
		return;
	daemon_reload_wait(ws->d);
	(void)uv_timer_start(&ws->reload, on_reload_over, WORKER_RELOAD_MS, 0);
}

void
workers_drain(struct workers *ws)
{
	ws->draining = true;
	for (unsigned i = 1; i < ws->c.n; i++) {
		struct child *k = &ws->v[i];

		(void)uv_timer_stop(&k->again);
		if (k->channel != NULL && !say(k->channel, SAY_DRAIN, 0, NULL, 0))
			(void)kill(k->pid, SIGKILL);
	}
}

unsigned
workers_alive(const struct workers *ws)
{
	unsigned n = 0;

	for (unsigned i = 1; i < ws->c.n; i++)
		n += ws->v[i].channel != NULL;
	return n;
}

unsigned
workers_ready(const struct workers *ws)
{
	unsigned n = 0;

	for (unsigned i = 1; i < ws->c.n; i++)
		n += ws->v[i].ready;
	return n;
}

void
workers_sum(const struct workers *ws, struct worker_numbers *sum)
{
	for (unsigned i = 1; i < ws->c.n; i++) {
		struct worker_numbers n = shared_of[i]->numbers;

		sum->known += n.known;
		sum->unknown += n.unknown;
		sum->stale += n.stale;
		sum->answers += n.answers;
		sum->waiting += n.waiting;
		sum->tcp += n.tcp;
		sum->connected += n.connected;
	}
}

static void
parent_closed(uv_handle_t *h)
{
	struct workers *ws = h->data;

	if (--ws->handles == 0)
		free(ws);
}

static void
close_timer(struct workers *ws, uv_timer_t *t)
{
	t->data = ws;
	uv_close((uv_handle_t *)t, parent_closed);
}

void
workers_free(struct workers *ws)
{
	if (ws == NULL)
		return;
	daemon_log_on_level(NULL, NULL);
	for (unsigned i = 1; i < ws->c.n; i++) {
		channel_free(ws->v[i].channel);
		close_timer(ws, &ws->v[i].again);
	}
	close_timer(ws, &ws->tick);
	close_timer(ws, &ws->reload);
}

/* ---- in a worker */

struct worker {
	struct daemon *d;
	struct channel *channel;
	struct worker_shared *shared;
	void (*measure)(void *ctx, struct worker_numbers *n);
	void *ctx;
	uint64_t beat;
	unsigned handles;
	uv_prepare_t turn;
	uv_timer_t tick;
};

/* Somebody follows the parent's log: our lines are for them, too. What the channel does not take they miss. */
static void
on_own_line(void *arg, enum log_level l, const char *text, const char *json_text)
{
	const struct worker *w = arg;
	char m[MESSAGE_MAX - 2];
	int n = snprintf(m, sizeof(m), "%s%c%s", text, 0, json_text);

	if (n > 0 && (size_t)n < sizeof(m))
		(void)say(w->channel, SAY_LINE, l, m, (size_t)n + 1);
}

static void
take_down(struct worker *w, const uint8_t *m)
{
	switch ((enum say)m[0]) {
	case SAY_RELOAD:
	case SAY_TOKENS:
		daemon_reload(w->d, m[0] == SAY_TOKENS);
		(void)say(w->channel, SAY_RELOADED, 0, NULL, 0);
		break;
	case SAY_LEVEL:
		if (m[1] <= LOG_ERR)
			log_set_tap((enum log_level)m[1], on_own_line, w);
		else
			log_set_tap(LOG_ERR, NULL, NULL);
		break;
	case SAY_DRAIN:
		if (!w->d->draining)
			(void)raise(SIGTERM);
		break;
	case SAY_READY:
	case SAY_RELOADED:
	case SAY_LINE:
		break;
	}
}

static void
on_parent(uv_poll_t *h, int status, int events)
{
	struct channel *c = h->data;
	uint8_t m[MESSAGE_MAX];
	ssize_t n;

	(void)status;
	(void)events;
	while ((n = hear(c, m)) > 0)
		take_down(c->owner, m);
	/* The parent has gone: so have we. */
	if (n == 0)
		_exit(0);
}

static void
on_turn(uv_prepare_t *p)
{
	struct worker *w = p->data;
	struct worker_numbers n = { .beat = w->beat };

	w->measure(w->ctx, &n);
	w->shared->numbers = n;
}

static void
on_beat(uv_timer_t *t)
{
	((struct worker *)t->data)->beat++;
}

struct worker *
worker_begin(struct daemon *d, int channel, struct worker_shared *shared,
    void (*measure)(void *ctx, struct worker_numbers *n), void *ctx)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->channel = channel_new(&d->loop, channel, on_parent, w);
	if (w->channel == NULL) {
		free(w);
		return NULL;
	}
	w->d = d;
	w->shared = shared;
	w->measure = measure;
	w->ctx = ctx;
	metrics_use_area(area_of(shared));
	(void)uv_prepare_init(&d->loop.uv, &w->turn);
	(void)uv_timer_init(&d->loop.uv, &w->tick);
	w->turn.data = w->tick.data = w;
	w->handles = 2;
	(void)uv_prepare_start(&w->turn, on_turn);
	(void)uv_timer_start(&w->tick, on_beat, TICK_MS, TICK_MS);
	return w;
}

void
worker_ready(struct worker *w)
{
	(void)say(w->channel, SAY_READY, 0, NULL, 0);
}

static void
worker_closed(uv_handle_t *h)
{
	struct worker *w = h->data;

	if (--w->handles == 0)
		free(w);
}

void
worker_end(struct worker *w)
{
	if (w == NULL)
		return;
	log_set_tap(LOG_ERR, NULL, NULL);
	channel_free(w->channel);
	uv_close((uv_handle_t *)&w->turn, worker_closed);
	uv_close((uv_handle_t *)&w->tick, worker_closed);
}
