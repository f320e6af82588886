/* scan.c - msgpack followed as it arrives. */
#include "gossipd/wire/scan.h"

void
scan_values(struct scan *s, uint64_t n)
{
	s->bytes = 0;
	s->depth = 0;
	s->todo[0] = n;
}

void
scan_bytes(struct scan *s, uint64_t n)
{
	scan_values(s, 0);
	s->bytes = n;
}

/* What a first byte says: how many bytes of number follow, and how much content without one. */
struct head {
	uint8_t width;
	uint8_t fixed;
	enum { CONTENT, BYTES, VALUES, PAIRS, NONSENSE } counts;
};

static const struct head heads[32] = {
	[0x00] = { 0, 0, CONTENT },
	[0x01] = { 0, 0, NONSENSE },
	[0x02] = { 0, 0, CONTENT }, [0x03] = { 0, 0, CONTENT },
	[0x04] = { 1, 0, BYTES }, [0x05] = { 2, 0, BYTES }, [0x06] = { 4, 0, BYTES },
	/* Extensions have a byte of type beside what they count. */
	[0x07] = { 1, 1, BYTES }, [0x08] = { 2, 1, BYTES }, [0x09] = { 4, 1, BYTES },
	[0x0a] = { 0, 4, CONTENT }, [0x0b] = { 0, 8, CONTENT },
	[0x0c] = { 0, 1, CONTENT }, [0x0d] = { 0, 2, CONTENT }, [0x0e] = { 0, 4, CONTENT }, [0x0f] = { 0, 8, CONTENT },
	[0x10] = { 0, 1, CONTENT }, [0x11] = { 0, 2, CONTENT }, [0x12] = { 0, 4, CONTENT }, [0x13] = { 0, 8, CONTENT },
	[0x14] = { 0, 2, CONTENT }, [0x15] = { 0, 3, CONTENT }, [0x16] = { 0, 5, CONTENT }, [0x17] = { 0, 9, CONTENT },
	[0x18] = { 0, 17, CONTENT },
	[0x19] = { 1, 0, BYTES }, [0x1a] = { 2, 0, BYTES }, [0x1b] = { 4, 0, BYTES },
	[0x1c] = { 2, 0, VALUES }, [0x1d] = { 4, 0, VALUES },
	[0x1e] = { 2, 0, PAIRS }, [0x1f] = { 4, 0, PAIRS },
};

static struct head
head_of(uint8_t t, uint64_t *ret_count)
{
	*ret_count = 0;
	if (t < 0x80 || t >= 0xe0)
		return heads[0];
	if (t >= 0xc0)
		return heads[t - 0xc0];
	*ret_count = t >= 0xa0 ? t & 0x1f : t & 0x0f;
	return (struct head){ 0, 0, t < 0x90 ? PAIRS : t < 0xa0 ? VALUES : BYTES };
}

/* One header: 1 when it was there, 0 when more of it is needed. */
static int
take_head(struct scan *s, struct str all)
{
	const uint8_t *p = (const uint8_t *)all.p + s->pos;
	uint64_t count;
	struct head h = head_of(*p, &count);

	if (h.counts == NONSENSE)
		return -EDECODE;
	if (all.len - s->pos < 1u + h.width)
		return 0;
	for (unsigned i = 1; i <= h.width; i++)
		count = count << 8 | p[i];
	s->pos += 1u + h.width;
	s->todo[s->depth]--;
	s->bytes = h.fixed;
	if (h.counts == BYTES)
		s->bytes += count;
	if (h.counts == PAIRS)
		count *= 2;
	/* What can no longer fit is refused now, not when it has been waited for. */
	if (count > s->limit - s->pos)
		return -ELIMIT;
	if (h.counts == VALUES || h.counts == PAIRS) {
		if (s->depth + 1 == MP_DEPTH_MAX)
			return -EDECODE;
		s->todo[++s->depth] = count;
	}
	return 1;
}

int
scan_go(struct scan *s, struct str all)
{
	for (;;) {
		size_t here = all.len - s->pos;
		int rc;

		if (s->bytes > here) {
			s->bytes -= here;
			s->pos = all.len;
			return s->bytes > s->limit - s->pos ? -ELIMIT : 0;
		}
		s->pos += s->bytes;
		s->bytes = 0;
		while (s->depth > 0 && s->todo[s->depth] == 0)
			s->depth--;
		if (s->todo[s->depth] == 0)
			return 1;
		if (s->pos == all.len)
			return 0;
		rc = take_head(s, all);
		if (rc <= 0)
			return rc;
	}
}
