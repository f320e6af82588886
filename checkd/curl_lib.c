/* curl_lib.c - libcurl, loaded when it is first needed. */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "checkd/curl_lib.h"

struct curl_lib curl;

/* The flavour that configure asks for, then the other one of the same interface. */
static const char *const names[] = { "libcurl-gnutls.so.4", "libcurl.so.4" };

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define CURL_ROW(name) { "curl_" #name, offsetof(struct curl_lib, name) },
	CURL_FUNCTIONS(CURL_ROW)
#undef CURL_ROW
};

int
curl_lib_load(const char **ret_why)
{
	static void *lib;
	struct curl_lib c;

	if (curl.global_init != NULL)
		return 0;
	for (size_t i = 0; lib == NULL && i < sizeof(names) / sizeof(names[0]); i++)
		lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL) {
		*ret_why = "libcurl is not installed";
		return -ENOENT;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *p = dlsym(lib, functions[i].name);

		if (p == NULL) {
			*ret_why = "libcurl is too old";
			return -ENOSYS;
		}
		/* ISO C has no cast from an object's pointer to a function's; POSIX promises that their bytes agree. */
		memcpy((char *)&c + functions[i].offset, &p, sizeof(p));
	}
	if (c.global_init(CURL_GLOBAL_DEFAULT) != 0) {
		*ret_why = "libcurl cannot be initialised";
		return -EIO;
	}
	curl = c;
	return 0;
}

void
curl_lib_release(void)
{
	if (curl.global_cleanup != NULL)
		curl.global_cleanup();
	memset(&curl, 0, sizeof(curl));
}
