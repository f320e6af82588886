/*
 * str.h - a slice of bytes that somebody else owns.
 *
 * Strings from messages and files stay where they were read; a slice points
 * at them. It may hold any byte, NUL included. An absent string is
 * { NULL, 0 }; an empty one that was present has p != NULL.
 */
#ifndef LIB_STR_H
#define LIB_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t len;
};

#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })
/* For printf("%.*s"). */
#define STR_ARG(s) (int)(s).len, (s).p != NULL ? (s).p : ""

static inline struct str
str_from(const char *s)
{
	return s != NULL ? (struct str){ s, strlen(s) } : STR_NONE;
}

static inline bool
str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
str_eqs(struct str a, const char *s)
{
	return str_eq(a, str_from(s));
}

/* Bytewise order, shorter first when one is a prefix of the other. */
static inline int
str_cmp(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool
str_has_prefix(struct str s, struct str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

/* ASCII case folding, whatever the locale. */
static inline unsigned char
ascii_lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static inline bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower((unsigned char)a.p[i]) != ascii_lower((unsigned char)b.p[i]))
			return false;
	return true;
}

#endif
