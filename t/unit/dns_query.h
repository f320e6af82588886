/* dns_query.h - questions in wire form for tests of dnsd's pure parts. */
#ifndef T_UNIT_DNS_QUERY_H
#define T_UNIT_DNS_QUERY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dnsd/name.h"

/* A query for a name in text; udp_size 0: without EDNS. Its length. */
static inline size_t
query_bytes(uint8_t *p, const char *name, uint16_t type, unsigned udp_size)
{
	static const uint8_t header[12] = { 0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0 };
	size_t n = sizeof(header);

	memcpy(p, header, sizeof(header));
	p[11] = udp_size > 0;
	n += (size_t)name_to_wire(str_from(name), p + n);
	p[n++] = (uint8_t)(type >> 8);
	p[n++] = (uint8_t)type;
	p[n++] = 0;
	p[n++] = 1;
	if (udp_size > 0) {
		memset(p + n, 0, 11);
		p[n + 2] = 41;
		p[n + 3] = (uint8_t)(udp_size >> 8);
		p[n + 4] = (uint8_t)udp_size;
		n += 11;
	}
	return n;
}

#endif
