/* gcm.c - AES-GCM by libsodium or GnuTLS. */
#include "gossipd/wire/gcm.h"

#include <sodium.h>

#include "lib/gnutls_lib.h"
#include "gossipd/wire/keyring.h"

struct gcm {
	crypto_aead_aes256gcm_state state;	/* the key's schedule, when lib is NULL */
	uint8_t key[KEY_BYTES_MAX];
	size_t len;
	const struct gnutls_lib *lib;
	gnutls_aead_cipher_hd_t cipher;
};

static int
open_gnutls(struct gcm *g)
{
	const gnutls_datum_t key = { g->key, (unsigned)g->len };
	gnutls_cipher_algorithm_t algorithm = g->len == 16 ? GNUTLS_CIPHER_AES_128_GCM :
	    g->len == 24 ? GNUTLS_CIPHER_AES_192_GCM : GNUTLS_CIPHER_AES_256_GCM;
	int rc;

	g->lib = gnutls_lib();
	if (g->lib == NULL)
		return -ENOSYS;
	rc = g->lib->aead_cipher_init(&g->cipher, algorithm, &key);
	if (rc < 0) {
		g->cipher = NULL;
		return rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -ENOSYS;
	}
	return 0;
}

int
gcm_new(struct str key, enum gcm_by by, struct gcm **ret)
{
	struct gcm *g;
	int rc = 0;

	if (key.len != 16 && key.len != 24 && key.len != 32)
		return -EINVAL;
	if (sodium_init() < 0)
		return -ENOSYS;
	/* Locked, between guard pages, and wiped by sodium_free(). */
	g = sodium_malloc(sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	memset(g, 0, sizeof(*g));
	memcpy(g->key, key.p, key.len);
	g->len = key.len;
	if (by == GCM_BEST && key.len == 32 && crypto_aead_aes256gcm_is_available() != 0)
		(void)crypto_aead_aes256gcm_beforenm(&g->state, g->key);	/* it has no failure */
	else
		rc = open_gnutls(g);
	if (rc < 0)
		gcm_free(g);
	else
		*ret = g;
	return rc;
}

void
gcm_free(struct gcm *g)
{
	if (g == NULL)
		return;
	if (g->cipher != NULL)
		g->lib->aead_cipher_deinit(g->cipher);
	sodium_free(g);
}

struct str
gcm_key(const struct gcm *g)
{
	return (struct str){ (const char *)g->key, g->len };
}

int
gcm_seal(const struct gcm *g, const uint8_t nonce[GCM_NONCE], struct str authenticated, uint8_t *p, size_t n)
{
	const giovec_t auth = { (void *)(uintptr_t)authenticated.p, authenticated.len }, plain = { p, n };
	size_t tag = GCM_TAG;

	if (g->lib == NULL)
		return crypto_aead_aes256gcm_encrypt_detached_afternm(p, p + n, NULL, p, n, (const uint8_t *)authenticated.p,
		    authenticated.len, NULL, nonce, &g->state) == 0 ? 0 : -EIO;
	return g->lib->aead_cipher_encryptv2(g->cipher, nonce, GCM_NONCE, &auth, 1, &plain, 1, p + n, &tag) == 0 && tag == GCM_TAG ?
	    0 : -EIO;
}

int
gcm_open(const struct gcm *g, const uint8_t nonce[GCM_NONCE], struct str authenticated, uint8_t *p, size_t n)
{
	const giovec_t auth = { (void *)(uintptr_t)authenticated.p, authenticated.len }, sealed = { p, n };

	if (g->lib == NULL)
		return crypto_aead_aes256gcm_decrypt_detached_afternm(p, NULL, p, n, p + n, (const uint8_t *)authenticated.p,
		    authenticated.len, nonce, &g->state) == 0 ? 0 : -EBADMSG;
	return g->lib->aead_cipher_decryptv2(g->cipher, nonce, GCM_NONCE, &auth, 1, &sealed, 1, p + n, GCM_TAG) == 0 ? 0 : -EBADMSG;
}
