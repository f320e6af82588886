/* clients.c - a hash of client addresses; an entry lives as long as it has connections. */
#include "httpd/clients.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct client {
	struct client *next;
	int family;
	uint8_t addr[16];
	unsigned conns;
};

struct clients {
	struct client *buckets[BUCKETS];
};

struct clients *
clients_new(void)
{
	return calloc(1, sizeof(struct clients));
}

void
clients_free(struct clients *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (c->buckets[i] != NULL) {
			struct client *k = c->buckets[i];

			c->buckets[i] = k->next;
			free(k);
		}
	}
	free(c);
}

static void
client_key(const struct sockaddr *from, struct client *ret)
{
	*ret = (struct client){ .family = from->sa_family };
	if (from->sa_family == AF_INET)
		memcpy(ret->addr, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
	else if (from->sa_family == AF_INET6)
		memcpy(ret->addr, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
}

static struct client **
bucket(struct clients *c, const struct client *key)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof(key->addr); i++)
		hash = (hash ^ key->addr[i]) * 16777619u;
	return &c->buckets[hash % BUCKETS];
}

struct client *
client_opened(struct clients *c, const struct sockaddr *from, unsigned max)
{
	struct client key, *k, **head;

	client_key(from, &key);
	head = bucket(c, &key);
	for (k = *head; k != NULL; k = k->next)
		if (k->family == key.family && memcmp(k->addr, key.addr, sizeof(key.addr)) == 0)
			break;
	if (k == NULL) {
		k = malloc(sizeof(*k));
		if (k == NULL)
			return NULL;
		*k = key;
		k->next = *head;
		*head = k;
	} else if (max > 0 && k->conns >= max && (key.family == AF_INET || key.family == AF_INET6)) {
		return NULL;
	}
	k->conns++;
	return k;
}

void
client_closed(struct clients *c, struct client *k)
{
	struct client **p;

	if (k == NULL || --k->conns > 0)
		return;
	for (p = bucket(c, k); *p != k; p = &(*p)->next)
		;
	*p = k->next;
	free(k);
}
