/* preload.c - members that are there from the beginning. */
#include "gossipd/swim/internal.h"

int
swim_preload(struct swim *s, uint64_t now, const struct msg_alive *m)
{
	struct gossip_addr addr;
	struct swim_node *n;
	struct ident *id;

	if (m->vsn.len != WIRE_VSN || m->node.len == 0 || m->node.len >= WIRE_NAME_MAX || m->meta.len > WIRE_META_MAX ||
	    m->incarnation == 0 || m->incarnation > INCARNATION_MAX || gossip_addr_set(&addr, m->addr, m->port) < 0 ||
	    table_find(s, m->node) != NULL)
		return -EINVAL;
	if (s->table.n >= s->c.nodes_max)
		return -ELIMIT;
	id = names_get(s->names, m->node, m->meta, &addr, (const uint8_t *)m->vsn.p);
	if (id == NULL)
		return -ENOMEM;
	n = table_add(s, now, id);
	if (n == NULL) {
		names_put(s->names, id);
		return -ENOMEM;
	}
	n->incarnation = (uint32_t)m->incarnation;
	node_set_state(s, now, n, SWIM_ALIVE);
	if (s->h.joined != NULL)
		s->h.joined(s->h.ctx, n);
	return 0;
}
