/* agent_tls.c - the agent's own certificate and authorities, for checks. */
#include "checkd/agent_tls.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cfg.h"

enum { PEM_AUTHORITIES, PEM_CERTIFICATE, PEM_KEY, PEM_COUNT };

/* The slice's members of "agent_tls". */
static const char *const names[PEM_COUNT] = { "agent_tls.ca", "agent_tls.cert", "agent_tls.key" };

struct agent_tls {
	struct str pem[PEM_COUNT];	/* malloc'ed; "" is none */
	int fd[PEM_COUNT];		/* the same as a file in memory; -1 is none */
	struct str server_name;		/* malloc'ed */
};

struct tls_trust {
	const struct gnutls_lib *lib;
	gnutls_certificate_credentials_t credentials;
	unsigned holders;
};

static int
copy(const char *s, struct str *ret)
{
	char *p = strdup(s);

	if (p == NULL)
		return -ENOMEM;
	*ret = str_from(p);
	return 0;
}

/* A file in memory that libraries can open by its path. A descriptor or -errno. */
static int
memory_file(struct str text)
{
	int fd = memfd_create("agent-tls", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < text.len) {
		ssize_t n = write(fd, text.p + done, text.len - done);

		if (n <= 0) {
			int err = n < 0 ? errno : EIO;

			(void)close(fd);
			return -err;
		}
		done += (size_t)n;
	}
	return fd;
}

/*
 * Transfers under way know the files in memory by their numbers: what is new
 * goes under the old ones.
 */
static int
keep_numbers(struct agent_tls *a, struct agent_tls *old)
{
	for (size_t i = 0; i < PEM_COUNT; i++) {
		if (a->fd[i] < 0 || old->fd[i] < 0)
			continue;
		if (dup3(a->fd[i], old->fd[i], O_CLOEXEC) < 0)
			return -errno;
		(void)close(a->fd[i]);
		a->fd[i] = old->fd[i];
		old->fd[i] = -1;
	}
	return 0;
}

int
agent_tls_load(struct agent_tls **at, struct json_object *slice)
{
	struct agent_tls *a;
	int rc = 0;

	if (!cfg_bool(slice, "enable_agent_tls_for_checks", false)) {
		agent_tls_free(*at);
		*at = NULL;
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < PEM_COUNT; i++)
		a->fd[i] = -1;
	for (size_t i = 0; rc == 0 && i < PEM_COUNT; i++) {
		rc = copy(cfg_str(slice, names[i], ""), &a->pem[i]);
		if (rc == 0 && a->pem[i].len > 0)
			a->fd[i] = memory_file(a->pem[i]);
		if (rc == 0 && a->pem[i].len > 0 && a->fd[i] < 0)
			rc = a->fd[i];
	}
	if (rc == 0)
		rc = copy(cfg_str(slice, "agent_tls.server_name", ""), &a->server_name);
	if (rc == 0 && *at != NULL)
		rc = keep_numbers(a, *at);
	if (rc < 0) {
		agent_tls_free(a);
		return rc;
	}
	agent_tls_free(*at);
	*at = a;
	return 0;
}

void
agent_tls_free(struct agent_tls *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < PEM_COUNT; i++) {
		if (a->pem[i].p != NULL)
			explicit_bzero((char *)(uintptr_t)a->pem[i].p, a->pem[i].len);
		free((char *)(uintptr_t)a->pem[i].p);
		if (a->fd[i] >= 0)
			(void)close(a->fd[i]);
	}
	free((char *)(uintptr_t)a->server_name.p);
	free(a);
}

struct str
agent_tls_name(const struct agent_tls *a, struct str of_check, struct str host)
{
	if (of_check.len > 0)
		return of_check;
	return a != NULL && a->server_name.len > 0 ? a->server_name : host;
}

/* ---- libcurl */

/* Other roots of trust than the system's, where Go's programs look for them too. */
static CURLcode
set_roots(CURL *easy)
{
	const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");
	CURLcode rc = CURLE_OK;

	if (file != NULL && file[0] != '\0')
		rc = curl.easy_setopt(easy, CURLOPT_CAINFO, file);
	if (rc == CURLE_OK && dir != NULL && dir[0] != '\0')
		rc = curl.easy_setopt(easy, CURLOPT_CAPATH, dir);
	return rc;
}

static CURLcode
set_path(CURL *easy, CURLoption option, int fd)
{
	char path[64];

	if (fd < 0)
		return CURLE_OK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return curl.easy_setopt(easy, option, path);
}

CURLcode
agent_tls_curl(const struct agent_tls *a, CURL *easy)
{
	CURLcode rc;

	if (a == NULL || a->fd[PEM_AUTHORITIES] < 0)
		rc = set_roots(easy);
	else
		rc = curl.easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (a == NULL || rc != CURLE_OK)
		return rc;
	rc = set_path(easy, CURLOPT_CAINFO, a->fd[PEM_AUTHORITIES]);
	if (rc == CURLE_OK)
		rc = set_path(easy, CURLOPT_SSLCERT, a->fd[PEM_CERTIFICATE]);
	if (rc == CURLE_OK)
		rc = set_path(easy, CURLOPT_SSLKEY, a->fd[PEM_KEY]);
	return rc;
}

/* ---- GnuTLS */

static gnutls_datum_t
datum(struct str s)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)s.p, (unsigned)s.len };
}

/* Whom to trust, as set_roots() has it. Negative: a code of GnuTLS. */
static int
trust_roots(const struct gnutls_lib *l, gnutls_certificate_credentials_t c)
{
	const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");
	int rc;

	if (file != NULL && file[0] != '\0')
		rc = l->certificate_set_x509_trust_file(c, file, GNUTLS_X509_FMT_PEM);
	else
		rc = l->certificate_set_x509_system_trust(c);
	if (rc >= 0 && dir != NULL && dir[0] != '\0')
		rc = l->certificate_set_x509_trust_dir(c, dir, GNUTLS_X509_FMT_PEM);
	return rc;
}

static int
fill(const struct agent_tls *a, const struct gnutls_lib *l, gnutls_certificate_credentials_t c, const char **ret_why)
{
	gnutls_datum_t pem[PEM_COUNT];
	int rc;

	if (a == NULL || a->pem[PEM_AUTHORITIES].len == 0) {
		/* A machine without any is one on which nobody is trusted. */
		(void)trust_roots(l, c);
	} else {
		pem[PEM_AUTHORITIES] = datum(a->pem[PEM_AUTHORITIES]);
		*ret_why = "the agent's ca_file cannot be used";
		rc = l->certificate_set_x509_trust_mem(c, &pem[PEM_AUTHORITIES], GNUTLS_X509_FMT_PEM);
		if (rc < 0)
			return rc;
	}
	if (a == NULL || a->pem[PEM_CERTIFICATE].len == 0)
		return 0;
	pem[PEM_CERTIFICATE] = datum(a->pem[PEM_CERTIFICATE]);
	pem[PEM_KEY] = datum(a->pem[PEM_KEY]);
	*ret_why = "the agent's cert_file and key_file cannot be used";
	return l->certificate_set_x509_key_mem2(c, &pem[PEM_CERTIFICATE], &pem[PEM_KEY], GNUTLS_X509_FMT_PEM, NULL, 0);
}

struct tls_trust *
agent_tls_trust(struct agent_tls *a, struct tls_trust **shared, const struct gnutls_lib *l, const char **ret_why)
{
	struct tls_trust *t = *shared;

	if (t == NULL) {
		*ret_why = "out of memory";
		t = calloc(1, sizeof(*t));
		if (t == NULL)
			return NULL;
		t->lib = l;
		t->holders = 1;
		if (l->certificate_allocate_credentials(&t->credentials) < 0) {
			free(t);
			return NULL;
		}
		if (fill(a, l, t->credentials, ret_why) < 0) {
			tls_trust_release(t);
			return NULL;
		}
		*shared = t;
	}
	t->holders++;
	return t;
}

gnutls_certificate_credentials_t
tls_trust_credentials(const struct tls_trust *t)
{
	return t->credentials;
}

void
tls_trust_release(struct tls_trust *t)
{
	if (t == NULL || --t->holders > 0)
		return;
	t->lib->certificate_free_credentials(t->credentials);
	free(t);
}
