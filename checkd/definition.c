/* definition.c - what a service or check definition must look like. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "checkd/definition.h"
#include "checkd/status.h"
#include "lib/duration.h"
#include "lib/sock.h"

enum { META_KEY_MAX = 128, META_VALUE_MAX = 512, WEIGHT_MAX = 65535 };

static int PRINTF(3, 4)
refuse(struct refusal *why, int code, const char *fmt, ...)
{
	va_list ap;

	why->code = code;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

const char *
check_def_type(const struct check_def *d)
{
	const struct {
		bool is;
		const char *type;
	} types[] = {
		{ d->grpc.len > 0, "grpc" },
		{ d->http.len > 0, "http" },
		{ d->ttl > 0, "ttl" },
		{ d->tcp.len > 0, "tcp" },
		{ d->udp.len > 0, "udp" },
		{ d->alias_node.len > 0 || d->alias_service.len > 0, "alias" },
		{ d->docker_container_id.len > 0, "docker" },
		{ d->args.n > 0, "script" },
		{ d->h2ping.len > 0, "h2ping" },
		{ d->os_service.len > 0, "os_service" },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].is)
			return types[i].type;
	return "";
}

/* MessagePack's booleans. */
static bool
is_raw_bool(struct str raw, bool value)
{
	return raw.len == 1 && (unsigned char)raw.p[0] == (value ? 0xc3 : 0xc2);
}

bool
definition_h2ping_uses_tls(const struct check_def *d)
{
	return !is_raw_bool(d->h2ping_use_tls, false);
}

/* Whether there is something to be asked again and again. */
static bool
has_target(const struct check_def *d)
{
	return d->args.n > 0 || d->http.len > 0 || d->tcp.len > 0 || d->udp.len > 0 || d->grpc.len > 0 || d->h2ping.len > 0 ||
	    d->os_service.len > 0 || d->docker_container_id.len > 0;
}

/* What a check may combine; every sentence stands alone, the caller says what it belongs to. */
static const char *
check_fault(const struct check_def *d, const char *type)
{
	bool alias = strcmp(type, "alias") == 0, aliased = d->alias_node.len > 0 || d->alias_service.len > 0;
	bool timed = type[0] != '\0' && !alias && strcmp(type, "ttl") != 0;
	bool late = strcmp(type, "udp") == 0 || strcmp(type, "os_service") == 0;

	if (d->script.len > 0)
		return "\"script\" is no longer supported, use \"args\"";
	if (d->interval > 0 && d->ttl > 0)
		return "Interval and TTL cannot both be specified";
	if (timed && d->interval <= 0)	/* each release of Consul names the types that it has */
		return late ? "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks" :
		    "Interval must be > 0 for Script, HTTP, H2PING, or TCP checks";
	if (aliased && has_target(d))	/* an interval alone does no harm */
		return "Interval cannot be set for Alias checks";
	if (aliased && d->ttl > 0)
		return "TTL must be not be set for Alias checks";
	if (!timed && !alias && d->ttl <= 0)
		return "TTL must be > 0 for TTL checks";
	if (d->output_max_size < 0)
		return "MaxOutputMaxSize must be positive";
	if (d->failures_before_critical >= 0 && d->failures_before_warning > d->failures_before_critical)
		return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical";
	return NULL;
}

/* What Consul takes without a word, and then does nothing sensible with. */
static const char *
check_nonsense(const struct check_def *d, const char *type)
{
	if (d->timeout < 0)
		return "Timeout must not be negative";
	if (d->deregister_critical_service_after < 0)
		return "DeregisterCriticalServiceAfter must not be negative";
	if (d->success_before_passing < 0 || d->failures_before_warning < 0 || d->failures_before_critical < 0)
		return "SuccessBeforePassing, FailuresBeforeWarning and FailuresBeforeCritical must not be negative";
	if (d->h2ping_use_tls.len > 0 && !is_raw_bool(d->h2ping_use_tls, true) && !is_raw_bool(d->h2ping_use_tls, false) &&
	    (unsigned char)d->h2ping_use_tls.p[0] != 0xc0)	/* null: not said */
		return "H2PingUseTLS must be true or false";
	if (strcmp(type, "docker") == 0 && d->args.n == 0)
		return "a Docker check needs \"args\", the command that it runs in the container";
	if ((strcmp(type, "script") == 0 || strcmp(type, "docker") == 0) && d->args.v[0].len == 0)
		return "the program in \"args\" is empty";
	return NULL;
}

static int
check_scripts(const char *type, enum source source, const struct script_policy *p, struct refusal *why)
{
	/* A command in a container is a program as well. */
	if (strcmp(type, "script") != 0 && strcmp(type, "docker") != 0)
		return 0;
	if (source == SOURCE_FILE && !p->files)
		return refuse(why, 500, "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
		    "'enable_local_script_checks' to true");
	if (source == SOURCE_API && !p->api)
		return refuse(why, 500, "Scripts are disabled on this agent from remote calls; to enable, configure "
		    "'enable_script_checks' to true");
	return 0;
}

/* Arguments reach exec(3), and texts curl and the resolver, as C strings: a NUL would cut them silently. */
static bool
has_nul(struct str s)
{
	return s.len > 0 && memchr(s.p, '\0', s.len) != NULL;
}

static bool
strings_cut(const struct check_def *d)
{
	const struct str v[] = { d->check_id, d->http, d->method, d->body, d->tcp, d->tls_server_name, d->alias_node,
		d->alias_service, d->udp, d->grpc, d->h2ping, d->docker_container_id, d->shell, d->os_service };

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		if (has_nul(v[i]))
			return true;
	for (size_t i = 0; i < d->args.n; i++)
		if (has_nul(d->args.v[i]))
			return true;
	return false;
}

static int
check_common(struct check_def *d, enum source source, const struct script_policy *p, struct refusal *why)
{
	const char *type = check_def_type(d);
	const char *fault = check_fault(d, type);

	if (fault == NULL)
		fault = check_nonsense(d, type);
	if (fault == NULL && strings_cut(d))
		fault = "a text must not contain a NUL byte";
	if (fault != NULL)
		return refuse(why, 400, "Invalid check: %s", fault);
	return check_scripts(type, source, p, why);
}

/* ---- services */

static int
check_address(struct str address, struct refusal *why)
{
	static const char *const any[] = { "0.0.0.0", "::", "[::]" };

	for (size_t i = 0; i < ARRAY_LEN(any); i++)
		if (str_eqs(address, any[i]))
			return refuse(why, 400, "Invalid service address");
	return 0;
}

static int
check_weights(const struct service_def *d, struct refusal *why)
{
	const struct weights *w = d->weights.n > 0 ? d->weights.v : NULL;

	if (w == NULL)
		return 0;
	if (w->passing < 1)
		return refuse(why, 400, "Invalid Weights: Passing must be greater than 0");
	if (w->warning < 0)
		return refuse(why, 400, "Invalid Weights: Warning must be greater or equal than 0");
	if (w->passing > WEIGHT_MAX || w->warning > WEIGHT_MAX)
		return refuse(why, 400, "Invalid Weights: DNS Weight must be between 0 and 65535");
	return 0;
}

static const char *
meta_fault(struct str key, struct str value)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	if (key.len == 0)
		return "Key cannot be blank";
	for (size_t i = 0; i < key.len; i++)
		if (key.p[i] == '\0' || strchr(allowed, key.p[i]) == NULL)
			return "Key contains invalid characters";
	if (key.len > META_KEY_MAX)
		return "Key is too long (limit: 128 characters)";
	if (str_has_prefix(key, STR("consul-")))
		return "Key prefix 'consul-' is reserved for internal use";
	if (value.len > META_VALUE_MAX)
		return "Value is too long (limit: 512 characters)";
	return NULL;
}

static int
check_meta(const struct service_def *d, struct refusal *why)
{
	if (d->meta.n > DEFINITION_META_MAX)
		return refuse(why, 400, "Invalid Service Meta: Node metadata cannot contain more than %d key/value pairs",
		    DEFINITION_META_MAX);
	for (size_t i = 0; i < d->meta.n; i++) {
		const struct strpair *m = &d->meta.v[i];
		const char *fault = meta_fault(m->key, m->value);

		if (fault != NULL)
			return refuse(why, 400, "Invalid Service Meta: Couldn't load metadata pair ('%.*s', '%.*s'): %s",
			    STR_ARG(m->key), STR_ARG(m->value), fault);
	}
	return 0;
}

static int
check_service(const struct service_def *d, struct refusal *why)
{
	int rc;

	if (d->name.len == 0)
		return refuse(why, 400, "Missing service name");
	if (has_nul(d->id) || has_nul(d->name))
		return refuse(why, 400, "Invalid service: a name must not contain a NUL byte");
	rc = check_address(d->address, why);
	if (rc == 0)
		rc = check_weights(d, why);
	if (rc == 0)
		rc = check_meta(d, why);
	if (rc < 0)
		return rc;
	if (d->socket_path.len > 0 && (d->address.len > 0 || d->port != 0))
		return refuse(why, 400, "Invalid service: socket_path excludes address and port");
	if (d->port < 0 || d->port > 65535)
		return refuse(why, 400, "Invalid service: port %lld is not between 0 and 65535", (long long)d->port);
	return 0;
}

static bool
check_is_empty(const struct check_def *d)
{
	static const struct check_def none;

	return record_equal(&rec_check_def, d, &none, NULL);
}

/* One list of `check` and `checks`, in that order. */
static int
join_checks(struct service_def *d, struct arena *a, struct refusal *why)
{
	const struct check_def *one = d->check.n > 0 ? d->check.v : NULL;
	bool has_one = one != NULL && !check_is_empty(one);
	struct check_def *v;

	if (d->checks.n + has_one > DEFINITION_CHECKS_MAX)
		return refuse(why, 400, "Invalid check: a service has at most %d checks", DEFINITION_CHECKS_MAX);
	if (!has_one) {
		d->check.n = 0;
		return 0;
	}
	v = arena_alloc(a, (d->checks.n + 1) * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	v[0] = *one;
	if (d->checks.n > 0)
		memcpy(v + 1, d->checks.v, d->checks.n * sizeof(*v));
	d->checks = (struct records){ v, d->checks.n + 1 };
	d->check.n = 0;
	return 0;
}

static int
complete_check(struct service_def *d, size_t i, struct arena *a)
{
	struct check_def *c = (struct check_def *)d->checks.v + i;
	const char *text;

	c->service_id = d->id;
	if (c->check_id.len == 0) {
		text = d->checks.n > 1 ? arena_printf(a, "service:%.*s:%zu", STR_ARG(d->id), i + 1) :
		    arena_printf(a, "service:%.*s", STR_ARG(d->id));
		if (text == NULL)
			return -ENOMEM;
		c->check_id = str_from(text);
	}
	if (c->name.len == 0) {
		text = arena_printf(a, "Service '%.*s' check", STR_ARG(d->name));
		if (text == NULL)
			return -ENOMEM;
		c->name = str_from(text);
	}
	/* The service speaks for its checks. */
	c->token = d->token;
	return 0;
}

static bool
has_address(const struct recmap *m, struct str key)
{
	for (size_t i = 0; i < m->n; i++)
		if (str_eq(m->keys[i], key))
			return true;
	return false;
}

/* Insert in the order of the keys; there is room. */
static void
add_address(struct recmap *m, struct str key, struct service_address address)
{
	struct service_address *v = m->v;
	size_t i = m->n++;

	for (; i > 0 && str_cmp(m->keys[i - 1], key) > 0; i--) {
		m->keys[i] = m->keys[i - 1];
		v[i] = v[i - 1];
	}
	m->keys[i] = key;
	v[i] = address;
}

/*
 * A literal address is also the service's LAN and WAN address of its family,
 * unless the definition has others.
 */
static int
complete_addresses(struct service_def *d, struct arena *a)
{
	const struct str names4[] = { STR("lan_ipv4"), STR("wan_ipv4") }, names6[] = { STR("lan_ipv6"), STR("wan_ipv6") };
	const struct service_address *given = d->tagged_addresses.v;
	struct recmap m = { .n = 0 };
	char text[INET6_ADDRSTRLEN + 1] = "";
	union sock_addr ip;
	const struct str *names;

	if (d->address.len > 0 && d->address.len < sizeof(text))
		memcpy(text, d->address.p, d->address.len);
	m.keys = arena_alloc(a, (d->tagged_addresses.n + 2) * sizeof(*m.keys));
	m.v = arena_alloc(a, (d->tagged_addresses.n + 2) * sizeof(*given));
	if (m.keys == NULL || m.v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->tagged_addresses.n; i++)
		add_address(&m, d->tagged_addresses.keys[i], given[i]);
	if (sock_addr_parse(text, 0, &ip) == 0) {
		names = ip.sa.sa_family == AF_INET ? names4 : names6;
		for (unsigned i = 0; i < ARRAY_LEN(names4); i++)
			if (!has_address(&d->tagged_addresses, names[i]))
				add_address(&m, names[i], (struct service_address){ d->address, d->port });
	}
	d->tagged_addresses = m;
	return 0;
}

int
definition_service(struct service_def *d, enum source source, const struct script_policy *p, struct arena *a,
    struct refusal *ret_why)
{
	enum check_status status;
	struct check_def *v;
	int rc;

	rc = check_service(d, ret_why);
	if (rc < 0)
		return rc;
	if (d->id.len == 0)
		d->id = d->name;
	rc = complete_addresses(d, a);
	if (rc == 0)
		rc = join_checks(d, a, ret_why);
	v = d->checks.v;
	for (size_t i = 0; rc == 0 && i < d->checks.n; i++) {
		rc = check_common(&v[i], source, p, ret_why);
		if (rc == 0 && v[i].status.len > 0 && status_parse(v[i].status, &status) < 0)
			rc = refuse(ret_why, 400, "Status for checks must 'passing', 'warning', 'critical'");
		if (rc == 0)
			rc = complete_check(d, i, a);
	}
	if (rc == -ENOMEM || rc == -ELIMIT)
		refuse(ret_why, 500, "%s", err_text(rc));
	return rc;
}

int
definition_check(struct check_def *d, enum source source, const struct script_policy *p, struct refusal *ret_why)
{
	enum check_status status;

	if (d->name.len == 0)
		return refuse(ret_why, 400, "Missing check name");
	if (d->status.len > 0 && status_parse(d->status, &status) < 0)
		return refuse(ret_why, 400, "Bad check status");
	if (d->check_id.len == 0)
		d->check_id = d->name;
	return check_common(d, source, p, ret_why);
}

/* ---- the catalog's records */

void
definition_node_service(const struct service_def *d, struct node_service *ret)
{
	*ret = (struct node_service){
		.kind = d->kind,
		.id = d->id,
		.service = d->name,
		.tags = d->tags,
		.address = d->address,
		.tagged_addresses = d->tagged_addresses,
		.meta = d->meta,
		.port = d->port,
		.socket_path = d->socket_path,
		.weights = d->weights.n > 0 ? *(const struct weights *)d->weights.v : (struct weights){ 1, 1 },
		.enable_tag_override = d->enable_tag_override,
		.proxy = d->proxy,
		.connect = d->connect,
	};
}

int
definition_health_check(const struct check_def *d, const struct node_service *service, struct str node,
    struct arena *a, struct health_check *ret)
{
	char interval[DURATION_TEXT_MAX], timeout[DURATION_TEXT_MAX];

	duration_format(d->interval, interval);
	duration_format(d->timeout, timeout);
	*ret = (struct health_check){
		.node = node,
		.check_id = d->check_id,
		.name = d->name,
		.notes = d->notes,
		.type = str_from(check_def_type(d)),
		.interval = str_from(arena_strdup(a, str_from(interval))),
		.timeout = str_from(arena_strdup(a, str_from(timeout))),
		.definition = STR("\x80"),	/* an empty map */
	};
	if (service != NULL) {
		ret->service_id = service->id;
		ret->service_name = service->service;
		ret->service_tags = service->tags;
	}
	return ret->interval.p != NULL && ret->timeout.p != NULL ? 0 : -ENOMEM;
}
