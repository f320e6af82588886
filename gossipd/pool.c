/* pool.c - the members of one pool: this node, made from its config. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gossipd/pool.h"
#include "lib/duration.h"

/* What serf 0.9 and Consul 1.10 announce: memberlist 1 to 5 (speaking 2), Serf 2 to 5 (speaking 4). */
enum { PROTOCOL_MIN = 1, PROTOCOL_MAX = 5, PROTOCOL_CUR = 2, DELEGATE_MIN = 2, DELEGATE_MAX = 5, DELEGATE_CUR = 4 };

/* Clients compare this version, so it names the protocol's generation, not our release. */
#define BUILD_TAG "1.10.12:"

struct tag_writer {
	struct arena *a;
	struct strpair v[POOL_TAGS_MAX];
	size_t n, bytes;
	int err;
};

/* Insert in the order of keys. */
static void
tag_add(struct tag_writer *t, const char *key, const char *value)
{
	struct str k = str_from(key), v;
	size_t i = t->n;

	v.p = arena_strdup(t->a, str_from(value));
	v.len = strlen(value);
	if (v.p == NULL || t->n == POOL_TAGS_MAX) {
		t->err = v.p == NULL ? -ENOMEM : -ELIMIT;
		return;
	}
	while (i > 0 && str_cmp(t->v[i - 1].key, k) > 0) {
		t->v[i] = t->v[i - 1];
		i--;
	}
	t->v[i] = (struct strpair){ k, v };
	t->n++;
	t->bytes += k.len + v.len + 4;	/* at most two bytes of msgpack header each */
}

static void
tag_addn(struct tag_writer *t, const char *key, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, n);
	tag_add(t, key, text);
}

static void
add_server_tags(struct tag_writer *t, struct json_object *slice, bool wan)
{
	int64_t expect = cfg_int(slice, "bootstrap_expect", 0), wan_port = cfg_int(slice, "ports.serf_wan", 0);

	tag_addn(t, "port", cfg_int(slice, "ports.server", 8300));
	tag_add(t, "raft_vsn", "3");
	tag_add(t, "ft_fs", "1");
	tag_add(t, "ft_si", "1");
	/* Consul reads an expected count of one as bootstrap. */
	if (cfg_bool(slice, "bootstrap", false) || expect == 1)
		tag_add(t, "bootstrap", "1");
	else if (expect > 1)
		tag_addn(t, "expect", expect);
	if (!wan && wan_port > 0)
		tag_addn(t, "wan_join_port", wan_port);
}

/* How long others keep this client while it is failed, when it may say so itself. */
static void
add_client_tags(struct tag_writer *t, struct json_object *slice)
{
	int64_t keep_ms = cfg_ms(slice, "advertise_reconnect_timeout", 0);
	char text[DURATION_TEXT_MAX];

	if (keep_ms <= 0)
		return;
	duration_format(keep_ms * NS_PER_MS, text);
	tag_add(t, "rc_tm", text);
}

static int
make_tags(struct json_object *slice, bool wan, struct arena *a, struct strmap *ret)
{
	struct tag_writer t = { .a = a };
	bool server = cfg_bool(slice, "server", false);

	tag_add(&t, "role", server ? "consul" : "node");
	tag_add(&t, "dc", cfg_str(slice, "datacenter", "dc1"));
	tag_add(&t, "segment", "");
	tag_add(&t, "id", cfg_str(slice, "node_id", ""));
	tag_add(&t, "vsn", "2");
	tag_add(&t, "vsn_min", "2");
	tag_add(&t, "vsn_max", "3");
	tag_add(&t, "build", BUILD_TAG);
	tag_add(&t, "acls", "0");
	if (server)
		add_server_tags(&t, slice, wan);
	else
		add_client_tags(&t, slice);
	if (t.err == 0 && t.bytes + 4 > POOL_META_MAX)
		t.err = -ELIMIT;
	if (t.err < 0)
		return t.err;
	ret->v = arena_alloc(a, t.n * sizeof(t.v[0]));
	if (ret->v == NULL)
		return -ENOMEM;
	memcpy(ret->v, t.v, t.n * sizeof(t.v[0]));
	ret->n = t.n;
	return 0;
}

static int
make_self(struct json_object *slice, bool wan, struct arena *a, struct member *ret)
{
	const char *lan_addr = cfg_str(slice, "advertise_addr", "127.0.0.1");
	const char *name = cfg_str(slice, "node_name", "");
	struct member m = {
		.status = MEMBER_ALIVE,
		.protocol_min = PROTOCOL_MIN, .protocol_max = PROTOCOL_MAX, .protocol_cur = PROTOCOL_CUR,
		.delegate_min = DELEGATE_MIN, .delegate_max = DELEGATE_MAX, .delegate_cur = DELEGATE_CUR,
	};
	const char *full, *addr;
	int rc;

	full = wan ? arena_printf(a, "%s.%s", name, cfg_str(slice, "datacenter", "dc1")) : arena_strdup(a, str_from(name));
	addr = arena_strdup(a, str_from(wan ? cfg_str(slice, "advertise_addr_wan", lan_addr) : lan_addr));
	if (full == NULL || addr == NULL)
		return -ENOMEM;
	m.name = str_from(full);
	m.addr = str_from(addr);
	m.port = wan ? cfg_int(slice, "ports.serf_wan", 8302) : cfg_int(slice, "ports.serf_lan", 8301);
	rc = make_tags(slice, wan, a, &m.tags);
	if (rc < 0)
		return rc;
	*ret = m;
	return 0;
}

int
pool_init(struct pool *p, struct json_object *slice, bool wan, uint64_t index)
{
	int rc;

	*p = (struct pool){ .wan = wan, .index = index };
	arena_init(&p->arena, POOL_ARENA_MAX);
	rc = make_self(slice, wan, &p->arena, &p->self);
	if (rc < 0)
		pool_release(p);
	return rc;
}

void
pool_release(struct pool *p)
{
	arena_release(&p->arena);
	p->self = (struct member){ .status = MEMBER_NONE };
}

int
pool_update(struct pool *p, struct json_object *slice)
{
	struct arena a;
	struct member m;
	int rc;

	arena_init(&a, POOL_ARENA_MAX);
	rc = make_self(slice, p->wan, &a, &m);
	if (rc < 0) {
		arena_release(&a);
		return rc;
	}
	m.status = p->self.status;
	if (record_equal(&rec_member, &m, &p->self, NULL)) {
		arena_release(&a);
		return 0;
	}
	arena_release(&p->arena);
	p->arena = a;
	p->self = m;
	p->index++;
	return 1;
}

void
pool_set_status(struct pool *p, enum member_status status)
{
	if (p->self.status == (int64_t)status)
		return;
	p->self.status = status;
	p->index++;
}

bool
pool_knows(const struct pool *p, struct str name)
{
	return p->self.status != MEMBER_NONE && str_eq_nocase(p->self.name, name);
}

void
pool_encode(const struct pool *p, struct mp_w *w)
{
	if (p->self.status == MEMBER_NONE) {
		mp_w_array(w, 0);
		return;
	}
	mp_w_array(w, 1);
	record_encode(&rec_member, &p->self, RECORD_PUBLIC, w);
}

unsigned
pool_count(const struct pool *p, enum member_status status)
{
	return p->self.status == (int64_t)status ? 1 : 0;
}
