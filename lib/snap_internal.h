/*
 * snap_internal.h - what the reader and the writer of snapshot archives share.
 */
#ifndef LIB_SNAP_INTERNAL_H
#define LIB_SNAP_INTERNAL_H

#include "lib/buf.h"
#include "lib/snap_archive.h"

enum { SNAP_BLOCK = 512, SNAP_DIGEST = 32 };

#define SNAP_META_NAME "meta.json"
#define SNAP_STATE_NAME "state.bin"
#define SNAP_SUMS_NAME "SHA256SUMS"

/* Say why in err and return rc. */
int snap_fail(int rc, char err[SNAP_ERROR_MAX], const char *fmt, ...) PRINTF(3, 4);

/* meta.json's bytes into *ret. -EINVAL with a sentence. */
int MUST_CHECK snap_meta_parse(struct str text, struct snap_meta *ret, char err[SNAP_ERROR_MAX]);
/* The file for m, its newline included. -ENOMEM. */
int MUST_CHECK snap_meta_format(const struct snap_meta *m, struct buf *out);

/* A file that is decompressed as it is read (snap_gunzip.c). */
struct snap_gunzip;
struct snap_gunzip *snap_gunzip_new(int fd);
void snap_gunzip_free(struct snap_gunzip *g);
/* Begin at the file's start. -EINVAL when it is no gzip file, -errno; why in snap_gunzip_why(). */
int MUST_CHECK snap_gunzip_open(struct snap_gunzip *g);
/* Fewer than n bytes only at the end, where the checksum was right and nothing follows. Negative as above. */
int64_t snap_gunzip_read(struct snap_gunzip *g, void *p, size_t n);
const char *snap_gunzip_why(const struct snap_gunzip *g);

/*
 * The row of records in a stream of bytes (snap_walk.c): bytes are pushed in
 * as they come, records told as they are complete.
 */
struct snap_walk {
	const struct snap_sink *sink;
	struct buf window;
	size_t want;		/* bytes in the window before it is worth looking again */
	uint64_t offset;	/* of the window in state.bin */
	bool header;		/* was seen */
};
void snap_walk_init(struct snap_walk *w, const struct snap_sink *sink);
int MUST_CHECK snap_walk_push(struct snap_walk *w, const void *p, size_t n, char err[SNAP_ERROR_MAX]);
/* All was pushed: nothing may be left over. */
int MUST_CHECK snap_walk_end(struct snap_walk *w, char err[SNAP_ERROR_MAX]);
void snap_walk_release(struct snap_walk *w);

#endif
