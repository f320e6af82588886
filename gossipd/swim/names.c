/* names.c - who members are (name, Meta, address, versions), each identity held once for all pools. */
#include "gossipd/swim/internal.h"

enum { BUCKETS_FIRST = 16 };

/* Both halves of the product, folded: what two inputs differ in goes its way by the seed, so that nobody finds any that collide without it. */
static uint64_t
mix(uint64_t a)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * 0x9e3779b97f4a7c15u;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Eight bytes at a time: a Meta may have hundreds of them. The length parts what follows from what went before. */
static uint32_t
hash_bytes(uint32_t h, const void *p, size_t n)
{
	const unsigned char *b = p;
	uint64_t x = mix((uint64_t)h << 32 ^ n ^ 0xd6e8feb86659fd93u), v;

	for (; n >= sizeof(v); n -= sizeof(v), b += sizeof(v)) {
		memcpy(&v, b, sizeof(v));
		x = mix(x ^ v);
	}
	v = 0;
	while (n > 0)
		v = v << 8 | b[--n];
	x = mix(x ^ v);
	return (uint32_t)(x ^ x >> 32);
}

static uint32_t
hash_end(uint32_t h)
{
	h = (h ^ h >> 16) * 0x7feb352du;
	h = (h ^ h >> 15) * 0x846ca68bu;
	return h ^ h >> 16;
}

uint32_t
names_hash(const struct swim_names *s, struct str name)
{
	return hash_end(hash_bytes(s->seed, name.p, name.len));
}

struct swim_names *
swim_names_new(void)
{
	struct swim_names *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	buf_init(&s->message, WIRE_PACKET_MAX);
	buf_init(&s->parts, (size_t)4 * WIRE_PACKET_MAX);
	buf_init(&s->packet, (size_t)4 * WIRE_PACKET_MAX);
	arena_init(&s->arena, ARENA_MAX);
	return s;
}

void
swim_names_free(struct swim_names *s)
{
	if (s == NULL)
		return;
	assert(s->n == 0);
	free(s->buckets);
	buf_release(&s->message);
	buf_release(&s->parts);
	buf_release(&s->packet);
	arena_release(&s->arena);
	free(s);
}

/* Chains grow longer when there is no memory for a wider table. */
static int
widen(struct swim_names *s)
{
	size_t n = s->nbuckets > 0 ? s->nbuckets * 2 : BUCKETS_FIRST;
	struct ident **wide;

	if (s->n < s->nbuckets)
		return 0;
	wide = calloc(n, sizeof(struct ident *));
	if (wide == NULL)
		return s->nbuckets > 0 ? 0 : -ENOMEM;
	for (size_t b = 0; b < s->nbuckets; b++)
		for (struct ident *i = s->buckets[b], *next; i != NULL; i = next) {
			next = i->next;
			i->next = wide[i->hash & (n - 1)];
			wide[i->hash & (n - 1)] = i;
		}
	free(s->buckets);
	s->buckets = wide;
	s->nbuckets = n;
	return 0;
}

static struct ident *
find(const struct swim_names *s, uint32_t hash, struct str name, struct str meta, const struct gossip_addr *addr, const uint8_t *vsn)
{
	struct ident *i;

	if (s->nbuckets == 0)
		return NULL;
	for (i = s->buckets[hash & (s->nbuckets - 1)]; i != NULL; i = i->next)
		if (i->hash == hash && str_eq(ident_name(i), name) && str_eq(ident_meta(i), meta) && gossip_addr_eq(&i->addr, addr) &&
		    memcmp(i->vsn, vsn, WIRE_VSN) == 0)
			return i;
	return NULL;
}

struct ident *
names_get(struct swim_names *s, struct str name, struct str meta, const struct gossip_addr *addr, const uint8_t vsn[WIRE_VSN])
{
	uint32_t h = hash_bytes(s->seed, name.p, name.len), name_hash = hash_end(h);
	struct ident *i;

	assert(name.len <= UINT16_MAX && meta.len <= UINT16_MAX);
	h = hash_bytes(h, meta.p, meta.len);
	h = hash_bytes(h, addr->ip, addr->len);
	h = hash_bytes(h, &addr->port, sizeof(addr->port));
	h = hash_end(hash_bytes(h, vsn, WIRE_VSN));
	i = find(s, h, name, meta, addr, vsn);
	if (i != NULL) {
		i->refs++;
		return i;
	}
	if (widen(s) < 0)
		return NULL;
	i = malloc(sizeof(*i) + name.len + meta.len);
	if (i == NULL)
		return NULL;
	*i = (struct ident){ .next = s->buckets[h & (s->nbuckets - 1)], .hash = h, .name_hash = name_hash, .refs = 1, .addr = *addr,
		.name_len = (uint16_t)name.len, .meta_len = (uint16_t)meta.len };
	memcpy(i->vsn, vsn, WIRE_VSN);
	if (name.len > 0)
		memcpy(i->bytes, name.p, name.len);
	if (meta.len > 0)
		memcpy(i->bytes + name.len, meta.p, meta.len);
	s->buckets[h & (s->nbuckets - 1)] = i;
	s->n++;
	return i;
}

void
names_put(struct swim_names *s, struct ident *i)
{
	struct ident **at;

	if (i == NULL || --i->refs > 0)
		return;
	for (at = &s->buckets[i->hash & (s->nbuckets - 1)]; *at != i; at = &(*at)->next)
		;
	*at = i->next;
	s->n--;
	free(i);
}
