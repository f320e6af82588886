#!/usr/bin/env python3
"""Gossip pools: ours beside Debian's serf, in a network namespace of their own. Run by bench/run, in the harness's directory.

  --system serf      serf agents with the LAN profile and the tags of Consul's clients
  --system gossipd   gossipd alone, each with a slice and a data directory of its own
  --system consulctl whole nodes: one server, the others clients with all their processes

One run forms a pool of --agents members that are started together, lets it rest (bytes, packets, CPU and memory),
and then kills one member and starts it again, --reps times. Members are watched through what they log.
"""
import argparse
import json
import os
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.getcwd())
import bench  # noqa: E402  (the harness)
from adapters import consulctl, serf  # noqa: E402
from adapters.base import Adapter, NET, children  # noqa: E402
from gossip import Sniffer  # noqa: E402
from lib import memory, pid_cpu, quiet, record  # noqa: E402

EVENT = re.compile(rb"EventMember(Join|Failed|Leave): (g\d{3})\b")


class Serf(serf.System):
    """Says of itself what a client node says: what members are told is the greater part of a push/pull. tags=none: nothing."""

    def gossip_argv(self, k, n):
        argv = super().gossip_argv(k, n)
        if self.opt.get("tags") != "none":
            for tag in ("acls=0", "build=1.10.12:", "dc=dc1", "id=00000000-0000-4000-8000-%012d" % k, "role=node", "segment=",
                        "vsn=2", "vsn_max=3", "vsn_min=2"):
                argv += ["-tag", tag]
        return argv


class Gossipd(Adapter):
    """gossipd without its node; BUILDDIR or CONSULCTL_BIN tell where it is."""
    name = "gossipd"

    def program(self):
        built = os.path.join(os.environ.get("BUILDDIR", ""), "gossipd/gossipd")
        if os.environ.get("BUILDDIR") and os.path.exists(built):
            return built
        return next(p for p in consulctl.System(self.workdir, {}).binaries() if os.path.basename(p) == "gossipd")

    def gossip_argv(self, k, n):
        run = os.path.join(self.workdir, "run%d" % k)
        ip = "%s%d" % (NET, k + 1)
        shutil.rmtree(run, ignore_errors=True)
        os.makedirs(os.path.join(run, "config"))
        slice_ = {"version": "1", "dev_mode": False, "data_dir": self.datadir(k), "server": False, "node_name": "g%03d" % k, "datacenter": "dc1", "log_level": "INFO",
                  "node_id": "00000000-0000-4000-8000-%012d" % k, "bind_addr": ip, "advertise_addr": ip, "ports": {"serf_lan": 8301, "server": 8300},
                  "retry_interval": 1000, "run_dir": run, "retry_join": [NET + "1"] if k else []}
        if self.opt.get("encrypt"):
            slice_["encrypt"] = self.opt["encrypt"]
        path = os.path.join(run, "config/gossipd.json")
        with open(path, "w") as f:
            json.dump(slice_, f)
        return [self.program(), "-c", path, "-f"]


def cpu_seconds(pids):
    """Of processes and their threads, to the nanosecond where the kernel tells; ticks miss what is short."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                    total += int(f.read().split()[0])
        except FileNotFoundError:
            if os.path.exists("/proc/%d/stat" % pid):
                return pid_cpu(pids)
    return total / 1e9


class Pool:
    def __init__(self, s, n):
        self.s, self.n = s, n
        self.procs, self.buf, self.sel = {}, {}, selectors.DefaultSelector()
        self.seen = {}          # member -> {other: (event, when)}
        shutil.rmtree(s.workdir, ignore_errors=True)
        os.makedirs(s.workdir)

    def start(self, k):
        os.makedirs(self.s.datadir(k), exist_ok=True)
        p = subprocess.Popen(self.s.gossip_argv(k, self.n), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             stdin=subprocess.DEVNULL, start_new_session=True)
        self.procs[k], self.buf[k], self.seen[k] = p, b"", {}
        os.set_blocking(p.stdout.fileno(), False)
        self.sel.register(p.stdout, selectors.EVENT_READ, k)

    def kill(self, k):
        p = self.procs.pop(k)
        for pid in children(p.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        p.wait()

    def pids(self):
        return [pid for p in self.procs.values() for pid in children(p.pid)]

    def _read(self, key):
        k = key.data
        try:
            d = os.read(key.fd, 65536)
        except BlockingIOError:
            return
        now = time.monotonic()
        if not d:
            self.sel.unregister(key.fileobj)
            key.fileobj.close()
            return
        if self.procs.get(k) is None or self.procs[k].stdout is not key.fileobj:
            return
        *lines, self.buf[k] = (self.buf[k] + d).split(b"\n")
        for line in lines:
            m = EVENT.search(line)
            if m:
                self.seen[k][m[2].decode()] = (m[1].decode(), now)

    def watch(self, done, limit):
        """Until done(), at most limit seconds; whether it was done."""
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() >= end:
                return False
            for key, _ in self.sel.select(.05):
                self._read(key)
        return True

    def all_see(self, name, event):
        """When each other member saw this of name, or None until all have."""
        times = [self.seen[k].get(name, ("", 0)) for k in self.procs if "g%03d" % k != name]
        return [t for e, t in times] if all(e == event for e, t in times) else None

    def formed(self):
        return all(sum(e == "Join" for name, (e, t) in self.seen[k].items() if name != "g%03d" % k) >= len(self.procs) - 1 for k in self.procs)

    def stop(self):
        for k in list(self.procs):
            self.kill(k)


def spread(times, t0):
    v = sorted(t - t0 for t in times)
    return {"seen_by": len(v), "first_ms": round(v[0] * 1e3, 1), "p50_ms": round(statistics.median(v) * 1e3, 1), "last_ms": round(v[-1] * 1e3, 1)}


def idle(p, seconds):
    sniffer, pids, c0, t0 = Sniffer(), p.pids(), None, time.monotonic()
    c0 = cpu_seconds(pids)
    sniffer.start()
    p.watch(lambda: False, seconds)
    sniffer.go = False
    dt = time.monotonic() - t0
    cpu, m = cpu_seconds(pids) - c0, memory(pids)
    udp, tcp = sniffer.n.get(17, [0, 0]), sniffer.n.get(6, [0, 0])
    n = p.n
    return {"seconds": round(dt, 1), "cpu_s_per_agent": round(cpu / n, 4), "cpu_ms_per_s_per_agent": round(cpu * 1e3 / dt / n, 3),
            "udp_bytes_per_s_per_agent": round(udp[1] / dt / n, 1), "udp_packets_per_s_per_agent": round(udp[0] / dt / n, 2),
            "tcp_bytes_per_s_per_agent": round(tcp[1] / dt / n, 1), "bytes_per_s_per_agent": round((udp[1] + tcp[1]) / dt / n, 1),
            "pss_mib_per_agent": round(m["pss_mib"] / n, 3), "rss_mib_per_agent": round(m["rss_mib"] / n, 2),
            "private_mib_per_agent": round(m["private_mib"] / n, 3), "processes_per_agent": round(m["processes"] / n, 2)}


def measure(s, a):
    p, last = Pool(s, a.agents), a.agents - 1
    name = "g%03d" % last

    def rec(what, r, rep=0):
        record("pool", s.name, a.agents, {"what": what, "rep": rep, "set": ",".join(sorted(a.set)) or "default"}, r)

    try:
        quiet()
        t0 = time.monotonic()
        for k in range(a.agents):
            p.start(k)
        ok = p.watch(p.formed, 120)
        rec("form", {"s": round(time.monotonic() - t0, 3), "cpu_s_per_agent": round(cpu_seconds(p.pids()) / a.agents, 4)} if ok else
            {"error": "not formed", "seen": sorted(len(v) for v in p.seen.values())})
        p.watch(lambda: False, a.rest)
        quiet()
        rec("idle", idle(p, a.idle))
        for rep in range(a.reps):
            quiet()
            t0 = time.monotonic()
            p.kill(last)
            p.watch(lambda: p.all_see(name, "Failed") is not None, 120)
            times = p.all_see(name, "Failed")
            rec("kill", spread(times, t0) if times else {"error": "not seen by all"}, rep)
            p.watch(lambda: False, a.rest)
            quiet()
            t0 = time.monotonic()
            p.start(last)
            p.watch(lambda: p.all_see(name, "Join") is not None, 120)
            times = p.all_see(name, "Join")
            rec("join", spread(times, t0) if times else {"error": "not seen by all"}, rep)
            p.watch(lambda: False, a.rest)
    finally:
        p.stop()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--system", choices=["serf", "gossipd", "consulctl"], default="gossipd")
    a.add_argument("--agents", type=int, default=20)
    a.add_argument("--reps", type=int, default=3)
    a.add_argument("--idle", type=float, default=60, help="seconds that the formed pool is measured at rest")
    a.add_argument("--rest", type=float, default=8, help="seconds between measures")
    a.add_argument("--set", action="append", default=[], metavar="K=V", help="option passed to the adapter")
    a = a.parse_args()
    # Only their own traffic shall be counted.
    if os.environ.get("BENCH_NETNS") != "1":
        os.environ["BENCH_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable] + sys.argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = dict(x.split("=", 1) for x in a.set)
    work = os.path.join(bench.WORK, "pool")
    system = {"serf": Serf, "gossipd": Gossipd, "consulctl": consulctl.System}[a.system](work, options)
    measure(system, a)


if __name__ == "__main__":
    main()
