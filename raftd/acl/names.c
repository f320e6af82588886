/* names.c - what ACL objects may be called. */
#include "raftd/acl/rules.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

bool
acl_name_ok(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_digit(s.p[i]) && !is_lower((char)ascii_lower((unsigned char)s.p[i])) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.len >= 1 && s.len <= ACL_NAME_MAX;
}

bool
acl_identity_name_ok(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		bool edge = i == 0 || i == s.len - 1;

		if (!is_digit(s.p[i]) && !is_lower(s.p[i]) && (edge || (s.p[i] != '-' && s.p[i] != '_')))
			return false;
	}
	return s.len >= 1 && s.len <= ACL_IDENTITY_NAME_MAX;
}
