/*
 * re_internal.h - the program of a compiled pattern: re.c makes it and says
 * whether it matches, re_groups.c also where.
 */
#ifndef LIB_RE_INTERNAL_H
#define LIB_RE_INTERNAL_H

#include <stdint.h>

#include "lib/re.h"

enum op { OP_SET, OP_SPLIT, OP_JMP, OP_SAVE, OP_BEGIN, OP_END, OP_WORD, OP_NOT_WORD, OP_MATCH };

struct set {
	uint64_t bits[4];
};

/* Targets, the first one preferred; OP_SET: x is the set; OP_SAVE: x is the slot, two a group. */
struct insn {
	enum op op;
	uint32_t x, y;
};

struct re {
	struct insn *code;
	struct set *sets;
	uint32_t n, nsets;
	uint32_t groups;	/* the whole match counted as one */
	uint32_t *threads;	/* two lists, a sparse array, a stack: 4 x n */
};

/* Whether an assertion holds before byte `at`. */
bool re_holds(enum op op, struct str s, size_t at);

static inline bool
set_has(const struct set *s, unsigned char b)
{
	return (s->bits[b / 64] >> (b % 64) & 1) != 0;
}

static inline bool
word_byte(unsigned char b)
{
	return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || b == '_';
}

#endif
