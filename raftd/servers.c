/*
 * servers.c - Raft configurations with names and addresses, beside the
 * core's, which knows ids and votes alone.
 *
 * The bytes come from the log, from other servers and from snapshots: a
 * configuration is taken whole or refused with a sentence.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/sock.h"
#include "raftd/raftd.h"

enum {
	ENTRY_ARENA_MAX = 64 * 1024,	/* decoding one configuration */
	ENTRY_BYTES_MAX = 64 * 1024,
	ID_LEN = 16,
	NAME_MAX_LEN = 256,		/* of a node, a node ID, a version */
};

/* What a recovery has put in the place of all configurations up to an index, and of the old cluster: recover.c. */
static struct {
	uint64_t upto;
	char cluster[ID_LEN + 1];	/* the old one */
	struct buf bytes;
} replaced = { 0, "", BUF_INIT(ENTRY_BYTES_MAX) };

struct config {
	uint64_t index;
	struct arena arena;
	char *bytes;			/* that the strings point into */
	struct raft_config_entry entry;
};

struct configs {
	struct config **v;		/* ascending by index */
	size_t n, cap;
};

/* ---- ids and addresses */

int
servers_parse_id(struct str s, uint64_t *ret)
{
	uint64_t id = 0;

	if (s.len != ID_LEN)
		return -EDECODE;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			id = id << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			id = id << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -EDECODE;
	}
	if (id == 0)
		return -EDECODE;
	*ret = id;
	return 0;
}

void
servers_format_id(uint64_t id, char out[17])
{
	(void)snprintf(out, 17, "%016" PRIx64, id);
}

int
servers_parse_address(struct str s, char ip[SERVER_IP_MAX], uint16_t *ret_port)
{
	const char *colon = s.len > 0 ? memrchr(s.p, ':', s.len) : NULL;
	struct str host = { s.p, colon != NULL ? (size_t)(colon - s.p) : 0 };
	const char *p = colon != NULL ? colon + 1 : NULL, *end = colon != NULL ? s.p + s.len : NULL;
	unsigned port = 0;
	union sock_addr a;

	if (colon == NULL || p == end || end - p > 5)
		return -EDECODE;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return -EDECODE;
		port = port * 10 + (unsigned)(*p - '0');
	}
	if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct str){ host.p + 1, host.len - 2 };
	else if (host.len > 0 && memchr(host.p, ':', host.len) != NULL)
		return -EDECODE;
	if (host.len == 0 || host.len >= SERVER_IP_MAX || memchr(host.p, 0, host.len) != NULL || port == 0 || port > UINT16_MAX)
		return -EDECODE;
	memcpy(ip, host.p, host.len);
	ip[host.len] = 0;
	if (sock_addr_parse(ip, (uint16_t)port, &a) < 0)
		return -EDECODE;
	*ret_port = (uint16_t)port;
	return 0;
}

/* ---- checking */

static int refuse(char err[256], const char *fmt, ...) PRINTF(2, 3);

static int
refuse(char err[256], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, 256, fmt, ap);
	va_end(ap);
	return -EDECODE;
}

static bool
printable(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.len <= NAME_MAX_LEN;
}

int
servers_check_one(const struct raft_server_info *s, char err[256])
{
	char ip[SERVER_IP_MAX];
	uint16_t port;
	uint64_t id;

	if (servers_parse_id(s->id, &id) < 0)
		return refuse(err, "a server's id is not 16 hexadecimal digits");
	if (!printable(s->node_id) || !printable(s->node) || !printable(s->version))
		return refuse(err, "the name, node ID or version of server %.*s is too long or has control characters", STR_ARG(s->id));
	if (servers_parse_address(s->address, ip, &port) < 0)
		return refuse(err, "the address of server %.*s is not ip:port", STR_ARG(s->id));
	return 0;
}

static int
check(const struct raft_config_entry *c, char err[256])
{
	const struct raft_server_info *v = c->servers.v;
	size_t voters = 0;
	uint64_t id;
	int rc;

	if (servers_parse_id(c->cluster, &id) < 0)
		return refuse(err, "a configuration's cluster id is not 16 hexadecimal digits");
	if (c->servers.n > RAFT_SERVERS_MAX)
		return refuse(err, "a configuration has %zu servers: at most %d can be", c->servers.n, RAFT_SERVERS_MAX);
	for (size_t i = 0; i < c->servers.n; i++) {
		rc = servers_check_one(&v[i], err);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++) {
			if (str_eq(v[i].id, v[j].id))
				return refuse(err, "a configuration has server %.*s twice", STR_ARG(v[i].id));
			if (v[i].node_id.len > 0 && str_eq_nocase(v[i].node_id, v[j].node_id))
				return refuse(err, "a configuration has node ID %.*s twice", STR_ARG(v[i].node_id));
		}
		voters += v[i].voter;
	}
	if (voters == 0)
		return refuse(err, "a configuration has no voter");
	return 0;
}

static int
decode(struct str bytes, struct raft_config_entry *ret, struct arena *a, char err[256])
{
	struct mp_r in = mp_r_init(bytes.p, bytes.len);
	int rc = bytes.len <= ENTRY_BYTES_MAX ? record_decode(&rec_raft_config_entry, &in, ret, a) : -ELIMIT;

	if (rc < 0 || !mp_r_done(&in))
		return refuse(err, "a configuration of servers is malformed or too large");
	return check(ret, err);
}

int
servers_check(const struct raft_config_entry *c, char ret_err[256])
{
	return check(c, ret_err);
}

/* ---- what recovery has replaced */

/* Whether this is one: by its place in our log, or, brought by a leader whose log was longer, by its cluster. */
static bool
is_replaced(uint64_t index, struct str bytes)
{
	struct arena a = ARENA_INIT(ENTRY_ARENA_MAX);
	struct raft_config_entry c;
	struct mp_r in = mp_r_init(bytes.p, bytes.len);
	bool yes = replaced.upto != 0 && index <= replaced.upto;

	if (!yes && replaced.upto != 0 && bytes.len <= ENTRY_BYTES_MAX && record_decode(&rec_raft_config_entry, &in, &c, &a) == 0)
		yes = str_eqs(c.cluster, replaced.cluster);
	arena_release(&a);
	return yes;
}

static struct str
in_place_of(uint64_t index, struct str bytes)
{
	return is_replaced(index, bytes) ? (struct str){ (const char *)replaced.bytes.data, replaced.bytes.len } : bytes;
}

int
servers_replace(uint64_t upto, struct str old_cluster, struct str bytes)
{
	int rc;

	if (old_cluster.len != ID_LEN)
		return -EDECODE;
	memcpy(replaced.cluster, old_cluster.p, ID_LEN);
	buf_clear(&replaced.bytes);
	rc = buf_add(&replaced.bytes, bytes.p, bytes.len);
	replaced.upto = rc == 0 ? upto : 0;
	return rc;
}

bool
servers_replaced(uint64_t index)
{
	return replaced.upto != 0 && index <= replaced.upto;
}

/* ---- the list */

static void
config_free(struct config *c)
{
	if (c == NULL)
		return;
	arena_release(&c->arena);
	free(c->bytes);
	free(c);
}

struct configs *
configs_new(void)
{
	return calloc(1, sizeof(struct configs));
}

void
configs_free(struct configs *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		config_free(c->v[i]);
	free(c->v);
	free(c);
}

static int
reserve(struct configs *c)
{
	size_t cap = c->cap != 0 ? c->cap * 2 : 4;
	struct config **v;

	if (c->n < c->cap)
		return 0;
	if (c->n > RAFT_CONFIGS_MAX)
		return -ELIMIT;
	v = realloc(c->v, cap * sizeof(struct config *));
	if (v == NULL)
		return -ENOMEM;
	c->v = v;
	c->cap = cap;
	return 0;
}

int
configs_add(struct configs *c, uint64_t index, struct str bytes, char ret_err[256])
{
	struct config *x;
	int rc = reserve(c);

	if (rc < 0) {
		(void)refuse(ret_err, "too many configurations of servers at once");
		return rc;
	}
	if (c->n > 0 && index <= c->v[c->n - 1]->index)
		return refuse(ret_err, "a configuration of servers does not follow the last one");
	bytes = in_place_of(index, bytes);
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return -ENOMEM;
	arena_init(&x->arena, ENTRY_ARENA_MAX);
	x->index = index;
	x->bytes = malloc(bytes.len + 1);
	rc = -ENOMEM;
	if (x->bytes != NULL) {
		if (bytes.len > 0)
			memcpy(x->bytes, bytes.p, bytes.len);
		rc = decode((struct str){ x->bytes, bytes.len }, &x->entry, &x->arena, ret_err);
	}
	if (rc < 0) {
		config_free(x);
		return rc;
	}
	c->v[c->n++] = x;
	return 0;
}

void
configs_truncate(struct configs *c, uint64_t from)
{
	while (c->n > 0 && c->v[c->n - 1]->index >= from)
		config_free(c->v[--c->n]);
}

void
configs_compact(struct configs *c, uint64_t committed)
{
	size_t keep = 0;

	while (keep + 1 < c->n && c->v[keep + 1]->index <= committed)
		config_free(c->v[keep++]);
	c->n -= keep;
	if (keep > 0)
		memmove(c->v, c->v + keep, c->n * sizeof(struct config *));
}

const struct raft_config_entry *
configs_current(const struct configs *c, uint64_t *ret_index)
{
	const struct config *x = c != NULL && c->n > 0 ? c->v[c->n - 1] : NULL;

	if (ret_index != NULL)
		*ret_index = x != NULL ? x->index : 0;
	return x != NULL ? &x->entry : NULL;
}

/* ---- as the core wants it, and as the log does */

int
servers_core(uint64_t index, struct str bytes, struct raft_servers *ret, char ret_err[256])
{
	struct arena a = ARENA_INIT(ENTRY_ARENA_MAX);
	const struct raft_server_info *v;
	struct raft_config_entry c;
	int rc = decode(in_place_of(index, bytes), &c, &a, ret_err);

	if (rc == 0) {
		*ret = (struct raft_servers){ .index = index, .n = c.servers.n };
		v = c.servers.v;
		for (size_t i = 0; i < c.servers.n && rc == 0; i++) {
			rc = servers_parse_id(v[i].id, &ret->v[i].id);
			ret->v[i].voter = v[i].voter;
		}
	}
	arena_release(&a);
	return rc;
}

int
servers_encode(const struct raft_config_entry *c, struct buf *out)
{
	struct mp_w w = mp_w_init(out);

	record_encode(&rec_raft_config_entry, c, RECORD_WHOLE, &w);
	return w.err;
}

/* ---- looking a server up */

const struct raft_server_info *
servers_find(const struct raft_config_entry *c, uint64_t id)
{
	const struct raft_server_info *v = c != NULL ? c->servers.v : NULL;
	char text[17];

	if (c == NULL || id == 0)
		return NULL;
	servers_format_id(id, text);
	for (size_t i = 0; i < c->servers.n; i++)
		if (str_eqs(v[i].id, text))
			return &v[i];
	return NULL;
}

const struct raft_server_info *
servers_find_node(const struct raft_config_entry *c, struct str node_id)
{
	const struct raft_server_info *v = c != NULL ? c->servers.v : NULL;

	for (size_t i = 0; c != NULL && node_id.len > 0 && i < c->servers.n; i++)
		if (str_eq_nocase(v[i].node_id, node_id))
			return &v[i];
	return NULL;
}

const struct raft_server_info *
servers_find_address(const struct raft_config_entry *c, struct str address)
{
	const struct raft_server_info *v = c != NULL ? c->servers.v : NULL;

	for (size_t i = 0; c != NULL && i < c->servers.n; i++)
		if (str_eq(v[i].address, address))
			return &v[i];
	return NULL;
}

int
servers_change(const struct raft_config_entry *c, const struct raft_server_info *drop, const struct raft_server_info *put,
    struct servers_changed *ret)
{
	const struct raft_server_info *v = c->servers.v;
	bool placed = put == NULL;
	size_t n = 0;

	for (size_t i = 0; i < c->servers.n; i++) {
		bool same = put != NULL && str_eq(v[i].id, put->id);

		if (&v[i] == drop)
			continue;
		ret->v[n++] = same ? *put : v[i];
		placed = placed || same;
	}
	if (!placed && n == RAFT_SERVERS_MAX)
		return -ELIMIT;
	if (!placed)
		ret->v[n++] = *put;
	ret->config = (struct raft_config_entry){ c->cluster, { ret->v, n } };
	return 0;
}

struct raft_server_info
servers_own(struct raftd *r)
{
	static char id[17], version[64];

	if (id[0] == 0) {
		servers_format_id(r->id, id);
		(void)snprintf(version, sizeof(version), "%s", cfg_str(r->d->config, "version", ""));
	}
	return (struct raft_server_info){ .id = str_from(id), .node_id = str_from(r->node_id), .node = str_from(r->node_name),
		.address = str_from(r->address), .version = str_from(version) };
}
