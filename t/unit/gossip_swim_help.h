/* gossip_swim_help.h - one pool under test, called a, driven by a script; what it does, as text. */
#ifndef T_UNIT_GOSSIP_SWIM_HELP_H
#define T_UNIT_GOSSIP_SWIM_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/swim/internal.h"

enum { WORDS_MAX = 16, ROWS_MAX = 16, LINES_MAX = 64 };

static struct swim *s;
static struct swim_config config;
static uint64_t now;			/* ns */
static uint32_t seq0;			/* numbers of pings are told from here */
static uint64_t random_state;
static bool random_zero;		/* while a pool starts: no stagger */
static char out[65536];
static bool net;			/* what is sent is told */
static char lines[LINES_MAX][2048];	/* what was sent since, to be sorted */
static size_t nlines;
static const char *refused;		/* by admit */
static const char *user_waiting;	/* what broadcasts gives, once */
static char words[WORDS_MAX][700];
static size_t nwords;
static struct msg_alive rows[ROWS_MAX];
static size_t nrows;
static char row_bytes[ROWS_MAX][1400];

static inline void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out + len, sizeof(out) - len, fmt, ap);
	va_end(ap);
	assert_true(strlen(out) < sizeof(out) - 1);
}

/* ---- messages as text */

static inline void
text_addr(char *to, size_t size, struct str ip, uint64_t port)
{
	if (ip.len == 4)
		(void)snprintf(to, size, "%d.%d.%d.%d:%d", (uint8_t)ip.p[0], (uint8_t)ip.p[1], (uint8_t)ip.p[2], (uint8_t)ip.p[3], (int)port);
	else
		(void)snprintf(to, size, "%zu bytes:%d", ip.len, (int)port);
}

static inline void
text_message(struct str m, char *to, size_t size)
{
	static const char *const names[] = { [WIRE_SUSPECT] = "suspect", [WIRE_DEAD] = "dead" };
	struct str body = { m.p + 1, m.len - 1 };
	struct arena a = ARENA_INIT(4096);
	struct msg_accuse accuse = { 0 };
	struct msg_indirect ind = { 0 };
	struct msg_alive alive = { 0 };
	struct msg_ping ping = { 0 };
	struct msg_nack nack = { 0 };
	struct msg_ack ack = { 0 };
	char addr[64];

	switch (m.p[0]) {
	case WIRE_PING:
		assert_int_equal(wire_get(body, &rec_msg_ping, &ping, &a, NULL), 0);
		text_addr(addr, sizeof(addr), ping.source_addr, ping.source_port);
		(void)snprintf(to, size, "[ping %.*s #%d by %.*s %s]", STR_ARG(ping.node), (int)(ping.seqno - seq0), STR_ARG(ping.source_node), addr);
		break;
	case WIRE_INDIRECT:
		assert_int_equal(wire_get(body, &rec_msg_indirect, &ind, &a, NULL), 0);
		text_addr(addr, sizeof(addr), ind.target, ind.port);
		(void)snprintf(to, size, "[indirect %.*s %s #%d%s]", STR_ARG(ind.node), addr, (int)(ind.seqno - seq0), ind.nack ? " nack" : "");
		break;
	case WIRE_ACK:
		assert_int_equal(wire_get(body, &rec_msg_ack, &ack, &a, NULL), 0);
		(void)snprintf(to, size, "[ack %" PRIu64 " %s%.*s]", ack.seqno, ack.payload.p == NULL ? "nil" : "", STR_ARG(ack.payload));
		break;
	case WIRE_NACK:
		assert_int_equal(wire_get(body, &rec_msg_nack, &nack, &a, NULL), 0);
		(void)snprintf(to, size, "[nack %" PRIu64 "]", nack.seqno);
		break;
	case WIRE_ALIVE:
		assert_int_equal(wire_get(body, &rec_msg_alive, &alive, &a, NULL), 0);
		text_addr(addr, sizeof(addr), alive.addr, alive.port);
		(void)snprintf(to, size, "[alive %.*s %" PRIu64 " %s %.*s]", STR_ARG(alive.node), alive.incarnation, addr, STR_ARG(alive.meta));
		break;
	case WIRE_SUSPECT:
	case WIRE_DEAD:
		assert_int_equal(wire_get(body, &rec_msg_accuse, &accuse, &a, NULL), 0);
		(void)snprintf(to, size, "[%s %.*s %" PRIu64 " from %.*s]", names[(int)m.p[0]], STR_ARG(accuse.node), accuse.incarnation,
		    STR_ARG(accuse.from));
		break;
	case WIRE_USER:
		(void)snprintf(to, size, "[user %.*s]", STR_ARG(body));
		break;
	default:
		fail_msg("type %d", m.p[0]);
	}
	arena_release(&a);
}

/* ---- hooks */

static inline uint32_t
hook_random(void *ctx)
{
	(void)ctx;
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return random_zero ? 0 : (uint32_t)(random_state >> 32);
}

static inline void
hook_send(void *ctx, const struct gossip_addr *to, struct str plain, bool crc)
{
	const uint8_t *p = (const uint8_t *)plain.p;
	char addr[64], *line = lines[nlines], text[1024];
	size_t n, at, len;

	(void)ctx;
	if (!net)
		return;
	assert_true(nlines < LINES_MAX);
	nlines++;
	text_addr(addr, sizeof(addr), (struct str){ (const char *)to->ip, to->len }, to->port);
	(void)snprintf(line, sizeof(lines[0]), "send %s%s", addr, crc ? " crc" : "");
	if (p[0] != WIRE_COMPOUND) {
		text_message(plain, text, sizeof(text));
		(void)snprintf(line + strlen(line), sizeof(lines[0]) - strlen(line), " %s\n", text);
		return;
	}
	n = p[1];
	at = 2 + 2 * n;
	for (size_t i = 0; i < n; i++, at += len) {
		len = (size_t)p[2 + 2 * i] << 8 | p[3 + 2 * i];
		assert_true(at + len <= plain.len);
		text_message((struct str){ plain.p + at, len }, text, sizeof(text));
		(void)snprintf(line + strlen(line), sizeof(lines[0]) - strlen(line), " %s", text);
	}
	assert_true(at == plain.len);
	(void)snprintf(line + strlen(line), sizeof(lines[0]) - strlen(line), "\n");
}

static inline void
hook_stream_ping(void *ctx, const struct gossip_addr *to, struct str name, uint32_t seqno, uint64_t deadline)
{
	(void)ctx;
	(void)to;
	if (!net)
		return;
	assert_true(nlines < LINES_MAX);
	(void)snprintf(lines[nlines++], sizeof(lines[0]), "stream ping %.*s #%d until %d\n", STR_ARG(name), (int)(seqno - seq0),
	    (int)((deadline - now) / MS));
}

static inline void
hook_exchange(void *ctx, const struct gossip_addr *to, struct str name)
{
	(void)ctx;
	(void)to;
	say("exchange %.*s\n", STR_ARG(name));
}

static inline void
hook_joined(void *ctx, struct swim_node *n)
{
	(void)ctx;
	say("joined %.*s\n", STR_ARG(swim_node_name(n)));
}

static inline void
hook_gone(void *ctx, struct swim_node *n)
{
	(void)ctx;
	say("gone %.*s\n", STR_ARG(swim_node_name(n)));
}

static inline void
hook_updated(void *ctx, struct swim_node *n)
{
	(void)ctx;
	say("updated %.*s\n", STR_ARG(swim_node_name(n)));
}

static inline void
hook_forgotten(void *ctx, struct swim_node *n)
{
	(void)ctx;
	say("forgotten %.*s\n", STR_ARG(swim_node_name(n)));
}

static inline void
hook_conflict(void *ctx, const struct swim_node *known, const struct msg_alive *other)
{
	char addr[64];

	(void)ctx;
	text_addr(addr, sizeof(addr), other->addr, other->port);
	say("conflict %.*s %s\n", STR_ARG(swim_node_name(known)), addr);
}

static inline bool
hook_admit(void *ctx, const struct msg_alive *m)
{
	(void)ctx;
	return refused == NULL || !str_eqs(m->node, refused);
}

static inline int
hook_admit_all(void *ctx, const struct msg_alive *all, size_t n, char err[256])
{
	(void)ctx;
	for (size_t i = 0; i < n; i++)
		if (refused != NULL && str_eqs(all[i].node, refused)) {
			(void)snprintf(err, 256, "%s is not wanted", refused);
			return -EPERM;
		}
	return 0;
}

static inline void
hook_user(void *ctx, struct str m)
{
	(void)ctx;
	say("user %.*s\n", STR_ARG(m));
}

static inline struct str
hook_ack_payload(void *ctx)
{
	(void)ctx;
	return STR("where");
}

static inline void
hook_acked(void *ctx, struct swim_node *n, uint64_t rtt, struct str payload)
{
	(void)ctx;
	say("acked %.*s %d %.*s\n", STR_ARG(swim_node_name(n)), (int)(rtt / MS), STR_ARG(payload));
}

static inline void
hook_broadcasts(void *ctx, size_t overhead, size_t room, void (*take)(void *arg, struct str message), void *arg)
{
	const char *m = user_waiting;

	(void)ctx;
	if (m == NULL || strlen(m) + overhead > room)
		return;
	user_waiting = NULL;
	take(arg, str_from(m));
}

static inline bool
hook_pending(void *ctx)
{
	(void)ctx;
	return user_waiting != NULL;
}

static inline void
hook_local_state(void *ctx, bool join, struct buf *b)
{
	(void)ctx;
	if (buf_adds(b, join ? "state of joining" : "state") < 0)
		b->len = 0;
}

static inline void
hook_remote_state(void *ctx, bool join, struct str state)
{
	(void)ctx;
	say("state%s %.*s\n", join ? " join" : "", STR_ARG(state));
}

static const struct swim_hooks hooks = { .random = hook_random, .send = hook_send, .stream_ping = hook_stream_ping, .exchange = hook_exchange,
	.joined = hook_joined, .gone = hook_gone, .updated = hook_updated, .forgotten = hook_forgotten, .conflict = hook_conflict,
	.admit = hook_admit, .admit_all = hook_admit_all, .user = hook_user, .ack_payload = hook_ack_payload, .acked = hook_acked,
	.broadcasts = hook_broadcasts, .pending = hook_pending, .local_state = hook_local_state, .remote_state = hook_remote_state };

/* ---- the script */

static inline uint32_t
number(size_t word)
{
	return word < nwords ? (uint32_t)strtoul(words[word], NULL, 10) : 0;
}

/* The value of KEY=value among the words, or NULL. */
static inline const char *
option(const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 1; i < nwords; i++)
		if (strncmp(words[i], key, len) == 0 && words[i][len] == '=')
			return words[i] + len + 1;
	return NULL;
}

/* a.b.c.d, with any number of bytes. */
static inline size_t
parse_bytes(const char *text, char *to, size_t max)
{
	size_t n = 0;
	char *end;

	while (*text != 0) {
		assert_true(n < max);
		to[n++] = (char)strtoul(text, &end, 10);
		text = *end == '.' ? end + 1 : end;
	}
	return n;
}

/* Words from `at`: NAME INCARNATION [addr=] [port=] [meta=] [metalen=] [vsn=]. Without an address that of the name: 10.0.0.N for the Nth letter. */
static inline struct msg_alive
parse_alive(size_t at, char *bytes)
{
	struct msg_alive m = { .node = str_from(words[at]), .incarnation = number(at + 1), .port = 7946 };
	const char *addr = option("addr"), *port = option("port"), *meta = option("meta"), *vsn = option("vsn"), *len = option("metalen");
	char own[16];

	(void)snprintf(own, sizeof(own), "10.0.0.%d", words[at][0] - 'a' + 1);
	m.addr = (struct str){ bytes, parse_bytes(addr != NULL ? addr : own, bytes, 16) };
	m.vsn = (struct str){ bytes + 16, parse_bytes(vsn != NULL ? vsn : "1.5.2.2.5.4", bytes + 16, 16) };
	if (port != NULL)
		m.port = strtoul(port, NULL, 10);
	if (meta != NULL)
		m.meta = (struct str){ memcpy(bytes + 32, meta, strlen(meta)), strlen(meta) };
	if (len != NULL) {
		m.meta = (struct str){ bytes + 32, strtoul(len, NULL, 10) };
		memset(bytes + 32, 'm', m.meta.len);
	}
	m.node = (struct str){ bytes + 800, strlen(words[at]) };
	memcpy(bytes + 800, words[at], m.node.len);
	return m;
}

static inline void
deliver(uint8_t type, const struct record *rec, const void *msg, const char *from)
{
	struct gossip_addr a = { .ip = { 10, 0, 0, 99 }, .len = 4, .port = 999 };
	static uint8_t bytes[4096];
	/* Memory that is there: what is tested may be without. */
	struct buf b = { bytes, 0, sizeof(bytes), sizeof(bytes) };

	if (from != NULL)
		(void)parse_bytes(from, (char *)a.ip, 4);
	assert_int_equal(wire_put_body(&b, rec, msg), 0);
	swim_message(s, now, &a, type, (struct str){ (const char *)b.data, b.len });
}

static inline void
told(void *ctx, struct str m)
{
	char text[1024];

	(void)ctx;
	text_message(m, text, sizeof(text));
	say("tell %s\n", text);
}

static inline int
compare_lines(const void *a, const void *b)
{
	return strcmp(a, b);
}

static inline void
flush(void)
{
	qsort(lines, nlines, sizeof(lines[0]), compare_lines);
	for (size_t i = 0; i < nlines; i++)
		say("%s", lines[i]);
	nlines = 0;
}

/* As a loop does, from one time that is due to the next. */
static inline void
advance(uint64_t ms)
{
	uint64_t end = now + ms * MS, next;

	while ((next = swim_next(s)) <= end) {
		now = next > now ? next : now;
		next = swim_advance(s, now);
		assert_true(next > now && next == swim_next(s));
		flush();
	}
	now = end;
}

static inline void
show(void)
{
	static const char *const states[] = { "alive", "suspect", "dead", "left" };
	struct swim_node *n;
	char addr[64];

	for (char name[2] = "a"; name[0] <= 'z'; name[0]++) {
		n = swim_find(s, str_from(name));
		if (n == NULL)
			continue;
		text_addr(addr, sizeof(addr), (struct str){ (const char *)swim_node_addr(n)->ip, swim_node_addr(n)->len }, swim_node_addr(n)->port);
		say("%s %s %u %s %.*s\n", name, states[swim_node_state(n)], swim_node_incarnation(n), addr, STR_ARG(swim_node_meta(n)));
	}
}

static inline void
script_ping(void)
{
	struct msg_ping m = { .node = str_eqs(str_from(words[1]), "-") ? STR("") : str_from(words[1]), .seqno = number(2), .source_node = STR("x") };
	const char *src = option("src"), *port = option("port");
	char ip[16];

	if (src != NULL)
		m.source_addr = (struct str){ ip, parse_bytes(src, ip, 16) };
	m.source_port = port != NULL ? strtoul(port, NULL, 10) : 0;
	deliver(WIRE_PING, &rec_msg_ping, &m, option("from"));
}

static inline void
script_indirect(void)
{
	struct msg_indirect m = { .node = str_from(words[1]), .seqno = number(2), .nack = option("nack") != NULL, .port = 7946 };
	const char *target = option("target"), *port = option("port"), *src = option("src");
	char ip[16], from[16];

	m.target = (struct str){ ip, parse_bytes(target != NULL ? target : "10.0.0.2", ip, 16) };
	if (port != NULL)
		m.port = strtoul(port, NULL, 10);
	if (src != NULL) {
		m.source_addr = (struct str){ from, parse_bytes(src, from, 16) };
		m.source_port = 77;
	}
	deliver(WIRE_INDIRECT, &rec_msg_indirect, &m, option("from"));
}

static inline void
script_merge(void)
{
	char err[256] = "";
	int rc = swim_merge(s, now, rows, nrows, option("state") != NULL ? str_from(option("state")) : STR_NONE,
	    nwords > 1 && str_eqs(str_from(words[1]), "join"), err);

	if (rc < 0)
		say("refused: %s\n", err);
	nrows = 0;
}

static inline void
script_row(void)
{
	static const char *const states[] = { "alive", "suspect", "dead", "left" };

	assert_true(nrows < ROWS_MAX);
	rows[nrows] = parse_alive(2, row_bytes[nrows]);
	rows[nrows].state = 7;
	for (int i = 0; i < 4; i++)
		if (strcmp(words[1], states[i]) == 0)
			rows[nrows].state = i;
	nrows++;
}

static inline bool
verb(const char *name)
{
	return strcmp(words[0], name) == 0;
}

/* Messages. */
static inline bool
command_message(void)
{
	struct msg_accuse accuse = { .incarnation = number(2), .node = str_from(words[1]), .from = str_from(words[3]) };
	struct msg_ack ack = { .seqno = seq0 + number(1), .payload = STR("there") };
	struct msg_nack nack = { .seqno = seq0 + number(1) };
	struct msg_alive alive;
	char bytes[1400];

	if (verb("alive")) {
		alive = parse_alive(1, bytes);
		deliver(WIRE_ALIVE, &rec_msg_alive, &alive, NULL);
	} else if (verb("suspect")) {
		deliver(WIRE_SUSPECT, &rec_msg_accuse, &accuse, NULL);
	} else if (verb("dead")) {
		deliver(WIRE_DEAD, &rec_msg_accuse, &accuse, NULL);
	} else if (verb("ack")) {
		deliver(WIRE_ACK, &rec_msg_ack, &ack, NULL);
	} else if (verb("nack")) {
		deliver(WIRE_NACK, &rec_msg_nack, &nack, NULL);
	} else if (verb("streamack")) {
		swim_stream_acked(s, now, seq0 + number(1));
	} else if (verb("ping")) {
		script_ping();
	} else if (verb("indirect")) {
		script_indirect();
	} else if (verb("user")) {
		swim_message(s, now, &config.addr, WIRE_USER, str_from(words[1]));
	} else if (verb("garbage")) {
		swim_message(s, now, &config.addr, (uint8_t)number(1), STR("\xc1garbage"));
	} else {
		return false;
	}
	return true;
}

/* What the layer above does, and looking at the pool. */
static inline bool
command_above(void)
{
	const struct swim_stats *t = swim_stats(s);
	int rc = 0;

	if (verb("row"))
		script_row();
	else if (verb("merge"))
		script_merge();
	else if (verb("advance"))
		advance(number(1));
	else if (verb("leave"))
		rc = swim_leave(s, now);
	else if (verb("meta"))
		rc = swim_set_meta(s, now, str_from(words[1]));
	else if (verb("incarnation"))
		swim_set_incarnation(s, number(1));
	else if (verb("told"))
		(void)queue_take(s->queue, 0, SIZE_MAX, 1, told, NULL);
	else if (verb("clear"))
		out[0] = 0;
	else if (verb("quiet"))
		queue_clear(s->queue);
	else if (verb("net"))
		net = number(1) != 0;
	else if (verb("noprobe"))
		timers_disarm(&s->timers, &s->probe_timer);
	else if (verb("show"))
		show();
	else if (verb("health"))
		say("health %u\n", swim_health(s));
	else if (verb("left"))
		say("left %d\n", swim_left(s));
	else if (verb("stats"))
		say("malformed %d refused %d dropped %d\n", (int)t->malformed, (int)t->refused_members, (int)t->dropped_messages);
	else
		return false;
	if (rc < 0)
		say("%s %d\n", words[0], rc);
	return true;
}

/* Commands, with ';' between them. */
static inline void
run(const char *script)
{
	while (*script != 0) {
		size_t len = strcspn(script, ";"), at = 0, n;

		memset(words, 0, sizeof(words));
		for (nwords = 0; at < len; at += n) {
			at += strspn(script + at, " ");
			n = strcspn(script + at, " ;");
			if (n == 0 || at >= len)
				break;
			assert_true(nwords < WORDS_MAX && n < sizeof(words[0]));
			memcpy(words[nwords++], script + at, n);
		}
		if (!command_message() && !command_above())
			fail_msg("no command '%s'", words[0]);
		flush();
		script += len + (script[len] == ';');
	}
}

/* A pool of a alone, with what it says of itself said. */
static inline void
start(void)
{
	now = 1000000 * (uint64_t)MS;
	random_state = 1;
	net = false;
	nlines = nrows = 0;
	refused = user_waiting = NULL;
	random_zero = true;
	s = swim_new(&config, &hooks, NULL, now);
	random_zero = false;
	assert_non_null(s);
	seq0 = s->seqno;
	queue_clear(s->queue);
	out[0] = 0;
}

static inline void
configure(void)
{
	swim_config_lan(&config);
	config.name = STR("a");
	config.meta = STR("ma");
	config.addr = (struct gossip_addr){ .ip = { 10, 0, 0, 1 }, .len = 4, .port = 7946 };
	config.push_pull_ms = 0;
}

/* start(), the script, and what is to come of it. */
static inline void
expect(const char *title, const char *script, const char *want)
{
	start();
	run(script);
	if (strcmp(out, want) != 0)
		fail_msg("%s: %s\n--- got\n%s--- wanted\n%s", title, script, out, want);
	swim_free(s);
	s = NULL;
}

#endif
