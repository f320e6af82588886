/*
 * event.c - consulctl event: firing a user event.
 */
#include <stdlib.h>

#include "consulctl/cmd/filter.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"

static const struct option options[] = {
	{ "name", OPT_STR, "name", NULL, "The event's name." },
	{ "node", OPT_STR, "regexp", NULL, "Only nodes whose name matches." },
	{ "service", OPT_STR, "regexp", NULL, "Only nodes with a service whose name matches." },
	{ "tag", OPT_STR, "regexp", NULL, "Only nodes with such a service that has a tag that matches. Needs -service." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

static int
fire(struct client *c, const struct options *o)
{
	struct json_object *event;
	struct request r;
	int rc;

	request_init(&r, "PUT", "/v1/event/fire/", options_str(o, "name"));
	filter_params(o, &r);
	if (o->nargs > 0)
		r.ex.body = str_from(o->args[0]);
	rc = client_call(c, &r, false);
	event = rc == 0 ? request_json(&r, NULL) : NULL;
	if (event == NULL)
		fprintf(stderr, "Error firing event: %s\n", r.error);
	else
		printf("Event ID: %s\n", value_text(event, "ID"));
	rc = event != NULL ? 0 : 1;
	json_object_put(event);
	request_release(&r);
	return rc;
}

static int
run(const struct command *cmd, const struct options *o)
{
	struct client c;
	char *node;
	int code = 1;

	if (*options_str(o, "name") == '\0' || o->nargs > 1) {
		fputs(o->nargs > 1 ? "Too many command line arguments.\n\n" : "Event name must be specified\n\n", stderr);
		command_help(stderr, cmd);
		return 1;
	}
	if (filter_check(o) < 0 || client_open(&c, o) < 0)
		return 1;
	node = client_node_name(&c);
	if (node != NULL)
		code = fire(&c, o);
	free(node);
	client_close(&c);
	return code;
}

const struct command command_event = {
	.name = "event",
	.summary = "Fires a new event",
	.args = "[options] [PAYLOAD]",
	.about = "Sends a named event to the nodes of the datacenter. It is neither stored nor repeated: who is away misses it.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
