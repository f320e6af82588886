/*
 * http_routes.c - fuzz target: the bytes of a connection, through the whole of
 * httpd, beside daemons that answer what the requests make of it.
 *
 * Whatever a client sends, what comes back is a sequence of whole HTTP
 * answers, and the connection ends once the client has closed its half.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "httpd/request.h"
#include "httpd/server.h"
#include "lib/json.h"
#include "lib/sock.h"

enum { INPUT_MAX = 64 * 1024, OPS_MAX = 512, PEERS_PLAYED = 4, SECONDS_MAX = 20, INDEX = 7 };

static struct daemon d;
static struct httpd *h;
static struct rpc_route routes[PEERS_PLAYED][OPS_MAX];

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- the other daemons */

/* Payloads that fit some operations and are wrong for others: chosen by what was asked. */
static void
write_payload(struct mp_w *w, unsigned which)
{
	switch (which % 9) {
	case 0:
		mp_w_nil(w);
		break;
	case 1:
		mp_w_bool(w, true);
		break;
	case 2:
		mp_w_str(w, STR("11111111-2222-3333-4444-555555555555"));
		break;
	case 3:
		mp_w_array(w, 0);
		break;
	case 4:
		mp_w_map(w, 0);
		break;
	case 5:
		mp_w_uint(w, UINT64_MAX);
		break;
	case 6:
		mp_w_array(w, 1);
		mp_w_map(w, 3);
		mp_w_cstr(w, "Key");
		mp_w_cstr(w, "k");
		mp_w_cstr(w, "Value");
		mp_w_bin(w, STR("\xff<value>"));
		mp_w_cstr(w, "Checks");
		mp_w_array(w, 0);
		break;
	case 7:
		mp_w_map(w, 3);
		mp_w_cstr(w, "Reset");
		mp_w_bool(w, true);
		mp_w_cstr(w, "Entries");
		mp_w_array(w, 1);
		mp_w_nil(w);
		mp_w_cstr(w, "Deleted");
		mp_w_array(w, 0);
		break;
	default:
		mp_w_bin(w, STR("raw"));
		break;
	}
}

static unsigned
hash_of(const uint8_t *p, size_t n)
{
	unsigned v = 2166136261u;

	for (size_t i = 0; i < n; i++)
		v = (v ^ p[i]) * 16777619u;
	return v ^ v >> 15;
}

static void
on_request(void *ctx, const struct rpc_request *req)
{
	struct rpc_server *s = *(struct rpc_server **)ctx;
	unsigned which = hash_of(req->body, req->len);
	struct arena a = ARENA_INIT(16 * MiB);
	void *record = req->info->request != NULL ? arena_alloc(&a, req->info->request->size) : NULL;
	struct query_options o = { .min_index = 0 };
	struct buf *b;
	struct mp_w w;
	/* What httpd asks must be what it may ask. */
	int rc = op_request_decode(req->info, req->body, req->len, &o, record, &a);

	must(rc == 0);
	arena_release(&a);
	if (o.min_index >= INDEX || req->info->access == OP_ACCESS_STREAM)
		return;
	if (which % 11 == 0) {
		rpc_reply_error(s, req->token, which % 2 == 0 ? 403 : 500, "no <%u>", which % 100);
		return;
	}
	b = rpc_reply_begin(s, req->token);
	if (b == NULL)
		return;
	w = mp_w_init(b);
	mp_w_map(&w, 3);
	mp_w_cstr(&w, "Index");
	mp_w_uint(&w, INDEX);
	mp_w_cstr(&w, "KnownLeader");
	mp_w_bool(&w, true);
	mp_w_cstr(&w, "ResultsFilteredByACLs");
	mp_w_bool(&w, which % 3 == 0);
	write_payload(&w, which / 16);
	rpc_reply_end(s, req->token, w.err == 0);
}

static void
play(unsigned i, enum op_server which, const char *socket)
{
	static struct rpc_server *servers[PEERS_PLAYED];
	struct rpc_server_config c = { .routes = routes[i], .ctx = &servers[i] };
	const struct op_info *op;
	int fd = sock_unix_listen(d.run_fd, socket, 0700);

	must(fd >= 0);
	for (unsigned k = 0; (op = op_row(k)) != NULL; k++)
		if (op->server == which || op->server == OP_SERVER_ANY) {
			must(c.nroutes < OPS_MAX);
			routes[i][c.nroutes++] = (struct rpc_route){ op->number, on_request };
		}
	servers[i] = rpc_server_new(&d.loop, fd, &c);
	must(servers[i] != NULL);
}

static void
start(void)
{
	static char dir[] = "/tmp/http_routes-XXXXXX";
	char err[256];

	log_setup(LOG_ERR, false);
	must(loop_init(&d.loop) == 0 && mkdtemp(dir) != NULL);
	d.run_dir = dir;
	d.run_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d.config = json_tokener_parse("{\"node_name\": \"n1\", \"datacenter\": \"dc1\", \"server\": true, \"ports\": {\"http\": 0}}");
	must(d.run_fd >= 0 && d.config != NULL);
	play(0, OP_SERVER_RAFTD, "raftd.sock");
	play(1, OP_SERVER_CHECKD, "checkd.sock");
	play(2, OP_SERVER_GOSSIPD, "gossipd.sock");
	play(3, OP_SERVER_CONSULCTL, "consulctl.sock");
	h = calloc(1, sizeof(*h));
	must(h != NULL);
	h->d = &d;
	d.ctx = h;
	must(http_config_read(d.config, &h->cfg, err, sizeof(err)) == 0 && httpd_open(h) == 0);
	/* The sockets are known by now to whom they are for. */
	for (int i = 0; i < 1000 && !rpc_client_connected(h->peers[PEER_RAFTD].client); i++) {
		rpc_cancel(h->peers[PEER_RAFTD].client, rpc_call(h->peers[PEER_RAFTD].client, OP_DAEMON_INFO, "\x80", 1, 0, 1000, NULL, NULL));
		(void)uv_run(&d.loop.uv, UV_RUN_NOWAIT);
	}
}

/* ---- the client */

/* One answer at the beginning of text: its length; 0: it is not whole. */
static size_t
answer_length(const char *text, size_t len)
{
	const char *end = memmem(text, len, "\r\n\r\n", 4), *at;
	size_t head, body;

	must(len < 9 || memcmp(text, "HTTP/1.", 7) == 0);
	if (end == NULL)
		return 0;
	head = (size_t)(end + 4 - text);
	if (memcmp(text + 9, "100", 3) == 0)
		return head;
	at = memmem(text, head, "\r\nContent-Length: ", 18);
	if (at == NULL)
		return len;	/* to the end of the connection, or chunked: the last one */
	body = strtoul(at + 18, NULL, 10);
	return head + body <= len ? head + body : 0;
}

/* Whole answers follow each other; the last may be cut where the connection has to be closed in the middle. */
static void
check_answers(const struct buf *got)
{
	const char *p = (const char *)got->data;
	size_t left = got->len, n;

	for (; left > 0 && (n = answer_length(p, left)) > 0; left -= n)
		p += n;
}

static void
converse(int fd, const uint8_t *data, size_t size, struct buf *got)
{
	uint64_t end = clock_ms() + SECONDS_MAX * 1000;
	size_t sent = 0;
	bool closed = false, over = false;

	while (!over) {
		uint8_t bytes[16384];
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n > 0)
			must(buf_add(got, bytes, (size_t)n) == 0);
		over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
		n = sent < size ? send(fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		if (n > 0)
			sent += (size_t)n;
		if (!closed && (sent == size || (n < 0 && errno == EPIPE))) {
			closed = true;
			(void)shutdown(fd, SHUT_WR);
		}
		(void)uv_run(&d.loop.uv, UV_RUN_NOWAIT);
		/* Whoever has closed its half is done with within bounds. */
		must(clock_ms() < end);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sockaddr from = { .sa_family = AF_UNIX };
	struct buf got = BUF_INIT(256 * MiB);
	int fds[2];

	if (size > INPUT_MAX)
		return 0;
	if (h == NULL)
		start();
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	must(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	server_serve(h, fds[1], &from, sizeof(from));
	server_kick(h);
	converse(fds[0], data, size, &got);
	/*
	 * The answer to a HEAD tells the length of a body that does not come; and
	 * libmicrohttpd 0.9.75 writes the head of a refusal of its own twice.
	 */
	if (memmem(data, size, "HEAD", 4) == NULL && (got.len == 0 || memmem(got.data, got.len, "<html><head><title>", 19) == NULL))
		check_answers(&got);
	(void)close(fds[0]);
	for (int i = 0; i < 1000 && server_conns(h) > 0; i++)
		(void)uv_run(&d.loop.uv, UV_RUN_NOWAIT);
	must(server_conns(h) == 0 && h->nrequests == 0 && h->spinning == 0);
	buf_release(&got);
	return 0;
}
