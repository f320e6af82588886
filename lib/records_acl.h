/*
 * records_acl.h - the records of ACLs and of prepared queries, as stored, as
 * exchanged and as the API shows them. Names are Consul's.
 *
 * Secrets (SecretID, BearerToken) are never logged and are wiped from the
 * buffers of a daemon when the request that carried them is over.
 */
#ifndef LIB_RECORDS_ACL_H
#define LIB_RECORDS_ACL_H

#include "lib/records.h"

/* ---- tokens, policies, roles */

struct acl_link {
	struct str id, name;
};

struct acl_service_identity {
	struct str service_name;
	struct strs datacenters;	/* none: all */
};

struct acl_node_identity {
	struct str node_name, datacenter;
};

/* Times are text as RFC 3339 writes them, in UTC; "" none. */
struct acl_token {
	struct str accessor_id, secret_id, description;
	struct records policies, roles;		/* acl_link */
	struct records service_identities, node_identities;
	bool local;
	struct str auth_method;
	struct str expiration_time, create_time;
	int64_t expiration_ttl;			/* input alone */
	struct str hash;			/* 32 bytes */
	bool legacy;				/* shown of tokens that have `rules` */
	struct str type, rules;			/* legacy: client, management */
	uint64_t create_index, modify_index;
};

struct acl_policy {
	struct str id, name, description, rules;
	struct strs datacenters;
	struct str hash;
	int64_t syntax;				/* in snapshots: 1 legacy */
	uint64_t create_index, modify_index;
};

struct acl_role {
	struct str id, name, description;
	struct records policies;		/* acl_link */
	struct records service_identities, node_identities;
	struct str hash;
	uint64_t create_index, modify_index;
};

struct acl_auth_method {
	struct str name, type, display_name, description;
	int64_t max_token_ttl;
	struct str token_locality;		/* "", local, global */
	struct str config;			/* msgpack map as given */
	uint64_t create_index, modify_index;
};

struct acl_binding_rule {
	struct str id, description, auth_method, selector;
	struct str bind_type;			/* service, role, node */
	struct str bind_name;
	uint64_t create_index, modify_index;
};

/* ---- requests: writes. What is to be made new (IDs, secrets, times) is filled in before the log (fsm_check()). */

struct acl_bootstrap {
	struct str secret_id;		/* BootstrapSecret, or made */
	struct str accessor_id, create_time;
	struct str description;		/* "": that of a bootstrap */
	uint64_t reset_index;		/* from the file acl-bootstrap-reset, 0: none */
};

struct acl_token_set {
	struct acl_token token;
	struct str verb;		/* create, update, clone (of token.accessor_id); init: the leader's own, only if it is not there */
	struct str new_accessor_id;
};

/* acl.token_delete, acl.policy_delete ...: by ID (accessor, name of an auth method); acl.token_reap: several accessors. */
struct acl_ids {
	struct strs ids;
};

/* acl.login. bearer_token is verified and left out before the log; token is what then stands there. */
struct acl_login {
	struct str auth_method, bearer_token;
	struct strmap meta;
	struct acl_token token;
};

/* ---- requests: reads */

struct acl_query {
	struct str id;			/* or */
	struct str name;
	struct str policy, role, auth_method, service_name;	/* what lists are narrowed to */
	bool expanded;
};

/* acl.translate: legacy rule text, or that of a token's accessor. */
struct acl_rules_text {
	struct str rules, accessor_id;
};

/* acl.resolve: what a secret stands for, as text, to be compiled by whoever asks. */
struct acl_identity_policy {
	struct str id;			/* "" of a synthetic one */
	struct str rules;
	int64_t syntax;
};
struct acl_identity {
	struct str accessor_id, name;	/* name: for logs, never the secret */
	bool management;		/* everything is allowed */
	struct records policies;	/* acl_identity_policy */
	int64_t expires;		/* Unix time in ns, 0: never */
	struct str default_policy;	/* of the servers */
	struct str fingerprint;		/* 32 bytes: the same as long as the rights are */
};

/* acl.authorize: may the token in QueryOptions do each of these? */
struct acl_question {
	struct str resource;		/* acl agent event intention key keyring mesh node operator peering query service session */
	struct str segment;		/* the name asked about; "" for acl, keyring, mesh, operator, peering */
	struct str access;		/* read list write; key also write-prefix: all below the segment */
};
struct acl_authorize {
	struct records requests;	/* acl_question, at most ACL_AUTHORIZE_MAX */
};
enum { ACL_AUTHORIZE_MAX = 8192 };
struct acl_allowed {
	struct str accessor_id;
	struct strs allow;		/* one "1" or "0" a request, in their order */
	uint64_t expires_ms;		/* how long the answer may be kept, relative */
};

struct acl_replication {
	bool enabled, running;
	struct str source_datacenter, replication_type;
	uint64_t replicated_index, replicated_role_index, replicated_token_index;
	struct str last_success, last_error;
};

/* ---- agent tokens (consulctl keeps them: they are configuration) */
struct agent_token_set {
	struct str type;		/* default agent agent_recovery replication config_file_service_registration dns, and the old names */
	struct str token;
};

/* ---- prepared queries */

struct pq_failover_target {
	struct str peer, datacenter;
};
struct pq_failover {
	int64_t nearest_n;
	struct strs datacenters;
	struct records targets;		/* pq_failover_target */
};
struct pq_service {
	struct str service;
	struct pq_failover failover;
	bool only_passing;
	struct strs ignore_check_ids;
	struct str near;
	struct strs tags;
	struct strmap node_meta, service_meta;
	bool connect;
	struct str peer, sameness_group;
};
struct pq_template {
	struct str type, regexp;
	bool remove_empty_tags;
};
struct pq_dns {
	struct str ttl;
};
struct prepared_query {
	struct str id, name, session, token;
	struct pq_template template;
	struct pq_service service;
	struct pq_dns dns;
	uint64_t create_index, modify_index;
};

struct pq_apply {
	struct str verb;		/* create update delete */
	struct prepared_query query;
};

/* query.get, query.execute, query.explain */
struct pq_request {
	struct str id;			/* UUID or, but for query.get, name */
	int64_t limit;
	struct str near;		/* of the request: a node, or _ip with source_ip */
	struct str source_ip;
	struct str agent_node, agent_segment;	/* what _agent and ${agent.segment} stand for */
	bool connect;
	bool ranked;			/* in no random order, but with Ranks and PerClient; such an execution can be watched */
	uint64_t seed;			/* of the order, drawn by the server that answers */
};

struct pq_result {
	struct str service;
	struct records nodes;		/* health_entry */
	struct pq_dns dns;
	struct str datacenter;
	int64_t failovers;
};

extern const struct record rec_acl_link, rec_acl_service_identity, rec_acl_node_identity;
extern const struct record rec_acl_token, rec_acl_policy, rec_acl_role, rec_acl_auth_method, rec_acl_binding_rule;
extern const struct record rec_acl_bootstrap, rec_acl_token_set, rec_acl_ids, rec_acl_login, rec_acl_query, rec_acl_rules_text;
extern const struct record rec_acl_identity_policy, rec_acl_identity, rec_acl_question, rec_acl_authorize, rec_acl_allowed, rec_acl_replication;
extern const struct record rec_agent_token_set;
extern const struct record rec_pq_failover_target, rec_pq_failover, rec_pq_service, rec_pq_template, rec_pq_dns, rec_prepared_query,
    rec_pq_apply, rec_pq_request, rec_pq_result;

#endif
