/* filter.c - for whom a query is: node names, and tags by regular expression. */
#include "gossipd/serf/internal.h"
#include "gossipd/wire/codec.h"
#include "lib/re.h"

static bool
names_pass(struct serf *s, struct str list)
{
	struct mp_r r = mp_r_init(list.p, list.len);
	struct str own = serf_own_name(s);
	bool found = false;

	for (uint32_t n = mp_r_array(&r); n > 0 && r.err == 0; n--)
		found |= str_eq(codec_text(&r), own);
	return r.err == 0 && found;
}

/* Whether there is time for another expression. */
static bool
affordable(struct serf *s)
{
	if (serf_now(s) - s->expressions_since >= (uint64_t)NS_PER_S) {
		s->expressions_since = serf_now(s);
		s->expressions = 0;
	}
	if (s->expressions >= SERF_EXPRESSIONS_MAX) {
		s->stats.refused++;
		return false;
	}
	s->expressions++;
	return true;
}

/* A tag that we do not have is like an empty one. */
static bool
tag_passes(struct serf *s, struct str body, struct arena *a)
{
	struct strmap tags = { NULL, 0 };
	struct msg_filter_tag f;
	const struct str *value;
	struct re *re = NULL;
	char why[128];
	bool yes;

	if (wire_get(body, &rec_msg_filter_tag, &f, a, NULL) < 0 || wire_get_tags(swim_node_meta(swim_self(s->swim)), &tags, a) < 0)
		return false;
	if (!affordable(s) || re_compile(f.expr, &re, why, sizeof(why)) < 0)
		return false;
	value = strmap_get(&tags, f.tag);
	yes = re_match(re, value != NULL ? *value : STR(""));
	re_free(re);
	return yes;
}

static bool
passes(struct serf *s, struct str filter, struct arena *a)
{
	struct str body = { filter.p + 1, filter.len - 1 };

	if (filter.len == 0)
		return false;
	if ((uint8_t)filter.p[0] == FILTER_NODES)
		return names_pass(s, body);
	return (uint8_t)filter.p[0] == FILTER_TAG && tag_passes(s, body, a);
}

bool
serf_filter_passes(struct serf *s, const struct strs *filters)
{
	struct arena a = ARENA_INIT(MESSAGE_ARENA_MAX);
	bool yes = true;

	for (size_t i = 0; i < filters->n && yes; i++)
		yes = passes(s, filters->v[i], &a);
	arena_release(&a);
	return yes;
}

int
serf_filter_put_nodes(struct buf *out, const struct strs *nodes)
{
	struct mp_w w = mp_w_init(out);
	int rc = buf_addc(out, FILTER_NODES);

	if (rc < 0)
		return rc;
	mp_w_array(&w, (uint32_t)nodes->n);
	for (size_t i = 0; i < nodes->n; i++)
		codec_put_raw(&w, nodes->v[i]);
	return w.err;
}

int
serf_filter_put_tag(struct buf *out, struct str tag, struct str expr)
{
	struct msg_filter_tag f = { .tag = tag, .expr = expr };

	return wire_put(out, FILTER_TAG, &rec_msg_filter_tag, &f);
}
