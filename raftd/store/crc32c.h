/*
 * crc32c.h - the checksum of what is kept on disk (Castagnoli, as in RFC 3720).
 */
#ifndef RAFTD_STORE_CRC32C_H
#define RAFTD_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue from crc (0 to start). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The same without the processor's help, for the test that compares them. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n);

#endif
