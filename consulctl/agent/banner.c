/*
 * banner.c - the agent's banner, in the layout that Consul's has.
 */
#include <stdbool.h>

#include "consulctl/agent/banner.h"
#include "lib/cfg.h"

static const char *
yes_no(bool b)
{
	return b ? "true" : "false";
}

static void
print_clients(FILE *out, struct json_object *list)
{
	size_t n = list != NULL && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	fputc('[', out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s", i > 0 ? " " : "", json_object_get_string(json_object_array_get_idx(list, i)));
	fputc(']', out);
}

static int
port(struct json_object *tree, const char *path)
{
	return (int)cfg_int(tree, path, -1);
}

void
banner_print(FILE *out, struct json_object *tree)
{
	bool server = cfg_bool(tree, "server", false);

	fputs("==> Starting Consul agent...\n", out);
	fprintf(out, "           Version: '%s'\n", cfg_str(tree, "version", ""));
	fprintf(out, "           Node ID: '%s'\n", cfg_str(tree, "node_id", ""));
	fprintf(out, "         Node name: '%s'\n", cfg_str(tree, "node_name", ""));
	fprintf(out, "        Datacenter: '%s' (Segment: '%s')\n", cfg_str(tree, "datacenter", ""), server ? "<all>" : "");
	fprintf(out, "            Server: %s (Bootstrap: %s)\n", yes_no(server), yes_no(cfg_bool(tree, "bootstrap", false)));
	fputs("       Client Addr: ", out);
	print_clients(out, cfg_get(tree, "client_addr"));
	fprintf(out, " (HTTP: %d, HTTPS: %d, gRPC: %d, DNS: %d)\n", port(tree, "ports.http"), port(tree, "ports.https"),
	    port(tree, "ports.grpc"), port(tree, "ports.dns"));
	fprintf(out, "      Cluster Addr: %s (LAN: %d, WAN: %d)\n", cfg_str(tree, "advertise_addr", ""),
	    port(tree, "ports.serf_lan"), port(tree, "ports.serf_wan"));
	fprintf(out, "           Encrypt: Gossip: %s, TLS-Outgoing: %s, TLS-Incoming: %s, Auto-Encrypt-TLS: %s\n",
	    yes_no(cfg_str(tree, "encrypt", "")[0] != '\0'), yes_no(cfg_bool(tree, "verify_outgoing", false)),
	    yes_no(cfg_bool(tree, "verify_incoming", false)), yes_no(cfg_bool(tree, "auto_encrypt.tls", false)));
	fputs("\n==> Log data will now stream in as it occurs:\n\n", out);
	fflush(out);
}
