/* filter.c - whom an event is for. */
#include <stdio.h>

#include "consulctl/cmd/filter.h"
#include "lib/re.h"

static const char *const filters[] = { "node", "service", "tag" };

int
filter_check(const struct options *o)
{
	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		struct re *re = NULL;
		char why[200] = "out of memory";

		if (re_compile(str_from(options_str(o, filters[i])), &re, why, sizeof(why)) < 0) {
			fprintf(stderr, "Failed to compile %s filter regexp: %s\n", filters[i], why);
			return -EINVAL;
		}
		re_free(re);
	}
	if (*options_str(o, "tag") != '\0' && *options_str(o, "service") == '\0') {
		fputs("Cannot provide tag filter without service filter.\n", stderr);
		return -EINVAL;
	}
	return 0;
}

void
filter_params(const struct options *o, struct request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		if (*options_str(o, filters[i]) != '\0')
			request_param(r, filters[i], options_str(o, filters[i]));
}
