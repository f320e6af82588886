/* keyfile.c - keys as text: base64, and the key file. */
#include <sodium.h>
#include <stdio.h>

#include "gossipd/wire/keyring.h"
#include "lib/json.h"

enum { KEY_TEXT_READ_MAX = 64 };

int
key_parse(struct str text, uint8_t raw[KEY_BYTES_MAX], size_t *ret_len)
{
	struct buf b = BUF_INIT(KEY_TEXT_READ_MAX);
	int rc = text.len < KEY_TEXT_MAX ? base64_decode(text, &b) : -EINVAL;

	if (rc == 0 && b.len != 16 && b.len != 24 && b.len != 32)
		rc = -EINVAL;
	if (rc == 0) {
		memcpy(raw, b.data, b.len);
		*ret_len = b.len;
	}
	if (b.data != NULL)
		sodium_memzero(b.data, b.cap);
	buf_release(&b);
	return rc;
}

void
key_format(struct str raw, char text[KEY_TEXT_MAX])
{
	(void)sodium_bin2base64(text, KEY_TEXT_MAX, (const uint8_t *)raw.p, raw.len, sodium_base64_VARIANT_ORIGINAL);
}

static int
sentence(char err[256], const char *text)
{
	(void)snprintf(err, 256, "%s", text);
	return -EDECODE;
}

static int
load_key(struct keyring *k, struct json_object *j, char err[256])
{
	uint8_t raw[KEY_BYTES_MAX];
	size_t len = 0;
	int rc;

	if (!json_object_is_type(j, json_type_string))
		return sentence(err, "key file: a key is not a string");
	rc = key_parse((struct str){ json_object_get_string(j), (size_t)json_object_get_string_len(j) }, raw, &len);
	if (rc == -EINVAL)
		return sentence(err, "key file: a key is not base64 of 16, 24 or 32 bytes");
	if (rc == 0)
		rc = keyring_add(k, (struct str){ (const char *)raw, len });
	sodium_memzero(raw, sizeof(raw));
	if (rc == -ELIMIT)
		return sentence(err, "key file: too many keys");
	if (rc == -ENOSYS)
		return sentence(err, "key file: a key needs GnuTLS, which is not installed");
	return rc;
}

int
keyring_load(struct keyring *k, struct str json, char err[256])
{
	struct keyring *fresh;
	struct json_object *j;
	bool null;
	int rc = 0;

	err[0] = 0;
	j = json_parse(json.p, json.len, &null, err, 256);
	if (j == NULL && !null)
		return -EDECODE;
	fresh = keyring_new();
	if (fresh == NULL)
		rc = -ENOMEM;
	else if (!json_object_is_type(j, json_type_array) || json_object_array_length(j) == 0)
		rc = sentence(err, "key file: not a list of keys");
	for (size_t i = 0; rc == 0 && i < json_object_array_length(j); i++)
		rc = load_key(fresh, json_object_array_get_idx(j, i), err);
	if (rc == 0)
		keyring_replace(k, fresh);
	keyring_free(fresh);
	json_object_put(j);
	if (rc < 0 && err[0] == 0)
		(void)snprintf(err, 256, "key file: %s", err_text(rc));
	return rc;
}

int
keyring_save(const struct keyring *k, struct buf *out)
{
	char text[KEY_TEXT_MAX];
	size_t from = out->len;
	int rc = buf_adds(out, "[");

	for (size_t i = 0; rc == 0 && i < keyring_count(k); i++) {
		key_format(keyring_key(k, i), text);
		rc = buf_addf(out, "%s\n  \"%s\"", i > 0 ? "," : "", text);
	}
	if (rc == 0)
		rc = buf_adds(out, keyring_count(k) > 0 ? "\n]" : "]");
	sodium_memzero(text, sizeof(text));
	if (rc < 0)
		out->len = from;
	return rc;
}
