/* main.c - checkd: this node's services and checks. */
#include <stdlib.h>

#include "checkd/agent_tls.h"
#include "checkd/coordinates.h"
#include "checkd/curl_loop.h"
#include "checkd/kinds.h"
#include "checkd/process.h"
#include "checkd/register.h"
#include "checkd/rexec.h"
#include "checkd/statsd.h"
#include "checkd/sync.h"
#include "checkd/watches.h"

/* Twice as many threads as names that are looked up at a time. */
#define RESOLVERS "64"

/* Keys that are read at start only. */
static const char *const start_keys[] = { "node_name", "node_id", "datacenter", "data_dir", "check_output_max_size",
	"check_update_interval", "enable_script_checks", "enable_local_script_checks", "script_check_user",
	"disable_coordinates", "disable_remote_exec" };

static int
read_start_settings(struct checkd *cd)
{
	struct json_object *slice = cd->d->config;
	int64_t max = cfg_int(slice, "check_output_max_size", CHECK_OUTPUT_MAX);
	bool dev = cfg_bool(slice, "dev_mode", false);

	cd->output_max = max > 0 && max <= (int64_t)MiB ? (size_t)max : CHECK_OUTPUT_MAX;
	cd->update_interval_ms = (uint64_t)cfg_ms(slice, "check_update_interval", 5 * 60 * 1000);
	cd->script_policy.api = cfg_bool(slice, "enable_script_checks", false);
	cd->script_policy.files = cd->script_policy.api || cfg_bool(slice, "enable_local_script_checks", false);
	reload_settings(cd, slice);
	return persist_open(&cd->persist, dev ? NULL : cfg_str(slice, "data_dir", NULL));
}

/* Whom scripts of checks run as. */
static int
set_script_user(struct checkd *cd)
{
	const char *name = cfg_str(cd->d->config, "script_check_user", "");
	int rc = processes_set_user(cd->processes, name[0] != '\0' ? name : NULL);

	if (rc < 0)
		log_err("agent", "checkd: scripts of checks cannot run as script_check_user \"%.100s\": %s", name,
		    rc == -ENOENT ? "there is no such user" : err_text(rc));
	return rc;
}

/* The agent's certificate for checks; connections under way keep what they began with. */
static int
take_tls(struct checkd *cd, struct json_object *slice)
{
	int rc = agent_tls_load(&cd->agent_tls, slice);

	if (rc < 0)
		return rc;
	tls_trust_release(cd->tls_trust);
	cd->tls_trust = NULL;
	return 0;
}

static int
load(struct checkd *cd)
{
	struct refusal why = { .text = "" };

	register_persisted_services(cd);
	if (reload_definitions(cd, cd->d->config, &why) < 0) {
		log_err("agent", "checkd: %s", why.text);
		return -EINVAL;
	}
	register_persisted_checks(cd);
	return watches_apply(cd, cd->d->config);
}

static int
checkd_init(struct daemon *d)
{
	struct checkd *cd = calloc(1, sizeof(*cd));
	int rc;

	if (cd == NULL)
		return -ENOMEM;
	d->ctx = cd;
	cd->d = d;
	cd->local.cd = cd;
	cd->local.resumed = d->restarted;
	cd->changed.cb = checkd_on_changed;
	cd->started_with = json_object_get(d->config);
	rc = read_start_settings(cd);
	if (rc < 0)
		return rc;
	cd->acls = cfg_bool(d->config, "acl.enabled", false);
	cd->raftd = rpc_client_new(&d->loop, d->run_fd, "raftd");
	cd->gossipd = rpc_client_new(&d->loop, d->run_fd, "gossipd");
	cd->gate = cd->raftd != NULL ? acl_gate_new(cd->raftd, cd->acls) : NULL;
	rc = cd->gate == NULL || cd->gossipd == NULL ? -ENOMEM : tokens_set(&cd->tokens, d->config);
	if (rc >= 0)
		rc = processes_new(&d->loop, &cd->processes);
	if (rc == 0)
		rc = sync_start(cd);
	if (rc == 0)
		rc = reap_start(cd);
	if (rc == 0)
		rc = coordinates_start(cd);
	if (rc == 0)
		rc = rexec_start(cd);
	if (rc == 0)
		rc = statsd_start(cd);
	if (rc < 0)
		log_err("agent", "checkd: cannot start: error=\"%s\"", err_text(rc));
	if (rc == 0)
		rc = set_script_user(cd);
	if (rc == 0)
		rc = take_tls(cd, d->config);
	return rc < 0 ? rc : load(cd);
}

/* With other rights the catalog may take what it refused, and show what it hid. */
static int
take_tokens(struct checkd *cd, struct json_object *next)
{
	int rc = tokens_set(&cd->tokens, next);

	if (rc > 0)
		sync_now(cd);
	return rc < 0 ? rc : 0;
}

/* Services, checks and watches stay as they are. */
static int
checkd_tokens(struct daemon *d, struct json_object *next, struct buf *msg)
{
	(void)msg;
	return take_tokens(d->ctx, next);
}

static int
checkd_reload(struct daemon *d, struct json_object *next, struct buf *msg)
{
	struct checkd *cd = d->ctx;
	struct refusal why = { .text = "" };
	size_t before = msg->len;
	int rc;

	rc = reload_definitions(cd, next, &why);
	if (rc < 0)
		return buf_adds(msg, why.text) < 0 ? -ENOMEM : rc;
	reload_settings(cd, next);
	rc = take_tls(cd, next);
	if (rc == 0)
		rc = take_tokens(cd, next);
	if (rc == 0)
		rc = sync_describe(cd, next);
	if (rc == 0)
		rc = watches_apply(cd, next);
	if (rc == 0)
		rc = statsd_reload(cd, next);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(start_keys); i++)
		if (!json_object_equal(cfg_get(cd->started_with, start_keys[i]), cfg_get(next, start_keys[i])))
			rc = buf_addf(msg, "%s%s", msg->len > before ? ", " : "", start_keys[i]);
	checkd_changed(cd);
	return rc;
}

static void
on_watches_gone(struct checkd *cd)
{
	daemon_stopped(cd->d);
}

/* Only the watches' handlers are given a moment; the daemon's deadline bounds it. */
static void
checkd_drain(struct daemon *d)
{
	if (watches_end(d->ctx, on_watches_gone))
		daemon_stopped(d);
}

static void
checkd_fini(struct daemon *d)
{
	struct checkd *cd = d->ctx;

	if (cd == NULL)
		return;
	loop_undefer(&d->loop, DEFER_WORK, &cd->changed);
	local_release(&cd->local);
	watches_release(cd);
	curl_loop_free(cd->curl);
	curl_lib_release();
	tls_trust_release(cd->tls_trust);
	agent_tls_free(cd->agent_tls);
	acl_gate_free(cd->gate);
	cd->gate = NULL;
	timer_free(cd->reap);
	statsd_stop(cd);
	rpc_client_free(cd->raftd);
	rpc_client_free(cd->gossipd);
	rexec_stop(cd);
	processes_free(cd->processes);
	coordinates_stop(cd);
	sync_stop(cd);
	ops_release(cd);
	persist_close(&cd->persist);
	tokens_release(&cd->tokens);
	json_object_put(cd->started_with);
	free(cd);
	d->ctx = NULL;
}

static void
checkd_info(struct daemon *d, struct info_writer *iw)
{
	struct checkd *cd = d->ctx;
	size_t services = 0, checks = 0, ttls = 0, monitors = 0;

	for (size_t i = 0; i < cd->local.nservices; i++)
		services += !cd->local.services[i]->sync.deleted;
	for (size_t i = 0; i < cd->local.nchecks; i++) {
		const struct check *c = cd->local.checks[i];

		checks += !c->sync.deleted;
		ttls += c->runner.kind == &check_kind_ttl;
		monitors += c->runner.kind == &check_kind_script;
	}
	info_section(iw, "agent");
	info_add(iw, "check_monitors", "%zu", monitors);
	info_add(iw, "check_ttls", "%zu", ttls);
	info_add(iw, "checks", "%zu", checks);
	info_add(iw, "services", "%zu", services);
	info_section(iw, "checks");
	info_add(iw, "running_scripts", "%zu", cd->processes != NULL ? processes_running(cd->processes) - watches_running(cd) : 0);
	info_add(iw, "watches", "%zu", watches_running(cd));
}

int
main(int argc, char **argv)
{
	struct daemon_spec spec = {
		.name = "checkd",
		.summary = "this node's services and checks",
		.routes = checkd_routes,
		.nroutes = checkd_nroutes,
		.cancelled = checkd_cancelled,
		.init = checkd_init,
		.reload = checkd_reload,
		.tokens = checkd_tokens,
		.drain = checkd_drain,
		.fini = checkd_fini,
		.info = checkd_info,
	};

	/*
	 * libuv looks names up in half of its threads, of which it has four:
	 * two names that nobody answers for would hold up all others. They
	 * are made when the first name is looked up.
	 */
	if (setenv("UV_THREADPOOL_SIZE", RESOLVERS, 0) < 0)
		return 1;
	return daemon_main(argc, argv, &spec);
}
