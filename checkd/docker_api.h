/*
 * docker_api.h - where a container engine listens, and what is said to it
 * and by it about a command in a container.
 *
 * Pure.
 */
#ifndef CHECKD_DOCKER_API_H
#define CHECKD_DOCKER_API_H

#include "lib/buf.h"
#include "lib/record.h"

enum { DOCKER_ADDRESS_MAX = 512, DOCKER_ID_MAX = 256, DOCKER_FAULT_MAX = 256 };

struct docker_host {
	char socket[DOCKER_ADDRESS_MAX];	/* path of a Unix socket; "" for TCP */
	char base[DOCKER_ADDRESS_MAX];		/* "http://host:port/path" without a slash at the end */
};

/*
 * Take $DOCKER_HOST apart ("unix:///path", "tcp://host:port[/path]"; NULL or
 * "" is the engine's usual socket). -EINVAL with a sentence in fault.
 */
int docker_host_parse(const char *text, struct docker_host *ret, char fault[DOCKER_FAULT_MAX]);

/* Append the body of POST /containers/ID/exec. -ENOMEM, -ELIMIT. */
int MUST_CHECK docker_exec_request(const struct strs *args, struct buf *out);

/* Append a container's name as a part of a path. -ENOMEM, -ELIMIT. */
int MUST_CHECK docker_path_add(struct str id, struct buf *out);

/* The exec's id out of the answer to that, safe to put into a path. -EDECODE. */
int MUST_CHECK docker_exec_id(struct str json, char ret[DOCKER_ID_MAX]);

/* The exit code out of GET /exec/ID/json. -EDECODE; -EAGAIN while it still runs. */
int MUST_CHECK docker_exit_code(struct str json, int64_t *ret);

#endif
