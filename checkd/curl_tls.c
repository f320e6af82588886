/* curl_tls.c - the TLS of checks that libcurl makes. */
#include "checkd/curl_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checkd/agent_tls.h"
#include "checkd/checkd.h"

/* The parts of a URL that another name changes; curl_free() them. */
struct parts {
	char *host, *port, *url;
};

static CURLcode
split(CURLU *u, const char *url, const char *name, struct parts *p)
{
	if (u == NULL || curl.url_set(u, CURLUPART_URL, url, 0) != 0 || curl.url_get(u, CURLUPART_HOST, &p->host, 0) != 0 ||
	    curl.url_get(u, CURLUPART_PORT, &p->port, CURLU_DEFAULT_PORT) != 0 ||
	    curl.url_set(u, CURLUPART_HOST, name, 0) != 0 || curl.url_get(u, CURLUPART_URL, &p->url, 0) != 0)
		return CURLE_URL_MALFORMAT;
	return CURLE_OK;
}

/* Put the name into the URL, and connect to the URL's own host. */
static CURLcode
set_name(struct curl_job *j, const char *url, const char *name, struct curl_slist **connect_to)
{
	struct parts p = { NULL, NULL, NULL };
	CURLU *u = curl.url();
	CURLcode rc = split(u, url, name, &p);
	char *to = NULL;

	if (rc != CURLE_OK)
		goto out;
	rc = CURLE_OUT_OF_MEMORY;
	if (asprintf(&to, "%s:%s:%s:%s", name, p.port, p.host, p.port) < 0) {
		to = NULL;
		goto out;
	}
	*connect_to = curl.slist_append(NULL, to);
	if (*connect_to == NULL)
		goto out;
	rc = curl.easy_setopt(j->easy, CURLOPT_CONNECT_TO, *connect_to);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(j->easy, CURLOPT_URL, p.url);
out:
	free(to);
	curl.free(p.host);
	curl.free(p.port);
	curl.free(p.url);
	curl.url_cleanup(u);
	return rc;
}

CURLcode
curl_tls_set(struct curl_job *j, struct checkd *cd, const struct check_def *d, const char *url, struct curl_slist **connect_to)
{
	struct str name = agent_tls_name(cd->agent_tls, d->tls_server_name, STR(""));
	CURLcode rc;

	if (strncasecmp(url, "https:", 6) != 0)
		return curl.easy_setopt(j->easy, CURLOPT_URL, url);
	rc = name.len > 0 ? set_name(j, url, name.p, connect_to) : curl.easy_setopt(j->easy, CURLOPT_URL, url);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(j->easy, CURLOPT_SSL_VERIFYPEER, d->tls_skip_verify ? 0L : 1L);
	if (rc == CURLE_OK)
		rc = curl.easy_setopt(j->easy, CURLOPT_SSL_VERIFYHOST, d->tls_skip_verify ? 0L : 2L);
	return rc != CURLE_OK ? rc : agent_tls_curl(cd->agent_tls, j->easy);
}
