/*
 * curl_loop.h - libcurl's transfers inside checkd's loop.
 *
 * All transfers of all kinds of checks share one multi handle, which is made
 * for the first of them; libcurl itself is loaded then as well.
 */
#ifndef CHECKD_CURL_LOOP_H
#define CHECKD_CURL_LOOP_H

#include <stdbool.h>

#include "checkd/curl_lib.h"
#include "lib/errs.h"

struct checkd;
struct curl_loop;
struct curl_job;

/*
 * Called once for each transfer that ends, from the loop, never from
 * curl_job_start(). The transfer is out of the multi handle: the job may be
 * released, or started again with other options.
 */
typedef void curl_job_done(struct curl_job *j, CURLcode rc);

/* One easy handle, embedded in its owner. */
struct curl_job {
	CURL *easy;
	struct curl_loop *loop;
	curl_job_done *done;
	void *owner;			/* for the use of done() */
	bool under_way;
	char fault[CURL_ERROR_SIZE];	/* libcurl's words for what failed; "" when it has none */
};

/*
 * Load libcurl and make the handle. -ENOMEM, or what curl_lib_load() gives;
 * *ret_why (static memory) tells why. The job is NULL-safe to release then.
 */
int MUST_CHECK curl_job_init(struct curl_job *j, struct checkd *cd, curl_job_done *done, void *owner, const char **ret_why);

/* Begin; done() follows, unless this fails (then it does not) or the job is released before. */
CURLcode MUST_CHECK curl_job_start(struct curl_job *j);

/* End it without done(); a job full of zeros is none. What its options point to may be freed afterwards. */
void curl_job_release(struct curl_job *j);

/* Add a header's line, copied, to a list. -ENOMEM (also for a line that is NULL), the list is as before then. */
int MUST_CHECK curl_add_line(struct curl_slist **list, const char *line);

/* No job is left. NULL is none. */
void curl_loop_free(struct curl_loop *l);

#endif
