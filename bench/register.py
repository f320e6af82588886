#!/usr/bin/env python3
"""Registrations through /v1/catalog/register by 64 clients: a node, a service and a check each; then the very same again.

Run in a copy of the harness (bench/run does): register.py [--nodes N] [--reps N] [--count N] [--clients C]."""
import argparse
import time

from bench import load, make, record

BODY = ('{"Node":"%s","Address":"10.0.0.1","Service":{"ID":"svc{n}","Service":"svc{n}","Tags":["v1"],"Port":8080},'
        '"Check":{"CheckID":"chk{n}","Name":"c","ServiceID":"svc{n}","Status":"passing"}}')

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--system", default="consulctl")
p.add_argument("--nodes", type=int, default=1)
p.add_argument("--reps", type=int, default=3)
p.add_argument("--count", type=int, default=3000)
p.add_argument("--clients", type=int, default=64)
a = p.parse_args()

s = make(a.system, {})
try:
    s.start(a.nodes)
    time.sleep(3)
    addr = s.http_addr(s.leader() or 0)
    for rep in range(a.reps):
        for what in "new", "same":
            r = load(s, ("PUT", "/v1/catalog/register", BODY % ("web%d" % rep)), [addr], a.clients, 60, n=a.count)
            if r["non2xx"] or r["ok"] != a.count:
                raise SystemExit("%d of %d registrations were answered with 200" % (r["ok"], a.count))
            record("register_" + what, s.name, a.nodes, {"clients": a.clients, "rep": rep}, r)
finally:
    s.stop()
