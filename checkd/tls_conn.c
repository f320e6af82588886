/* tls_conn.c - a connection for checks, plain or TLS by GnuTLS. */
#include "checkd/tls_conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "checkd/agent_tls.h"
#include "checkd/checkd.h"
#include "checkd/dial.h"
#include "lib/buf.h"

enum {
	READ_MAX = 16 * 1024,
	READS_A_TURN = 16,	/* so that one peer that never stops leaves time for the others */
	FAULT_MAX = 512,
	NAME_MAX_LEN = 255,
};

/* Freed when its handle is closed, if it has got one. */
struct tls_conn {
	struct checkd *cd;
	struct dial *dial;
	int fd;				/* -1: not connected yet */
	uv_poll_t poll;
	bool closing, ready, plain, skip_verify;
	bool again;			/* GnuTLS still has what it was given to send */
	char name[NAME_MAX_LEN + 1];	/* that the certificate must be for */
	const char *alpn;
	const struct gnutls_lib *lib;
	struct tls_trust *trust;
	gnutls_session_t session;
	struct buf out;			/* waits to be sent */
	struct tls_conn_use use;
};

static void
poll_closed(uv_handle_t *h)
{
	free(h->data);
}

void
tls_conn_free(struct tls_conn *t)
{
	if (t == NULL)
		return;
	t->closing = true;
	dial_cancel(t->dial);
	if (t->session != NULL) {
		if (t->ready)
			(void)t->lib->bye(t->session, GNUTLS_SHUT_WR);
		t->lib->deinit(t->session);
	}
	tls_trust_release(t->trust);
	buf_release(&t->out);
	if (t->fd < 0) {
		free(t);
		return;
	}
	uv_close((uv_handle_t *)&t->poll, poll_closed);
	(void)close(t->fd);
}

static void
fail(struct tls_conn *t, const char *fault)
{
	t->use.failed(t->use.arg, !t->ready, fault);
}

static void
fail_errno(struct tls_conn *t, const char *op, int err)
{
	char text[FAULT_MAX];

	snprintf(text, sizeof(text), "%s: %s", op, err == ECONNRESET ? "connection reset by peer" : strerror(err));
	fail(t, text);
}

/* Why a handshake or a record was refused. */
static void
fail_tls(struct tls_conn *t, int rc)
{
	char text[FAULT_MAX];
	gnutls_datum_t why = { NULL, 0 };

	if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
	    t->lib->certificate_verification_status_print(t->lib->session_get_verify_cert_status(t->session), GNUTLS_CRT_X509, &why,
	    0) == 0)
		snprintf(text, sizeof(text), "tls: failed to verify certificate: %.*s", (int)why.size, (const char *)why.data);
	else if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		snprintf(text, sizeof(text), "remote error: tls: %s", t->lib->alert_get_name(t->lib->alert_get(t->session)));
	else if (rc == GNUTLS_E_PREMATURE_TERMINATION || rc == GNUTLS_E_PULL_ERROR || rc == GNUTLS_E_PUSH_ERROR)
		snprintf(text, sizeof(text), "EOF");
	else
		snprintf(text, sizeof(text), "tls: %s", t->lib->strerror(rc));
	/* GnuTLS takes it from malloc(3) when nobody has said otherwise. */
	free(why.data);
	fail(t, text);
}

/* ---- bytes in and out: a count, -EAGAIN, or another -errno; TLS faults are told, as -EPROTO */

static ssize_t
receive(struct tls_conn *t, uint8_t *p, size_t n)
{
	ssize_t got;

	if (t->plain) {
		got = recv(t->fd, p, n, MSG_DONTWAIT);
		return got < 0 ? -errno : got;
	}
	got = t->lib->record_recv(t->session, p, n);
	if (got >= 0)
		return got;
	if (t->lib->error_is_fatal((int)got) == 0)
		return -EAGAIN;
	if (got == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	fail_tls(t, (int)got);
	return -EPROTO;
}

static ssize_t
transmit(struct tls_conn *t, const uint8_t *p, size_t n)
{
	ssize_t sent;

	if (t->plain) {
		sent = send(t->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		return sent < 0 ? -errno : sent;
	}
	sent = t->again ? t->lib->record_send(t->session, NULL, 0) : t->lib->record_send(t->session, p, n);
	t->again = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
	if (sent >= 0)
		return sent;
	return t->again ? -EAGAIN : -EPIPE;
}

static void on_event(uv_poll_t *p, int status, int events);

/* What the socket is watched for. */
static void
watch(struct tls_conn *t)
{
	int events = UV_READABLE;

	if (t->ready ? t->out.len > 0 : !t->plain && t->lib->record_get_direction(t->session) != 0)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&t->poll, events, on_event);
}

/* Send what waits; a failure shows when reading. */
static void
flush(struct tls_conn *t)
{
	size_t done = 0;

	while (done < t->out.len) {
		ssize_t n = transmit(t, t->out.data + done, t->out.len - done);

		if (n == -EINTR)
			continue;
		if (n <= 0) {
			if (n != -EAGAIN)
				done = t->out.len;
			break;
		}
		done += (size_t)n;
	}
	buf_consume(&t->out, done);
}

static void
take(struct tls_conn *t)
{
	uint8_t in[READ_MAX];

	for (unsigned i = 0; i < READS_A_TURN && !t->closing; i++) {
		ssize_t n = receive(t, in, sizeof(in));

		if (n == -EAGAIN || n == -EINTR || n == -EPROTO)
			return;
		if (n > 0)
			t->use.data(t->use.arg, in, (size_t)n);
		else if (n == 0)
			fail(t, "EOF");
		else
			fail_errno(t, "read", (int)-n);
		if (n <= 0)
			return;
	}
}

static void
shake_hands(struct tls_conn *t)
{
	int rc = t->lib->handshake(t->session);

	if (rc == 0) {
		t->ready = true;
		t->use.ready(t->use.arg);
	} else if (t->lib->error_is_fatal(rc) != 0) {
		fail_tls(t, rc);
	}
}

static void
on_event(uv_poll_t *p, int status, int events)
{
	struct tls_conn *t = p->data;

	if (status < 0) {
		fail_errno(t, "read", dial_socket_error(t->fd, status));
		return;
	}
	if (!t->ready)
		shake_hands(t);
	if (!t->closing && t->ready && (events & UV_WRITABLE) != 0)
		flush(t);
	/* Behind a handshake records may wait in the library, of which the socket tells nothing. */
	if (!t->closing && t->ready)
		take(t);
	if (!t->closing)
		watch(t);
}

/* ---- the beginning */

/* NULL, or why not (static memory). */
static const char *
session_new(struct tls_conn *t)
{
	static const char versions[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
	struct in6_addr literal;
	const char *why = "out of memory";
	gnutls_datum_t alpn;

	if (t->lib == NULL)
		return "GnuTLS is not installed";
	t->trust = agent_tls_trust(t->cd->agent_tls, &t->cd->tls_trust, t->lib, &why);
	if (t->trust == NULL)
		return why;
	if (t->lib->init(&t->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
		t->session = NULL;
		return "out of memory";
	}
	t->lib->transport_set_int2(t->session, t->fd, t->fd);
	if (t->lib->priority_set_direct(t->session, versions, NULL) < 0 ||
	    t->lib->credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, tls_trust_credentials(t->trust)) < 0)
		return "TLS cannot be set up";
	/* RFC 6066, 3: addresses are no names that could be asked for. */
	if (inet_pton(AF_INET, t->name, &literal) != 1 && inet_pton(AF_INET6, t->name, &literal) != 1 &&
	    t->lib->server_name_set(t->session, GNUTLS_NAME_DNS, t->name, strlen(t->name)) < 0)
		return "TLS cannot be set up";
	if (!t->skip_verify)
		t->lib->session_set_verify_cert(t->session, t->name, 0);
	if (t->alpn == NULL)
		return NULL;
	alpn = (gnutls_datum_t){ (unsigned char *)(uintptr_t)t->alpn, (unsigned)strlen(t->alpn) };
	return t->lib->alpn_set_protocols(t->session, &alpn, 1, 0) < 0 ? "TLS cannot be set up" : NULL;
}

static void
on_dialled(void *arg, int fd, const char *fault)
{
	struct tls_conn *t = arg;
	int rc;

	t->dial = NULL;
	if (fd < 0) {
		fail(t, fault);
		return;
	}
	rc = uv_poll_init_socket(&t->cd->d->loop.uv, &t->poll, fd);
	if (rc < 0) {
		(void)close(fd);
		fail(t, uv_strerror(rc));
		return;
	}
	t->poll.data = t;
	t->fd = fd;
	if (t->plain) {
		t->ready = true;
		t->use.ready(t->use.arg);
	} else {
		fault = session_new(t);
		if (fault != NULL) {
			fail(t, fault);
			return;
		}
		shake_hands(t);
	}
	if (!t->closing)
		watch(t);
}

struct tls_conn *
tls_conn_open(struct checkd *cd, struct str target, const struct tls_conn_options *o, const struct tls_conn_use *use)
{
	struct tls_conn *t = calloc(1, sizeof(*t));
	char host[DIAL_HOST_MAX] = "", port[DIAL_PORT_MAX];

	if (t == NULL)
		return NULL;
	t->cd = cd;
	t->fd = -1;
	t->plain = o->plain;
	t->skip_verify = o->skip_verify;
	t->alpn = o->alpn;
	t->use = *use;
	t->out = (struct buf)BUF_INIT(TLS_CONN_OUT_MAX);
	/* A target without a port is dial_start()'s to refuse. */
	if (dial_split(target, host, port) < 0)
		host[0] = '\0';
	snprintf(t->name, sizeof(t->name), "%.*s", STR_ARG(agent_tls_name(cd->agent_tls, o->server_name, str_from(host))));
	t->lib = t->plain ? NULL : gnutls_lib();
	t->dial = dial_start(&cd->d->loop.uv, target, SOCK_STREAM, on_dialled, t);
	if (t->dial == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

int
tls_conn_send(struct tls_conn *t, const void *p, size_t n)
{
	int rc = buf_add(&t->out, p, n);

	if (rc == 0)
		flush(t);
	return rc;
}
