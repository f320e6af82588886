/* batch.c - building and reading the records of the log. */
#include "raftd/store/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "raftd/store/crc32c.h"

enum { BATCH_KEEP = 64 * 1024 };

void
put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void
put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}

uint32_t
get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t
get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

struct batch *
batch_new(void)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	buf_init(&b->bytes, BATCH_BYTES_MAX);
	atomic_init(&b->holders, 1);
	return b;
}

void
batch_hold(struct batch *b)
{
	(void)atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
}

void
batch_free(struct batch *b)
{
	if (b == NULL || atomic_fetch_sub_explicit(&b->holders, 1, memory_order_acq_rel) > 1)
		return;
	buf_release(&b->bytes);
	free(b);
}

void
batch_clear(struct batch *b)
{
	buf_shrink(&b->bytes, BATCH_KEEP);
	b->next = b->store_next = NULL;
	b->first = b->term = 0;
	b->n = 0;
}

int
batch_entry_begin(struct batch *b, enum entry_kind kind, size_t *ret_at)
{
	static const uint8_t zero[BATCH_HEADER];
	uint8_t head[BATCH_ENTRY_HEADER] = { 0 };
	size_t at;
	int rc;

	if (b->bytes.len == 0) {
		rc = buf_add(&b->bytes, zero, sizeof(zero));
		if (rc < 0)
			return rc;
	}
	at = b->bytes.len;
	head[8] = (uint8_t)kind;
	rc = buf_add(&b->bytes, head, sizeof(head));
	if (rc < 0)
		return rc;
	*ret_at = at;
	return 0;
}

void
batch_entry_end(struct batch *b, size_t at)
{
	put_be32(b->bytes.data + at + 4, (uint32_t)(b->bytes.len - at - BATCH_ENTRY_HEADER));
	b->n++;
}

void
batch_entry_drop(struct batch *b, size_t at)
{
	b->bytes.len = at;
}

/* The checksum of the entry whose header is at p. */
static uint32_t
entry_crc(const uint8_t *p, size_t len, uint64_t index, uint64_t term)
{
	uint8_t place[16];

	put_be64(place, index);
	put_be64(place + 8, term);
	return crc32c(crc32c(0, place, sizeof(place)), p + 4, BATCH_ENTRY_HEADER - 4 + len);
}

void
batch_seal(struct batch *b, uint64_t first, uint64_t term)
{
	uint8_t *p = b->bytes.data, *end = p + b->bytes.len;

	assert(b->n > 0);
	b->first = first;
	b->term = term;
	put_be64(p, term);
	for (p += BATCH_HEADER; p < end; first++) {
		uint32_t len = get_be32(p + 4);

		put_be32(p, entry_crc(p, len, first, term));
		p += BATCH_ENTRY_HEADER + len;
	}
	assert(first == b->first + b->n);
}

/* The lengths are right: the batch was built or checked by this process. */
size_t
batch_len(const struct batch *b, uint32_t n)
{
	const uint8_t *p = b->bytes.data + BATCH_HEADER;

	while (n-- > 0)
		p += BATCH_ENTRY_HEADER + get_be32(p + 4);
	return (size_t)(p - b->bytes.data);
}

void
batch_cut(struct batch *b, uint64_t from)
{
	assert(from > b->first && from <= batch_last(b));
	b->n = (uint32_t)(from - b->first);
	b->bytes.len = batch_len(b, b->n);
}

int
batch_read(struct str record, uint64_t first, struct batch_cursor *ret)
{
	const uint8_t *p = (const uint8_t *)record.p;

	if (record.len <= BATCH_HEADER)
		return -EDECODE;
	*ret = (struct batch_cursor){ p + BATCH_HEADER, p + record.len, first, get_be64(p) };
	return 0;
}

int
batch_next(struct batch_cursor *c, bool verify, struct batch_entry *ret)
{
	size_t left = (size_t)(c->end - c->p), len;

	if (left == 0)
		return 0;
	if (left < BATCH_ENTRY_HEADER)
		return -EDECODE;
	len = get_be32(c->p + 4);
	if (len > left - BATCH_ENTRY_HEADER)
		return -EDECODE;
	if (verify && entry_crc(c->p, len, c->index, c->term) != get_be32(c->p))
		return -EDECODE;
	*ret = (struct batch_entry){ c->index, c->term, (enum entry_kind)c->p[8],
		{ (const char *)c->p + BATCH_ENTRY_HEADER, len } };
	c->p += BATCH_ENTRY_HEADER + len;
	c->index++;
	return 1;
}

int
batch_front(struct str record, uint64_t first, uint64_t from, size_t *ret_len)
{
	struct batch_cursor c;
	struct batch_entry entry;
	int rc = batch_read(record, first, &c);

	while (rc >= 0 && c.index < from) {
		rc = batch_next(&c, true, &entry);
		if (rc == 0)
			break;
	}
	if (rc < 0)
		return rc;
	*ret_len = (size_t)(c.p - (const uint8_t *)record.p);
	return 0;
}
