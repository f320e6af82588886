/* batch.c - several registrations in one entry: judged, applied and answered one by one. */
#include "raftd/fsm/state.h"

static void
give_result(struct mp_w *w, int64_t code, struct str text)
{
	const struct batch_result r = { code, text };

	record_encode(&rec_batch_result, &r, RECORD_WHOLE, w);
}

/* Of a batch that is read: a request has at most 8 MiB, but few bytes may stand for many members. */
enum { BATCH_ARENA_MAX = 256 * MiB };

/* ---- before the log */

/* The asker of one item. 1: its token is none, which is the item's error; negative without memory. */
static int
asker_of(const struct fsm_fresh *fresh, const struct batch_item *it, struct asker *whole, struct asker *own, struct asker **ret,
    struct fsm_error *err)
{
	int rc;

	*ret = whole;
	if (it->token.len == 0 || fresh->asker == NULL)
		return 0;
	rc = fresh->asker(fresh->ctx, it->token, own);
	if (rc == -ENOENT) {
		*err = (struct fsm_error){ 403, "ACL not found" };
		return 1;
	}
	*ret = own;
	return rc;
}

/* Whether the item asks for one thing. */
static bool
has_one(const struct batch_item *it, struct fsm_error *err)
{
	if (it->reg.n + it->dereg.n != 1)
		fail(err, 400, "an item of a batch is one registration or one deregistration");
	return err->code == 0;
}

/* Judge an item. *ret_stands: it would change nothing. */
static int
judge(const struct fsm *f, const struct fsm_fresh *fresh, const struct batch_item *it, struct asker *whole, bool *ret_stands,
    struct fsm_error *err)
{
	const struct register_request *reg = it->reg.v;
	struct asker own, *who;
	int rc;

	*ret_stands = false;
	if (!has_one(it, err))
		return 0;
	rc = asker_of(fresh, it, whole, &own, &who, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (!(it->reg.n > 0 ? permit_register(f, who, reg, err) : permit_deregister(f, who, it->dereg.v, err)))
		/* What is refused without a word is so for lack of memory. */
		return err->code != 0 && !f->scratch->starved ? 0 : -ENOMEM;
	if (it->reg.n == 0)
		(void)catalog_vet_deregister(it->dereg.v, err);
	else if (catalog_vet_register(f, reg, err))
		*ret_stands = catalog_stands(f, reg);
	return f->scratch->starved ? -ENOMEM : 0;
}

/* A refused item goes into the log as its answer alone, so that a write that is sent again gets that answer, too. */
static int
mark_refused(struct arena *a, struct batch_item *it, const struct fsm_error *err)
{
	const char *text = arena_strdup(a, str_from(err->text));

	if (text == NULL)
		return -ENOMEM;
	*it = (struct batch_item){ .code = err->code, .text = str_from(text) };
	return 0;
}

static struct str
written(const struct buf *out, size_t start)
{
	return (struct str){ (const char *)out->data + start, out->len - start };
}

/* Nothing is left to be done: the answers of all. */
static int
answer_all(const struct records *items, struct buf *out, struct str *ret_reply, struct fsm_error *err)
{
	const struct batch_item *v = items->v;
	struct mp_w w = mp_w_init(out);
	size_t start = out->len;

	mp_w_array(&w, (uint32_t)items->n);
	for (size_t i = 0; i < items->n; i++)
		give_result(&w, v[i].code, v[i].text);
	*ret_reply = written(out, start);
	err->code = FSM_ANSWERED;
	return w.err;
}

/* Judge all. *ret_any: something is to be done. */
static int
judge_all(const struct fsm *f, const struct fsm_fresh *fresh, struct records *items, struct asker *who, struct arena *a, bool *ret_any)
{
	struct batch_item *v = items->v;
	bool stands;
	int rc = 0;

	*ret_any = false;
	for (size_t i = 0; rc == 0 && i < items->n; i++) {
		struct fsm_error own = { .code = 0 };

		rc = judge(f, fresh, &v[i], who, &stands, &own);
		/* Who asked is nothing that the log needs to know. */
		v[i].token = STR_NONE;
		v[i].code = 0;
		v[i].text = STR_NONE;
		if (rc == 0 && own.code != 0)
			rc = mark_refused(a, &v[i], &own);
		else if (!stands)
			*ret_any = true;
	}
	return rc;
}

int
batch_check(const struct fsm *f, struct str request, const struct fsm_fresh *fresh, struct asker *who, struct buf *out,
    struct str *ret_request, struct fsm_error *err)
{
	/* Whoever tells what a token stands for looks into the state, too, which ends what is in its scratch. */
	struct arena a = ARENA_INIT(BATCH_ARENA_MAX);
	struct mp_r r = mp_r_init(request.p, request.len);
	struct mp_w w = mp_w_init(out);
	struct catalog_batch b;
	size_t start = out->len;
	bool any = false;
	int rc = record_decode(&rec_catalog_batch, &r, &b, &a);

	if (rc == 0 && b.items.n > CATALOG_BATCH_MAX) {
		fail(err, 413, "a batch has at most %d items, not %zu", CATALOG_BATCH_MAX, b.items.n);
	} else if (rc == 0) {
		rc = judge_all(f, fresh, &b.items, who, &a, &any);
		if (rc == 0 && !any) {
			rc = answer_all(&b.items, out, ret_request, err);
		} else if (rc == 0) {
			record_encode(&rec_catalog_batch, &b, RECORD_WHOLE, &w);
			*ret_request = written(out, start);
			rc = w.err;
		}
	}
	arena_release(&a);
	return rc;
}

/* ---- out of the log */

/* What fails is undone by itself. */
static int
apply_item(struct apply *ap, const struct batch_item *it, struct fsm_error *err)
{
	struct indexes saved = ap->f->idx;
	size_t mark = ap->f->njournal, start = ap->w->out->len;
	struct apply one = *ap;
	int rc;

	one.err = err;
	if (!has_one(it, err))
		return 0;
	rc = it->reg.n > 0 ? catalog_register(&one, it->reg.v) : catalog_deregister(&one, it->dereg.v);
	/* The answer of the operation itself. */
	ap->w->out->len = start;
	if (rc < 0 || err->code == 0)
		return rc;
	ap->f->idx = saved;
	return change_undo(ap->f, mark);
}

int
batch_apply(struct apply *ap, const struct catalog_batch *b)
{
	const struct batch_item *v = b->items.v;
	int rc = 0;

	mp_w_array(ap->w, (uint32_t)b->items.n);
	for (size_t i = 0; rc == 0 && i < b->items.n; i++) {
		struct fsm_error err = { .code = 0 };

		if (v[i].code == 0)
			rc = apply_item(ap, &v[i], &err);
		if (rc == 0 && v[i].code != 0)
			give_result(ap->w, v[i].code, v[i].text);
		else if (rc == 0)
			give_result(ap->w, err.code, str_from(err.text));
	}
	return rc;
}
