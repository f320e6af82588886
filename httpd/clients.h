/*
 * clients.h - open connections counted by the address they come from.
 */
#ifndef HTTPD_CLIENTS_H
#define HTTPD_CLIENTS_H

#include <sys/socket.h>

struct client;
struct clients;

struct clients *clients_new(void);
void clients_free(struct clients *c);

/*
 * One more connection from this address (those from Unix sockets are one
 * client without a limit). NULL when it has max already (0: no limit), or
 * without memory.
 */
struct client *client_opened(struct clients *c, const struct sockaddr *from, unsigned max);

/* One less. */
void client_closed(struct clients *c, struct client *k);

#endif
