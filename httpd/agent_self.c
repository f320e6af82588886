/* agent_self.c - /v1/agent/self: who this agent is, what it was told, how it does */
#include <ctype.h>
#include <stdlib.h>

#include "httpd/gather.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "lib/json.h"

enum { STATS_MAX = 1024, SELF_MAX = 16 * 1024 * 1024, NAME_MAX_ = 128 };

/* ---- Stats: the sections of all daemons merged */

struct stat_line {
	struct str section, key, value;
	size_t order;
};

struct stats {
	struct stat_line *v;
	size_t n;
};

static void
stats_add(struct stats *st, struct str payload)
{
	struct mp_r in = mp_r_init(payload.p, payload.len);
	uint32_t sections = mp_r_map(&in);

	for (uint32_t i = 0; i < sections && in.err == 0; i++) {
		struct str section = mp_r_str(&in);
		uint32_t keys = mp_r_map(&in);

		for (uint32_t k = 0; k < keys && in.err == 0; k++) {
			struct stat_line l = { section, mp_r_str(&in), mp_r_str(&in), st->n };

			if (in.err == 0 && st->n < STATS_MAX)
				st->v[st->n++] = l;
		}
	}
}

static int
stat_cmp(const void *a, const void *b)
{
	const struct stat_line *x = a, *y = b;
	int c = str_cmp(x->section, y->section);

	if (c == 0)
		c = str_cmp(x->key, y->key);
	return c != 0 ? c : (x->order > y->order) - (x->order < y->order);
}

static bool
same_key(const struct stat_line *a, const struct stat_line *b)
{
	return str_eq(a->section, b->section) && str_eq(a->key, b->key);
}

/* {section: {key: text}}, sorted; the first daemon that tells a key is believed. */
static void
stats_write(struct mp_w *w, struct stats *st)
{
	size_t outer = mp_w_map_hold(w), inner = 0;
	uint32_t sections = 0, keys = 0;

	qsort(st->v, st->n, sizeof(*st->v), stat_cmp);
	for (size_t i = 0; i < st->n; i++) {
		const struct stat_line *l = &st->v[i];

		if (i > 0 && same_key(l, &st->v[i - 1]))
			continue;
		if (i == 0 || !str_eq(l->section, st->v[i - 1].section)) {
			if (sections > 0)
				mp_w_map_patch(w, inner, keys);
			mp_w_str(w, l->section);
			inner = mp_w_map_hold(w);
			sections++;
			keys = 0;
		}
		mp_w_str(w, l->key);
		mp_w_str(w, l->value);
		keys++;
	}
	if (sections > 0)
		mp_w_map_patch(w, inner, keys);
	mp_w_map_patch(w, outer, sections);
}

/* ---- DebugConfig: what the agent runs with, by names as Consul's runtime config has them */

static bool
is_secret(const char *name)
{
	static const char *const words[] = { "token", "secret", "encrypt", "password", "key_file" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strstr(name, words[i]) != NULL)
			return true;
	return false;
}

/* "bind_addr" becomes "BindAddr". */
static void
camel(const char *prefix, const char *name, char out[NAME_MAX_])
{
	static const char *const upper[] = { "acl", "dns", "http", "https", "id", "kv", "rpc", "tls", "ttl", "ui", "url", "wan" };
	size_t n = (size_t)snprintf(out, NAME_MAX_, "%s", prefix);

	while (*name != '\0' && n + 1 < NAME_MAX_) {
		size_t word = strcspn(name, "_");
		bool up = false;

		for (size_t i = 0; i < ARRAY_LEN(upper); i++)
			up = up || (strlen(upper[i]) == word && strncmp(name, upper[i], word) == 0);
		for (size_t i = 0; i < word && n + 1 < NAME_MAX_; i++)
			out[n++] = (char)(up || i == 0 ? toupper((unsigned char)name[i]) : name[i]);
		name += word;
		name += *name == '_';
	}
	out[n < NAME_MAX_ ? n : NAME_MAX_ - 1] = '\0';
}

/* Members into `out` by their new names, objects flattened. */
static void
debug_add(struct json_object *out, const char *prefix, struct json_object *in, int depth)
{
	json_object_object_foreach(in, name, value) {
		char full[NAME_MAX_];

		camel(prefix, name, full);
		if (json_object_is_type(value, json_type_object) && depth == 0 && json_object_object_length(value) > 0) {
			debug_add(out, full, value, depth + 1);
			continue;
		}
		/* Whether gossip has to be encrypted (encrypt_verify_incoming) is none, nor is a time (acl.token_ttl). */
		(void)json_object_object_add(out, full, is_secret(name) && !json_object_is_type(value, json_type_boolean) &&
		    !json_object_is_type(value, json_type_int) ? json_object_new_string("hidden") : json_object_get(value));
	}
}

static void
debug_write(struct mp_w *w, const struct http_config *c)
{
	struct json_object *out = json_object_new_object(), *all = cfg_get(c->slice, "debug_config");

	if (out == NULL) {
		w->err = -ENOMEM;
		return;
	}
	debug_add(out, "", json_object_is_type(all, json_type_object) ? all : c->slice, 0);
	if (mp_from_json(w, out) < 0 && w->err == 0)
		w->err = -ENOMEM;
	(void)json_object_put(out);
}

/* ---- the rest */

static void
pair(struct mp_w *w, const char *name, const char *value)
{
	mp_w_cstr(w, name);
	mp_w_cstr(w, value);
}

static void
config_write(struct mp_w *w, const struct http_config *c)
{
	mp_w_map(w, 8);
	pair(w, "Datacenter", c->datacenter);
	pair(w, "PrimaryDatacenter", c->primary_datacenter);
	pair(w, "NodeName", c->node_name);
	pair(w, "NodeID", c->node_id);
	pair(w, "Revision", c->revision);
	mp_w_cstr(w, "Server");
	mp_w_bool(w, c->server);
	pair(w, "Version", c->version);
	pair(w, "BuildDate", "1970-01-01T00:00:01Z");	/* as agent/version tells it: the same source gives the same bytes */
}

/* Ours as gossipd tells it; without its answer where a node stands that has not measured anything yet. */
static void
coord_write(struct request *r, struct mp_w *w, struct str own)
{
	enum { DIMENSIONS = 8 };
	struct mp_r in = mp_r_init(own.p, own.len);
	struct coordinate_entry e;

	if (r->h->cfg.disable_coordinates) {
		mp_w_nil(w);
		return;
	}
	if (own.len > 0 && mp_r_array(&in) > 0 && record_decode(&rec_coordinate_entry, &in, &e, &r->arena) == 0) {
		record_encode(&rec_coordinate, &e.coord, RECORD_PUBLIC, w);
		return;
	}
	mp_w_map(w, 4);
	mp_w_cstr(w, "Vec");
	mp_w_array(w, DIMENSIONS);
	for (int i = 0; i < DIMENSIONS; i++)
		mp_w_int(w, 0);
	mp_w_cstr(w, "Error");
	mp_w_double(w, 1.5);
	mp_w_cstr(w, "Adjustment");
	mp_w_int(w, 0);
	mp_w_cstr(w, "Height");
	mp_w_double(w, 1e-5);
}

/* Our own entry in the list of members, nil when gossipd did not answer. */
static void
member_write(struct mp_w *w, const struct http_config *c, struct str members)
{
	struct mp_r in = mp_r_init(members.p, members.len);
	uint32_t n = members.len > 0 ? mp_r_array(&in) : 0;

	for (uint32_t i = 0; i < n && in.err == 0; i++) {
		struct str raw = mp_r_raw(&in);
		struct mp_r m = mp_r_init(raw.p, raw.len);
		uint32_t fields = mp_r_map(&m);

		for (uint32_t k = 0; k < fields && m.err == 0; k++) {
			if (!str_eqs(mp_r_str(&m), "Name")) {
				mp_r_skip(&m);
			} else if (str_eqs(mp_r_str(&m), c->node_name)) {
				mp_w_raw(w, raw);
				return;
			}
		}
	}
	mp_w_nil(w);
}

/* The node's metadata as checkd writes it to the catalog. */
static void
meta_write(struct mp_w *w, const struct http_config *c)
{
	struct json_object *own = cfg_get(c->slice, "node_meta"), *meta = json_object_new_object();

	if (meta == NULL) {
		w->err = -ENOMEM;
		return;
	}
	if (json_object_is_type(own, json_type_object)) {
		json_object_object_foreach(own, name, value)
			(void)json_object_object_add(meta, name, json_object_get(value));
	}
	(void)json_object_object_add(meta, "consul-network-segment", json_object_new_string(""));
	if (mp_from_json(w, meta) < 0 && w->err == 0)
		w->err = -ENOMEM;
	(void)json_object_put(meta);
}

static void
on_parts(struct request *r, const struct part *parts, size_t n)
{
	struct buf out = BUF_INIT(SELF_MAX);
	struct mp_w w = mp_w_init(&out);
	struct stats st = { arena_alloc(&r->arena, STATS_MAX * sizeof(struct stat_line)), 0 };
	struct str members = STR_NONE, own = STR_NONE;

	for (size_t i = 0; i < n && st.v != NULL; i++) {
		if (parts[i].op == OP_GOSSIP_MEMBERS)
			members = parts[i].payload;
		else if (parts[i].op == OP_GOSSIP_COORDINATES)
			own = parts[i].payload;
		else if (parts[i].ok)
			stats_add(&st, parts[i].payload);
	}
	mp_w_map(&w, 6);
	mp_w_cstr(&w, "Config");
	config_write(&w, &r->h->cfg);
	mp_w_cstr(&w, "DebugConfig");
	debug_write(&w, &r->h->cfg);
	mp_w_cstr(&w, "Coord");
	coord_write(r, &w, own);
	mp_w_cstr(&w, "Member");
	member_write(&w, &r->h->cfg, members);
	mp_w_cstr(&w, "Stats");
	stats_write(&w, &st);
	mp_w_cstr(&w, "Meta");
	meta_write(&w, &r->h->cfg);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}

void
agent_self(struct request *r)
{
	static const struct member_query lan, own = { .own = true };
	const struct question questions[] = {
		{ PEER_RAFTD, OP_DAEMON_INFO, NULL }, { PEER_GOSSIPD, OP_DAEMON_INFO, NULL },
		{ PEER_CHECKD, OP_DAEMON_INFO, NULL }, { PEER_DNSD, OP_DAEMON_INFO, NULL },
		{ PEER_HTTPD, OP_DAEMON_INFO, NULL }, { PEER_CONSULCTL, OP_DAEMON_INFO, NULL },
		{ PEER_GOSSIPD, OP_GOSSIP_MEMBERS, &lan }, { PEER_GOSSIPD, OP_GOSSIP_COORDINATES, &own },
	};

	/* The right to see this node's own state was asked for: what it is made of needs no other. */
	r->opts.internal = true;
	gather(r, questions, ARRAY_LEN(questions), on_parts);
}
