/* join.c - contacting addresses and their push/pulls. */
#include "gossipd/join.h"

#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 256, ERRORS_MAX = 64 * 1024, FOUND_MAX = 16 };

struct join {
	struct join *next;
	struct gossipd *g;
	struct pool *p;
	unsigned flags;
	bool asked;			/* by an operation: token is answered */
	struct rpc_token token;
	join_done *done;
	void *ctx;
	struct join_request *req;
	bool dropped, stop, resolving;
	size_t at, next_addr;		/* address in work */
	uint64_t contacted;
	unsigned nerrors;
	struct buf errors;		/* "\t* text\n" each */
	uint16_t port;
	char host[HOST_MAX];
	struct gossip_addr found[FOUND_MAX];	/* what the address in work leads to */
	size_t nfound, found_at;
	uv_getaddrinfo_t resolve;
	struct defer go;
};

int
join_split(struct str addr, uint16_t default_port, char *host, size_t hostlen, uint16_t *ret_port)
{
	const char *port = NULL, *first, *last, *slash;
	struct str h;
	char text[8];
	char *end;
	unsigned long n = default_port;

	slash = addr.len > 0 ? memchr(addr.p, '/', addr.len) : NULL;
	if (slash != NULL) {
		addr.len -= (size_t)(slash + 1 - addr.p);
		addr.p = slash + 1;
	}
	h = addr;
	first = addr.len > 0 ? memchr(addr.p, ':', addr.len) : NULL;
	last = addr.len > 0 ? memrchr(addr.p, ':', addr.len) : NULL;
	if (addr.len > 0 && addr.p[0] == '[') {
		const char *close = memchr(addr.p, ']', addr.len);

		if (close == NULL)
			return -EINVAL;
		h = (struct str){ addr.p + 1, (size_t)(close - addr.p - 1) };
		if (close + 1 < addr.p + addr.len) {
			if (close[1] != ':')
				return -EINVAL;
			port = close + 2;
		}
	} else if (first != NULL && first == last) {
		h.len = (size_t)(first - addr.p);
		port = first + 1;
	}
	if (port != NULL) {
		size_t len = (size_t)(addr.p + addr.len - port);

		if (len == 0 || len >= sizeof(text))
			return -EINVAL;
		memcpy(text, port, len);
		text[len] = '\0';
		n = strtoul(text, &end, 10);
		if (*end != '\0' || text[0] == '-' || text[0] == '+' || n == 0 || n > 65535)
			return -EINVAL;
	}
	if (h.len == 0 || h.len >= hostlen || memchr(h.p, '\0', h.len) != NULL)
		return -EINVAL;
	memcpy(host, h.p, h.len);
	host[h.len] = '\0';
	*ret_port = (uint16_t)n;
	return 0;
}

/* ---- end */

static void
join_free(struct join *j)
{
	loop_undefer(&j->g->d->loop, DEFER_WORK, &j->go);
	streams_forget(&j->p->streams, j);
	free(j->req);
	buf_release(&j->errors);
	free(j);
}

static void
unlink_join(struct join *j)
{
	struct join **at = &j->g->joins;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	if (j->asked)
		j->g->njoins--;
}

static void
answer(struct join *j, const char *errors)
{
	struct rpc_server *rpc = j->g->d->rpc;
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct mp_w w;
	struct buf *out;

	if (errors[0] != '\0') {
		rpc_reply_error(rpc, j->token, 500, "%s", errors);
		return;
	}
	out = rpc_reply_begin(rpc, j->token);
	if (out == NULL)
		return;
	w = mp_w_init(out);
	record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
	mp_w_uint(&w, j->contacted);
	rpc_reply_end(rpc, j->token, w.err == 0);
}

/* The lines as they go to the log: in one. */
static void
log_result(const struct join *j, const char *errors)
{
	const char *sub = "agent";

	/* Those who try quietly say themselves what came of it. */
	if ((j->flags & JOIN_QUIET) != 0)
		return;
	if (j->contacted > 0)
		log_info(sub, "(%s) joined: number_of_nodes=%llu", j->p->label, (unsigned long long)j->contacted);
	else
		log_warn(sub, "(%s) couldn't join: number_of_nodes=0 error=\"%s\"", j->p->label, errors);
}

static void
finish(struct join *j)
{
	struct buf all = BUF_INIT(ERRORS_MAX + 64);
	const char *text = "";

	if (j->contacted > 0 && !j->p->closed) {
		serf_joined(j->p->serf, clock_ns());
		pool_touch(j->p);
	}
	if (j->contacted == 0 && j->nerrors > 0) {
		if (buf_addf(&all, "%u error%s occurred:\n%.*s\n", j->nerrors, j->nerrors == 1 ? "" : "s", (int)j->errors.len,
		    (const char *)j->errors.data) == 0)
			text = buf_cstr(&all);
		if (text == NULL || text[0] == '\0')
			text = "out of memory";
	}
	log_result(j, text);
	unlink_join(j);
	if (j->asked)
		answer(j, text);
	else
		j->done(j->ctx, j->contacted, text);
	buf_release(&all);
	join_free(j);
}

/* ---- work */

static void
add_error(struct join *j, const char *what, const char *who, const char *why)
{
	if (buf_addf(&j->errors, "\t* Failed to %s %s: %s\n", what, who, why) == 0)
		j->nerrors++;
	log_debug(j->p->log_swim, "memberlist: Failed to %s %s: %s", what, who, why);
}

static void
go_on(struct join *j)
{
	loop_defer(&j->g->d->loop, DEFER_WORK, &j->go);
}

/* An address is told as it was given when it is literal, else as what it led to. */
static void
failed(struct join *j, const struct gossip_addr *a, const char *why)
{
	char text[SOCK_ADDR_TEXT_MAX];
	struct gossip_addr literal;
	struct str given = j->req->addrs.v[j->at];
	char who[HOST_MAX + 16];

	if (addr_parse(j->host, a->port, &literal) == 0 && given.len < sizeof(who)) {
		memcpy(who, given.p, given.len);
		who[given.len] = '\0';
		add_error(j, "join", who, why);
	} else {
		addr_ip_text(a, text);
		add_error(j, "join", text, why);
	}
}

static void
on_exchanged(void *ctx, int rc, const char *why)
{
	struct join *j = ctx;

	if (rc < 0)
		failed(j, &j->found[j->found_at], why);
	else
		j->contacted++;
	j->found_at++;
	go_on(j);
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct join *j = req->data;
	char why[HOST_MAX + 64];

	j->resolving = false;
	for (const struct addrinfo *i = res; status == 0 && i != NULL && j->nfound < FOUND_MAX; i = i->ai_next) {
		union sock_addr sa;

		if (i->ai_addrlen > sizeof(sa))
			continue;
		memcpy(&sa, i->ai_addr, i->ai_addrlen);
		if (addr_from_sock(&sa, &j->found[j->nfound]) == 0)
			j->nfound++;
	}
	uv_freeaddrinfo(res);
	if (j->nfound == 0) {
		snprintf(why, sizeof(why), "lookup %s: %s", j->host, status == 0 || status == UV_EAI_NONAME ? "no such host" :
		    uv_strerror(status));
		if (!j->dropped)
			add_error(j, "resolve", j->host, why);
	}
	/* What was let go of while the lookup went on: nobody is told. */
	if (j->dropped)
		join_free(j);
	else
		go_on(j);
}

/* Look the address in work up; negative when that cannot begin. */
static int
resolve(struct join *j)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct str given = j->req->addrs.v[j->at];
	char port[8], who[HOST_MAX];
	int rc;

	snprintf(who, sizeof(who), "%.*s", given.len < sizeof(who) ? (int)given.len : (int)sizeof(who) - 1, given.p != NULL ? given.p : "");
	if (join_split(given, j->p->addr.port, j->host, sizeof(j->host), &j->port) < 0) {
		add_error(j, "resolve", who, "not an address");
		return -EINVAL;
	}
	/* A literal address needs no thread. */
	if (addr_parse(j->host, j->port, &j->found[0]) == 0) {
		j->nfound = 1;
		return 0;
	}
	snprintf(port, sizeof(port), "%u", j->port);
	j->resolve.data = j;
	rc = uv_getaddrinfo(&j->g->d->loop.uv, &j->resolve, on_resolved, j->host, port, &hints);
	j->resolving = rc == 0;
	if (rc < 0)
		add_error(j, "resolve", j->host, uv_strerror(rc));
	return rc;
}

/* The next of what was found, or the next address; then the end. */
static void
step(struct defer *d)
{
	struct join *j = (struct join *)((char *)d - offsetof(struct join, go));
	int rc;

	while (!j->stop && ((j->flags & JOIN_FIRST) == 0 || j->contacted == 0)) {
		if (j->found_at < j->nfound) {
			rc = streams_exchange(&j->p->streams, &j->found[j->found_at], true, (j->flags & JOIN_OLD_EVENTS) != 0,
			    on_exchanged, j);
			if (rc == 0)
				return;
			failed(j, &j->found[j->found_at++], err_text(rc));
			continue;
		}
		if (j->next_addr == j->req->addrs.n)
			break;
		j->at = j->next_addr++;
		j->nfound = j->found_at = 0;
		/* One that cannot be begun with has been told, and is passed over. */
		if (resolve(j) == 0 && j->resolving)
			return;
	}
	finish(j);
}

/* ---- begin */

static int
begin(struct pool *p, const struct join_request *req, unsigned flags, struct join **ret)
{
	struct join *j;

	if (req->addrs.n > JOIN_ADDRS_MAX)
		return -ELIMIT;
	j = calloc(1, sizeof(*j));
	if (j == NULL)
		return -ENOMEM;
	j->req = record_dup(&rec_join_request, req);
	if (j->req == NULL) {
		free(j);
		return -ENOMEM;
	}
	j->g = p->g;
	j->p = p;
	j->flags = flags;
	j->go.cb = step;
	buf_init(&j->errors, ERRORS_MAX);
	j->next = p->g->joins;
	p->g->joins = j;
	go_on(j);
	*ret = j;
	return 0;
}

/* The addresses as a list of the log. */
static void
log_begin(const struct pool *p, const struct strs *addrs)
{
	struct buf b = BUF_INIT(LOG_LINE_MAX);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < addrs->n; i++)
		rc = buf_addf(&b, "%s%.*s", i > 0 ? " " : "", STR_ARG(addrs->v[i]));
	log_info("agent", "(%s) joining: %s_addresses=[%.*s]", p->label, p->wan ? "wan" : "lan", (int)b.len, b.len > 0 ? (const char *)b.data : "");
	buf_release(&b);
}

int
join_begin(struct pool *p, const struct strs *addrs, unsigned flags, join_done *done, void *ctx)
{
	struct join_request req = { .addrs = *addrs, .wan = p->wan };
	struct join *j;
	int rc = begin(p, &req, flags, &j);

	if (rc < 0)
		return rc;
	j->done = done;
	j->ctx = ctx;
	if ((flags & JOIN_QUIET) == 0)
		log_begin(p, addrs);
	return 0;
}

void
join_start(struct gossipd *g, struct rpc_token token, const struct join_request *req)
{
	struct pool *p = req->wan ? &g->wan : &g->lan;
	struct join *j;
	int rc = g->njoins < JOINS_MAX ? begin(p, req, 0, &j) : -ELIMIT;

	if (rc < 0) {
		rpc_reply_error(g->d->rpc, token, 500, rc == -ELIMIT ? "too many addresses to join, or joins at a time" : "out of memory");
		return;
	}
	log_begin(p, &req->addrs);
	j->asked = true;
	j->token = token;
	g->njoins++;
}

void
join_cancel(struct gossipd *g, struct rpc_token token)
{
	for (struct join *j = g->joins; j != NULL; j = j->next)
		if (j->asked && j->token.conn == token.conn && j->token.id == token.id)
			j->stop = true;
}

void
join_release(struct gossipd *g)
{
	struct join *j;

	while ((j = g->joins) != NULL) {
		unlink_join(j);
		j->dropped = true;
		/* A lookup that goes on frees it when it has let go. */
		if (j->resolving)
			(void)uv_cancel((uv_req_t *)&j->resolve);
		else
			join_free(j);
	}
}
