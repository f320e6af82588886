/*
 * steer.h - which worker a question over UDP goes to: by its name.
 *
 * The kernel would choose by the asker's address and port, and each worker
 * come to know every name. A small program in the kernel chooses by the first
 * label instead, so that a name has one view in one worker however many
 * workers there are: memory and raftd's watches do not grow with the
 * processors, a name that one client has made warm is warm for all, and equal
 * answers are counted in one place.
 */
#ifndef DNSD_STEER_H
#define DNSD_STEER_H

#include <linux/filter.h>
#include <stdint.h>

#include "lib/errs.h"

enum {
	STEER_WORDS = 16,		/* of four bytes: a label */
	STEER_CODE_MAX = 16 + STEER_WORDS * 16,
};

/* The program for n sockets (classic BPF, bpf(4)); its length. Its result is below n; packets too short for a question give 0. */
unsigned steer_program(unsigned n, struct sock_filter out[STEER_CODE_MAX]);

/* Use it for the sockets that share fd's address (SO_REUSEPORT), of which there are n. -errno. */
int MUST_CHECK steer_attach(int fd, unsigned n);

#endif
