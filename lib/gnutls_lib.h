/*
 * gnutls_lib.h - GnuTLS, loaded when it is first needed.
 *
 * Most pools have gossip keys that libsodium can use, or none, and most
 * clusters no auth method that takes signed tokens; few nodes have a check
 * that speaks TLS without libcurl. So the library is not linked: its memory is
 * paid for by those who need it.
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
	X(pubkey_get_pk_algorithm) X(pubkey_verify_data2) X(x509_crt_init) X(x509_crt_deinit) X(x509_crt_import) \
	X(init) X(deinit) X(handshake) X(bye) X(record_send) X(record_recv) X(record_get_direction) X(transport_set_int2) \
	X(priority_set_direct) X(credentials_set) X(server_name_set) X(session_set_verify_cert) X(alpn_set_protocols) \
	X(session_get_verify_cert_status) X(certificate_verification_status_print) X(error_is_fatal) X(strerror) \
	X(alert_get) X(alert_get_name) X(certificate_allocate_credentials) X(certificate_free_credentials) \
	X(certificate_set_x509_system_trust) X(certificate_set_x509_trust_file) X(certificate_set_x509_trust_mem) \
	X(certificate_set_x509_trust_dir) X(certificate_set_x509_key_mem2)

struct gnutls_lib {
#define GNUTLS_MEMBER(name) __typeof__(gnutls_##name) *name;
	GNUTLS_FUNCTIONS(GNUTLS_MEMBER)
#undef GNUTLS_MEMBER
};

/* The functions, of static storage; NULL when there is no such library, or one without them. */
const struct gnutls_lib *gnutls_lib(void);

#endif
