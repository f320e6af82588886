/*
 * origin.c - writes happen once: the recent results of each writing process.
 *
 * A result is kept until its origin says, by Floor, that it has the answer.
 * What was dropped is known to have been decided: a retry of it is refused,
 * never applied a second time.
 */
#include <assert.h>
#include <stdlib.h>

#include "raftd/fsm/state.h"

struct result {
	uint64_t seq;
	struct str payload;	/* the bytes stand behind, in one block with text */
	struct str text;	/* of an error */
	uint64_t code;
};

struct origin {
	struct str id;			/* behind the structure */
	int64_t last;			/* cluster time of its last write */
	uint64_t decided;		/* every number up to here was dropped */
	struct result **results;	/* by number, ascending */
	size_t n, cap, bytes;
	bool dirty;
	struct origin *next_dirty;
};

static struct str
origin_key(const void *item)
{
	return ((const struct origin *)item)->id;
}

const struct tree_type origin_tree = { origin_key, NULL };

static const struct field f_result[] = {
	FIELD(result, seq, "Seq", F_UINT, 0),
	FIELD(result, payload, "Payload", F_BYTES, FF_OMITEMPTY),
	FIELD(result, text, "Text", F_STR, FF_OMITEMPTY),
	FIELD(result, code, "Code", F_UINT, FF_OMITEMPTY),
};
static RECORD(rec_result, result, "Result", f_result);

/* As it stands in the image. */
struct origin_image {
	int64_t last;
	uint64_t decided;
	struct records results;
};

static const struct field f_origin_image[] = {
	FIELD(origin_image, last, "Last", F_INT, 0),
	FIELD(origin_image, decided, "Decided", F_UINT, 0),
	FIELD_SUB(origin_image, results, "Results", F_RECORDS, 0, rec_result),
};
static RECORD(rec_origin_image, origin_image, "OriginImage", f_origin_image);

/* ---- life */

static struct origin *
origin_new(struct str id)
{
	struct origin *o = malloc(sizeof(*o) + id.len);

	if (o == NULL)
		return NULL;
	*o = (struct origin){ .id = { (char *)(o + 1), id.len } };
	memcpy(o + 1, id.p, id.len);
	return o;
}

static void
origin_free(void *item)
{
	struct origin *o = item;

	for (size_t i = 0; i < o->n; i++)
		free(o->results[i]);
	free(o->results);
	free(o);
}

void
origin_release(struct fsm *f)
{
	tree_release(&f->origins, origin_free);
	f->origins_dirty = NULL;
}

static void
mark_dirty(struct fsm *f, struct origin *o)
{
	if (o->dirty)
		return;
	o->dirty = true;
	o->next_dirty = f->origins_dirty;
	f->origins_dirty = o;
}

static void
forget(struct fsm *f, struct origin *o, const struct fsm_sink *sink)
{
	for (struct origin **p = &f->origins_dirty; o->dirty && *p != NULL; p = &(*p)->next_dirty)
		if (*p == o) {
			*p = o->next_dirty;
			break;
		}
	if (sink->changed != NULL)
		sink->changed(sink->ctx, FSM_ORIGIN, o->id, STR_NONE);
	tree_del(&f->origins, o);
	origin_free(o);
}

/* ---- results */

static size_t
result_size(const struct result *r)
{
	return sizeof(*r) + r->payload.len + r->text.len;
}

/* The place of seq, or where it belongs. Numbers mostly ascend: look from the end. */
static size_t
result_pos(const struct origin *o, uint64_t seq)
{
	size_t lo = 0, hi = o->n;

	if (hi > 0 && o->results[hi - 1]->seq < seq)
		return hi;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (o->results[mid]->seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int
result_add(struct origin *o, const struct result *in)
{
	struct result *r = malloc(result_size(in));
	size_t at, cap = o->cap != 0 ? o->cap * 2 : 16;
	char *p;

	if (r == NULL)
		return -ENOMEM;
	if (o->n == o->cap) {
		struct result **v = realloc(o->results, cap * sizeof(struct result *));

		if (v == NULL) {
			free(r);
			return -ENOMEM;
		}
		o->results = v;
		o->cap = cap;
	}
	p = (char *)(r + 1);
	*r = (struct result){ in->seq, { p, in->payload.len }, { p + in->payload.len, in->text.len }, in->code };
	if (in->payload.len > 0)
		memcpy(p, in->payload.p, in->payload.len);
	if (in->text.len > 0)
		memcpy(p + in->payload.len, in->text.p, in->text.len);
	at = result_pos(o, in->seq);
	assert(at == o->n || o->results[at]->seq != in->seq);
	memmove(o->results + at + 1, o->results + at, (o->n - at) * sizeof(struct result *));
	o->results[at] = r;
	o->n++;
	o->bytes += result_size(r);
	return 0;
}

/* Drop what is below floor, and the oldest beyond the bounds. */
static void
results_prune(struct origin *o, uint64_t floor)
{
	size_t drop = 0;

	while (drop < o->n && (o->results[drop]->seq < floor || o->n - drop > FSM_RESULTS_MAX ||
	    (o->bytes > FSM_RESULT_BYTES_MAX && drop + 1 < o->n))) {
		struct result *r = o->results[drop++];

		o->decided = max_u64(o->decided, r->seq);
		o->bytes -= result_size(r);
		free(r);
	}
	if (drop > 0)
		memmove(o->results, o->results + drop, (o->n - drop) * sizeof(struct result *));
	o->n -= drop;
	if (floor > 0)
		o->decided = max_u64(o->decided, floor - 1);
}

/* ---- what the state machine asks */

static bool
stamped(const struct query_options *q)
{
	return q->origin.len > 0 && q->origin.len <= FSM_ORIGIN_LEN_MAX && q->seq > 0;
}

int
origin_replay(struct fsm *f, const struct query_options *q, struct buf *result, struct fsm_error *err, bool *ret_done)
{
	struct origin *o = stamped(q) ? tree_get(&f->origins, q->origin) : NULL;
	const struct result *r;
	size_t at;

	*ret_done = false;
	if (o == NULL)
		return 0;
	at = result_pos(o, q->seq);
	r = at < o->n && o->results[at]->seq == q->seq ? o->results[at] : NULL;
	if (r == NULL && q->seq > o->decided)
		return 0;
	*ret_done = true;
	if (r == NULL)
		fail(err, 500, "The outcome of this write is no longer known");
	else if (r->code != 0)
		fail(err, (int)r->code, "%.*s", STR_ARG(r->text));
	else
		return buf_add(result, r->payload.p, r->payload.len);
	return 0;
}

bool
fsm_seen(const struct fsm *f, struct str origin, uint64_t seq)
{
	const struct origin *o = tree_get(&f->origins, origin);
	size_t at;

	if (o == NULL)
		return false;
	at = result_pos(o, seq);
	return seq <= o->decided || (at < o->n && o->results[at]->seq == seq);
}

/* Room for one more origin: the one that has been silent for longest goes, the lesser id of two. */
static void
make_room(struct fsm *f, const struct fsm_sink *sink)
{
	struct origin *o, *oldest = NULL;
	struct tree_iter it;

	if (f->origins.n < FSM_ORIGINS_MAX)
		return;
	tree_seek(&f->origins, STR_NONE, &it);
	while ((o = tree_next(&it)) != NULL)
		if (oldest == NULL || o->last < oldest->last)
			oldest = o;
	forget(f, oldest, sink);
}

int
origin_record(struct fsm *f, const struct query_options *q, struct str payload, const struct fsm_error *err,
    const struct fsm_sink *sink)
{
	struct result r = { .seq = q->seq, .code = (uint64_t)err->code };
	struct origin *o;
	int rc;

	if (!stamped(q))
		return 0;
	o = tree_get(&f->origins, q->origin);
	if (o == NULL) {
		make_room(f, sink);
		o = origin_new(q->origin);
		rc = o != NULL ? tree_add(&f->origins, o) : -ENOMEM;
		if (rc < 0) {
			free(o);
			return rc;
		}
	}
	if (err->code != 0)
		r.text = str_from(err->text);
	else
		r.payload = payload;
	rc = result_add(o, &r);
	if (rc < 0)
		return rc;
	o->last = f->time;
	results_prune(o, q->floor);
	mark_dirty(f, o);
	return 0;
}

/* Once a minute of cluster time: whether it is due depends on the state alone. */
void
origin_expire(struct fsm *f, int64_t before, const struct fsm_sink *sink)
{
	struct origin *o, *idle;
	struct tree_iter it;

	if (before / FSM_MINUTE == f->time / FSM_MINUTE)
		return;
	do {
		idle = NULL;
		tree_seek(&f->origins, STR_NONE, &it);
		while (idle == NULL && (o = tree_next(&it)) != NULL)
			if (o->last + FSM_ORIGIN_IDLE < f->time)
				idle = o;
		if (idle != NULL)
			forget(f, idle, sink);
	} while (idle != NULL);
}

/* ---- the image */

static int
report(const struct fsm *f, const struct origin *o, const struct fsm_sink *sink)
{
	struct mp_w w = mp_w_init(f->enc);

	buf_clear(f->enc);
	mp_w_map(&w, 3);
	mp_w_cstr(&w, "Last");
	mp_w_int(&w, o->last);
	mp_w_cstr(&w, "Decided");
	mp_w_uint(&w, o->decided);
	mp_w_cstr(&w, "Results");
	mp_w_array(&w, (uint32_t)o->n);
	for (size_t i = 0; i < o->n; i++)
		record_encode(&rec_result, o->results[i], RECORD_WHOLE, &w);
	if (w.err == 0 && sink->changed != NULL)
		sink->changed(sink->ctx, FSM_ORIGIN, o->id, (struct str){ (const char *)f->enc->data, f->enc->len });
	return w.err;
}

int
origin_flush(struct fsm *f, const struct fsm_sink *sink)
{
	while (f->origins_dirty != NULL) {
		struct origin *o = f->origins_dirty;
		int rc = report(f, o, sink);

		if (rc < 0)
			return rc;
		o->dirty = false;
		f->origins_dirty = o->next_dirty;
	}
	return 0;
}

int
origin_dump(const struct fsm *f, const struct fsm_sink *sink)
{
	const struct origin *o;
	struct tree_iter it;
	int rc = 0;

	tree_seek(&f->origins, STR_NONE, &it);
	while (rc == 0 && (o = tree_next(&it)) != NULL)
		rc = report(f, o, sink);
	return rc;
}

int
origin_load(struct fsm *f, struct str key, struct str value)
{
	struct mp_r r = mp_r_init(value.p, value.len);
	struct origin_image in;
	const struct result *results;
	struct origin *o;
	int rc;

	rc = record_decode(&rec_origin_image, &r, &in, f->arena);
	if (rc < 0)
		return rc;
	if (key.len == 0 || key.len > FSM_ORIGIN_LEN_MAX || !mp_r_done(&r) || tree_get(&f->origins, key) != NULL)
		return -EDECODE;
	o = origin_new(key);
	if (o == NULL)
		return -ENOMEM;
	o->last = in.last;
	o->decided = in.decided;
	results = in.results.v;
	for (size_t i = 0; i < in.results.n && rc == 0; i++)
		rc = i > 0 && results[i].seq <= results[i - 1].seq ? -EDECODE : result_add(o, &results[i]);
	if (rc == 0)
		rc = tree_add(&f->origins, o);
	if (rc < 0)
		origin_free(o);
	return rc;
}
