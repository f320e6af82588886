/* stamps.c - numbers for writes that must happen once. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc.h"

void
write_stamps_init(struct write_stamps *w)
{
	memset(w, 0, sizeof(*w));
	randombytes_buf(w->origin, sizeof(w->origin));
	w->next_seq = 1;
}

int
write_stamps_take(struct write_stamps *w, struct query_options *o)
{
	if (w->nopen == RPC_REQUESTS_MAX)
		return -ELIMIT;
	if (w->nopen == w->cap) {
		size_t cap = w->cap != 0 ? w->cap * 2 : 64;
		uint64_t *p = realloc(w->open, cap * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		w->open = p;
		w->cap = cap;
	}
	w->open[w->nopen++] = w->next_seq;
	o->origin = (struct str){ (const char *)w->origin, sizeof(w->origin) };
	o->seq = w->next_seq++;
	o->floor = w->open[0];
	return 0;
}

void
write_stamps_done(struct write_stamps *w, uint64_t seq)
{
	for (size_t i = 0; i < w->nopen; i++)
		if (w->open[i] == seq) {
			w->nopen--;
			memmove(w->open + i, w->open + i + 1, (w->nopen - i) * sizeof(*w->open));
			return;
		}
}

void
write_stamps_release(struct write_stamps *w)
{
	free(w->open);
	w->open = NULL;
	w->nopen = w->cap = 0;
}
