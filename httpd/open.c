/* open.c - the parts of the daemon, made and taken down in order. */
#include "httpd/cache.h"
#include "httpd/gzip.h"
#include "httpd/monitor.h"
#include "httpd/park.h"
#include "httpd/request.h"
#include "httpd/server.h"
#include "httpd/stream.h"
#include "httpd/upstream.h"

int
httpd_open(struct httpd *h)
{
	struct daemon *d = h->d;
	int rc = 0;

	h->gzip = gzip_new(&d->loop);
	h->park = park_new(h);
	h->cache = cache_new(h);
	h->monitors = monitors_new(h);
	h->streams = streams_new(h);
	if (h->gzip == NULL || h->park == NULL || h->cache == NULL || h->monitors == NULL || h->streams == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = upstream_init(h);
	if (rc == 0)
		rc = server_start(h);
	return rc;
}

void
httpd_close(struct httpd *h)
{
	server_stop(h);
	cache_free(h->cache);
	upstream_release(h);
	park_free(h->park);
	monitors_free(h->monitors);
	streams_free(h->streams);
	gzip_free(h->gzip);
	requests_release(h);
	http_config_release(&h->cfg);
}
