/* jwt.c - fuzz target: tokens, key sets, claims and configs of auth methods; the first byte says which. */
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "fuzz/fuzz.h"
#include "lib/duration.h"
#include "lib/json.h"
#include "raftd/acl/jwt_internal.h"

/* The keys of the examples of RFC 7515 (A.3) and RFC 8037 (A.4). */
#define KEYS "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"
#define SIGNED "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
#define SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define NOW (INT64_C(1300819380) * NS_PER_S)

static struct jwt_method *
method(void)
{
	static const char config[] = "{\"JWKSFile\":\"/x\",\"ClaimMappings\":{\"iss\":\"I\",\"/a/b\":\"B\",\"/l/0\":\"L\"},\"ListClaimMappings\":{\"l\":\"L\",\"aud\":\"A\"}}";
	static struct jwt_method *m;
	char err[ACL_ERROR_MAX];
	struct json_object *j;

	if (m != NULL)
		return m;
	j = json_tokener_parse(config);
	if (j == NULL || jwt_method_new(j, &m, err) < 0)
		abort();
	json_object_put(j);
	return m;
}

/* Only what was signed holds. */
static void
try_token(struct str token, struct str keys)
{
	struct json_object *claims = NULL;
	char err[ACL_ERROR_MAX];
	int rc;

	memset(err, 'x', sizeof(err));
	rc = jwt_verify(method(), token, keys, NOW, &claims, err);
	if (rc == 0 && !str_has_prefix(token, STR(SIGNED)))
		abort();
	if (rc < 0 && (claims != NULL || (rc == -EACCES && memchr(err, 0, sizeof(err)) == NULL)))
		abort();
	json_object_put(claims);
}

static void
try_claims(struct json_object *j)
{
	struct json_object *out = NULL;
	char err[ACL_ERROR_MAX];

	if (jwt_claims_check(method(), j, NOW, err) == 0 && jwt_claims_map(method(), j, &out, err) == 0 &&
	    json_object_object_length(out) != 2)
		abort();
	json_object_put(out);
}

static void
try_config(struct json_object *j)
{
	struct jwt_method *m = NULL;
	char err[ACL_ERROR_MAX];

	if (jwt_method_new(j, &m, err) < 0 && m != NULL)
		abort();
	jwt_method_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data + 1, size - 1 };
	struct json_object *j;
	char why[128];
	bool is_null;

	if (size == 0)
		return 0;
	if (data[0] == 't') {
		try_token(rest, STR(KEYS));
	} else if (data[0] == 'k') {
		try_token(STR(SIGNED SIGNATURE), rest);
	} else {
		j = json_parse(rest.p, rest.len, &is_null, why, sizeof(why));
		if (data[0] == 'c')
			try_config(j);
		else
			try_claims(j);
		json_object_put(j);
	}
	return 0;
}
