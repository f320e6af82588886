/*
 * rpc.c - ask a daemon one thing from a shell.
 *
 *	rpc SOCKDIR DAEMON OPERATION [OPTIONS-JSON [REQUEST-JSON]]
 *
 * Prints {"Meta": ..., "Reply": ...} and exits 0; {"Error": text} and 1 for
 * an error reply; exits 2 when it could not ask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/rpc.h"
#include "lib/sock.h"

enum { OUT_MAX = 1024 * 1024 * 1024, TIMEOUT_MS = 30000 };

/* Room for any request record. */
static union {
	struct query_options options;
	struct register_request reg;
	struct agent_register agent_reg;
	struct check_def check;
	struct txn_request txn;
	uint8_t bytes[4096];
} request;

static const struct op_info *
op_by_name(const char *name)
{
	const struct op_info *op;

	for (unsigned i = 0; (op = op_row(i)) != NULL; i++)
		if (strcmp(op->name, name) == 0)
			return op;
	return NULL;
}

static int
from_json(const struct record *rec, const char *text, void *obj, struct arena *a)
{
	char err[512] = "null";
	bool null;
	struct json_object *j = json_parse(text, strlen(text), &null, err, sizeof(err));
	int rc = j != NULL ? record_from_json(rec, j, obj, a, true, err, sizeof(err)) : -EINVAL;

	if (rc < 0)
		fprintf(stderr, "rpc: %s: %s\n", rec->name, err);
	json_object_put(j);
	return rc;
}

static int
print_values(const struct buf *b, const char *const *names)
{
	struct mp_r r = mp_r_init(b->data, b->len);
	struct buf out = BUF_INIT(OUT_MAX);
	int rc = 0;

	for (size_t i = 0; rc == 0 && names[i] != NULL; i++) {
		rc = buf_addf(&out, "%s\"%s\": ", i == 0 ? "{" : ", ", names[i]);
		if (rc == 0)
			rc = json_from_mp(&out, &r, NULL);
	}
	if (rc == 0)
		printf("%.*s}\n", (int)out.len, (const char *)out.data);
	else
		fprintf(stderr, "rpc: %s\n", err_text(rc));
	buf_release(&out);
	return rc;
}

static int
print_error(const struct buf *text)
{
	struct buf out = BUF_INIT(OUT_MAX);
	int rc = json_add_string(&out, (struct str){ (const char *)text->data, text->len });

	if (rc == 0)
		printf("{\"Error\": %.*s}\n", (int)out.len, (const char *)out.data);
	buf_release(&out);
	return rc;
}

static int
ask(int dir, const char *daemon, const struct op_info *op, const struct query_options *o)
{
	static const char *const reply[] = { "Meta", "Reply", NULL };
	struct buf body = BUF_INIT(OUT_MAX), err = BUF_INIT(OUT_MAX);
	int rc = rpc_call_sync(dir, daemon, op->number, o, op->request != NULL ? &request : NULL, TIMEOUT_MS, &body, &err);
	int code = 2;

	if (rc == 0 && print_values(&body, reply) == 0)
		code = 0;
	else if (rc == -EPROTO && print_error(&err) == 0)
		code = 1;
	else if (rc < 0)
		fprintf(stderr, "rpc: %s: %s\n", daemon, err_text(rc));
	buf_release(&body);
	buf_release(&err);
	return code;
}

int
main(int argc, char **argv)
{
	struct arena a = ARENA_INIT(OUT_MAX);
	struct query_options o = { .seq = 0 };
	const struct op_info *op = argc > 3 ? op_by_name(argv[3]) : NULL;
	int dir, code = 2;

	if (argc < 4 || argc > 6) {
		fprintf(stderr, "usage: rpc SOCKDIR DAEMON OPERATION [OPTIONS-JSON [REQUEST-JSON]]\n");
		return 2;
	}
	if (op == NULL || (op->request != NULL && op->request->size > sizeof(request))) {
		fprintf(stderr, "rpc: no operation \"%s\"\n", argv[3]);
		return 2;
	}
	dir = sock_dir_open(argv[1]);
	if (dir < 0)
		fprintf(stderr, "rpc: %s: %s\n", argv[1], err_text(dir));
	else if ((argc < 5 || from_json(&rec_query_options, argv[4], &o, &a) == 0) &&
	    (argc < 6 || op->request == NULL || from_json(op->request, argv[5], &request, &a) == 0))
		code = ask(dir, argv[2], op, &o);
	arena_release(&a);
	return code;
}
