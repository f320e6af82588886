/*
 * curl_tls.h - the TLS of checks that libcurl makes.
 */
#ifndef CHECKD_CURL_TLS_H
#define CHECKD_CURL_TLS_H

#include "checkd/curl_loop.h"
#include "lib/records.h"

struct checkd;

/*
 * Set the URL of a transfer, and what its check and the agent say about TLS:
 * whether to verify, whom to trust, which certificate to show. With
 * tls_server_name, or a name of the agent's, that is asked for and verified
 * instead of the URL's host, which is still where the connection goes;
 * *connect_to holds what that takes and must live as long as the transfer.
 */
CURLcode MUST_CHECK curl_tls_set(struct curl_job *j, struct checkd *cd, const struct check_def *d, const char *url,
    struct curl_slist **connect_to);

#endif
