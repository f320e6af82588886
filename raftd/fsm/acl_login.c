/*
 * acl_login.c - a bearer's token of an auth method becomes a token of ours.
 *
 * All of it happens before the log: verifying needs the clock and a file. The
 * entry holds the token that came of it, never the bearer's.
 */
#include <json-c/json.h>
#include <stdlib.h>

#include "lib/bexpr.h"
#include "lib/json.h"
#include "raftd/acl/jwt.h"
#include "raftd/fsm/acl.h"

enum { CONFIG_MAX = 4 * 1024 * 1024, CLAIMS_MAX = 1024, NAME_TEXT_MAX = 4096, MATCHES_MAX = 4096 };

/* ---- a method's configuration */

struct json_object *
acl_config_json(struct str config)
{
	struct buf text = BUF_INIT(CONFIG_MAX);
	struct mp_r r = mp_r_init(config.p, config.len);
	struct json_object *j = NULL;
	char why[256];
	bool null;

	if (json_from_mp(&text, &r, NULL) == 0)
		j = json_parse((const char *)text.data, text.len, &null, why, sizeof(why));
	buf_release(&text);
	return j;
}

/* The raw value of a field. */
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

struct str
acl_config_text(struct str config, const char *name)
{
	struct str raw = field(config, name);
	struct mp_r r = mp_r_init(raw.p, raw.len);

	return raw.len > 0 && (mp_r_type(&r) == MP_STR || mp_r_type(&r) == MP_BIN) ? mp_r_str(&r) : STR_NONE;
}

/* ---- claims, as records: value.NAME is text, list.NAME a list of texts, of the names that the method maps */

struct claims {
	struct record value, list, all;	/* all: {value, list} */
	struct field both[2];
	struct str *values;		/* in the order of value.fields */
	struct strs *lists;
	void *obj;
};

/* The names on the right of a mapping, as NUL-terminated words of the arena. */
static int
mapped_names(struct str config, const char *mapping, struct arena *a, const char **v, size_t *n)
{
	struct str map = field(config, mapping);
	struct mp_r r = mp_r_init(map.p, map.len);
	uint32_t count = map.len > 0 && mp_r_type(&r) == MP_MAP ? mp_r_map(&r) : 0;

	*n = 0;
	for (uint32_t i = 0; i < count && r.err == 0 && *n < CLAIMS_MAX; i++) {
		struct str key = mp_r_str(&r), name;
		char *copy;

		(void)key;
		if (mp_r_type(&r) != MP_STR && mp_r_type(&r) != MP_BIN) {
			mp_r_skip(&r);
			continue;
		}
		name = mp_r_str(&r);
		copy = arena_strdup(a, name);
		if (copy == NULL)
			return -ENOMEM;
		v[(*n)++] = copy;
	}
	return 0;
}

static int
make_table(struct record *rec, const char *const *names, size_t n, enum field_type type, size_t size, struct arena *a)
{
	struct field *f = arena_alloc(a, (n + 1) * sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		f[i] = (struct field){ names[i], type, 0, i * size, NULL };
	*rec = (struct record){ "Claims", n * size, f, n };
	return 0;
}

static int
claims_init(struct claims *c, struct str config, struct arena *a)
{
	const char **names = arena_alloc(a, CLAIMS_MAX * sizeof(*names));
	size_t n = 0, m = 0;
	char *obj;
	int rc = names != NULL ? mapped_names(config, "ClaimMappings", a, names, &n) : -ENOMEM;

	if (rc == 0)
		rc = make_table(&c->value, names, n, F_STR, sizeof(struct str), a);
	if (rc == 0)
		rc = mapped_names(config, "ListClaimMappings", a, names, &m);
	if (rc == 0)
		rc = make_table(&c->list, names, m, F_STRS, sizeof(struct strs), a);
	obj = rc == 0 ? arena_alloc(a, c->value.size + c->list.size + 1) : NULL;
	if (obj == NULL)
		return -ENOMEM;
	c->obj = obj;
	c->values = (struct str *)(void *)obj;
	c->lists = (struct strs *)(void *)(obj + c->value.size);
	c->both[0] = (struct field){ "value", F_RECORD, 0, 0, &c->value };
	c->both[1] = (struct field){ "list", F_RECORD, 0, c->value.size, &c->list };
	c->all = (struct record){ "Claims", c->value.size + c->list.size, c->both, 2 };
	return 0;
}

static struct str
text_of(struct json_object *j)
{
	return (struct str){ json_object_get_string(j), (size_t)json_object_get_string_len(j) };
}

/* What was found in a token; it lasts as long as j does. */
static int
claims_fill(struct claims *c, struct json_object *j, struct arena *a)
{
	struct json_object *map, *x;

	for (size_t i = 0; i < c->value.nfields; i++)
		if (json_object_object_get_ex(j, "value", &map) && json_object_object_get_ex(map, c->value.fields[i].name, &x) &&
		    json_object_is_type(x, json_type_string))
			c->values[i] = text_of(x);
	for (size_t i = 0; i < c->list.nfields; i++) {
		size_t n;

		if (!json_object_object_get_ex(j, "list", &map) || !json_object_object_get_ex(map, c->list.fields[i].name, &x) ||
		    !json_object_is_type(x, json_type_array))
			continue;
		n = json_object_array_length(x);
		c->lists[i].v = arena_alloc(a, (n + 1) * sizeof(struct str));
		if (c->lists[i].v == NULL)
			return -ENOMEM;
		for (size_t k = 0; k < n; k++)
			c->lists[i].v[c->lists[i].n++] = text_of(json_object_array_get_idx(x, k));
	}
	return 0;
}

/* ---- names with claims in them */

static struct str
trim(struct str s)
{
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* The claim that "value.NAME" stands for; fake: any that exists gives this. */
static bool
claim_value(const struct claims *c, struct str name, const char *fake, struct str *ret)
{
	const struct field *f = NULL;

	if (str_has_prefix(name, STR("value.")))
		f = record_field(&c->value, (struct str){ name.p + 6, name.len - 6 });
	if (f == NULL)
		return false;
	*ret = fake != NULL ? str_from(fake) : c->values[f - c->value.fields];
	return true;
}

/*
 * "team-${value.x}" with its claims put in; "$${" is a "${" that stands for itself. -EINVAL for one that is
 * not there or not closed, -ELIMIT when it grows too long.
 */
static int
interpolate(const struct claims *c, struct str text, const char *fake, struct buf *out)
{
	int rc = 0;

	while (text.len > 0 && rc == 0) {
		const char *end;
		struct str v;

		if (str_has_prefix(text, STR("$${"))) {
			rc = buf_adds(out, "${");
			text.p += 3;
			text.len -= 3;
			continue;
		}
		if (!str_has_prefix(text, STR("${"))) {
			rc = buf_addc(out, (uint8_t)text.p[0]);
			text.p++;
			text.len--;
			continue;
		}
		end = memchr(text.p, '}', text.len);
		if (end == NULL || !claim_value(c, trim((struct str){ text.p + 2, (size_t)(end - text.p) - 2 }), fake, &v))
			return -EINVAL;
		rc = buf_add(out, v.p, v.len);
		text.len -= (size_t)(end + 1 - text.p);
		text.p = end + 1;
	}
	return rc;
}

/* The name that a rule binds to, in the arena. -EINVAL: it is none that can be bound to. */
static int
bind_name(const struct fsm *f, const struct claims *c, const struct acl_binding_rule *b, const char *fake, struct str *ret)
{
	struct buf out = BUF_INIT(NAME_TEXT_MAX);
	bool role = str_eqs(b->bind_type, "role");
	struct str s;
	char *copy;
	int rc = interpolate(c, b->bind_name, fake, &out);

	if (rc == -ELIMIT)
		rc = -EINVAL;
	for (size_t i = 0; rc == 0 && !role && i < out.len; i++)
		out.data[i] = ascii_lower(out.data[i]);
	s = (struct str){ (const char *)out.data, out.len };
	if (rc == 0 && !(role ? acl_is_name(s, ACL_ROLE_NAME_MAX) : acl_identity_name_ok(s)))
		rc = -EINVAL;
	copy = rc == 0 ? arena_strdup(f->arena, s) : NULL;
	if (rc == 0 && copy == NULL)
		rc = -ENOMEM;
	*ret = (struct str){ copy, out.len };
	buf_release(&out);
	return rc;
}

bool
acl_login_vet_rule(const struct fsm *f, const struct acl_binding_rule *b, const struct acl_auth_method *m, struct fsm_error *err)
{
	struct bexpr *e = NULL;
	struct claims c;
	struct str name;
	char why[512];
	int rc = claims_init(&c, m->config, f->arena);

	if (rc == 0 && b->selector.len > 0) {
		rc = bexpr_parse(b->selector, &c.all, f->arena, &e, why, sizeof(why));
		bexpr_free(e);
		if (rc == -EINVAL)
			fail(err, 500, "invalid Binding Rule: Selector is invalid: %s", why);
	}
	if (rc == 0) {
		rc = bind_name(f, &c, b, "fake", &name);
		if (rc == -EINVAL)
			fail(err, 500, "Invalid Binding Rule: invalid BindName");
	}
	if (rc == -ENOMEM)
		f->scratch->starved = true;
	return rc == 0;
}

/* ---- login */

struct bound {
	struct acl_service_identity services[MATCHES_MAX];
	struct acl_node_identity nodes[MATCHES_MAX];
	struct acl_link roles[MATCHES_MAX];
	size_t nservices, nnodes, nroles;
};

/* What a rule gives to whom it matches. -EINVAL: its name is none with these claims. */
static int
bind(const struct fsm *f, const struct claims *c, const struct acl_binding_rule *rule, struct bound *to)
{
	const struct role_item *role;
	struct str name;
	int rc = bind_name(f, c, rule, NULL, &name);

	if (rc < 0)
		return rc;
	if (to->nservices + to->nnodes + to->nroles == MATCHES_MAX)
		return -EINVAL;
	if (str_eqs(rule->bind_type, "service")) {
		to->services[to->nservices++] = (struct acl_service_identity){ .service_name = name };
	} else if (str_eqs(rule->bind_type, "node")) {
		to->nodes[to->nnodes++] = (struct acl_node_identity){ name, str_from(f->datacenter) };
	} else {
		role = acl_role_by_name(f, name);
		/* A role that is not there is passed over. */
		if (role != NULL)
			to->roles[to->nroles++] = (struct acl_link){ role->r.id, STR("") };
	}
	return 0;
}

static int
matches(const struct fsm *f, const struct claims *c, const struct acl_binding_rule *rule, bool *ret)
{
	struct bexpr *e = NULL;
	char why[512];
	int rc;

	*ret = true;
	if (rule->selector.len == 0)
		return 0;
	rc = bexpr_parse(rule->selector, &c->all, f->arena, &e, why, sizeof(why));
	/* The method may have changed since: what selects by a claim that is mapped no more matches nobody. */
	*ret = rc == 0 && bexpr_match(e, c->obj);
	bexpr_free(e);
	return rc == -EINVAL ? 0 : rc;
}

static int
bind_all(const struct fsm *f, const struct acl_auth_method *m, const struct claims *c, struct bound *to, struct fsm_error *err)
{
	const struct binding_item *item;
	struct tree_iter it;
	int rc = 0;

	tree_seek(&f->acl_bindings, STR_NONE, &it);
	while (rc == 0 && (item = tree_next(&it)) != NULL) {
		bool match;

		if (!str_eq_nocase(item->b.auth_method, m->name))
			continue;
		rc = matches(f, c, &item->b, &match);
		if (rc == 0 && match)
			rc = bind(f, c, &item->b, to);
		if (rc == -EINVAL) {
			fail(err, 500, "cannot compute %.*s bind name for bind target: invalid name", STR_ARG(item->b.bind_type));
			return 0;
		}
	}
	if (rc == 0 && to->nservices + to->nnodes + to->nroles == 0)
		fail(err, 403, "Permission denied");
	return rc;
}

static struct str
describe(const struct fsm *f, const struct strmap *meta)
{
	static const char words[] = "token created via login";
	struct buf text = BUF_INIT(ACL_META_MAX), mp = BUF_INIT(ACL_META_MAX);
	struct mp_w w = mp_w_init(&mp);
	struct mp_r r;
	char *copy;
	size_t len;
	int rc = buf_adds(&text, words);

	if (meta->n > 0) {
		mp_w_map(&w, (uint32_t)meta->n);
		for (size_t i = 0; i < meta->n; i++) {
			mp_w_str(&w, meta->v[i].key);
			mp_w_str(&w, meta->v[i].value);
		}
		r = mp_r_init(mp.data, mp.len);
		if (rc == 0)
			rc = w.err;
		if (rc == 0)
			rc = buf_adds(&text, ": ");
		if (rc == 0)
			rc = json_from_mp(&text, &r, NULL);
	}
	copy = rc == 0 ? arena_strdup(f->arena, (struct str){ (const char *)text.data, text.len }) : NULL;
	len = text.len;
	if (copy == NULL)
		f->scratch->starved = true;
	buf_release(&text);
	buf_release(&mp);
	return (struct str){ copy, copy != NULL ? len : 0 };
}

/* Who the bearer is: claims, to be put. */
static int
verify(const struct acl_auth_method *m, struct str bearer, const struct fsm_fresh *fresh, struct json_object **ret, struct fsm_error *err)
{
	struct json_object *config = acl_config_json(m->config);
	struct jwt_method *jwt = NULL;
	char why[ACL_ERROR_MAX];
	int rc = config != NULL ? jwt_method_new(config, &jwt, why) : -ENOMEM;

	if (rc == 0)
		rc = jwt_verify(jwt, bearer, fresh->jwks, fresh->wall_ns, ret, why);
	jwt_method_free(jwt);
	json_object_put(config);
	if (rc == -EACCES) {
		fail(err, 403, "Permission denied: %s", why);
		return 0;
	}
	if (rc == -EINVAL || rc == -ENOENT) {
		fail(err, 500, "auth method \"%.*s\": %s", STR_ARG(m->name), why);
		return 0;
	}
	return rc;
}

static int
make_token(const struct fsm *f, const struct acl_auth_method *m, struct acl_login *req, struct json_object *j,
    const struct fsm_fresh *fresh, struct fsm_error *err)
{
	struct bound *to = arena_alloc(f->arena, sizeof(*to));
	struct claims c;
	int rc = to != NULL ? claims_init(&c, m->config, f->arena) : -ENOMEM;

	if (rc == 0)
		rc = claims_fill(&c, j, f->arena);
	if (rc == 0)
		rc = bind_all(f, m, &c, to, err);
	if (rc < 0 || err->code != 0)
		return rc;
	req->token = (struct acl_token){
		.description = describe(f, &req->meta), .auth_method = m->name, .local = !str_eqs(m->token_locality, "global"),
		.expiration_ttl = m->max_token_ttl, .roles = { to->roles, to->nroles },
		.service_identities = { to->services, to->nservices }, .node_identities = { to->nodes, to->nnodes },
	};
	(void)acl_token_create(f, &req->token, fresh, err);
	return 0;
}

int
acl_login_check(const struct fsm *f, struct acl_login *req, const struct fsm_fresh *fresh, struct buf *out,
    struct str *ret_request, struct fsm_error *err)
{
	const struct method_item *m = acl_method_find(f, req->auth_method);
	struct str bearer = req->bearer_token;
	struct json_object *j = NULL;
	int rc = 0;

	req->bearer_token = STR_NONE;
	req->token = (struct acl_token){ .local = false };
	if (req->auth_method.len == 0)
		fail(err, 400, "Bad request: no AuthMethod is given");
	else if (m == NULL)
		fail(err, 403, "ACL not found");
	else
		rc = verify(&m->m, bearer, fresh, &j, err);
	if (rc == 0 && j != NULL)
		rc = make_token(f, &m->m, req, j, fresh, err);
	/* Also of one that is refused, should its first copy be in the log already: the bearer's must not come there. */
	if (rc == 0)
		rc = acl_complete(&rec_acl_login, req, out, ret_request);
	json_object_put(j);
	return rc;
}

int
acl_login_apply(struct apply *ap, const struct acl_login *req)
{
	const struct acl_token *t = &req->token;

	if (acl_method_find(ap->f, req->auth_method) == NULL || t->auth_method.len == 0 || t->accessor_id.len == 0 || t->secret_id.len == 0)
		fail(ap->err, 403, "ACL not found");
	else if (acl_token_find(ap->f, t->accessor_id) != NULL || acl_token_by_secret(ap->f, t->secret_id) != NULL)
		fail(ap->err, 500, "Invalid Token: AccessorID is already in use");
	return FAILED(ap) ? 0 : acl_token_put(ap, NULL, t);
}

const char *
fsm_acl_jwks_file(const struct fsm *f, struct str request)
{
	struct mp_r r = mp_r_init(request.p, request.len);
	const struct method_item *m;
	struct acl_login req;
	struct str file;

	arena_reset(f->arena);
	if (record_decode(&rec_acl_login, &r, &req, f->arena) < 0)
		return NULL;
	m = acl_method_find(f, req.auth_method);
	file = m != NULL ? acl_config_text(m->m.config, "JWKSFile") : STR_NONE;
	return file.len > 0 && memchr(file.p, 0, file.len) == NULL ? arena_strdup(f->arena, file) : NULL;
}
