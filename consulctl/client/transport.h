/*
 * transport.h - how requests reach an agent: in the clear (http.c) or by TLS
 * (tls.c), several at a time, in one thread.
 *
 * Plain HTTP, which is what an agent on this machine speaks, is done with a
 * few system calls; libcurl, with the thirty libraries behind it, is loaded
 * only for https. A `consulctl kv get` would else spend most of its time in
 * the dynamic linker.
 */
#ifndef CONSULCTL_CLIENT_TRANSPORT_H
#define CONSULCTL_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "consulctl/client/reply.h"
#include "lib/str.h"

enum {
	EXCHANGES_MAX = 4,		/* at the same time on one transport */
	CONNECT_MS_MAX = 30 * 1000,
	EXCHANGE_ERROR_MAX = 512,
};
#define EXCHANGE_BODY_MAX (1024u * MiB)

/* A request and its answer. */
struct exchange {
	/* Asked; everything lives until the exchange is done or cancelled. */
	const char *method;
	struct buf target;	/* path and query, escaped */
	struct buf headers;	/* whole lines, each with its CRLF */
	struct str body;	/* p == NULL: none */
	reply_sink *sink;	/* takes the body of a 200 as it comes; NULL: into `reply` */
	void *sink_arg;
	/* Answered, once `done`. */
	bool done;
	int rc;			/* negative: no answer, and `error` says why, in Go's words */
	char error[EXCHANGE_ERROR_MAX];
	int status;
	uint64_t index;
	struct buf reply;
};

void exchange_init(struct exchange *ex);
void exchange_release(struct exchange *ex);

struct transport;

struct transport_ops {
	/* Start it. Failures are told by the exchange itself. */
	void (*begin)(struct transport *t, struct exchange *ex);
	/* Wait until an exchange moves, fd (or -1) is readable, or the time is over. True when fd is readable. */
	bool (*wait)(struct transport *t, int fd, int timeout_ms);
	/* Forget one that is under way. */
	void (*cancel)(struct transport *t, struct exchange *ex);
	void (*free)(struct transport *t);
};

struct transport {
	const struct transport_ops *ops;
};

/* host:port, or an absolute path when is_unix. NULL without memory. Names are looked up by the first request. */
struct transport *http_transport_new(const char *address, bool is_unix);

struct tls_settings {
	const char *ca_file, *ca_path, *client_cert, *client_key, *server_name;	/* "": none */
	bool verify;
};

/* base: "https://host:port". NULL, with a sentence in err, without libcurl. */
struct transport *tls_transport_new(const char *base, const struct tls_settings *s, struct buf *err);

/* For the two above: the body's next piece to where it belongs. */
int MUST_CHECK exchange_body(struct exchange *ex, int status, const void *p, size_t n);
void exchange_fail(struct exchange *ex, int rc, const char *fmt, ...) PRINTF(3, 4);

#endif
