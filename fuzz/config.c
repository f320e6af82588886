/* config.c - fuzz target: a whole configuration, in HCL or JSON, from its text to the daemons' slices. */
#include <stdlib.h>
#include <string.h>

#include "consulctl/config/args.h"
#include "fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const daemons[] = { "raftd", "gossipd", "httpd", "dnsd", "checkd" };
	struct config_args args = { .dev = true, .nfragments = 1 };
	struct buf err = BUF_INIT(CONFIG_ERR_MAX);
	char *text = strndup(size > 0 ? (const char *)data : "", size);
	const char *fragments[] = { text };
	struct config *c = NULL;

	args.fragments = fragments;
	args.lists = json_object_new_object();
	args.scalars = json_object_new_object();
	if (text == NULL || args.lists == NULL || args.scalars == NULL)
		abort();
	if (config_load(&args, &c, &err) == 0) {
		for (size_t i = 0; i < ARRAY_LEN(daemons); i++) {
			struct json_object *slice = config_slice(c, daemons[i], "/run");

			if (slice == NULL)
				abort();
			json_object_put(slice);
		}
	} else if (c != NULL || err.len == 0) {
		abort();
	}
	config_free(c);
	json_object_put(args.lists);
	json_object_put(args.scalars);
	buf_release(&err);
	free(text);
	return 0;
}
