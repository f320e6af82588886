/* output.c - the last bytes of a check's output. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkd/output.h"

void
output_init(struct output *o, size_t size)
{
	*o = (struct output){ .size = size > 0 ? size : 1 };
}

void
output_add(struct output *o, const void *p, size_t n)
{
	const char *from = p;
	size_t part;

	if (n == 0)
		return;
	if (o->data == NULL)
		o->data = malloc(o->size);
	if (o->data == NULL)
		return;
	o->total += n;
	if (n > o->size) {	/* only its end can be kept */
		from += n - o->size;
		n = o->size;
	}
	while (n > 0) {
		part = o->size - o->at < n ? o->size - o->at : n;
		memcpy(o->data + o->at, from, part);
		o->at = (o->at + part) % o->size;
		from += part;
		n -= part;
	}
}

int
output_append(const struct output *o, struct buf *to)
{
	int rc;

	if (o->total <= o->size)
		return o->total > 0 ? buf_add(to, o->data, (size_t)o->total) : 0;
	rc = buf_add(to, o->data + o->at, o->size - o->at);
	return rc < 0 ? rc : buf_add(to, o->data, o->at);
}

int
output_append_captured(const struct output *o, struct buf *to)
{
	int rc = 0;

	if (o->total > o->size)
		rc = buf_addf(to, "Captured %zu of %" PRIu64 " bytes\n...\n", o->size, o->total);
	return rc < 0 ? rc : output_append(o, to);
}

void
output_release(struct output *o)
{
	free(o->data);
	output_init(o, o->size);
}

int
output_cut(struct str note, size_t max, struct buf *to)
{
	if (note.len <= max)
		return buf_add(to, note.p, note.len);
	return buf_addf(to, "%.*s ... (captured %zu of %zu bytes)", (int)max, note.p, max, note.len);
}
