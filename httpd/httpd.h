/*
 * httpd.h - what the files of httpd share: its config, its peers and the
 * state of the daemon.
 */
#ifndef HTTPD_HTTPD_H
#define HTTPD_HTTPD_H

#include <json-c/json_object.h>
#include <netinet/in.h>

#include "lib/daemon.h"

/* Everything that a client can make grow has its maximum here. */
enum {
	HTTP_CONNS_MAX = 20000,		/* open connections, all clients together */
	HTTP_LISTENERS_MAX = 16,
	HTTP_POOL_MIN = 16 * 1024,	/* a connection's memory in the library: bounds URL and headers; cleared with every request */
	HTTP_POOL_MAX = 1024 * 1024,
	HTTP_PARAMS_MAX = 512,		/* query parameters */
	HTTP_BODY_MAX = 1024 * 1024,	/* of a JSON body where no other limit holds */
	HTTP_FIRST_MS = 60 * 1000,	/* connected, and nothing asked */
	HTTP_HEAD_MS = 30 * 1000,	/* from the first line of a request to the end of its head */
	HTTP_STALL_MS = 30 * 1000,	/* without another byte of a body */
	HTTP_BODY_MS = 60 * 1000,	/* for a body, and a second more for each ... */
	HTTP_BODY_RATE = 1024,		/* ... so many bytes of it */
	HTTP_DRAIN_MAX = 16 * 1024 * 1024, /* bytes of a refused body that are read and dropped */
	HTTP_ARENA_MAX = 64 * 1024 * 1024, /* what one request decodes */
	HTTP_BLOCKING_MAX = 20000,	/* parked clients */
	HTTP_MONITORS_MAX = 64,
	HTTP_STREAMS_MAX = 1024,
	HTTP_STREAM_TOPICS_MAX = 64,	/* of one stream */
	HTTP_STREAM_PARTS_MAX = 16384,	/* topics of all of them: each may wait for raftd twice, and others want to ask it, too */
	HTTP_SPARE_REQUESTS = 32,	/* kept for reuse */
	HTTP_KEEP_BYTES = 8 * 1024,	/* memory that a spare request keeps in each buffer */
	HTTP_SPIN_MAX = 512,		/* answers awaited without suspending their connections */
	HTTP_SPIN_MS = 20,		/* for so long */
	HTTP_HOLD_MARGIN_MS = 1500,	/* beyond rpc_hold_timeout, in which raftd itself answers */
	HTTP_GZIP_MIN = 1400,		/* bytes of a body worth compressing */
	HTTP_LARGE = 64 * 1024,		/* an answer above it counts for the next limit */
	HTTP_UNSENT_MAX = 512 * 1024 * 1024, /* large answers whose clients take their time; one alone may be larger */
};

/* Of an archive to restore: larger ones raftd would refuse. It flows through, nothing of this size is kept. */
#define HTTP_SNAPSHOT_MAX ((uint64_t)8 * 1024 * MiB)

struct cidr {
	int family;
	uint8_t addr[16];
	unsigned bits;
};

/* What the slice says, decoded once. Strings are owned by the slice. */
struct http_config {
	struct json_object *slice;
	const char *node_name, *node_id, *datacenter, *primary_datacenter, *version, *revision;
	const char *default_policy, *default_token;
	bool acl_enabled;
	bool dev_mode, server, acls, translate_wan, filter_unprintable, disable_coordinates;
	int64_t kv_max_value, txn_max_req, txn_max_ops, conns_per_client;
	int64_t default_wait_ms, max_wait_ms, hold_ms, discovery_max_stale_ms, prometheus_retention_ms;
	int64_t max_header_bytes;
	bool use_cache;
	struct json_object *response_headers;	/* {name: text} */
	struct json_object *block_endpoints;	/* [path prefix] */
	struct cidr *write_from;		/* allow_write_http_from */
	size_t nwrite_from;
};

/* 0, or -EINVAL with a sentence in err. Borrows slice. */
int MUST_CHECK http_config_read(struct json_object *slice, struct http_config *ret, char *err, size_t errlen);
void http_config_release(struct http_config *c);

/* Whether a path may be served and whether addr may write. */
bool http_config_blocked(const struct http_config *c, struct str path);
bool http_config_may_write(const struct http_config *c, const struct sockaddr *addr);

enum peer { PEER_RAFTD, PEER_CHECKD, PEER_GOSSIPD, PEER_DNSD, PEER_HTTPD, PEER_CONSULCTL, PEERS };

struct peer_link {
	uv_loop_t *loop;
	struct rpc_client *client;
	uint64_t connects;	/* how often a connection was made */
	uint64_t lost_ms;	/* when the last one was lost, by the loop's clock */
};

struct conns;
struct server;
struct park;
struct cache;
struct request;
struct gzip;
struct monitors;
struct streams;

struct httpd {
	struct daemon *d;
	struct http_config cfg;
	struct peer_link peers[PEERS];
	struct write_stamps stamps;
	struct server *server;
	struct conns *conns;
	struct park *park;
	struct cache *cache;
	struct gzip *gzip;
	struct monitors *monitors;
	struct streams *streams;
	struct request *open, *spare;	/* open ones; those kept for reuse */
	unsigned nspare, nrequests;	/* spare ones; open ones */
	unsigned spinning;		/* open ones that wait without being suspended */
	size_t unsent;			/* bytes of large answers that clients have not taken yet */
	unsigned moved;			/* answers handed to the library, and pieces of bodies taken, in its last run */
	uint64_t started_ms;
	size_t pool_size;		/* a connection's memory in the library */
};

/* Everything behind a decoded h->cfg: parts, clients of the other daemons, the server. Negative: httpd_close() takes down what there is. */
int MUST_CHECK httpd_open(struct httpd *h);
void httpd_close(struct httpd *h);

#endif
