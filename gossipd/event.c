/* event.c - Consul's user events: their form, their filters, the last ones. */
#include "gossipd/event.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/gossipd.h"
#include "lib/re.h"

#define E FF_OMITEMPTY

enum { EVENT_VERSION = 1, FILTER_MAX = 1024, SERVICES_ARENA_MAX = 16 * 1024 * 1024 };

/* Payloads are in msgpack's present form, unlike everything else in the pool. */
static const struct field f_pool_event[] = {
	FIELD(user_event, id, "ID", F_STR, 0),
	FIELD(user_event, name, "n", F_STR, 0),
	FIELD(user_event, node_filter, "nf", F_STR, E),
	FIELD(user_event, payload, "p", F_BYTES, E),
	FIELD(user_event, service_filter, "sf", F_STR, E),
	FIELD(user_event, tag_filter, "tf", F_STR, E),
	FIELD(user_event, version, "v", F_UINT, 0),
};
static RECORD(rec_pool_event, user_event, "UserEvent", f_pool_event);

/* One that waits to know whether this node's services are meant. */
struct event_pending {
	struct event_pending *next;
	struct events *e;
	struct user_event *ev;
	uint32_t call;
};

/* ---- form */

int
event_encode(const struct user_event *ev, struct buf *out)
{
	struct mp_w w = mp_w_init(out);

	record_encode(&rec_pool_event, ev, RECORD_WHOLE, &w);
	return w.err;
}

int
event_decode(struct str payload, struct user_event *ret, struct arena *a)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);

	return record_decode(&rec_pool_event, &r, ret, a);
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

uint64_t
event_index(struct str id)
{
	uint64_t half[2] = { 0, 0 };
	unsigned digits = 0;

	for (size_t i = 0; i < id.len; i++) {
		int v = hex(id.p[i]);

		if (id.p[i] == '-')
			continue;
		if (v < 0 || digits == 32)
			return 1;
		half[digits / 16] = half[digits / 16] << 4 | (uint64_t)v;
		digits++;
	}
	if (digits != 32)
		return 1;
	/* 0 would mean: do not wait. */
	return (half[0] ^ half[1]) != 0 ? half[0] ^ half[1] : 1;
}

void
event_new_id(char id[EVENT_ID_TEXT])
{
	uint8_t b[16];
	size_t at = 0;

	randombytes_buf(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof(b); i++)
		at += (size_t)snprintf(id + at, EVENT_ID_TEXT - at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

/* ---- filters */

bool
event_filter(struct str filter, struct str text)
{
	struct re *re = NULL;
	char err[256];
	bool match;

	if (filter.len == 0)
		return true;
	if (filter.len > FILTER_MAX || re_compile(filter, &re, err, sizeof(err)) < 0)
		return false;
	match = re_match(re, text);
	re_free(re);
	return match;
}

static int
check_filter(struct str filter, const char *what, char err[256])
{
	struct re *re = NULL;
	char why[160];
	int rc;

	if (filter.len == 0)
		return 0;
	if (filter.len > FILTER_MAX) {
		snprintf(err, 256, "Invalid %s filter: it is too long", what);
		return -EINVAL;
	}
	rc = re_compile(filter, &re, why, sizeof(why));
	re_free(re);
	if (rc < 0)
		snprintf(err, 256, "Invalid %s filter: %s", what, rc == -EINVAL ? why : err_text(rc));
	return rc < 0 ? -EINVAL : 0;
}

int
event_check(const struct user_event *ev, char err[256])
{
	int rc;

	if (ev->name.len == 0) {
		snprintf(err, 256, "User event missing name");
		return -EINVAL;
	}
	if (ev->tag_filter.len > 0 && ev->service_filter.len == 0) {
		snprintf(err, 256, "Cannot provide tag filter without service filter");
		return -EINVAL;
	}
	rc = check_filter(ev->node_filter, "node", err);
	if (rc == 0)
		rc = check_filter(ev->service_filter, "service", err);
	return rc == 0 ? check_filter(ev->tag_filter, "tag", err) : rc;
}

/* ---- the last ones */

static void
ring_add(struct event_ring *r, struct user_event *ev)
{
	if (r->n == r->max) {
		free(r->v[r->first]);
		r->first = (r->first + 1) % r->max;
		r->n--;
	}
	r->v[(r->first + r->n++) % r->max] = ev;
}

static void
ring_release(struct event_ring *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[(r->first + i) % r->max]);
	r->n = r->first = 0;
}

const struct user_event *
events_last(const struct event_ring *r, struct str name)
{
	for (size_t i = r->n; i > 0; i--) {
		const struct user_event *ev = r->v[(r->first + i - 1) % r->max];

		if (name.len == 0 || str_eq(ev->name, name))
			return ev;
	}
	return NULL;
}

bool
events_hidden(const struct event_ring *r, struct str name, struct acl_facts *f)
{
	bool hidden = false;

	for (size_t i = 0; i < r->n && !acl_open(f); i++) {
		const struct user_event *ev = r->v[(r->first + i) % r->max];

		if ((name.len == 0 || str_eq(ev->name, name)) && !acl_may(f, "event", ev->name, "read"))
			hidden = true;
	}
	return hidden;
}

void
events_encode(const struct event_ring *r, struct str name, struct acl_facts *f, struct mp_w *w)
{
	size_t at = mp_w_array_hold(w);
	uint32_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct user_event *ev = r->v[(r->first + i) % r->max];

		if ((name.len > 0 && !str_eq(ev->name, name)) || !acl_may(f, "event", ev->name, "read"))
			continue;
		record_encode(&rec_user_event, ev, RECORD_PUBLIC, w);
		n++;
	}
	mp_w_array_patch(w, at, n);
}

/* It is for this node. */
static void
keep(struct events *e, struct user_event *ev)
{
	bool internal = ev->name.len > 0 && ev->name.p[0] == '_';

	log_debug("agent", "new event: event_name=%.*s event_id=%.*s", STR_ARG(ev->name), STR_ARG(ev->id));
	ring_add(internal ? &e->internal : &e->all, ev);
	events_wake(e);
}

/* ---- events for services: checkd knows them */

static void
pending_free(struct event_pending *w)
{
	struct event_pending **at = &w->e->pending;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->e->npending--;
	free(w->ev);
	free(w);
}

static bool
service_meant(const struct user_event *ev, const struct agent_service *s)
{
	if (!event_filter(ev->service_filter, s->service))
		return false;
	if (ev->tag_filter.len == 0)
		return true;
	for (size_t i = 0; i < s->tags.n; i++)
		if (event_filter(ev->tag_filter, s->tags.v[i]))
			return true;
	return false;
}

static bool
services_meant(const struct user_event *ev, struct str payload)
{
	struct arena a = ARENA_INIT(SERVICES_ARENA_MAX);
	struct mp_r r = mp_r_init(payload.p, payload.len);
	bool found = false;

	for (uint32_t n = mp_r_map(&r); n > 0 && !found && r.err == 0; n--) {
		struct agent_service s;

		mp_r_skip(&r);
		if (record_decode(&rec_agent_service, &r, &s, &a) < 0)
			break;
		found = service_meant(ev, &s);
		arena_reset(&a);
	}
	arena_release(&a);
	return found;
}

static void
on_services(void *arg, const struct rpc_answer *answer)
{
	struct event_pending *w = arg;
	struct query_meta meta;
	struct str payload;

	if (answer->rc < 0 || op_reply_decode(answer->body, answer->len, &meta, &payload) < 0) {
		log_warn("agent", "event for services left out, this node's are not known: event_name=%.*s", STR_ARG(w->ev->name));
	} else if (services_meant(w->ev, payload)) {
		keep(w->e, w->ev);
		w->ev = NULL;
	}
	pending_free(w);
}

static int
ask_services(struct events *e, struct user_event *ev)
{
	struct agent_query q = { .id = STR_NONE };
	struct event_pending *w;

	if (e->npending >= EVENTS_PENDING_MAX) {
		e->crowded++;
		return -ELIMIT;
	}
	if (e->checkd == NULL)
		e->checkd = rpc_client_new(&e->g->d->loop, e->g->d->run_fd, "checkd");
	w = e->checkd != NULL ? calloc(1, sizeof(*w)) : NULL;
	if (w == NULL)
		return -ENOMEM;
	*w = (struct event_pending){ e->pending, e, ev, 0 };
	w->call = rpc_call_record(e->checkd, OP_AGENT_SERVICES, &(const struct query_options){ .internal = true }, &q, RPC_RETRY, EVENT_SERVICES_MS, on_services, w);
	if (w->call == 0) {
		free(w);
		return -ENOMEM;
	}
	e->pending = w;
	e->npending++;
	return 0;
}

/* ---- arrival */

static void
malformed(struct events *e, struct str name, const char *why)
{
	const char *note;

	e->malformed++;
	if (log_allowed(&e->faults, clock_ms(), &note))
		log_err("agent", "user event cannot be read: event_name=%.*s error=\"%s\"%s", name.len > 80 ? 80 : (int)name.len, name.p, why, note);
}

static void
take_user_event(struct events *e, uint64_t ltime, struct str name, struct str payload)
{
	struct arena a = ARENA_INIT(64 * KiB);
	struct user_event ev, *copy = NULL;
	int rc = event_decode(payload, &ev, &a);

	if (rc < 0) {
		malformed(e, name, err_text(rc));
	} else if (ev.version > EVENT_VERSION) {
		malformed(e, name, "it is of a later version");
	} else if (event_filter(ev.node_filter, str_from(cfg_str(e->g->started_with, "node_name", "")))) {
		ev.ltime = ltime;
		copy = record_dup(&rec_user_event, &ev);
		if (copy == NULL)
			malformed(e, name, "out of memory");
	}
	arena_release(&a);
	if (copy == NULL)
		return;
	e->taken++;
	if (copy->service_filter.len == 0) {
		keep(e, copy);
		return;
	}
	rc = ask_services(e, copy);
	if (rc < 0) {
		malformed(e, name, err_text(rc));
		free(copy);
	}
}

void
events_take(struct events *e, uint64_t ltime, struct str name, struct str payload)
{
	const struct str prefix = STR(EVENT_PREFIX);

	if (str_has_prefix(name, prefix))
		take_user_event(e, ltime, (struct str){ name.p + prefix.len, name.len - prefix.len }, payload);
	else if (str_eqs(name, EVENT_NEW_LEADER))
		log_info(cfg_bool(e->g->started_with, "server", false) ? "agent.server" : "agent.client", "New leader elected: payload=%.*s",
		    payload.len > 80 ? 80 : (int)payload.len, payload.p != NULL ? payload.p : "");
	else if (str_has_prefix(name, STR("consul:")))
		log_debug("agent", "Unhandled event: event=%.*s", name.len > 80 ? 80 : (int)name.len, name.p);
}

/* ---- life */

void
events_init(struct events *e, struct gossipd *g)
{
	*e = (struct events){ .g = g, .all = { .max = EVENTS_KEPT }, .internal = { .max = EVENTS_INTERNAL_KEPT } };
}

void
events_release(struct events *e)
{
	event_watches_release(e);
	rpc_client_free(e->checkd);
	e->checkd = NULL;
	while (e->pending != NULL)
		pending_free(e->pending);
	ring_release(&e->all);
	ring_release(&e->internal);
}
