/* steer.c - classic BPF that hashes a question's first label, letters in any case alike. */
#include "dnsd/steer.h"

#include <stdint.h>
#include <sys/socket.h>

/* Where a question's first label is (RFC 1035, 4.1), and the memory cell in which the hash is kept. */
enum { LABEL_LEN_AT = 12, LABEL_AT = 13, CELL_HASH = 0, CELL_LEN = 1 };

/* Instructions for a word: jumps reach 255 of them. */
enum { WORD_CODE = 16 };
_Static_assert(WORD_CODE * STEER_WORDS <= 256, "the last instruction of a word is in reach of the first word's");

#define HASH_FACTOR 0x9e3779b1u	/* odd, its bits well mixed */
#define FOLD 0x20202020u	/* makes small letters of big ones; what else it makes equal does no harm */

struct code {
	struct sock_filter *v;
	unsigned n;
};

static void
put(struct code *c, unsigned op, unsigned k)
{
	c->v[c->n++] = (struct sock_filter)BPF_STMT((uint16_t)op, k);
}

/* A >= k: on by yes instructions, else on by no. */
static void
jump_ge(struct code *c, unsigned k, unsigned yes, unsigned no)
{
	c->v[c->n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, k, (uint8_t)yes, (uint8_t)no);
}

/*
 * Four bytes of the label, as far as it has them; when it ends before them
 * all is done, and the last lines follow. A word may reach beyond the label by three bytes, which the
 * root, type and class behind it always cover.
 */
static void
put_word(struct code *c, unsigned i)
{
	put(c, BPF_LD | BPF_MEM, CELL_LEN);
	jump_ge(c, 4 * i + 1, 0, WORD_CODE * (STEER_WORDS - i) - 2);
	/* X: bits of the word that are not the label's. */
	jump_ge(c, 4 * i + 4, 0, 2);
	put(c, BPF_LD | BPF_IMM, 0);
	put(c, BPF_JMP | BPF_JA, 3);
	put(c, BPF_ALU | BPF_SUB | BPF_K, 4 * i + 4);
	put(c, BPF_ALU | BPF_NEG, 0);
	put(c, BPF_ALU | BPF_LSH | BPF_K, 3);
	put(c, BPF_MISC | BPF_TAX, 0);
	put(c, BPF_LD | BPF_W | BPF_ABS, LABEL_AT + 4 * i);
	put(c, BPF_ALU | BPF_OR | BPF_K, FOLD);
	put(c, BPF_ALU | BPF_RSH | BPF_X, 0);
	put(c, BPF_LDX | BPF_MEM, CELL_HASH);
	put(c, BPF_ALU | BPF_XOR | BPF_X, 0);
	put(c, BPF_ALU | BPF_MUL | BPF_K, HASH_FACTOR);
	put(c, BPF_ST, CELL_HASH);
}

unsigned
steer_program(unsigned n, struct sock_filter out[STEER_CODE_MAX])
{
	struct code c = { out, 0 };

	put(&c, BPF_LD | BPF_B | BPF_ABS, LABEL_LEN_AT);
	put(&c, BPF_ST, CELL_LEN);
	put(&c, BPF_MISC | BPF_TAX, 0);
	put(&c, BPF_STX, CELL_HASH);
	for (unsigned i = 0; i < STEER_WORDS; i++)
		put_word(&c, i);
	put(&c, BPF_LD | BPF_MEM, CELL_HASH);
	put(&c, BPF_ALU | BPF_RSH | BPF_K, 16);
	put(&c, BPF_ALU | BPF_MOD | BPF_K, n);
	put(&c, BPF_RET | BPF_A, 0);
	return c.n;
}

int
steer_attach(int fd, unsigned n)
{
	struct sock_filter code[STEER_CODE_MAX];
	struct sock_fprog p = { .len = (uint16_t)steer_program(n, code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &p, sizeof(p)) < 0 ? -errno : 0;
}
