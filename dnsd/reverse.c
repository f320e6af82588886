/* reverse.c - names of addresses: which address one stands for, and the PTR record that answers it. */
#include "dnsd/reverse.h"

#include <stdio.h>
#include <stdlib.h>

enum { V4_LABELS = 4, V6_LABELS = 32 };

static const uint8_t in_addr[] = "\007in-addr\004arpa";
static const uint8_t ip6[] = "\003ip6\004arpa";

/* One decimal byte without leading zeros. */
static int
v4_byte(const uint8_t *p, unsigned n)
{
	unsigned v = 0;

	if (n == 0 || n > 3 || (n > 1 && p[0] == '0'))
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EINVAL;
		v = v * 10 + (p[i] - '0');
	}
	return v <= 255 ? (int)v : -EINVAL;
}

static int
v4_address(const uint8_t *name, size_t len, uint8_t out[4])
{
	size_t at = 0;

	for (int i = V4_LABELS - 1; i >= 0; i--) {
		int v = at < len ? v4_byte(name + at + 1, name[at]) : -EINVAL;

		if (v < 0)
			return v;
		out[i] = (uint8_t)v;
		at += name[at] + 1u;
	}
	return at + sizeof(in_addr) == len && memcmp(name + at, in_addr, sizeof(in_addr)) == 0 ? 0 : -EINVAL;
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EINVAL;
}

static int
v6_address(const uint8_t *name, size_t len, uint8_t out[16])
{
	if (len != 2 * V6_LABELS + sizeof(ip6) || memcmp(name + 2 * V6_LABELS, ip6, sizeof(ip6)) != 0)
		return -EINVAL;
	memset(out, 0, 16);
	for (size_t i = 0; i < V6_LABELS; i++) {
		int v = name[2 * i] == 1 ? hex_digit(name[2 * i + 1]) : -EINVAL;

		if (v < 0)
			return v;
		/* The lowest digit comes first. */
		out[15 - i / 2] = (uint8_t)(out[15 - i / 2] | v << (i % 2 == 0 ? 0 : 4));
	}
	return 0;
}

int
reverse_address(const uint8_t *name, size_t len, char out[INET6_ADDRSTRLEN])
{
	uint8_t raw[16];

	if (v4_address(name, len, raw) == 0)
		return inet_ntop(AF_INET, raw, out, INET6_ADDRSTRLEN) != NULL ? 0 : -EINVAL;
	if (v6_address(name, len, raw) == 0)
		return inet_ntop(AF_INET6, raw, out, INET6_ADDRSTRLEN) != NULL ? 0 : -EINVAL;
	return -EINVAL;
}

/* ---- who is there */

static struct reverse_facts *
facts_new(struct str node, struct str service)
{
	struct reverse_facts *f = malloc(sizeof(*f) + node.len + service.len);

	if (f == NULL)
		return NULL;
	f->node = (struct str){ f->text, node.len };
	f->service = (struct str){ f->text + node.len, service.len };
	if (node.len > 0)
		memcpy(f->text, node.p, node.len);
	if (service.len > 0)
		memcpy(f->text + node.len, service.p, service.len);
	return f;
}

struct reverse_facts *
reverse_nobody(void)
{
	return facts_new(STR_NONE, STR_NONE);
}

int
reverse_from_reply(struct str payload, struct reverse_facts **ret)
{
	struct mp_r r = mp_r_init(payload.p, payload.len);
	struct str node = STR_NONE, service = STR_NONE;
	uint32_t n = mp_r_map(&r);

	for (uint32_t i = 0; i < n && r.err == 0; i++) {
		struct str key = mp_r_str(&r);

		if (str_eqs(key, "Node")) {
			node = mp_r_str(&r);
		} else if (str_eqs(key, "Services")) {
			uint32_t services = mp_r_array(&r);

			for (uint32_t k = 0; k < services && r.err == 0; k++) {
				struct str s = mp_r_str(&r);

				if (k == 0)
					service = s;
			}
		} else {
			mp_r_skip(&r);
		}
	}
	if (r.err != 0)
		return r.err;
	*ret = facts_new(node, service);
	return *ret != NULL ? 0 : -ENOMEM;
}

/* ---- the answer */

/* <service>.service.<dc>.<domain> */
static int
service_name(struct str service, const struct settings *s, uint8_t out[PKT_NAME_MAX + 1])
{
	char text[PKT_NAME_MAX + 1];
	int n = snprintf(text, sizeof(text), "%.*s.service.%s", STR_ARG(service), s->datacenter), wire;

	if (n < 0 || (size_t)n >= sizeof(text))
		return -EINVAL;
	wire = name_to_wire((struct str){ text, (size_t)n }, out);
	if (wire < 0 || wire - 1 + s->domain.len > PKT_NAME_MAX)
		return -EINVAL;
	memcpy(out + wire - 1, s->domain.name, s->domain.len);
	return wire - 1 + s->domain.len;
}

size_t
reverse_answer(const struct pkt_query *q, const struct settings *s, const struct reverse_facts *f, uint8_t *out, size_t cap)
{
	uint8_t target[PKT_NAME_MAX + 1];
	struct pkt_w p;
	size_t at;
	int n;

	pkt_begin(&p, out, cap, q, s->compress);
	if (q->type == TYPE_PTR || q->type == TYPE_ANY) {
		if (f->node.len > 0)
			n = answer_node_name(f->node, s, str_from(s->datacenter), target);
		else
			n = service_name(f->service, s, target);
		if (n < 0)
			return 0;
		pkt_question_name(&p);
		at = pkt_rr_begin(&p, SECTION_ANSWER, TYPE_PTR, 0);
		pkt_bytes(&p, target, (size_t)n);
		pkt_rr_end(&p, at);
	}
	return pkt_end(&p, q, settings_flags(s), RCODE_OK);
}
