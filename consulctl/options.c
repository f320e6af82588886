/*
 * options.c - the flags of a command, parsed from tables.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "consulctl/options.h"
#include "lib/duration.h"
#include "lib/log.h"

struct option_value {
	const struct option *opt;
	const char *text;
};

const struct option options_client[] = {
	{ "http-addr", OPT_STR, "address", NULL,
	  "Address and port of the agent's HTTP API: host:port, http://host:port, https://host:port or unix:///path. "
	  "Else CONSUL_HTTP_ADDR, else http://127.0.0.1:8500." },
	{ "token", OPT_STR, "value", NULL,
	  "ACL token to send. Else CONSUL_HTTP_TOKEN, else the agent's own token is used." },
	{ "token-file", OPT_STR, "path", NULL,
	  "File that holds the ACL token; it wins over -token and CONSUL_HTTP_TOKEN. Else CONSUL_HTTP_TOKEN_FILE." },
	{ "ca-file", OPT_STR, "path", NULL,
	  "File of CA certificates that the agent's certificate must chain to. Else CONSUL_CACERT." },
	{ "ca-path", OPT_STR, "path", NULL,
	  "Directory of CA certificates. Else CONSUL_CAPATH." },
	{ "client-cert", OPT_STR, "path", NULL,
	  "Certificate to show to an agent that verifies its clients. Else CONSUL_CLIENT_CERT." },
	{ "client-key", OPT_STR, "path", NULL,
	  "Key of that certificate. Else CONSUL_CLIENT_KEY." },
	{ "tls-server-name", OPT_STR, "name", NULL,
	  "Name that the agent's certificate must bear, when it is not that of the address. Else CONSUL_TLS_SERVER_NAME." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

const struct option options_server[] = {
	{ "datacenter", OPT_STR, "name", NULL,
	  "Datacenter to ask; the agent's own when not given." },
	{ "stale", OPT_BOOL, NULL, NULL,
	  "Let any server answer, not only the leader: quicker, and possibly behind. Writes ignore it." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

void
options_init(struct options *o)
{
	*o = (struct options){ .ntables = 0 };
}

void
options_use(struct options *o, const struct option *table)
{
	if (table == NULL)
		return;
	if (o->ntables == OPTIONS_TABLES_MAX)
		log_fatal("cli", "too many tables of options");
	o->tables[o->ntables++] = table;
}

static const struct option *
option_find(const struct options *o, const char *name, size_t len)
{
	for (size_t t = 0; t < o->ntables; t++)
		for (const struct option *p = o->tables[t]; p->name != NULL; p++)
			if (strlen(p->name) == len && memcmp(p->name, name, len) == 0)
				return p;
	return NULL;
}

int
options_bool_parse(const char *s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (strcmp(s, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcmp(s, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

/* Decimal, 0x hexadecimal or 0 octal, as Go reads flags; the whole text. */
static int
u64_parse(const char *s, uint64_t *ret)
{
	char *end;
	unsigned long long v;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, 0);
	if (errno != 0)
		return -ERANGE;
	if (*end != '\0')
		return -EINVAL;
	*ret = v;
	return 0;
}

static int
int_parse(const char *s, int64_t *ret)
{
	bool minus = *s == '-';
	uint64_t v = 0;
	int rc = u64_parse(s + (*s == '-' || *s == '+'), &v);

	if (rc < 0)
		return rc;
	if (v > (uint64_t)INT64_MAX)
		return -ERANGE;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

/* Durations may be negative on a command line; the commands then say what they think of it. */
static int
ns_parse(const char *s, int64_t *ret)
{
	bool minus = *s == '-';
	int64_t ns = 0;
	int rc = duration_parse(str_from(s + minus), &ns);

	if (rc == 0)
		*ret = minus ? -ns : ns;
	return rc;
}

static int
value_check(const struct option *opt, const char *text)
{
	uint64_t u;
	int64_t i;
	bool b;

	switch (opt->type) {
	case OPT_BOOL:
		return options_bool_parse(text, &b);
	case OPT_INT:
		return int_parse(text, &i);
	case OPT_U64:
		return u64_parse(text, &u);
	case OPT_DURATION:
		return ns_parse(text, &i);
	case OPT_MAP:
		return strchr(text, '=') != NULL ? 0 : -EINVAL;
	case OPT_STR:
	case OPT_LIST:
		return 0;
	}
	return -EINVAL;
}

static int
value_refuse(const struct option *opt, const char *text, int why, struct buf *err)
{
	int rc;

	if (opt->type == OPT_BOOL)
		rc = buf_addf(err, "invalid boolean value \"%s\" for -%s: parse error", text, opt->name);
	else if (opt->type == OPT_MAP)
		rc = buf_addf(err, "invalid value \"%s\" for flag -%s: Missing \"=\" value in argument: %s", text, opt->name, text);
	else
		rc = buf_addf(err, "invalid value \"%s\" for flag -%s: %s", text, opt->name,
		    why == -ERANGE ? "value out of range" : "parse error");
	return rc < 0 ? rc : -EINVAL;
}

static int
value_add(struct options *o, const struct option *opt, const char *text, struct buf *err)
{
	struct option_value *v;
	int rc = value_check(opt, text);

	if (rc < 0)
		return value_refuse(opt, text, rc, err);
	v = realloc(o->values, (o->nvalues + 1) * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	o->values = v;
	v[o->nvalues++] = (struct option_value){ opt, text };
	return 0;
}

/* A sentence about one argument. */
static int
refuse(struct buf *err, const char *what, const char *arg)
{
	int rc = buf_addf(err, "%s: %s", what, arg);

	return rc < 0 ? rc : -EINVAL;
}

static bool
is_flag(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0';
}

/* One flag at argv[*i]; *i is moved to its last argument. 1: help. */
static int
parse_one(struct options *o, int argc, char **argv, int *i, struct buf *err)
{
	const char *arg = argv[*i], *name = arg + (arg[1] == '-' ? 2 : 1);
	size_t len = strcspn(name, "=");
	const struct option *opt;
	int rc;

	if (len == 0 || name[0] == '-')
		return refuse(err, "bad flag syntax", arg);
	opt = option_find(o, name, len);
	if (opt == NULL && ((len == 1 && name[0] == 'h') || (len == 4 && memcmp(name, "help", 4) == 0)))
		return 1;
	if (opt == NULL) {
		rc = buf_addf(err, "flag provided but not defined: -%.*s", (int)len, name);
		return rc < 0 ? rc : -EINVAL;
	}
	if (name[len] == '=')
		return value_add(o, opt, name + len + 1, err);
	if (opt->type == OPT_BOOL)
		return value_add(o, opt, "true", err);
	if (*i + 1 >= argc) {
		rc = buf_addf(err, "flag needs an argument: -%s", opt->name);
		return rc < 0 ? rc : -EINVAL;
	}
	return value_add(o, opt, argv[++*i], err);
}

int
options_parse(struct options *o, int argc, char **argv, struct buf *err)
{
	int i, rc;

	for (i = 1; i < argc && is_flag(argv[i]); i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		rc = parse_one(o, argc, argv, &i, err);
		if (rc != 0)
			return rc;
	}
	o->args = argv + i;
	o->nargs = argc - i;
	return 0;
}

void
options_release(struct options *o)
{
	free(o->values);
	*o = (struct options){ .ntables = 0 };
}

/* The last value given or the default (possibly NULL); stops on a name that no table has. */
static const char *
value_of(const struct options *o, const char *name, enum option_type type)
{
	const struct option *opt = option_find(o, name, strlen(name));

	if (opt == NULL || opt->type != type)
		log_fatal("cli", "no such option: -%s", name);
	for (size_t i = o->nvalues; i-- > 0;)
		if (o->values[i].opt == opt)
			return o->values[i].text;
	return opt->dflt;
}

bool
options_bool(const struct options *o, const char *name)
{
	const char *text = value_of(o, name, OPT_BOOL);
	bool b = false;

	if (text != NULL && options_bool_parse(text, &b) < 0)
		log_fatal("cli", "bad default of -%s", name);
	return b;
}

const char *
options_str(const struct options *o, const char *name)
{
	const char *text = value_of(o, name, OPT_STR);

	return text != NULL ? text : "";
}

int64_t
options_int(const struct options *o, const char *name)
{
	const char *text = value_of(o, name, OPT_INT);
	int64_t v = 0;

	if (text != NULL && int_parse(text, &v) < 0)
		log_fatal("cli", "bad default of -%s", name);
	return v;
}

uint64_t
options_u64(const struct options *o, const char *name)
{
	const char *text = value_of(o, name, OPT_U64);
	uint64_t v = 0;

	if (text != NULL && u64_parse(text, &v) < 0)
		log_fatal("cli", "bad default of -%s", name);
	return v;
}

int64_t
options_ns(const struct options *o, const char *name)
{
	const char *text = value_of(o, name, OPT_DURATION);
	int64_t v = 0;

	if (text != NULL && ns_parse(text, &v) < 0)
		log_fatal("cli", "bad default of -%s", name);
	return v;
}

bool
options_given(const struct options *o, const char *name)
{
	for (size_t i = 0; i < o->nvalues; i++)
		if (strcmp(o->values[i].opt->name, name) == 0)
			return true;
	return false;
}

const char *
options_list(const struct options *o, const char *name, size_t i)
{
	for (size_t n = 0; n < o->nvalues; n++)
		if (strcmp(o->values[n].opt->name, name) == 0 && i-- == 0)
			return o->values[n].text;
	return NULL;
}
