/*
 * tls_conn.h - a connection to "host:port" for checks: plain, or TLS by GnuTLS.
 *
 * For those checks that libcurl cannot make. Everything happens in the loop,
 * and nothing of it waits.
 */
#ifndef CHECKD_TLS_CONN_H
#define CHECKD_TLS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/errs.h"
#include "lib/str.h"

struct checkd;
struct tls_conn;

/* What TLS takes; strings outlive the connection, NULL is none. */
struct tls_conn_options {
	bool plain;			/* no TLS at all */
	bool skip_verify;
	struct str server_name;		/* "" : the target's host, or the agent's name with its TLS settings */
	const char *alpn;		/* one protocol, "h2" */
};

/* Called from the loop, never before tls_conn_open() has returned; the connection may be freed in any of them. */
struct tls_conn_use {
	void (*ready)(void *arg);				/* connected, and the handshake is over */
	void (*data)(void *arg, const uint8_t *p, size_t n);	/* n > 0 */
	/* It is over: an error, or the peer has closed ("EOF"). before: not ready yet. It is freed in here. */
	void (*failed)(void *arg, bool before, const char *fault);
	void *arg;
};

/* Begin. Without a time limit: the owner frees. NULL without memory. */
struct tls_conn *tls_conn_open(struct checkd *cd, struct str target, const struct tls_conn_options *o,
    const struct tls_conn_use *use);

enum { TLS_CONN_OUT_MAX = 64 * 1024 };

/* Send, or keep to be sent; for a ready one. -ELIMIT, -ENOMEM. Errors of the socket come by failed(). */
int MUST_CHECK tls_conn_send(struct tls_conn *t, const void *p, size_t n);

/* Close, sending what can be sent at once; no call follows. NULL is none. */
void tls_conn_free(struct tls_conn *t);

#endif
