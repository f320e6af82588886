/*
 * re.h - regular expressions in RE2's syntax, matched in linear time.
 *
 * Supported: literals, ., classes with ranges and \d \w \s and their
 * opposites, [[:name:]], ^ $ \A \z \b \B, groups ( (?: (?i) (?s) ), |, and
 * * + ? {n} {n,} {n,m} with or without a ? behind, named groups. Bytes above 127 match as
 * UTF-8 sequences only in literals. Back-references and look-around do not
 * exist, so that no pattern can take more than time x length.
 */
#ifndef LIB_RE_H
#define LIB_RE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/errs.h"
#include "lib/str.h"

enum {
	RE_REPEAT_MAX = 1000,		/* in {n,m} */
	RE_PROGRAM_MAX = 8192,		/* instructions of a compiled pattern */
	RE_DEPTH_MAX = 100,		/* nested groups */
	RE_GROUPS_MAX = 33,		/* groups that are told apart, the whole match counted; later ones only group */
};

struct re;

/* -EINVAL with the reason in ret_err, -ENOMEM. */
int MUST_CHECK re_compile(struct str pattern, struct re **ret, char *ret_err, size_t errlen);

/* Whether the pattern occurs anywhere in s. */
bool re_match(const struct re *re, struct str s);

/*
 * The leftmost match, of those the one that Perl would find: ret (of RE_GROUPS_MAX) gets the whole and what each group
 * took (p NULL: it took no part), *ret_n how many they are, 0 when there is no match. -ENOMEM.
 */
int MUST_CHECK re_groups(const struct re *re, struct str s, struct str *ret, size_t *ret_n);

void re_free(struct re *re);

#endif
