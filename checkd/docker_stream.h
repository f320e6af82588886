/*
 * docker_stream.h - the output of a command in a container, as the engine
 * sends it: pieces of its two streams, each behind eight bytes of header.
 *
 * Pure. An engine that sends the output as it is (a terminal was asked for)
 * is taken at its word: from where no header is that should be one, all is
 * plain.
 */
#ifndef CHECKD_DOCKER_STREAM_H
#define CHECKD_DOCKER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOCKER_HEADER_LEN = 8 };

struct docker_stream {
	uint8_t head[DOCKER_HEADER_LEN];
	size_t nhead;
	uint32_t left;		/* of the piece at hand */
	bool plain;
};

/* All zeros is a stream that has not begun. Give what is output to put(). */
void docker_stream_take(struct docker_stream *s, const uint8_t *p, size_t n,
    void (*put)(void *arg, const void *p, size_t n), void *arg);

#endif
