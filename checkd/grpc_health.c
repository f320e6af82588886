/* grpc_health.c - the messages of grpc.health.v1. */
#include "checkd/grpc_health.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Wire types of protobuf. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5, FIELD_STATUS = 1, TAG_SERVICE = 1 << 3 | WIRE_BYTES };

static int
add_varint(struct buf *out, uint64_t v)
{
	int rc = 0;

	for (; rc == 0 && v >= 0x80; v >>= 7)
		rc = buf_addc(out, (uint8_t)(v | 0x80));
	return rc < 0 ? rc : buf_addc(out, (uint8_t)v);
}

static size_t
varint_len(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

int
grpc_health_request(struct str service, struct buf *out)
{
	size_t len = service.len > 0 ? 1 + varint_len(service.len) + service.len : 0;
	uint8_t prefix[GRPC_PREFIX_LEN] = { 0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
	int rc = buf_add(out, prefix, sizeof(prefix));

	if (rc < 0 || len == 0)
		return rc;
	rc = buf_addc(out, TAG_SERVICE);
	if (rc == 0)
		rc = add_varint(out, service.len);
	return rc < 0 ? rc : buf_add(out, service.p, service.len);
}

/* A bounded reader: after an error everything reads as zero. */
struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static void
skip(struct reader *r, uint64_t n)
{
	if (n > r->left) {
		r->bad = true;
		r->left = 0;
		return;
	}
	r->p += n;
	r->left -= (size_t)n;
}

static uint64_t
varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && r->left > 0; shift += 7) {
		uint8_t b = *r->p;

		skip(r, 1);
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0)
			return v;
	}
	r->bad = true;
	return 0;
}

int
grpc_health_reply(const uint8_t *p, size_t n, int64_t *ret_status)
{
	struct reader r = { p, n, false };
	int64_t status = 0;

	if (n < GRPC_PREFIX_LEN || p[0] != 0 ||
	    n - GRPC_PREFIX_LEN != ((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]))
		return -EDECODE;
	skip(&r, GRPC_PREFIX_LEN);
	while (r.left > 0 && !r.bad) {
		uint64_t tag = varint(&r), v;

		switch (tag & 7) {
		case WIRE_VARINT:
			v = varint(&r);
			/* An enum is cut to 32 bits, and the last one counts. */
			if (tag >> 3 == FIELD_STATUS)
				status = (int32_t)(uint32_t)v;
			break;
		case WIRE_64:
			skip(&r, 8);
			break;
		case WIRE_BYTES:
			skip(&r, varint(&r));
			break;
		case WIRE_32:
			skip(&r, 4);
			break;
		default:
			r.bad = true;
		}
		if (tag >> 3 == 0)
			r.bad = true;
	}
	if (r.bad)
		return -EDECODE;
	*ret_status = status;
	return 0;
}

void
grpc_serving_text(int64_t status, char text[GRPC_STATUS_TEXT_MAX])
{
	static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };

	if (status >= 0 && status < (int64_t)ARRAY_LEN(names))
		snprintf(text, GRPC_STATUS_TEXT_MAX, "%s", names[status]);
	else
		snprintf(text, GRPC_STATUS_TEXT_MAX, "%" PRId64, status);
}

void
grpc_code_text(long code, char text[GRPC_STATUS_TEXT_MAX])
{
	static const char *const names[] = { "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
		"AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
		"Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated" };

	if (code >= 0 && code < (long)ARRAY_LEN(names))
		snprintf(text, GRPC_STATUS_TEXT_MAX, "%s", names[code]);
	else
		snprintf(text, GRPC_STATUS_TEXT_MAX, "Code(%ld)", code);
}

long
grpc_code_of_http(long status)
{
	switch (status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
grpc_message_decode(struct str s, struct buf *out)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		int high = s.p[i] == '%' && s.len - i > 2 ? hex(s.p[i + 1]) : -1;
		int low = high >= 0 ? hex(s.p[i + 2]) : -1;

		if (low >= 0)
			i += 2;
		rc = buf_addc(out, low >= 0 ? (uint8_t)(high << 4 | low) : (uint8_t)s.p[i]);
	}
	return rc;
}
