/* h2_ping.c - the few frames of HTTP/2 that a PING takes. */
#include "checkd/h2_ping.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* RFC 9113, 6 */
enum { FRAME_SETTINGS = 4, FRAME_PING = 6, FRAME_GOAWAY = 7, FLAG_ACK = 1, GOAWAY_FIXED = 8 };

static const char *const error_names[] = { "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED" };

static int
frame(struct buf *out, uint8_t type, uint8_t flags, const void *body, uint8_t len)
{
	const uint8_t head[H2_HEADER_LEN] = { 0, 0, len, type, flags, 0, 0, 0, 0 };
	int rc = buf_add(out, head, sizeof(head));

	return rc < 0 || len == 0 ? rc : buf_add(out, body, len);
}

int
h2_ping_begin(struct h2_ping *h, const uint8_t payload[H2_PING_LEN], struct buf *out)
{
	int rc;

	*h = (struct h2_ping){ .state = H2_WAITING };
	memcpy(h->sent, payload, H2_PING_LEN);
	rc = buf_adds(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	if (rc == 0)
		rc = frame(out, FRAME_SETTINGS, 0, NULL, 0);
	return rc < 0 ? rc : frame(out, FRAME_PING, 0, payload, H2_PING_LEN);
}

int
h2_ping_end(struct buf *out)
{
	static const uint8_t body[GOAWAY_FIXED];

	return frame(out, FRAME_GOAWAY, 0, body, sizeof(body));
}

static void PRINTF(2, 3)
fail(struct h2_ping *h, const char *fmt, ...)
{
	va_list ap;

	h->state = H2_FAILED;
	va_start(ap, fmt);
	(void)vsnprintf(h->fault, sizeof(h->fault), fmt, ap);
	va_end(ap);
}

static size_t
body_len(const struct h2_ping *h)
{
	return (size_t)h->head[0] << 16 | (size_t)h->head[1] << 8 | h->head[2];
}

static uint32_t
number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A whole frame is there; its body at least as far as body[] goes. */
static void
take_frame(struct h2_ping *h, struct buf *out)
{
	uint8_t type = h->head[3];
	bool ack = (h->head[4] & FLAG_ACK) != 0;
	size_t len = body_len(h);
	uint32_t code;

	if (type == FRAME_GOAWAY && len >= GOAWAY_FIXED) {
		code = number(h->body + 4);
		fail(h, "http2: server sent GOAWAY and closed the connection; LastStreamID=%u, ErrCode=%s",
		    number(h->body) & 0x7fffffff, code < ARRAY_LEN(error_names) ? error_names[code] : "unknown");
	} else if (type == FRAME_SETTINGS && !ack) {
		h->settled = true;
		if (frame(out, FRAME_SETTINGS, FLAG_ACK, NULL, 0) < 0)
			fail(h, "out of memory");
	} else if (type == FRAME_PING && len == H2_PING_LEN && !ack) {
		if (frame(out, FRAME_PING, FLAG_ACK, h->body, H2_PING_LEN) < 0)
			fail(h, "out of memory");
	} else if (type == FRAME_PING && len == H2_PING_LEN && memcmp(h->body, h->sent, H2_PING_LEN) == 0) {
		h->state = H2_PONG;
	}
}

/* What a frame's header must say: 4.2, 3.4, 6.5, 6.7, 6.8. */
static void
judge_header(struct h2_ping *h)
{
	uint8_t type = h->head[3];
	bool ack = (h->head[4] & FLAG_ACK) != 0;
	uint32_t stream = number(h->head + 5) & 0x7fffffff;
	size_t len = body_len(h);

	if (!h->settled && (type != FRAME_SETTINGS || ack))
		fail(h, "connection error: PROTOCOL_ERROR (no SETTINGS at the beginning: not an HTTP/2 server)");
	else if (len > H2_FRAME_MAX)
		fail(h, "http2: frame too large");
	else if ((type == FRAME_SETTINGS || type == FRAME_PING || type == FRAME_GOAWAY) && stream != 0)
		fail(h, "connection error: PROTOCOL_ERROR");
	else if ((type == FRAME_PING && len != H2_PING_LEN) || (type == FRAME_SETTINGS && (len % 6 != 0 || (ack && len > 0))) ||
	    (type == FRAME_GOAWAY && len < GOAWAY_FIXED))
		fail(h, "connection error: FRAME_SIZE_ERROR");
}

/* Bytes of the frame's body that p begins with; returns how many. */
static size_t
take_body(struct h2_ping *h, const uint8_t *p, size_t n)
{
	size_t left = body_len(h) - h->nbody, part = n < left ? n : left, keep;

	if (h->nbody < sizeof(h->body)) {
		keep = sizeof(h->body) - h->nbody;
		memcpy(h->body + h->nbody, p, part < keep ? part : keep);
	}
	h->nbody += part;
	return part;
}

enum h2_ping_state
h2_ping_take(struct h2_ping *h, const uint8_t *p, size_t n, struct buf *out)
{
	while (n > 0 && h->state == H2_WAITING) {
		size_t part = 0;

		if (h->nhead < H2_HEADER_LEN) {
			h->head[h->nhead++] = *p;
			part = 1;
			if (h->nhead == H2_HEADER_LEN)
				judge_header(h);
		} else {
			part = take_body(h, p, n);
		}
		p += part;
		n -= part;
		h->total += part;
		if (h->state == H2_WAITING && h->nhead == H2_HEADER_LEN && h->nbody == body_len(h)) {
			take_frame(h, out);
			h->nhead = h->nbody = 0;
		}
		if (h->state == H2_WAITING && h->total > H2_PING_BYTES_MAX)
			fail(h, "the server sends much, but no answer");
	}
	return h->state;
}
