/* gossip_swim_queue.c - in which order broadcasts go, how often, and what they give way to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "gossipd/swim/queue.h"

static char out[4096];

static void
took(void *ctx, struct str m)
{
	size_t len = strlen(out);

	(void)ctx;
	(void)snprintf(out + len, sizeof(out) - len, "%.*s ", STR_ARG(m));
}

static void
dropped(void *ctx, void *arg, bool finished)
{
	size_t len = strlen(out);

	(void)ctx;
	(void)snprintf(out + len, sizeof(out) - len, "%s:%s ", finished ? "done" : "lost", (const char *)arg);
}

static void
add(struct queue *q, const char *key, const char *message)
{
	assert_int_equal(queue_add(q, str_from(key), str_from(message), (void *)(uintptr_t)message), 0);
}

static void
take(struct queue *q, size_t overhead, size_t room, unsigned limit, const char *want, size_t used)
{
	out[0] = 0;
	assert_int_equal(queue_take(q, overhead, room, limit, took, NULL), used);
	assert_string_equal(out, want);
}

static void
test_order(void **state)
{
	struct queue *q = queue_new(100);

	(void)state;
	assert_non_null(q);
	take(q, 2, 1000, 4, "", 0);
	add(q, "", "aa");
	add(q, "", "bbbb");
	add(q, "", "cc");
	add(q, "", "ddd");
	/* The longest first, of equal ones the newest. */
	take(q, 0, 1000, 100, "bbbb ddd cc aa ", 11);
	/* The longest that fits, the least sent before it. */
	add(q, "", "e");
	take(q, 2, 8, 100, "e ddd ", 8);
	take(q, 2, 8, 100, "bbbb ", 6);
	take(q, 2, 7, 100, "cc e ", 7);
	take(q, 2, 3, 100, "e ", 3);
	take(q, 2, 2, 100, "", 0);
	take(q, 2, 4, 100, "aa ", 4);
	/* Each once in one packet, though there is room. */
	take(q, 0, 1000, 100, "bbbb ddd cc aa e ", 12);
	assert_int_equal(queue_count(q), 5);
	queue_free(q);
}

static void
test_ends(void **state)
{
	struct queue *q = queue_new(3);

	(void)state;
	assert_non_null(q);
	queue_set_seed(q, UINT64_C(0x123456789abcdef0));
	queue_on_dropped(q, dropped, NULL);
	out[0] = 0;
	add(q, "k", "one");
	add(q, "k", "two");
	assert_string_equal(out, "lost:one ");
	assert_int_equal(queue_count(q), 1);
	take(q, 0, 100, 2, "two ", 3);
	take(q, 0, 100, 2, "two done:two ", 3);
	assert_int_equal(queue_count(q), 0);
	/* Gone: the key is free. */
	out[0] = 0;
	add(q, "k", "three");
	assert_string_equal(out, "");
	/* Without a key nothing replaces. */
	add(q, "", "x");
	add(q, "", "x");
	assert_int_equal(queue_count(q), 3);
	/* Full: what was sent most often goes, then the shortest, then the oldest. */
	take(q, 0, 5, 9, "three ", 5);
	out[0] = 0;
	add(q, "", "y");
	assert_string_equal(out, "lost:three ");
	add(q, "", "longer");
	assert_string_equal(out, "lost:three lost:x ");
	/* The new one is never what gives way. */
	out[0] = 0;
	queue_set_max(q, 1);
	add(q, "", "z");
	assert_int_equal(queue_count(q), 1);
	take(q, 0, 100, 1, "z done:z ", 1);
	/* A limit of 0 (nobody known) sends once. */
	add(q, "", "w");
	take(q, 0, 100, 0, "w done:w ", 1);
	queue_free(q);
	queue_free(NULL);
	q = queue_new(0);
	assert_non_null(q);
	add(q, "", "at least one");
	assert_int_equal(queue_count(q), 1);
	queue_clear(q);
	assert_int_equal(queue_count(q), 0);
	add(q, "k", "again");
	assert_int_equal(queue_count(q), 1);
	queue_free(q);
}

/* Against a list that is searched from one end to the other. */
enum { MODEL = 200, STEPS = 20000 };
static struct { char key[8]; unsigned id, len, sent; } model[MODEL];
static size_t nmodel;
static unsigned got[MODEL], ngot;

static void
took_id(void *ctx, struct str m)
{
	char digits[7] = "";

	(void)ctx;
	assert_true(ngot < MODEL && m.len >= 6);
	memcpy(digits, m.p, 6);
	got[ngot++] = (unsigned)strtoul(digits, NULL, 10);
}

static size_t
model_best(size_t room, unsigned from, const bool *out_of_it)
{
	size_t best = nmodel;

	for (size_t i = 0; i < nmodel; i++)
		if (!out_of_it[i] && model[i].sent >= from && model[i].len <= room &&
		    (best == nmodel || model[i].sent < model[best].sent ||
			(model[i].sent == model[best].sent &&
			    (model[i].len > model[best].len || (model[i].len == model[best].len && model[i].id > model[best].id)))))
			best = i;
	return best;
}

static void
model_take(size_t overhead, size_t room, unsigned limit)
{
	bool done[MODEL] = { false }, gone[MODEL] = { false };
	size_t used = 0, i, n = 0;
	unsigned from = 0;

	while (room > used + overhead && (i = model_best(room - used - overhead, from, done)) < nmodel) {
		from = model[i].sent;
		assert_true(n < ngot);
		assert_int_equal(got[n++], model[i].id);
		used += model[i].len + overhead;
		done[i] = true;
		gone[i] = ++model[i].sent >= limit;
	}
	assert_int_equal(n, ngot);
	for (i = n = 0; i < nmodel; i++)
		if (!gone[i])
			model[n++] = model[i];
	nmodel = n;
}

static void
model_add(struct queue *q, unsigned id)
{
	char message[64], key[8] = "";
	size_t len = 6 + (size_t)(rand() % 40), i;

	memset(message, '.', sizeof(message));
	(void)snprintf(message, sizeof(message), "%06u", id);
	message[6] = '.';
	if (rand() % 2 == 0)
		(void)snprintf(key, sizeof(key), "k%d", rand() % 60);
	for (i = 0; key[0] != 0 && i < nmodel; i++)
		if (strcmp(model[i].key, key) == 0) {
			memmove(&model[i], &model[i + 1], (nmodel - i - 1) * sizeof(model[0]));
			nmodel--;
			break;
		}
	assert_int_equal(queue_add(q, str_from(key), (struct str){ message, len }, NULL), 0);
	memcpy(model[nmodel].key, key, sizeof(key));
	model[nmodel].id = id;
	model[nmodel].len = (unsigned)len;
	model[nmodel++].sent = 0;
}

static void
test_model(void **state)
{
	struct queue *q = queue_new(MODEL);
	unsigned limit;
	size_t room;

	(void)state;
	assert_non_null(q);
	srand(7);
	for (unsigned step = 1; step <= STEPS; step++) {
		if (nmodel < MODEL - 1 && rand() % 3 != 0) {
			model_add(q, step);
		} else {
			room = (size_t)(rand() % 300);
			limit = 1 + (unsigned)(rand() % 8);
			ngot = 0;
			(void)queue_take(q, 2, room, limit, took_id, NULL);
			model_take(2, room, limit);
		}
		assert_int_equal(queue_count(q), nmodel);
	}
	queue_free(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order), cmocka_unit_test(test_ends), cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
