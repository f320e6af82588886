/*
 * keygen.c - consulctl keygen: a key for the gossip between nodes.
 */
#include <sys/random.h>

#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"
#include "lib/json.h"

enum { KEY_LEN = 32 };

static int
run(const struct command *cmd, const struct options *o)
{
	struct buf text = BUF_INIT(KiB);
	char key[KEY_LEN];
	int rc;

	(void)cmd;
	(void)o;
	if (getrandom(key, sizeof(key), 0) != sizeof(key)) {
		fprintf(stderr, "Error reading random data: %s\n", errtext(-errno));
		return 1;
	}
	rc = json_add_base64(&text, (struct str){ key, sizeof(key) });
	explicit_bzero(key, sizeof(key));
	if (rc == 0)
		printf("%.*s\n", (int)text.len, (const char *)text.data);
	buf_release(&text);
	return rc == 0 ? 0 : 1;
}

const struct command command_keygen = {
	.name = "keygen",
	.summary = "Generates a new encryption key",
	.args = "",
	.about = "Generates a key of 32 random bytes for the \"encrypt\" setting, and prints it in base64.",
	.run = run,
};
