/*
 * acl_leader.c - what a leader does about ACLs: the policy, the anonymous token and the configured token that are always
 * there, and the removal of tokens that have expired.
 *
 * It looks every second while it leads, so that what a restored snapshot lacks is made soon, and what cannot be
 * proposed now is proposed later. Made twice by two leaders, each is there once: the entries say so.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/wall.h"
#include "raftd/raftd.h"

#define SUB "agent.server"

enum { LOOK_MS = 1000, REAP_MAX = 256, UUID_LEN = 36 };

static uv_timer_t timer;

/* Everything. */
#define ANY(resource) resource "_prefix \"\" {\n\tpolicy = \"write\"\n}\n"
static const char management_rules[] =
    "acl = \"write\"\n" ANY("agent") ANY("event") ANY("key") "keyring = \"write\"\n" ANY("node") "operator = \"write\"\n"
    "mesh = \"write\"\npeering = \"write\"\n" ANY("query")
    "service_prefix \"\" {\n\tpolicy = \"write\"\n\tintentions = \"write\"\n}\n" ANY("session");
#undef ANY

static int64_t
wall_now(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_REALTIME, &t) == 0 ? t.tv_sec * INT64_C(1000000000) + t.tv_nsec : 0;
}

static void
make_uuid(char out[UUID_LEN + 1])
{
	uint8_t b[16];
	char hex[2 * sizeof(b) + 1];

	randombytes_buf(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);		/* RFC 4122: version 4, */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);		/* its variant */
	(void)sodium_bin2hex(hex, sizeof(hex), b, sizeof(b));
	(void)snprintf(out, UUID_LEN + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static void
tell(int rc, const char *what)
{
	if (rc < 0)
		log_debug(SUB, "initializing acls is put off: %s: %s", what, err_text(rc));
}

static void
make_token(struct raftd *r, struct str accessor, struct str secret, const char *description, bool management)
{
	struct acl_link link = { STR(ACL_MANAGEMENT_POLICY), STR("") };
	char now[WALL_TEXT_MAX];
	struct acl_token_set req = { .verb = STR("init"), .token = { .accessor_id = accessor, .secret_id = secret,
		.description = str_from(description), .type = management ? STR("management") : STR("") } };

	wall_format(wall_from_ns(wall_now()), now);
	req.token.create_time = str_from(now);
	if (management)
		req.token.policies = (struct records){ &link, 1 };
	tell(propose_own(r, OP_ACL_TOKEN_SET, &req), description);
}

/* The token of the configuration is the first one, if there is none yet. */
static void
make_initial(struct raftd *r, const char *secret)
{
	char accessor[UUID_LEN + 1], now[WALL_TEXT_MAX];
	struct acl_bootstrap req = { .secret_id = str_from(secret), .description = STR("Initial Management Token") };

	make_uuid(accessor);
	if (fsm_acl_bootstrapped(r->engine.fsm)) {
		make_token(r, str_from(accessor), req.secret_id, "Initial Management Token", true);
		return;
	}
	wall_format(wall_from_ns(wall_now()), now);
	req.accessor_id = str_from(accessor);
	req.create_time = str_from(now);
	tell(propose_own(r, OP_ACL_BOOTSTRAP, &req), "Initial Management Token");
}

static void
make_all(struct raftd *r, const char *initial)
{
	static const struct acl_policy management = {
		.id = { ACL_MANAGEMENT_POLICY, UUID_LEN }, .name = { "global-management", 17 },
		.description = { "Builtin Policy that grants unlimited access", 43 },
		.rules = { management_rules, sizeof(management_rules) - 1 },
	};

	log_info(SUB, "initializing acls");
	tell(propose_own(r, OP_ACL_POLICY_SET, &management), "global-management");
	make_token(r, STR(ACL_ANONYMOUS_ACCESSOR), STR(ACL_ANONYMOUS_SECRET), "Anonymous Token", false);
	if (initial[0] != 0)
		make_initial(r, initial);
}

static void
reap(struct raftd *r)
{
	struct str ids[REAP_MAX];
	int64_t next;
	struct acl_ids req = { { ids, fsm_acl_expired(r->engine.fsm, wall_now(), ids, REAP_MAX, &next) } };

	if (req.ids.n == 0)
		return;
	log_info("agent.server", "reaping expired acl tokens: count=%zu", req.ids.n);
	if (propose_own(r, OP_ACL_TOKEN_REAP, &req) < 0)
		log_debug(SUB, "reaping expired acl tokens is put off");
}

static void
look(struct raftd *r)
{
	const char *initial = cfg_str(r->d->config, "acl.tokens.initial_management", "");

	if (!engine_leads(r) || snapshot_restoring(r))
		return;
	if (fsm_acl_needs_init(r->engine.fsm, str_from(initial)))
		make_all(r, initial);
	reap(r);
}

static void
on_look(uv_timer_t *t)
{
	look(t->data);
}

void
acl_leader_init(struct raftd *r)
{
	(void)uv_timer_init(&r->d->loop.uv, &timer);
	timer.data = r;
}

void
acl_leader_release(void)
{
	uv_close((uv_handle_t *)&timer, NULL);
}

void
acl_lead(struct raftd *r, bool lead)
{
	(void)uv_timer_stop(&timer);
	if (!lead || !acl_on(r))
		return;
	(void)uv_timer_start(&timer, on_look, LOOK_MS, LOOK_MS);
	look(r);
}
