#!/usr/bin/env python3
"""health/service/NAME?passing of 1,000 services with 3 instances each, beside nginx serving the very same bytes from a file.

Run in a copy of the harness (bench/run does): health.py [--reps N] [--secs S] [--clients C]."""
import argparse
import os
import signal
import sys
import time

from adapters.base import http
from bench import load, make, record, register

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))      # so that `finally` stops the servers
p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--system", default="consulctl")
p.add_argument("--reps", type=int, default=3)
p.add_argument("--secs", type=float, default=4)
p.add_argument("--clients", type=int, default=64)
a = p.parse_args()


def measured(s, path, addr, rep, k=0):
    more = {"k": k} if k else {}
    r = load(s, ("GET", path, ""), [addr], a.clients, a.secs, **more)
    record("health_passing", s.name, 1, {"clients": a.clients, "rep": rep}, r)


ours, nginx = make(a.system, {}), make("nginx", {})
nginx.workdir += "-nginx"
try:
    ours.start(1)
    time.sleep(3)
    addr = ours.http_addr(0)
    register(ours, addr, a.clients)
    status, headers, body = http(addr, "GET", "/v1/health/service/svc1?passing")
    if status != 200 or body.count(b'"Checks"') != 3:
        raise SystemExit("the services are not there: %d %r" % (status, body[:200]))
    nginx.start(1)
    with open(os.path.join(nginx.workdir, "www", "health"), "wb") as f:
        f.write(body)
    for rep in range(a.reps):
        measured(nginx, "/health", nginx.http_addr(0), rep)
        measured(ours, "/v1/health/service/svc{q}?passing", addr, rep, k=1000)
finally:
    nginx.stop()
    ours.stop()
