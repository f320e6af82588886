/* tokens.c - the agent's own tokens, as set by the API. */
#include "consulctl/agent/tokens.h"

#include <fcntl.h>
#include <json-c/json_object.h>
#include <json-c/linkhash.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cfg.h"
#include "lib/json.h"
#include "lib/log.h"

enum { FILE_BYTES_MAX = 64 * 1024, PATH_BYTES_MAX = 4096, OLD_NAMES = 2 };

static const char file_name[] = "acl-tokens.json";

/* name: in the configuration, the file and the API. */
static const struct {
	const char *name, *old[OLD_NAMES];
	const char *daemons;
} kinds[AGENT_TOKENS] = {
	{ "default", { "acl_token" }, "httpd dnsd checkd" },
	{ "agent", { "acl_agent_token" }, "checkd" },
	{ "agent_recovery", { "agent_master", "acl_agent_master_token" }, "raftd" },
	{ "replication", { "acl_replication_token" }, "" },
	{ "config_file_service_registration", { NULL }, "checkd" },
	{ "dns", { NULL }, "dnsd" },
};

int
agent_token_kind(struct str name)
{
	for (int i = 0; i < AGENT_TOKENS; i++) {
		if (str_eqs(name, kinds[i].name))
			return i;
		for (int k = 0; k < OLD_NAMES; k++)
			if (kinds[i].old[k] != NULL && str_eqs(name, kinds[i].old[k]))
				return i;
	}
	return -1;
}

bool
agent_token_used_by(int kind, const char *daemon)
{
	return strstr(kinds[kind].daemons, daemon) != NULL;
}

static void
forget(char **token)
{
	if (*token != NULL)
		sodium_memzero(*token, strlen(*token));
	free(*token);
	*token = NULL;
}

void
agent_tokens_release(struct agent_tokens *t)
{
	for (int i = 0; i < AGENT_TOKENS; i++)
		forget(&t->v[i]);
}

int
agent_tokens_apply(const struct agent_tokens *t, struct config *c)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < AGENT_TOKENS; i++)
		if (t->v[i] != NULL)
			rc = config_set_token(c, kinds[i].name, t->v[i]);
	return rc;
}

/* ---- the file */

/* False: they are not kept. */
static bool
file_path(const struct config *c, char path[PATH_BYTES_MAX])
{
	const char *dir = cfg_str(config_tree(c), "data_dir", "");

	return dir[0] != '\0' && cfg_bool(config_tree(c), "acl.enable_token_persistence", false) &&
	    snprintf(path, PATH_BYTES_MAX, "%s/%s", dir, file_name) < PATH_BYTES_MAX;
}

static int
read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = -EINVAL;
	while (rc == 0) {
		ssize_t n;

		rc = buf_reserve(out, 4096);
		if (rc < 0)
			break;
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n == 0)
			break;
		if (n > 0)
			out->len += (size_t)n;
		else if (errno != EINTR)
			rc = -errno;
	}
	close(fd);
	return rc;
}

static void
wipe(struct buf *b)
{
	if (b->data != NULL)
		sodium_memzero(b->data, b->cap);
	buf_release(b);
}

static void
take(struct agent_tokens *t, struct json_object *file, struct config *c)
{
	json_object_object_foreach(file, key, v) {
		int kind = agent_token_kind(str_from(key));
		const char *text = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";

		if (kind < 0 || text[0] == '\0')
			continue;
		if (config_token_problem(text) != NULL) {
			config_note(c, LOG_WARN, "Not using a token that was kept: token=%s error=\"%s\"", kinds[kind].name, config_token_problem(text));
			continue;
		}
		forget(&t->v[kind]);
		t->v[kind] = strdup(text);
		if (cfg_str(cfg_get(config_tree(c), "acl.tokens"), kinds[kind].name, "")[0] != '\0')
			config_note(c, LOG_WARN, "A token of the config files has been replaced by the API: token=%s", kinds[kind].name);
	}
}

void
agent_tokens_load(struct agent_tokens *t, struct config *c)
{
	struct buf text = BUF_INIT(FILE_BYTES_MAX);
	struct json_object *file = NULL;
	char path[PATH_BYTES_MAX], why[256] = "";
	bool null = false;
	int rc;

	if (!file_path(c, path))
		return;
	rc = read_file(path, &text);
	if (rc == 0) {
		file = json_parse((const char *)text.data, text.len, &null, why, sizeof(why));
		rc = file != NULL && json_object_is_type(file, json_type_object) ? 0 : -EDECODE;
	}
	if (rc == 0)
		take(t, file, c);
	else if (rc != -ENOENT)
		config_note(c, LOG_WARN, "unable to load persisted tokens: file=%s error=\"%s\"", path, rc == -EDECODE ? "no JSON object" : err_text(rc));
	json_object_put(file);
	wipe(&text);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* A rename is on disk when its directory is. */
static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int
replace_file(const char *path, const char *dir, const char *text)
{
	char new[PATH_BYTES_MAX + 8];
	int fd, rc;

	(void)snprintf(new, sizeof(new), "%s.tmp", path);
	(void)unlink(new);
	fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, strlen(text));
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(new, path) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlink(new);
	return rc < 0 ? rc : sync_dir(dir);
}

/* Those that are set and not empty, with token in the place of kind's. */
static int
save(const struct agent_tokens *t, const struct config *c, int kind, const char *token)
{
	struct json_object *file;
	char path[PATH_BYTES_MAX];
	int rc = 0;

	if (!file_path(c, path))
		return 0;
	file = json_object_new_object();
	if (file == NULL)
		return -ENOMEM;
	for (int i = 0; rc == 0 && i < AGENT_TOKENS; i++) {
		const char *v = i == kind ? token : t->v[i];
		struct json_object *s = v != NULL && v[0] != '\0' ? json_object_new_string(v) : NULL;

		if (v != NULL && v[0] != '\0' && (s == NULL || json_object_object_add(file, kinds[i].name, s) < 0)) {
			json_object_put(s);
			rc = -ENOMEM;
		}
	}
	if (rc == 0) {
		const char *text = json_object_to_json_string_ext(file, JSON_C_TO_STRING_PLAIN);

		rc = text != NULL ? replace_file(path, cfg_str(config_tree(c), "data_dir", ""), text) : -ENOMEM;
	}
	json_object_put(file);
	return rc;
}

static int
fail(struct buf *err, int rc, const char *what, const char *why)
{
	return buf_addf(err, "%s%s", what, why) < 0 ? -ENOMEM : rc;
}

int
agent_tokens_set(struct agent_tokens *t, const struct config *c, int kind, struct str token, struct buf *err)
{
	char *copy = token.len > 0 && memchr(token.p, '\0', token.len) != NULL ? NULL : strndup(token.p != NULL ? token.p : "", token.len);
	const char *why = copy != NULL ? config_token_problem(copy) : "a token is plain text";
	int rc;

	if (why != NULL) {
		forget(&copy);
		return fail(err, -EINVAL, "", why);
	}
	rc = save(t, c, kind, copy);
	if (rc < 0) {
		forget(&copy);
		return fail(err, rc, "failed to persist tokens: ", err_text(rc));
	}
	forget(&t->v[kind]);
	t->v[kind] = copy;
	return 0;
}
