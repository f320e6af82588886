/* lzw.c - LZW as the pool speaks it: least significant bit first, 8 bit literals, codes of 9 to 12 bits. */
#include "gossipd/wire/lzw.h"

#include <assert.h>

enum {
	LZW_CLEAR = 256, LZW_END = 257, LZW_CODE_MAX = 4095,
	LZW_WIDTH_MIN = 9, LZW_WIDTH_MAX = 12,
	LZW_SLOTS_MIN = 256, LZW_SLOTS_MAX = 8192,
};

/* ---- deflating */

struct deflater {
	uint8_t *p, *end;
	uint32_t acc;
	unsigned bits;		/* of acc that are taken */
	unsigned width, hi;
	bool full;		/* the end was hit */
	unsigned slots;		/* a power of two, twice the entries at least */
	uint32_t slot[LZW_SLOTS_MAX];	/* prefix << 20 | byte << 12 | code; 0 is free, since no code is 0 */
};

static void
put_code(struct deflater *d, unsigned code)
{
	d->acc |= code << d->bits;
	d->bits += d->width;
	for (; d->bits >= 8; d->bits -= 8) {
		if (d->p == d->end)
			d->full = true;
		else
			*d->p++ = (uint8_t)d->acc;
		d->acc >>= 8;
	}
}

static void
start_table(struct deflater *d)
{
	d->width = LZW_WIDTH_MIN;
	d->hi = LZW_END;
	memset(d->slot, 0, d->slots * sizeof(*d->slot));
}

/* The step behind each code of data. True: the table was full and begins anew. */
static bool
count_code(struct deflater *d)
{
	d->hi++;
	/* The code that reaches the power of two still had the old width. */
	if (d->hi == 1u << d->width && d->width < LZW_WIDTH_MAX)
		d->width++;
	if (d->hi < LZW_CODE_MAX)
		return false;
	put_code(d, LZW_CLEAR);
	start_table(d);
	return true;
}

/* Where the string is, or where it would go. */
static uint32_t *
find_slot(struct deflater *d, uint32_t key)
{
	uint32_t i = (key * 2654435761u) >> 16;

	for (;; i++) {
		uint32_t *s = &d->slot[i & (d->slots - 1)];

		if (*s == 0 || *s >> 12 == key)
			return s;
	}
}

static void
deflate_all(struct deflater *d, struct str in)
{
	unsigned code;

	put_code(d, LZW_CLEAR);
	if (in.len > 0) {
		code = (uint8_t)in.p[0];
		for (size_t i = 1; i < in.len && !d->full; i++) {
			uint32_t key = code << 8 | (uint8_t)in.p[i];
			uint32_t *s = find_slot(d, key);

			if (*s != 0) {
				code = *s & 0xfff;
				continue;
			}
			put_code(d, code);
			code = (uint8_t)in.p[i];
			if (!count_code(d))
				*s = key << 12 | d->hi;
		}
		put_code(d, code);
		(void)count_code(d);
	}
	put_code(d, LZW_END);
	if (d->bits > 0) {
		d->width = 8 - d->bits;
		put_code(d, 0);
	}
}

int
lzw_deflate_within(struct str in, size_t max, struct buf *out)
{
	struct deflater d;
	/* Every byte a code of 12 bits, a clear after 3837 of them, the first clear and the end. */
	size_t most = in.len + in.len / 2 + in.len / 1024 + 16;
	int rc;

	if (most > max)
		most = max;
	/* What there is room for may be enough all the same. */
	if (most > out->max - out->len)
		most = out->max - out->len;
	if (most == 0)
		return -ELIMIT;
	rc = buf_reserve(out, most);
	if (rc < 0)
		return rc;
	d.p = out->data + out->len;
	d.end = d.p + most;
	d.acc = 0;
	d.bits = 0;
	d.full = false;
	for (d.slots = LZW_SLOTS_MIN; d.slots < LZW_SLOTS_MAX && d.slots < 2 * in.len;)
		d.slots *= 2;
	start_table(&d);
	deflate_all(&d, in);
	if (d.full)
		return -ELIMIT;
	out->len = (size_t)(d.p - out->data);
	return 0;
}

int
lzw_deflate(struct str in, struct buf *out)
{
	return lzw_deflate_within(in, SIZE_MAX, out);
}

/* ---- inflating */

/* A string of the table lies in the output already: where, and how long. */
struct entry {
	uint32_t at, len;
};

struct inflater {
	struct str in;
	size_t pos;
	uint32_t acc;
	unsigned bits, width, hi;
	bool following;		/* there is a previous string */
	struct entry last;
	struct entry table[LZW_CODE_MAX + 1];	/* [258, hi) */
};

static int
take_code(struct inflater *n, unsigned *ret)
{
	while (n->bits < n->width) {
		if (n->pos == n->in.len)
			return -EDECODE;
		n->acc |= (uint32_t)(uint8_t)n->in.p[n->pos++] << n->bits;
		n->bits += 8;
	}
	*ret = n->acc & ((1u << n->width) - 1);
	n->acc >>= n->width;
	n->bits -= n->width;
	return 0;
}

/* The string of a code, the previous one with its own first byte behind it when the code is the next to be made. */
static int
find_entry(const struct inflater *n, unsigned code, struct entry *ret, bool *ret_self)
{
	*ret_self = false;
	if (code > n->hi)
		return -EDECODE;
	/* Nothing follows where the table is full: its last code, 4095, stands in it. */
	if (code < n->hi || !n->following) {
		*ret = n->table[code];
		return 0;
	}
	*ret = (struct entry){ n->last.at, n->last.len + 1 };
	*ret_self = true;
	return 0;
}

static void
append(struct buf *out, size_t base, struct entry e, bool self)
{
	uint8_t *to = out->data + out->len;
	const uint8_t *from = out->data + base + e.at;

	/* Strings are short: byte by byte is faster than a call. The last byte of the self-referring one is the first written here. */
	for (uint32_t i = 0; i < e.len - self; i++)
		to[i] = from[i];
	if (self)
		to[e.len - 1] = *from;
	out->len += e.len;
}

/* The step behind each code of data, which was written at `at`. */
static void
learn(struct inflater *n, struct entry now)
{
	/* The previous string and the first byte of this one stand together in the output. */
	if (n->following)
		n->table[n->hi] = (struct entry){ n->last.at, n->last.len + 1 };
	n->following = true;
	n->last = now;
	n->hi++;
	if (n->hi < 1u << n->width)
		return;
	if (n->width < LZW_WIDTH_MAX) {
		n->width++;
		return;
	}
	n->following = false;
	n->hi--;
}

static int
inflate_code(struct inflater *n, unsigned code, size_t max, size_t base, struct buf *out)
{
	struct entry e = { 0, 1 };
	bool self = false;
	size_t done = out->len - base;
	int rc = 0;

	if (code > LZW_END)
		rc = find_entry(n, code, &e, &self);
	if (rc == 0 && e.len > max - done)
		rc = -ELIMIT;
	if (rc == 0 && e.len > out->cap - out->len)
		rc = buf_reserve(out, e.len);
	if (rc < 0)
		return rc;
	if (code < LZW_CLEAR)
		out->data[out->len++] = (uint8_t)code;
	else
		append(out, base, e, self);
	learn(n, (struct entry){ (uint32_t)done, e.len });
	return 0;
}

static void
forget(struct inflater *n)
{
	n->width = LZW_WIDTH_MIN;
	n->hi = LZW_END;
	n->following = false;
	n->last = (struct entry){ 0, 0 };
}

int
lzw_inflate(struct str in, size_t max, struct buf *out)
{
	struct inflater n;
	size_t base = out->len;
	unsigned code;
	int rc;

	assert(max <= UINT32_MAX);
	n.in = in;
	n.pos = 0;
	n.acc = 0;
	n.bits = 0;
	forget(&n);
	while ((rc = take_code(&n, &code)) == 0 && code != LZW_END) {
		if (code == LZW_CLEAR) {
			forget(&n);
			continue;
		}
		rc = inflate_code(&n, code, max, base, out);
		if (rc < 0)
			break;
	}
	if (rc < 0)
		out->len = base;
	return rc;
}
