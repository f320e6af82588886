/*
 * config.h - the agent's configuration: read, checked, merged, resolved and
 * cut into slices, one a daemon.
 *
 * Order of use in the supervisor:
 *
 *	config_args_parse()	the command line, once
 *	config_load()		defaults, flags, files, fragments; refuses what is wrong; writes nothing
 *	config_identify()	the data directory and its node-id
 *	config_notice()		lines to log, once the log is set up
 *	config_slice()		for each daemon
 *
 * A reload is config_load() with the same arguments, config_identify() with the
 * running config as prev, config_diff() for what it cannot change, new slices.
 *
 * The resolved tree (config_tree()) is read with lib/cfg.h: keys are those of
 * config.md, all of them with their defaults, durations are integer
 * milliseconds, addresses literal. Besides: "dev_mode", "version", "revision".
 *
 * Errors are put into err as text without a newline at its end: one sentence,
 * or, for a file, Consul's list of what is wrong in it, with line and key.
 */
#ifndef CONSULCTL_CONFIG_CONFIG_H
#define CONSULCTL_CONFIG_CONFIG_H

#include <json-c/json_object.h>
#include <stddef.h>
#include <stdio.h>

#include "lib/buf.h"
#include "lib/log.h"

enum { CONFIG_ERR_MAX = 16 * 1024 };	/* a good maximum for the err buffers */

struct config_args;
struct config;

/* A line to log with subsystem "agent". */
struct config_notice {
	enum log_level level;	/* LOG_INFO or LOG_WARN */
	const char *text;
};

/*
 * The flags of `consulctl agent` (argv[0] is the command's name). 0; 1 when
 * -h or -help was there; -EINVAL with a sentence. argv must outlive *ret.
 */
int MUST_CHECK config_args_parse(int argc, char **argv, struct config_args **ret, struct buf *err);
void config_args_free(struct config_args *a);

/* One line a flag, for the usage text. */
void config_flags_print(FILE *f);

/* Read everything that args name. -EINVAL (refused), -errno (unreadable) or -ENOMEM, with text in err. */
int MUST_CHECK config_load(const struct config_args *args, struct config **ret, struct buf *err);
void config_free(struct config *c);

/*
 * Settle node_id: from the config, else from data_dir/node-id, which is
 * created (0600) with the directory when missing; in -dev mode prev's (NULL:
 * a random one).
 */
int MUST_CHECK config_identify(struct config *c, const struct config *prev, struct buf *err);

/* Borrowed. */
struct json_object *config_tree(const struct config *c);

/* Another value of acl.tokens.NAME. -ENOMEM. */
int MUST_CHECK config_set_token(struct config *c, const char *name, const char *value);
/* NULL, or why this cannot be a token; never what it is. */
const char *config_token_problem(const char *token);

/* Notice i, or NULL behind the last: keys without effect, doubtful values, skipped files. */
const struct config_notice *config_notice(const struct config *c, size_t i);

/* Add one; beyond CONFIG_NOTICES_MAX, and without memory, notices are lost. */
void config_note(struct config *c, enum log_level level, const char *fmt, ...) PRINTF(3, 4);

/*
 * What a daemon ("raftd" "gossipd" "httpd" "dnsd" "checkd") may know, with
 * "run_dir" set; the caller puts it. NULL without memory or for an unknown name.
 */
struct json_object *config_slice(const struct config *c, const char *daemon, const char *run_dir);

/*
 * Names of keys that differ between two loaded configs and that only a
 * restart applies, joined by ", " (nothing added: none). Those keys keep their
 * old value in a reload: next takes it over.
 */
int MUST_CHECK config_diff(const struct config *running, struct config *next, struct buf *ret_keys);

/*
 * What `validate` does: every path is a file or a directory. format: "hcl",
 * "json" or NULL for by extension. 0, or negative with text in err.
 */
int MUST_CHECK config_validate(const char *const *paths, size_t npaths, const char *format, struct buf *err);

#endif
