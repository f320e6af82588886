/* dns_world.h - facts, settings and answers for tests of dnsd's pure parts. */
#ifndef T_UNIT_DNS_WORLD_H
#define T_UNIT_DNS_WORLD_H

#include <assert.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "dnsd/answer.h"
#include "t/unit/dns_query.h"

/* Settings of a slice with these members, JSON without the outer braces. */
static inline struct settings *
world_settings(const char *members)
{
	struct settings *s = NULL;
	char text[2048], err[256];
	struct json_object *j;
	int rc;

	(void)snprintf(text, sizeof(text), "{%s}", members);
	j = json_tokener_parse(text);
	assert(j != NULL);
	rc = settings_read(j, &s, err, sizeof(err));
	assert(rc == 0);
	json_object_put(j);
	return s;
}

/* Facts of a service out of a JSON list of health entries, through the msgpack that raftd would send. */
static inline struct facts *
world_service(const char *json)
{
	struct json_object *j = json_tokener_parse(json);
	struct arena a = ARENA_INIT(64 * MiB), scratch = ARENA_INIT(64 * MiB);
	struct buf b = BUF_INIT(64 * MiB);
	struct mp_w w = mp_w_init(&b);
	struct facts *f = NULL;
	char err[256];
	int rc;

	assert(j != NULL);
	mp_w_array(&w, (uint32_t)json_object_array_length(j));
	for (size_t i = 0; i < json_object_array_length(j); i++) {
		struct health_entry e;

		memset(&e, 0, sizeof(e));
		rc = record_from_json(&rec_health_entry, json_object_array_get_idx(j, i), &e, &a, true, err, sizeof(err));
		assert(rc == 0);
		record_encode(&rec_health_entry, &e, RECORD_PUBLIC, &w);
	}
	rc = facts_from_health((struct str){ (const char *)b.data, b.len }, &scratch, &f);
	assert(rc == 0);
	buf_release(&b);
	arena_release(&a);
	arena_release(&scratch);
	json_object_put(j);
	return f;
}

/* n instances on nodes node0.. with addresses 10.0.x.y, ports 1000.. */
static inline struct facts *
world_many(unsigned n)
{
	struct buf b = BUF_INIT(64 * MiB);
	struct facts *f;
	int rc = buf_addc(&b, '[');

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = buf_addf(&b, "%s{\"Node\":{\"Node\":\"node%u\",\"Address\":\"10.0.%u.%u\",\"Datacenter\":\"dc1\","
		    "\"Meta\":{\"k\":\"v%u\"}},\"Service\":{\"Service\":\"many\",\"Port\":%u}}", i > 0 ? "," : "", i, i / 250,
		    i % 250 + 1, i, 1000 + i);
	if (rc == 0)
		rc = buf_addc(&b, ']');
	assert(rc == 0);
	f = world_service(buf_cstr(&b));
	buf_release(&b);
	return f;
}

#endif
