/* curl_loop.c - libcurl's sockets and its timer in checkd's loop. */
#include "checkd/curl_loop.h"

#include <stdlib.h>
#include <string.h>

#include "checkd/checkd.h"

struct curl_loop {
	CURLM *multi;
	uv_loop_t *uv;
	uv_timer_t *timer;
};

/* A socket of libcurl's that the loop watches. */
struct watched {
	uv_poll_t poll;
	curl_socket_t fd;
	struct curl_loop *l;
};

/* Tell the owners of the transfers that have ended. */
static void
collect(struct curl_loop *l)
{
	struct curl_job *j;
	CURLMsg *m;
	CURLcode rc;
	int left;

	while ((m = curl.multi_info_read(l->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		rc = m->data.result;
		(void)curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&j);
		(void)curl.multi_remove_handle(l->multi, j->easy);
		j->under_way = false;
		j->done(j, rc);
	}
}

static void
watched_closed(uv_handle_t *p)
{
	free(p->data);
}

static void
on_poll(uv_poll_t *p, int status, int events)
{
	struct watched *w = p->data;
	struct curl_loop *l = w->l;
	int flags = 0, running;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if ((events & UV_READABLE) != 0)
		flags |= CURL_CSELECT_IN;
	if ((events & UV_WRITABLE) != 0)
		flags |= CURL_CSELECT_OUT;
	(void)curl.multi_socket_action(l->multi, w->fd, flags, &running);
	collect(l);
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_loop *l = arg;
	struct watched *w = socket_arg;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			(void)curl.multi_assign(l->multi, fd, NULL);
			(void)uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, watched_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL || uv_poll_init_socket(l->uv, &w->poll, fd) < 0) {
			free(w);
			return -1;
		}
		w->fd = fd;
		w->l = l;
		w->poll.data = w;
		(void)curl.multi_assign(l->multi, fd, w);
	}
	if ((what & CURL_POLL_IN) != 0)
		events |= UV_READABLE;
	if ((what & CURL_POLL_OUT) != 0)
		events |= UV_WRITABLE;
	return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

static void
on_timeout(uv_timer_t *t)
{
	struct curl_loop *l = t->data;
	int running;

	(void)curl.multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(l);
}

static int
on_timer(CURLM *multi, long ms, void *arg)
{
	struct curl_loop *l = arg;

	(void)multi;
	if (ms < 0)
		(void)uv_timer_stop(l->timer);
	else	/* Never at once: libcurl must not be entered from its own callback. */
		(void)uv_timer_start(l->timer, on_timeout, (uint64_t)ms, 0);
	return 0;
}

static struct curl_loop *
loop_new(uv_loop_t *uv)
{
	struct curl_loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->uv = uv;
	l->timer = timer_new(uv, l);
	l->multi = curl.multi_init();
	if (l->timer == NULL || l->multi == NULL ||
	    curl.multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
	    curl.multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l) != CURLM_OK ||
	    curl.multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
	    curl.multi_setopt(l->multi, CURLMOPT_TIMERDATA, l) != CURLM_OK) {
		curl_loop_free(l);
		return NULL;
	}
	return l;
}

void
curl_loop_free(struct curl_loop *l)
{
	if (l == NULL)
		return;
	if (l->multi != NULL)
		(void)curl.multi_cleanup(l->multi);
	timer_free(l->timer);
	free(l);
}

/* ---- one transfer */

int
curl_job_init(struct curl_job *j, struct checkd *cd, curl_job_done *done, void *owner, const char **ret_why)
{
	int rc;

	*j = (struct curl_job){ .done = done, .owner = owner };
	*ret_why = "out of memory";
	rc = curl_lib_load(ret_why);
	if (rc < 0)
		return rc;
	if (cd->curl == NULL)
		cd->curl = loop_new(&cd->d->loop.uv);
	if (cd->curl == NULL)
		return -ENOMEM;
	j->loop = cd->curl;
	j->easy = curl.easy_init();
	if (j->easy == NULL)
		return -ENOMEM;
	if (curl.easy_setopt(j->easy, CURLOPT_PRIVATE, j) != CURLE_OK ||
	    curl.easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->fault) != CURLE_OK ||
	    curl.easy_setopt(j->easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK) {
		curl_job_release(j);
		return -ENOMEM;
	}
	return 0;
}

CURLcode
curl_job_start(struct curl_job *j)
{
	j->fault[0] = '\0';
	if (curl.multi_add_handle(j->loop->multi, j->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	j->under_way = true;
	return CURLE_OK;
}

void
curl_job_release(struct curl_job *j)
{
	if (j->easy == NULL)
		return;
	if (j->under_way)
		(void)curl.multi_remove_handle(j->loop->multi, j->easy);
	curl.easy_cleanup(j->easy);
	j->easy = NULL;
	j->under_way = false;
}
