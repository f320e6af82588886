/* utf8.c - the length of an encoded character, and its encoding. */
#include "lib/utf8.h"

static int
is_tail(unsigned char c, unsigned char low, unsigned char high)
{
	return c >= low && c <= high;
}

size_t
utf8_length(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (n < len || !is_tail(p[1], low, high))
		return 0;
	for (size_t i = 2; i < len; i++)
		if (!is_tail(p[i], 0x80, 0xbf))
			return 0;
	return len;
}

size_t
utf8_encode(uint32_t r, char text[4])
{
	if (r < 0x80) {
		text[0] = (char)r;
		return 1;
	}
	if (r < 0x800) {
		text[0] = (char)(0xc0 | r >> 6);
		text[1] = (char)(0x80 | (r & 0x3f));
		return 2;
	}
	if (r > 0x10ffff || (r >= 0xd800 && r < 0xe000))
		return 0;
	if (r < 0x10000) {
		text[0] = (char)(0xe0 | r >> 12);
		text[1] = (char)(0x80 | (r >> 6 & 0x3f));
		text[2] = (char)(0x80 | (r & 0x3f));
		return 3;
	}
	text[0] = (char)(0xf0 | r >> 18);
	text[1] = (char)(0x80 | (r >> 12 & 0x3f));
	text[2] = (char)(0x80 | (r >> 6 & 0x3f));
	text[3] = (char)(0x80 | (r & 0x3f));
	return 4;
}
