/* query.c - /v1/query: prepared queries. */
#include <arpa/inet.h>

#include "httpd/body.h"
#include "httpd/respond.h"
#include "httpd/routes.h"
#include "httpd/upstream.h"

enum { SHOWN_MAX = 64 * 1024 * 1024 };

/* ---- changes */

/* /v1/query */
void
query_general(struct request *r)
{
	struct pq_apply req = { .verb = STR("create") };

	if (r->method == M_GET) {
		r->view.reply_flags = REPLY_META | REPLY_CONSISTENCY;
		upstream_read(r, OP_QUERY_LIST, NULL, render_json);
	} else if (body_record(r, &rec_prepared_query, &req.query, true)) {
		upstream_write(r, OP_QUERY_APPLY, &req, upstream_ok_id);
	}
}

/* /v1/query/ID; the ID is that of the path, whatever the body says. */
void
query_one(struct request *r)
{
	struct pq_apply req = { .verb = r->method == M_PUT ? STR("update") : STR("delete") };
	const struct pq_request q = { .id = r->rest };

	if (r->method == M_GET) {
		r->view.reply_flags = REPLY_META | REPLY_CONSISTENCY;
		upstream_read(r, OP_QUERY_GET, &q, render_json);
		return;
	}
	if (r->method == M_PUT && r->body.len > 0 && !body_record(r, &rec_prepared_query, &req.query, true))
		return;
	req.query.id = r->rest;
	upstream_write(r, OP_QUERY_APPLY, &req, upstream_ok_empty);
}

/* ---- what it finds */

/* Behind the payload's own pairs stands what Consul tells of every read. */
static int
render_with_meta(const struct view *v, struct str payload, struct reply *ret)
{
	static const char *const levels[] = { "leader", "consistent", "stale" };
	struct mp_r in = mp_r_init(payload.p, payload.len);
	struct buf out = BUF_INIT(SHOWN_MAX);
	struct mp_w w = mp_w_init(&out);
	uint32_t n = mp_r_map(&in);
	int rc;

	mp_w_map(&w, n + 6);
	for (uint32_t i = 0; i < 2 * n && in.err == 0; i++)
		mp_w_raw(&w, mp_r_raw(&in));
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, 0);
	mp_w_cstr(&w, "LastContact");
	mp_w_int(&w, ret->meta.last_contact_ms * 1000000);
	mp_w_cstr(&w, "KnownLeader");
	mp_w_bool(&w, ret->meta.known_leader);
	mp_w_cstr(&w, "ConsistencyLevel");
	mp_w_cstr(&w, v->consistency < 3 ? levels[v->consistency] : "");
	mp_w_cstr(&w, "NotModified");
	mp_w_bool(&w, false);
	mp_w_cstr(&w, "Backend");
	mp_w_uint(&w, 0);
	rc = in.err < 0 ? in.err : w.err;
	if (rc == 0)
		rc = reply_mp(v, (struct str){ (const char *)out.data, out.len }, ret);
	buf_release(&out);
	return rc;
}

/* The text form of an address, in the arena; empty when it is none. */
static struct str
ip_text(struct request *r, int family, const void *addr)
{
	char text[INET6_ADDRSTRLEN], *p = NULL;

	if (inet_ntop(family, addr, text, sizeof(text)) != NULL)
		p = arena_strdup(&r->arena, str_from(text));
	return str_from(p);
}

struct str
request_ip(struct request *r)
{
	const union MHD_ConnectionInfo *ci = MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = ci != NULL ? ci->client_addr : NULL;
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (sa != NULL && sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		return ip_text(r, AF_INET, &in.sin_addr);
	}
	if (sa == NULL || sa->sa_family != AF_INET6)
		return STR_NONE;
	memcpy(&in6, sa, sizeof(in6));
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		return ip_text(r, AF_INET, &in6.sin6_addr.s6_addr[12]);
	return ip_text(r, AF_INET6, &in6.sin6_addr);
}

/* Who asks: the first address that the proxies before us name, else the peer's. */
static struct str
source_ip(struct request *r)
{
	const char *xff = MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, "X-Forwarded-For");
	unsigned char addr[sizeof(struct in6_addr)];
	char first[INET6_ADDRSTRLEN];
	size_t n;

	if (xff == NULL)
		return request_ip(r);
	xff += strspn(xff, " \t");
	n = strcspn(xff, ",");
	while (n > 0 && (xff[n - 1] == ' ' || xff[n - 1] == '\t'))
		n--;
	if (n >= sizeof(first))
		return request_ip(r);
	memcpy(first, xff, n);
	first[n] = 0;
	if (inet_pton(AF_INET, first, addr) == 1)
		return ip_text(r, AF_INET, addr);
	return inet_pton(AF_INET6, first, addr) == 1 ? ip_text(r, AF_INET6, addr) : request_ip(r);
}

/* As strconv.Atoi; the complaint is the client's answer. */
static bool
take_limit(struct request *r, int64_t *ret)
{
	const struct str *s = param_get(&r->params, "limit");
	struct str digits;
	uint64_t n = 0;
	int rc;

	*ret = 0;
	if (s == NULL || s->len == 0)
		return true;
	digits = s->p[0] == '-' || s->p[0] == '+' ? (struct str){ s->p + 1, s->len - 1 } : *s;
	rc = digits.len > 0 && digits.p[0] >= '0' && digits.p[0] <= '9' ? parse_u64(digits, &n) : -EINVAL;
	if (rc == 0 && n > INT64_MAX)
		rc = -ERANGE;
	if (rc < 0) {
		const char *quoted = go_quote(*s, &r->arena);

		respond_text(r, 500, "Bad limit: strconv.Atoi: parsing %s: %s", quoted != NULL ? quoted : "",
		    rc == -ERANGE ? "value out of range" : "invalid syntax");
		return false;
	}
	*ret = s->p[0] == '-' ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool
take_connect(struct request *r, bool *ret)
{
	const struct str *s = param_get(&r->params, "connect");
	const char *quoted;

	*ret = false;
	if (s == NULL || s->len == 0 || parse_bool(*s, ret) == 0)
		return true;
	quoted = go_quote(*s, &r->arena);
	respond_text(r, 500, "Error parsing 'connect' value: strconv.ParseBool: parsing %s: invalid syntax", quoted != NULL ? quoted : "");
	return false;
}

/* /v1/query/ID-or-name/execute and .../explain */
void
query_run(struct request *r)
{
	const struct str *near = param_get(&r->params, "near");
	struct pq_request q = { .id = r->rest, .agent_node = str_from(r->h->cfg.node_name) };

	if (!take_limit(r, &q.limit) || !take_connect(r, &q.connect))
		return;
	if (near != NULL)
		q.near = str_eqs(*near, "_agent") ? q.agent_node : *near;
	/* The query itself may say near=_ip, which is not known here. */
	q.source_ip = source_ip(r);
	r->view.reply_flags = REPLY_META | REPLY_CONSISTENCY;
	upstream_read(r, r->route->op, &q, render_with_meta);
}
