/* rexec_job.c - one job of remote execution: fetched, acknowledged, run, and told about. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkd/process.h"
#include "checkd/rexec.h"

enum { EXIT_FAILED = 255, EXIT_SIGNALLED = 128, KEY_MAX = 2048 };

/*
 * What is written goes one by one: the ack, then pieces of output and signs
 * of life while the program runs, then its exit code. When a write fails,
 * because whoever asked has taken the session away, the program is left to
 * its own end and nothing more is told of it.
 */
struct rexec_job {
	struct rexec_job *next;
	struct rexec_jobs *all;
	struct arena arena;
	const char *base, *session;	/* "PREFIX/SESSION" */
	struct rexec_spec spec;
	struct process *process;
	uv_timer_t *timer;		/* a piece, or a sign of life, is due */
	struct buf held;		/* output that waits to be written */
	uint64_t held_since_ms, told_ms, told_bytes;
	size_t writing;			/* bytes of held on their way */
	unsigned piece;
	uint64_t seq;			/* of the write under way; 0: none */
	bool consistent;		/* fetched so */
	bool ended, silent, leaving;	/* its program; nothing more is told; the exit code is on its way */
	int exit_code;
	char script[PATH_MAX];		/* a file of ours; "" none */
};

static void fetch(struct rexec_job *j);
static void go_on(struct rexec_job *j);

static void
job_free(struct rexec_job *j)
{
	struct rexec_job **at = &j->all->first;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	j->all->n--;
	process_abandon(j->process);
	timer_free(j->timer);
	buf_release(&j->held);
	if (j->script[0] != '\0' && unlink(j->script) < 0)
		log_warn("agent", "cannot remove a remote exec script: path=%s error=\"%s\"", j->script, err_text(-errno));
	arena_release(&j->arena);
	free(j);
}

/* ---- writing below our name */

static int
write_key(struct rexec_job *j, const char *suffix, struct str value, rpc_answer_cb *cb)
{
	struct query_options o = { .token = tokens_agent(&j->all->cd->tokens) };
	char key[KEY_MAX];
	struct kv_op q = { .verb = STR("lock"), .entry = { .value = value, .session = str_from(j->session) } };
	int n = snprintf(key, sizeof(key), "%s/%s/%s", j->base, checkd_node(j->all->cd), suffix);
	int rc = n < 0 || (size_t)n >= sizeof(key) ? -ELIMIT : write_stamps_take(&j->all->stamps, &o);

	if (rc < 0)
		return rc;
	q.entry.key = str_from(key);
	if (rpc_call_record(j->all->cd->raftd, OP_KV_APPLY, &o, &q, RPC_RETRY, REXEC_CALL_MS, cb, j) == 0) {
		write_stamps_done(&j->all->stamps, o.seq);
		return -EBUSY;
	}
	j->seq = o.seq;
	return 0;
}

/* Whether the answer to a write says that the key is ours. */
static bool
was_written(struct rexec_job *j, const struct rpc_answer *a)
{
	struct rpc_error e = { .text = str_from(err_text(a->rc)) };
	struct query_meta meta;
	struct str payload;
	struct mp_r r;

	write_stamps_done(&j->all->stamps, j->seq);
	j->seq = 0;
	if (a->rc == 0 && op_reply_decode(a->body, a->len, &meta, &payload) == 0) {
		r = mp_r_init(payload.p, payload.len);
		if (mp_r_bool(&r))
			return true;
		e.text = STR("the key is locked by another session");
	} else if (a->rc == -EPROTO) {
		rpc_error_decode(a, &e);
	}
	log_err("agent", "failed to write for a remote exec job: session=%s error=\"%.*s\"", j->session, STR_ARG(e.text));
	return false;
}

/* ---- the end */

static void
on_left(void *arg, const struct rpc_answer *a)
{
	struct rexec_job *j = arg;

	(void)was_written(j, a);
	j->leaving = false;
	j->silent = true;
	go_on(j);
}

/* The last word. */
static void
leave(struct rexec_job *j, int code)
{
	char text[16];

	(void)uv_timer_stop(j->timer);
	(void)snprintf(text, sizeof(text), "%d", code);
	j->leaving = write_key(j, "exit", str_from(text), on_left) == 0;
	if (!j->leaving) {
		j->silent = true;
		go_on(j);
	}
}

/* Whoever asked does not listen any more. */
static void
fall_silent(struct rexec_job *j)
{
	struct process *p = j->process;

	buf_release(&j->held);
	leave(j, EXIT_FAILED);
	if (p != NULL)
		process_resume(p);
}

/* ---- output and signs of life */

static void
on_told(void *arg, const struct rpc_answer *a)
{
	struct rexec_job *j = arg;

	if (!was_written(j, a)) {
		fall_silent(j);
		return;
	}
	buf_consume(&j->held, j->writing);
	j->writing = 0;
	j->held_since_ms = j->told_ms = clock_ms();
	if (j->process != NULL && j->held.len < REXEC_HELD_MAX / 4)
		process_resume(j->process);
	go_on(j);
}

static void
tell(struct rexec_job *j, size_t n)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "out/%05x", j->piece++);
	j->writing = n;
	j->told_bytes += n;
	if (write_key(j, name, (struct str){ (char *)j->held.data, n }, on_told) < 0)
		fall_silent(j);
}

static void
on_due(uv_timer_t *t)
{
	go_on(t->data);
}

static void
wait_until(struct rexec_job *j, uint64_t due_ms, uint64_t now_ms)
{
	(void)uv_timer_start(j->timer, on_due, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* Write what is to be written next, if nothing is on its way. */
static void
go_on(struct rexec_job *j)
{
	uint64_t now = clock_ms();

	if (j->silent && j->ended) {
		job_free(j);
		return;
	}
	if (j->silent || j->leaving || j->seq != 0)
		return;
	if (j->held.len >= REXEC_PIECE)
		tell(j, REXEC_PIECE);
	else if (j->held.len > 0 && (j->ended || now - j->held_since_ms >= REXEC_PIECE_MS))
		tell(j, j->held.len);
	else if (j->ended)
		leave(j, j->exit_code);
	else if (now - j->told_ms >= j->spec.wait_ms)
		tell(j, 0);
	else if (j->held.len > 0)
		wait_until(j, j->held_since_ms + REXEC_PIECE_MS, now);
	else
		wait_until(j, j->told_ms + j->spec.wait_ms, now);
}

/* ---- the program */

static void
on_output(void *arg, const char *p, size_t n)
{
	struct rexec_job *j = arg;
	bool first = j->held.len == 0;

	if (j->silent || j->leaving || j->told_bytes + j->held.len + n > REXEC_OUTPUT_MAX)
		return;
	if (buf_add(&j->held, p, n) < 0) {
		log_warn("agent", "output of a remote exec job is lost: session=%s bytes=%zu", j->session, n);
		return;
	}
	if (j->held.len > REXEC_HELD_MAX / 2)
		process_pause(j->process);
	if (first)
		j->held_since_ms = clock_ms();
	go_on(j);
}

static void
on_ended(void *arg, int status)
{
	struct rexec_job *j = arg;

	j->process = NULL;
	j->ended = true;
	j->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNALLED + WTERMSIG(status);
	log_debug("agent", "a remote exec job has ended: session=%s code=%d", j->session, j->exit_code);
	go_on(j);
}

/* The script into a file that only we can read. */
static int
spill(struct rexec_job *j)
{
	const char *dir = getenv("TMPDIR");
	size_t done = 0;
	int fd, rc = 0;

	if (snprintf(j->script, sizeof(j->script), "%s/rexec-XXXXXX", dir != NULL && dir[0] != '\0' ? dir : "/tmp") >= (int)sizeof(j->script))
		rc = -ENAMETOOLONG;
	fd = rc == 0 ? mkostemp(j->script, O_CLOEXEC) : -1;
	if (fd < 0) {
		rc = rc < 0 ? rc : -errno;
		j->script[0] = '\0';
		return rc;
	}
	while (rc == 0 && done < j->spec.script.len) {
		ssize_t n = write(fd, j->spec.script.p + done, j->spec.script.len - done);

		if (n < 0)
			rc = -errno;
		else
			done += (size_t)n;
	}
	if (rc == 0 && fchmod(fd, 0700) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int
run(struct rexec_job *j)
{
	const struct process_use use = { on_output, NULL, on_ended, j };
	const char *shell = getenv("SHELL");
	struct str line[] = { str_from(shell != NULL && shell[0] != '\0' ? shell : "/bin/sh"), STR("-c"), j->spec.command };
	struct strs args = j->spec.args.n > 0 ? j->spec.args : (struct strs){ line, ARRAY_LEN(line) };
	int rc = 0;

	if (j->spec.script.len > 0) {
		rc = spill(j);
		line[2] = str_from(j->script);
	}
	return rc < 0 ? rc : process_start(j->all->cd->processes, &args, NULL, &use, &j->process);
}

static void
on_acked(void *arg, const struct rpc_answer *a)
{
	struct rexec_job *j = arg;
	int rc;

	if (!was_written(j, a)) {
		job_free(j);
		return;
	}
	log_info("agent", "remote exec: session=%s script=\"%.200s\"", j->session,
	    j->spec.script.len > 0 ? "(a file)" : j->spec.args.n > 0 ? j->spec.args.v[0].p : j->spec.command.p);
	j->told_ms = clock_ms();
	rc = run(j);
	if (rc == 0) {
		go_on(j);
		return;
	}
	log_err("agent", "failed to start a remote exec job: session=%s error=\"%s\"", j->session, err_text(rc));
	j->ended = true;
	j->exit_code = EXIT_FAILED;
	go_on(j);
}

/* ---- fetching */

static int
take_spec(struct rexec_job *j, const struct rpc_answer *a)
{
	struct arena arena = ARENA_INIT(64 * KiB);
	struct query_meta meta;
	struct kv_entry e;
	struct str payload;
	struct mp_r r;
	int rc = op_reply_decode(a->body, a->len, &meta, &payload);

	if (rc < 0)
		return rc;
	r = mp_r_init(payload.p, payload.len);
	rc = mp_r_array(&r) == 0 ? -ENOENT : record_decode(&rec_kv_entry, &r, &e, &arena);
	if (rc == 0)
		rc = rexec_spec_parse(e.value, &j->arena, &j->spec);
	arena_release(&arena);
	return rc;
}

static void
on_fetched(void *arg, const struct rpc_answer *a)
{
	struct rexec_job *j = arg;
	struct rpc_error e = { .text = STR_NONE };
	int rc = a->rc < 0 ? a->rc : take_spec(j, a);

	/* A server that lags behind may not have it yet: ask one that cannot. */
	if (rc == -ENOENT && !j->consistent) {
		j->consistent = true;
		fetch(j);
		return;
	}
	if (rc == 0)
		rc = write_key(j, "ack", STR(""), on_acked);
	if (rc == 0)
		return;
	e.text = str_from(rc == -ENOENT ? "there is no such job" : err_text(rc));
	if (rc == -EPROTO)
		rpc_error_decode(a, &e);
	log_err("agent", "failed to get remote exec job: session=%s error=\"%.*s\"", j->session, STR_ARG(e.text));
	job_free(j);
}

static void
fetch(struct rexec_job *j)
{
	const struct query_options o = { .token = tokens_agent(&j->all->cd->tokens),
		.consistency = j->consistent ? CONSISTENCY_CONSISTENT : CONSISTENCY_STALE };
	struct kv_query q = { .key = str_from(arena_printf(&j->arena, "%s/job", j->base)) };

	if (q.key.p != NULL && rpc_call_record(j->all->cd->raftd, OP_KV_GET, &o, &q, RPC_RETRY, REXEC_CALL_MS, on_fetched, j) != 0)
		return;
	log_err("agent", "failed to get remote exec job: session=%s error=\"%s\"", j->session, err_text(-ENOMEM));
	job_free(j);
}

void
rexec_job_start(struct rexec_jobs *all, const struct rexec_event *e)
{
	struct rexec_job *j = all->n < REXEC_JOBS_MAX ? calloc(1, sizeof(*j)) : NULL;

	if (j == NULL) {
		log_err("agent", "a remote exec job is refused, too many run: session=%.*s jobs=%zu", STR_ARG(e->session), all->n);
		return;
	}
	arena_init(&j->arena, 4 * REXEC_JOB_MAX);
	buf_init(&j->held, REXEC_HELD_MAX);
	j->all = all;
	j->next = all->first;
	all->first = j;
	all->n++;
	j->timer = timer_new(&all->cd->d->loop.uv, j);
	j->session = arena_strdup(&j->arena, e->session);
	j->base = arena_printf(&j->arena, "%.*s/%.*s", STR_ARG(e->prefix), STR_ARG(e->session));
	if (j->timer == NULL || j->session == NULL || j->base == NULL) {
		log_err("agent", "a remote exec job is refused: error=\"%s\"", err_text(-ENOMEM));
		job_free(j);
		return;
	}
	fetch(j);
}

void
rexec_jobs_release(struct rexec_jobs *all)
{
	while (all->first != NULL)
		job_free(all->first);
}
