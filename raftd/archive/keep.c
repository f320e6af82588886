/* keep.c - records that we only keep: their primary keys, as Consul sorts them. */
#include <sodium.h>

#include "raftd/archive/internal.h"

enum { HASH_LEN = 16 };

/* The field of a map, its raw value; empty when it is not there. */
static struct str
field(struct str map, const char *name)
{
	struct mp_r r = mp_r_init(map.p, map.len);
	struct str found = STR_NONE;
	uint32_t n;

	if (mp_r_type(&r) != MP_MAP)
		return STR_NONE;
	n = mp_r_map(&r);
	for (uint32_t i = 0; i < n && r.err == 0; i++) {
		struct str key = mp_r_str(&r), value = mp_r_raw(&r);

		if (r.err == 0 && str_eqs(key, name))
			found = value;
	}
	return r.err == 0 ? found : STR_NONE;
}

static struct str
text(struct str raw)
{
	struct mp_r r = mp_r_init(raw.p, raw.len);
	struct str s = raw.len > 0 && (mp_r_type(&r) == MP_STR || mp_r_type(&r) == MP_BIN) ? mp_r_str(&r) : STR_NONE;

	return r.err == 0 ? s : STR_NONE;
}

static void
append(char *out, size_t *n, struct str s, bool lower_case)
{
	for (size_t i = 0; i < s.len; i++)
		out[(*n)++] = lower_case ? (char)ascii_lower((unsigned char)s.p[i]) : s.p[i];
}

/* A config entry is one string that holds two values: the kind, and a map with the entry. */
static int
config_entry(struct str value, struct str *ret_kind, struct str *ret_name)
{
	struct str inner = text(value);
	struct mp_r r = mp_r_init(inner.p, inner.len);
	struct str rest;

	if (inner.len == 0 || mp_r_type(&r) != MP_STR)
		return -EDECODE;
	*ret_kind = mp_r_str(&r);
	rest = mp_r_raw(&r);
	*ret_name = text(field(field(rest, "Entry"), "Name"));
	return mp_r_done(&r) ? 0 : -EDECODE;
}

/* The parts of the key. -EDECODE: not of the kind's form. */
static int
key_parts(unsigned kind, struct str value, struct str part[2])
{
	struct mp_r r = mp_r_init(value.p, value.len);

	part[0] = part[1] = STR_NONE;
	if (kind == SNAP_CONFIG_ENTRY)
		return config_entry(value, &part[0], &part[1]);
	if (kind == SNAP_COORDINATE) {
		if (mp_r_type(&r) != MP_ARRAY || mp_r_array(&r) != 1 || mp_r_type(&r) != MP_MAP)
			return -EDECODE;
		value = mp_r_raw(&r);
		part[0] = text(field(value, "Node"));
		part[1] = text(field(value, "Segment"));
		return mp_r_done(&r) && part[0].len > 0 ? 0 : -EDECODE;
	}
	if (mp_r_type(&r) != MP_MAP)
		return -EDECODE;
	if (kind == SNAP_TOKEN)
		part[0] = text(field(value, "SecretID"));
	else if (kind == SNAP_AUTH_METHOD)
		part[0] = text(field(value, "Name"));
	else if (kind == SNAP_FEDERATION)
		part[0] = text(field(field(value, "State"), "Datacenter"));
	else if (kind == SNAP_SYSTEM_METADATA || kind == SNAP_INDEX)
		part[0] = text(field(value, "Key"));
	else if (kind == SNAP_CA_CONFIG)
		part[0] = STR("config");
	else
		part[0] = text(field(value, "ID"));
	return 0;
}

int
keep_key(unsigned kind, struct str value, struct arena *a, struct str *ret)
{
	bool lower_case = kind == SNAP_COORDINATE || kind == SNAP_INDEX;
	char hash[HASH_LEN];
	struct str part[2];
	size_t n = 0;
	char *p;
	int rc = key_parts(kind, value, part);

	if (rc < 0)
		return rc;
	if (part[0].len + part[1].len > KEEP_KEY_MAX)
		return -ELIMIT;
	if (part[0].len == 0) {
		/* Without a key of its own it has that of its content. */
		(void)crypto_generichash((unsigned char *)hash, sizeof(hash), (const unsigned char *)value.p, value.len, NULL, 0);
		part[0] = (struct str){ hash, sizeof(hash) };
	}
	p = arena_alloc(a, 2 + part[0].len + part[1].len);
	if (p == NULL)
		return -ENOMEM;
	p[n++] = (char)kind;
	append(p, &n, part[0], lower_case);
	if (part[1].p != NULL) {
		p[n++] = 0;
		append(p, &n, part[1], lower_case);
	}
	*ret = (struct str){ p, n };
	return 0;
}
