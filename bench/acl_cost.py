#!/usr/bin/env python3
"""KV reads with ACLs beside the same reads without: two nodes of one kind, asked in turn. Prints what ACLs leave of the throughput.

Run in a copy of the harness (bench/run does): acl_cost.py [--reps N] [--secs S] [--clients C]."""
import argparse
import json
import time

from adapters.base import NET, http
from bench import load, make, record

ROOT = "00000000-aaaa-4000-8000-000000000001"
KEYS = 10000
p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--system", default="consulctl")
p.add_argument("--reps", type=int, default=5)
p.add_argument("--secs", type=float, default=3)
p.add_argument("--clients", type=int, default=64)
a = p.parse_args()


def guarded(system):
    """The same, with ACLs, at another address. The harness itself, which has no token, may do everything."""
    s, plain = system, system.config
    s.workdir += "-acl"
    s.ip = lambda k: NET + str(k + 51)
    s.config = lambda k, n: dict(plain(k, n), acl={"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT, "agent": ROOT, "default": ROOT}})
    return s


def token(addr):
    """Of somebody with an ordinary policy: twenty rules, one of which allows the keys of the bench."""
    rules = "".join('key_prefix "app/%d/" { policy = "write" }\nservice "app%d" { policy = "read" }\n' % (i, i) for i in range(10))
    h = {"X-Consul-Token": ROOT}
    for _ in range(100):
        status, _, body = http(addr, "PUT", "/v1/acl/policy", json.dumps({"Name": "bench", "Rules": rules + 'key_prefix "bench/" { policy = "write" }'}), h)
        if status == 200:
            break
        time.sleep(0.1)
    status, _, body = http(addr, "PUT", "/v1/acl/token", json.dumps({"Policies": [{"ID": json.loads(body)["ID"]}]}), h)
    if status != 200:
        raise SystemExit("no token: %d %r" % (status, body))
    return json.loads(body)["SecretID"]


off, on = make(a.system, {}), guarded(make(a.system, {}))
try:
    off.start(1)
    on.start(1)
    time.sleep(3)
    header = {off: {}, on: {"H": "X-Consul-Token: " + token(on.http_addr(0))}}
    best = {off: 0, on: 0}
    for s in (off, on):
        pre = load(s, s.put(), [s.http_addr(0)], 64, 60, v=100, n=KEYS, s=0, **header[s])
        if pre.get("ok") != KEYS:
            raise SystemExit("the keys could not be written: %r" % pre)
    for rep in range(a.reps):
        for s in (off, on) if rep % 2 == 0 else (on, off):
            r = load(s, s.get("default"), [s.http_addr(0)], a.clients, a.secs, k=KEYS, **header[s])
            record("acl_cost", s.name, 1, {"acl": s is on, "clients": a.clients, "rep": rep}, r)
            best[s] = max(best[s], r.get("rps", 0))
    print("with ACLs: %.3f of the throughput without" % (best[on] / best[off]))
finally:
    off.stop()
    on.stop()
