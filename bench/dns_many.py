#!/usr/bin/env python3
"""DNS with many names: ours beside Knot with the same names in a static zone, turn by turn in one run.

  rate      A and SRV (with the targets' addresses), EDNS 4096, of all names and of a hundred of them
  memory    of all processes of dnsd, before the first question and with every name warm, and of the rest of the node
  flapping  rate and p99 of the others while one name changes its health --flaps times a second
  restart   raftd killed: questions asked while it is away and until all views are current again

Run in a copy of the harness (bench/run does): dns_many.py [--services N] [--instances N] [--reps N] [--secs S]."""
import argparse
import http.client
import json
import os
import signal
import socket
import threading
import time

from adapters.knot import System as Knot
from bench import make
from lib import memory, record, tool, watched

signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--system", default="consulctl")
p.add_argument("--services", type=int, default=10000)
p.add_argument("--instances", type=int, default=10)
p.add_argument("--reps", type=int, default=3)
p.add_argument("--secs", type=float, default=3)
p.add_argument("--flaps", type=int, default=100)
a = p.parse_args()
SHAPE = {"services": a.services, "instances": a.instances}


class Zone(Knot):
    """The same answers from a file."""

    def start_node(self, k, n, wrap=()):
        proc = super().start_node(k, n, wrap)
        proc.kill()
        proc.wait()
        with open(self.workdir + "/consul.zone", "w") as f:
            f.write("$TTL 60\n@ IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0\n@ IN NS ns\nns A 127.0.0.1\n")
            for j in range(1, a.instances + 1):
                f.write("web%d.node.dc1 A 10.0.0.%d\n" % (j, j))
            for i in range(a.services):
                for j in range(1, a.instances + 1):
                    f.write("svc%d.service A 10.0.0.%d\nsvc%d.service SRV 1 1 8080 web%d.node.dc1\n" % (i, j, i, j))
        return self.spawn(k, [os.environ.get("KNOT_BIN", "/usr/sbin/knotd"), "-c", self.workdir + "/knot.conf"], wrap)


class Client:
    def __init__(self, addr):
        self.c = http.client.HTTPConnection(addr, timeout=60)

    def put(self, path, body):
        self.c.request("PUT", path, json.dumps(body))
        r = self.c.getresponse()
        text = r.read()
        if r.status != 200:
            raise SystemExit("PUT %s: %d %r" % (path, r.status, text[:200]))


def register(addr):
    """A node at a time, so many services in a transaction as it takes."""
    c = Client(addr)
    for j in range(1, a.instances + 1):
        node = "web%d" % j
        c.put("/v1/catalog/register", {"Node": node, "Address": "10.0.0.%d" % j})
        for first in range(0, a.services, 30):
            ops = []
            for i in range(first, min(first + 30, a.services)):
                name = "svc%d" % i
                ops.append({"Service": {"Verb": "set", "Node": node, "Service": {"ID": name, "Service": name, "Port": 8080}}})
                ops.append({"Check": {"Verb": "set", "Check": {"Node": node, "CheckID": "chk" + name, "Name": "c", "ServiceID": name,
                                                               "Status": "passing"}}})
            c.put("/v1/txn", ops)


def named(pids, comm):
    out = []
    for pid in pids:
        try:
            with open("/proc/%d/comm" % pid) as f:
                if f.read().strip() == comm:
                    out.append(pid)
        except OSError:
            pass
    return out


def mem(s, what):
    pids = s.pids()
    dnsd = named(pids, "dnsd")
    record("dns_memory", s.name, 1, dict(SHAPE, what=what), {"dnsd": memory(dnsd), "raftd": memory(named(pids, "raftd")), "all": memory(pids)})


def load(s, kind, names, rep, what="rate", **more):
    r = watched(s.pids(), lambda _: tool("dnsload", "-a", s.dns_addr(0), "-q", "svc{q}.service.consul", "-t", kind, "-k", names, "-c", 64,
                                         "-d", a.secs, "-e"), 2)
    r.update(more)
    record("dns_many", s.name, 1, dict(SHAPE, what=what, type=kind, names=names, rep=rep), r)


class Flapper(threading.Thread):
    """Changes one service's check again and again; says how often it was seen to be told."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.s, self.stop, self.changes, self.seen = s, False, 0, set()

    def run(self):
        c, ip, port = Client(self.s.http_addr(0)), *self.s.dns_addr(0).split(":")
        q = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        q.settimeout(1)
        q.connect((ip, int(port)))
        end = time.monotonic()
        while not self.stop:
            self.changes += 1
            status = "passing" if self.changes % 2 else "critical"
            c.put("/v1/catalog/register", {"Node": "web1", "Address": "10.0.0.1", "Service": {"ID": "flap", "Service": "flap"},
                                           "Check": {"CheckID": "flap", "Name": "c", "ServiceID": "flap", "Status": status}})
            if self.changes % 10 == 0:
                q.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\4flap\7service\6consul\0\0\1\0\1")
                try:
                    self.seen.add(q.recv(512)[3] & 15)
                except OSError:
                    pass
            end += 1 / a.flaps
            time.sleep(max(0, end - time.monotonic()))


def restart(s):
    """raftd is killed: warm names, one after the other, for ten seconds, in which it comes back."""
    ip, port = s.dns_addr(0).split(":")
    q = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    q.settimeout(2)
    q.connect((ip, int(port)))
    os.kill(named(s.pids(), "raftd")[0], signal.SIGKILL)
    t0, asked, bad, worst = time.monotonic(), 0, 0, 0.0
    while time.monotonic() < t0 + 10:
        name = b"svc%d" % (asked * 7919 % a.services)
        t = time.monotonic()
        q.send(b"\0\1\1\0\0\1\0\0\0\0\0\0%c%s\7service\6consul\0\0\1\0\1" % (len(name), name))
        asked += 1
        try:
            bad += q.recv(4096)[7] == 0
        except OSError:
            bad += 1
        worst = max(worst, time.monotonic() - t)
    record("dns_restart", s.name, 1, SHAPE, {"asked": asked, "without_answer": bad, "worst_ms": round(worst * 1000, 2)})


ours, knot = make(a.system, {}), Zone(os.path.join(os.environ["BENCH_WORK"], "knot-many"), {})
try:
    ours.start(1)
    time.sleep(3)
    mem(ours, "idle")
    register(ours.http_addr(0))
    knot.start(1)
    for kind in "A", "SRV":
        tool("dnsload", "-a", ours.dns_addr(0), "-q", "svc{q}.service.consul", "-t", kind, "-k", a.services, "-c", 64, "-d", 3 + a.secs, "-e")
        mem(ours, "warm " + kind)
    for rep in range(a.reps):
        for names in sorted({100, a.services}):
            for kind in "A", "SRV":
                load(knot, kind, names, rep)
                load(ours, kind, names, rep)
    for rep in range(a.reps):
        load(ours, "A", a.services, rep, "calm")
        f = Flapper(ours)
        f.start()
        load(ours, "A", a.services, rep, "flapping")
        f.stop = True
        f.join(10)
        if len(f.seen) < 2:
            raise SystemExit("the flapping name was not seen to change: %r" % f.seen)
    mem(ours, "used")
    restart(ours)
    mem(ours, "after raftd's restart")
finally:
    knot.stop()
    ours.stop()
