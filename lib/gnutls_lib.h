/*
 * gnutls_lib.h - GnuTLS, loaded when it is first needed.
 *
 * Most pools have gossip keys that libsodium can use, or none, and most
 * clusters no auth method that takes signed tokens. So the library is not
 * linked: its memory is paid for by those who need it.
 */
#ifndef LIB_GNUTLS_LIB_H
#define LIB_GNUTLS_LIB_H

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "lib/errs.h"

#define GNUTLS_FUNCTIONS(X) \
	X(aead_cipher_init) X(aead_cipher_deinit) X(aead_cipher_encryptv2) X(aead_cipher_decryptv2) \
	X(pubkey_init) X(pubkey_deinit) X(pubkey_import) X(pubkey_import_x509) X(pubkey_import_rsa_raw) X(pubkey_import_ecc_raw) \
	X(pubkey_get_pk_algorithm) X(pubkey_verify_data2) X(x509_crt_init) X(x509_crt_deinit) X(x509_crt_import)

struct gnutls_lib {
#define GNUTLS_MEMBER(name) __typeof__(gnutls_##name) *name;
	GNUTLS_FUNCTIONS(GNUTLS_MEMBER)
#undef GNUTLS_MEMBER
};

/* The functions, of static storage; NULL when there is no such library, or one without them. */
const struct gnutls_lib *gnutls_lib(void);

#endif
