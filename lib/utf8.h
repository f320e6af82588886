/* utf8.h - UTF-8, one character at a time (RFC 3629: no surrogates, nothing overlong, up to U+10FFFF). */
#ifndef LIB_UTF8_H
#define LIB_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at p (n bytes there); 0 when it is not UTF-8. */
size_t utf8_length(const char *p, size_t n);

/* Encode; the number of bytes, 0 for what is no character. */
size_t utf8_encode(uint32_t rune, char text[4]);

#endif
