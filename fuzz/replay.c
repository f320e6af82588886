/* replay.c - a fuzz target without a fuzzer: runs it over the files given. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16 * 1024 * 1024 };

static int
replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *all = malloc(INPUT_MAX), *data;
	size_t n;

	if (f == NULL || all == NULL) {
		perror(path);
		exit(1);
	}
	n = fread(all, 1, INPUT_MAX, f);
	(void)fclose(f);
	/* A block of its own size, so that a read behind it is seen. */
	data = malloc(n > 0 ? n : 1);
	if (data == NULL)
		exit(1);
	for (size_t i = 0; i < n; i++)
		data[i] = all[i];
	free(all);
	(void)LLVMFuzzerTestOneInput(data, n);
	free(data);
	return 0;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		(void)replay(argv[i]);
	return 0;
}
