/*
 * rtt.c - consulctl rtt: how long a message goes between two nodes and back.
 */
#include <math.h>
#include <stdlib.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"
#include "lib/rtt.h"

enum { NAME_MAX_ = 256 };

static const struct option options[] = {
	{ "wan", OPT_BOOL, NULL, NULL, "Use the coordinates of servers among all datacenters; nodes are written NODE.DATACENTER." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

/* A coordinate as it came, with room for its axes. */
struct place {
	struct coordinate coord;
	struct coordinate_axis axes[RTT_DIMENSIONS];
	const char *group;	/* the segment or area: others are not comparable */
};

static double
number(struct json_object *j, const char *name)
{
	return json_object_get_double(value_get(j, name));
}

/* False when it is none that we could be beside. */
static bool
read_place(struct json_object *entry, const char *group, struct place *ret)
{
	struct json_object *coord = value_get(entry, "Coord"), *vec = value_get(coord, "Vec");

	if (value_count(vec) != RTT_DIMENSIONS)
		return false;
	for (size_t i = 0; i < RTT_DIMENSIONS; i++)
		ret->axes[i].v = json_object_get_double(value_at(vec, i));
	ret->coord = (struct coordinate){
		.vec = { ret->axes, RTT_DIMENSIONS }, .error = number(coord, "Error"), .adjustment = number(coord, "Adjustment"),
		.height = number(coord, "Height"),
	};
	ret->group = group;
	return rtt_complaint(&ret->coord) == NULL;
}

static bool
is_node(struct json_object *entry, struct str name)
{
	return str_eq_nocase(str_from(value_text(entry, "Node")), name);
}

/* Node I of a pair, wherever its coordinate lies: callers compare groups. */
struct pair {
	struct str node[2];
	const char *dc[2];	/* WAN */
	struct place at[2];
	bool found[2];
};

/* What this entry adds; true when both are known and may be compared. */
static bool
pair_take(struct pair *p, struct json_object *entry, const char *group, const char *dc)
{
	for (int i = 0; i < 2; i++)
		if ((dc == NULL || strcmp(p->dc[i], dc) == 0) && is_node(entry, p->node[i]) && read_place(entry, group, &p->at[i]))
			p->found[i] = true;
	return p->found[0] && p->found[1] && strcmp(p->at[0].group, p->at[1].group) == 0;
}

/* The answer to a question about coordinates; NULL when the error was printed. */
static struct json_object *
ask(struct client *c, const char *path)
{
	struct json_object *list;
	struct request r;
	bool is_null = false;
	int rc;

	request_init(&r, "GET", path, NULL);
	rc = client_call(c, &r, false);
	list = rc == 0 ? request_json(&r, &is_null) : NULL;
	if (list == NULL && is_null)
		list = json_object_new_array();
	if (list == NULL)
		fprintf(stderr, "Error getting coordinates: %s\n", r.error);
	request_release(&r);
	return list;
}

static bool
find_lan(struct pair *p, struct json_object *entries)
{
	for (size_t i = 0; i < value_count(entries); i++)
		if (pair_take(p, value_at(entries, i), value_text(value_at(entries, i), "Segment"), NULL))
			return true;
	return false;
}

static bool
find_wan(struct pair *p, struct json_object *dcs)
{
	for (size_t i = 0; i < value_count(dcs); i++) {
		struct json_object *dc = value_at(dcs, i), *entries = value_get(dc, "Coordinates");

		for (size_t k = 0; k < value_count(entries); k++)
			if (pair_take(p, value_at(entries, k), value_text(dc, "AreaID"), value_text(dc, "Datacenter")))
				return true;
	}
	return false;
}

/* The agent's own name, as `members` shows it in the pool. 0, or the error was printed. */
static int
own_name(struct client *c, bool wan, char out[NAME_MAX_])
{
	struct json_object *self = NULL, *config;
	struct request r;
	int rc, n;

	request_init(&r, "GET", "/v1/agent/self", NULL);
	rc = client_call(c, &r, false);
	if (rc == 0)
		self = request_json(&r, NULL);
	if (self == NULL) {
		fprintf(stderr, "Unable to look up agent info: %s\n", r.error);
		request_release(&r);
		return -EBADMSG;
	}
	config = value_get(self, "Config");
	n = snprintf(out, NAME_MAX_, wan ? "%s.%s" : "%s", value_text(config, "NodeName"), value_text(config, "Datacenter"));
	json_object_put(self);
	request_release(&r);
	return n > 0 && n < NAME_MAX_ ? 0 : -EINVAL;
}

/* NODE.DATACENTER, nothing more. */
static bool
split_wan(struct pair *p, int i, const char *name)
{
	const char *dot = strchr(name, '.');

	if (dot == NULL || strchr(dot + 1, '.') != NULL)
		return false;
	p->node[i] = (struct str){ name, (size_t)(dot - name) };
	p->dc[i] = dot + 1;
	return true;
}

static int
estimate(struct client *c, const char *const names[2], bool wan)
{
	struct pair p = { .node = { str_from(names[0]), str_from(names[1]) } };
	struct json_object *list;
	double seconds;
	bool found;

	if (wan && (!split_wan(&p, 0, names[0]) || !split_wan(&p, 1, names[1]))) {
		fputs("Node names must be specified as <node name>.<datacenter> with -wan\n", stderr);
		return 1;
	}
	list = ask(c, wan ? "/v1/coordinate/datacenters" : "/v1/coordinate/nodes");
	if (list == NULL)
		return 1;
	found = wan ? find_wan(&p, list) : find_lan(&p, list);
	seconds = found ? rtt_seconds(&p.at[0].coord, &p.at[1].coord) : INFINITY;
	json_object_put(list);
	if (!found || !isfinite(seconds)) {
		/* Of two that cannot be compared, neither has a coordinate for the other. */
		fprintf(stderr, "Could not find a coordinate for node \"%s\"\n", names[p.found[0] && !p.found[1]]);
		return 1;
	}
	printf("Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n", names[0], names[1], seconds * 1000, wan ? "WAN" : "LAN");
	return 0;
}

static int
run(const struct command *cmd, const struct options *o)
{
	bool wan = options_bool(o, "wan");
	char own[NAME_MAX_] = "";
	const char *names[2];
	struct client c;
	int code = 1;

	if (o->nargs < 1 || o->nargs > 2) {
		fputs("One or two node names must be specified\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	names[0] = o->args[0];
	names[1] = o->nargs > 1 ? o->args[1] : own;
	if (o->nargs > 1 || own_name(&c, wan, own) == 0)
		code = estimate(&c, names, wan);
	client_close(&c);
	return code;
}

const struct command command_rtt = {
	.name = "rtt",
	.summary = "Estimates the round trip time between nodes",
	.args = "[options] NODE [NODE]",
	.about = "Prints how long a message goes from one node to another and back, as it follows from where the members' gossip "
	    "has placed them. Without a second node, to the agent's own.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
