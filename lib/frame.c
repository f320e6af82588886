/* frame.c - the twelve bytes in front of every body. */
#include "lib/rpc.h"

static void
put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
frame_encode(const struct frame *f, uint8_t out[FRAME_HEADER])
{
	put32(out, f->len);
	out[4] = f->kind;
	out[5] = f->flags;
	out[6] = (uint8_t)(f->op >> 8);
	out[7] = (uint8_t)f->op;
	put32(out + 8, f->id);
}

void
frame_decode(const uint8_t in[FRAME_HEADER], struct frame *ret)
{
	ret->len = get32(in);
	ret->kind = in[4];
	ret->flags = in[5];
	ret->op = (uint16_t)(in[6] << 8 | in[7]);
	ret->id = get32(in + 8);
}
