/* lzw.h - what packet.c needs of lzw.c beside packet.h. */
#ifndef GOSSIPD_WIRE_LZW_H
#define GOSSIPD_WIRE_LZW_H

#include "gossipd/wire/packet.h"

/* lzw_deflate() that gives up with -ELIMIT, and appends nothing, above max bytes. */
int MUST_CHECK lzw_deflate_within(struct str in, size_t max, struct buf *out);

#endif
