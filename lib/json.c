/* json.c - msgpack to JSON in one pass, JSON input within bounds, base64. */
#include "lib/json.h"

#include <json-c/json_tokener.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- strings */

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 when there is none. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	size_t len;
	unsigned lo = 0x80, hi = 0xbf;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

static int
add_escaped(struct buf *out, const unsigned char *p, size_t n, size_t *used)
{
	size_t len;

	*used = 1;
	switch (p[0]) {
	case '"':
		return buf_add(out, "\\\"", 2);
	case '\\':
		return buf_add(out, "\\\\", 2);
	case '\n':
		return buf_add(out, "\\n", 2);
	case '\r':
		return buf_add(out, "\\r", 2);
	case '\t':
		return buf_add(out, "\\t", 2);
	default:
		break;
	}
	if (p[0] < 0x80)
		return buf_addf(out, "\\u%04x", p[0]);
	len = utf8_len(p, n);
	if (len == 0)
		return buf_add(out, "\\ufffd", 6);
	*used = len;
	if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		return buf_add(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
	return buf_add(out, p, len);
}

static bool
plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

int
json_add_string(struct buf *out, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p, *end = p + s.len;
	int rc = buf_reserve(out, s.len + 2);

	if (rc == 0)
		rc = buf_addc(out, '"');
	while (rc == 0 && p < end) {
		const unsigned char *q = p;
		size_t used = 0;

		while (q < end && plain(*q))
			q++;
		if (q > p)
			rc = buf_add(out, p, (size_t)(q - p));
		p = q;
		if (rc == 0 && p < end) {
			/* DEL needs no escape in JSON. */
			rc = *p == 0x7f ? (used = 1, buf_addc(out, 0x7f)) : add_escaped(out, p, (size_t)(end - p), &used);
			p += used;
		}
	}
	return rc == 0 ? buf_addc(out, '"') : rc;
}

/* ---- base64 (RFC 4648) */

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
json_add_base64(struct buf *out, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.len, need = (n + 2) / 3 * 4;
	uint8_t *q;
	int rc = buf_reserve(out, need);

	if (rc < 0)
		return rc;
	q = out->data + out->len;
	for (; n >= 3; n -= 3, p += 3) {
		*q++ = (uint8_t)b64[p[0] >> 2];
		*q++ = (uint8_t)b64[(p[0] & 3) << 4 | p[1] >> 4];
		*q++ = (uint8_t)b64[(p[1] & 15) << 2 | p[2] >> 6];
		*q++ = (uint8_t)b64[p[2] & 63];
	}
	if (n > 0) {
		unsigned second = n == 2 ? p[1] : 0;

		*q++ = (uint8_t)b64[p[0] >> 2];
		*q++ = (uint8_t)b64[(p[0] & 3) << 4 | second >> 4];
		*q++ = n == 2 ? (uint8_t)b64[(second & 15) << 2] : '=';
		*q++ = '=';
	}
	out->len += need;
	return 0;
}

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int
base64_decode(struct str s, struct buf *out)
{
	size_t pad = 0;
	int rc;

	if (s.len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && s.len > pad && s.p[s.len - 1 - pad] == '=')
		pad++;
	rc = buf_reserve(out, s.len / 4 * 3);
	for (size_t i = 0; rc == 0 && i < s.len; i += 4) {
		uint32_t v = 0;
		size_t left = i + 4 == s.len ? pad : 0;

		for (size_t j = 0; j < 4; j++) {
			int x = j >= 4 - left ? 0 : b64_value(s.p[i + j]);

			if (x < 0)
				return -EINVAL;
			v = v << 6 | (uint32_t)x;
		}
		uint8_t b[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

		rc = buf_add(out, b, 3 - left);
	}
	return rc;
}

/* ---- msgpack to JSON */

struct jw {
	struct buf *out;
	const char *indent;
	int depth;
};

static int
newline(struct jw *j)
{
	int rc;

	if (j->indent == NULL)
		return 0;
	rc = buf_addc(j->out, '\n');
	for (int i = 0; rc == 0 && i < j->depth; i++)
		rc = buf_adds(j->out, j->indent);
	return rc;
}

/*
 * The shortest decimal that reads back as v, with an exponent only below 1e-6
 * and from 1e21 on, as Go's encoder.
 */
static int
add_double(struct buf *out, double v)
{
	char text[64];
	int prec, exp;

	if (!isfinite(v))
		return buf_adds(out, "null");
	for (prec = 0; prec < 17; prec++) {
		double back = 0;

		(void)snprintf(text, sizeof(text), "%.*e", prec, v);
		if (sscanf(text, "%lf", &back) == 1 && memcmp(&back, &v, sizeof(v)) == 0)
			break;
	}
	exp = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	if (exp >= -6 && exp < 21) {
		(void)snprintf(text, sizeof(text), "%.*f", prec > exp ? prec - exp : 0, v);
		return buf_adds(out, text);
	}
	*strchr(text, 'e') = '\0';
	return buf_addf(out, "%se%c%d", text, exp < 0 ? '-' : '+', abs(exp));
}

static int
add_uint(struct buf *out, uint64_t v)
{
	char text[20];
	char *p = text + sizeof(text);

	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	return buf_add(out, p, (size_t)(text + sizeof(text) - p));
}

static int
add_int(struct buf *out, int64_t v)
{
	int rc = v < 0 ? buf_addc(out, '-') : 0;

	return rc == 0 ? add_uint(out, v < 0 ? -(uint64_t)v : (uint64_t)v) : rc;
}

static int
add_scalar(struct jw *j, struct mp_r *r)
{
	struct buf *out = j->out;
	struct str s;
	int rc;

	switch (mp_r_type(r)) {
	case MP_NIL:
		mp_r_nil(r);
		return buf_add(out, "null", 4);
	case MP_BOOL:
		return mp_r_bool(r) ? buf_add(out, "true", 4) : buf_add(out, "false", 5);
	case MP_UINT:
		return add_uint(out, mp_r_uint(r));
	case MP_INT:
		return add_int(out, mp_r_int(r));
	case MP_DOUBLE:
		return add_double(out, mp_r_double(r));
	case MP_STR:
		s = mp_r_str(r);
		return r->err != 0 ? r->err : json_add_string(out, s);
	case MP_BIN:
		s = mp_r_str(r);
		if (r->err != 0)
			return r->err;
		rc = buf_addc(out, '"');
		if (rc == 0)
			rc = json_add_base64(out, s);
		return rc == 0 ? buf_addc(out, '"') : rc;
	default:
		return -EDECODE;
	}
}

static int add_value(struct jw *j, struct mp_r *r);

static int
add_container(struct jw *j, struct mp_r *r, bool map)
{
	uint32_t n = map ? mp_r_map(r) : mp_r_array(r);
	int rc = r->err != 0 ? r->err : buf_addc(j->out, map ? '{' : '[');

	if (rc == 0 && ++j->depth > JSON_DEPTH_MAX)
		rc = -EDECODE;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		if (i > 0)
			rc = buf_addc(j->out, ',');
		if (rc == 0)
			rc = newline(j);
		if (rc == 0 && map) {
			struct str key = mp_r_str(r);

			rc = r->err != 0 ? r->err : json_add_string(j->out, key);
			if (rc == 0)
				rc = buf_add(j->out, ": ", j->indent != NULL ? 2 : 1);
		}
		if (rc == 0)
			rc = add_value(j, r);
	}
	j->depth--;
	if (rc == 0 && n > 0)
		rc = newline(j);
	return rc == 0 ? buf_addc(j->out, map ? '}' : ']') : rc;
}

static int
add_value(struct jw *j, struct mp_r *r)
{
	enum mp_type t = mp_r_type(r);
	int rc;

	if (t == MP_MAP || t == MP_ARRAY)
		return add_container(j, r, t == MP_MAP);
	rc = add_scalar(j, r);
	return rc == 0 ? r->err : rc;
}

int
json_from_mp(struct buf *out, struct mp_r *r, const char *indent)
{
	struct jw j = { out, indent, 0 };

	return add_value(&j, r);
}

/* ---- JSON in */

/* Behind the string that begins at p; *ret_nul: it holds an escaped NUL. The text is valid JSON. */
static const char *
pass_string(const char *p, const char *end, bool *ret_nul)
{
	*ret_nul = false;
	for (p++; p < end && *p != '"'; p++) {
		if (*p != '\\')
			continue;
		*ret_nul = *ret_nul || (end - p > 6 && memcmp(p, "\\u0000", 6) == 0);
		p++;
	}
	return p < end ? p + 1 : end;
}

/* Behind the number that begins at p; *ret_fits: it is no integer beyond 64 bits. */
static const char *
pass_number(const char *p, const char *end, bool *ret_fits)
{
	bool negative = *p == '-', over = false;
	uint64_t v = 0;

	for (p += negative; p < end && *p >= '0' && *p <= '9'; p++)
		over = over || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	*ret_fits = (p < end && (*p == '.' || *p == 'e' || *p == 'E')) || !(over || (negative && v > (uint64_t)INT64_MAX + 1));
	while (p < end && *p != 0 && strchr(".eE+-0123456789", *p) != NULL)
		p++;
	return p;
}

/* json-c cuts names off at a NUL and bends integers until they fit: neither goes unseen. */
static bool
is_faithful(const char *text, size_t len, char *ret_err, size_t errlen)
{
	const char *p = text, *end = text + len;

	while (p < end) {
		const char *from = p;
		bool nul = false, fits = true;

		if (*p == '"') {
			p = pass_string(p, end, &nul);
			for (from = p; nul && from < end && strchr(" \t\r\n", *from) != NULL && *from != 0; from++)
				;
			nul = nul && from < end && *from == ':';
		} else if (*p == '-' || (*p >= '0' && *p <= '9')) {
			p = pass_number(p, end, &fits);
		} else {
			p++;
		}
		if (nul || !fits) {
			(void)snprintf(ret_err, errlen, "%s at offset %zu", nul ? "a name holds a NUL" :
			    "an integer beyond 64 bits", (size_t)(from - text));
			return false;
		}
	}
	return true;
}

struct json_object *
json_parse(const char *text, size_t len, bool *ret_null, char *ret_err, size_t errlen)
{
	struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *j = NULL;
	enum json_tokener_error e;
	size_t at;

	*ret_null = false;
	if (t == NULL || len > INT32_MAX - 1) {
		(void)snprintf(ret_err, errlen, "%s", t == NULL ? "out of memory" : "JSON is too large");
		json_tokener_free(t);
		return NULL;
	}
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	j = json_tokener_parse_ex(t, text, (int)len);
	e = json_tokener_get_error(t);
	at = json_tokener_get_parse_end(t);
	/* A number at the very end is only complete when an end is seen. */
	if (e == json_tokener_continue && len > 0) {
		j = json_tokener_parse_ex(t, "", 1);
		e = json_tokener_get_error(t);
		at = len;
	}
	json_tokener_free(t);
	if (e == json_tokener_continue) {
		(void)snprintf(ret_err, errlen, len == 0 ? "EOF" : "unexpected EOF");
		json_object_put(j);
		return NULL;
	}
	if (e != json_tokener_success) {
		(void)snprintf(ret_err, errlen, "%s at offset %zu", json_tokener_error_desc(e), at);
		json_object_put(j);
		return NULL;
	}
	while (at < len && strchr(" \t\r\n", text[at]) != NULL && text[at] != 0)
		at++;
	if (at < len) {
		(void)snprintf(ret_err, errlen, "unexpected characters behind the value at offset %zu", at);
		json_object_put(j);
		return NULL;
	}
	if (!is_faithful(text, len, ret_err, errlen)) {
		json_object_put(j);
		return NULL;
	}
	*ret_null = j == NULL;
	return j;
}
