/* acl_login.c - /v1/acl/bootstrap, /v1/acl/login, /v1/acl/logout: tokens for who has none. */
#include <sodium.h>

#include "httpd/acl.h"
#include "httpd/respond.h"
#include "httpd/routes.h"

enum { TOKEN_SHOWN_MAX = 1024 * 1024 };

/* The token, behind its secret under the name that it had before 1.4. */
static void
on_bootstrapped(struct request *r, const struct rpc_answer *a)
{
	struct buf out = BUF_INIT(TOKEN_SHOWN_MAX);
	struct mp_w w = mp_w_init(&out);
	struct acl_token t;
	struct str payload;
	struct mp_r in;
	uint32_t n;

	if (!upstream_payload(r, a, &payload))
		return;
	in = mp_r_init(payload.p, payload.len);
	if (record_decode(&rec_acl_token, &in, &t, &r->arena) < 0) {
		respond_text(r, 500, "malformed answer from another daemon");
		return;
	}
	in = mp_r_init(payload.p, payload.len);
	n = mp_r_map(&in);
	mp_w_map(&w, n + 1);
	mp_w_cstr(&w, "ID");
	mp_w_str(&w, t.secret_id);
	mp_w_raw(&w, (struct str){ (const char *)in.p, (size_t)(in.end - in.p) });
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	if (out.len > 0)
		sodium_memzero(out.data, out.len);
	buf_release(&out);
}

/* What 1.16 takes: the secret of the token that is to be made. */
struct bootstrap_body {
	struct str secret;
};

static const struct field f_bootstrap_body[] = {
	FIELD(bootstrap_body, secret, "BootstrapSecret", F_STR, 0),
};
static RECORD(rec_bootstrap_body, bootstrap_body, "BootstrapBody", f_bootstrap_body);

void
acl_bootstrap(struct request *r)
{
	struct bootstrap_body body = { .secret = STR("") };
	struct acl_bootstrap q = { .reset_index = 0 };

	if (!acl_enabled(r))
		return;
	if (r->body.len > 0 && !acl_body(r, "Request decoding failed", &rec_bootstrap_body, &body))
		return;
	q.secret_id = body.secret;
	r->opts.token = STR("");	/* whatever the agent's own is worth */
	upstream_write(r, OP_ACL_BOOTSTRAP, &q, on_bootstrapped);
}

/* The record of the request has more than its asker may say. */
static const struct field f_login_body[] = {
	FIELD(acl_login, auth_method, "AuthMethod", F_STR, 0),
	FIELD(acl_login, bearer_token, "BearerToken", F_STR, 0),
	FIELD(acl_login, meta, "Meta", F_STRMAP, 0),
};
static RECORD(rec_login_body, acl_login, "LoginBody", f_login_body);

void
acl_login(struct request *r)
{
	struct acl_login q = { .auth_method = STR("") };

	if (!acl_enabled(r) || !acl_body(r, "Failed to decode request body", &rec_login_body, &q))
		return;
	r->opts.token = STR("");
	upstream_write(r, OP_ACL_LOGIN, &q, acl_shown);
}

void
acl_logout(struct request *r)
{
	struct acl_ids none = { { NULL, 0 } };

	if (acl_enabled(r))
		upstream_write(r, OP_ACL_LOGOUT, &none, upstream_ok_true);
}
