/*
 * join_hosts.c - the addresses at which servers may be: of the configuration,
 * by name or number, and those that others told.
 *
 * Until gossip tells where the servers are, the port of a join address is
 * not looked at: a peer's is taken to be ours (ports.server).
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/sock.h"
#include "raftd/join.h"

#define SUB "agent.server.join"

/* ---- targets */

static void
target_free(struct join *j, struct target *t)
{
	/* Its calls end with it. */
	bootstrap_abort(j);
	rpc_client_free(t->client);
	free(t->info);
	free(t);
}

struct target *
target_add(struct join *j, struct str address, uint64_t until_ms)
{
	char ip[SERVER_IP_MAX];
	struct target *t;
	uint16_t port;

	if (address.len >= sizeof(t->address) || servers_parse_address(address, ip, &port) < 0)
		return NULL;
	for (size_t i = 0; i < j->ntargets; i++)
		if (str_eqs(address, j->targets[i]->address)) {
			t = j->targets[i];
			if (until_ms > t->until_ms)
				t->until_ms = until_ms;
			return t;
		}
	t = j->ntargets < JOIN_TARGETS_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (t == NULL)
		return NULL;
	t->j = j;
	memcpy(t->address, address.p, address.len);
	t->until_ms = until_ms;
	j->targets[j->ntargets++] = t;
	return t;
}

void
targets_expire(struct join *j, uint64_t now)
{
	for (size_t i = 0; i < j->ntargets;)
		if (j->targets[i]->until_ms <= now) {
			target_free(j, j->targets[i]);
			j->targets[i] = j->targets[--j->ntargets];
		} else {
			i++;
		}
}

void
targets_rest(struct join *j)
{
	bootstrap_abort(j);
	for (size_t i = 0; i < j->ntargets; i++) {
		struct target *t = j->targets[i];

		rpc_client_free(t->client);
		free(t->info);
		t->client = NULL;
		t->info = NULL;
		t->call = 0;
		t->next_ms = t->heard_ms = 0;
		t->failures = 0;
		t->cluster[0] = 0;
	}
}

void
targets_release(struct join *j)
{
	while (j->ntargets > 0)
		target_free(j, j->targets[--j->ntargets]);
}

/* ---- the configuration's */

static uint16_t
server_port(const struct raftd *r)
{
	return (uint16_t)cfg_int(r->d->config, "ports.server", 8300);
}

static void
add_ip(struct join *j, const char *ip, uint64_t until_ms)
{
	char text[SOCK_ADDR_TEXT_MAX];
	union sock_addr a;

	if (sock_addr_parse(ip, server_port(j->r), &a) < 0)
		return;
	sock_addr_format(&a, text);
	(void)target_add(j, str_from(text), until_ms);
}

/* The part in front of the port: "[::1]:8301", "::1", "10.0.0.1:8301", "host". */
static struct str
host_part(const char *s)
{
	const char *first = strchr(s, ':'), *end = strchr(s, ']');

	if (s[0] == '[' && end != NULL)
		return (struct str){ s + 1, (size_t)(end - s - 1) };
	if (first != NULL && strchr(first + 1, ':') == NULL)
		return (struct str){ s, (size_t)(first - s) };
	return str_from(s);
}

static int
read_host(struct join *j, const char *s)
{
	struct str host = host_part(s);
	union sock_addr a;
	char *name;

	if (strncmp(s, "provider=", 9) == 0) {
		log_err(SUB, "addresses from a cloud provider are not supported, ignoring: address=\"%.200s\"", s);
		return 0;
	}
	if (host.len == 0 || host.len >= sizeof(((struct lookup *)NULL)->name)) {
		log_err(SUB, "not an address to join, ignoring: address=\"%.200s\"", s);
		return 0;
	}
	name = strndup(host.p, host.len);
	if (name == NULL)
		return -ENOMEM;
	if (sock_addr_parse(name, 1, &a) == 0) {
		add_ip(j, name, UINT64_MAX);
		free(name);
	} else if (j->nhosts < JOIN_HOSTS_MAX) {
		j->hosts[j->nhosts++] = name;
	} else {
		log_err(SUB, "too many names to join, ignoring: address=\"%.200s\"", s);
		free(name);
	}
	return 0;
}

int
hosts_read(struct join *j)
{
	struct json_object *lists[] = { cfg_get(j->r->d->config, "start_join"), cfg_get(j->r->d->config, "retry_join") };
	int rc = 0;

	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (size_t i = 0; rc == 0 && lists[l] != NULL && i < json_object_array_length(lists[l]); i++)
			rc = read_host(j, json_object_get_string(json_object_array_get_idx(lists[l], i)));
	return rc;
}

/* ---- looking names up */

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct lookup *l = (struct lookup *)((char *)req - offsetof(struct lookup, req));
	struct join *j = l->j;
	char ip[SERVER_IP_MAX];

	for (size_t i = 0; j != NULL && i < ARRAY_LEN(j->lookups); i++)
		if (j->lookups[i] == l)
			j->lookups[i] = NULL;
	if (j != NULL && status < 0)
		log_warn(SUB, "cannot look up an address to join: name=%s error=\"%s\"", l->name, uv_strerror(status));
	for (struct addrinfo *a = res; j != NULL && a != NULL; a = a->ai_next) {
		int rc = a->ai_family == AF_INET ? uv_ip4_name((struct sockaddr_in *)(void *)a->ai_addr, ip, sizeof(ip)) :
		    a->ai_family == AF_INET6 ? uv_ip6_name((struct sockaddr_in6 *)(void *)a->ai_addr, ip, sizeof(ip)) : -1;

		if (rc == 0)
			add_ip(j, ip, clock_ms() + JOIN_NAMED_MS);
	}
	uv_freeaddrinfo(res);
	free(l);
}

static void
resolve(struct join *j, size_t i)
{
	static const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return;
	l->j = j;
	(void)snprintf(l->name, sizeof(l->name), "%s", j->hosts[i]);
	if (uv_getaddrinfo(&j->r->d->loop.uv, &l->req, on_resolved, l->name, NULL, &hints) < 0)
		free(l);
	else
		j->lookups[i] = l;
}

void
hosts_resolve(struct join *j, uint64_t now)
{
	if (now < j->resolve_ms)
		return;
	j->resolve_ms = now + JOIN_RESOLVE_MS;
	for (size_t i = 0; i < j->nhosts; i++)
		if (j->lookups[i] == NULL)
			resolve(j, i);
}

void
hosts_release(struct join *j)
{
	for (size_t i = 0; i < j->nhosts; i++) {
		if (j->lookups[i] != NULL) {
			j->lookups[i]->j = NULL;
			(void)uv_cancel((uv_req_t *)&j->lookups[i]->req);
		}
		free(j->hosts[i]);
	}
	j->nhosts = 0;
}
