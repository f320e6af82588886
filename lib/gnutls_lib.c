/* gnutls_lib.c - finding GnuTLS and the functions wanted of it. */
#include "lib/gnutls_lib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define GNUTLS_ROW(name) { "gnutls_" #name, offsetof(struct gnutls_lib, name) },
	GNUTLS_FUNCTIONS(GNUTLS_ROW)
#undef GNUTLS_ROW
};

const struct gnutls_lib *
gnutls_lib(void)
{
	static struct gnutls_lib found;
	struct gnutls_lib l;
	void *lib;

	if (found.aead_cipher_init != NULL)
		return &found;
	lib = dlopen("libgnutls.so.30", RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		void *p = dlsym(lib, functions[i].name);

		if (p == NULL) {
			(void)dlclose(lib);
			return NULL;
		}
		/* ISO C has no cast from an object's pointer to a function's; POSIX promises that their bytes agree. */
		memcpy((char *)&l + functions[i].offset, &p, sizeof(p));
	}
	found = l;
	return &found;
}
