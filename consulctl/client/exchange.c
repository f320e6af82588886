/*
 * exchange.c - a request and its answer, whatever carries them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "consulctl/client/transport.h"

void
exchange_init(struct exchange *ex)
{
	*ex = (struct exchange){ .method = "GET" };
	buf_init(&ex->target, 64 * KiB);
	buf_init(&ex->headers, 64 * KiB);
	buf_init(&ex->reply, EXCHANGE_BODY_MAX);
}

void
exchange_release(struct exchange *ex)
{
	buf_release(&ex->target);
	buf_release(&ex->headers);
	buf_release(&ex->reply);
}

int
exchange_body(struct exchange *ex, int status, const void *p, size_t n)
{
	if (ex->sink != NULL && status == 200)
		return ex->sink(ex->sink_arg, p, n);
	return buf_add(&ex->reply, p, n);
}

void
exchange_fail(struct exchange *ex, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(ex->error, sizeof(ex->error), fmt, ap);
	va_end(ap);
	ex->rc = rc;
	ex->done = true;
}
