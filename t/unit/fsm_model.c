/* fsm_model.c - random operations against a naive model of KV and sessions; replicas and restarts agree. */
#include <time.h>

#include "t/unit/fsm_image.h"

enum { STEPS = 6000, RESTART_EVERY = 700, KEYS = 40, SESSIONS = 6 };

static uint64_t rng;

static unsigned
roll(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 20) % n;
}

/* ---- the model: plain arrays, everything by search */

struct m_key {
	bool there;
	unsigned value, flags;
	uint64_t lock, create, modify;
	int session;			/* -1: none */
	int64_t delay_until;
};

struct m_session {
	bool there, deletes;
	int64_t delay, ttl, deadline;
};

/* Tombstones: of the keys, and of the prefixes that delete-tree was called with. */
struct m_tomb {
	char name[8];
	uint64_t index;
};

struct model {
	struct m_key k[KEYS];
	struct m_session s[SESSIONS];
	struct m_tomb t[KEYS * 4];
	size_t nt;
	uint64_t kvs, tombs, index;
	int64_t now;
};

/* Keys a0..a7, a/0.., ab/0..: five groups of eight. */
static const char *const groups[] = { "a", "a/", "ab/", "b/", "c" };

static const char *
key_name(int i)
{
	static char name[8];

	(void)snprintf(name, sizeof(name), "%s%d", groups[i / 8], i % 8);
	return name;
}

static const char *
sid(int i)
{
	static char id[48];

	(void)snprintf(id, sizeof(id), "00000000-0000-4000-8000-00000000000%d", i);
	return id;
}

static void
m_tomb(struct model *m, const char *name)
{
	size_t i = 0;

	while (i < m->nt && strcmp(m->t[i].name, name) != 0)
		i++;
	if (i == m->nt)
		m->nt++;
	(void)snprintf(m->t[i].name, sizeof(m->t[i].name), "%s", name);
	m->t[i].index = m->tombs = m->index;
}

static void
m_put(struct model *m, int i, unsigned value, unsigned flags, uint64_t lock, int session)
{
	struct m_key *k = &m->k[i];

	if (k->there && k->value == value && k->flags == flags && k->lock == lock && k->session == session)
		return;
	if (!k->there)
		k->create = m->index;
	k->there = true;
	k->value = value;
	k->flags = flags;
	k->lock = lock;
	k->session = session;
	k->modify = m->kvs = m->index;
}

static void
m_delete(struct model *m, int i)
{
	if (!m->k[i].there)
		return;
	m_tomb(m, key_name(i));
	m->k[i].there = false;
	m->kvs = m->index;
}

static void
m_end(struct model *m, int s)
{
	m->s[s].there = false;
	for (int i = 0; i < KEYS; i++) {
		struct m_key *k = &m->k[i];

		if (!k->there || k->session != s)
			continue;
		if (m->s[s].delay > 0)
			k->delay_until = m->now + m->s[s].delay;
		if (m->s[s].deletes)
			m_delete(m, i);
		else
			m_put(m, i, k->value, k->flags, k->lock, -1);
	}
}

static bool
m_kv(struct model *m, const char *verb, int i, unsigned value, unsigned flags, uint64_t cas, int session)
{
	struct m_key *k = &m->k[i];

	if (strcmp(verb, "set") == 0) {
		m_put(m, i, value, flags, 0, k->there ? k->session : -1);
	} else if (strcmp(verb, "cas") == 0) {
		if ((k->there ? k->modify : 0) != cas)
			return false;
		m_put(m, i, value, flags, 0, k->there ? k->session : -1);
	} else if (strcmp(verb, "delete") == 0) {
		m_delete(m, i);
	} else if (strcmp(verb, "delete-cas") == 0) {
		if (k->there && k->modify != cas)
			return false;
		m_delete(m, i);
	} else if (strcmp(verb, "lock") == 0) {
		if (k->delay_until > m->now || (k->there && k->session >= 0 && k->session != session))
			return false;
		m_put(m, i, value, flags, !k->there ? 1 : k->session == session ? k->lock : k->lock + 1, session);
	} else {
		if (!k->there || k->session != session)
			return false;
		m_put(m, i, value, flags, k->lock, -1);
	}
	return true;
}

static void
m_delete_tree(struct model *m, const char *prefix)
{
	bool any = false;

	for (int i = 0; i < KEYS; i++)
		if (m->k[i].there && strncmp(key_name(i), prefix, strlen(prefix)) == 0) {
			m->k[i].there = false;
			any = true;
		}
	if (!any)
		return;
	m->kvs = m->index;
	if (prefix[0] != 0)
		m_tomb(m, prefix);
}

/* ---- both are asked */

static void
expect_list(struct world *w, const struct model *m, const char *prefix)
{
	static char want[WORLD_TEXT_MAX];
	uint64_t index = 0;
	int order[KEYS], n = 0;

	for (int i = 0; i < KEYS; i++)
		if (m->k[i].there && strncmp(key_name(i), prefix, strlen(prefix)) == 0)
			order[n++] = i;
	for (int i = 1; i < n; i++)
		for (int j = i; j > 0; j--) {
			char x[8], y[8];

			(void)snprintf(x, sizeof(x), "%s", key_name(order[j - 1]));
			(void)snprintf(y, sizeof(y), "%s", key_name(order[j]));
			if (strcmp(x, y) > 0) {
				int swap = order[j];

				order[j] = order[j - 1];
				order[j - 1] = swap;
			}
		}
	(void)snprintf(want, sizeof(want), "[");
	for (int i = 0; i < n; i++) {
		const struct m_key *k = &m->k[order[i]];

		append(want, sizeof(want), "%s{'LockIndex':%llu,'Key':'%s','Flags':%u,'Value':%s", i > 0 ? "," : "",
		    (unsigned long long)k->lock, key_name(order[i]), k->flags, k->value == 0 ? "null" : k->value == 1 ? "'eA=='" : "'eQ=='");
		if (k->session >= 0)
			append(want, sizeof(want), ",'Session':'%s'", sid(k->session));
		append(want, sizeof(want), ",'CreateIndex':%llu,'ModifyIndex':%llu}", (unsigned long long)k->create,
		    (unsigned long long)k->modify);
		index = k->modify > index ? k->modify : index;
	}
	append(want, sizeof(want), "]");
	for (size_t i = 0; i < m->nt; i++)
		if (strncmp(m->t[i].name, prefix, strlen(prefix)) == 0 && m->t[i].index > index)
			index = m->t[i].index;
	if (index == 0 || prefix[0] == 0)
		index = m->kvs > m->tombs ? m->kvs : m->tombs;
	assert_string_equal(list(w, prefix), want);
	assert_int_equal(w->result_index, index > 0 ? index : 1);
}

struct pair {
	struct world *w[2];
	struct model m;
};

static void
both(struct pair *p, uint16_t op, const char *json, const char *want)
{
	p->m.index++;
	for (int i = 0; i < 2; i++) {
		p->w[i]->time = p->m.now;
		if (strcmp(apply(p->w[i], op, json), want) != 0)
			fail_msg("%s: %s, not %s", json, p->w[i]->text, want);
	}
}

static void
step_kv(struct pair *p)
{
	static const char *const verbs[] = { "set", "set", "set", "cas", "cas", "delete", "delete-cas", "lock", "lock", "unlock" };
	static const char *const values[] = { "", "eA==", "eQ==" };
	const char *verb = verbs[roll(ARRAY_LEN(verbs))];
	unsigned value = roll(3), flags = roll(4) == 0 ? roll(3) : 0;
	int key = (int)roll(KEYS), session = (int)roll(SESSIONS);
	uint64_t cas = roll(3) == 0 ? roll(3) : p->m.k[key].there ? p->m.k[key].modify : 0;
	bool locks = strcmp(verb, "lock") == 0 || strcmp(verb, "unlock") == 0;
	char json[512], want[128];

	(void)snprintf(json, sizeof(json), "{'Op':'%s','DirEnt':{'Key':'%s','Value':'%s','Flags':%u,'ModifyIndex':%llu%s%s%s}}", verb,
	    key_name(key), values[value], flags, (unsigned long long)cas, locks ? ",'Session':'" : "", locks ? sid(session) : "",
	    locks ? "'" : "");
	p->m.index++;
	if (strcmp(verb, "lock") == 0 && p->m.k[key].delay_until <= p->m.now && !p->m.s[session].there)
		(void)snprintf(want, sizeof(want), "E500 raft apply failed: invalid session '%s'", sid(session));
	else
		(void)snprintf(want, sizeof(want), "%s", m_kv(&p->m, verb, key, value, flags, cas, session) ? "true" : "false");
	p->m.index--;
	both(p, OP_KV_APPLY, json, want);
}

static void
step_tree(struct pair *p)
{
	static const char *const prefixes[] = { "a", "a/", "ab", "b/", "c", "c1", "zz" };
	const char *prefix = prefixes[roll(ARRAY_LEN(prefixes))];
	char json[128];

	(void)snprintf(json, sizeof(json), "{'Op':'delete-tree','DirEnt':{'Key':'%s'}}", prefix);
	p->m.index++;
	m_delete_tree(&p->m, prefix);
	p->m.index--;
	both(p, OP_KV_APPLY, json, "true");
}

static void
step_session(struct pair *p)
{
	int i = (int)roll(SESSIONS);
	struct m_session *s = &p->m.s[i];
	char json[512], want[64];

	if (s->there) {
		(void)snprintf(json, sizeof(json), "{'ID':'%s'}", sid(i));
		p->m.index++;
		m_end(&p->m, i);
		p->m.index--;
		both(p, OP_SESSION_DESTROY, json, "true");
		return;
	}
	*s = (struct m_session){ true, roll(2) == 0, S(roll(4) * 5), roll(2) == 0 ? S(10) : 0, INT64_MAX };
	if (s->ttl > 0)
		s->deadline = p->m.now + 2 * s->ttl;
	(void)snprintf(json, sizeof(json), "{'ID':'%s','Node':'n1','Behavior':'%s','LockDelay':'%llds','TTL':'%s'}", sid(i),
	    s->deletes ? "delete" : "release", (long long)(s->delay / NS_PER_S), s->ttl > 0 ? "10s" : "");
	(void)snprintf(want, sizeof(want), "'%s'", sid(i));
	both(p, OP_SESSION_CREATE, json, want);
}

/* Time passes; the leader renews one, and proposes what has expired. */
static void
step_time(struct pair *p)
{
	int renew = (int)roll(SESSIONS);
	struct str ids[SESSIONS];
	char id[40];
	size_t n;

	p->m.now += S(roll(6));
	p->m.index++;
	if (p->m.s[renew].there && p->m.s[renew].ttl > 0)
		p->m.s[renew].deadline = p->m.now + 2 * p->m.s[renew].ttl;
	for (int i = 0; i < 2; i++) {
		p->w[i]->time = p->m.now;
		(void)tick(p->w[i], sid(renew), NULL, 0);
	}
	while ((n = fsm_expired(p->w[0]->f, p->m.now, ids, SESSIONS)) > 0) {
		(void)snprintf(id, sizeof(id), "%.*s", STR_ARG(ids[0]));
		assert_true(p->m.s[id[35] - '0'].there && p->m.s[id[35] - '0'].deadline <= p->m.now);
		p->m.index++;
		m_end(&p->m, id[35] - '0');
		for (int i = 0; i < 2; i++)
			(void)tick(p->w[i], NULL, id, 0);
	}
	for (int i = 0; i < SESSIONS; i++)
		assert_true(!p->m.s[i].there || p->m.s[i].deadline > p->m.now);
}

static void
step_reap(struct pair *p)
{
	uint64_t upto = p->m.index - roll(30);

	p->m.index++;
	for (size_t i = 0; i < p->m.nt;)
		if (p->m.t[i].index <= upto)
			p->m.t[i] = p->m.t[--p->m.nt];
		else
			i++;
	for (int i = 0; i < 2; i++)
		(void)tick(p->w[i], NULL, NULL, upto);
}

/* The second replica starts anew from the first one's image. */
static void
restart(struct pair *p)
{
	struct image a, b;

	image_dump(p->w[0]->f, &a);
	image_dump(p->w[1]->f, &b);
	assert_image_equal(&a, &b);
	world_free(p->w[1]);
	p->w[1] = world_load(&a);
	image_free(&a);
	image_free(&b);
}

static void
test_model(void **state)
{
	static const char *const prefixes[] = { "", "a", "a/", "ab/", "b", "c3", "zz" };
	struct pair p = { .m = { .now = S(1000) } };

	(void)state;
	for (int i = 0; i < KEYS; i++)
		p.m.k[i].session = -1;
	p.w[0] = world_new();
	p.w[1] = world_new();
	both(&p, OP_CATALOG_REGISTER, "{'Node':'n1','Address':'x','Check':{'CheckID':'serfHealth','Status':'passing'}}", "true");
	for (int i = 1; i <= STEPS; i++) {
		unsigned what = roll(20);

		if (what < 13)
			step_kv(&p);
		else if (what < 14)
			step_tree(&p);
		else if (what < 17)
			step_session(&p);
		else if (what < 19)
			step_time(&p);
		else
			step_reap(&p);
		expect_list(p.w[0], &p.m, prefixes[roll(ARRAY_LEN(prefixes))]);
		if (i % RESTART_EVERY == 0)
			restart(&p);
	}
	restart(&p);
	world_free(p.w[0]);
	world_free(p.w[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };
	const char *seed = getenv("FSM_SEED");

	rng = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + 1;
	printf("# FSM_SEED=%llu\n", (unsigned long long)rng);
	rng = rng != 0 ? rng : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
