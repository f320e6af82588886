/* tls.c - the agent's certificate and authorities, as far as they serve its checks. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/config/build.h"
#include "lib/gnutls_lib.h"

/* Of one file, and of all of a ca_path. */
enum { PEM_MAX = 1024 * 1024 };

static const char switch_path[] = "enable_agent_tls_for_checks";

bool
config_tls_for_checks(const struct config *c, const char *path)
{
	static const char *const paths[] = { switch_path, "ca_file", "ca_path", "cert_file", "key_file", "tls.defaults.ca_file",
		"tls.defaults.ca_path", "tls.defaults.cert_file", "tls.defaults.key_file" };

	if (!json_object_get_boolean(config_get(c->tree, switch_path)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (strcmp(paths[i], path) == 0)
			return true;
	return false;
}

/* The value of a key in its newer place, or in its older one; NULL when it has none. */
static struct json_object *
value_of(const struct config *c, const char *name)
{
	char path[64];
	struct json_object *v;

	snprintf(path, sizeof(path), "tls.defaults.%s", name);
	v = config_get(c->tree, path);
	if (v == NULL || json_object_get_string_len(v) == 0)
		v = config_get(c->tree, name);
	return v != NULL && json_object_get_string_len(v) > 0 ? v : NULL;
}

/* Append a regular file. -errno, -ELIMIT, -ENOMEM. */
static int
read_file(int dir, const char *path, struct buf *out)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc = 0;
	struct stat st;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	while (rc == 0 && n > 0) {
		char part[4096];

		n = read(fd, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			rc = -errno;
		else if (n > 0)
			rc = buf_add(out, part, (size_t)n);
		explicit_bzero(part, sizeof(part));
	}
	(void)close(fd);
	return rc < 0 || out->len == 0 ? rc : buf_addc(out, '\n');
}

static int
is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* Append every file of a directory, in the order of their names. */
static int
read_dir(const char *path, struct buf *out)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0, n;
	struct dirent **v;

	if (dir < 0)
		return -errno;
	n = scandirat(dir, ".", &v, is_visible, alphasort);
	if (n < 0) {
		rc = -errno;
		(void)close(dir);
		return rc;
	}
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = read_file(dir, v[i]->d_name, out);
		if (rc == -EINVAL)	/* a directory in it, or the like */
			rc = 0;
		free(v[i]);
	}
	free(v);
	(void)close(dir);
	return rc;
}

/* One file's text, or a directory's, for the slice. */
static int
take(struct config *c, const char *key, const char *path, struct buf *pem, struct buf *err)
{
	struct json_object *v = value_of(c, key);
	int rc;

	if (v == NULL)
		return 0;
	rc = strcmp(key, "ca_path") == 0 ? read_dir(json_object_get_string(v), pem) :
	    read_file(AT_FDCWD, json_object_get_string(v), pem);
	if (rc < 0)
		return config_fail_at(c, v, err, "%s: cannot read %.200s: %s", key, json_object_get_string(v), err_text(rc));
	return config_set(c->tree, path, json_object_new_string_len((const char *)pem->data, (int)pem->len)) < 0 ?
	    config_fail(err, -ENOMEM, "out of memory") : 0;
}

static gnutls_datum_t
datum(const struct buf *b)
{
	return (gnutls_datum_t){ b->data, (unsigned)b->len };
}

/* What no check could use is refused now. Without the library that checks would need nothing can be told. */
static int
judge(struct config *c, const struct buf *ca, const struct buf *cert, const struct buf *key, struct buf *err)
{
	const struct gnutls_lib *l = ca->len > 0 || cert->len > 0 ? gnutls_lib() : NULL;
	gnutls_datum_t d_ca = datum(ca), d_cert = datum(cert), d_key = datum(key);
	gnutls_certificate_credentials_t cred;
	int rc = 0;

	if (l == NULL)
		return 0;
	if (l->certificate_allocate_credentials(&cred) < 0)
		return config_fail(err, -ENOMEM, "out of memory");
	if (ca->len > 0 && l->certificate_set_x509_trust_mem(cred, &d_ca, GNUTLS_X509_FMT_PEM) <= 0)
		rc = config_fail_at(c, value_of(c, "ca_file") != NULL ? value_of(c, "ca_file") : value_of(c, "ca_path"), err,
		    "ca_file, ca_path: there is no certificate of an authority in it");
	if (rc == 0 && cert->len > 0) {
		int code = l->certificate_set_x509_key_mem2(cred, &d_cert, &d_key, GNUTLS_X509_FMT_PEM, NULL, 0);

		if (code < 0)
			rc = config_fail_at(c, value_of(c, "cert_file"), err, "cert_file and key_file cannot be used: %s", l->strerror(code));
	}
	l->certificate_free_credentials(cred);
	return rc;
}

static int
read_all(struct config *c, struct buf *ca, struct buf *cert, struct buf *key, struct buf *err)
{
	/* As in Consul a file comes before a directory. */
	int rc = take(c, value_of(c, "ca_file") != NULL ? "ca_file" : "ca_path", "agent_tls.ca", ca, err);

	if (rc == 0)
		rc = take(c, "cert_file", "agent_tls.cert", cert, err);
	if (rc == 0)
		rc = take(c, "key_file", "agent_tls.key", key, err);
	return rc < 0 ? rc : judge(c, ca, cert, key, err);
}

int
config_resolve_tls(struct config *c, struct buf *err)
{
	struct json_object *on = config_get(c->tree, switch_path), *name = config_get(c->tree, "server_name");
	struct json_object *cert_file = value_of(c, "cert_file"), *key_file = value_of(c, "key_file");
	struct buf ca = BUF_INIT(PEM_MAX), cert = BUF_INIT(PEM_MAX), key = BUF_INIT(PEM_MAX);
	int rc;

	if (!json_object_get_boolean(on))
		return 0;
	if ((cert_file == NULL) != (key_file == NULL))
		return config_fail_at(c, cert_file != NULL ? cert_file : key_file, err,
		    "cert_file and key_file belong together: one of them is missing");
	if (name == NULL || json_object_get_string_len(name) == 0)
		name = config_get(c->tree, "node_name");
	rc = config_set(c->tree, "agent_tls.server_name", json_object_new_string(json_object_get_string(name))) < 0 ?
	    config_fail(err, -ENOMEM, "out of memory") : 0;
	/* A check of the text alone may happen where the files are not. */
	if (rc == 0 && !c->validating)
		rc = read_all(c, &ca, &cert, &key, err);
	buf_release(&ca);
	buf_release(&cert);
	if (key.data != NULL)
		buf_wipe(&key);
	buf_release(&key);
	return rc;
}
