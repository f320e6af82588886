/*
 * proxy.c - what a service says of its proxy: the state keeps it as the API
 * shows it, a snapshot has every field of it.
 */
#include "raftd/archive/internal.h"

#define E FF_OMITEMPTY

enum { API_MAX = 8 << 20 };

/* ---- the API's form */

static const struct field f_api_mesh[] = {
	FIELD(snap_mesh_gateway, mode, "Mode", F_STR, E),
};
static RECORD(rec_api_mesh, snap_mesh_gateway, "MeshGateway", f_api_mesh);

static const struct field f_api_path[] = {
	FIELD(snap_path, listener_port, "ListenerPort", F_INT, E),
	FIELD(snap_path, path, "Path", F_STR, E),
	FIELD(snap_path, local_path_port, "LocalPathPort", F_INT, E),
	FIELD(snap_path, protocol, "Protocol", F_STR, E),
	FIELD(snap_path, parsed_from_check, "ParsedFromCheck", F_BOOL, E),
};
static RECORD(rec_api_path, snap_path, "Path", f_api_path);

static const struct field f_api_expose[] = {
	FIELD(snap_expose, checks, "Checks", F_BOOL, E),
	FIELD_SUB(snap_expose, paths, "Paths", F_RECORDS, E, rec_api_path),
};
static RECORD(rec_api_expose, snap_expose, "Expose", f_api_expose);

static const struct field f_api_transparent[] = {
	FIELD(snap_transparent, port, "OutboundListenerPort", F_INT, E),
	FIELD(snap_transparent, dialed_directly, "DialedDirectly", F_BOOL, E),
};
static RECORD(rec_api_transparent, snap_transparent, "TransparentProxy", f_api_transparent);

static const struct field f_api_upstream[] = {
	FIELD(snap_upstream, type, "DestinationType", F_STR, E),
	FIELD(snap_upstream, ns, "DestinationNamespace", F_STR, E),
	FIELD(snap_upstream, name, "DestinationName", F_STR, 0),
	FIELD(snap_upstream, datacenter, "Datacenter", F_STR, E),
	FIELD(snap_upstream, bind_address, "LocalBindAddress", F_STR, E),
	FIELD(snap_upstream, bind_port, "LocalBindPort", F_INT, E),
	FIELD(snap_upstream, socket_path, "LocalBindSocketPath", F_STR, E),
	FIELD(snap_upstream, socket_mode, "LocalBindSocketMode", F_STR, E),
	FIELD(snap_upstream, config, "Config", F_RAW, E),
	FIELD_SUB(snap_upstream, mesh, "MeshGateway", F_RECORD, 0, rec_api_mesh),
	FIELD(snap_upstream, ingress_hosts, "IngressHosts", F_STRS, E),
	FIELD(snap_upstream, centrally, "CentrallyConfigured", F_BOOL, E),
};
static RECORD(rec_api_upstream, snap_upstream, "Upstream", f_api_upstream);

/* The transparent proxy is left out when nothing of it is set: it is encoded apart. */
struct api_proxy {
	struct snap_proxy p;
	struct str transparent;
};

static const struct field f_api_proxy[] = {
	FIELD(api_proxy, p.service_name, "DestinationServiceName", F_STR, E),
	FIELD(api_proxy, p.service_id, "DestinationServiceID", F_STR, E),
	FIELD(api_proxy, p.local_address, "LocalServiceAddress", F_STR, E),
	FIELD(api_proxy, p.local_port, "LocalServicePort", F_INT, E),
	FIELD(api_proxy, p.local_socket, "LocalServiceSocketPath", F_STR, E),
	FIELD(api_proxy, p.mode, "Mode", F_STR, 0),
	FIELD(api_proxy, p.config, "Config", F_RAW, E),
	FIELD_SUB(api_proxy, p.upstreams, "Upstreams", F_RECORDS, E, rec_api_upstream),
	FIELD_SUB(api_proxy, p.mesh, "MeshGateway", F_RECORD, 0, rec_api_mesh),
	FIELD_SUB(api_proxy, p.expose, "Expose", F_RECORD, 0, rec_api_expose),
	FIELD(api_proxy, transparent, "TransparentProxy", F_RAW, E),
};
static RECORD(rec_api_proxy, api_proxy, "Proxy", f_api_proxy);

static const struct field f_api_connect[] = {
	FIELD(snap_connect, native, "Native", F_BOOL, E),
	FIELD(snap_connect, sidecar, "SidecarService", F_RAW, E),
};
static RECORD(rec_api_connect, snap_connect, "Connect", f_api_connect);

/* obj in the API's form, in the arena. */
static int
encode(const struct record *rec, const void *obj, struct arena *a, struct str *ret)
{
	struct buf b = BUF_INIT(API_MAX);
	struct mp_w w = mp_w_init(&b);
	char *p;

	record_encode(rec, obj, RECORD_PUBLIC, &w);
	p = w.err == 0 ? arena_strdup(a, (struct str){ (const char *)b.data, b.len }) : NULL;
	if (p != NULL)
		*ret = (struct str){ p, b.len };
	buf_release(&b);
	return w.err < 0 ? w.err : p == NULL ? -ENOMEM : 0;
}

int
proxy_to_api(const struct snap_proxy *p, struct arena *a, struct str *ret)
{
	const struct api_proxy none = { 0 };
	struct api_proxy api = { .p = *p };
	struct str zero, is;
	int rc = 0;

	if (p->transparent.dialed_directly || p->transparent.port != 0)
		rc = encode(&rec_api_transparent, &p->transparent, a, &api.transparent);
	if (rc == 0)
		rc = encode(&rec_api_proxy, &api, a, &is);
	if (rc == 0)
		rc = encode(&rec_api_proxy, &none, a, &zero);
	if (rc == 0)
		*ret = str_eq(is, zero) ? STR_NONE : is;
	return rc;
}

int
connect_to_api(const struct snap_connect *c, struct arena *a, struct str *ret)
{
	*ret = STR_NONE;
	return c->native || c->sidecar.len > 0 ? encode(&rec_api_connect, c, a, ret) : 0;
}

/* ---- back */

/* What came from JSON, in the snapshot's dialect. */
static int
json_to_dialect(struct str *value, struct arena *a)
{
	struct buf b = BUF_INIT(API_MAX);
	struct mp_w w = mp_w_init(&b);
	char *p;

	if (value->len == 0)
		return 0;
	dialect_json(&w, *value);
	p = w.err == 0 ? arena_strdup(a, (struct str){ (const char *)b.data, b.len }) : NULL;
	if (p != NULL)
		*value = (struct str){ p, b.len };
	buf_release(&b);
	return w.err < 0 ? w.err : p == NULL ? -ENOMEM : 0;
}

static int
configs_to_dialect(struct snap_proxy *p, struct arena *a)
{
	struct snap_upstream *u = p->upstreams.v;
	int rc = json_to_dialect(&p->config, a);

	for (size_t i = 0; i < p->upstreams.n && rc == 0; i++)
		rc = json_to_dialect(&u[i].config, a);
	return rc;
}

/* The state never looked into it: what is no proxy is saved as none. */
int
proxy_from_api(struct str api, struct arena *a, struct snap_proxy *ret)
{
	struct mp_r r = mp_r_init(api.p, api.len), t;
	struct api_proxy in = { 0 };
	int rc = api.len > 0 ? record_decode(&rec_api_proxy, &r, &in, a) : 0;

	t = mp_r_init(in.transparent.p, in.transparent.len);
	if (rc == 0 && in.transparent.len > 0)
		rc = record_decode(&rec_api_transparent, &t, &in.p.transparent, a);
	if (rc == 0)
		rc = configs_to_dialect(&in.p, a);
	*ret = rc == 0 ? in.p : (struct snap_proxy){ 0 };
	return rc == -EDECODE ? 0 : rc;
}

int
connect_from_api(struct str api, struct arena *a, struct snap_connect *ret)
{
	struct mp_r r = mp_r_init(api.p, api.len);
	struct snap_connect in = { 0 };
	int rc = api.len > 0 ? record_decode(&rec_api_connect, &r, &in, a) : 0;

	if (rc == 0)
		rc = json_to_dialect(&in.sidecar, a);
	*ret = rc == 0 ? in : (struct snap_connect){ 0 };
	return rc == -EDECODE ? 0 : rc;
}
