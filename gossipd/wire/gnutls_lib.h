/*
 * gnutls_lib.h - GnuTLS, loaded when it is first needed.
 *
 * Most pools have keys that libsodium can use, or none. So the library is not
 * linked: its memory is paid for by those whose keys or machines need it.
 */
#ifndef GOSSIPD_WIRE_GNUTLS_LIB_H
#define GOSSIPD_WIRE_GNUTLS_LIB_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "lib/errs.h"

#define GNUTLS_FUNCTIONS(X) \
	X(aead_cipher_init) X(aead_cipher_deinit) X(aead_cipher_encryptv2) X(aead_cipher_decryptv2)

struct gnutls_lib {
#define GNUTLS_MEMBER(name) __typeof__(gnutls_##name) *name;
	GNUTLS_FUNCTIONS(GNUTLS_MEMBER)
#undef GNUTLS_MEMBER
};

/* The functions, of static storage; NULL when there is no such library, or one without them. */
const struct gnutls_lib *gnutls_lib(void);

#endif
