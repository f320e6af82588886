/* protocols.c - prints doc/protocols.md from the operation table and the record tables. */
#include <stdio.h>

#include "lib/rpc.h"

static const char *
type_text(const struct field *f)
{
	static const char *const names[] = { "bool", "int", "uint", "double", "str", "bin", "int, ns", "[str]", "{str: str}", "",
		"", "", "any" };

	return names[f->type];
}

static void
print_type(const struct field *f)
{
	static const char *const forms[] = { [F_RECORD] = "%s", [F_RECORDS] = "[%s]", [F_RECMAP] = "{str: %s}" };

	if (f->sub == NULL || f->type == F_RAW)
		printf("%s", (f->flags & FF_DURSTR) != 0 ? "str, a duration" : type_text(f));
	else
		printf(forms[f->type], f->sub->name[0] != 0 ? f->sub->name : "[str]");
}

static void
print_record(const struct record *rec)
{
	printf("### %s\n\n| field | type | |\n|---|---|---|\n", rec->name);
	for (size_t i = 0; i < rec->nfields; i++) {
		const struct field *f = &rec->fields[i];

		if ((f->flags & FF_ALIAS) != 0)
			continue;
		printf("| %s | ", f->name);
		print_type(f);
		printf(" | %s%s%s |\n", (f->flags & FF_OMITEMPTY) != 0 ? "left out when empty" : "",
		    (f->flags & FF_NULL) != 0 ? "nil when empty" : "", (f->flags & FF_INTERNAL) != 0 ? ", internal" : "");
	}
	printf("\n");
}

static void
print_operations(void)
{
	static const char *const access[] = { "local", "read", "write", "act", "stream", "leader", "peer" };

	printf("| number | name | served by | access | largest request | request | reply | |\n|---|---|---|---|---|---|---|---|\n");
	for (unsigned i = 0; op_row(i) != NULL; i++) {
		const struct op_info *op = op_row(i);

		printf("| %u | %s | %s | %s | %u KiB | %s | `%s` | %s |\n", op->number, op->name, op_server_name(op->server),
		    access[op->access], op->body_max / KiB, op->request != NULL ? op->request->name : "-", op->reply, op->text);
	}
	printf("\n");
}

int
main(void)
{
	static const struct record *const shared[] = { &rec_query_options, &rec_query_meta, &rec_rpc_error };
	static const struct record *const nested[] = { &rec_kv_entry, &rec_session, &rec_service_check_ref, &rec_node,
		&rec_node_service, &rec_service_node, &rec_service_address, &rec_weights, &rec_health_check, &rec_health_entry,
		&rec_txn_op, &rec_txn_kv, &rec_txn_node, &rec_txn_service, &rec_txn_check, &rec_service_def, &rec_agent_service,
		&rec_member, &rec_log_line, &rec_metric, &rec_metric_bucket };

	printf("# Messages between daemons\n\n"
	    "Made from lib/ops.def and lib/records.c by doc/protocols; `./dev lint` fails when it is out of date.\n\n"
	    "A frame is a header of %d bytes in network order (u32 body length, u8 kind, u8 flags, u16 operation, u32 request\n"
	    "id), then a body of msgpack. Kinds: 1 request, 2 reply, 3 event, 4 cancel, 5 credit. Flag 1: the body is an Error.\n"
	    "A request's body is QueryOptions and the request record, a reply's is QueryMeta and the payload. Unknown fields are\n"
	    "skipped, absent ones are zero. lib/rpc.h tells the rest.\n\n## Operations\n\n", FRAME_HEADER);
	print_operations();
	printf("## Records around every message\n\n");
	for (size_t i = 0; i < ARRAY_LEN(shared); i++)
		print_record(shared[i]);
	printf("## Request records\n\n");
	for (unsigned i = 0; op_row(i) != NULL; i++) {
		const struct record *rec = op_row(i)->request;
		bool seen = rec == NULL;

		for (unsigned j = 0; j < i && !seen; j++)
			seen = op_row(j)->request == rec;
		if (!seen)
			print_record(rec);
	}
	printf("## Records inside of them, and of replies\n\n");
	for (size_t i = 0; i < ARRAY_LEN(nested); i++)
		print_record(nested[i]);
	return 0;
}
