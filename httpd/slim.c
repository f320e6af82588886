/* slim.c - giving back what a parked request holds. */
#include "httpd/slim.h"

#include <sys/mman.h>
#include <unistd.h>

enum { PAGES_MAX = HTTP_POOL_MAX / 4096 };

void
slim_request(struct request *r)
{
	r->record = NULL;
	r->params = (struct params){ NULL, 0 };
	r->opts.token = r->opts.datacenter = STR_NONE;
	r->rest = STR_NONE;
	if (r->h->cfg.acl_enabled) {
		arena_wipe(&r->arena);
		buf_wipe(&r->body);
	}
	arena_release(&r->arena);
	buf_release(&r->body);
	buf_release(&r->reply.body);
	/* The log tells the path of what has ended. */
	if (log_enabled(LOG_DEBUG))
		return;
	r->path = STR_NONE;
	if (r->h->cfg.acl_enabled)
		buf_wipe(&r->uri);
	buf_release(&r->uri);
}

int
slim_restore(struct request *r, struct str question)
{
	const struct op_info *info = op_info(r->op);
	char *copy = arena_strdup(&r->arena, question);
	void *record = info->request != NULL ? arena_alloc(&r->arena, info->request->size) : NULL;
	struct query_options o;
	int rc;

	if (copy == NULL || (info->request != NULL && record == NULL))
		return -ENOMEM;
	rc = op_request_decode(info, copy, question.len, &o, record, &r->arena);
	if (rc < 0)
		return rc;
	r->opts.token = o.token;
	r->opts.datacenter = o.datacenter;
	r->record = record;
	return 0;
}

/* The memory is the library's: AddressSanitizer would mind the part of it that is not handed out. */
__attribute__((no_sanitize("address"))) static bool
page_is_zero(const unsigned char *page, size_t size)
{
	const uint64_t *p = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < size / sizeof(*p); i++)
		if (p[i] != 0)
			return false;
	return true;
}

/*
 * The library clears a connection's pool behind every request, and so has all
 * of it in memory, where it uses some hundred bytes at either end. A private
 * page of zeros that is given back reads as zeros: nobody can tell, whatever
 * lies there. So it is enough to know roughly where the pool is: its beginning
 * is just before the URL. What is not mapped, or not in memory, is left alone.
 */
void
slim_connection(const struct request *r)
{
	static size_t page;
	unsigned char in_memory[PAGES_MAX];
	uintptr_t from, to;

	if (page == 0)
		page = (size_t)sysconf(_SC_PAGESIZE);
	from = ((uintptr_t)r->uri_at + page - 1) / page * page;
	to = ((uintptr_t)r->uri_at + r->h->pool_size) / page * page;
	if (page < 4096 || to <= from || (to - from) / page > PAGES_MAX ||
	    mincore((void *)from, to - from, in_memory) < 0)
		return;
	for (uintptr_t at = from; at < to; at += page) {
		uintptr_t end = at;

		while (end < to && (in_memory[(end - from) / page] & 1) != 0 &&
		    page_is_zero((const unsigned char *)end, page))
			end += page;
		if (end == at)
			continue;
		/* A page that stays in memory is no loss. */
		(void)madvise((void *)at, end - at, MADV_DONTNEED);
		at = end - page;
	}
}
