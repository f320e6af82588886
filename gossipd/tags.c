/* tags.c - what this node says of itself. */
#include "gossipd/tags.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/duration.h"

/* Clients compare this version, so it names the protocol's generation, not our release. */
#define BUILD_TAG "1.10.12:"

struct tag_writer {
	struct arena *a;
	struct strpair v[TAGS_MAX];
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
	if (v.p == NULL || t->n == TAGS_MAX) {
		t->err = v.p == NULL ? -ENOMEM : -ELIMIT;
		return;
	}
	while (i > 0 && str_cmp(t->v[i - 1].key, k) > 0) {
		t->v[i] = t->v[i - 1];
		i--;
	}
	t->v[i] = (struct strpair){ k, v };
	t->n++;
	t->bytes += k.len + v.len + 4;	/* at most two bytes of msgpack header each, up to 255 */
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
	tag_add(t, MEMBER_TAG_OURS, "1");
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

int
tags_own(struct json_object *slice, bool wan, struct arena *a, struct strmap *ret)
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
	tag_add(&t, "acls", cfg_bool(slice, "acl.enabled", false) ? "1" : "0");
	if (server)
		add_server_tags(&t, slice, wan);
	else
		add_client_tags(&t, slice);
	if (t.err == 0 && t.bytes + 4 > WIRE_META_MAX)
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

struct str
tags_own_name(struct json_object *slice, bool wan, struct arena *a)
{
	const char *name = cfg_str(slice, "node_name", "");

	return str_from(wan ? arena_printf(a, "%s.%s", name, cfg_str(slice, "datacenter", "dc1")) : arena_strdup(a, str_from(name)));
}

int
tags_own_addr(struct json_object *slice, bool wan, struct gossip_addr *ret)
{
	const char *lan = cfg_str(slice, "advertise_addr", "127.0.0.1");

	return addr_parse(wan ? cfg_str(slice, "advertise_addr_wan", lan) : lan,
	    (uint16_t)cfg_int(slice, wan ? "ports.serf_wan" : "ports.serf_lan", wan ? 8302 : 8301), ret);
}
