/* docker_api.c - what is said to a container engine, and by it. */
#include "checkd/docker_api.h"

#include <stdio.h>
#include <string.h>

#include "lib/json.h"

static int
refuse(char fault[DOCKER_FAULT_MAX], const char *text)
{
	snprintf(fault, DOCKER_FAULT_MAX, "unable to parse docker host `%s`", text);
	return -EINVAL;
}

int
docker_host_parse(const char *text, struct docker_host *ret, char fault[DOCKER_FAULT_MAX])
{
	struct str s = str_from(text != NULL && text[0] != '\0' ? text : "unix:///var/run/docker.sock");
	int n;

	*ret = (struct docker_host){ .socket = "" };
	if (str_has_prefix(s, STR("unix://"))) {
		n = snprintf(ret->socket, sizeof(ret->socket), "%s", s.p + strlen("unix://"));
		/* For a Unix socket any name will do. */
		snprintf(ret->base, sizeof(ret->base), "http://docker");
		return n <= 0 || (size_t)n >= sizeof(ret->socket) ? refuse(fault, s.p) : 0;
	}
	if (!str_has_prefix(s, STR("tcp://")))
		return refuse(fault, s.p);
	while (s.len > 0 && s.p[s.len - 1] == '/')
		s.len--;
	if (s.len <= strlen("tcp://") || memchr(s.p, ' ', s.len) != NULL)
		return refuse(fault, text);
	n = snprintf(ret->base, sizeof(ret->base), "http://%.*s", (int)(s.len - strlen("tcp://")), s.p + strlen("tcp://"));
	return n < 0 || (size_t)n >= sizeof(ret->base) ? refuse(fault, text) : 0;
}

int
docker_exec_request(const struct strs *args, struct buf *out)
{
	int rc = buf_adds(out, "{\"AttachStdin\":false,\"AttachStdout\":true,\"AttachStderr\":true,\"Tty\":false,\"Cmd\":[");

	for (size_t i = 0; rc == 0 && i < args->n; i++) {
		if (i > 0)
			rc = buf_addc(out, ',');
		if (rc == 0)
			rc = json_add_string(out, args->v[i]);
	}
	return rc < 0 ? rc : buf_adds(out, "]}");
}

static bool
is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

int
docker_path_add(struct str id, struct buf *out)
{
	int rc = 0;

	/* "." and ".." must not lead elsewhere: dots are kept only between other characters. */
	for (size_t i = 0; rc == 0 && i < id.len; i++) {
		bool kept = is_plain(id.p[i]) || (id.p[i] == '.' && i > 0 && id.p[i - 1] != '.');

		rc = kept ? buf_addc(out, (uint8_t)id.p[i]) : buf_addf(out, "%%%02X", (unsigned char)id.p[i]);
	}
	return rc;
}

static struct json_object *
parse(struct str json)
{
	char err[128];
	bool null;
	struct json_object *j = json_parse(json.p, json.len, &null, err, sizeof(err));

	if (j != NULL && !json_object_is_type(j, json_type_object)) {
		json_object_put(j);
		return NULL;
	}
	return j;
}

int
docker_exec_id(struct str json, char ret[DOCKER_ID_MAX])
{
	struct json_object *j = parse(json), *id = NULL;
	const char *s = NULL;
	int rc = -EDECODE;

	if (j != NULL && json_object_object_get_ex(j, "Id", &id) && json_object_is_type(id, json_type_string))
		s = json_object_get_string(id);
	if (s != NULL && s[0] != '\0' && strlen(s) < DOCKER_ID_MAX) {
		rc = 0;
		for (const char *c = s; *c != '\0'; c++)
			if (!is_plain(*c))
				rc = -EDECODE;
	}
	if (rc == 0)
		snprintf(ret, DOCKER_ID_MAX, "%s", s);
	json_object_put(j);
	return rc;
}

int
docker_exit_code(struct str json, int64_t *ret)
{
	struct json_object *j = parse(json), *v = NULL;
	int rc = -EDECODE;

	if (j != NULL && json_object_object_get_ex(j, "Running", &v) && json_object_get_boolean(v))
		rc = -EAGAIN;
	else if (j != NULL && json_object_object_get_ex(j, "ExitCode", &v) && json_object_is_type(v, json_type_int)) {
		*ret = json_object_get_int64(v);
		rc = 0;
	}
	json_object_put(j);
	return rc;
}
