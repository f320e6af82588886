/*
 * grpc_health.h - the messages of grpc.health.v1, as gRPC sends them over
 * HTTP/2: a byte (compressed or not), four of length, a protobuf message.
 *
 * Pure, and bounded by its input.
 */
#ifndef CHECKD_GRPC_HEALTH_H
#define CHECKD_GRPC_HEALTH_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/str.h"

enum {
	GRPC_PREFIX_LEN = 5,
	GRPC_SERVING = 1,		/* of HealthCheckResponse.ServingStatus */
	GRPC_STATUS_TEXT_MAX = 24,
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

/* Append a HealthCheckRequest for a service; "" asks for the whole server. -ENOMEM, -ELIMIT. */
int MUST_CHECK grpc_health_request(struct str service, struct buf *out);

/* The status in a HealthCheckResponse, 0 when it has none. -EDECODE for anything but one whole uncompressed message. */
int MUST_CHECK grpc_health_reply(const uint8_t *p, size_t n, int64_t *ret_status);

/* "NOT_SERVING"; the number of one that has no name. */
void grpc_serving_text(int64_t status, char text[GRPC_STATUS_TEXT_MAX]);

/* "Unavailable"; "Code(99)" for one that has no name. */
void grpc_code_text(long code, char text[GRPC_STATUS_TEXT_MAX]);

/* What a gRPC client takes an HTTP status for that is not 200. */
long grpc_code_of_http(long status);

/* The text of a grpc-message trailer, whose odd bytes are percent-encoded. -ENOMEM, -ELIMIT. */
int MUST_CHECK grpc_message_decode(struct str s, struct buf *out);

#endif
