/* stream.c - /v1/stream: what a client asks to follow, and telling it. */
#include "httpd/stream.h"

#include <inttypes.h>
#include <stdlib.h>

#include "httpd/conns.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/server.h"
#include "httpd/stream_topic.h"
#include "lib/duration.h"
#include "lib/json.h"

enum { TICK_MS = 1000, HEARTBEAT_MS = 15000, HEARTBEAT_MAX_MS = 600000, FILL = 16 * 1024 /* bytes made at a time, an event more or less */,
	KEEP = 64 * 1024 };

/* One topic of a stream, and how far its batch has been told. */
struct part {
	struct feed feed;
	const char *topic;		/* as it was asked for */
	uint64_t pos;			/* to resume from: behind the last batch that was told whole */
	bool telling, begun;
	uint32_t entries, deleted;	/* left of the batch */
	struct mp_r in;
};

struct stream {
	struct stream *next, **prev;
	struct streams *all;
	struct request *r;
	struct feed_owner owner;
	bool sse, suspended, gone;
	bool last;			/* the last event has been made */
	uint64_t heartbeat_ms, told_ms;
	size_t turn;			/* whose batch comes next */
	struct buf out;
	size_t out_at;			/* so much of it has been taken */
	size_t n;
	struct part parts[];
};

struct streams {
	struct httpd *h;
	struct stream *list;
	struct topics *topics;
	unsigned n;
	size_t nparts;			/* of all together */
	uv_timer_t *tick;
};

/* ---- events */

/* "12.40.7": where each topic is, in the order in which they were asked for. */
static int
add_resume(const struct stream *s, struct buf *out)
{
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++)
		rc = buf_addf(out, "%s%" PRIu64, i > 0 ? "." : "", s->parts[i].pos);
	return rc;
}

static int
begin_event(const struct stream *s, const char *type, struct buf *out)
{
	int rc = 0;

	if (s->sse) {
		rc = buf_adds(out, "id: ");
		if (rc == 0)
			rc = add_resume(s, out);
		if (rc == 0)
			rc = buf_addf(out, "\nevent: %s\ndata: ", type);
	}
	if (rc == 0)
		rc = buf_addf(out, "{\"Type\":\"%s\",\"Resume\":\"", type);
	if (rc == 0)
		rc = add_resume(s, out);
	return rc == 0 ? buf_addc(out, '"') : rc;
}

static int
end_event(const struct stream *s, struct buf *out)
{
	return buf_adds(out, s->sse ? "}\n\n" : "}\n");
}

/* One event of a topic; entry: a msgpack value, or empty. */
static int
add_event(const struct stream *s, const struct part *p, const char *type, uint64_t index, struct str entry, struct buf *out)
{
	struct mp_r in = mp_r_init(entry.p, entry.len);
	int rc = begin_event(s, type, out);

	if (rc == 0)
		rc = buf_adds(out, ",\"Topic\":");
	if (rc == 0)
		rc = json_add_string(out, str_from(p->topic));
	if (rc == 0)
		rc = buf_addf(out, ",\"Index\":%" PRIu64, index);
	if (rc == 0 && entry.len > 0)
		rc = buf_adds(out, ",\"Entry\":");
	if (rc == 0 && entry.len > 0)
		rc = json_from_mp(out, &in, NULL);
	return rc == 0 ? end_event(s, out) : rc;
}

/* The last event: why there are no more. What was made of another one that did not fit is dropped. */
static void
say_last(struct stream *s, const char *type, int status, struct str text, const char *topic)
{
	size_t at = s->out.len;
	int rc;

	if (s->last)
		return;
	s->last = true;
	rc = begin_event(s, type, &s->out);
	if (rc == 0 && status != 0)
		rc = buf_addf(&s->out, ",\"Status\":%d,\"Text\":", status);
	if (rc == 0 && status != 0)
		rc = json_add_string(&s->out, text);
	if (rc == 0 && topic != NULL)
		rc = buf_adds(&s->out, ",\"Topic\":");
	if (rc == 0 && topic != NULL)
		rc = json_add_string(&s->out, str_from(topic));
	if (rc < 0 || end_event(s, &s->out) < 0)
		s->out.len = at;
}

/* ---- telling a batch */

static void
begin_batch(struct part *p)
{
	const struct batch *b = p->feed.batch;

	p->telling = true;
	p->begun = false;
	p->entries = b->nentries;
	p->deleted = b->ndeleted;
	p->in = mp_r_init(b->payload.data + b->entries_at, b->payload.len - b->entries_at);
}

/* The next event of a part's batch; a client that has seen the batch's last one has seen all of it. */
static int
tell(struct stream *s, struct part *p)
{
	const struct batch *b = p->feed.batch;

	if (b->reset && !p->begun) {
		p->begun = true;
		p->pos = 0;
		return add_event(s, p, "reset", b->to, STR_NONE, &s->out);
	}
	if (p->entries + p->deleted + (b->reset ? 1u : 0u) == 1)
		p->pos = b->to;
	if (p->entries > 0) {
		p->entries--;
		return add_event(s, p, "upsert", b->to, mp_r_raw(&p->in), &s->out);
	}
	if (p->deleted == b->ndeleted && p->deleted > 0) {
		(void)mp_r_str(&p->in);
		(void)mp_r_array(&p->in);
	}
	if (p->deleted > 0) {
		p->deleted--;
		return add_event(s, p, "delete", b->to, mp_r_raw(&p->in), &s->out);
	}
	p->telling = false;
	p->pos = b->to;
	return b->reset ? add_event(s, p, "snapshot", b->to, STR_NONE, &s->out) : 0;
}

/* Make events for the client to take, of one batch after the other. */
static void
fill(struct stream *s)
{
	for (size_t idle = 0; idle < s->n && s->out.len < FILL && !s->last;) {
		struct part *p = &s->parts[s->turn];
		size_t at = s->out.len;

		if (p->feed.batch == NULL) {
			s->turn = (s->turn + 1) % s->n;
			idle++;
			continue;
		}
		idle = 0;
		if (!p->telling)
			begin_batch(p);
		if (tell(s, p) < 0) {
			s->out.len = at;
			say_last(s, "error", 500, STR("an event cannot be shown"), p->topic);
		}
		if (!p->telling) {
			feed_told(&p->feed);
			s->turn = (s->turn + 1) % s->n;
		}
	}
}

/* ---- bytes out */

static void
resume(struct stream *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->r->mhd);
	server_kick(s->all->h);
}

static ssize_t
read_events(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = cls;
	size_t n;

	(void)pos;
	if (s->gone)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (s->out.len == 0)
		fill(s);
	n = s->out.len - s->out_at < max ? s->out.len - s->out_at : max;
	if (n > 0) {
		memcpy(buf, s->out.data + s->out_at, n);
		s->out_at += n;
		if (s->out_at == s->out.len) {
			s->out_at = 0;
			buf_wipe(&s->out);
			buf_shrink(&s->out, KEEP);
		}
		s->told_ms = uv_now(&s->all->h->d->loop.uv);
		return (ssize_t)n;
	}
	if (s->last)
		return MHD_CONTENT_READER_END_OF_STREAM;
	MHD_suspend_connection(s->r->mhd);
	s->suspended = true;
	return 0;
}

static void
on_ready(void *arg, struct feed *f)
{
	(void)f;
	resume(arg);
}

static void
on_failed(void *arg, struct feed *f, int status, struct str text)
{
	struct stream *s = arg;
	const struct part *p = (const struct part *)(const void *)((const char *)f - offsetof(struct part, feed));

	say_last(s, "error", status, text, p->topic);
	resume(s);
}

static void
on_tick(uv_timer_t *t)
{
	struct streams *ss = t->data;
	uint64_t now = uv_now(&ss->h->d->loop.uv);

	topics_tick(ss->topics);
	for (struct stream *s = ss->list; s != NULL; s = s->next) {
		/* Only who waits for us is told that we are there: not one that does not take what there is. */
		if (!s->suspended || now - s->told_ms < s->heartbeat_ms)
			continue;
		if (s->sse ? buf_adds(&s->out, ": still here\n\n") < 0 :
		    begin_event(s, "heartbeat", &s->out) < 0 || end_event(s, &s->out) < 0)
			buf_clear(&s->out);
		resume(s);
	}
}

void
stream_hangup(struct request *r)
{
	if (r->stream == NULL)
		return;
	r->stream->gone = true;
	resume(r->stream);
}

/* ---- a stream's life */

void
stream_leave(struct request *r)
{
	struct stream *s = r->stream;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		feed_close(&s->parts[i].feed);
	*s->prev = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	s->all->nparts -= s->n;
	if (--s->all->n == 0)
		(void)uv_timer_stop(s->all->tick);
	r->stream = NULL;
	buf_release(&s->out);
	free(s);
}

static struct stream *
stream_new(struct request *r, size_t n, bool sse, uint64_t heartbeat_ms)
{
	struct streams *ss = r->h->streams;
	struct stream *s = calloc(1, sizeof(*s) + n * sizeof(s->parts[0]));

	if (s == NULL)
		return NULL;
	s->all = ss;
	s->r = r;
	s->n = n;
	s->sse = sse;
	s->heartbeat_ms = heartbeat_ms;
	s->told_ms = uv_now(&r->h->d->loop.uv);
	s->owner = (struct feed_owner){ .ready = on_ready, .failed = on_failed, .arg = s };
	buf_init(&s->out, RPC_REPLY_MAX);
	s->next = ss->list;
	s->prev = &ss->list;
	if (s->next != NULL)
		s->next->prev = &s->next;
	ss->list = s;
	ss->nparts += n;
	if (ss->n++ == 0)
		(void)uv_timer_start(ss->tick, on_tick, TICK_MS, TICK_MS);
	r->stream = s;
	return s;
}

/* ---- what is asked for */

/* The i-th of "12.40.7", or the only one there is; false: it is no such list of n. */
static bool
index_at(struct str text, size_t n, size_t i, uint64_t *ret)
{
	size_t numbers = 1;

	*ret = 0;
	if (text.len == 0)
		return true;
	for (size_t k = 0; k < text.len; k++)
		numbers += text.p[k] == '.';
	if (numbers != 1 && numbers != n)
		return false;
	for (size_t k = 0; numbers > 1 && k < i; k++) {
		const char *dot = memchr(text.p, '.', text.len);

		if (dot == NULL)
			return false;
		text.len -= (size_t)(dot + 1 - text.p);
		text.p = dot + 1;
	}
	if (numbers > 1 && i + 1 < n) {
		const char *dot = memchr(text.p, '.', text.len);

		if (dot == NULL)
			return false;
		text.len = (size_t)(dot - text.p);
	}
	return parse_u64(text, ret) == 0;
}

/* From where to resume: ?index, else the header with which an EventSource comes back. */
static struct str
resume_from(const struct request *r)
{
	const struct str *index = param_get(&r->params, "index");
	const char *last = MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, "Last-Event-ID");

	if (index != NULL)
		return *index;
	return last != NULL ? str_from(last) : STR("");
}

static bool
heartbeat(struct request *r, uint64_t *ret_ms)
{
	const struct str *text = param_get(&r->params, "heartbeat");
	int64_t ns = HEARTBEAT_MS * NS_PER_MS;

	if (text != NULL && (duration_parse(*text, &ns) < 0 || ns < NS_PER_S || ns > HEARTBEAT_MAX_MS * NS_PER_MS)) {
		respond_bad(r, "Invalid heartbeat: from 1s to 10m");
		return false;
	}
	*ret_ms = (uint64_t)(ns / NS_PER_MS);
	return true;
}

static bool
topics_ok(struct request *r, const struct strs *topics)
{
	struct str from = resume_from(r), name;
	enum topic_kind kind;
	uint64_t index;

	if (topics->n == 0) {
		respond_bad(r, "Missing topic: kv:PREFIX, service:NAME or node:NAME");
		return false;
	}
	if (topics->n > HTTP_STREAM_TOPICS_MAX) {
		respond_text(r, 400, "Too many topics, max: %d", HTTP_STREAM_TOPICS_MAX);
		return false;
	}
	for (size_t i = 0; i < topics->n; i++) {
		if (!topic_parse(topics->v[i], &kind, &name)) {
			const char *quoted = go_quote(topics->v[i], &r->arena);

			respond_text(r, 400, "Invalid topic %s: kv:PREFIX, service:NAME or node:NAME", quoted != NULL ? quoted : "");
			return false;
		}
		if (!index_at(from, topics->n, i, &index)) {
			respond_bad(r, "Invalid index");
			return false;
		}
	}
	if (r->h->streams->n >= HTTP_STREAMS_MAX || r->h->d->draining) {
		respond_text(r, 429, "Too many streams, max: %d", HTTP_STREAMS_MAX);
		return false;
	}
	if (r->h->streams->nparts + topics->n > HTTP_STREAM_PARTS_MAX) {
		respond_text(r, 429, "Too many topics of all streams, max: %d", HTTP_STREAM_PARTS_MAX);
		return false;
	}
	return true;
}

static int
open_parts(struct stream *s, const struct strs *topics)
{
	struct request *r = s->r;
	struct str from = resume_from(r), name;
	enum topic_kind kind;
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++) {
		struct part *p = &s->parts[i];

		p->topic = arena_strdup(&r->arena, topics->v[i]);
		if (p->topic == NULL || !topic_parse(topics->v[i], &kind, &name) || !index_at(from, s->n, i, &p->pos))
			return -ENOMEM;
		rc = feed_open(s->all->topics, &p->feed, kind, name, &r->opts, p->pos, &s->owner);
	}
	return rc;
}

static bool
accepts_events(struct str accept)
{
	static const struct str type = { "text/event-stream", 17 };

	for (size_t i = 0; accept.len >= type.len && i <= accept.len - type.len; i++)
		if (str_eq_nocase((struct str){ accept.p + i, type.len }, type))
			return true;
	return false;
}

void
stream_serve(struct request *r)
{
	bool sse = accepts_events(r->accept);
	struct strs topics;
	uint64_t beat;
	struct stream *s;

	if (params_list(&r->params, "topic", &r->arena, &topics) < 0) {
		respond_empty(r, 500);
		return;
	}
	if (!topics_ok(r, &topics) || !heartbeat(r, &beat))
		return;
	if (r->conn->gone) {
		/* Its end came before the request was looked at: nobody would tell us again. */
		request_gone(r);
		return;
	}
	s = stream_new(r, topics.n, sse, beat);
	if (s == NULL) {
		respond_empty(r, 500);
		return;
	}
	if (open_parts(s, &topics) < 0) {
		stream_leave(r);
		respond_text(r, 413, "a topic is too long");
		return;
	}
	r->reply.content = sse ? CONTENT_EVENTS : CONTENT_NDJSON;
	r->reply.name = "Cache-Control";
	r->reply.value = "no-store";
	r->shared = shared_reply_stream(r->h, &r->view, &r->reply, MHD_SIZE_UNKNOWN, read_events, s);
	if (r->shared == NULL)
		respond_empty(r, 500);
	else
		respond_done(r);
}

/* ---- all of them */

struct streams *
streams_new(struct httpd *h)
{
	struct streams *ss = calloc(1, sizeof(*ss));

	if (ss == NULL)
		return NULL;
	ss->h = h;
	ss->topics = topics_new(h);
	ss->tick = malloc(sizeof(*ss->tick));
	if (ss->topics == NULL || ss->tick == NULL) {
		topics_free(ss->topics);
		free(ss->tick);
		free(ss);
		return NULL;
	}
	(void)uv_timer_init(&h->d->loop.uv, ss->tick);
	ss->tick->data = ss;
	return ss;
}

void
streams_end_all(struct streams *ss)
{
	for (struct stream *s = ss->list; s != NULL; s = s->next) {
		say_last(s, "end", 0, STR_NONE, NULL);
		resume(s);
	}
}

static void
free_handle(uv_handle_t *u)
{
	free(u);
}

void
streams_free(struct streams *ss)
{
	if (ss == NULL)
		return;
	topics_free(ss->topics);
	uv_close((uv_handle_t *)ss->tick, free_handle);
	free(ss);
}

unsigned
streams_count(const struct streams *ss)
{
	return ss->n;
}

size_t
streams_topics(const struct streams *ss)
{
	return topics_count(ss->topics);
}
