/* keyfile.c - the keyring of one pool and the file that it is kept in. */
#include "gossipd/keyfile.h"

#include <sodium.h>
#include <string.h>

#include "gossipd/files.h"
#include "gossipd/gossipd.h"
#include "lib/cfg.h"

/* Keys do not stay behind in memory that is given back. */
static void
forget(struct buf *b)
{
	if (b->data != NULL)
		sodium_memzero(b->data, b->cap);
	buf_release(b);
}

/* ---- at start */

static int
parse_encrypt(struct pool *p, struct json_object *slice, uint8_t raw[KEY_BYTES_MAX], size_t *ret_len)
{
	const char *text = cfg_str(slice, "encrypt", "");
	int rc;

	*ret_len = 0;
	if (text[0] == '\0')
		return 0;
	rc = key_parse(str_from(text), raw, ret_len);
	if (rc == -ENOMEM)
		log_err("agent", "gossipd: out of memory");
	else if (rc < 0)
		log_err("agent", "gossipd: encrypt is not a key of 16, 24 or 32 bytes in base64: pool=%s", p->label);
	return rc;
}

static bool
holds(const struct keyring *keys, struct str key)
{
	for (size_t i = 0; i < keyring_count(keys); i++)
		if (str_eq(keyring_key(keys, i), key))
			return true;
	return false;
}

static int
load(struct keyfile *k, struct str given)
{
	struct buf text = BUF_INIT(KEYFILE_MAX);
	char err[256] = "";
	int rc = file_read(k->path, &text);

	if (rc == 0)
		rc = keyring_load(k->p->keys, (struct str){ (const char *)text.data, text.len }, err);
	forget(&text);
	if (rc == 0 && keyring_count(k->p->keys) == 0) {
		rc = -EINVAL;
		snprintf(err, sizeof(err), "it has no key");
	}
	if (rc == -ENOENT)
		return rc;
	if (rc < 0) {
		log_err("agent", "gossipd: cannot load the keyring: path=%s error=\"%s\"", k->path, err[0] != '\0' ? err : err_text(rc));
		return -EINVAL;
	}
	if (given.len > 0 && !holds(k->p->keys, given))
		log_warn("agent", "%s keyring exists but encrypt given, using keyring: path=%s", k->p->label, k->path);
	return 0;
}

static int
create(struct keyfile *k, struct str given)
{
	struct buf text = BUF_INIT(KEYFILE_MAX);
	int rc = keyring_add(k->p->keys, given);

	if (rc == 0 && k->on)
		rc = keyring_save(k->p->keys, &text);
	if (rc == 0 && k->on)
		rc = file_replace(k->path, ".tmp", text.data, text.len, NULL);
	forget(&text);
	if (rc < 0)
		log_err("agent", "gossipd: cannot make the keyring: path=%s error=\"%s\"", k->path, err_text(rc));
	return rc;
}

int
keyfile_open(struct keyfile *k, struct pool *p, struct json_object *slice, const char *path)
{
	uint8_t raw[KEY_BYTES_MAX];
	size_t len = 0;
	int rc;

	*k = (struct keyfile){ .p = p, .on = !cfg_bool(slice, "disable_keyring_file", false) };
	buf_init(&k->writing, KEYFILE_MAX);
	if ((size_t)snprintf(k->path, sizeof(k->path), "%s", path) >= sizeof(k->path)) {
		log_err("agent", "gossipd: the path of the keyring is too long");
		return -ENAMETOOLONG;
	}
	rc = parse_encrypt(p, slice, raw, &len);
	if (rc == 0)
		rc = k->on ? load(k, (struct str){ (const char *)raw, len }) : -ENOENT;
	if (rc == -ENOENT)
		rc = len > 0 ? create(k, (struct str){ (const char *)raw, len }) : 0;
	sodium_memzero(raw, sizeof(raw));
	if (rc < 0)
		return rc;
	rc = uv_timer_init(&p->g->d->loop.uv, &k->retry);
	k->retry.data = k;
	k->open = rc == 0;
	return rc;
}

/* ---- writing */

static void
on_work(uv_work_t *w)
{
	struct keyfile *k = w->data;

	k->work_rc = file_replace(k->path, ".tmp", k->writing.data, k->writing.len, NULL);
}

static void save(struct keyfile *k);

static void
on_retry(uv_timer_t *t)
{
	save(t->data);
}

static void
failed(struct keyfile *k)
{
	const char *note;

	if (log_allowed(&k->limit, clock_ms(), &note))
		log_err(k->p->log, "serf: Failed to write keyring file: path=%s error=\"%s\"%s", k->path, err_text(k->rc), note);
	if (k->open && uv_timer_start(&k->retry, on_retry, KEYFILE_RETRY_MS, 0) < 0)
		log_err(k->p->log, "serf: keyring file is not written again before the next change: path=%s", k->path);
}

static void
on_done(uv_work_t *w, int status)
{
	struct keyfile *k = w->data;

	k->busy = false;
	k->rc = status < 0 ? status : k->work_rc;
	forget(&k->writing);
	if (!k->open)
		return;
	if (k->rc < 0)
		failed(k);
	else if (k->again)
		save(k);
}

static void
save(struct keyfile *k)
{
	if (!k->on)
		return;
	k->again = k->busy;
	if (k->busy)
		return;
	(void)uv_timer_stop(&k->retry);
	k->rc = keyring_save(k->p->keys, &k->writing);
	if (k->rc == 0) {
		k->work.data = k;
		k->rc = uv_queue_work(&k->p->g->d->loop.uv, &k->work, on_work, on_done);
		k->busy = k->rc == 0;
	}
	if (k->rc < 0) {
		forget(&k->writing);
		failed(k);
	}
}

/* ---- the pool's queries */

static void
list(struct keyfile *k, struct msg_key_response *reply)
{
	size_t n = keyring_count(k->p->keys);

	for (size_t i = 0; i < n && i < KEYS_MAX; i++) {
		key_format(keyring_key(k->p->keys, i), k->texts[i]);
		k->list[i] = str_from(k->texts[i]);
	}
	reply->keys = (struct strs){ k->list, n };
	reply->primary_key = n > 0 ? k->list[0] : STR_NONE;
	reply->result = true;
}

/* Why a change failed, as Serf's agents say it. */
static const char *
change_error(const char *op, int rc)
{
	if (rc == -EPERM)
		return "Removing the primary key is not allowed";
	if (rc == -ENOENT)
		return "Requested key is not in the keyring";
	if (rc == -EINVAL)
		return "Key size must be 16, 24 or 32 bytes";
	return strcmp(op, "install-key") == 0 && rc == -ELIMIT ? "The keyring is full" : err_text(rc);
}

void
keyfile_query(struct keyfile *k, const char *op, struct str key, struct msg_key_response *reply)
{
	struct keyring *keys = k->p->keys;
	int rc, before = k->rc;

	*reply = (struct msg_key_response){ .result = false };
	if (keyring_count(keys) == 0) {
		reply->message = STR("Keyring is empty (encryption not enabled)");
		return;
	}
	if (strcmp(op, "list-keys") == 0) {
		list(k, reply);
		return;
	}
	if (strcmp(op, "install-key") == 0)
		rc = keyring_add(keys, key);
	else if (strcmp(op, "use-key") == 0)
		rc = keyring_use(keys, key);
	else if (strcmp(op, "remove-key") == 0)
		rc = keyring_remove(keys, key);
	else
		rc = -EOPNOTSUPP;
	if (rc < 0) {
		reply->message = str_from(change_error(op, rc));
		return;
	}
	log_info(k->p->log, "serf: Received %s query", op);
	save(k);
	if (before < 0 || k->rc < 0)
		reply->message = STR("The keyring file cannot be written: see the log");
	else
		reply->result = true;
}

/* ---- end */

bool
keyfile_idle(const struct keyfile *k)
{
	return !k->busy;
}

void
keyfile_close(struct keyfile *k)
{
	if (!k->open)
		return;
	k->open = false;
	uv_close((uv_handle_t *)&k->retry, NULL);
}

void
keyfile_release(struct keyfile *k)
{
	if (!k->busy)
		forget(&k->writing);
}
