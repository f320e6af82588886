/* hcl.c - fuzz target: the HCL parser, and what it says about lines. */
#include <stdlib.h>
#include <string.h>

#include <json-c/linkhash.h>

#include "fuzz/fuzz.h"
#include "lib/hcl.h"

/* Every value knows a line that the text has. */
static void
check_lines(struct json_object *v, unsigned lines)
{
	struct hcl_pos pos = hcl_pos(v);

	if (pos.source != 3 || pos.line < 1 || pos.line > lines)
		abort();
	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(v); i++)
			check_lines(json_object_array_get_idx(v, i), lines);
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, child) {
			if (*key == 0 && child == NULL)
				abort();
			check_lines(child, lines);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct json_object *tree = NULL;
	struct hcl_error e;
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	if (hcl_parse(text, 3, &tree, &e) == 0) {
		check_lines(tree, lines < HCL_LINE_MAX ? lines : HCL_LINE_MAX);
		json_object_put(tree);
	} else if (tree != NULL || e.text[0] == 0 || e.line > lines || memchr(e.text, 0, sizeof(e.text)) == NULL) {
		abort();
	}
	return 0;
}
