// All modules of the npm package consul with what they must make of our answers; prints TAP.
// An answer of false becomes undefined in its HTTP client, papi: no(), below.
"use strict";

const assert = require("assert");
const path = require("path");

const [dir, host, port, other, aclHost, aclPort, secret] = process.argv.slice(2);
const { createRequire } = require("module");
const Consul = createRequire(path.join(dir, "package.json"))("consul");

const c = new Consul({ host, port });
let count = 0;
let failed = 0;

function ok(value, what, ...shown) {
  console.log(`${value ? "" : "not "}ok ${++count} - ${what}`);
  if (value) return;
  failed++;
  for (const s of shown) console.log(`# ${JSON.stringify(s, (k, v) => (typeof v === "bigint" ? `${v}` : v))}`);
}

function same(got, want, what) {
  let equal = true;
  try {
    assert.deepStrictEqual(got, want);
  } catch (err) {
    equal = false;
  }
  ok(equal, what, got, want);
}

async function fails(status, what, promise) {
  try {
    const got = await promise;
    ok(false, what, got);
  } catch (err) {
    ok(err.statusCode === status, what, err.message, err.statusCode);
    return err.message;
  }
}

async function waitFor(call, what, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  let value = await call();
  while (!value && Date.now() < end) {
    await new Promise((done) => setTimeout(done, 50));
    value = await call();
  }
  ok(value, what, value);
  return value;
}

const later = (call) => new Promise((done) => setTimeout(done, 300)).then(call);

const no = async (promise) => (await promise) === undefined;

async function status() {
  ok((await c.status.leader()).startsWith(`${host}:`), "status.leader");
  same(await c.status.peers(), [await c.status.leader()], "status.peers");
}

async function kv() {
  same(await c.kv.get("nothing"), undefined, "kv.get of nothing");
  same(await c.kv.set("a/one", "first"), true, "kv.set");
  same(await c.kv.set({ key: "a/two", value: "zwei", flags: 7 }), true, "kv.set with flags");
  const one = await c.kv.get("a/one");
  same([one.Key, one.Value, one.Flags, one.LockIndex], ["a/one", "first", 0, 0], "kv.get");
  same((await c.kv.get({ key: "a/two", raw: true })).toString(), "zwei", "kv.get raw");
  same((await c.kv.get({ key: "a/", recurse: true })).map((e) => e.Key), ["a/one", "a/two"], "kv.get recurse");
  same(await c.kv.keys("a/"), ["a/one", "a/two"], "kv.keys");
  same(await c.kv.keys({ key: "", separator: "/" }), ["a/"], "kv.keys with a separator");
  ok(await no(c.kv.set({ key: "a/one", value: "x", cas: 0 })), "cas of what is there");
  same(await c.kv.set({ key: "a/one", value: "second", cas: one.ModifyIndex }), true, "cas");
  same((await c.kv.get({ key: "a/one", stale: true })).Value, "second", "stale");
  same((await c.kv.get({ key: "a/one", consistent: true })).Value, "second", "consistent");
  ok(await no(c.kv.del({ key: "a/one", cas: 1 })), "kv.del with another cas");
  same(await c.kv.del("a/one"), true, "kv.del");
  same(await c.kv.del({ key: "a/", recurse: true }), true, "kv.del recurse");
  same(await c.kv.get({ key: "a/", recurse: true }), undefined, "nothing is left");
  await fails(500, "a datacenter that is not", c.kv.get({ key: "x", dc: "nowhere" }));
}

async function session() {
  const { ID: id } = await c.session.create();
  const info = await c.session.info(id);
  same([info.ID, info.Node, info.Behavior, info.LockDelay], [id, "njs", "release", 15e9], "session.create and info");
  const { ID: two } = await c.session.create({ lockdelay: "1s", name: "two", behavior: "delete", ttl: "20s", checks: ["serfHealth"] });
  same(await c.kv.set({ key: "lock", value: "one", acquire: id }), true, "acquire");
  ok(await no(c.kv.set({ key: "lock", value: "two", acquire: two })), "held");
  same((await c.kv.get("lock")).Session, id, "by whom");
  same(await c.kv.set({ key: "lock", value: "free", release: id }), true, "release");
  same((await c.session.list()).map((s) => s.ID).sort(), [id, two].sort(), "session.list");
  same((await c.session.node("njs")).map((s) => s.ID).sort(), [id, two].sort(), "session.node");
  same((await c.session.renew(two))[0].TTL, "20s", "session.renew");
  same(await c.kv.set({ key: "lock", value: "two", acquire: two }), true, "acquire by the other");
  same(await c.session.destroy(two), undefined, "session.destroy");
  same(await c.kv.get("lock"), undefined, "takes its key with it");
  same(await c.session.get(two), undefined, "session.get of nothing");
  await fails(404, "session.renew of nothing", c.session.renew(two));
  await c.session.destroy(id);
}

async function agent() {
  const self = await c.agent.self();
  same([self.Config.NodeName, self.Config.Datacenter, self.Member.Name], ["njs", "dc1", "njs"], "agent.self");
  same(await c.agent.join(other), undefined, "agent.join");
  await waitFor(async () => (await c.agent.members()).filter((m) => m.Status === 1).length === 2, "agent.members");
  same((await c.agent.members({ wan: true })).map((m) => m.Name), ["njs.dc1"], "agent.members of the WAN");
  const def = {
    name: "web", id: "web1", tags: ["a"], meta: { k: "v" }, address: "10.0.0.1", port: 80,
    taggedaddresses: { lan: { address: "10.0.0.2", port: 81 }, wan: { address: "192.0.2.1", port: 82 } },
    checks: [{ ttl: "60s", status: "passing" }, { ttl: "60s", checkid: "second", name: "second", status: "passing", successbeforepassing: 1 }],
  };
  same(await c.agent.service.register(def), undefined, "agent.service.register");
  const web = (await c.agent.services()).web1;
  same([web.Service, web.Tags, web.Meta, web.Address, web.Port], ["web", ["a"], { k: "v" }, "10.0.0.1", 80], "agent.services");
  same([web.TaggedAddresses.lan, web.TaggedAddresses.wan], [{ Address: "10.0.0.2", Port: 81 }, { Address: "192.0.2.1", Port: 82 }],
    "its tagged addresses");
  same(await c.agent.service.register("plain"), undefined, "a service that is a name alone");
  same(Object.keys(await c.agent.service.list()).sort(), ["plain", "web1"], "agent.service.list");
  await checks();
  same(await c.agent.service.maintenance({ id: "web1", enable: true, reason: "upgrade" }), undefined, "agent.service.maintenance");
  same((await c.agent.checks())["_service_maintenance:web1"].Notes, "upgrade", "is a check");
  await c.agent.service.maintenance({ id: "web1", enable: false });
  same(await c.agent.maintenance({ enable: true, reason: "all" }), undefined, "agent.maintenance");
  same((await c.agent.checks())._node_maintenance.Status, "critical", "is a check too");
  await c.agent.maintenance(false);
  same(await c.agent.service.deregister("plain"), undefined, "agent.service.deregister");
  same(await c.agent.reload(), undefined, "agent.reload");
}

async function checks() {
  same((await c.agent.checks())["service:web1:1"].Status, "passing", "agent.checks");
  await c.agent.check.fail({ id: "second", note: "broken" });
  same([(await c.agent.checks()).second.Status, (await c.agent.checks()).second.Output], ["critical", "broken"], "agent.check.fail");
  await c.agent.check.warn("second");
  same((await c.agent.checks()).second.Status, "warning", "agent.check.warn");
  await c.agent.check.pass("second");
  same((await c.agent.check.list()).second.Status, "passing", "agent.check.pass");
  await c.agent.check.register({ name: "http", http: `http://${host}:${port}/v1/status/leader`, interval: "1s", timeout: "5s",
    header: { "X-A": ["b"] }, method: "GET", notes: "n", deregistercriticalserviceafter: "90m" });
  await c.agent.check.register({ name: "tcp", checkid: "c-tcp", tcp: `${host}:${port}`, interval: "1s" });
  await c.agent.check.register({ name: "alias", checkid: "c-alias", aliasservice: "web1", serviceid: "plain" });
  await waitFor(async () => {
    const all = await c.agent.checks();
    return ["http", "c-tcp", "c-alias"].every((k) => all[k].Status === "passing");
  }, "agent.check.register: HTTP, TCP and alias checks pass");
  await fails(400, "a script as text is refused", c.agent.check.register({ name: "old", script: "true", interval: "1s" }));
  for (const id of ["http", "c-tcp", "c-alias"]) await c.agent.check.deregister(id);
  same(Object.keys(await c.agent.checks()).sort(), ["second", "service:web1:1"], "agent.check.deregister");
}

async function catalog() {
  same(await c.catalog.datacenters(), ["dc1"], "catalog.datacenters");
  await waitFor(async () => (await c.catalog.nodes()).length === 2, "catalog.nodes");
  same((await c.catalog.node.list({ filter: 'Node == "njs"' })).map((n) => n.Node), ["njs"], "catalog.node.list with a filter");
  same(Object.keys((await c.catalog.node.services("njs")).Services).sort(), ["consul", "web1"], "catalog.node.services");
  same(await c.catalog.services(), { consul: [], web: ["a"] }, "catalog.services");
  same(await c.catalog.service.list({ "node-meta": "no:such" }), {}, "catalog.service.list by what no node has");
  const [web] = await c.catalog.service.nodes({ service: "web", tag: "a" });
  same([web.Node, web.ServiceID, web.ServicePort], ["njs", "web1", 80], "catalog.service.nodes");
  same(await c.catalog.connect.nodes("web"), [], "catalog.connect.nodes: no proxies");
}

async function health() {
  const [web] = await c.health.service({ service: "web", passing: true, near: "_agent" });
  same([web.Node.Node, web.Service.ID, web.Checks.length], ["njs", "web1", 3], "health.service");
  same((await c.health.checks("web")).map((k) => k.CheckID).sort(), ["second", "service:web1:1"], "health.checks");
  ok((await c.health.node("njs")).some((k) => k.CheckID === "serfHealth"), "health.node");
  same(await c.health.state("critical"), [], "health.state critical");
  ok((await c.health.state({ state: "any" })).length >= 4, "health.state any");
}

async function event() {
  const e = await c.event.fire({ name: "deploy", payload: "v1", node: "n.*", service: "web", tag: "a" });
  same([e.Name, e.Payload, e.NodeFilter, e.ServiceFilter, e.TagFilter], ["deploy", "v1", "n.*", "web", "a"], "event.fire");
  await waitFor(async () => (await c.event.list("deploy")).some((x) => x.ID === e.ID && x.Payload === "v1"), "event.list");
  same(await c.event.list("other"), [], "of another name");
}

async function txn() {
  const value = Buffer.from("t").toString("base64");
  const r = await c.transaction.create([
    { KV: { Verb: "set", Key: "t/one", Value: value } },
    { KV: { Verb: "get", Key: "t/one" } },
    { Node: { Verb: "get", Node: { Node: "njs" } } },
  ]);
  same([r.Errors, r.Results.length, r.Results[1].KV.Value, r.Results[2].Node.Node], [null, 3, value, "njs"], "transaction.create");
  await fails(409, "one that fails", c.transaction.create([{ KV: { Verb: "check-not-exists", Key: "t/one" } }]));
}

async function query() {
  const { ID: id } = await c.query.create({ name: "q", service: { service: "web", onlypassing: true, tags: ["a"],
    failover: { nearestn: 1, datacenters: ["dc9"] } }, dns: { ttl: "10s" } });
  const q = await c.query.get(id);
  same([q.Name, q.Service.Service, q.Service.OnlyPassing, q.Service.Failover.NearestN, q.DNS.TTL], ["q", "web", true, 1, "10s"], "query.create and get");
  same((await c.query.list()).map((x) => x.ID), [id], "query.list");
  const found = await c.query.execute("q");
  same([found.Service, found.Datacenter, found.Failovers, found.DNS.TTL, found.Nodes.map((x) => x.Service.ID)], ["web", "dc1", 0, "10s", ["web1"]],
    "query.execute");
  same(await c.query.update({ query: id, name: "q", service: { service: "web" },
    template: { type: "name_prefix_match", regexp: "^q-(.*)$" } }), undefined, "query.update");
  same((await c.query.get(id)).Template.Regexp, "^q-(.*)$", "has a template");
  same(await c.query.destroy(id), undefined, "query.destroy");
  same(await c.query.list(), [], "none is left");
}

async function watch() {
  const seen = [];
  const w = c.watch({ method: c.kv.get, options: { key: "watched", wait: "5s" }, backoffFactor: 10 });
  w.on("change", (data) => seen.push(data === undefined ? null : data.Value));
  w.on("error", (err) => seen.push(`error ${err.message}`));
  await waitFor(async () => seen.length === 1, "watch: the first answer");
  await later(() => c.kv.set("watched", "one"));
  await waitFor(async () => seen[seen.length - 1] === "one", "a change");
  await c.kv.set("watched", "two");
  await waitFor(async () => seen[seen.length - 1] === "two", "another");
  await c.kv.del("watched");
  await waitFor(async () => seen[seen.length - 1] === null, "and the end of the key");
  w.end();
  ok(!w.isRunning(), "watch.end");
  same(seen.filter((x) => typeof x === "string" && x.startsWith("error")), [], "without an error");
  const names = [];
  const s = c.watch({ method: c.health.service, options: { service: "web", passing: true, wait: "5s" } });
  s.on("change", (data) => names.push(data.length));
  await waitFor(async () => names[names.length - 1] === 1, "watch of a service");
  await c.agent.check.fail("second");
  await waitFor(async () => names[names.length - 1] === 0, "that is no longer passing");
  await c.agent.check.pass("second");
  await waitFor(async () => names[names.length - 1] === 1, "and again");
  s.end();
}

async function noAcl() {
  await fails(401, "acl.bootstrap with ACLs off", c.acl.bootstrap());
  await fails(401, "acl.replication", c.acl.replication());
}

async function acl() {
  const boss = new Consul({ host: aclHost, port: aclPort, defaults: { token: secret } });
  const nobody = new Consul({ host: aclHost, port: aclPort });
  await waitFor(() => boss.kv.set("a/one", "1").catch(() => false), "the management token may write");
  await fails(403, "nobody may not", nobody.kv.set("a/one", "2"));
  await fails(403, "nor read a key", nobody.kv.get("a/one"));
  same(await nobody.kv.get({ key: "a/", recurse: true }), undefined, "lists show nobody anything");
  same(await nobody.catalog.nodes(), [], "nor the nodes");
  same(await nobody.catalog.services(), {}, "nor the services");
  ok((await nobody.status.leader()) !== "", "the leader is everybody's to see");
  await fails(403, "a token that is not one", nobody.kv.get({ key: "a/one", token: "00000000-0000-0000-0000-0000000000ff" }));
  same((await boss.acl.replication()).Enabled, false, "acl.replication");
  // The library has calls for bootstrap, replication and the legacy tokens alone: the others by its HTTP client.
  const put = (name, body) => boss._put({ name: "acl", path: name, type: "json", body, headers: { "x-consul-token": secret } },
    (request, next) => (request.err ? next(request.err) : next(false, undefined, request.res.body)));
  await put("/acl/policy", { Name: "web", Rules: 'key_prefix "a/" { policy = "read" } key "a/mine" { policy = "write" } service "web" { policy = "write" }' });
  const token = (await put("/acl/token", { Policies: [{ Name: "web" }] })).SecretID;
  const some = new Consul({ host: aclHost, port: aclPort, defaults: { token } });
  await waitFor(() => some.kv.get("a/one").then((e) => e.Value === "1", () => false), "a token with a policy reads what it says");
  await fails(403, "and writes no more", some.kv.set("a/one", "2"));
  same(await some.kv.set("a/mine", "2"), true, "but what it says");
  same(await some.agent.service.register("web"), undefined, "it registers its service");
  await fails(403, "and no other", some.agent.service.register("db"));
  const changes = [];
  const w = some.watch({ method: some.kv.get, options: { key: "a/one", wait: "5s" } });
  w.on("change", (data) => changes.push(data.Value));
  await waitFor(async () => changes.length === 1, "a watch with a token");
  await boss.kv.set("a/one", "3");
  await waitFor(async () => changes[changes.length - 1] === "3", "sees changes");
  w.end();
}

(async () => {
  for (const part of [status, kv, session, agent, catalog, health, event, txn, query, watch, noAcl, acl]) {
    console.log(`# ${part.name}`);
    try {
      await part();
    } catch (err) {
      // A part that dies fails; the others still run.
      ok(false, `${part.name} runs to its end`, err.message, err.stack);
    }
  }
  console.log(`1..${count}`);
  process.exit(failed ? 1 : 0);
})();
