/*
 * address.c - who is at an address: nodes and services by their literal IP addresses.
 *
 * An address is 16 bytes, IPv4 in its mapped form, so that spellings do not
 * matter; what is no literal is at no address. When one was left last is this
 * server's memory and no part of the state: it only tells those who wait.
 */
#include <arpa/inet.h>

#include "raftd/fsm/query.h"

enum { ADDRESS_LEN = 16, REVERSE_SERVICES_MAX = 64 };

static struct str
node_address(const void *item)
{
	return ((const struct node_item *)item)->address_key;
}

static struct str
service_address(const void *item)
{
	return ((const struct service_item *)item)->address_key;
}

const struct tree_type node_address_tree = { node_address, NULL };
const struct tree_type service_address_tree = { service_address, NULL };

static bool
parse(struct str text, uint8_t out[ADDRESS_LEN])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	char c[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof(c))
		return false;
	memcpy(c, text.p, text.len);
	c[text.len] = 0;
	if (inet_pton(AF_INET, c, out + sizeof(mapped)) == 1) {
		memcpy(out, mapped, sizeof(mapped));
		return true;
	}
	return inet_pton(AF_INET6, c, out) == 1;
}

struct str
address_key(const struct fsm *f, struct str address, struct str rest)
{
	uint8_t raw[ADDRESS_LEN];

	return parse(address, raw) ? join(f, (struct str){ (const char *)raw, sizeof(raw) }, rest, STR_NONE) : STR_NONE;
}

void
address_touch(struct str old_key, struct str new_key, const struct fsm_sink *sink)
{
	if (old_key.len > 0)
		touch_one(sink, WATCH_ADDRESS, (struct str){ old_key.p, ADDRESS_LEN });
	if (new_key.len > 0 && !str_eq(old_key, new_key))
		touch_one(sink, WATCH_ADDRESS, (struct str){ new_key.p, ADDRESS_LEN });
}

void
address_left(struct apply *ap, struct str old_key, struct str new_key)
{
	if (old_key.len > 0 && !str_eq(old_key, new_key))
		ap->f->address_left = ap->index;
}

/* ---- reads */

const struct node_item *
address_node(const struct fsm *f, struct str address)
{
	struct str prefix = address_key(f, address, STR_NONE);
	struct tree_iter it;

	if (prefix.len == 0)
		return NULL;
	tree_seek(&f->nodes_by_address, prefix, &it);
	return tree_next_prefixed(&it, prefix);
}

/* The first of them that may be seen, or "". */
static struct str
first_node(const struct fsm *f, struct str prefix, uint64_t *idx)
{
	struct str found = STR("");
	const struct node_item *n;
	struct tree_iter it;

	tree_seek(&f->nodes_by_address, prefix, &it);
	while ((n = tree_next_prefixed(&it, prefix)) != NULL) {
		*idx = max_u64(*idx, n->n.modify_index);
		if (found.len == 0 && shows(f, ACL_NODE, n->n.node))
			found = n->n.node;
	}
	return found;
}

/* Names of services that may be seen, each once. */
static void
write_services(const struct fsm *f, struct str prefix, bool wanted, struct mp_w *out, uint64_t *idx)
{
	size_t at = mp_w_array_hold(out);
	struct str last = STR("");
	const struct service_item *s;
	struct tree_iter it;
	uint32_t n = 0;

	tree_seek(&f->services_by_address, prefix, &it);
	while (out->err == 0 && (s = tree_next_prefixed(&it, prefix)) != NULL) {
		const struct node_item *host = tree_get(&f->nodes, s->node);

		*idx = max_u64(*idx, s->s.modify_index);
		if (!wanted || n == REVERSE_SERVICES_MAX || str_eq(last, s->name) || host == NULL ||
		    !shows_instance(f, host->n.node, s->s.service))
			continue;
		mp_w_str(out, s->s.service);
		last = s->name;
		n++;
	}
	mp_w_array_patch(out, at, n);
}

int
address_query(const struct fsm *f, const struct reverse_query *q, struct mp_w *out, uint64_t *idx, struct watch_set *watch,
    struct fsm_error *err)
{
	struct str prefix = address_key(f, q->address, STR_NONE), node;

	if (prefix.len == 0) {
		if (!f->scratch->starved)
			fail(err, 400, "Invalid address");
		return 0;
	}
	watch_add(watch, WATCH_ADDRESS, (struct str){ prefix.p, ADDRESS_LEN });
	*idx = f->address_left;
	node = first_node(f, prefix, idx);
	mp_w_map(out, 2);
	mp_w_cstr(out, "Node");
	mp_w_str(out, node);
	mp_w_cstr(out, "Services");
	write_services(f, prefix, node.len == 0, out, idx);
	return 0;
}
