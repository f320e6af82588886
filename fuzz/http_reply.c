/* http_reply.c - fuzz target: what an agent (or something else) answers to consulctl, and its body as JSON laid out anew. */
#include <stdlib.h>
#include <string.h>

#include "consulctl/client/reply.h"
#include "consulctl/value.h"
#include "fuzz/fuzz.h"

enum { BODY_MAX = 256 * 1024 };

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static int
collect(void *arg, const void *p, size_t n)
{
	return buf_add(arg, p, n);
}

/* The result of reading it in pieces: as the socket might have brought it. */
static int
read_pieces(const char *p, size_t n, size_t step, struct reply *r, struct buf *body)
{
	int rc = 0;

	reply_init(r);
	for (size_t i = 0; rc == 0 && i < n; i += step)
		rc = reply_feed(r, p + i, n - i < step ? n - i : step, collect, body);
	/* Bytes behind a complete answer are an error only when they came with it. */
	return rc == 0 ? reply_end(r) : rc;
}

/* What was laid out can be laid out again, and loses its blanks to the same text. */
static void
check_layout(struct str json)
{
	struct buf tight = BUF_INIT(BODY_MAX), wide = BUF_INIT(256 * BODY_MAX), again = BUF_INIT(BODY_MAX);

	if (value_reindent(json, NULL, &tight) == 0) {
		must(value_reindent((struct str){ (const char *)tight.data, tight.len }, "    ", &wide) == 0);
		must(value_reindent((struct str){ (const char *)wide.data, wide.len }, NULL, &again) == 0);
		must(tight.len == again.len && (tight.len == 0 || memcmp(tight.data, again.data, tight.len) == 0));
	}
	buf_release(&tight);
	buf_release(&wide);
	buf_release(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT(BODY_MAX), pieces = BUF_INIT(BODY_MAX);
	struct reply a, b;
	int rc;

	if (size > BODY_MAX)
		return 0;
	rc = read_pieces((const char *)data, size, size > 0 ? size : 1, &a, &whole);
	if (rc == 1) {
		must(read_pieces((const char *)data, size, 1, &b, &pieces) == 1);
		must(a.status == b.status && a.index == b.index && a.keep_alive == b.keep_alive);
		must(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
		reply_release(&b);
	}
	reply_release(&a);
	check_layout((struct str){ (const char *)whole.data, whole.len });
	check_layout((struct str){ (const char *)data, size });
	buf_release(&whole);
	buf_release(&pieces);
	return 0;
}
