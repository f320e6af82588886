/*
 * rpc.h - frames between daemons (Unix sockets) and nodes (TCP).
 *
 * A frame is a 12-byte header in network order, then a body:
 *
 *	u32 length	of the body
 *	u8  kind	request, reply, event, cancel, credit
 *	u8  flags	FRAME_ERROR: the body is an Error record
 *	u16 operation	see ops.def
 *	u32 id		chosen by the asker, unique among its open requests
 *
 * Requests are pipelined and may be answered in any order. A request with
 * QueryOptions.MinIndex is a watch of one answer: asking again is its flow
 * control. A STREAM operation is answered by events; the asker's credit
 * frames (body: msgpack uint) say how many more it will take. A cancel frame
 * ends a watch or a stream without an answer. A post is a message without an
 * answer; its id is 0.
 *
 * On TCP, between nodes, the first request of a connection is peer.hello,
 * which says who is there; until it is accepted nothing else is taken, and
 * later only what ops.def calls READ, WRITE, LEADER or PEER.
 *
 * A length above the operation's limit, an unknown kind or operation, or a
 * malformed body closes that connection and nothing else.
 */
#ifndef LIB_RPC_H
#define LIB_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/loop.h"
#include "lib/ops.h"

enum frame_kind { FRAME_REQUEST = 1, FRAME_REPLY, FRAME_EVENT, FRAME_CANCEL, FRAME_CREDIT, FRAME_POST };
enum frame_flag { FRAME_ERROR = 1 };
enum { FRAME_HEADER = 12 };

struct frame {
	uint32_t len;
	uint8_t kind, flags;
	uint16_t op;
	uint32_t id;
};

void frame_encode(const struct frame *f, uint8_t out[FRAME_HEADER]);
void frame_decode(const uint8_t in[FRAME_HEADER], struct frame *ret);

/* Limits of one server; connections beyond RPC_CONNS_MAX wait in the backlog. */
enum {
	RPC_CONNS_MAX = 512,
	RPC_TCP_CONNS_MAX = 512,	/* of these beyond are refused: see rpc_greeter */
	RPC_TCP_LARGE = 1024 * 1024,	/* larger bodies count ... */
	RPC_TCP_IN_MAX = 2047 * 1024 * 1024, /* against what may have come in parts from all of TCP together */
	RPC_REQUESTS_MAX = 65536,	/* open in one client */
	RPC_OUT_HIGH = 4 * 1024 * 1024,	/* queued output above which a connection is not read */
	RPC_REPLY_MAX = 1024 * 1024 * 1024, /* largest reply body */
};

/* ---- serving */

struct rpc_server;

/* Names one request of one connection; stays safe to use when that has gone. */
struct rpc_token {
	uint64_t conn;		/* never reused */
	uint32_t id;
	uint16_t op;
};

struct rpc_request {
	struct rpc_token token;
	const struct op_info *info;
	const uint8_t *body;	/* valid during the handler only */
	size_t len;
	uid_t uid;		/* of the peer (SO_PEERCRED) */
	pid_t pid;
	void *peer;		/* TCP: what the greeting was accepted as, else NULL */
	const char *from;	/* for the log: "pid=12" or "peer=1.2.3.4:5"; NULL in a request that was kept */
};

/*
 * Serves one request: answers now or later, exactly once, with
 * rpc_reply_begin/end() or rpc_reply_error(). A body that does not decode is
 * told by rpc_bad_request().
 */
typedef void rpc_handler(void *ctx, const struct rpc_request *req);

/* A request ended by its asker: a cancel frame, or its connection has gone. */
typedef void rpc_cancelled(void *ctx, struct rpc_token token);

/* More events may be sent. */
typedef void rpc_credit(void *ctx, struct rpc_token token, uint32_t credits);

struct rpc_route {
	uint16_t op;
	rpc_handler *handler;
};

struct rpc_server_config {
	const struct rpc_route *routes;
	size_t nroutes;
	void *ctx;
	rpc_cancelled *cancelled;	/* may be NULL */
	rpc_credit *credit;		/* may be NULL */
	/* Connections of other users than root, ours and these are refused. */
	const uid_t *uids;
	size_t nuids;
};

/* For connections on TCP. */
struct rpc_greeter {
	void *ctx;
	/*
	 * The peer.hello of a new connection: append the reply's body (QueryMeta,
	 * then a PeerHello) to reply and return what rpc_request.peer shall be,
	 * or NULL with a sentence in ret_err: it is sent, and the connection closed.
	 */
	void *(*hello)(void *ctx, const struct rpc_request *req, struct buf *reply, char ret_err[256]);
	/* A connection that was accepted has gone; reset: by its end, not by us. */
	void (*closed)(void *ctx, void *peer, bool reset);
	size_t conns_max;	/* at most RPC_TCP_CONNS_MAX; beyond: refused at once */
	size_t conns_per_host;	/* the same for those of one address */
	uint32_t hello_ms;	/* connections that have not greeted by then are closed */
};

/* Serve TCP connections of fd, which the server owns from now on. g is copied. -errno. */
int MUST_CHECK rpc_server_listen_tcp(struct rpc_server *s, int fd, const struct rpc_greeter *g);

/* Another conns_per_host, for connections that come from now on. */
void rpc_server_limit_host(struct rpc_server *s, size_t conns_per_host);

/* Close the connection of this peer pointer, if there is one, at the end of the turn; `closed` is called. */
void rpc_server_close_peer(struct rpc_server *s, void *peer);

/* Close TCP's listeners and connections now; `closed` is called for each that had greeted. */
void rpc_server_close_tcp(struct rpc_server *s);

/*
 * Serve the listening Unix socket fd, which the server owns from
 * now on. NULL without memory. The config is copied, its arrays are not.
 */
struct rpc_server *rpc_server_new(struct loop *l, int fd, const struct rpc_server_config *c);

/* Serve one more listening socket with the same routes. */
int MUST_CHECK rpc_server_listen(struct rpc_server *s, int fd);

/* Stop accepting; open connections go on. */
void rpc_server_drain(struct rpc_server *s);

/* Close all; freed when libuv has let go of the handles. */
void rpc_server_free(struct rpc_server *s);

/*
 * A reply, straight into the connection's output buffer: begin, append the
 * body with a mp_w on the returned buf, end. NULL when the connection has
 * gone (nothing to do then). ok = false drops what was written and answers
 * an Error 500 instead: give it the sticky error of the writer.
 * Between begin and end nothing else may be sent on that server.
 */
struct buf *rpc_reply_begin(struct rpc_server *s, struct rpc_token t);
void rpc_reply_end(struct rpc_server *s, struct rpc_token t, bool ok);
/* Not now: what was written since begin is forgotten, the request stays open. */
void rpc_reply_drop(struct rpc_server *s, struct rpc_token t);
/* NULL also while a reply is being written: an event cannot go into the middle of it. */
struct buf *rpc_event_begin(struct rpc_server *s, struct rpc_token t);
void rpc_event_end(struct rpc_server *s, struct rpc_token t, bool ok);

/* A whole encoded body as the reply. */
void rpc_reply_bytes(struct rpc_server *s, struct rpc_token t, const void *body, size_t len);

struct rpc_answer;
/* What another daemon answered, an error (-EPROTO) too, as it came. */
void rpc_reply_answer(struct rpc_server *s, struct rpc_token t, const struct rpc_answer *a);

/* An Error record; text is shown to the client word for word. */
void rpc_reply_error(struct rpc_server *s, struct rpc_token t, int code, const char *fmt, ...) PRINTF(4, 5);

/* The common short replies: QueryMeta with this index, then nil, a bool or a text. */
void rpc_reply_nil(struct rpc_server *s, struct rpc_token t, uint64_t index);
void rpc_reply_bool(struct rpc_server *s, struct rpc_token t, uint64_t index, bool v);
void rpc_reply_text(struct rpc_server *s, struct rpc_token t, uint64_t index, struct str v);

/* Close the connection of a malformed request, with a log line. */
void rpc_bad_request(struct rpc_server *s, const struct rpc_request *req, const char *why);

/* Whether somebody still waits for an answer: false once it is answered, or its connection is being closed. */
bool rpc_request_open(const struct rpc_server *s, struct rpc_token t);

/* Bytes that wait to be sent on the connection of this request; 0 when it has gone. */
size_t rpc_reply_queued(struct rpc_server *s, struct rpc_token t);

/* Open connections, for tests and `info`. */
size_t rpc_server_conns(const struct rpc_server *s);

/* ---- asking */

struct rpc_client;

/*
 * The answer to a call, once (rc 0 or an error), or events (rc 0, is_event).
 *	0		body is the reply
 *	-EPROTO		an error reply: body is an Error record (rpc_error_decode)
 *	-ETIMEDOUT	no answer within the call's time
 *	-EUNKNOWN	the peer went away with the call, which may have been carried out
 *	-EBUSY		RPC_REQUESTS_MAX are open
 * The body is valid during the callback only.
 */
struct rpc_answer {
	int rc;
	bool is_event;
	const uint8_t *body;
	size_t len;
};
typedef void rpc_answer_cb(void *arg, const struct rpc_answer *a);

enum rpc_call_flag {
	RPC_RETRY = 1,		/* send again after a reconnect: reads, watches and stamped writes */
	RPC_NO_DEADLINE = 2,	/* wait for ever: watches and streams */
};

/*
 * A client of the daemon whose socket is `name`.sock in the directory
 * rundir_fd. Connects when first used and again whenever the connection is
 * lost, waiting 10 ms, doubled up to 500 ms. NULL without memory.
 */
struct rpc_client *rpc_client_new(struct loop *l, int rundir_fd, const char *name);

/*
 * A client of a daemon on another node, at ip:port (IPv4 or IPv6, no names).
 * Keeps trying to connect from the start, 50 ms, doubled up to 1 s, until it is freed; each
 * attempt has connect_ms. After connecting it sends greet's peer.hello, and
 * counts as connected once greeted() takes the answer.
 */
struct rpc_greeting {
	void *arg;
	const char *from;	/* the local IP to connect from; NULL: the system's choice. Copied. */
	int (*greet)(void *arg, struct buf *body);	/* append the body of peer.hello: options, then PeerHello */
	/* a->rc 0: the reply's body; negative: refused (rpc_error_decode) or lost. Negative: close, try again later. */
	int (*greeted)(void *arg, const struct rpc_answer *a);
	uint32_t connect_ms;
};
struct rpc_client *rpc_client_new_tcp(struct loop *l, const char *ip, uint16_t port, const struct rpc_greeting *g);

/*
 * A post, straight into the output buffer: begin, append the body, end (ok
 * false: drop it). NULL: not connected, no memory, or more than RPC_OUT_HIGH
 * bytes wait; nothing was sent.
 */
struct buf *rpc_post_begin(struct rpc_client *c, uint16_t op);
void rpc_post_end(struct rpc_client *c, bool ok);
size_t rpc_client_queued(const struct rpc_client *c);

void rpc_client_free(struct rpc_client *c);	/* open calls are dropped without a callback */

/*
 * Ask. body is an encoded request body (op_request_encode), copied. timeout_ms
 * bounds the wait, reconnecting included. Returns the request's id, or 0 when
 * nothing was sent (too many open requests, a body above the operation's
 * limit, or no memory; cb is not called).
 */
uint32_t rpc_call(struct rpc_client *c, uint16_t op, const void *body, size_t len, unsigned flags, uint32_t timeout_ms,
    rpc_answer_cb *cb, void *arg);

/* The same, encoding options and request in place. */
uint32_t rpc_call_record(struct rpc_client *c, uint16_t op, const struct query_options *o, const void *request,
    unsigned flags, uint32_t timeout_ms, rpc_answer_cb *cb, void *arg);

/* Forget a call: its callback will not be called; the peer is told. */
void rpc_cancel(struct rpc_client *c, uint32_t id);

/* Allow n more events on a stream. */
void rpc_give_credit(struct rpc_client *c, uint32_t id, uint32_t n);

bool rpc_client_connected(const struct rpc_client *c);

/* Called whenever the connection is made or lost (may be NULL). */
void rpc_client_on_state(struct rpc_client *c, void (*cb)(void *arg, bool connected), void *arg);

/*
 * The codes of errors between servers: the asked one does not lead, and has done nothing; or no longer
 * does, and what was asked may yet take place.
 */
enum { RPC_NOT_LEADER = 421, RPC_LEADER_LOST = 422 };

/* The Error record of an -EPROTO answer; a malformed one reads as 500. */
void rpc_error_decode(const struct rpc_answer *a, struct rpc_error *ret);

/* A blocking call for the command line: connects, asks, waits. Negative code, or 0 with *ret_body the reply's bytes. */
int MUST_CHECK rpc_call_sync(int rundir_fd, const char *name, uint16_t op, const struct query_options *o,
    const void *request, uint32_t timeout_ms, struct buf *ret_body, struct buf *ret_error);

/* Stamps for writes that must happen once: origin is random for this process, seq counts from 1. */
struct write_stamps {
	uint8_t origin[16];
	uint64_t next_seq;
	uint64_t *open;		/* numbers without an answer, ascending */
	size_t nopen, cap;
};

void write_stamps_init(struct write_stamps *w);
/* Stamp o with a new number. -ENOMEM, -ELIMIT (RPC_REQUESTS_MAX open). */
int MUST_CHECK write_stamps_take(struct write_stamps *w, struct query_options *o);
/* The answer of this number arrived, or nobody waits for it any more. */
void write_stamps_done(struct write_stamps *w, uint64_t seq);
void write_stamps_release(struct write_stamps *w);

#endif
