/* snap_walk.c - the records of state.bin in a stream of bytes. */
#include "lib/mp.h"
#include "lib/snap_internal.h"

enum { WINDOW_KEEP = 1 << 20 };

void
snap_walk_init(struct snap_walk *w, const struct snap_sink *sink)
{
	*w = (struct snap_walk){ .sink = sink };
	buf_init(&w->window, (size_t)SNAP_RECORD_MAX + 2 * WINDOW_KEEP);
}

void
snap_walk_release(struct snap_walk *w)
{
	buf_release(&w->window);
}

/* ---- where a msgpack value ends */

enum { SCAN_MORE = 0, SCAN_BAD = -1 };

static uint64_t
be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* The bytes behind the tag that tell a length, and what they count. */
struct form {
	uint8_t len;		/* bytes of the length */
	uint8_t fixed;		/* bytes that follow in any case */
	uint8_t per;		/* 1: the length is of bytes; 2: of elements; 3: of pairs */
	bool bad;
};

static struct form
form_of(uint8_t t)
{
	if (t <= 0x7f || t >= 0xe0 || t == 0xc0 || t == 0xc2 || t == 0xc3)
		return (struct form){ 0, 0, 0, false };
	if (t >= 0xc4 && t <= 0xc6)
		return (struct form){ (uint8_t)(1 << (t - 0xc4)), 0, 1, false };
	if (t >= 0xc7 && t <= 0xc9)
		return (struct form){ (uint8_t)(1 << (t - 0xc7)), 1, 1, false };
	if (t == 0xca || t == 0xcb)
		return (struct form){ 0, t == 0xca ? 4 : 8, 0, false };
	if (t >= 0xcc && t <= 0xd3)
		return (struct form){ 0, (uint8_t)(1 << ((t - 0xcc) & 3)), 0, false };
	if (t >= 0xd4 && t <= 0xd8)
		return (struct form){ 0, (uint8_t)(1 + (1 << (t - 0xd4))), 0, false };
	if (t >= 0xd9 && t <= 0xdb)
		return (struct form){ (uint8_t)(1 << (t - 0xd9)), 0, 1, false };
	if (t >= 0xdc && t <= 0xdf)
		return (struct form){ (t & 1) != 0 ? 4 : 2, 0, t < 0xde ? 2 : 3, false };
	return (struct form){ 0, 0, 0, true };	/* 0xc1; the short forms were told apart before */
}

/*
 * Length of the value at p; SCAN_MORE when it goes on behind n bytes, then
 * *ret_need is how many it takes at least; SCAN_BAD when it is none.
 */
static int64_t
scan(const uint8_t *p, size_t n, uint64_t *ret_need)
{
	uint64_t at = 0, values = 1;

	while (values > 0) {
		struct form f;
		uint64_t count, next;
		uint8_t t;

		*ret_need = at + values;
		if (at >= n)
			return SCAN_MORE;
		t = p[at];
		values--;
		if (t >= 0x80 && t <= 0xbf) {
			count = t < 0xa0 ? t & 0x0f : t & 0x1f;
			f = (struct form){ 0, 0, t < 0x90 ? 3 : t < 0xa0 ? 2 : 1, false };
		} else {
			f = form_of(t);
			count = 0;
			if (f.bad)
				return SCAN_BAD;
			if (at + 1 + f.len > n)
				return SCAN_MORE;
			count = be(p + at + 1, f.len);
		}
		next = at + 1 + f.len + f.fixed + (f.per == 1 ? count : 0);
		if (f.per >= 2)
			values += f.per == 3 ? 2 * count : count;
		if (next > SNAP_RECORD_MAX || values > SNAP_RECORD_MAX)
			return SCAN_BAD;
		*ret_need = next + values;
		if (next > n)
			return SCAN_MORE;
		at = next;
	}
	return (int64_t)at;
}

/* ---- records */

static int
take_header(struct snap_walk *w, struct str value, char err[SNAP_ERROR_MAX])
{
	struct mp_r r = mp_r_init(value.p, value.len);
	uint64_t last = 0;
	uint32_t n;

	n = mp_r_type(&r) == MP_MAP ? mp_r_map(&r) : UINT32_MAX;
	for (uint32_t i = 0; n != UINT32_MAX && i < n && r.err == 0; i++) {
		if (!str_eqs(mp_r_str(&r), "LastIndex"))
			mp_r_skip(&r);
		else if (mp_r_type(&r) == MP_NIL)
			mp_r_nil(&r);
		else
			last = mp_r_uint(&r);
	}
	if (n == UINT32_MAX || !mp_r_done(&r))
		return snap_fail(-EINVAL, err, "failed to restore snapshot: state.bin begins with no header");
	w->header = true;
	if (w->sink->header == NULL)
		return 0;
	return w->sink->header(w->sink->ctx, last);
}

static int
take_record(struct snap_walk *w, unsigned kind, struct str value, char err[SNAP_ERROR_MAX])
{
	char why[SNAP_ERROR_MAX] = "";
	int rc;

	if (w->sink->record == NULL)
		return 0;
	rc = w->sink->record(w->sink->ctx, kind, value, w->offset, why);
	if (rc < 0)
		(void)snap_fail(rc, err, "failed to restore snapshot: %s record at byte %llu: %.700s", snap_kind_name(kind),
		    (unsigned long long)w->offset, why[0] != 0 ? why : err_text(rc));
	return rc;
}

/* What stands at the window's begin, of n bytes. Returns the bytes taken, 0: more are needed. */
static int64_t
take_one(struct snap_walk *w, const uint8_t *p, size_t n, char err[SNAP_ERROR_MAX])
{
	size_t head = w->header ? 1 : 0;	/* the kind byte */
	unsigned kind = w->header ? p[0] : 0;
	uint64_t need = 1;
	int64_t len;
	int rc;

	if (w->header && !snap_kind_known(kind))
		return snap_fail(-EINVAL, err, "failed to restore snapshot: Unrecognized msg type %u", kind);
	len = scan(p + head, n - head, &need);
	if (len == SCAN_BAD)
		return snap_fail(-EINVAL, err, "failed to restore snapshot: %s at byte %llu is not msgpack, or larger than %u MiB",
		    w->header ? snap_kind_name(kind) : "the header", (unsigned long long)w->offset, SNAP_RECORD_MAX / MiB);
	w->want = head + need;
	if (len == SCAN_MORE)
		return 0;
	rc = w->header ? take_record(w, kind, (struct str){ (const char *)p + 1, (size_t)len }, err) :
	    take_header(w, (struct str){ (const char *)p, (size_t)len }, err);
	return rc < 0 ? rc : (int64_t)head + len;
}

/* Tell what is complete. */
static int
take_all(struct snap_walk *w, char err[SNAP_ERROR_MAX])
{
	size_t at = 0, again;

	while (at < w->window.len) {
		int64_t took = take_one(w, w->window.data + at, w->window.len - at, err);

		if (took < 0)
			return (int)took;
		if (took == 0)
			break;
		at += (size_t)took;
		w->offset += (uint64_t)took;
		w->want = 0;
	}
	buf_consume(&w->window, at);
	if (w->window.len == 0)
		buf_shrink(&w->window, WINDOW_KEEP);
	/* A large record is looked at again when it has doubled: all looks together are linear. */
	again = w->window.len > WINDOW_KEEP ? 2 * w->window.len : 0;
	if (again > SNAP_RECORD_MAX)
		again = SNAP_RECORD_MAX;
	if (w->want < again)
		w->want = again;
	return 0;
}

int
snap_walk_push(struct snap_walk *w, const void *p, size_t n, char err[SNAP_ERROR_MAX])
{
	int rc = buf_add(&w->window, p, n);

	if (rc < 0)
		return snap_fail(rc, err, "failed to restore snapshot: %s", err_text(rc));
	return w->window.len < w->want ? 0 : take_all(w, err);
}

int
snap_walk_end(struct snap_walk *w, char err[SNAP_ERROR_MAX])
{
	int rc = take_all(w, err);

	if (rc < 0)
		return rc;
	if (!w->header)
		return snap_fail(-EINVAL, err, "failed to restore snapshot: state.bin has no header");
	if (w->window.len > 0)
		return snap_fail(-EINVAL, err, "failed to restore snapshot: state.bin ends inside a record (%s at byte %llu)",
		    snap_kind_name(w->window.data[0]), (unsigned long long)w->offset);
	return 0;
}
