/* path.c - percent-decoding, cleaning and checking of a request's target. */
#include "httpd/path.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int64_t
url_decode(char *p, size_t len, bool plus)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '%') {
			int hi = i + 2 < len ? hex_digit(p[i + 1]) : -1;
			int lo = i + 2 < len ? hex_digit(p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EINVAL;
			p[out++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			p[out++] = plus && p[i] == '+' ? ' ' : p[i];
		}
	}
	return (int64_t)out;
}

/* "http://host/path" may be asked of any server (RFC 9112 section 3.2.2): what follows the host is the path. */
static void
skip_authority(char **raw, size_t *len)
{
	static const char scheme[] = "http://";
	char *slash;

	if (*len < sizeof(scheme) - 1 || memcmp(*raw, scheme, sizeof(scheme) - 1) != 0)
		return;
	slash = memchr(*raw + sizeof(scheme) - 1, '/', *len - (sizeof(scheme) - 1));
	if (slash == NULL)
		return;
	*len -= (size_t)(slash - *raw);
	*raw = slash;
}

int
target_parse(char *raw, size_t len, struct target *ret)
{
	char *mark;
	size_t path_len;
	int64_t n;

	skip_authority(&raw, &len);
	if (len == 0 || raw[0] != '/')
		return -EINVAL;
	mark = memchr(raw, '?', len);
	ret->query = STR_NONE;
	path_len = len;
	if (mark != NULL) {
		path_len = (size_t)(mark - raw);
		ret->query = (struct str){ mark + 1, len - path_len - 1 };
	}
	n = url_decode(raw, path_len, false);
	if (n < 0)
		return (int)n;
	ret->path = (struct str){ raw, (size_t)n };
	return 0;
}

/* The segment that starts at `at`, up to the next slash or the end. */
static struct str
segment_at(struct str path, size_t at)
{
	const char *end = memchr(path.p + at, '/', path.len - at);

	return (struct str){ path.p + at, end != NULL ? (size_t)(end - (path.p + at)) : path.len - at };
}

bool
path_is_clean(struct str path)
{
	for (size_t i = 1; i < path.len; i++) {
		if (path.p[i - 1] != '/')
			continue;
		if (path.p[i] == '/')
			return false;
		if (path.p[i] == '.') {
			struct str seg = segment_at(path, i);

			if (seg.len == 1 || (seg.len == 2 && seg.p[1] == '.'))
				return false;
		}
	}
	return true;
}

const char *
path_clean(struct str path, struct arena *a)
{
	char *out = arena_alloc(a, path.len + 2);
	size_t n = 0;
	bool dir = path.len > 0 && path.p[path.len - 1] == '/';

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < path.len;) {
		struct str seg = segment_at(path, i);

		i += seg.len + 1;
		if (seg.len == 0 || str_eqs(seg, "."))
			continue;
		if (str_eqs(seg, "..")) {
			while (n > 0 && out[--n] != '/')
				;
			continue;
		}
		out[n++] = '/';
		memcpy(out + n, seg.p, seg.len);
		n += seg.len;
	}
	if (n == 0 || dir)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

/* Decode one character; 0 for malformed UTF-8 (and for NUL, which is as bad). */
static uint32_t
utf8_next(struct str s, size_t *at)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s.p[*at];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
	uint32_t v = n == 1 ? c : c & (0x7fu >> n);

	if (n == 0 || *at + n > s.len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		unsigned char d = (unsigned char)s.p[*at + i];

		if ((d & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (d & 0x3f);
	}
	if (v < lowest[n] || (v >= 0xd800 && v < 0xe000) || v > 0x10ffff)
		return 0;
	*at += n;
	return v;
}

/* Controls, blanks other than the space, format characters, private use and what is no character. */
static bool
code_printable(uint32_t c)
{
	static const uint32_t not[][2] = {
		{ 0x00, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c }, { 0x6dd, 0x6dd },
		{ 0x70f, 0x70f }, { 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f }, { 0x2028, 0x202f },
		{ 0x205f, 0x206f }, { 0x3000, 0x3000 }, { 0xe000, 0xf8ff }, { 0xfdd0, 0xfdef }, { 0xfeff, 0xfeff },
		{ 0xfff0, 0xfffb }, { 0xfffe, 0xffff }, { 0x1d173, 0x1d17a }, { 0xe0000, 0x10ffff },
	};

	for (size_t i = 0; i < ARRAY_LEN(not) && c >= not[i][0]; i++)
		if (c <= not[i][1])
			return false;
	return true;
}

bool
path_printable(struct str path)
{
	for (size_t i = 0; i < path.len;) {
		unsigned char c = (unsigned char)path.p[i];
		uint32_t code;

		if (c >= 0x20 && c < 0x7f) {
			i++;
			continue;
		}
		code = utf8_next(path, &i);
		if (code == 0 || !code_printable(code))
			return false;
	}
	return true;
}

const char *
path_encode(struct str path, struct arena *a)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] = "/-_.~$&+:=@,;!*'()";
	char *out = arena_alloc(a, path.len * 3 + 1);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c != '\0' && strchr(plain, c) != NULL)) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	out[n] = '\0';
	return out;
}
