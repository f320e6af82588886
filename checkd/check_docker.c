/* check_docker.c - checks that run a command in a container, through the engine's HTTP API. */
#include <stdlib.h>
#include <string.h>

#include "checkd/curl_loop.h"
#include "checkd/docker_api.h"
#include "checkd/docker_stream.h"
#include "checkd/kinds.h"
#include "checkd/output.h"
#include "lib/duration.h"

enum {
	DOCKER_TIMEOUT_DEFAULT_S = 30,
	REPLY_MAX = 256 * 1024,		/* of JSON */
	TEXT_MAX = 4096,
	SAID_MAX = 1024,		/* of an engine's reasons */
	AGAIN_MS = 100,			/* a command may close its output and live on */
	RESULT_MAX = 16 * 1024 * 1024,
};

/* Three requests, one after the other. */
enum step { STEP_CREATE, STEP_START, STEP_INSPECT };

struct docker_run {
	struct check *c;
	struct docker_host host;
	enum step step;
	struct curl_job job;
	struct curl_slist *headers;
	struct buf url, request, reply;
	struct docker_stream stream;
	struct output output;
	char id[DOCKER_ID_MAX];		/* of the exec */
	uv_timer_t *again;
};

static void begin(struct docker_run *r, enum step step);

static void
run_free(struct docker_run *r)
{
	curl_job_release(&r->job);
	if (r->headers != NULL)
		curl.slist_free_all(r->headers);
	buf_release(&r->url);
	buf_release(&r->request);
	buf_release(&r->reply);
	output_release(&r->output);
	timer_free(r->again);
	free(r);
}

static void
finish(struct docker_run *r, enum check_status status, struct str text)
{
	struct check *c = r->c;

	c->runner.run = NULL;
	schedule_result(c, status, text);
	run_free(r);
	schedule_ended(c);
}

static void PRINTF(2, 3)
fail(struct docker_run *r, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	finish(r, CHECK_CRITICAL, str_from(text));
}

static void
on_late(struct check *c)
{
	int64_t ns = c->def->timeout > 0 ? c->def->timeout : DOCKER_TIMEOUT_DEFAULT_S * NS_PER_S;
	char after[DURATION_TEXT_MAX];

	duration_format(ns, after);
	fail(c->runner.run, "Timed out (%s) running check", after);
}

/* ---- what comes */

static void
put_output(void *arg, const void *p, size_t n)
{
	struct docker_run *r = arg;

	output_add(&r->output, p, n);
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct docker_run *r = arg;
	long status = 0;

	(void)curl.easy_getinfo(r->job.easy, CURLINFO_RESPONSE_CODE, &status);
	if (r->step == STEP_START && status == 200) {
		docker_stream_take(&r->stream, (const uint8_t *)p, size * n, put_output, r);
		return size * n;
	}
	return buf_add(&r->reply, p, size * n) < 0 ? 0 : size * n;
}

static void
on_again(uv_timer_t *t)
{
	begin(t->data, STEP_INSPECT);
}

/* Ask again soon, until the deadline. */
static void
ask_again(struct docker_run *r)
{
	if (r->again == NULL)
		r->again = timer_new(&r->c->cd->d->loop.uv, r);
	if (r->again == NULL || uv_timer_start(r->again, on_again, AGAIN_MS, 0) < 0)
		fail(r, "out of memory");
}

static void
ended(struct docker_run *r)
{
	struct buf text = BUF_INIT(RESULT_MAX);
	enum check_status status;
	int64_t code;
	int rc = docker_exit_code((struct str){ (const char *)r->reply.data, r->reply.len }, &code);

	if (rc == -EAGAIN) {
		ask_again(r);
		return;
	}
	if (rc < 0) {
		fail(r, "inspect exec response for container %.*s cannot be parsed", STR_ARG(r->c->def->docker_container_id));
		return;
	}
	status = code == 0 ? CHECK_PASSING : code == 1 ? CHECK_WARNING : CHECK_CRITICAL;
	rc = output_append_captured(&r->output, &text);
	finish(r, status, rc == 0 && text.len > 0 ? (struct str){ (char *)text.data, text.len } : STR(""));
	buf_release(&text);
}

/* What an engine's answer is called that is not the one hoped for. */
static void
refused(struct docker_run *r, long status)
{
	static const char *const verbs[] = { "create", "start", "inspect" };
	struct str container = r->c->def->docker_container_id;
	const char *verb = verbs[r->step];
	int said = (int)(r->reply.len < SAID_MAX ? r->reply.len : SAID_MAX);

	if (status == 404 && r->step == STEP_CREATE)
		fail(r, "create exec failed for unknown container %.*s", STR_ARG(container));
	else if (status == 404)
		fail(r, "%s exec failed for container %.*s: invalid exec id %s", verb, STR_ARG(container), r->id);
	else if (status == 409)
		fail(r, "%s exec failed since container %.*s is paused or stopped", verb, STR_ARG(container));
	else
		fail(r, "%s exec failed for container %.*s with status %ld: %.*s", verb, STR_ARG(container), status, said,
		    r->reply.data != NULL ? (const char *)r->reply.data : "");
}

static void
on_done(struct curl_job *j, CURLcode rc)
{
	static const char *const verbs[] = { "create", "start", "inspect" };
	static const long expected[] = { 201, 200, 200 };
	struct docker_run *r = j->owner;
	struct str container = r->c->def->docker_container_id;
	long status = 0;

	(void)curl.easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
	if (rc == CURLE_COULDNT_CONNECT && r->host.socket[0] != '\0') {
		fail(r, "%s exec failed for container %.*s: Cannot connect to the Docker daemon at unix://%s. Is the docker daemon running?",
		    verbs[r->step], STR_ARG(container), r->host.socket);
		return;
	}
	/* Engines have been seen to reset the connection behind a whole output: what was there counts. */
	if (rc != CURLE_OK && !(rc == CURLE_RECV_ERROR && r->step == STEP_START && status == 200)) {
		fail(r, "%s exec failed for container %.*s: %s", verbs[r->step], STR_ARG(container),
		    j->fault[0] != '\0' ? j->fault : curl.easy_strerror(rc));
		return;
	}
	if (status != expected[r->step]) {
		refused(r, status);
		return;
	}
	switch (r->step) {
	case STEP_CREATE:
		if (docker_exec_id((struct str){ (const char *)r->reply.data, r->reply.len }, r->id) < 0)
			fail(r, "create exec response for container %.*s cannot be parsed", STR_ARG(container));
		else
			begin(r, STEP_START);
		break;
	case STEP_START:
		begin(r, STEP_INSPECT);
		break;
	case STEP_INSPECT:
		ended(r);
		break;
	}
}

/* ---- what is sent */

/* The URL and the body of the step. */
static int
describe(struct docker_run *r)
{
	int rc = buf_adds(&r->url, r->host.base);

	switch (r->step) {
	case STEP_CREATE:
		if (rc == 0)
			rc = buf_adds(&r->url, "/containers/");
		if (rc == 0)
			rc = docker_path_add(r->c->def->docker_container_id, &r->url);
		if (rc == 0)
			rc = buf_adds(&r->url, "/exec");
		return rc < 0 ? rc : docker_exec_request(&r->c->def->args, &r->request);
	case STEP_START:
		if (rc == 0)
			rc = buf_addf(&r->url, "/exec/%s/start", r->id);
		return rc < 0 ? rc : buf_adds(&r->request, "{\"Detach\":false,\"Tty\":false}");
	case STEP_INSPECT:
		return rc < 0 ? rc : buf_addf(&r->url, "/exec/%s/json", r->id);
	}
	return rc;
}

static CURLcode
set_headers(struct docker_run *r)
{
	static const char *const lines[] = { "Content-Type: application/json", "Expect:" };

	if (r->headers != NULL)
		return curl.easy_setopt(r->job.easy, CURLOPT_HTTPHEADER, r->headers);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (curl_add_line(&r->headers, lines[i]) < 0)
			return CURLE_OUT_OF_MEMORY;
	return curl.easy_setopt(r->job.easy, CURLOPT_HTTPHEADER, r->headers);
}

static CURLcode
set_options(struct docker_run *r)
{
	CURL *e = r->job.easy;
	CURLcode rc = curl.easy_setopt(e, CURLOPT_URL, buf_cstr(&r->url));

	if (rc == CURLE_OK && r->host.socket[0] != '\0')
		rc = curl.easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, r->host.socket);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_PROXY, "");
	if (rc == CURLE_OK && r->request.len > 0) {
		rc = curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)r->request.len);
		if (rc == CURLE_OK)
			rc = curl.easy_setopt(e, CURLOPT_POSTFIELDS, r->request.data);
	}
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_CONNECTTIMEOUT, 24L * 3600);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	return rc != CURLE_OK ? rc : curl.easy_setopt(e, CURLOPT_WRITEDATA, r);
}

/* One request; the one before is over. */
static void
begin(struct docker_run *r, enum step step)
{
	const char *why = "out of memory";
	CURLcode rc = CURLE_OUT_OF_MEMORY;

	r->step = step;
	buf_clear(&r->url);
	buf_clear(&r->request);
	buf_clear(&r->reply);
	curl_job_release(&r->job);
	if (curl_job_init(&r->job, r->c->cd, on_done, r, &why) < 0) {
		fail(r, "%s", why);
		return;
	}
	if (describe(r) == 0)
		rc = set_options(r);
	if (rc == CURLE_OK)
		rc = set_headers(r);
	if (rc == CURLE_OK)
		rc = curl_job_start(&r->job);
	if (rc != CURLE_OK)
		fail(r, "%s", curl.easy_strerror(rc));
}

static void
docker_start(struct check *c)
{
	int64_t ms = c->def->timeout > 0 ? c->def->timeout / NS_PER_MS : DOCKER_TIMEOUT_DEFAULT_S * 1000;
	struct docker_run *r = calloc(1, sizeof(*r));
	char fault[DOCKER_FAULT_MAX];

	if (r == NULL) {
		schedule_done(c, CHECK_CRITICAL, STR("out of memory"));
		return;
	}
	r->c = c;
	r->url = (struct buf)BUF_INIT(TEXT_MAX);
	r->request = (struct buf)BUF_INIT(RESULT_MAX);
	r->reply = (struct buf)BUF_INIT(REPLY_MAX);
	output_init(&r->output, checkd_output_max(c));
	c->runner.run = r;
	if (docker_host_parse(getenv("DOCKER_HOST"), &r->host, fault) < 0) {
		fail(r, "%s", fault);
		return;
	}
	schedule_deadline(c, (uint64_t)ms, on_late);
	begin(r, STEP_CREATE);
}

/* The command in the container goes on; the engine has no way to end it. */
static void
docker_stop(struct check *c)
{
	if (c->runner.run != NULL)
		run_free(c->runner.run);
	c->runner.run = NULL;
}

const struct check_kind check_kind_docker = { "docker", true, docker_start, docker_stop };
