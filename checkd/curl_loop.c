/* curl_loop.c - libcurl's sockets and its timer in checkd's loop. */
#include "checkd/curl_loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "checkd/checkd.h"

enum {
	IDLE_MAX = 32,		/* handles that are kept for the next transfers */
	READY_MAX = 64,
	READY_ROUNDS_MAX = 16,	/* in a turn; what is left wakes us again */
};

/*
 * libcurl's sockets are in a set of their own, of which the loop watches
 * the descriptor: they come and go by the thousand a second, and each costs
 * half of the system calls, and no memory, this way.
 */
struct curl_loop {
	CURLM *multi;
	uv_loop_t *uv;
	uv_timer_t *timer;
	uv_poll_t *poll;
	int set;
	CURL *idle[IDLE_MAX];
	size_t nidle;
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
on_ready(uv_poll_t *p, int status, int events)
{
	struct curl_loop *l = p->data;
	struct epoll_event v[READY_MAX];
	int n = READY_MAX, running;

	(void)status;
	(void)events;
	for (int round = 0; n == READY_MAX && round < READY_ROUNDS_MAX; round++) {
		n = epoll_wait(l->set, v, READY_MAX, 0);
		for (int i = 0; i < n; i++) {
			int flags = 0;

			if ((v[i].events & EPOLLERR) != 0)
				flags |= CURL_CSELECT_ERR;
			if ((v[i].events & (EPOLLIN | EPOLLHUP)) != 0)
				flags |= CURL_CSELECT_IN;
			if ((v[i].events & EPOLLOUT) != 0)
				flags |= CURL_CSELECT_OUT;
			/* One that has gone meanwhile is unknown to libcurl, which ignores it. */
			(void)curl.multi_socket_action(l->multi, v[i].data.fd, flags, &running);
		}
	}
	collect(l);
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct curl_loop *l = arg;
	struct epoll_event e = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(l->set, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if ((what & CURL_POLL_IN) != 0)
		e.events |= EPOLLIN;
	if ((what & CURL_POLL_OUT) != 0)
		e.events |= EPOLLOUT;
	/* A socket that was closed behind our back has left the set; its number may be in use again. */
	if (epoll_ctl(l->set, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0 &&
	    epoll_ctl(l->set, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) < 0)
		return -1;
	if (known == NULL)
		(void)curl.multi_assign(l->multi, fd, l);
	return 0;
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

static void
poll_closed(uv_handle_t *h)
{
	free(h);
}

/* A poll handle for the set. */
static int
watch_set(struct curl_loop *l)
{
	l->set = epoll_create1(EPOLL_CLOEXEC);
	if (l->set < 0)
		return -errno;
	l->poll = malloc(sizeof(*l->poll));
	if (l->poll == NULL || uv_poll_init(l->uv, l->poll, l->set) < 0) {
		free(l->poll);
		l->poll = NULL;
		return -ENOMEM;
	}
	l->poll->data = l;
	return uv_poll_start(l->poll, UV_READABLE, on_ready);
}

static struct curl_loop *
loop_new(uv_loop_t *uv)
{
	struct curl_loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->uv = uv;
	l->set = -1;
	l->timer = timer_new(uv, l);
	l->multi = curl.multi_init();
	if (l->timer == NULL || l->multi == NULL || watch_set(l) < 0 ||
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
	while (l->nidle > 0)
		curl.easy_cleanup(l->idle[--l->nidle]);
	if (l->multi != NULL)
		(void)curl.multi_cleanup(l->multi);
	timer_free(l->timer);
	/* Unwatched here and now, so that the set may be closed before the handle is. */
	if (l->poll != NULL)
		uv_close((uv_handle_t *)l->poll, poll_closed);
	if (l->set >= 0)
		close(l->set);
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
	j->easy = j->loop->nidle > 0 ? j->loop->idle[--j->loop->nidle] : curl.easy_init();
	if (j->easy == NULL)
		return -ENOMEM;
	if (curl.easy_setopt(j->easy, CURLOPT_PRIVATE, j) != CURLE_OK ||
	    curl.easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->fault) != CURLE_OK ||
	    curl.easy_setopt(j->easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
	    /* A job is given up without a wait for the thread that still looks for its name. */
	    curl.easy_setopt(j->easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK) {
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

int
curl_add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *next = line != NULL ? curl.slist_append(*list, line) : NULL;

	if (next == NULL)
		return -ENOMEM;
	*list = next;
	return 0;
}

void
curl_job_release(struct curl_job *j)
{
	if (j->easy == NULL)
		return;
	if (j->under_way)
		(void)curl.multi_remove_handle(j->loop->multi, j->easy);
	if (j->loop->nidle < IDLE_MAX) {
		/* Nothing that was set for one transfer is left for another. */
		curl.easy_reset(j->easy);
		j->loop->idle[j->loop->nidle++] = j->easy;
	} else {
		curl.easy_cleanup(j->easy);
	}
	j->easy = NULL;
	j->under_way = false;
}
