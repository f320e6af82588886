#!/usr/bin/env python3
"""Blocking queries at rest and woken: memory of all our processes a waiter, CPU of a wake-up, time to the last one.

Run in a copy of the harness (bench/run does): waiters.py PROGRAM [--reps N]."""
import argparse
import signal
import subprocess
import sys
import time

from bench import make
from lib import median, memory, pid_cpu, quiet, record


class Waiters:
    """The load generator, one client a waiter."""

    def __init__(self, program, addr, clients, keys):
        ip, port = addr.split(":")
        self.p = subprocess.Popen([program, ip, port, str(clients), str(keys)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        if self.line() != ["parked"]:
            raise RuntimeError("the clients do not wait")

    def line(self): return self.p.stdout.readline().split()

    def order(self, what):
        self.p.stdin.write(what + "\n")
        self.p.stdin.flush()

    def wake(self):
        self.order("wake")
        word, n, first, mid, last = self.line()
        return {"woken": int(n), "first_ms": float(first), "p50_ms": float(mid), "last_ms": float(last)}

    def end(self):
        self.order("quit")
        self.p.wait(60)


def gone(pids, before, limit=20):
    """MiB above what there was, once the clients have hung up: the least within the time."""
    least, end = None, time.monotonic() + limit
    while time.monotonic() < end:
        more = memory(pids)["pss_mib"] - before
        least = more if least is None else min(least, more)
        time.sleep(.5)
    return least


def run(system, program, clients, keys, reps):
    s = make(system, {})
    try:
        s.start(1)
        time.sleep(3)
        pids = s.pids()
        quiet()
        before = memory(pids)["pss_mib"]
        w = Waiters(program, s.http_addr(0), clients, keys)
        time.sleep(5)
        at_rest = memory(pids)["pss_mib"]
        c0 = pid_cpu(pids)
        time.sleep(5)
        idle_cpu = (pid_cpu(pids) - c0) / 5 * 100
        rounds = []
        for _ in range(reps):
            quiet()
            c0 = pid_cpu(pids)
            r = w.wake()
            time.sleep(.02)
            r["server_cpu_s"] = round(pid_cpu(pids) - c0, 3)
            rounds.append(r)
            time.sleep(3)
        w.end()
        record("waiters", s.name, 1, {"clients": clients, "keys": keys}, {
            "pss_mib": round(at_rest - before, 1), "pss_kib_each": round((at_rest - before) * 1024 / clients, 2),
            "idle_cpu_percent": round(idle_cpu, 2), "rounds": rounds,
            "last_ms": median([r["last_ms"] for r in rounds]), "server_cpu_s": median([r["server_cpu_s"] for r in rounds]),
            "pss_mib_left": round(gone(pids, before), 1)})
    finally:
        s.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))      # so that `finally` stops the servers
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("program")
    p.add_argument("--system", default="consulctl")
    p.add_argument("--reps", type=int, default=5)
    a = p.parse_args()
    for clients, keys in ((5000, 1), (10000, 1), (5000, 5000), (10000, 10000)):
        run(a.system, a.program, clients, keys, a.reps)
