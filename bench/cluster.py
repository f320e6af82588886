#!/usr/bin/env python3
"""What a cluster of three does when one of them goes away and comes back. Run by bench/run, in the harness's directory.

  gap      the longest time without an acknowledged PUT (one every 5 ms to the two others, or, --to-all, to all three)
           when the leader is killed whole (kill), or its raftd alone (raftd), ends by SIGTERM (stop), or is cut off
           without a reset (cut: needs a network namespace of its own and iptables)
  behind   a follower misses --keys PUTs and comes back: time until it has them, entries a second, and its memory and
           the leader's while that lasts. --trailing sets raft_trailing_logs
  rejoin   --keys PUTs, then kill -9 of a follower: exec until it is in the quorum again (a write while the third is stopped)
"""
import argparse
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.getcwd())
import bench  # noqa: E402  (the harness)
from adapters.base import http  # noqa: E402
from lib import load, memory, quiet, record  # noqa: E402


def cut(s, k, on):
    for flag in ("-s", "-d"):
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run(["iptables", "-A" if on else "-D", chain, flag, s.ip(k), "-j", "DROP"], check=True)


def measure_gap(a):
    for rep in range(a.reps):
        s = bench.make(a.system, {})
        try:
            s.start(3)
            time.sleep(4)
            quiet()
            lead = s.leader()
            others = [k for k in range(3) if k != lead]

            def end():
                if a.how == "kill":
                    s.kill9(lead)
                elif a.how == "cut":
                    cut(s, lead, True)
                elif a.how == "raftd":
                    for pid in s.pids(lead):
                        with open("/proc/%d/comm" % pid) as f:
                            if f.read().strip() == "raftd":
                                os.kill(pid, signal.SIGKILL)
                else:
                    s.procs[lead].terminate()

            acked, when = bench.open_loop(s, others if not a.to_all else [0, 1, 2], 30, 2.0, end)
            if a.how == "cut":
                cut(s, lead, False)
            done = sorted(x[1] for x in acked)
            after = [x[1] for x in acked if x[0] >= when]
            gaps = [(b - c) * 1e3 for c, b in zip(done, done[1:]) if b >= when]
            time.sleep(1)
            method, path, _ = s.get(s.get_modes()[0])
            missing = 0
            if s.is_consul_api:
                missing = sum(http(s.http_addr(others[0]), method, path.replace("{r}", key))[0] != 200 for _, _, key in acked)
            record("gap", s.name, 3, {"how": a.how, "rep": rep}, {
                "gap_ms": round(max(gaps), 1) if after and gaps else None, "acked": len(acked), "missing": missing})
        finally:
            s.stop()


def count(s, k):
    """The newest key that node k has, by a stale read of how far it has applied."""
    out = subprocess.run([s.bin(), "info", "-http-addr=" + s.http_addr(k)], capture_output=True, text=True).stdout
    for line in out.splitlines():
        if line.strip().startswith("applied_index"):
            return int(line.split("=")[1])
    return 0


def measure_behind(a):
    for rep in range(a.reps):
        s = bench.make("consulctl", {})
        old = s.config

        def config(k, n):
            c = old(k, n)
            if a.trailing:
                c["raft_trailing_logs"] = a.trailing
            return c

        s.config = config
        try:
            s.start(3)
            time.sleep(2)
            lead = s.leader()
            away = (lead + 1) % 3
            s.kill9(away)
            load(s, s.put(), [s.http_addr(lead)], 64, 580, v=100, n=a.keys, s=0)
            time.sleep(3)
            peak = {"follower": 0, "leader": 0}
            stop = threading.Event()

            def watch():
                while not stop.is_set():
                    for who, k in (("follower", away), ("leader", lead)):
                        try:
                            peak[who] = max(peak[who], memory(s.pids(k))["pss_mib"])
                        except (OSError, KeyError):
                            pass
                    stop.wait(.2)

            target = count(s, lead)
            os.makedirs(s.datadir(away), exist_ok=True)
            began = time.monotonic()
            s.procs[away] = s.start_node(away, 3)
            threading.Thread(target=watch, daemon=True).start()
            served = 0
            first = None
            while time.monotonic() - began < 300:
                try:
                    n = count(s, away)
                except (OSError, ValueError):
                    n = 0
                if n and first is None:
                    first = (time.monotonic(), n)
                if http(s.http_addr(lead), "GET", "/v1/kv/bench/00000001")[0] == 200:
                    served += 1
                if n >= target:
                    break
                time.sleep(.02)
            took = time.monotonic() - began
            stop.set()
            record("behind", s.name, 3, {"keys": a.keys, "trailing": a.trailing or 10240, "rep": rep}, {
                "s": round(took, 2), "entries_per_s": round(a.keys / took), "follower_pss_mib": peak["follower"],
                "leader_pss_mib": peak["leader"], "served": served})
        finally:
            s.stop()


def measure_rejoin(a):
    s = bench.make("consulctl", {})
    try:
        s.start(3)
        time.sleep(2)
        load(s, s.put(), [s.http_addr(s.leader())], 64, 580, v=100, n=a.keys, s=0)
        time.sleep(3)
        for rep in range(a.reps):
            lead = s.leader()
            away, third = [k for k in range(3) if k != lead]
            s.kill9(away)
            s.kill9(third)
            quiet()
            began = time.monotonic()
            s.procs[away] = s.start_node(away, 3)
            took = None
            # Only with it there is a majority: the first write that goes through tells that it is in the quorum.
            while time.monotonic() - began < 60:
                try:
                    if http(s.http_addr(away), "PUT", "/v1/kv/rejoin", "x", timeout=10)[0] == 200:
                        took = time.monotonic() - began
                        break
                except OSError:
                    time.sleep(.005)
            record("rejoin", s.name, 3, {"keys": a.keys, "rep": rep}, {"ms": round(took * 1e3, 1) if took else None})
            s.procs[third] = s.start_node(third, 3)
            s.wait_write([third], 60)
            time.sleep(2)
    finally:
        s.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("measure", choices=["gap", "behind", "rejoin"])
    p.add_argument("--system", default="consulctl")
    p.add_argument("--how", choices=["kill", "raftd", "stop", "cut"], default="kill")
    p.add_argument("--to-all", action="store_true")
    p.add_argument("--keys", type=int, default=1000000)
    p.add_argument("--trailing", type=int, default=0)
    p.add_argument("--reps", type=int, default=3)
    a = p.parse_args()
    {"gap": measure_gap, "behind": measure_behind, "rejoin": measure_rejoin}[a.measure](a)


if __name__ == "__main__":
    main()
