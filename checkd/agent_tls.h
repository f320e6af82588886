/*
 * agent_tls.h - the agent's own certificate and authorities, for checks.
 *
 * With enable_agent_tls_for_checks checks that speak TLS show the agent's
 * certificate, trust its authorities alone, and expect the name of the
 * settings (server_name, else the node's) unless a check has another. The
 * slice brings the files' contents, so that they need not be readable by the
 * daemon's user; libraries that want paths get those of files in memory.
 */
#ifndef CHECKD_AGENT_TLS_H
#define CHECKD_AGENT_TLS_H

#include <json-c/json_object.h>

#include "checkd/curl_lib.h"
#include "lib/errs.h"
#include "lib/gnutls_lib.h"
#include "lib/str.h"

struct agent_tls;
struct tls_trust;

/*
 * Take the settings of a slice, those before are dropped: *at is NULL when
 * the slice has none. -ENOMEM, -errno of the files in memory; *at is left as it was.
 */
int MUST_CHECK agent_tls_load(struct agent_tls **at, struct json_object *slice);
void agent_tls_free(struct agent_tls *a);

/*
 * The name that a certificate must be for: the check's, else the agent's,
 * else the target's host. Points into one of them. Pure.
 */
struct str agent_tls_name(const struct agent_tls *a, struct str of_check, struct str host);

/* Certificate, key and authorities for a transfer of libcurl's; without settings (NULL) those that Go's programs use. */
CURLcode MUST_CHECK agent_tls_curl(const struct agent_tls *a, CURL *easy);

/*
 * The same for sessions of GnuTLS, shared by all until the settings change:
 * released when the last holder has let it go. NULL with *ret_why (static
 * memory) told.
 */
struct tls_trust *agent_tls_trust(struct agent_tls *a, struct tls_trust **shared, const struct gnutls_lib *l, const char **ret_why);
gnutls_certificate_credentials_t tls_trust_credentials(const struct tls_trust *t);
void tls_trust_release(struct tls_trust *t);

#endif
