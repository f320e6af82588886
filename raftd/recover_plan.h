/*
 * recover_plan.h - the configuration that a peers.json asks for, made from
 * the one that a server has: pure.
 */
#ifndef RAFTD_RECOVER_PLAN_H
#define RAFTD_RECOVER_PLAN_H

#include "lib/records.h"

enum { RECOVER_ERROR_MAX = 1024, RECOVER_FILE_MAX = 64 * 1024 };

struct recover_plan {
	struct arena arena;
	struct raft_config_entry next;
	char cluster[17];
};

/*
 * json: Consul's format, a list of {"id": node ID, "address": "ip:port",
 * "non_voter": bool}. now: the configuration in force. own: this server's
 * data-directory id. -EINVAL with a sentence, -ENOMEM. recover_plan_release() also after an
 * error; ret->next points into now, too.
 */
int MUST_CHECK recover_plan(struct str json, const struct raft_config_entry *now, uint64_t own, struct recover_plan *ret,
    char ret_err[RECOVER_ERROR_MAX]);
void recover_plan_release(struct recover_plan *p);

#endif
