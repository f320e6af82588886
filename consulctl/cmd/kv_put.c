/*
 * kv_put.c - consulctl kv put: writing a key, with a check or a lock.
 */
#include "consulctl/commands.h"
#include "consulctl/cmd/input.h"
#include "consulctl/cmd/kv.h"
#include "lib/json.h"

static const struct option options[] = {
	{ "acquire", OPT_BOOL, NULL, NULL, "Lock the key for the session given by -session; the key is created when it does not exist." },
	{ "base64", OPT_BOOL, NULL, NULL, "DATA is in base64." },
	{ "cas", OPT_BOOL, NULL, NULL, "Write only if the key's ModifyIndex is that of -modify-index." },
	{ "flags", OPT_U64, "number", NULL, "A number to keep with the key, for the use of those who read it." },
	{ "modify-index", OPT_U64, "number", NULL, "The ModifyIndex that -cas compares." },
	{ "release", OPT_BOOL, NULL, NULL, "Unlock the key, which the session given by -session holds." },
	{ "session", OPT_STR, "id", NULL, "The session of -acquire and -release." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

struct put {
	const char *key;
	struct buf data;
	bool cas, acquire, release;
};

static int
decode(struct buf *data)
{
	struct buf raw = BUF_INIT(KV_VALUE_MAX);
	int rc = base64_decode((struct str){ (const char *)data->data, data->len }, &raw);

	if (rc < 0) {
		buf_release(&raw);
		return rc;
	}
	buf_release(data);
	*data = raw;
	return 0;
}

/* The key and the data, as the arguments name them. */
static int
read_data(const struct options *o, struct put *p)
{
	struct buf err = BUF_INIT(64 * KiB);
	int rc = 0;

	if (o->nargs < 1) {
		fputs("Error! Missing KEY argument\n", stderr);
		return -EINVAL;
	}
	if (o->nargs > 2) {
		fprintf(stderr, "Error! Too many arguments (expected 1 or 2, got %d)\n", o->nargs);
		return -EINVAL;
	}
	p->key = kv_key(o->args[0]);
	if (*p->key == '\0') {
		fputs("Error! Missing KEY argument\n", stderr);
		return -EINVAL;
	}
	if (o->nargs == 2)
		rc = input_argument(o->args[1], &p->data, &err);
	if (rc < 0) {
		const char *text = err.len > 0 ? buf_cstr(&err) : NULL;

		fprintf(stderr, "Error! %s\n", text != NULL ? text : err_text(rc));
	}
	buf_release(&err);
	if (rc == 0 && options_bool(o, "base64")) {
		rc = decode(&p->data);
		if (rc < 0)
			fputs("Error! Cannot base 64 decode data: illegal base64 data\n", stderr);
	}
	return rc;
}

static int
check_flags(const struct options *o, struct put *p)
{
	p->cas = options_bool(o, "cas");
	p->acquire = options_bool(o, "acquire");
	p->release = options_bool(o, "release");
	if ((p->acquire || p->release) && *options_str(o, "session") == '\0') {
		fputs("Error! Missing -session (required with -acquire and -release)\n", stderr);
		return -EINVAL;
	}
	if (p->cas && options_u64(o, "modify-index") == 0) {
		fputs("Must specify -modify-index with -cas!\n", stderr);
		return -EINVAL;
	}
	return 0;
}

static void
build(struct request *r, const struct options *o, const struct put *p)
{
	request_init(r, "PUT", "/v1/kv/", p->key);
	r->ex.body = (struct str){ p->data.data != NULL ? (const char *)p->data.data : "", p->data.len };
	if (options_u64(o, "flags") != 0)
		request_param_u64(r, "flags", options_u64(o, "flags"));
	if (p->cas)
		request_param_u64(r, "cas", options_u64(o, "modify-index"));
	else if (p->acquire)
		request_param(r, "acquire", options_str(o, "session"));
	else if (p->release)
		request_param(r, "release", options_str(o, "session"));
}

/* What happened, in Consul's words. */
static int
report(const struct put *p, int rc, const struct request *r)
{
	if (rc < 0) {
		if (p->cas)
			fprintf(stderr, "Error! Did not write to %s: %s\n", p->key, r->error);
		else
			fprintf(stderr, "Error! Failed writing data: %s\n", r->error);
		return 1;
	}
	if (!request_true(r)) {
		if (p->cas)
			fprintf(stderr, "Error! Did not write to %s: CAS failed\n", p->key);
		else if (p->acquire)
			fputs("Error! Did not acquire lock\n", stderr);
		else if (p->release)
			fputs("Error! Did not release lock\n", stderr);
		else
			fprintf(stderr, "Error! Did not write to %s\n", p->key);
		return 1;
	}
	if (!p->cas && (p->acquire || p->release))
		printf("Success! Lock %s on: %s\n", p->acquire ? "acquired" : "released", p->key);
	else
		printf("Success! Data written to: %s\n", p->key);
	return 0;
}

static int
run(const struct command *cmd, const struct options *o)
{
	struct put p = { .data = BUF_INIT(KV_VALUE_MAX) };
	struct request r;
	struct client c;
	int code = 1;

	(void)cmd;
	if (read_data(o, &p) == 0 && check_flags(o, &p) == 0 && client_open(&c, o) == 0) {
		build(&r, o, &p);
		code = report(&p, client_call(&c, &r, false), &r);
		request_release(&r);
		client_close(&c);
	}
	buf_release(&p.data);
	return code;
}

const struct command command_kv_put = {
	.name = "kv put",
	.summary = "Sets or updates data in the KV store",
	.args = "[options] KEY [DATA]",
	.about = "Writes DATA, any bytes, to the key. DATA may be the text itself, @FILE for what a file holds, or - for the "
	    "standard input; without it the value is empty.\n\n"
	    "With -cas the write is done only if the key has not changed since it was read: the exit code is 1 if it has.",
	.options = options,
	.common = COMMON_CLIENT | COMMON_SERVER,
	.run = run,
};
