/*
 * why.c - consulctl why: who registered each instance of a service, its
 * checks, and why DNS returns it or does not.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consulctl/client/client.h"
#include "consulctl/commands.h"
#include "consulctl/value.h"

static const struct option options[] = {
	{ "format", OPT_STR, "pretty|json", "pretty", "How to print it." },
	{ "tag", OPT_STR, "tag", NULL, "Ask for DNS names with this tag." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

/* What the agent says: the catalog's entries, its own registrations, and the judgement of its DNS. */
struct answers {
	struct json_object *health, *own, *dns;
};

static struct json_object *
ask(struct client *c, const char *path, const char *service, const char *tag, const char *what)
{
	struct json_object *j = NULL;
	bool is_null, leaderless = false;
	struct request r;

	/* Without a leader, which is when somebody may ask why, what the agent's server knew last will do. */
	for (unsigned i = 0; j == NULL && i < (leaderless ? 2u : 1u); i++) {
		request_init(&r, "GET", path, service);
		if (*tag != '\0')
			request_param(&r, "tag", tag);
		if (leaderless)
			request_param(&r, "stale", "");
		if (client_call(c, &r, false) == 0)
			j = request_json(&r, &is_null);
		leaderless = j == NULL && !leaderless && strstr(r.error, "No cluster leader") != NULL;
		if (j == NULL && !leaderless)
			fprintf(stderr, "Error asking for %s: %s\n", what, r.error);
		else if (i > 0)
			fprintf(stderr, "There is no leader: this is what the agent's server knew last.\n");
		request_release(&r);
	}
	return j;
}

static bool
ask_all(struct client *c, const struct options *o, struct answers *a)
{
	const char *service = o->args[0];

	a->health = ask(c, "/v1/health/service/", service, "", "the instances");
	if (a->health != NULL)
		a->own = ask(c, "/v1/agent/why/", service, "", "the agent's own registrations");
	if (a->own != NULL)
		a->dns = ask(c, "/v1/agent/dns/", service, options_str(o, "tag"), "the answers of DNS");
	return a->dns != NULL;
}

static void
answers_release(struct answers *a)
{
	json_object_put(a->health);
	json_object_put(a->own);
	json_object_put(a->dns);
}

/* The element of a list whose member is this text; NULL: there is none. */
static struct json_object *
find(struct json_object *list, const char *member, const char *text)
{
	for (size_t i = 0; i < value_count(list); i++)
		if (strcmp(value_text(value_at(list, i), member), text) == 0)
			return value_at(list, i);
	return NULL;
}

static struct json_object *
find_dns(struct json_object *dns, const char *node, const char *id)
{
	struct json_object *list = value_get(dns, "Instances");

	for (size_t i = 0; i < value_count(list); i++) {
		struct json_object *v = value_at(list, i);

		if (strcmp(value_text(v, "Node"), node) == 0 && strcmp(value_text(v, "ServiceID"), id) == 0)
			return v;
	}
	return NULL;
}

/* ---- building the answer; out of memory is told at the end */

static bool starved;

static void
put(struct json_object *o, const char *name, struct json_object *v)
{
	if (o == NULL || (v == NULL && strcmp(name, "Age") != 0) || json_object_object_add(o, name, v) < 0) {
		json_object_put(v);
		starved = true;
	}
}

static void
put_text(struct json_object *o, const char *name, const char *text)
{
	put(o, name, json_object_new_string(text));
}

static void
append(struct json_object *list, struct json_object *v)
{
	if (list == NULL || v == NULL || json_object_array_add(list, v) < 0) {
		json_object_put(v);
		starved = true;
	}
}

static bool
is_true(struct json_object *j, const char *name)
{
	return json_object_get_boolean(value_get(j, name));
}

/* Who registered an instance. Kind: file, api, agent (of another node), leader (the servers themselves), catalog. */
static struct json_object *
registered_by(struct json_object *mine, const char *id, bool here, bool has_agent)
{
	struct json_object *o = json_object_new_object();
	bool leaders = mine == NULL && has_agent && strcmp(id, "consul") == 0;

	if (leaders) {
		put_text(o, "Kind", "leader");
		put_text(o, "From", "");
		put(o, "Since", json_object_new_int64(0));
	} else if (mine != NULL) {
		put_text(o, "Kind", value_text(mine, "Source"));
		put_text(o, "From", value_text(mine, "From"));
		put(o, "Since", json_object_new_int64((int64_t)value_u64(mine, "Since")));
	} else {
		put_text(o, "Kind", !here && has_agent ? "agent" : "catalog");
		put_text(o, "From", "");
		put(o, "Since", json_object_new_int64(0));
	}
	/* This agent takes out what it does not know. */
	put(o, "Doomed", json_object_new_boolean(mine == NULL && here && !leaders));
	return o;
}

/* A check as this agent knows it, NULL: it does not. */
static struct json_object *
own_check(struct json_object *own, struct json_object *mine, const char *check_id)
{
	struct json_object *c = find(value_get(mine, "Checks"), "CheckID", check_id);

	return c != NULL ? c : find(value_get(own, "NodeChecks"), "CheckID", check_id);
}

/* What it said last: the catalog hears of an output alone only after check_update_interval. */
static const char *
output_of(struct json_object *c, struct json_object *here)
{
	if (here != NULL && *value_text(here, "Output") != '\0')
		return value_text(here, "Output");
	return *value_text(c, "Output") != '\0' ? value_text(c, "Output") : value_text(c, "Notes");
}

static struct json_object *
checks_of(struct json_object *entry, struct json_object *own, struct json_object *mine, bool here, bool *ret_agent)
{
	struct json_object *list = value_get(entry, "Checks"), *out = json_object_new_array();

	*ret_agent = false;
	for (size_t i = 0; i < value_count(list); i++) {
		struct json_object *c = value_at(list, i), *o = json_object_new_object();
		const char *id = value_text(c, "CheckID");
		struct json_object *known = here ? own_check(own, mine, id) : NULL, *age = value_get(known, "Age");

		*ret_agent = *ret_agent || strcmp(id, "serfHealth") == 0;
		put_text(o, "CheckID", id);
		put_text(o, "Name", value_text(c, "Name"));
		put_text(o, "Of", *value_text(c, "ServiceID") != '\0' ? "instance" : "node");
		put_text(o, "Status", value_text(c, "Status"));
		put_text(o, "Output", output_of(c, known));
		/* "" : this agent does not know it. */
		put_text(o, "Source", value_text(known, "Source"));
		put(o, "Age", age != NULL ? json_object_get(age) : NULL);
		append(out, o);
	}
	return out;
}

static void
put_dns(struct json_object *o, struct json_object *dns, struct json_object *judged, const char *otherwise)
{
	bool valid = is_true(dns, "Valid");

	put(o, "Returned", json_object_new_boolean(valid && is_true(judged, "Returned")));
	put_text(o, "Reason", judged == NULL ? otherwise : valid ? value_text(judged, "Reason") : value_text(dns, "Reason"));
}

static struct json_object *
instance(struct json_object *entry, const struct answers *a)
{
	struct json_object *node = value_get(entry, "Node"), *service = value_get(entry, "Service"), *o = json_object_new_object();
	const char *name = value_text(node, "Node"), *id = value_text(service, "ID"), *address = value_text(service, "Address");
	bool here = strcmp(name, value_text(a->own, "Node")) == 0, has_agent;
	struct json_object *mine = here ? find(value_get(a->own, "Services"), "ID", id) : NULL, *checks;

	checks = checks_of(entry, a->own, mine, here, &has_agent);
	put_text(o, "Node", name);
	put_text(o, "ServiceID", id);
	put_text(o, "Address", *address != '\0' ? address : value_text(node, "Address"));
	put(o, "Port", json_object_new_int64((int64_t)value_u64(service, "Port")));
	put(o, "ModifyIndex", json_object_new_int64((int64_t)value_u64(service, "ModifyIndex")));
	put(o, "RegisteredBy", registered_by(mine, id, here, has_agent));
	put(o, "Checks", checks);
	put(o, "InCatalog", json_object_new_boolean(true));
	put_dns(o, a->dns, find_dns(a->dns, name, id), "it has just been registered");
	return o;
}

/* What this agent has and the catalog lacks. */
static void
add_missing(struct json_object *list, const struct answers *a)
{
	struct json_object *services = value_get(a->own, "Services");
	const char *node = value_text(a->own, "Node");

	for (size_t i = 0; i < value_count(services); i++) {
		struct json_object *mine = value_at(services, i), *o;
		bool known = false;

		for (size_t k = 0; k < value_count(a->health) && !known; k++) {
			struct json_object *e = value_at(a->health, k);

			known = strcmp(value_text(value_get(e, "Node"), "Node"), node) == 0 &&
			    strcmp(value_text(value_get(e, "Service"), "ID"), value_text(mine, "ID")) == 0;
		}
		if (known)
			continue;
		o = json_object_new_object();
		put_text(o, "Node", node);
		put_text(o, "ServiceID", value_text(mine, "ID"));
		put(o, "RegisteredBy", registered_by(mine, value_text(mine, "ID"), true, true));
		put(o, "Checks", json_object_get(value_get(mine, "Checks")));
		put(o, "InCatalog", json_object_new_boolean(false));
		put_dns(o, a->dns, NULL, is_true(mine, "Denied") ? "the catalog refuses it: see the agent's log" :
		    "the agent has not written it to the catalog yet");
		append(list, o);
	}
}

static struct json_object *
build(const char *service, const struct answers *a, size_t *ret_returned)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	*ret_returned = 0;
	for (size_t i = 0; i < value_count(a->health); i++)
		append(list, instance(value_at(a->health, i), a));
	add_missing(list, a);
	for (size_t i = 0; i < value_count(list); i++)
		*ret_returned += is_true(value_at(list, i), "Returned");
	put_text(o, "Service", service);
	put(o, "NameValid", json_object_new_boolean(is_true(a->dns, "Valid")));
	put_text(o, "NameReason", value_text(a->dns, "Reason"));
	put(o, "Limits", json_object_get(value_get(a->dns, "Limits")));
	put(o, "Returned", json_object_new_int64((int64_t)*ret_returned));
	put(o, "Instances", list);
	return o;
}

/* ---- printing */

/* A text of others on one line, without the blanks and line feeds that outputs end with. */
static void
print_line(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (unsigned char)text[len - 1] <= ' ')
		len--;
	for (const char *p = text; p < text + len; p++)
		putchar((unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
}

static void
print_source(struct json_object *by)
{
	const char *kind = value_text(by, "Kind"), *from = value_text(by, "From");
	time_t since = (time_t)value_u64(by, "Since");
	char when[64] = "";
	struct tm tm;

	if (since != 0 && gmtime_r(&since, &tm) != NULL)
		(void)strftime(when, sizeof(when), ", at %Y-%m-%dT%H:%M:%SZ", &tm);
	printf("    Registered by: ");
	if (strcmp(kind, "file") == 0)
		printf("this agent, in %s%s\n", *from != '\0' ? from : "its configuration", when);
	else if (strcmp(kind, "api") == 0)
		printf("this agent's API, %s%s%s\n", *from != '\0' ? "by " : "by an unknown client", from, when);
	else if (strcmp(kind, "agent") == 0)
		printf("the agent of that node, which was not asked: this is what the catalog tells\n");
	else if (strcmp(kind, "leader") == 0)
		printf("the leader, as for each server\n");
	else
		printf("a write to the catalog, without an agent%s\n",
		    is_true(by, "Doomed") ? "; this agent does not know it and takes it out when it next compares" : "");
}

static void
print_checks(struct json_object *list)
{
	for (size_t i = 0; i < value_count(list); i++) {
		struct json_object *c = value_at(list, i);

		printf("    Check:         %s of the %s", value_text(c, "CheckID"), *value_text(c, "Of") != '\0' ? value_text(c, "Of") : "instance");
		printf(" is %s", value_text(c, "Status"));
		if (value_get(c, "Age") != NULL)
			printf(", for its last result %llu s ago", (unsigned long long)value_u64(c, "Age"));
		if (*value_text(c, "Output") != '\0') {
			printf(": ");
			print_line(value_text(c, "Output"));
		}
		putchar('\n');
	}
}

static void
print_instance(struct json_object *i)
{
	const char *reason = value_text(i, "Reason");

	printf("\n  %s on %s\n", value_text(i, "ServiceID"), value_text(i, "Node"));
	if (is_true(i, "InCatalog"))
		printf("    Address:       %s port %llu\n", value_text(i, "Address"), (unsigned long long)value_u64(i, "Port"));
	print_source(value_get(i, "RegisteredBy"));
	if (is_true(i, "InCatalog"))
		printf("    Last write:    index %llu\n", (unsigned long long)value_u64(i, "ModifyIndex"));
	print_checks(value_get(i, "Checks"));
	printf("    DNS:           %s%s", is_true(i, "Returned") ? "returned" : "not returned", *reason != '\0' ? ": " : "");
	print_line(reason);
	putchar('\n');
}

static bool
is_plain(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] == '\0';
}

static void
print_pretty(struct json_object *all, size_t returned)
{
	struct json_object *list = value_get(all, "Instances"), *limits = value_get(all, "Limits");
	unsigned long long a = value_u64(limits, "ARecordLimit"), udp = value_u64(limits, "UDPAnswerLimit");

	printf("%s: %zu of %zu instances are returned by DNS\n", value_text(all, "Service"), returned, value_count(list));
	if (!is_true(all, "NameValid"))
		printf("%s\n", value_text(all, "NameReason"));
	else if (!is_plain(value_text(all, "Service")))
		printf("The name has other characters than letters, digits and hyphens: DNS here answers it, but resolvers may refuse it.\n");
	if (value_count(list) == 0)
		printf("Neither the catalog nor this agent has an instance of this service that the token may see.\n");
	if (a > 0 && returned > a)
		printf("An answer holds at most %llu of them, others each time (dns_config.a_record_limit).\n", a);
	if (udp > 0 && returned > udp)
		printf("An answer over UDP without EDNS holds at most %llu of them, others each time (dns_config.udp_answer_limit).\n", udp);
	for (size_t i = 0; i < value_count(list); i++)
		print_instance(value_at(list, i));
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *format = options_str(o, "format");
	struct answers a = { NULL, NULL, NULL };
	struct json_object *all = NULL;
	size_t returned = 0;
	struct client c;
	bool ok;

	(void)cmd;
	if (o->nargs != 1 || *o->args[0] == '\0') {
		fprintf(stderr, "This command requires one argument: the name of a service\n");
		return 1;
	}
	if (strcmp(format, "pretty") != 0 && strcmp(format, "json") != 0) {
		fprintf(stderr, "Invalid format: %s (pretty or json)\n", format);
		return 1;
	}
	if (client_open(&c, o) < 0)
		return 1;
	ok = ask_all(&c, o, &a);
	if (ok)
		all = build(o->args[0], &a, &returned);
	if (ok && (all == NULL || starved)) {
		fprintf(stderr, "Error: out of memory\n");
		ok = false;
	} else if (ok && strcmp(format, "json") == 0) {
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	} else if (ok) {
		print_pretty(all, returned);
	}
	json_object_put(all);
	answers_release(&a);
	client_close(&c);
	return !ok ? 1 : returned > 0 ? 0 : EXIT_MISS;
}

const struct command command_why = {
	.name = "why",
	.summary = "Tells why DNS returns a service's instances, or does not",
	.args = "[options] SERVICE",
	.about = "For each instance of the service: who registered it (a file of this agent with its line, a client of this agent's API, "
	    "the agent of another node, the leader, or a write to the catalog without an agent), its checks with their last outputs, and whether the DNS "
	    "of this agent returns it, or why not. Without a leader it is what the agent's server knew last.\n\n"
	    "The exit code is 0 when DNS returns at least one instance, 2 when it returns none, and 1 on errors.",
	.options = options,
	.common = COMMON_CLIENT,
	.run = run,
};
