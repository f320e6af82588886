/* keyring.c - the keys of a pool, the primary first, and the seal made with them. */
#include "gossipd/wire/keyring.h"

#include <sodium.h>
#include <stdlib.h>

#include "gossipd/wire/gcm.h"

enum { NONCES = 32 };

struct keyring {
	struct gcm *keys[KEYS_MAX];
	size_t n;
	/* Random bytes are fetched for many nonces at once: one call to the kernel a datagram would cost as much as sealing it. */
	uint8_t nonces[NONCES][GCM_NONCE];
	size_t used;
};

struct keyring *
keyring_new(void)
{
	struct keyring *k = calloc(1, sizeof(*k));

	if (k != NULL)
		k->used = NONCES;
	return k;
}

static void
drop_all(struct gcm *keys[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		gcm_free(keys[i]);
}

void
keyring_free(struct keyring *k)
{
	if (k == NULL)
		return;
	drop_all(k->keys, k->n);
	free(k);
}

/* KEYS_MAX: not there. */
static size_t
find(const struct keyring *k, struct str key)
{
	for (size_t i = 0; i < k->n; i++)
		if (gcm_key(k->keys[i]).len == key.len && sodium_memcmp(gcm_key(k->keys[i]).p, key.p, key.len) == 0)
			return i;
	return KEYS_MAX;
}

int
keyring_add(struct keyring *k, struct str key)
{
	int rc;

	if (find(k, key) < KEYS_MAX)
		return 0;
	if (k->n == KEYS_MAX)
		return -ELIMIT;
	rc = gcm_new(key, GCM_BEST, &k->keys[k->n]);
	if (rc == 0)
		k->n++;
	return rc;
}

int
keyring_use(struct keyring *k, struct str key)
{
	size_t at = find(k, key);
	struct gcm *primary;

	if (at == KEYS_MAX)
		return -ENOENT;
	primary = k->keys[at];
	memmove(&k->keys[1], &k->keys[0], at * sizeof(k->keys[0]));
	k->keys[0] = primary;
	return 0;
}

int
keyring_remove(struct keyring *k, struct str key)
{
	size_t at = find(k, key);

	if (at == 0)
		return -EPERM;
	if (at == KEYS_MAX)
		return 0;
	gcm_free(k->keys[at]);
	k->n--;
	memmove(&k->keys[at], &k->keys[at + 1], (k->n - at) * sizeof(k->keys[0]));
	return 0;
}

size_t
keyring_count(const struct keyring *k)
{
	return k->n;
}

struct str
keyring_key(const struct keyring *k, size_t i)
{
	return i < k->n ? gcm_key(k->keys[i]) : STR_NONE;
}

void
keyring_replace(struct keyring *k, struct keyring *from)
{
	drop_all(k->keys, k->n);
	memcpy(k->keys, from->keys, sizeof(k->keys));
	k->n = from->n;
	from->n = 0;
}

/* ---- the seal: version, nonce, what is sealed, tag */

static void
next_nonce(struct keyring *k, uint8_t nonce[GCM_NONCE])
{
	if (k->used == NONCES) {
		randombytes_buf(k->nonces, sizeof(k->nonces));
		k->used = 0;
	}
	memcpy(nonce, k->nonces[k->used++], GCM_NONCE);
}

int
keyring_seal_tail(struct keyring *k, struct buf *out, size_t from, struct str authenticated)
{
	size_t n = out->len - from - SEAL_HEAD;
	uint8_t *p;
	int rc;

	if (k->n == 0)
		return -ENOENT;
	rc = buf_reserve(out, GCM_TAG);
	if (rc < 0)
		return rc;
	p = out->data + from;
	p[0] = 1;
	next_nonce(k, p + 1);
	rc = gcm_seal(k->keys[0], p + 1, authenticated, p + SEAL_HEAD, n);
	if (rc == 0)
		out->len += GCM_TAG;
	return rc;
}

int
keyring_seal(struct keyring *k, struct str plain, struct str authenticated, struct buf *out)
{
	size_t from = out->len;
	int rc = buf_reserve(out, plain.len + SEAL_OVERHEAD);

	if (rc < 0)
		return rc;
	out->len += SEAL_HEAD;
	rc = buf_add(out, plain.p, plain.len);
	if (rc == 0)
		rc = keyring_seal_tail(k, out, from, authenticated);
	if (rc < 0)
		out->len = from;
	return rc;
}

/* How much of it is padding (version 0): 1 to 16 bytes that all say how many they are; 0: none that is right. */
static size_t
pad_of(const uint8_t *p, size_t n)
{
	size_t pad;

	if (n == 0 || n % 16 != 0)
		return 0;
	pad = p[n - 1];
	if (pad > 16)
		return 0;
	for (size_t i = 0; i < pad; i++)
		if (p[n - 1 - i] != pad)
			return 0;
	return pad;
}

int
keyring_open(struct keyring *k, struct str sealed, struct str authenticated, struct buf *out)
{
	uint8_t version = sealed.len > 0 ? (uint8_t)sealed.p[0] : UINT8_MAX;
	size_t n, pad;
	uint8_t *p;
	int rc;

	if (version > 1 || sealed.len < SEAL_OVERHEAD || k->n == 0)
		return -EBADMSG;
	n = sealed.len - SEAL_OVERHEAD;
	rc = buf_reserve(out, n + GCM_TAG);
	if (rc < 0)
		return rc;
	p = out->data + out->len;
	for (size_t i = 0; i < k->n; i++) {
		memcpy(p, sealed.p + SEAL_HEAD, n + GCM_TAG);
		rc = gcm_open(k->keys[i], (const uint8_t *)sealed.p + 1, authenticated, p, n);
		if (rc == 0)
			break;
	}
	if (rc < 0)
		return rc;
	pad = version == 0 ? pad_of(p, n) : 0;
	if (version == 0 && pad == 0)
		return -EBADMSG;
	out->len += n - pad;
	return 0;
}
