/* ops.c - the expanded table, and the two halves of a body. */
#include "lib/ops.h"

static const struct op_info table[] = {
#define OP(number, ident, name, server, access, body, request, reply, text) \
	{ number, name, OP_SERVER_##server, OP_ACCESS_##access, body, request, reply, text },
#include "lib/ops.def"
#undef OP
};

/* Position + 1 of each number below the limit, made once. */
enum { OP_NUMBER_MAX = 1024 };

const struct op_info *
op_info(uint16_t number)
{
	static uint8_t at[OP_NUMBER_MAX];

	if (at[table[0].number] == 0)
		for (size_t i = 0; i < ARRAY_LEN(table); i++)
			at[table[i].number] = (uint8_t)(i + 1);
	if (number >= OP_NUMBER_MAX || at[number] == 0)
		return NULL;
	return &table[at[number] - 1];
}

const struct op_info *
op_row(unsigned i)
{
	return i < ARRAY_LEN(table) ? &table[i] : NULL;
}

const char *
op_server_name(enum op_server s)
{
	static const char *const names[] = { "any", "raftd", "gossipd", "httpd", "dnsd", "checkd", "consulctl" };

	return names[s];
}

int
op_request_encode(uint16_t number, const struct query_options *o, const void *request, struct buf *out)
{
	const struct op_info *op = op_info(number);
	struct mp_w w = mp_w_init(out);

	if (op == NULL)
		return -EINVAL;
	if (o != NULL)
		record_encode(&rec_query_options, o, RECORD_WHOLE, &w);
	else
		mp_w_map(&w, 0);
	if (op->request != NULL && request != NULL)
		record_encode(op->request, request, RECORD_WHOLE, &w);
	return w.err;
}

int
op_request_decode(const struct op_info *op, const void *body, size_t len, struct query_options *o, void *request,
    struct arena *a)
{
	struct mp_r r = mp_r_init(body, len);
	int rc = record_decode(&rec_query_options, &r, o, a);

	if (rc == 0 && op->request != NULL)
		rc = record_decode(op->request, &r, request, a);
	if (rc < 0)
		return rc;
	return mp_r_done(&r) ? 0 : -EDECODE;
}

int
op_reply_decode(const void *body, size_t len, struct query_meta *ret_meta, struct str *ret_payload)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r r = mp_r_init(body, len);
	struct query_meta m;
	int rc = record_decode(&rec_query_meta, &r, &m, &none);

	if (rc < 0)
		return rc;
	*ret_meta = m;
	*ret_payload = (struct str){ (const char *)r.p, (size_t)(r.end - r.p) };
	return 0;
}
