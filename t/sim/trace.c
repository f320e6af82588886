/* trace.c - every event in a line: true time, who, what. */
#include "t/sim/world.h"

#include <stdarg.h>
#include <string.h>

#define U(x) ((unsigned long long)(x))

void
trace_line(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	printf("[%10.3f] ", (double)w->now / 1e3);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

/* Several may be named in one line. */
const char *
trace_name(const struct world *w, uint64_t id)
{
	static char names[8][16];
	static unsigned next;
	char *p = names[next++ % 8];
	unsigned nth = 0;

	snprintf(p, sizeof(names[0]), id == 0 ? "nobody" : "stranger");
	for (size_t i = 0; i < w->ndirs; i++) {
		if (w->dirs[i]->id != id)
			continue;
		for (size_t k = 0; k <= i; k++)
			nth += w->dirs[k]->node == w->dirs[i]->node;
		snprintf(p, sizeof(names[0]), nth > 1 ? "%c%u" : "%c", (char)('A' + w->dirs[i]->node), nth);
	}
	return p;
}

static void
servers_text(const struct world *w, const struct raft_servers *c, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; c != NULL && i < c->n && at + 16 < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s%s", i > 0 ? " " : "", trace_name(w, c->v[i].id),
		    c->v[i].voter ? "" : "(non-voter)");
}

static void
message_text(const struct world *w, const struct raft_message *m, size_t n, char *text, size_t size)
{
	int at = snprintf(text, size, "%s %s->%s term %llu", raft_message_name(m->type), trace_name(w, m->from),
	    trace_name(w, m->to), U(m->term));

	text += at;
	size -= (size_t)at;
	switch (m->type) {
	case RAFT_MSG_PREVOTE:
	case RAFT_MSG_VOTE:
		snprintf(text, size, " last %llu/%llu%s", U(m->prev_index), U(m->prev_term), m->transfer ? " by transfer" : "");
		break;
	case RAFT_MSG_PREVOTE_REPLY:
	case RAFT_MSG_VOTE_REPLY:
		snprintf(text, size, m->ok ? " granted" : " refused");
		break;
	case RAFT_MSG_APPEND:
		snprintf(text, size, " prev %llu/%llu entries %llu-%llu (%zu) commit %llu round %llu sent %llu", U(m->prev_index),
		    U(m->prev_term), U(m->first), U(m->last), n, U(m->commit), U(m->round), U(m->sent_ms));
		break;
	case RAFT_MSG_APPEND_REPLY:
		snprintf(text, size, m->ok ? " match %llu round %llu sent %llu" : " refused prev %llu round %llu sent %llu hint %llu/%llu",
		    U(m->ok ? m->match : m->prev_index), U(m->round), U(m->sent_ms), U(m->hint_index), U(m->hint_term));
		break;
	case RAFT_MSG_SNAPSHOT:
	case RAFT_MSG_SNAPSHOT_REPLY:
		snprintf(text, size, " of %llu/%llu size %llu offset %llu bytes %llu%s", U(m->snapshot.index), U(m->snapshot.term),
		    U(m->snapshot.size), U(m->offset), U(m->bytes), m->ok ? " ok" : "");
		break;
	case RAFT_MSG_READ:
	case RAFT_MSG_READ_REPLY:
		snprintf(text, size, " read %llu index %llu%s", U(m->read), U(m->read_index), m->consistent ? " consistent" : "");
		break;
	default:
		break;
	}
}

static const char *
event_name(enum raft_event_type type)
{
	static const char *const names[] = { "timer", "bootstrap", "propose", "persisted", "applied", "read", "compacted",
		"message", "sent", "peer up", "peer down", "leader lost", "transfer", "snapshot ready", "snapshot failed", "chunk",
		"installed", "install failed" };

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "?";
}

static void
trace_event(const struct world *w, const struct node *n, const struct raft_event *ev, int rc)
{
	char text[512] = "", more[32] = "";
	const char *me = trace_name(w, n->dir->id);

	if (rc < 0)
		snprintf(more, sizeof(more), ": refused, %d", rc);
	if (ev->type == RAFT_MESSAGE)
		message_text(w, ev->message, ev->nruns, text, sizeof(text));
	else if (ev->config != NULL)
		servers_text(w, ev->config, text, sizeof(text));
	else if (ev->peer != 0)
		snprintf(text, sizeof(text), "%s %llu-%llu", trace_name(w, ev->peer), U(ev->first), U(ev->index));
	else
		snprintf(text, sizeof(text), "count %llu index %llu term %llu epoch %llu%s", U(ev->count), U(ev->index),
		    U(ev->term), U(ev->epoch), ev->consistent ? " consistent" : "");
	trace_line(w, "%s at %llu: %s %s%s", me, U(ev->now_ms), event_name(ev->type), text, more);
}

static void
trace_effects(const struct world *w, const struct raft *r, const struct raft_effects *fx)
{
	char text[512];

	if (fx->hard_state)
		trace_line(w, "   state: term %llu vote %s", U(r->term), trace_name(w, r->vote));
	if (fx->role_changed || fx->leader_changed)
		trace_line(w, "   %s%s, leader %s", raft_role_name(r->role), r->prevote ? " (pre-vote)" : "", trace_name(w, r->leader));
	if (fx->truncate_from != 0)
		trace_line(w, "   cut off from %llu", U(fx->truncate_from));
	if (fx->append_n != 0)
		trace_line(w, "   append %llu-%llu%s", U(fx->append_first), U(fx->append_first + fx->append_n - 1), fx->noop ? " (noop)" : "");
	if (fx->config_changed) {
		servers_text(w, raft_servers(r), text, sizeof(text));
		trace_line(w, "   servers: %s", text);
	}
	if (fx->read != 0 || fx->reads_ready[0] != 0 || fx->reads_ready[1] != 0)
		trace_line(w, "   read %llu, ready %llu %llu", U(fx->read), U(fx->reads_ready[0]), U(fx->reads_ready[1]));
	if (fx->snapshot_wanted || fx->snapshot_unneeded || fx->chunk || fx->install)
		trace_line(w, "   snapshot:%s%s%s%s", fx->snapshot_wanted ? " wanted" : "", fx->snapshot_unneeded ? " unneeded" : "",
		    fx->chunk ? " store the chunk" : "", fx->install ? " install" : "");
	for (size_t i = 0; i < fx->nmessages; i++) {
		message_text(w, &fx->messages[i], 0, text, sizeof(text));
		trace_line(w, "   -> %s", text);
	}
}

void
trace_step(const struct world *w, const struct node *n, const struct raft_event *ev, int rc, const struct raft_effects *fx)
{
	trace_event(w, n, ev, rc);
	if (rc == 0)
		trace_effects(w, &n->core, fx);
	trace_line(w, "   term %llu last %llu persisted %llu commit %llu applied %llu", U(n->core.term), U(n->core.trail.last),
	    U(n->core.persisted), U(fx->commit), U(n->core.applied));
}
