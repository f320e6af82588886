/*
 * open.c - where the agent is and who we are, from flags and environment.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/client/errtext.h"
#include "consulctl/cmd/input.h"

enum { TOKEN_FILE_MAX = 64 * KiB };
#define DEFAULT_ADDRESS "127.0.0.1:8500"

static const char *
env_text(const char *name)
{
	const char *s = getenv(name);

	return s != NULL ? s : "";
}

/* The flag, else the variable of the environment; "" for neither. */
static const char *
setting(const struct options *o, const char *flag, const char *env)
{
	const char *s = options_str(o, flag);

	return options_given(o, flag) ? s : env_text(env);
}

static int PRINTF(1, 2)
complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("Error connecting to Consul agent: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return -EINVAL;
}

/* A bool in the environment; Consul warns about another word and goes on. */
static bool
env_bool(const char *name, bool dflt)
{
	const char *s = env_text(name);
	bool b = dflt;

	if (*s != '\0' && options_bool_parse(s, &b) < 0)
		fprintf(stderr, "Warning: %s is neither true nor false: %s\n", name, s);
	return b;
}

static int
load_token(struct client *c, const struct options *o)
{
	const char *path = setting(o, "token-file", "CONSUL_HTTP_TOKEN_FILE");
	const char *token = setting(o, "token", "CONSUL_HTTP_TOKEN"), *text;
	struct buf file = BUF_INIT(TOKEN_FILE_MAX);
	int rc = 0;

	if (*path != '\0') {
		rc = input_file(path, &file);
		if (rc < 0) {
			buf_release(&file);
			return complain("Error loading token file: open %s: %s", path, errtext(rc));
		}
		text = buf_cstr(&file);
		if (text != NULL && text[strspn(text, " \t\r\n")] != '\0')
			token = text + strspn(text, " \t\r\n");
	}
	if (*token != '\0') {
		size_t len = strlen(token);

		while (len > 0 && strchr(" \t\r\n", token[len - 1]) != NULL)
			len--;
		c->token = strndup(token, len);
		if (c->token == NULL)
			rc = -ENOMEM;
		else if (strpbrk(c->token, "\r\n") != NULL)
			rc = complain("the token is more than one line");
	}
	buf_release(&file);
	return rc;
}

static int
use_tls(struct client *c, const struct options *o)
{
	struct tls_settings s = {
		.ca_file = setting(o, "ca-file", "CONSUL_CACERT"),
		.ca_path = setting(o, "ca-path", "CONSUL_CAPATH"),
		.client_cert = setting(o, "client-cert", "CONSUL_CLIENT_CERT"),
		.client_key = setting(o, "client-key", "CONSUL_CLIENT_KEY"),
		.server_name = setting(o, "tls-server-name", "CONSUL_TLS_SERVER_NAME"),
		.verify = env_bool("CONSUL_HTTP_SSL_VERIFY", true),
	};
	struct buf err = BUF_INIT(1024);
	const char *text;

	c->transport = tls_transport_new(c->base, &s, &err);
	if (c->transport == NULL) {
		text = buf_cstr(&err);
		(void)complain("%s", text != NULL ? text : "out of memory");
		buf_release(&err);
		return -EINVAL;
	}
	return 0;
}

/* base is what errors show; a slash in a path is no part of a host. */
static int
use_unix(struct client *c, const char *path)
{
	struct buf b = BUF_INIT(64 * KiB);
	const char *text;
	int rc = buf_adds(&b, "http://");

	for (const char *p = path; rc == 0 && *p != '\0'; p++)
		rc = *p == '/' ? buf_adds(&b, "%2F") : buf_addc(&b, (uint8_t)*p);
	text = rc == 0 ? buf_cstr(&b) : NULL;
	c->base = text != NULL ? strdup(text) : NULL;
	buf_release(&b);
	c->transport = http_transport_new(path, true);
	return c->base != NULL && c->transport != NULL ? 0 : -ENOMEM;
}

/* address: host:port, perhaps with a path behind it, which goes before every path that we ask for. */
static int
use_tcp(struct client *c, const struct options *o, const char *address, bool tls)
{
	size_t len = strcspn(address, "/");
	char *host = strndup(address, len);
	size_t plen = strlen(address + len);

	while (plen > 0 && address[len + plen - 1] == '/')
		plen--;
	free(c->prefix);
	c->prefix = strndup(address + len, plen);
	if (host == NULL || c->prefix == NULL || asprintf(&c->base, "%s://%s", tls ? "https" : "http", host) < 0) {
		c->base = NULL;
		free(host);
		return -ENOMEM;
	}
	if (!tls)
		c->transport = http_transport_new(host, false);
	free(host);
	if (tls)
		return use_tls(c, o);
	return c->transport != NULL ? 0 : -ENOMEM;
}

static int
use_address(struct client *c, const struct options *o)
{
	const char *address = setting(o, "http-addr", "CONSUL_HTTP_ADDR");
	const char *sep;
	bool tls = env_bool("CONSUL_HTTP_SSL", false);

	if (*address == '\0')
		address = DEFAULT_ADDRESS;
	if (strpbrk(address, " \t\r\n") != NULL)
		return complain("not an address: \"%s\"", address);
	sep = strstr(address, "://");
	if (sep == NULL)
		return use_tcp(c, o, address, tls);
	if (strncmp(address, "unix://", 7) == 0)
		return use_unix(c, sep + 3);
	if (strncmp(address, "https://", 8) == 0)
		return use_tcp(c, o, sep + 3, true);
	if (strncmp(address, "http://", 7) == 0)
		return use_tcp(c, o, sep + 3, tls);
	return complain("Unknown protocol scheme: %.*s", (int)(sep - address), address);
}

int
client_open(struct client *c, const struct options *o)
{
	const char *auth = env_text("CONSUL_HTTP_AUTH");
	int rc = 0;

	*c = (struct client){ .datacenter = "" };
	c->prefix = strdup("");
	if (options_given(o, "datacenter"))
		c->datacenter = options_str(o, "datacenter");
	if (options_given(o, "stale"))
		c->stale = options_bool(o, "stale");
	if (*auth != '\0' && asprintf(&c->auth, "%s%s", auth, strchr(auth, ':') != NULL ? "" : ":") < 0) {
		c->auth = NULL;
		rc = -ENOMEM;
	}
	if (c->prefix == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = load_token(c, o);
	if (rc == 0)
		rc = use_address(c, o);
	if (rc == -ENOMEM)
		rc = complain("out of memory");
	if (rc < 0)
		client_close(c);
	return rc;
}

void
client_close(struct client *c)
{
	if (c->transport != NULL)
		c->transport->ops->free(c->transport);
	free(c->base);
	free(c->prefix);
	free(c->token);
	free(c->auth);
	*c = (struct client){ .datacenter = "" };
}
