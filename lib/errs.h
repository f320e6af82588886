/*
 * errs.h - the result codes of the library.
 *
 * Functions return 0 or a negative code: -errno, or one of ours, which start
 * above every errno. err_text() knows both.
 */
#ifndef LIB_ERRS_H
#define LIB_ERRS_H

#include <errno.h>

enum {
	ELIMIT = 4097,		/* a named maximum was reached */
	EDECODE = 4098,		/* malformed msgpack, JSON or frame */
	ECLOSED = 4099,		/* the peer has gone */
	EUNKNOWN = 4100,	/* a write whose outcome cannot be known */
};

/* Must-check: ignoring the result is an error of ours. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KiB 1024u
#define MiB (1024u * 1024u)

/* A sentence fragment for a negative code; never NULL, static memory. */
const char *err_text(int rc);

#endif
