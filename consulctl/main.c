/*
 * main.c - entry of consulctl: find the command and run it.
 *
 * Whatever the program is called (a link named consul), it does the same.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "consulctl/commands.h"
#include "consulctl/client/errtext.h"

/* How many words of argv[1..] name c; 0 when they do not. */
static int
words_matched(const struct command *c, int argc, char **argv)
{
	const char *p = c->name;
	int n = 0;

	while (*p != '\0') {
		size_t len = strcspn(p, " ");

		if (n + 1 >= argc || strlen(argv[n + 1]) != len || memcmp(argv[n + 1], p, len) != 0)
			return 0;
		n++;
		p += len + (p[len] == ' ');
	}
	return n;
}

static const struct command *
command_find(int argc, char **argv, int *ret_words)
{
	const struct command *best = NULL;

	*ret_words = 0;
	for (const struct command *const *c = commands; *c != NULL; c++) {
		int n = words_matched(*c, argc, argv);

		if (n > *ret_words) {
			*ret_words = n;
			best = *c;
		}
	}
	return best;
}

/* The commands whose name begins with the word of group (NULL: all). Returns how many there are. */
static int
list_commands(FILE *out, const char *group)
{
	size_t len = group != NULL ? strlen(group) : 0;
	int n = 0;

	for (const struct command *const *c = commands; *c != NULL; c++) {
		if (group != NULL && (strncmp((*c)->name, group, len) != 0 || (*c)->name[len] != ' '))
			continue;
		if (out != NULL)
			fprintf(out, "    %-32s %s\n", (*c)->name, (*c)->summary);
		n++;
	}
	return n;
}

static void
usage(FILE *out)
{
	fputs("Usage: consulctl [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n", out);
	list_commands(out, NULL);
}

static bool
is_help(const char *arg)
{
	return strcmp(arg, "-h") == 0 || strcmp(arg, "-help") == 0 || strcmp(arg, "--help") == 0;
}

static bool
is_version(const char *arg)
{
	return strcmp(arg, "-v") == 0 || strcmp(arg, "-version") == 0 || strcmp(arg, "--version") == 0;
}

/* A group without its subcommand: what it has, or the group within it that is named. */
static int
group_help(int argc, char **argv)
{
	char group[64];
	int words = 1, more;
	bool asked;
	FILE *out;

	(void)snprintf(group, sizeof(group), "%s", argv[1]);
	for (more = 1; more > 0 && words + 1 < argc;) {
		char inner[64];

		/* A name that does not fit is no command's. */
		if (snprintf(inner, sizeof(inner), "%s %s", group, argv[words + 1]) >= (int)sizeof(inner))
			break;
		more = list_commands(NULL, inner);
		if (more > 0) {
			memcpy(group, inner, sizeof(group));
			words++;
		}
	}
	asked = argc > words + 1 && is_help(argv[words + 1]);
	out = asked ? stdout : stderr;
	fprintf(out, "Usage: consulctl %s <subcommand> [options] [args]\n\nSubcommands:\n", group);
	list_commands(out, group);
	return asked ? 0 : 1;
}

static int
dispatch(int argc, char **argv)
{
	const struct command *c;
	int words;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (is_help(argv[1])) {
		usage(stdout);
		return 0;
	}
	if (is_version(argv[1]))
		return command_run(&command_version, 1, (char *[]){ argv[0], NULL });
	c = command_find(argc, argv, &words);
	if (c != NULL)
		return command_run(c, argc - words, argv + words);
	if (list_commands(NULL, argv[1]) > 0)
		return group_help(argc, argv);
	usage(stderr);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	int code = dispatch(argc, argv);

	/* Output that did not arrive is a failure; a reader that has gone is nobody to tell. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (errno != EPIPE)
			fprintf(stderr, "Error writing the output: %s\n", errtext(-errno));
		return code != 0 ? code : 1;
	}
	return code;
}
