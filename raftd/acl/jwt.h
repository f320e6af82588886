/*
 * jwt.h - bearer tokens of auth methods of type jwt (RFC 7515, 7517, 7519), verified with GnuTLS.
 *
 * RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA (Ed25519), never "none", never HMAC: the
 * algorithm must fit the key, and be one of the method's JWTSupportedAlgs if it names any. Pure but for GnuTLS,
 * which is loaded with the first method.
 */
#ifndef RAFTD_ACL_JWT_H
#define RAFTD_ACL_JWT_H

#include <json-c/json_object.h>

#include "raftd/acl/rules.h"

enum { JWT_MAX = 128 * 1024, JWT_JWKS_MAX = 1024 * 1024, JWT_KEYS_MAX = 64 };

/*
 * An auth method's Config, read and checked: JWTValidationPubKeys (PEM) or JWKSFile (our own: a file on each
 * server; JWKSURL and OIDCDiscoveryURL are refused with a sentence: raftd opens no connection to strangers),
 * JWTSupportedAlgs, BoundIssuer, BoundAudiences, ClaimMappings, ListClaimMappings, ExpirationLeeway,
 * NotBeforeLeeway, ClockSkewLeeway (ns or durations; 0: the default of 150 s, 150 s, 60 s; negative: none).
 */
struct jwt_method;

/* -EINVAL with a sentence; unknown fields are refused. -ENOENT with one when there is no GnuTLS, -ENOMEM. config stays the caller's. */
int MUST_CHECK jwt_method_new(struct json_object *config, struct jwt_method **ret, char ret_err[ACL_ERROR_MAX]);
void jwt_method_free(struct jwt_method *m);
const char *jwt_method_jwks_file(const struct jwt_method *m);	/* NULL: keys are in the config */

/*
 * Verify signature, issuer, audience and times. jwks: the file's content, "" without one. now_ns: Unix
 * time. *ret_claims (json_object_put()) is what binding rules look at: {"value": {name: text}, "list":
 * {name: [text]}}, as ClaimMappings and ListClaimMappings say. -EACCES with a sentence that tells no secret; -ENOMEM.
 */
int MUST_CHECK jwt_verify(const struct jwt_method *m, struct str token, struct str jwks, int64_t now_ns,
    struct json_object **ret_claims, char ret_err[ACL_ERROR_MAX]);

#endif
