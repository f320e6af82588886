/*
 * settings.h - the protocol's parameters by our config slice, with Consul's
 * defaults. Pure.
 */
#ifndef GOSSIPD_SETTINGS_H
#define GOSSIPD_SETTINGS_H

#include <json-c/json_object.h>

#include "gossipd/serf/serf.h"
#include "gossipd/wire/packet.h"

enum { STREAM_LAN_MS = 10000, STREAM_WAN_MS = 30000 };

/* All but name, address, Meta and overhead. */
void settings_swim(struct swim_config *c, struct json_object *slice, bool wan);
void settings_serf(struct serf_config *c, struct json_object *slice, bool wan);

/* Compression and verification; the keys are the caller's. */
void settings_wrap(struct wrap *w, struct json_object *slice);

#endif
