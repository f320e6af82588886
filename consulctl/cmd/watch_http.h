/*
 * watch_http.h - the handler of a watch that is a URL: what changed is sent
 * there.
 */
#ifndef CONSULCTL_CMD_WATCH_HTTP_H
#define CONSULCTL_CMD_WATCH_HTTP_H

#include "consulctl/client/transport.h"
#include "consulctl/options.h"

enum { WATCH_HTTP_ERROR_MAX = EXCHANGE_ERROR_MAX + 512 };

struct watch_http {
	struct transport *transport;	/* NULL: there is no such handler */
	const struct options *options;
	char *base, *target;		/* "http://host:port" and what follows */
	struct tls_settings tls;
	int64_t timeout_ms;
	char error[WATCH_HTTP_ERROR_MAX];	/* a sentence, once something failed */
};

/* From the flags; without -http-handler all stays NULL. -EINVAL with a sentence in h->error. */
int MUST_CHECK watch_http_open(struct watch_http *h, const struct options *o);
void watch_http_close(struct watch_http *h);

/* Send a document. 0; -ECANCELED when fd (-1: none) became readable meanwhile; else negative with h->error. */
int MUST_CHECK watch_http_send(struct watch_http *h, uint64_t index, const struct buf *document, int fd);

#endif
