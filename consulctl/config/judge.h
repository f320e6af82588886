/* judge.h - what the members of a definition may be together. */
#ifndef CONSULCTL_CONFIG_JUDGE_H
#define CONSULCTL_CONFIG_JUDGE_H

#include "consulctl/config/build.h"

/* def: a definition in CamelCase, its members of the right types. Problems are told under path. */
void judge_service(struct problems *p, const char *path, struct json_object *def);

/* top: a check of its own, not one inside a service. */
void judge_check(struct problems *p, const char *path, struct json_object *def, bool top);

/* Whether a check runs a program. */
bool judge_is_script(struct json_object *check);

#endif
