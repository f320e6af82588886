/* strays.c - finding what programs have started, and ending it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkd/strays.h"

enum { WALKS_MAX = 8, PASSES_MAX = 64, ENVIRON_MAX = 256 * 1024, STAT_MAX = 512, NOBODYS = -1 };

struct seen {
	pid_t pid, parent;
	int run;		/* index of the program it belongs to, or NOBODYS */
	char state;
	bool ours;		/* descends from this process */
};

struct walk {
	struct stray_run *runs;
	size_t nruns;
	struct seen *v;
	size_t n, cap;
	char *environ;		/* of the process looked at */
};

/* A file of /proc as far as it fits; -1 when it is not there, or not ours to see. */
static ssize_t
read_proc(pid_t pid, const char *name, char *to, size_t size)
{
	char path[64];
	size_t len = 0;
	ssize_t n = 1;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (n > 0 && len < size) {
		n = read(fd, to + len, size - len);
		if (n > 0)
			len += (size_t)n;
	}
	(void)close(fd);
	return n < 0 ? -1 : (ssize_t)len;
}

static bool
keep(struct walk *w, const struct seen *s)
{
	if (w->n == w->cap) {
		size_t bigger = w->cap > 0 ? w->cap * 2 : 512;
		struct seen *v = bigger <= STRAYS_SEEN_MAX ? realloc(w->v, bigger * sizeof(*v)) : NULL;

		if (v == NULL)
			return false;
		w->v = v;
		w->cap = bigger;
	}
	w->v[w->n++] = *s;
	return true;
}

/* The name of a program may hold anything: its parenthesis is the last one. */
static bool
look_at(pid_t pid, struct seen *ret)
{
	char text[STAT_MAX + 1];
	ssize_t n = read_proc(pid, "stat", text, STAT_MAX);
	const char *end;
	int parent;
	char state;

	if (n <= 0)
		return false;
	text[n] = '\0';
	end = strrchr(text, ')');
	if (end == NULL || sscanf(end + 1, " %c %d", &state, &parent) != 2)
		return false;
	*ret = (struct seen){ .pid = pid, .parent = parent, .run = NOBODYS, .state = state };
	return true;
}

static int
by_pid(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool
list_all(struct walk *w)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	struct seen s;

	if (d == NULL)
		return false;
	w->n = 0;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && look_at((pid_t)strtol(e->d_name, NULL, 10), &s) && !keep(w, &s))
			break;
	(void)closedir(d);
	if (w->n > 0)
		qsort(w->v, w->n, sizeof(*w->v), by_pid);
	return w->n > 0;
}

/* Who descends from us, and from a program; again until nothing changes, since parents may have the greater numbers. */
static void
inherit(struct walk *w)
{
	bool changed = true;

	for (int pass = 0; changed && pass < PASSES_MAX; pass++) {
		changed = false;
		for (size_t i = 0; i < w->n; i++) {
			struct seen *s = &w->v[i], key = { .pid = s->parent };
			const struct seen *p = bsearch(&key, w->v, w->n, sizeof(key), by_pid);

			if (p == NULL || (s->ours >= p->ours && (s->run != NOBODYS || p->run == NOBODYS)))
				continue;
			s->ours |= p->ours;
			if (s->run == NOBODYS)
				s->run = p->run;
			changed = true;
		}
	}
}

static bool
has_mark(const struct walk *w, size_t len, const char *mark)
{
	size_t n = strlen(mark);
	const char *p = w->environ, *end = w->environ + len;

	while (p != NULL && (size_t)(end - p) >= n) {
		if (memcmp(p, mark, n) == 0 && (p + n == end || p[n] == '\0'))
			return true;
		p = memchr(p, '\0', (size_t)(end - p));
		p = p != NULL ? p + 1 : NULL;
	}
	return false;
}

static void
read_mark(struct walk *w, struct seen *s)
{
	ssize_t len = read_proc(s->pid, "environ", w->environ, ENVIRON_MAX);

	for (size_t k = 0; len > 0 && s->run == NOBODYS && k < w->nruns; k++)
		if (has_mark(w, (size_t)len, w->runs[k].mark))
			s->run = (int)k;
}

static void
attribute(struct walk *w)
{
	pid_t self = getpid();

	for (size_t i = 0; i < w->n; i++) {
		w->v[i].ours = w->v[i].pid == self;
		for (size_t k = 0; k < w->nruns; k++)
			if (w->runs[k].leader != 0 && w->v[i].pid == w->runs[k].leader)
				w->v[i].run = (int)k;
	}
	inherit(w);
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].ours && w->v[i].pid != self && w->v[i].run == NOBODYS && w->v[i].state != 'Z')
			read_mark(w, &w->v[i]);
	inherit(w);
}

static bool
is_prey(const struct seen *s)
{
	return s->ours && s->run != NOBODYS && s->state != 'Z' && s->state != 'X';
}

/* How many of them went on until now. */
static size_t
stop_all(const struct walk *w)
{
	size_t running = 0;

	for (size_t i = 0; i < w->n; i++)
		if (is_prey(&w->v[i]) && w->v[i].state != 'T' && kill(w->v[i].pid, SIGSTOP) == 0)
			running++;
	return running;
}

void
strays_kill(struct stray_run *runs, size_t n)
{
	struct walk w = { .runs = runs, .nruns = n, .environ = malloc(ENVIRON_MAX) };
	bool listed = w.environ != NULL;

	for (size_t k = 0; k < n; k++)
		runs[k].found = 0;
	for (int i = 0; listed && i < WALKS_MAX; i++) {
		listed = list_all(&w);
		if (!listed)
			break;
		attribute(&w);
		if (stop_all(&w) == 0)
			break;
	}
	for (size_t i = 0; listed && i < w.n; i++)
		if (is_prey(&w.v[i]) && kill(w.v[i].pid, SIGKILL) == 0)
			runs[w.v[i].run].found++;
	free(w.v);
	free(w.environ);
}
