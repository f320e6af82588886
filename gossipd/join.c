/* join.c - contacting the addresses of a gossip.join request. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "gossipd/join.h"
#include "lib/sock.h"

enum { HOST_MAX = 256, ERRORS_MAX = 64 * 1024 };

/* A socket with its connect request, which libuv reports on once more while it closes. */
struct dial {
	uv_tcp_t tcp;
	uv_connect_t connect;
};

struct join {
	struct join *next;
	struct gossipd *g;
	struct rpc_token token;
	struct join_request *req;
	bool cancelled, resolving;
	size_t at;			/* address in work */
	uint64_t contacted;
	unsigned nerrors;
	struct buf errors;		/* "\t* text\n" each */
	uint16_t port;
	union sock_addr peer;
	uv_getaddrinfo_t resolve;
	struct dial *dial;		/* freed by its close callback */
	uv_timer_t timer;
};

static void join_next(struct join *j);

int
join_split(struct str addr, uint16_t default_port, char *host, size_t hostlen, uint16_t *ret_port)
{
	const char *port = NULL, *first, *last;
	struct str h = addr;
	char text[8];
	char *end;
	unsigned long n = default_port;

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

/* Whether an address is one of this machine's. */
static bool
is_local(const union sock_addr *a)
{
	uv_interface_address_t *v;
	bool found = false;
	int n;

	if (a->sa.sa_family == AF_INET && (ntohl(a->in.sin_addr.s_addr) >> 24) == 127)
		return true;
	if (uv_interface_addresses(&v, &n) < 0)
		return false;
	for (int i = 0; i < n && !found; i++) {
		if (v[i].address.address4.sin_family != a->sa.sa_family)
			continue;
		found = a->sa.sa_family == AF_INET ?
		    v[i].address.address4.sin_addr.s_addr == a->in.sin_addr.s_addr :
		    memcmp(&v[i].address.address6.sin6_addr, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
	}
	uv_free_interface_addresses(v, n);
	return found;
}

static bool
same_ip(const union sock_addr *a, const char *ip)
{
	union sock_addr b;

	if (sock_addr_parse(ip, 0, &b) < 0 || b.sa.sa_family != a->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b.in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b.in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

/* Whether the address in work leads to our own port of that pool. */
static bool
is_self(const struct join *j)
{
	struct json_object *slice = j->g->started_with;
	const struct pool *p = j->req->wan ? &j->g->wan : &j->g->lan;
	const char *bound = cfg_str(slice, j->req->wan ? "serf_wan" : "serf_lan", cfg_str(slice, "bind_addr", "0.0.0.0"));

	if (j->port != p->self.port)
		return false;
	if (strcmp(bound, "0.0.0.0") == 0 || strcmp(bound, "::") == 0)
		return is_local(&j->peer);
	return same_ip(&j->peer, bound);
}

static void
add_error(struct join *j, const char *what, const char *why)
{
	char peer[SOCK_ADDR_TEXT_MAX];
	int rc;

	if (what != NULL) {
		rc = buf_addf(&j->errors, "\t* %s: %s\n", what, why);
	} else {
		sock_addr_format(&j->peer, peer);
		rc = buf_addf(&j->errors, "\t* Failed to join %.*s: %s\n", STR_ARG(j->req->addrs.v[j->at]), why);
	}
	if (rc == 0)
		j->nerrors++;
}

static void
timer_closed(uv_handle_t *h)
{
	struct join *j = h->data;

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
	j->g->njoins--;
}

static void
finish(struct join *j)
{
	struct rpc_server *rpc = j->g->d->rpc;
	struct query_meta meta = { .index = 1, .known_leader = true };
	struct mp_w w;
	struct buf *out;

	if (j->contacted == 0 && j->nerrors > 0) {
		rpc_reply_error(rpc, j->token, 500, "%u error%s occurred:\n%.*s\n", j->nerrors, j->nerrors == 1 ? "" : "s",
		    (int)j->errors.len, (const char *)j->errors.data);
	} else {
		out = rpc_reply_begin(rpc, j->token);
		if (out != NULL) {
			w = mp_w_init(out);
			record_encode(&rec_query_meta, &meta, RECORD_WHOLE, &w);
			mp_w_uint(&w, j->contacted);
			rpc_reply_end(rpc, j->token, w.err == 0);
		}
	}
	unlink_join(j);
	uv_close((uv_handle_t *)&j->timer, timer_closed);
}

/* The socket is the first member of its dial. */
static void
tcp_closed(uv_handle_t *h)
{
	free(h);
}

static void
drop_tcp(struct join *j)
{
	uv_timer_stop(&j->timer);
	if (j->dial != NULL) {
		j->dial->tcp.data = NULL;
		uv_close((uv_handle_t *)&j->dial->tcp, tcp_closed);
		j->dial = NULL;
	}
}

/* The sentence of a failed connect as Go's dialer writes it. */
static void
connect_failed(struct join *j, int rc)
{
	char peer[SOCK_ADDR_TEXT_MAX], why[SOCK_ADDR_TEXT_MAX + 128];

	sock_addr_format(&j->peer, peer);
	if (rc == -ETIMEDOUT)
		snprintf(why, sizeof(why), "dial tcp %s: i/o timeout", peer);
	else
		snprintf(why, sizeof(why), "dial tcp %s: connect: %s", peer,
		    rc == -ECONNREFUSED ? "connection refused" : uv_strerror(rc));
	add_error(j, NULL, why);
}

static void
on_connect(uv_connect_t *req, int status)
{
	/* A dropped socket has forgotten its join. */
	struct join *j = req->handle->data;

	if (j == NULL)
		return;
	drop_tcp(j);
	if (status < 0)
		connect_failed(j, status);
	else if (is_self(j))
		j->contacted++;
	else
		add_error(j, NULL, "this version does not form pools of several nodes");
	j->at++;
	join_next(j);
}

static void
on_timeout(uv_timer_t *t)
{
	struct join *j = t->data;

	drop_tcp(j);
	connect_failed(j, -ETIMEDOUT);
	j->at++;
	join_next(j);
}

static int
start_connect(struct join *j)
{
	int rc;

	j->dial = malloc(sizeof(*j->dial));
	if (j->dial == NULL)
		return -ENOMEM;
	rc = uv_tcp_init(&j->g->d->loop.uv, &j->dial->tcp);
	if (rc < 0) {
		free(j->dial);
		j->dial = NULL;
		return rc;
	}
	j->dial->tcp.data = j;
	rc = uv_tcp_connect(&j->dial->connect, &j->dial->tcp, &j->peer.sa, on_connect);
	if (rc == 0)
		rc = uv_timer_start(&j->timer, on_timeout, JOIN_TIMEOUT_MS, 0);
	if (rc < 0)
		drop_tcp(j);
	return rc;
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct join *j = req->data;
	char what[HOST_MAX + 32];
	int rc;

	j->resolving = false;
	if (j->cancelled) {
		uv_freeaddrinfo(res);
		finish(j);
		return;
	}
	if (status < 0 || res == NULL || res->ai_addrlen > sizeof(j->peer)) {
		snprintf(what, sizeof(what), "Failed to resolve %.*s", STR_ARG(j->req->addrs.v[j->at]));
		add_error(j, what, status < 0 ? uv_strerror(status) : "no such host");
		uv_freeaddrinfo(res);
		j->at++;
		join_next(j);
		return;
	}
	memcpy(&j->peer, res->ai_addr, res->ai_addrlen);
	uv_freeaddrinfo(res);
	rc = start_connect(j);
	if (rc < 0) {
		connect_failed(j, rc);
		j->at++;
		join_next(j);
	}
}

/* Begin with the address in work, passing over those that cannot be begun with. */
static void
join_next(struct join *j)
{
	const struct pool *p = j->req->wan ? &j->g->wan : &j->g->lan;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	char host[HOST_MAX], port[8];
	int rc;

	for (; !j->cancelled && j->at < j->req->addrs.n; j->at++) {
		if (join_split(j->req->addrs.v[j->at], (uint16_t)p->self.port, host, sizeof(host), &j->port) < 0) {
			memset(&j->peer, 0, sizeof(j->peer));
			add_error(j, NULL, "not an address");
			continue;
		}
		snprintf(port, sizeof(port), "%u", j->port);
		j->resolve.data = j;
		rc = uv_getaddrinfo(&j->g->d->loop.uv, &j->resolve, on_resolved, host, port, &hints);
		if (rc == 0) {
			j->resolving = true;
			return;
		}
		add_error(j, host, uv_strerror(rc));
	}
	finish(j);
}

void
join_start(struct gossipd *g, struct rpc_token token, const struct join_request *req)
{
	struct join *j;

	if (req->addrs.n > JOIN_ADDRS_MAX || g->njoins >= JOINS_MAX) {
		rpc_reply_error(g->d->rpc, token, 500, "too many addresses to join, or joins at a time");
		return;
	}
	j = calloc(1, sizeof(*j));
	if (j == NULL || uv_timer_init(&g->d->loop.uv, &j->timer) < 0) {
		free(j);
		rpc_reply_error(g->d->rpc, token, 500, "out of memory");
		return;
	}
	j->timer.data = j;
	j->g = g;
	j->token = token;
	buf_init(&j->errors, ERRORS_MAX);
	j->next = g->joins;
	g->joins = j;
	g->njoins++;
	j->req = record_dup(&rec_join_request, req);
	if (j->req == NULL) {
		rpc_reply_error(g->d->rpc, token, 500, "out of memory");
		unlink_join(j);
		uv_close((uv_handle_t *)&j->timer, timer_closed);
		return;
	}
	join_next(j);
}

void
join_cancel(struct gossipd *g, struct rpc_token token)
{
	for (struct join *j = g->joins; j != NULL; j = j->next)
		if (j->token.conn == token.conn && j->token.id == token.id)
			j->cancelled = true;
}

void
join_release(struct gossipd *g)
{
	struct join *j, *next;

	for (j = g->joins; j != NULL; j = next) {
		next = j->next;
		j->cancelled = true;
		drop_tcp(j);
		if (!j->resolving) {
			unlink_join(j);
			uv_close((uv_handle_t *)&j->timer, timer_closed);
		} else {
			uv_cancel((uv_req_t *)&j->resolve);
		}
	}
}
