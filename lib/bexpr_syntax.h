/*
 * bexpr_syntax.h - what is wrong with a text that is no filter expression, in
 * the words of Consul's parser, which people and tests know.
 */
#ifndef LIB_BEXPR_SYNTAX_H
#define LIB_BEXPR_SYNTAX_H

#include "lib/str.h"

/*
 * Parse text as Consul does and tell where it cannot go on and what it
 * expected there: `1:10 (9): no match found, expected: "and", "or", [ \t\r\n]
 * or EOF`. False, and nothing told, when it finds no fault, or would have to
 * look too long.
 */
bool bexpr_syntax_error(struct str text, char *out, size_t len);

#endif
