/* fuzz/filter.c - fuzz target: filter expressions, with the regular expressions in them, over an instance. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "lib/bexpr.h"
#include "lib/records.h"

static struct str tags[] = { { "v1", 2 }, { "rails", 5 } };
static struct strpair meta[] = { { { "zone", 4 }, { "east", 4 } } };
static struct health_check checks[] = { { .status = { "passing", 7 } }, { .status = { "warning", 7 } } };
static const struct health_entry entry = {
	.node = { .node = { "n1", 2 }, .meta = { meta, 1 } },
	.service = { .id = { "web-1", 5 }, .service = { "web", 3 }, .tags = { tags, 2 }, .port = 80 },
	.checks = { checks, 2 },
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct arena a = ARENA_INIT(16 * MiB);
	struct bexpr *e = NULL;
	char err[128] = "";
	int rc = bexpr_parse(text, &rec_health_entry, &a, &e, err, sizeof(err));

	if (rc == 0) {
		bool first = bexpr_match(e, &entry);

		/* It keeps nothing from one object to the next. */
		if (bexpr_match(e, &entry) != first)
			abort();
		bexpr_free(e);
	} else if (rc != -EINVAL || err[0] == 0) {
		abort();
	}
	arena_release(&a);
	return 0;
}
