/* dns_steer.c - the program that chooses a worker by a question's first label, run here as the kernel runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <poll.h>

#include "dnsd/steer.h"
#include "lib/sock.h"

enum { PACKET_MAX = 512, MEMORY = 16 };

/* A load beyond the packet ends the program with 0, as in the kernel. */
static uint32_t
load(const uint8_t *p, size_t n, uint32_t at, unsigned size, int *ret_beyond)
{
	uint32_t v = 0;

	*ret_beyond = at + size > n;
	for (unsigned i = 0; i < size && !*ret_beyond; i++)
		v = v << 8 | p[at + i];
	return v;
}

static uint32_t
alu(uint16_t op, uint32_t a, uint32_t b)
{
	switch (op & 0xf0) {
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_MOD: return a % b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_LSH: return a << b;
	case BPF_RSH: return a >> b;
	case BPF_NEG: return 0 - a;
	default: fail_msg("operation %x", op);
	}
	return 0;
}

static uint32_t
run(const struct sock_filter *code, unsigned ncode, const uint8_t *p, size_t n)
{
	uint32_t a = 0, x = 0, m[MEMORY] = { 0 };

	for (unsigned pc = 0; pc < ncode; pc++) {
		const struct sock_filter *i = &code[pc];
		int beyond = 0;

		switch (i->code) {
		case BPF_LD | BPF_B | BPF_ABS: a = load(p, n, i->k, 1, &beyond); break;
		case BPF_LD | BPF_W | BPF_ABS: a = load(p, n, i->k, 4, &beyond); break;
		case BPF_LD | BPF_MEM: a = m[i->k]; break;
		case BPF_LD | BPF_IMM: a = i->k; break;
		case BPF_LDX | BPF_MEM: x = m[i->k]; break;
		case BPF_ST: m[i->k] = a; break;
		case BPF_STX: m[i->k] = x; break;
		case BPF_MISC | BPF_TAX: x = a; break;
		case BPF_JMP | BPF_JA: pc += i->k; break;
		case BPF_JMP | BPF_JGE | BPF_K: pc += a >= i->k ? i->jt : i->jf; break;
		case BPF_RET | BPF_A: return a;
		default:
			if (BPF_CLASS(i->code) != BPF_ALU)
				fail_msg("instruction %x", i->code);
			a = alu(i->code, a, (i->code & BPF_X) != 0 ? x : i->k);
		}
		if (beyond)
			return 0;
	}
	fail_msg("the program has no end");
	return 0;
}

/* A query for a name; type and what follows the question as given. */
static size_t
query(const char *name, uint16_t type, const char *more, uint8_t p[PACKET_MAX])
{
	size_t n = 12;

	memset(p, 0, 12);
	p[5] = 1;
	while (*name != 0) {
		size_t len = strcspn(name, ".");

		p[n++] = (uint8_t)len;
		memcpy(p + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	p[n++] = 0;
	p[n++] = (uint8_t)(type >> 8);
	p[n++] = (uint8_t)type;
	p[n++] = 0;
	p[n++] = 1;
	memcpy(p + n, more, strlen(more));
	return n + strlen(more);
}

static uint32_t
worker_of(const char *name, uint16_t type, const char *more, unsigned workers)
{
	struct sock_filter code[STEER_CODE_MAX];
	uint8_t p[PACKET_MAX];
	size_t n = query(name, type, more, p);
	unsigned ncode = steer_program(workers, code);

	assert_in_range(ncode, 1, STEER_CODE_MAX);
	return run(code, ncode, p, n);
}

/* The first label alone decides: not its spelling, the type, the rest of the name or what is behind the question. */
static void
test_same(void **state)
{
	static const char *const labels[] = { "a", "ab", "abc", "abcd", "abcde", "web", "web-frontend-2", "_web",
		"a23456789012345678901234567890123456789012345678901234567890123" };
	char name[128];

	(void)state;
	for (unsigned workers = 2; workers <= 64; workers += 31)
		for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
			uint32_t w;

			(void)snprintf(name, sizeof(name), "%s.service.consul", labels[i]);
			w = worker_of(name, 1, "", workers);
			assert_true(w < workers);
			assert_int_equal(worker_of(name, 33, "", workers), w);
			assert_int_equal(worker_of(name, 1, "some more bytes", workers), w);
			assert_int_equal(worker_of(labels[i], 1, "", workers), w);
			for (char *c = name; *c != 0; c++)
				if (*c >= 'a' && *c <= 'z')
					*c = (char)(*c - 'a' + 'A');
			assert_int_equal(worker_of(name, 1, "", workers), w);
		}
}

/* Names are spread: none of eight workers has twice, or half of, its share of a thousand. */
static void
test_spread(void **state)
{
	static const char *const forms[] = { "svc%u.service.consul", "payments-production-eu-west-%u.service.consul", "n%u.node.consul",
		"%u.0.0.127.in-addr.arpa" };

	(void)state;
	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		unsigned had[8] = { 0 };

		for (unsigned i = 0; i < 1000; i++) {
			char name[128];

			(void)snprintf(name, sizeof(name), forms[f], i);
			had[worker_of(name, 1, "", 8)]++;
		}
		for (unsigned w = 0; w < 8; w++)
			assert_in_range(had[w], 63, 250);
	}
}

/* Whatever comes, it ends, with a number of a worker. */
static void
test_hostile(void **state)
{
	struct sock_filter code[STEER_CODE_MAX];
	unsigned ncode = steer_program(5, code);
	uint8_t p[PACKET_MAX];
	size_t n = query("web.service.consul", 1, "", p);
	uint64_t rng = 1;

	(void)state;
	for (size_t cut = 0; cut < n; cut++)
		assert_true(run(code, ncode, p, cut) < 5);
	assert_int_equal(run(code, ncode, p, 12), 0);
	for (unsigned len = 0; len < 256; len++) {
		p[12] = (uint8_t)len;
		assert_true(run(code, ncode, p, n) < 5);
	}
	for (unsigned round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof(p); i++) {
			rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407;
			p[i] = (uint8_t)(rng >> 56);
		}
		assert_true(run(code, ncode, p, rng % sizeof(p)) < 5);
	}
}

/* The kernel takes the program, and gives each name to one socket, the one that was computed here. */
static void
test_kernel(void **state)
{
	enum { SOCKETS = 3, NAMES = 60 };
	union sock_addr addr;
	socklen_t len = sizeof(addr);
	int fd[SOCKETS], s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned got[SOCKETS] = { 0 };

	(void)state;
	assert_true(s >= 0);
	assert_int_equal(sock_addr_parse("127.0.0.1", 0, &addr), 0);
	for (int i = 0; i < SOCKETS; i++) {
		fd[i] = sock_inet_listen(&addr, SOCK_DGRAM, 0, true);
		assert_true(fd[i] >= 0);
		assert_int_equal(getsockname(fd[i], &addr.sa, &len), 0);
	}
	assert_int_equal(steer_attach(fd[0], SOCKETS), 0);
	for (unsigned i = 0; i < NAMES; i++) {
		uint8_t p[PACKET_MAX], in[PACKET_MAX];
		char name[64];
		size_t n;
		uint32_t w;

		(void)snprintf(name, sizeof(name), "svc%u.service.consul", i);
		n = query(name, 1, "", p);
		w = worker_of(name, 1, "", SOCKETS);
		assert_int_equal(sendto(s, p, n, 0, &addr.sa, len), n);
		assert_int_equal(poll(&(struct pollfd){ .fd = fd[w], .events = POLLIN }, 1, 30000), 1);
		assert_int_equal(recv(fd[w], in, sizeof(in), 0), n);
		got[w]++;
	}
	for (int i = 0; i < SOCKETS; i++) {
		assert_true(got[i] > 0);
		(void)close(fd[i]);
	}
	(void)close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same), cmocka_unit_test(test_spread), cmocka_unit_test(test_hostile), cmocka_unit_test(test_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
