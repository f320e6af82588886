/*
 * banner.h - what `consulctl agent` prints before its log.
 */
#ifndef CONSULCTL_AGENT_BANNER_H
#define CONSULCTL_AGENT_BANNER_H

#include <json-c/json_object.h>
#include <stdio.h>

/* tree is the resolved configuration (consulctl/config/config.h). */
void banner_print(FILE *out, struct json_object *tree);

#endif
