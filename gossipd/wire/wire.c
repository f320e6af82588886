/* wire.c - messages to bytes and back; addresses, relays, tags. */
#include "gossipd/wire/wire.h"

#include <stdlib.h>

#include "gossipd/wire/codec.h"

int
gossip_addr_set(struct gossip_addr *a, struct str ip, uint64_t port)
{
	static const char mapped[12] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";

	if ((ip.len != 4 && ip.len != 16) || port > UINT16_MAX)
		return -EINVAL;
	if (ip.len == 16 && memcmp(ip.p, mapped, sizeof(mapped)) == 0)
		ip = (struct str){ ip.p + sizeof(mapped), 4 };
	memset(a, 0, sizeof(*a));
	memcpy(a->ip, ip.p, ip.len);
	a->len = (uint8_t)ip.len;
	a->port = (uint16_t)port;
	return 0;
}

bool
gossip_addr_eq(const struct gossip_addr *a, const struct gossip_addr *b)
{
	return a->len == b->len && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* Takes back what was appended when it did not all fit. */
static int
put_end(const struct mp_w *w, size_t from)
{
	if (w->err != 0)
		w->out->len = from;
	return w->err;
}

int
wire_put_body(struct buf *out, const struct record *rec, const void *msg)
{
	struct mp_w w = mp_w_init(out);
	size_t from = out->len;

	codec_encode(rec, msg, &w);
	return put_end(&w, from);
}

int
wire_put(struct buf *out, uint8_t type, const struct record *rec, const void *msg)
{
	struct mp_w w = mp_w_init(out);
	size_t from = out->len;

	mp_w_raw(&w, (struct str){ (const char *)&type, 1 });
	codec_encode(rec, msg, &w);
	return put_end(&w, from);
}

int
wire_get(struct str body, const struct record *rec, void *ret, struct arena *a, size_t *ret_used)
{
	struct mp_r r = mp_r_init(body.p, body.len);

	codec_decode(rec, &r, ret, a);
	if (r.err != 0)
		return r.err;
	if (ret_used != NULL)
		*ret_used = (size_t)(r.p - (const uint8_t *)body.p);
	return 0;
}

/* ---- relays */

static const struct field dest_addr_fields[] = {
	FIELD(msg_relay, dest_ip, "IP", F_BYTES, FF_NULL | W_AT(0)),
	FIELD(msg_relay, dest_port, "Port", F_UINT, W_U16 | W_AT(1)),
	FIELD(msg_relay, dest_zone, "Zone", F_STR, W_AT(2)),
};
static RECORD(rec_dest_addr, msg_relay, "relay address", dest_addr_fields);

/* As it stands on the wire: the address is a structure in the header. */
struct relay_header {
	struct msg_relay addr;
	struct str dest_name;
};
static const struct field relay_fields[] = {
	FIELD_SUB(relay_header, addr, "DestAddr", F_RECORD, W_AT(0), rec_dest_addr),
	FIELD(relay_header, dest_name, "DestName", F_STR, W_AT(1)),
};
static RECORD(rec_relay, relay_header, "relay", relay_fields);

int
wire_put_relay(struct buf *out, const struct msg_relay *m)
{
	struct relay_header h = { *m, m->dest_name };
	struct mp_w w = mp_w_init(out);
	const uint8_t type = SERF_RELAY;
	size_t from = out->len;

	mp_w_raw(&w, (struct str){ (const char *)&type, 1 });
	codec_encode(&rec_relay, &h, &w);
	mp_w_raw(&w, m->message);
	return put_end(&w, from);
}

int
wire_get_relay(struct str body, struct msg_relay *ret, struct arena *a)
{
	struct relay_header h;
	size_t used = 0;
	int rc = wire_get(body, &rec_relay, &h, a, &used);

	if (rc < 0)
		return rc;
	*ret = h.addr;
	ret->dest_name = h.dest_name;
	ret->message = (struct str){ body.p + used, body.len - used };
	return 0;
}

/* ---- tags */

enum { TAGS_MAX = WIRE_META_MAX / 2 };	/* a pair takes two bytes at least */

static int
pair_cmp(const void *a, const void *b)
{
	const struct strpair *const *x = a, *const *y = b;

	return str_cmp((*x)->key, (*y)->key);
}

int
wire_put_tags(struct buf *out, const struct strmap *tags)
{
	const struct strpair *pairs[TAGS_MAX];
	struct mp_w w = mp_w_init(out);
	size_t from = out->len;

	if (tags->n > TAGS_MAX)
		return -ELIMIT;
	for (size_t i = 0; i < tags->n; i++)
		pairs[i] = &tags->v[i];
	qsort(pairs, tags->n, sizeof(*pairs), pair_cmp);
	mp_w_raw(&w, STR("\xff"));
	mp_w_map(&w, (uint32_t)tags->n);
	for (size_t i = 0; i < tags->n; i++) {
		codec_put_raw(&w, pairs[i]->key);
		codec_put_raw(&w, pairs[i]->value);
	}
	if (w.err == 0 && out->len - from > WIRE_META_MAX)
		w.err = -ELIMIT;
	return put_end(&w, from);
}

/* Into the order of keys, and of a key that stands there twice the later value alone. */
static void
sort_tags(struct strmap *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct strpair pair = m->v[i];
		size_t at = n;

		while (at > 0 && str_cmp(m->v[at - 1].key, pair.key) > 0)
			at--;
		if (at > 0 && str_eq(m->v[at - 1].key, pair.key)) {
			m->v[at - 1].value = pair.value;
			continue;
		}
		memmove(&m->v[at + 1], &m->v[at], (n - at) * sizeof(*m->v));
		m->v[at] = pair;
		n++;
	}
	m->n = n;
}

int
wire_get_tags(struct str meta, struct strmap *ret, struct arena *a)
{
	struct mp_r r;

	memset(ret, 0, sizeof(*ret));
	if (meta.len == 0 || (uint8_t)meta.p[0] != 0xff) {
		ret->v = arena_alloc(a, sizeof(*ret->v));
		if (ret->v == NULL)
			return -ENOMEM;
		ret->v[0] = (struct strpair){ STR("role"), meta.len > 0 ? meta : STR("") };
		ret->n = 1;
		return 0;
	}
	/* Sorting is quadratic: its size is bounded by that of what a peer may send. */
	if (meta.len > WIRE_META_MAX)
		return -ELIMIT;
	r = mp_r_init(meta.p + 1, meta.len - 1);
	codec_strmap(&r, ret, a);
	if (r.err == 0)
		sort_tags(ret);
	return r.err;
}
