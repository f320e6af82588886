/* monitor.c - /v1/agent/monitor */
#include "httpd/monitor.h"

#include <stdlib.h>

#include "httpd/conns.h"
#include "httpd/gzip.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/server.h"

enum { CREDIT = 64, FLUSH_MS = 200, BUFFER_MAX = 4 * 1024 * 1024 };

struct monitor;

struct source {
	struct monitor *monitor;
	enum peer peer;
	uint32_t call;
	uint64_t credited;	/* peer_link.connects when it got its first credit */
	uint32_t taken;		/* lines since credit was given back */
};

struct monitor {
	struct monitor *next, **prev;
	struct monitors *all;
	struct request *r;
	struct log_query query;
	struct source sources[PEERS];
	struct buf out;
	struct gzip_stream *gzip;	/* NULL: as it is */
	struct buf packed;		/* what of it is compressed and not sent yet */
	bool suspended, ended;
	bool finished;			/* compressed to its end */
};

struct monitors {
	struct httpd *h;
	struct monitor *list;
	unsigned n;
	uv_timer_t *flush;
};

/* ---- lines in */

static void
on_line(void *arg, const struct rpc_answer *a)
{
	struct source *s = arg;
	struct arena none = ARENA_INIT(0);
	struct mp_r in = mp_r_init(a->body, a->len);
	struct log_line line;

	if (!a->is_event) {
		/* That daemon does not let us, or is gone for good: the others go on. */
		s->call = 0;
		return;
	}
	s->taken++;
	if (record_decode(&rec_log_line, &in, &line, &none) < 0)
		return;
	if (buf_add(&s->monitor->out, line.text.p, line.text.len) == 0 && buf_addc(&s->monitor->out, '\n') < 0)
		s->monitor->out.len -= line.text.len;
}

static void
subscribe(struct monitor *m)
{
	for (int i = 0; i < PEERS; i++) {
		struct source *s = &m->sources[i];

		*s = (struct source){ .monitor = m, .peer = (enum peer)i };
		s->call = rpc_call_record(m->all->h->peers[i].client, OP_DAEMON_LOG, NULL, &m->query,
		    RPC_NO_DEADLINE | RPC_RETRY, 0, on_line, s);
	}
}

/* The first credit on each new connection; what the client took, again. */
static void
give_credit(struct monitor *m)
{
	for (int i = 0; i < PEERS; i++) {
		struct source *s = &m->sources[i];
		struct peer_link *p = &m->all->h->peers[i];

		if (s->call == 0 || !rpc_client_connected(p->client))
			continue;
		if (s->credited != p->connects)
			rpc_give_credit(p->client, s->call, CREDIT);
		else if (s->taken > 0 && m->out.len == 0)
			rpc_give_credit(p->client, s->call, s->taken);
		else
			continue;
		s->credited = p->connects;
		s->taken = 0;
	}
}

/* ---- bytes out */

static void
resume(struct monitor *m)
{
	if (!m->suspended)
		return;
	m->suspended = false;
	MHD_resume_connection(m->r->mhd);
	server_kick(m->all->h);
}

static void
on_flush(uv_timer_t *t)
{
	struct monitors *ms = t->data;

	for (struct monitor *m = ms->list; m != NULL; m = m->next) {
		give_credit(m);
		if (m->out.len > 0)
			resume(m);
	}
}

static ssize_t
read_lines(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct monitor *m = cls;
	struct buf *from = m->gzip != NULL ? &m->packed : &m->out;
	size_t n;

	(void)pos;
	if (m->gzip != NULL && m->packed.len == 0 && !m->finished && (m->out.len > 0 || m->ended)) {
		if (gzip_stream_add(m->gzip, (struct str){ (const char *)m->out.data, m->out.len }, m->ended, &m->packed) < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		m->finished = m->ended;
		buf_clear(&m->out);
	}
	n = from->len < max ? from->len : max;
	if (n > 0) {
		memcpy(buf, from->data, n);
		buf_consume(from, n);
		return (ssize_t)n;
	}
	if (m->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	MHD_suspend_connection(m->r->mhd);
	m->suspended = true;
	return 0;
}

static void
end(struct monitor *m)
{
	m->ended = true;
	resume(m);
}

void
monitor_hangup(struct request *r)
{
	if (r->monitor != NULL)
		end(r->monitor);
}

/* ---- a stream's life */

static struct monitor *
monitor_new(struct request *r, const struct log_query *q)
{
	struct monitors *ms = r->h->monitors;
	struct monitor *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->all = ms;
	m->r = r;
	m->query = *q;
	buf_init(&m->out, BUFFER_MAX);
	buf_init(&m->packed, 2 * BUFFER_MAX);
	m->next = ms->list;
	m->prev = &ms->list;
	if (m->next != NULL)
		m->next->prev = &m->next;
	ms->list = m;
	if (ms->n++ == 0)
		(void)uv_timer_start(ms->flush, on_flush, 1, FLUSH_MS);
	r->monitor = m;
	subscribe(m);
	return m;
}

void
monitor_leave(struct request *r)
{
	struct monitor *m = r->monitor;

	if (m == NULL)
		return;
	for (int i = 0; i < PEERS; i++)
		if (m->sources[i].call != 0)
			rpc_cancel(m->all->h->peers[i].client, m->sources[i].call);
	*m->prev = m->next;
	if (m->next != NULL)
		m->next->prev = m->prev;
	if (--m->all->n == 0)
		(void)uv_timer_stop(m->all->flush);
	r->monitor = NULL;
	gzip_stream_free(m->gzip);
	buf_release(&m->packed);
	buf_release(&m->out);
	free(m);
}

void
agent_monitor(struct request *r)
{
	const struct str *level = param_get(&r->params, "loglevel");
	struct log_query q = { .level = level != NULL ? *level : STR("INFO"), .json = param_has(&r->params, "logjson") };
	enum log_level parsed;
	char name[32];
	struct monitor *m;

	(void)snprintf(name, sizeof(name), "%.*s", STR_ARG(q.level));
	if (q.level.len >= sizeof(name) || log_level_parse(q.level.len > 0 ? name : "info", &parsed) < 0) {
		respond_text(r, 400, "Bad request: Unknown log level: %.*s", STR_ARG(q.level));
		return;
	}
	if (r->conn->gone) {
		/* Its end came before the request was looked at: nobody would tell us again. */
		request_gone(r);
		return;
	}
	if (r->h->monitors->n >= HTTP_MONITORS_MAX || r->h->d->draining) {
		respond_text(r, 429, "too many log monitors");
		return;
	}
	m = monitor_new(r, &q);
	r->reply.content = CONTENT_LOG;
	r->shared = m != NULL ? shared_reply_stream(r->h, &r->view, &r->reply, MHD_SIZE_UNKNOWN, read_lines, m) : NULL;
	/* Without memory for it the client gets what it takes as well. */
	if (r->shared != NULL && (r->view.flags & VIEW_GZIP) != 0)
		m->gzip = gzip_stream_new();
	if (m != NULL && m->gzip != NULL && MHD_add_response_header(r->shared->mhd, "Content-Encoding", "gzip") != MHD_YES) {
		gzip_stream_free(m->gzip);
		m->gzip = NULL;
	}
	if (r->shared == NULL)
		respond_empty(r, 500);
	else
		respond_done(r);
}

/* ---- all of them */

struct monitors *
monitors_new(struct httpd *h)
{
	struct monitors *ms = calloc(1, sizeof(*ms));

	if (ms == NULL)
		return NULL;
	ms->h = h;
	ms->flush = malloc(sizeof(*ms->flush));
	if (ms->flush == NULL) {
		free(ms);
		return NULL;
	}
	(void)uv_timer_init(&h->d->loop.uv, ms->flush);
	ms->flush->data = ms;
	return ms;
}

void
monitors_end_all(struct monitors *ms)
{
	for (struct monitor *m = ms->list; m != NULL; m = m->next)
		end(m);
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
monitors_free(struct monitors *ms)
{
	if (ms == NULL)
		return;
	uv_close((uv_handle_t *)ms->flush, free_handle);
	free(ms);
}
