/*
 * linear_main.c - judges a history that clients of real servers have written down.
 *
 *	linear FILE
 *
 * One operation a line, in any order, fields by blanks; # begins a comment:
 *
 *	CLIENT BEGAN ENDED KEY OPERATION ARGUMENT RESULT
 *
 * BEGAN and ENDED are nanoseconds on one clock; ENDED is ? when the outcome
 * was never learnt (the operation may have happened then at any time, or
 * never). An absent value is -. Operations, with ARGUMENT and RESULT:
 *
 *	get      -           what was found
 *	put      VALUE       ok
 *	delete   -           ok
 *	cas      OLD,VALUE   ok; fail; fail,FOUND
 *	acquire  SESSION     ok (now the holder); fail (another one is)
 *	release  SESSION     ok; fail (was not the holder)
 *
 * RESULT is ? with ENDED ?. Exits 0 and prints how much it has seen; 1 when
 * no order of the operations explains the answers; 2 when the file cannot be
 * read or the search outgrew its bounds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/sim/linear.h"

enum { LINE_MAX_BYTES = 4096, FIELDS = 7 };

/* Names of keys and values by number, from 1. */
struct names {
	char **v;
	size_t n;
	uint32_t *table;
	size_t slots;
};

struct history {
	struct linear_op *ops;
	size_t n, cap;
	struct names keys, values;
};

static void
die(size_t line, const char *what)
{
	fprintf(stderr, "linear: line %zu: %s\n", line, what);
	exit(2);
}

static void *
need(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "linear: no memory\n");
		exit(2);
	}
	return p;
}

static size_t
slot_of(const struct names *t, const char *s)
{
	size_t h = 14695981039346656037u;

	for (const char *p = s; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	for (h &= t->slots - 1; t->table[h] != 0 && strcmp(t->v[t->table[h] - 1], s) != 0; h = (h + 1) & (t->slots - 1))
		;
	return h;
}

static void
names_grow(struct names *t)
{
	free(t->table);
	t->slots = t->slots != 0 ? t->slots * 2 : 1024;
	t->table = need(calloc(t->slots, sizeof(*t->table)));
	t->v = need(realloc(t->v, t->slots * sizeof(char *)));
	for (size_t i = 0; i < t->n; i++)
		t->table[slot_of(t, t->v[i])] = (uint32_t)i + 1;
}

static uint64_t
number_of(struct names *t, const char *s)
{
	size_t at;

	if (strcmp(s, "-") == 0)
		return 0;
	if (t->n * 2 >= t->slots)
		names_grow(t);
	at = slot_of(t, s);
	if (t->table[at] == 0) {
		t->v[t->n++] = need(strdup(s));
		t->table[at] = (uint32_t)t->n;
	}
	return t->table[at];
}

static uint64_t
time_of(const char *s, size_t line)
{
	uint64_t t;
	char *end;

	if (strcmp(s, "?") == 0)
		return LINEAR_UNKNOWN;
	errno = 0;
	t = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end != '\0' || errno != 0 || t == LINEAR_UNKNOWN)
		die(line, "not a time");
	return t;
}

static enum linear_kind
kind_of(const char *s, size_t line)
{
	static const char *const names[] = { "get", "put", "cas", "delete", "acquire", "release" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(s, names[i]) == 0)
			return (enum linear_kind)i;
	die(line, "no such operation");
	return LINEAR_GET;
}

static void
arguments(struct history *h, struct linear_op *o, char *arg, size_t line)
{
	char *comma = strchr(arg, ',');

	if (o->kind == LINEAR_CAS) {
		if (comma == NULL)
			die(line, "cas wants OLD,VALUE");
		*comma = '\0';
		o->expect = number_of(&h->values, arg);
		arg = comma + 1;
	}
	if (o->kind != LINEAR_GET && o->kind != LINEAR_DELETE)
		o->value = number_of(&h->values, arg);
}

static void
outcome(struct history *h, struct linear_op *o, const char *result, size_t line)
{
	if ((strcmp(result, "?") == 0) != (o->ret == LINEAR_UNKNOWN))
		die(line, "an outcome is known when it has ended, and not else");
	if (o->ret == LINEAR_UNKNOWN)
		return;
	if (o->kind == LINEAR_GET || (o->kind == LINEAR_CAS && strncmp(result, "fail,", 5) == 0)) {
		o->saw = true;
		o->seen = number_of(&h->values, o->kind == LINEAR_GET ? result : result + 5);
		return;
	}
	o->ok = strcmp(result, "ok") == 0;
	if (!o->ok && strcmp(result, "fail") != 0)
		die(line, "no such result");
}

static void
add(struct history *h, char *text, size_t line)
{
	char *field[FIELDS + 1], *save = NULL;
	struct linear_op o = { 0 };
	size_t n = 0;

	for (char *p = strtok_r(text, " \t\r\n", &save); p != NULL && n <= FIELDS; p = strtok_r(NULL, " \t\r\n", &save))
		field[n++] = p;
	if (n == 0 || field[0][0] == '#')
		return;
	if (n != FIELDS)
		die(line, "wants seven fields");
	o.call = time_of(field[1], line);
	o.ret = time_of(field[2], line);
	if (o.call == LINEAR_UNKNOWN || o.ret < o.call)
		die(line, "ends before it begins");
	o.key = number_of(&h->keys, field[3]);
	o.kind = kind_of(field[4], line);
	arguments(h, &o, field[5], line);
	outcome(h, &o, field[6], line);
	if (h->n == h->cap) {
		h->cap = h->cap != 0 ? h->cap * 2 : 1024;
		h->ops = need(realloc(h->ops, h->cap * sizeof(*h->ops)));
	}
	h->ops[h->n++] = o;
}

static void
read_history(struct history *h, const char *path)
{
	char text[LINE_MAX_BYTES];
	FILE *f = fopen(path, "r");
	size_t line = 0;

	if (f == NULL) {
		fprintf(stderr, "linear: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	while (fgets(text, sizeof(text), f) != NULL) {
		line++;
		if (strchr(text, '\n') == NULL && !feof(f))
			die(line, "too long");
		add(h, text, line);
	}
	if (ferror(f) != 0)
		die(line, "cannot be read");
	fclose(f);
}

static void
names_release(struct names *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i]);
	free(t->v);
	free(t->table);
}

int
main(int argc, char **argv)
{
	struct history h = { 0 };
	enum linear_verdict verdict;
	uint64_t key = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: linear FILE\n");
		return 2;
	}
	read_history(&h, argv[1]);
	verdict = linear_check(h.ops, h.n, &key);
	if (verdict == LINEAR_OK)
		printf("linearizable: %zu operations, %zu keys\n", h.n, h.keys.n);
	else
		printf("%s: key %s\n", verdict == LINEAR_BAD ? "not linearizable" : "too hard to tell",
		    key != 0 ? h.keys.v[key - 1] : "-");
	names_release(&h.keys);
	names_release(&h.values);
	free(h.ops);
	return verdict == LINEAR_OK ? 0 : verdict == LINEAR_BAD ? 1 : 2;
}
