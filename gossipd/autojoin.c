/* autojoin.c - whom a pool joins by itself. */
#include "gossipd/autojoin.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gossipd/join.h"
#include "lib/duration.h"
#include "lib/notify.h"

void
gossipd_give_up(const char *why)
{
	char status[1200];

	log_err("agent", "%s", why);
	snprintf(status, sizeof(status), "STATUS=%s", why);
	/* A line of the protocol ends at a newline. */
	for (char *p = status; *p != '\0'; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	(void)notify_send(status);
	_exit(EXIT_CONFIG);
}

/* ---- the members of the last life, in random order, until one answers */

static void previous_next(struct autojoin *j);

static void
previous_over(struct autojoin *j)
{
	serf_previous_release(&j->previous);
	memset(&j->previous, 0, sizeof(j->previous));
	j->p->snapshot.hold = false;
}

static void
on_previous(void *ctx, uint64_t contacted, const char *errors)
{
	struct autojoin *j = ctx;

	(void)errors;
	if (contacted > 0) {
		log_info(j->p->log, "serf: Re-joined to previously known nodes");
		previous_over(j);
	} else {
		previous_next(j);
	}
}

static void
previous_next(struct autojoin *j)
{
	struct arena a = ARENA_INIT(64 * KiB);
	size_t n = j->previous.n - j->tried < AUTOJOIN_BATCH ? j->previous.n - j->tried : AUTOJOIN_BATCH;
	struct str v[AUTOJOIN_BATCH];
	struct strs addrs = { v, 0 };
	char text[SOCK_ADDR_TEXT_MAX];
	int rc = 0;

	/* Somebody has been met in another way. */
	if (serf_asked_of(j->p->serf) > 1) {
		previous_over(j);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *s;

		addr_text(&j->previous.alive[j->tried + i].addr, text);
		s = arena_strdup(&a, str_from(text));
		if (s != NULL)
			v[addrs.n++] = str_from(s);
	}
	j->tried += n;
	if (addrs.n > 0) {
		log_info(j->p->log, "serf: Attempting re-join to previously known nodes: addresses=%zu first=%.*s", addrs.n, STR_ARG(v[0]));
		rc = join_begin(j->p, &addrs, JOIN_FIRST | JOIN_OLD_EVENTS | JOIN_QUIET, on_previous, j);
	}
	arena_release(&a);
	if (addrs.n > 0 && rc == 0)
		return;
	log_warn(j->p->log, "serf: Failed to re-join any previously known node");
	previous_over(j);
}

/* Without ourselves, in random order. */
static void
previous_begin(struct autojoin *j)
{
	struct serf_previous *v = &j->previous;
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		if (!str_eqs(j->p->self.name, v->alive[i].name) && v->alive[i].addr.port != 0)
			v->alive[n++] = v->alive[i];
	v->n = n;
	for (size_t i = n; i > 1; i--) {
		size_t with = randombytes_uniform((uint32_t)i);
		__typeof__(v->alive[0]) swap = v->alive[i - 1];

		v->alive[i - 1] = v->alive[with];
		v->alive[with] = swap;
	}
	if (v->n > AUTOJOIN_PREVIOUS_MAX)
		v->n = AUTOJOIN_PREVIOUS_MAX;
	if (v->n == 0) {
		previous_over(j);
		return;
	}
	j->p->snapshot.hold = true;
	previous_next(j);
}

/* ---- lists of the config */

static int
list_of(struct json_object *slice, const char *key, struct arena *a, struct strs *ret)
{
	struct json_object *list = cfg_get(slice, key);
	size_t n = list != NULL && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	*ret = (struct strs){ NULL, 0 };
	if (n == 0)
		return 0;
	ret->v = arena_alloc(a, n * sizeof(ret->v[0]));
	if (ret->v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct str s = str_from(json_object_get_string(json_object_array_get_idx(list, i)));

		if (memmem(s.p, s.len, "provider=", 9) != NULL)
			log_err("agent", "joining by a cloud's API is not supported, the address is left out: key=%s address=\"%.*s\"", key,
			    STR_ARG(s));
		else
			ret->v[ret->n++] = s;
	}
	if (ret->n > JOIN_ADDRS_MAX) {
		log_warn("agent", "only the first addresses are joined: key=%s addresses=%zu", key, (size_t)JOIN_ADDRS_MAX);
		ret->n = JOIN_ADDRS_MAX;
	}
	return 0;
}

static void
on_start(void *ctx, uint64_t contacted, const char *errors)
{
	struct autojoin *j = ctx;
	struct gossipd *g = j->p->g;
	char why[1024];

	if (j->p->closed) {
		log_warn("agent", "start_join ends, this node leaves: cluster=%s", j->p->label);
	} else if (contacted > 0) {
		log_info("agent", "Join cluster completed. Synced with initial agents: cluster=%s num_agents=%" PRIu64, j->p->label, contacted);
	} else if (g->restarted) {
		/* The agent has started long ago, only we are new. */
		log_warn("agent", "start_join failed after a restart, going on: cluster=%s error=\"%s\"", j->p->label, errors);
	} else {
		snprintf(why, sizeof(why), "none of the addresses to join (%s) could be reached: %s", j->p->wan ? "start_join_wan" : "start_join",
		    errors);
		gossipd_give_up(why);
	}
	if (--g->starting == 0)
		daemon_ready(g->d);
}

/* ---- until one answers, for as long as that takes */

static void retry_now(struct autojoin *j);

static void
on_retry_timer(uv_timer_t *t)
{
	retry_now(t->data);
}

static void
retry_failed(struct autojoin *j, const char *errors)
{
	char interval[DURATION_TEXT_MAX], why[128];

	j->attempts++;
	if (j->max > 0 && j->attempts > j->max) {
		snprintf(why, sizeof(why), "max join retry exhausted, exiting: cluster=%s attempts=%" PRIu64, j->p->label, j->attempts);
		gossipd_give_up(why);
	}
	duration_format((int64_t)j->interval_ms * NS_PER_MS, interval);
	log_warn("agent", "Join cluster failed, will retry: cluster=%s retry_interval=%s error=\"%s\"", j->p->label, interval, errors);
	if (uv_timer_start(&j->timer, on_retry_timer, j->interval_ms, 0) < 0)
		log_err("agent", "retry_join ends here: out of memory");
}

static void
on_retry(void *ctx, uint64_t contacted, const char *errors)
{
	struct autojoin *j = ctx;

	if (!j->open || j->p->closed)
		return;
	if (contacted > 0)
		log_info("agent", "Join cluster completed. Synced with initial agents: cluster=%s num_agents=%" PRIu64, j->p->label, contacted);
	else
		retry_failed(j, errors);
}

static void
retry_now(struct autojoin *j)
{
	int rc;

	if (!j->open || j->p->closed)
		return;
	log_info("agent", "Joining cluster...: cluster=%s", j->p->label);
	rc = join_begin(j->p, &j->retry, 0, on_retry, j);
	if (rc < 0)
		retry_failed(j, err_text(rc));
}

/* ---- life */

int
autojoin_open(struct autojoin *j, struct pool *p, struct json_object *slice, struct serf_previous *previous)
{
	struct arena *a = &p->strings;
	struct strs first;
	int rc;

	*j = (struct autojoin){ .p = p, .previous = *previous };
	memset(previous, 0, sizeof(*previous));
	rc = uv_timer_init(&p->g->d->loop.uv, &j->timer);
	if (rc == 0) {
		j->open = true;
		j->timer.data = j;
		rc = list_of(slice, p->wan ? "start_join_wan" : "start_join", a, &first);
	}
	if (rc == 0)
		rc = list_of(slice, p->wan ? "retry_join_wan" : "retry_join", a, &j->retry);
	if (rc == 0 && first.n > 0) {
		p->g->starting++;
		rc = join_begin(p, &first, 0, on_start, j);
	}
	if (rc < 0) {
		log_err("agent", "gossipd: cannot begin to join: error=\"%s\"", err_text(rc));
		return rc;
	}
	/* A wait of nothing would never end. */
	j->interval_ms = (uint64_t)cfg_ms(slice, p->wan ? "retry_interval_wan" : "retry_interval", 30000);
	if (j->interval_ms == 0)
		j->interval_ms = 1;
	j->max = (uint64_t)cfg_int(slice, p->wan ? "retry_max_wan" : "retry_max", 0);
	previous_begin(j);
	if (j->retry.n > 0)
		retry_now(j);
	return 0;
}

void
autojoin_close(struct autojoin *j)
{
	if (!j->open)
		return;
	j->open = false;
	uv_close((uv_handle_t *)&j->timer, NULL);
}

void
autojoin_release(struct autojoin *j)
{
	serf_previous_release(&j->previous);
	memset(&j->previous, 0, sizeof(j->previous));
}

/* ---- the LAN's servers into the WAN */

static void
on_flooded(void *ctx, uint64_t contacted, const char *errors)
{
	struct gossipd *g = ctx;

	g->flooding = false;
	/* Servers that came meanwhile do not wait for the next minute. */
	if (g->flood_again)
		loop_defer(&g->d->loop, DEFER_WORK, &g->flood_now);
	if (contacted > 0)
		log_debug("agent.server", "Successfully performed flood-join for servers: servers=%" PRIu64, contacted);
	else
		log_warn("agent.server", "Failed to perform flood-join for servers: error=\"%s\"", errors);
}

/* The WAN address of a LAN server that the WAN pool lacks, or NULL. */
static const char *
lacking(struct gossipd *g, const struct serf_member *m, struct arena *tags, struct arena *a)
{
	struct consul_server server;
	struct serf_member known;
	struct str name = swim_node_name(m->node);
	char ip[SOCK_ADDR_TEXT_MAX];
	const char *wan_name;

	if (m->status != SERF_ALIVE || m->node == swim_self(serf_swim(g->lan.serf)) || !pool_server(m, tags, &server) || server.wan_join_port == 0)
		return NULL;
	wan_name = arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(server.dc));
	if (wan_name == NULL || (serf_find(g->wan.serf, str_from(wan_name), &known) && known.status == SERF_ALIVE))
		return NULL;
	addr_ip_text(swim_node_addr(m->node), ip);
	return arena_printf(a, strchr(ip, ':') != NULL ? "%s/[%s]:%u" : "%s/%s:%u", wan_name, ip, server.wan_join_port);
}

void
autojoin_flood(struct gossipd *g)
{
	struct arena tags = ARENA_INIT(POOL_ARENA_MAX), a = ARENA_INIT(POOL_MERGE_ARENA_MAX);
	struct str v[JOIN_ADDRS_MAX];
	struct strs addrs = { v, 0 };
	struct serf_member m;
	size_t at = 0;

	g->flood_again = g->flooding;
	if (!g->has_wan || g->flooding || g->wan.closed || g->lan.closed)
		return;
	while (addrs.n < ARRAY_LEN(v) && serf_each(g->lan.serf, &at, &m)) {
		const char *addr = lacking(g, &m, &tags, &a);

		arena_reset(&tags);
		if (addr != NULL)
			v[addrs.n++] = str_from(addr);
	}
	/* What cannot begin now does the next time. */
	if (addrs.n > 0)
		g->flooding = join_begin(&g->wan, &addrs, JOIN_OLD_EVENTS | JOIN_QUIET, on_flooded, g) == 0;
	arena_release(&tags);
	arena_release(&a);
}
