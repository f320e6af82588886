/*
 * dns_message.c - any bytes as a message that somebody else wrote: read to
 * its end, followed, stripped and added to. What is well-formed stays so.
 */
#include <stdlib.h>
#include <string.h>

#include "dnsd/message.h"
#include "fuzz/fuzz.h"
#include "t/unit/dns_decode.h"

static uint8_t *scratch;
static struct decoded *d;

/* Offsets that msg_follow() gives are of records inside, their names sound. */
static void
follow(struct msg *m, const uint8_t *name, uint16_t type)
{
	struct msg_rr out[32];
	uint8_t target[PKT_NAME_MAX + 1];
	int n = msg_follow(m, name, type, out, ARRAY_LEN(out));

	for (int i = 0; i < n; i++) {
		if (out[i].data + out[i].len > m->n || out[i].section != SECTION_ANSWER)
			abort();
		if (out[i].type == TYPE_CNAME && msg_name(m, out[i].data, target) == 0)
			abort();
		if ((out[i].type == TYPE_A && out[i].len != 4) || (out[i].type == TYPE_AAAA && out[i].len != 16))
			abort();
	}
}

/* Options out, then one in: a message that others can read remains one. */
static void
options(const uint8_t *data, size_t size)
{
	bool sound = decode(d, data, size);
	size_t n;

	memcpy(scratch, data, size);
	n = msg_strip_options(scratch, size);
	if (n > size || (sound && !decode(d, scratch, n)))
		abort();
	if (n != msg_strip_options(scratch, n))
		abort();
	n = msg_add_option(scratch, n, PKT_TCP_MAX, 1232, OPTION_COOKIE, (const uint8_t *)"0123456789abcdef01234567", 24);
	if (n > PKT_TCP_MAX || (sound && !decode(d, scratch, n)))
		abort();
}

/* As a reply to the very question that it has, and to another one: what is taken can be read by others. */
static void
judge(const uint8_t *data, size_t size, const struct msg *m)
{
	uint8_t query[PKT_HEADER + PKT_QUESTION_MAX] = { 0 };
	size_t n = size, end = m->question_end;

	if (m->count[0] != 1 || end > sizeof(query))
		return;
	memcpy(query, data, end);
	memcpy(scratch, data, size);
	if (msg_judge(query, end, scratch, &n) == REPLY_FINAL) {
		struct msg again;

		if (n > size || msg_read(&again, scratch, n) < 0 || msg_end(&again) != n)
			abort();
	}
	for (size_t i = 0; i < end; i++) {
		/* The header's other parts are not compared. */
		if (i >= 2 && i < PKT_HEADER)
			continue;
		n = size;
		query[i] ^= 0x20;
		memcpy(scratch, data, size);
		if (msg_judge(query, end, scratch, &n) != REPLY_FOREIGN)
			abort();
		query[i] ^= 0x20;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t name[PKT_NAME_MAX + 1] = { 0 };
	struct msg m;
	struct msg_rr rr;
	size_t end;

	if (scratch == NULL) {
		scratch = malloc(PKT_TCP_MAX);
		d = malloc(sizeof(*d));
		if (scratch == NULL || d == NULL)
			abort();
	}
	if (size > PKT_TCP_MAX || msg_read(&m, data, size) < 0)
		return 0;
	while (msg_next(&m, &rr) > 0)
		if (rr.data + rr.len > size || msg_name(&m, rr.owner, name) > PKT_NAME_MAX)
			abort();
	end = msg_end(&m);
	if (end > size || msg_rcode(&m) > 4095)
		abort();
	if (decode(d, data, size) && end != size)
		abort();
	if (m.count[0] > 0 && msg_name(&m, PKT_HEADER, name) > 0) {
		follow(&m, name, TYPE_A);
		follow(&m, name, TYPE_ANY);
	}
	judge(data, size, &m);
	options(data, size);
	return 0;
}
