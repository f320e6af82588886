#!/usr/bin/env python3
"""What many checks cost: CPU of checkd alone, and its memory, with none and with --count of one kind.

Run in a copy of the harness (bench/run does): checks.py [--count N] [--scripts N] [--interval S] [--reps N] [--secs S] BUILDDIR"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from bench import record

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--count", type=int, default=10000)
p.add_argument("--scripts", type=int, default=1000)
p.add_argument("--interval", type=int, default=10)
p.add_argument("--reps", type=int, default=3)
p.add_argument("--secs", type=float, default=20)
p.add_argument("--kinds", default="none,tcp,http,script")
p.add_argument("builddir")
a = p.parse_args()

IP = "127.%d.%d.%d" % (random.randint(16, 250), random.randint(1, 250), random.randint(1, 250))
HZ = os.sysconf("SC_CLK_TCK")
PORTS = dict(zip(("dns", "http", "server", "serf_lan", "serf_wan", "tcp", "web"), range(20001, 20008)))


def definition(kind, i):
    d = {"id": "c%05d" % i, "name": "check %d" % i, "interval": "%ds" % a.interval}
    d.update({"tcp": {"tcp": "%s:%d" % (IP, PORTS["tcp"])}, "http": {"http": "http://%s:%d/health" % (IP, PORTS["web"])},
              "script": {"args": ["/bin/true"]}}[kind])
    return d


class Node:
    def __init__(self, kind, count):
        self.dir = tempfile.mkdtemp(prefix="checks-")
        ports = {k: v for k, v in PORTS.items() if k not in ("tcp", "web")}
        config = {"node_name": "bench", "bind_addr": IP, "client_addr": IP, "log_level": "err", "ports": ports,
                  "enable_local_script_checks": True, "checks": [definition(kind, i) for i in range(count)]}
        with open(self.dir + "/c.json", "w") as f:
            json.dump(config, f)
        self.p = subprocess.Popen([a.builddir + "/consulctl/consulctl", "agent", "-dev", "-log-level=err", "-config-file=" + self.dir + "/c.json"],
                                  stdout=open(self.dir + "/log", "w"), stderr=subprocess.STDOUT, env=dict(os.environ, TMPDIR=self.dir))

    def checks(self):
        with urllib.request.urlopen("http://%s:%d/v1/agent/checks" % (IP, PORTS["http"]), timeout=30) as r:
            return json.load(r)

    def wait_passing(self, count):
        """Every check has run: they begin as critical."""
        end = time.time() + 120
        while time.time() < end:
            try:
                if sum(c["Status"] == "passing" for c in self.checks().values()) == count:
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise SystemExit("the checks do not pass: see %s/log" % self.dir)

    def checkd(self):
        for pid in open("/proc/%d/task/%d/children" % (self.p.pid, self.p.pid)).read().split():
            if open("/proc/%s/comm" % pid).read().strip() == "checkd":
                return int(pid)
        raise SystemExit("checkd does not run")

    def stop(self):
        self.p.send_signal(signal.SIGINT)
        self.p.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def cpu(pid):
    """Seconds of user and system time of the process itself, its children's aside."""
    f = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return int(f[11]) / HZ, int(f[12]) / HZ


def pss_kib(pid):
    return next(int(line.split()[1]) for line in open("/proc/%d/smaps_rollup" % pid) if line.startswith("Pss:"))


target = subprocess.Popen([a.builddir + "/bench/check_target", IP, str(PORTS["tcp"]), str(PORTS["web"])],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def served():
    target.stdin.write("?\n")
    target.stdin.flush()
    return [int(n) for n in target.stdout.readline().split()]


try:
    for kind in a.kinds.split(","):
        count = {"none": 0, "script": a.scripts}.get(kind, a.count)
        node = Node(kind, count)
        try:
            node.wait_passing(count)
            time.sleep(a.interval)      # what the catalog was told of is told
            pid = node.checkd()
            for rep in range(a.reps):
                before, asked, began = cpu(pid), served(), time.time()
                time.sleep(a.secs)
                secs, after, told = time.time() - began, cpu(pid), served()
                user, system = after[0] - before[0], after[1] - before[1]
                record("checks", "consulctl", 1, {"kind": kind, "count": count, "interval": a.interval, "rep": rep},
                       {"cpu": (user + system) / secs, "user": user / secs, "sys": system / secs, "pss_kib": pss_kib(pid),
                        "served": sum(told) - sum(asked), "rate": (sum(told) - sum(asked)) / secs})
            if kind != "none" and any(c["Status"] != "passing" for c in node.checks().values()):
                raise SystemExit("a check of %s has failed meanwhile" % kind)
        finally:
            node.stop()
finally:
    target.stdin.close()
    target.wait(10)
