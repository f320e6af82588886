/* pool.c - one pool at work: the protocol with its sockets, files and timer. */
#include "gossipd/pool.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gossipd/gossipd.h"
#include "gossipd/settings.h"
#include "gossipd/tags.h"
#include "lib/notify.h"

/* ---- what the protocol asks for */

/* xorshift128+: the choice of members must be spread well, not secret. */
static uint32_t
hook_random(void *ctx)
{
	struct pool *p = ctx;
	uint64_t x = p->random[0], y = p->random[1];

	p->random[0] = y;
	x ^= x << 23;
	p->random[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	return (uint32_t)((p->random[1] + y) >> 32);
}

static void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	struct pool *p = ctx;

	udp_send(&p->udp, to, plain, crc);
}

static void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	struct pool *p = ctx;

	streams_ping(&p->streams, to, name, seqno, deadline);
}

static void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name, bool join)
{
	struct pool *p = ctx;
	int rc = streams_exchange(&p->streams, to, join, true, NULL, NULL);

	if (rc < 0)
		log_debug(p->log_swim, "memberlist: Push/Pull with %.*s does not take place: error=\"%s\"", STR_ARG(name), err_text(rc));
}

static void
hook_snapshot(void *ctx, struct str line)
{
	struct pool *p = ctx;

	snapshot_line(&p->snapshot, line);
}

static void
hook_key(void *ctx, const char *op, struct str key, struct msg_key_response *reply)
{
	struct pool *p = ctx;

	keyfile_query(&p->keyfile, op, key, reply);
}

/* ---- who may be in it */

/* An alive message or a row: how it was before the message counts. */
static bool
hook_admit(void *ctx, const struct msg_alive *m)
{
	struct pool *p = ctx;
	struct arena a = ARENA_INIT(POOL_ARENA_MAX);
	struct gossip_addr addr;
	char err[256] = "its address is not in an allowed network";
	const char *note;
	int rc = gossip_addr_set(&addr, m->addr, m->port);

	if (rc == 0 && !cidrs_allow(&p->allowed, &addr))
		rc = -EACCES;
	else
		rc = consul_admit(&p->self, m, &a, err);
	arena_release(&a);
	if (rc == 0)
		return true;
	if (log_allowed(&p->refusals, clock_ms(), &note))
		log_warn(p->log_swim, "memberlist: ignoring alive message for '%.*s': %s%s", m->node.len > 80 ? 80 : (int)m->node.len,
		    m->node.p != NULL ? m->node.p : "", err, note);
	return false;
}

static int
hook_admit_all(void *ctx, const struct msg_alive *rows, size_t n, char err[256])
{
	struct pool *p = ctx;
	struct arena a = ARENA_INIT(POOL_MERGE_ARENA_MAX);
	int rc = consul_admit_all(&p->self, rows, n, &a, err);

	arena_release(&a);
	return rc;
}

static void
hook_conflict(void *ctx, const struct swim_node *known, const struct msg_alive *other)
{
	struct pool *p = ctx;
	struct gossip_addr theirs = { .len = 0 };
	char mine_text[SOCK_ADDR_TEXT_MAX], theirs_text[SOCK_ADDR_TEXT_MAX] = "?";
	struct str name = swim_node_name(known);
	const char *note;

	p->name_conflicts++;
	if (!log_allowed(&p->conflicts, clock_ms(), &note))
		return;
	addr_text(swim_node_addr(known), mine_text);
	if (gossip_addr_set(&theirs, other->addr, other->port) == 0)
		addr_text(&theirs, theirs_text);
	log_err(p->log_swim, "memberlist: Conflicting address for %.*s%s: known=%s claimed=%s%s", STR_ARG(name),
	    str_eq(name, p->self.name) ? " (this node)" : "", mine_text, theirs_text, note);
}

/* ---- members come and go */

/* A server of the LAN is new, or says other things of itself: the WAN pool may lack it. */
static bool
new_server(const struct pool *p, enum serf_change what, const struct serf_member *m)
{
	struct arena a = ARENA_INIT(POOL_ARENA_MAX);
	bool yes = !p->wan && p->g->has_wan && p->serf != NULL && (what == SERF_CHANGE_JOIN || what == SERF_CHANGE_UPDATE) &&
	    pool_server(m, &a, NULL);

	arena_release(&a);
	return yes;
}

static void
hook_changed(void *ctx, enum serf_change what, const struct serf_member *m)
{
	static const char *const names[] = { "EventMemberJoin", "EventMemberUpdate", NULL, "EventMemberLeave", "EventMemberFailed", "EventMemberReap" };
	struct pool *p = ctx;
	struct metric_slot *counters[] = { p->joined, p->updated, NULL, p->left_member, p->failed_member, NULL };
	struct str name = swim_node_name(m->node);
	char ip[SOCK_ADDR_TEXT_MAX];

	p->index++;
	gossipd_changed(p->g);
	if (names[what] != NULL) {
		addr_ip_text(swim_node_addr(m->node), ip);
		log_info(p->log, "serf: %s: %.*s%s%s", names[what], STR_ARG(name), what == SERF_CHANGE_JOIN || what == SERF_CHANGE_FAILED ||
		    what == SERF_CHANGE_LEAVE ? " " : "", what == SERF_CHANGE_JOIN || what == SERF_CHANGE_FAILED ||
		    what == SERF_CHANGE_LEAVE ? ip : "");
	}
	if (counters[what] != NULL)
		metric_add(counters[what], 1);
	if (new_server(p, what, m))
		loop_defer(&p->g->d->loop, DEFER_WORK, &p->g->flood_now);
}

static void
hook_event(void *ctx, uint64_t ltime, struct str name, struct str payload, bool coalesce)
{
	struct pool *p = ctx;

	(void)coalesce;
	if (!p->wan)
		events_take(&p->g->events, ltime, name, payload);
}

static void
hook_left(void *ctx)
{
	struct pool *p = ctx;

	log_info(p->log, "serf: left the pool");
	p->index++;
	gossipd_changed(p->g);
	gossipd_left(p->g);
}

/* ---- its time */

/* Who has just been found silent, for the log. */
static void
log_suspects(struct pool *p, uint64_t since)
{
	uint64_t failed = swim_stats(serf_swim(p->serf))->probes_failed;
	struct swim *s = serf_swim(p->serf);

	if (failed == p->failed_probes)
		return;
	p->failed_probes = failed;
	for (struct swim_node *n = swim_each(s, NULL); n != NULL; n = swim_each(s, n)) {
		const char *note;

		if (swim_node_state(n) == SWIM_SUSPECT && swim_node_since(n) >= since && log_allowed(&p->faults, clock_ms(), &note))
			log_info(p->log_swim, "memberlist: Suspect %.*s has failed, no acks received%s", STR_ARG(swim_node_name(n)), note);
	}
}

static void
on_timer(uv_timer_t *t)
{
	struct pool *p = t->data;
	uint64_t now;

	p->armed = UINT64_MAX;
	if (p->closed)
		return;
	/* When we were kept from running, acks may have waited longer than their timers: they count. */
	udp_receive(&p->udp);
	now = clock_ns();
	(void)serf_advance(p->serf, now);
	log_suspects(p, now);
	pool_touch(p);
}

static void
on_due(struct defer *d)
{
	struct pool *p = (struct pool *)((char *)d - offsetof(struct pool, due));
	uint64_t next = p->closed ? UINT64_MAX : serf_next(p->serf), now;

	if (next == p->armed || !p->timer_open)
		return;
	p->armed = next;
	if (next == UINT64_MAX) {
		(void)uv_timer_stop(&p->timer);
		return;
	}
	now = clock_ns();
	/* The loop's own clock stands since the turn began. */
	uv_update_time(&p->g->d->loop.uv);
	if (uv_timer_start(&p->timer, on_timer, next > now ? (next - now + 999999) / 1000000 : 0, 0) < 0)
		log_fatal(p->log, "gossipd: a timer that was initialised does not start");
}

void
pool_touch(struct pool *p)
{
	if (p->timer_open)
		loop_defer(&p->g->d->loop, DEFER_WORK, &p->due);
}

/* ---- opening */

/* A socket that the supervisor kept for us tells that this is not the first start. */
static int
listen_on(struct pool *p, const char *name, uint16_t port, int type)
{
	int fd = notify_take(name);

	if (fd >= 0)
		p->g->restarted = true;
	return fd >= 0 ? fd : daemon_listen(p->g->d, name, p->bind_ip, port, type, false);
}

static int
open_ports(struct pool *p, struct json_object *slice)
{
	uint16_t port = (uint16_t)cfg_int(slice, p->wan ? "ports.serf_wan" : "ports.serf_lan", p->wan ? 8302 : 8301);
	int fd, rc;

	snprintf(p->bind_ip, sizeof(p->bind_ip), "%s", cfg_str(slice, p->wan ? "serf_wan" : "serf_lan", cfg_str(slice, "bind_addr", "0.0.0.0")));
	fd = listen_on(p, p->wan ? "serf_wan" : "serf_lan", port, SOCK_STREAM);
	if (fd < 0)
		return fd;
	rc = streams_open(&p->streams, p, fd, p->wan ? STREAM_WAN_MS : STREAM_LAN_MS);
	if (rc == 0) {
		fd = listen_on(p, p->wan ? "serf_wan_udp" : "serf_lan_udp", port, SOCK_DGRAM);
		if (fd < 0)
			return fd;
		rc = udp_open(&p->udp, p, fd);
	}
	if (rc < 0)
		log_err("agent", "gossipd: cannot listen: pool=%s error=\"%s\"", p->label, uv_strerror(rc));
	return rc;
}

static int
open_allowed(struct pool *p, struct json_object *slice)
{
	const char *key = p->wan ? "serf_wan_allowed_cidrs" : "serf_lan_allowed_cidrs", *bad = "";
	int rc = cidrs_load(&p->allowed, cfg_get(slice, key), &bad);

	if (rc < 0)
		log_err("agent", "gossipd: %s is not a list of networks: entry=\"%s\" error=\"%s\"", key, bad, err_text(rc));
	return rc;
}

/* Files of a pool lie in the data directory, or beside our socket where there is none. */
static int
file_path(struct pool *p, struct json_object *slice, const char *kind, char path[PATH_MAX])
{
	const char *dir = cfg_str(slice, "data_dir", "");
	int n;

	if (dir[0] == '\0')
		dir = p->g->d->run_dir;
	n = snprintf(path, PATH_MAX, "%s/serf", dir);
	if (n < 0 || n >= PATH_MAX - 32) {
		log_err("agent", "gossipd: the path of the data directory is too long");
		return -ENAMETOOLONG;
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		int rc = -errno;

		log_err("agent", "gossipd: cannot make the directory %s: %s", path, err_text(rc));
		return rc;
	}
	n = snprintf(path + n, PATH_MAX - (size_t)n, "/%s.%s", p->wan ? "remote" : "local", kind);
	return n > 0 ? 0 : -EINVAL;
}

static int
describe(struct pool *p, struct json_object *slice, struct swim_config *sc, struct buf *meta)
{
	struct strmap tags;
	struct arena a = ARENA_INIT(POOL_ARENA_MAX);
	int rc;

	p->self = (struct consul_self){
		.name = tags_own_name(slice, p->wan, &p->strings),
		.id = str_from(arena_strdup(&p->strings, str_from(cfg_str(slice, "node_id", "")))),
		.dc = str_from(arena_strdup(&p->strings, str_from(cfg_str(slice, "datacenter", "dc1")))),
		.segment = STR(""), .wan = p->wan,
	};
	rc = p->self.name.p == NULL || p->self.id.p == NULL || p->self.dc.p == NULL ? -ENOMEM : tags_own_addr(slice, p->wan, &p->addr);
	if (rc == 0)
		rc = tags_own(slice, p->wan, &a, &tags);
	if (rc == 0)
		rc = wire_put_tags(meta, &tags);
	arena_release(&a);
	if (rc < 0) {
		log_err("agent", "gossipd: cannot describe this node: error=\"%s\"", err_text(rc));
		return rc;
	}
	settings_swim(sc, slice, p->wan);
	sc->name = p->self.name;
	sc->addr = p->addr;
	sc->meta = (struct str){ (const char *)meta->data, meta->len };
	sc->overhead = wrap_overhead(&p->wrap_out);
	if (keyring_count(p->keys) == 0 || !p->wrap_in.verify_incoming)
		sc->nodes_max = POOL_NODES_OPEN_MAX;
	return 0;
}

static int
make_serf(struct pool *p, struct json_object *slice, const struct swim_config *sc)
{
	const struct serf_hooks hooks = {
		.ctx = p, .random = hook_random, .send = hook_send, .stream_ping = hook_stream_ping, .exchange = hook_exchange,
		.changed = hook_changed, .event = hook_event, .admit = hook_admit, .admit_all = hook_admit_all, .conflict = hook_conflict,
		.key = hook_key, .snapshot = hook_snapshot, .left = hook_left,
	};
	struct serf_config c;

	settings_serf(&c, slice, p->wan);
	p->serf = serf_new(&c, sc, &hooks, NULL, clock_ns());
	if (p->serf == NULL)
		log_err("agent", "gossipd: out of memory");
	return p->serf != NULL ? 0 : -ENOMEM;
}

static int
open_keys(struct pool *p, struct json_object *slice)
{
	struct wrap *wraps[] = { &p->wrap_in, &p->wrap_out, &p->stream_in, &p->stream_out };
	char path[PATH_MAX];
	int rc = file_path(p, slice, "keyring", path);

	p->keys = keyring_new();
	if (p->keys == NULL) {
		log_err("agent", "gossipd: out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_LEN(wraps); i++) {
		wrap_init(wraps[i]);
		settings_wrap(wraps[i], slice);
		wraps[i]->keys = p->keys;
	}
	return rc < 0 ? rc : keyfile_open(&p->keyfile, p, slice, path);
}

static void
name_things(struct pool *p, bool server)
{
	static const char *const names[2][2][2] = {
		{ { "agent.client.serf.lan", "agent.client.memberlist.lan" }, { "agent.server.serf.lan", "agent.server.memberlist.lan" } },
		{ { "agent.client.serf.wan", "agent.client.memberlist.wan" }, { "agent.server.serf.wan", "agent.server.memberlist.wan" } },
	};

	p->label = p->wan ? "WAN" : "LAN";
	p->log = names[p->wan][server][0];
	p->log_swim = names[p->wan][server][1];
	p->joined = metric_get("serf.member.join", METRIC_COUNTER);
	p->failed_member = metric_get("serf.member.failed", METRIC_COUNTER);
	p->left_member = metric_get("serf.member.left", METRIC_COUNTER);
	p->updated = metric_get("serf.member.update", METRIC_COUNTER);
}

int
pool_open(struct pool *p, struct gossipd *g, bool wan, uint64_t index)
{
	struct json_object *slice = g->started_with;
	struct serf_previous previous = { .n = 0 };
	struct buf meta = BUF_INIT(WIRE_META_MAX);
	struct swim_config sc;
	char path[PATH_MAX];
	int rc;

	*p = (struct pool){ .g = g, .wan = wan, .index = index, .armed = UINT64_MAX, .due = { .cb = on_due } };
	arena_init(&p->strings, POOL_ARENA_MAX);
	randombytes_buf(p->random, sizeof(p->random));
	name_things(p, cfg_bool(slice, "server", false));
	p->on = true;
	rc = uv_timer_init(&g->d->loop.uv, &p->timer);
	p->timer.data = p;
	p->timer_open = rc == 0;
	if (rc == 0)
		rc = open_allowed(p, slice);
	if (rc == 0)
		rc = open_keys(p, slice);
	if (rc == 0)
		rc = describe(p, slice, &sc, &meta);
	if (rc == 0)
		rc = open_ports(p, slice);
	if (rc == 0)
		rc = file_path(p, slice, "snapshot", path);
	if (rc == 0) {
		snapshot_open(&p->snapshot, p, path, cfg_bool(slice, "rejoin_after_leave", false), &previous);
		rc = make_serf(p, slice, &sc);
	}
	if (rc == 0) {
		serf_resume(p->serf, &previous);
		pool_touch(p);
		rc = autojoin_open(&p->autojoin, p, slice, &previous);
	}
	serf_previous_release(&previous);
	buf_release(&meta);
	return rc;
}

/* ---- changes, end */

int
pool_update(struct pool *p, struct json_object *slice)
{
	struct arena a = ARENA_INIT(POOL_ARENA_MAX);
	struct strmap tags;
	int rc = tags_own(slice, p->wan, &a, &tags);

	if (rc == 0)
		rc = serf_set_tags(p->serf, clock_ns(), &tags);
	arena_release(&a);
	/* Who leaves has told it the last time. */
	if (rc == -EALREADY)
		return 0;
	if (rc == 0)
		pool_touch(p);
	return rc;
}

void
pool_shut(struct pool *p)
{
	p->closed = true;
	udp_flush(&p->udp);
	if (p->timer_open)
		(void)uv_timer_stop(&p->timer);
}

void
pool_close(struct pool *p)
{
	if (!p->on)
		return;
	p->closed = true;
	autojoin_close(&p->autojoin);
	streams_close(&p->streams);
	udp_close(&p->udp);
	snapshot_close(&p->snapshot);
	keyfile_close(&p->keyfile);
	loop_undefer(&p->g->d->loop, DEFER_WORK, &p->due);
	if (p->timer_open)
		uv_close((uv_handle_t *)&p->timer, NULL);
	p->timer_open = false;
}

void
pool_release(struct pool *p)
{
	struct wrap *wraps[] = { &p->wrap_in, &p->wrap_out, &p->stream_in, &p->stream_out };

	if (!p->on)
		return;
	serf_free(p->serf);
	p->serf = NULL;
	for (size_t i = 0; i < ARRAY_LEN(wraps); i++)
		wrap_release(wraps[i]);
	keyring_free(p->keys);
	p->keys = NULL;
	autojoin_release(&p->autojoin);
	snapshot_release(&p->snapshot);
	keyfile_release(&p->keyfile);
	udp_release(&p->udp);
	cidrs_release(&p->allowed);
	arena_release(&p->strings);
	p->on = false;
}

/* ---- questions */

int
pool_member(const struct serf_member *m, struct arena *a, struct member *ret)
{
	static const enum member_status status[] = { [SERF_NONE] = MEMBER_NONE, [SERF_ALIVE] = MEMBER_ALIVE, [SERF_LEAVING] = MEMBER_LEAVING,
		[SERF_LEFT] = MEMBER_LEFT, [SERF_FAILED] = MEMBER_FAILED };
	const struct gossip_addr *addr = swim_node_addr(m->node);
	const uint8_t *vsn = swim_node_vsn(m->node);
	struct strmap tags;
	char ip[SOCK_ADDR_TEXT_MAX];
	const char *text;
	int rc;

	addr_ip_text(addr, ip);
	text = arena_strdup(a, str_from(ip));
	if (text == NULL)
		return -ENOMEM;
	/* Tags that cannot be read are those of a member without. */
	rc = wire_get_tags(swim_node_meta(m->node), &tags, a);
	if (rc == -EDECODE)
		tags = (struct strmap){ NULL, 0 };
	else if (rc < 0)
		return rc;
	*ret = (struct member){
		.name = swim_node_name(m->node), .addr = str_from(text), .port = addr->port, .tags = tags, .status = status[m->status],
		.protocol_min = vsn[0], .protocol_max = vsn[1], .protocol_cur = vsn[2],
		.delegate_min = vsn[3], .delegate_max = vsn[4], .delegate_cur = vsn[5],
	};
	return 0;
}

bool
pool_find(struct pool *p, struct str name, struct serf_member *ret)
{
	size_t at = 0;

	if (serf_find(p->serf, name, ret))
		return true;
	while (serf_each(p->serf, &at, ret))
		if (str_eq_nocase(swim_node_name(ret->node), name))
			return true;
	return false;
}

bool
pool_server(const struct serf_member *m, struct arena *a, struct consul_server *ret)
{
	struct strmap tags;

	return wire_get_tags(swim_node_meta(m->node), &tags, a) == 0 && consul_is_server(&tags, ret);
}
