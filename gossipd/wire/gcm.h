/*
 * gcm.h - AES-GCM with one key, nonces of 12 and tags of 16 bytes, in place.
 */
#ifndef GOSSIPD_WIRE_GCM_H
#define GOSSIPD_WIRE_GCM_H

#include "lib/errs.h"
#include "lib/str.h"

enum { GCM_NONCE = 12, GCM_TAG = 16 };

/* By libsodium where it can (32 bytes, and a machine with AES instructions), else by GnuTLS; or by GnuTLS whatever. */
enum gcm_by { GCM_BEST, GCM_GNUTLS };

struct gcm;

/* -EINVAL: not 16, 24 or 32 bytes; -ENOSYS: GnuTLS is wanted and cannot be loaded; -ENOMEM. */
int MUST_CHECK gcm_new(struct str key, enum gcm_by by, struct gcm **ret);
void gcm_free(struct gcm *g);
struct str gcm_key(const struct gcm *g);

/* n bytes of plain become so many sealed ones, and GCM_TAG bytes behind them are written. -EIO: the library refuses. */
int MUST_CHECK gcm_seal(const struct gcm *g, const uint8_t nonce[GCM_NONCE], struct str authenticated, uint8_t *p, size_t n);

/* n sealed bytes with their tag behind them become plain. -EBADMSG: it was not sealed so; what stands at p is then undefined. */
int MUST_CHECK gcm_open(const struct gcm *g, const uint8_t nonce[GCM_NONCE], struct str authenticated, uint8_t *p, size_t n);

#endif
