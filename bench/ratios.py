#!/usr/bin/env python3
"""Medians of a run's raw rows, and our figures as ratios to the peers of the same run."""
import json
import statistics
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]


def values(pick, measure, system, nodes=1, **params):
    """One value a matching row; rows disturbed by other programs are left out where there are others."""
    found = [r for r in rows if r["measure"] == measure and r["system"] == system and r["nodes"] == nodes
             and all(r["params"].get(k) == v for k, v in params.items()) and "error" not in r["result"]]
    calm = [r for r in found if r["result"].get("foreign", 0) <= 0.15] or found
    return [v for v in (pick(r["result"]) for r in calm) if v is not None]


def median(*args, **params):
    v = values(*args, **params)
    return statistics.median(v) if v else None


def rate(r): return r.get("rps") or r.get("qps")
def cpu_us(r): return r["server_cpu_s"] / r["ok"] * 1e6 if r.get("ok") else None


def ratio(title, a, b, target):
    if a is None or b is None:
        return
    print("%-62s %10.1f / %10.1f = %6.2f   target %s" % (title, a, b, a / b, target))


def figure(title, v, target):
    if v is not None:
        print("%-62s %10.2f %34s" % (title, v, "target " + target))


get = dict(size=100, clients=64)
ratio("KV GET 100 B, 64 connections: rate / nginx static", median(rate, "kvget", "consulctl", mode="default", **get),
      median(rate, "kvget", "nginx", **get), ">= 0.65")
ratio("  server CPU us a request / nginx", median(cpu_us, "kvget", "consulctl", mode="default", **get),
      median(cpu_us, "kvget", "nginx", **get), "<= 1.7")
ratio("KV PUT 100 B, 64 connections: rate / etcd", median(rate, "kvput", "consulctl", size=100, clients=64),
      median(rate, "kvput", "etcd", size=100, clients=64), ">= 3")
ratio("KV PUT 100 B, one connection: rate / etcd", median(rate, "kvput", "consulctl", size=100, clients=1),
      median(rate, "kvput", "etcd", size=100, clients=1), "-")
ratio("KV PUT 100 B, one connection: median ms / raw append",
      median(lambda r: r["p50_ms"], "kvput", "consulctl", size=100, clients=1),
      median(lambda r: r["raw_fsync"]["append_p50_ms"], "kvput", "consulctl", size=100, clients=1), "<= 1.6")
for clients, target in ((1, "1"), (64, "<= 0.033")):
    figure("syncs a PUT, %d connections" % clients,
           median(lambda r: r["syncs_per_put"], "fsyncs", "consulctl", clients=clients), target)
ratio("health/service?passing, 64 connections: rate / nginx, same bytes", median(rate, "health_passing", "consulctl", clients=64),
      median(rate, "health_passing", "nginx", clients=64), ">= 0.45")
for n, what in ((5000, "1 key"), (10000, "1 key"), (5000, "5000 keys"), (10000, "10000 keys")):
    def waiters(key, n=n, what=what):
        return median(lambda r: r.get(key), "waiters", "consulctl", clients=n, keys=int(what.split()[0]))

    figure("%d waiters on %s: PSS of all processes, MiB" % (n, what), waiters("pss_mib"), "<= 35" if n == 5000 else "<= 70")
    if what == "1 key":
        figure("  last one woken, ms", waiters("last_ms"), "<= 55" if n == 5000 else "-")
        figure("  CPU s of all processes", waiters("server_cpu_s"), "<= 0.09" if n == 5000 else "-")
    else:
        figure("  CPU % while none changes", waiters("idle_cpu_percent"), "~ 0")
DNS_TARGET = {"A": ">= 1", "SRV": ">= 0.8"}
for kind in ("A", "SRV"):
    for n in (1, 64):
        ratio("DNS %s, %d outstanding: rate / Knot" % (kind, n), median(rate, "dns", "consulctl", type=kind, outstanding=n),
              median(rate, "dns", "knot", type=kind, outstanding=n), DNS_TARGET[kind] if n == 64 else "-")
        ratio("  p99 ms / Knot", median(lambda r: r["p99_ms"], "dns", "consulctl", type=kind, outstanding=n),
              median(lambda r: r["p99_ms"], "dns", "knot", type=kind, outstanding=n), "<= 1" if n == 64 else "-")
    ratio("DNS %s, dnsperf: rate / Knot" % kind, median(rate, "dnsperf", "consulctl", type=kind), median(rate, "dnsperf", "knot", type=kind),
          DNS_TARGET[kind])
many = dict(services=10000, instances=10)
for kind in ("A", "SRV"):
    for n in (100, 10000):
        ratio("DNS %s, EDNS, 10 instances, %d names asked: rate / Knot" % (kind, n),
              median(rate, "dns_many", "consulctl", what="rate", type=kind, names=n, **many),
              median(rate, "dns_many", "knot", what="rate", type=kind, names=n, **many), DNS_TARGET[kind])
    ratio("  rate with 10000 names / with 100", median(rate, "dns_many", "consulctl", what="rate", type=kind, names=10000, **many),
          median(rate, "dns_many", "consulctl", what="rate", type=kind, names=100, **many), "~ 1")
for what, target in (("idle", "-"), ("warm A", "< 60"), ("warm SRV", "< 60"), ("used", "< 60"), ("after raftd's restart", "< 60")):
    for who in ("dnsd", "raftd", "all"):
        figure("10,000 services of 10: PSS of %s, %s, MiB" % (who, what),
               median(lambda r: r[who]["pss_mib"], "dns_memory", "consulctl", what=what, **many), target if who == "dnsd" else "-")
for title, key, target in (("rate", "qps", ">= 0.9"), ("p99 ms", "p99_ms", "<= 1.2")):
    ratio("DNS A while a name changes 100 times a second: %s / calm" % title,
          median(lambda r: r[key], "dns_many", "consulctl", what="flapping", **many),
          median(lambda r: r[key], "dns_many", "consulctl", what="calm", **many), target)
figure("raftd killed, 10,000 names: questions without an answer", median(lambda r: r["without_answer"], "dns_restart", "consulctl", **many), "0")
figure("  the slowest of them, ms", median(lambda r: r["worst_ms"], "dns_restart", "consulctl", **many), "-")
for what, key, target in (("exec_to_first_write_dev", "ms", "<= 100"), ("exec_to_first_write_disk", "ms", "<= 150"),
                          ("idle_server_mem", "pss_mib", "<= 16"), ("idle_server_cpu", "cpu_percent", "-"),
                          ("mem_after_100000_keys", "pss_mib", "<= 45"), ("restart_kill9_100000_keys", "ms", "<= 300"),
                          ("restart_kill9_1000000_keys", "ms", "<= 1200"), ("mem_after_1000000_keys", "pss_mib", "-")):
    figure(what + " " + key, median(lambda r: r.get(key), "footprint", "consulctl", what=what), target)
for n, target in ((100000, "<= 800"), (1000000, "<= 1700")):
    figure("killed under load, serving again, %d keys, ms" % n,
           median(lambda r: r["ms"], "crash_restart", "consulctl", keys=n), target)

# ---- three servers
put = dict(nodes=3, size=100)
ratio("three servers: PUT, 64 connections: rate / etcd", median(rate, "kvput", "consulctl", clients=64, **put),
      median(rate, "kvput", "etcd", clients=64, **put), ">= 3.5")
ratio("three servers: PUT, one connection: median ms / etcd", median(lambda r: r["p50_ms"], "kvput", "consulctl", clients=1, **put),
      median(lambda r: r["p50_ms"], "kvput", "etcd", clients=1, **put), "<= 0.45")
ratio("three servers: PUT, one connection: median ms / raw append", median(lambda r: r["p50_ms"], "kvput", "consulctl", clients=1, **put),
      median(lambda r: r["raw_fsync"]["append_p50_ms"], "kvput", "consulctl", clients=1, **put), "<= 3")
ratio("GET to a follower, default / etcd linearizable",
      median(rate, "kvget", "consulctl", nodes=3, mode="default", to="follower", **get),
      median(rate, "kvget", "etcd", nodes=3, mode="linearizable", to="follower", **get), ">= 2.5")
for n in (1, 3, 5):
    figure("%d servers: PUTs/s, 64 connections" % n, median(rate, "kvput", "consulctl", nodes=n, size=100, clients=64), "-")
    figure("  CPU us of all servers a PUT", median(cpu_us, "kvput", "consulctl", nodes=n, size=100, clients=64), "-")
for how, target in (("kill", "< 200"), ("raftd", "< 200"), ("stop", "< 50"), ("cut", "< 2000")):
    figure("leader lost (%s): ms without a write" % how, median(lambda r: r["gap_ms"], "gap", "consulctl", nodes=3, how=how), target)
figure("behind by 1,000,000 entries, from the log: entries/s",
       median(lambda r: r["entries_per_s"], "behind", "consulctl", nodes=3, trailing=2000000), "> 50000")
figure("behind by 1,000,000 entries, by snapshot: s", median(lambda r: r["s"], "behind", "consulctl", nodes=3, trailing=10240), "< 10")
figure("1,000,000 keys, killed: in the quorum again, ms", median(lambda r: r["ms"], "rejoin", "consulctl", nodes=3), "< 2000")

# ---- gossip pools
for n in (20, 100):
    def pool(key, system, what, n=n):
        return median(lambda r: r.get(key), "pool", system, nodes=n, what=what)

    for title, what, key, target in (
            ("started together, all see all: s", "form", "s", "<= 1"),
            ("killed, failed at all: ms", "kill", "last_ms", "<= 1"),
            ("started again, alive at all: ms", "join", "last_ms", "<= 1"),
            ("at rest: bytes a second and member", "idle", "bytes_per_s_per_agent", "<= 1"),
            ("at rest: CPU ms a second and member", "idle", "cpu_ms_per_s_per_agent", "<= 0.5"),
            ("at rest: PSS of a member, MiB", "idle", "pss_mib_per_agent", "-")):
        ratio("%d members: %s: gossipd / serf" % (n, title), pool(key, "gossipd", what), pool(key, "serf", what), target)
    figure("%d members: PSS of gossipd, MiB" % n, pool("pss_mib_per_agent", "gossipd", "idle"), "< 3")
    figure("%d whole nodes: PSS of a node, MiB" % n, pool("pss_mib_per_agent", "consulctl", "idle"), "< 10")


def checks(key, kind):
    return median(lambda r: r.get(key), "checks", "consulctl", kind=kind)


for kind, target in (("tcp", "<= 0.10"), ("http", "<= 0.20"), ("script", "-")):
    v = values(lambda r: r["cpu"], "checks", "consulctl", kind=kind)
    if v:
        row = next(r for r in rows if r["measure"] == "checks" and r["params"]["kind"] == kind)
        title = "%d %s checks of %d s: cores of checkd" % (row["params"]["count"], kind, row["params"]["interval"])
        figure(title, statistics.median(v), target)
        if checks("pss_kib", "none") is not None:
            figure("  KiB of memory a check", (checks("pss_kib", kind) - checks("pss_kib", "none")) / row["params"]["count"], "-")
