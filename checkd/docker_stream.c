/* docker_stream.c - the output of a command in a container, out of the engine's pieces. */
#include "checkd/docker_stream.h"

/* A stream's number (stdin, stdout, stderr), three zeros, four bytes of length. */
static bool
is_header_byte(size_t i, uint8_t b)
{
	return i == 0 ? b <= 2 : i > 3 || b == 0;
}

/* One byte of a header; false when it is none. */
static bool
take_header(struct docker_stream *s, uint8_t b)
{
	if (!is_header_byte(s->nhead, b))
		return false;
	s->head[s->nhead++] = b;
	if (s->nhead == DOCKER_HEADER_LEN) {
		s->left = (uint32_t)s->head[4] << 24 | (uint32_t)s->head[5] << 16 | (uint32_t)s->head[6] << 8 | s->head[7];
		s->nhead = 0;
	}
	return true;
}

void
docker_stream_take(struct docker_stream *s, const uint8_t *p, size_t n,
    void (*put)(void *arg, const void *p, size_t n), void *arg)
{
	while (n > 0) {
		size_t part = 1;

		if (s->plain) {
			put(arg, p, n);
			return;
		}
		if (s->left > 0) {
			part = n < s->left ? n : s->left;
			put(arg, p, part);
			s->left -= (uint32_t)part;
		} else if (!take_header(s, *p)) {
			s->plain = true;
			if (s->nhead > 0)
				put(arg, s->head, s->nhead);
			part = 0;
		}
		p += part;
		n -= part;
	}
}
