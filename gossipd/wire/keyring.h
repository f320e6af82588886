/*
 * keyring.h - the gossip keys of one pool, and the seal made with them.
 *
 * AES-GCM with keys of 16, 24 or 32 bytes (spec 2.4): by libsodium for 32
 * where the machine has AES instructions, by GnuTLS otherwise. Keys are kept in
 * memory that is locked and wiped when freed.
 */
#ifndef GOSSIPD_WIRE_KEYRING_H
#define GOSSIPD_WIRE_KEYRING_H

#include "lib/buf.h"
#include "lib/str.h"

enum {
	KEYS_MAX = 64,
	KEY_BYTES_MAX = 32,
	KEY_TEXT_MAX = 48,		/* base64 with its NUL */
	SEAL_HEAD = 13,			/* version, nonce */
	SEAL_OVERHEAD = 29,		/* and the tag: version 1 */
	SEAL_OVERHEAD_V0 = 45,
};

struct keyring;

/* An empty one: nothing is sealed. NULL without memory. */
struct keyring *keyring_new(void);
void keyring_free(struct keyring *k);

/*
 * -EINVAL: not 16, 24 or 32 bytes; -ELIMIT: KEYS_MAX; -ENOSYS: it needs GnuTLS, which is not installed; -ENOMEM.
 * A key that is there already is not added again. The first becomes the primary.
 */
int MUST_CHECK keyring_add(struct keyring *k, struct str key);
/* It becomes the primary, the others keep their order behind it. -ENOENT: not installed. */
int MUST_CHECK keyring_use(struct keyring *k, struct str key);
/* -EPERM: it is the primary. One that is not there is no error. */
int MUST_CHECK keyring_remove(struct keyring *k, struct str key);
size_t keyring_count(const struct keyring *k);
/* Key i, the primary first; valid until the next change. */
struct str keyring_key(const struct keyring *k, size_t i);

/* base64 to raw and back. -EINVAL: malformed, or not 16, 24 or 32 bytes. */
int MUST_CHECK key_parse(struct str text, uint8_t raw[KEY_BYTES_MAX], size_t *ret_len);
void key_format(struct str raw, char text[KEY_TEXT_MAX]);

/*
 * The key file: a JSON array of base64 keys, the primary first, of one key at least. They replace those of k.
 * -EDECODE, -ENOMEM: a sentence is in err, and k is unchanged.
 */
int MUST_CHECK keyring_load(struct keyring *k, struct str json, char err[256]);
/* Append the file. */
int MUST_CHECK keyring_save(const struct keyring *k, struct buf *out);

/* The keys of `from` in the place of those of k; from is left empty. */
void keyring_replace(struct keyring *k, struct keyring *from);

/* Append the seal (version 1) of plain with the primary key. -ENOENT: no key; -ENOMEM, -ELIMIT, -EIO (the library refuses). */
int MUST_CHECK keyring_seal(struct keyring *k, struct str plain, struct str authenticated, struct buf *out);

/*
 * The same in place: at `from` the caller left room for SEAL_HEAD bytes, and what is behind that is sealed. On failure
 * only the content of what is behind `from` has changed.
 */
int MUST_CHECK keyring_seal_tail(struct keyring *k, struct buf *out, size_t from, struct str authenticated);

/*
 * Append what is sealed in `sealed` (version 0 or 1), trying every key, the primary first.
 * -EBADMSG: no key opens it, or malformed.
 */
int MUST_CHECK keyring_open(struct keyring *k, struct str sealed, struct str authenticated, struct buf *out);

#endif
