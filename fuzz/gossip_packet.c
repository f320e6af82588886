/*
 * gossip_packet.c - any bytes as a datagram. The messages that come out of it
 * are read, written and read again, and wrapped anew they come out the same.
 */
#include "fuzz/fuzz.h"
#include "fuzz/gossip.h"

enum { HEARD_MAX = 64, HEARD_BYTES = 32 * 1024 };

struct heard {
	struct arena arena;
	struct buf parts;		/* with their types */
	size_t n, ends[HEARD_MAX];
	bool all;			/* there was room for each */
};

static void
note(struct heard *h, uint8_t type, struct str body)
{
	if (!h->all || h->n == HEARD_MAX || buf_addc(&h->parts, type) < 0 || buf_add(&h->parts, body.p, body.len) < 0) {
		h->all = false;
		return;
	}
	h->ends[h->n++] = h->parts.len;
}

static void
on_message(void *ctx, uint8_t type, struct str body)
{
	static const struct record *const recs[] = {
		[WIRE_PING] = &rec_msg_ping, [WIRE_INDIRECT] = &rec_msg_indirect, [WIRE_ACK] = &rec_msg_ack,
		[WIRE_SUSPECT] = &rec_msg_accuse, [WIRE_ALIVE] = &rec_msg_alive, [WIRE_DEAD] = &rec_msg_accuse, [WIRE_NACK] = &rec_msg_nack,
	};
	struct heard *h = ctx;
	union gossip_any any;

	note(h, type, body);
	if (h->n == HEARD_MAX)
		return;
	arena_reset(&h->arena);
	if (type == WIRE_USER)
		serf_again(body, &h->arena, 0);
	else if (again(body, recs[type], &any, &h->arena) && type == WIRE_ALIVE &&
	    wire_get(body, &rec_msg_alive, &any, &h->arena, NULL) == 0)
		tags_again(any.alive.meta, &h->arena);
}

static void
on_again(void *ctx, uint8_t type, struct str body)
{
	struct heard *h = ctx;

	note(h, type, body);
}

static void
heard_init(struct heard *h)
{
	arena_init(&h->arena, 1 << 20);
	buf_init(&h->parts, HEARD_BYTES);
	h->n = 0;
	h->all = true;
}

/* As one compound in every wrapping that we have. */
static void
wrap_again(const struct heard *h, struct keyring *keys)
{
	struct str parts[HEARD_MAX];
	struct buf plain = BUF_INIT(WIRE_PACKET_MAX), out = BUF_INIT(WIRE_PACKET_MAX);

	for (size_t i = 0, from = 0; i < h->n; from = h->ends[i++])
		parts[i] = (struct str){ (const char *)h->parts.data + from, h->ends[i] - from };
	must(packet_compound(parts, h->n, &plain) == 0);
	for (uint8_t how = 0; how < 8; how++) {
		struct heard back;
		struct wrap w;

		wrap_for(&w, keys, how);
		heard_init(&back);
		buf_clear(&out);
		w.compress = (how & LENIENT) != 0;
		must(packet_wrap(&w, whole(&plain), (how & WITH_LABEL) != 0, &out) == 0);
		must(out.len <= plain.len + wrap_overhead(&w) + 5);
		must(packet_unwrap(&w, whole(&out), on_again, &back) == PACKET_OK);
		must(back.n == h->n && str_eq(whole(&back.parts), whole(&h->parts)));
		arena_release(&back.arena);
		buf_release(&back.parts);
		wrap_release(&w);
	}
	buf_release(&plain);
	buf_release(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keyring *keys = vector_keys();
	struct heard h;
	struct wrap w;
	enum packet_fault f;

	if (size == 0)
		return 0;
	wrap_for(&w, keys, data[0]);
	heard_init(&h);
	f = packet_unwrap(&w, (struct str){ (const char *)data + 1, size - 1 }, on_message, &h);
	must(packet_fault_text(f) != NULL);
	if (h.all && h.n > 0)
		wrap_again(&h, keys);
	arena_release(&h.arena);
	buf_release(&h.parts);
	wrap_release(&w);
	return 0;
}
