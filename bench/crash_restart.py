#!/usr/bin/env python3
"""Kill -9 of a whole durable node at a random moment under a 64-connection PUT load: time from exec until it
takes a write again, and whether the keys loaded before are there. Run by bench/run, in the harness's directory."""
import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.getcwd())
import bench  # noqa: E402  (the harness)
from adapters.base import http  # noqa: E402
from lib import load, quiet, record  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--keys", type=int, default=100000)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--seed", type=int, default=int(time.time()))
    a = p.parse_args()
    print("seed", a.seed)
    rng = random.Random(a.seed)
    s = bench.make("consulctl", {})
    method, path, body = s.put()
    try:
        s.start(1)
        load(s, s.put(), [s.http_addr(0)], 64, 580, v=100, n=a.keys, s=0)
        for rep in range(a.reps):
            cmd = [os.path.join("bin", "httpload"), "-a", s.http_addr(0), "-m", method, "-p", path, "-b", body, "-c", "64",
                   "-d", "20", "-v", "100", "-s", str((rep + 1) * 10000000)]
            writer = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(1, 5))
            s.kill9(0)
            writer.kill()
            writer.wait()
            quiet()
            t = s.start(1, clean=False, ready_s=120)
            status = http(s.http_addr(0), "GET", "/v1/kv/bench/%08d" % rng.randrange(a.keys))[0]
            record("crash_restart", s.name, 1, {"keys": a.keys, "rep": rep}, {"ms": round(t * 1e3, 1), "old_key": status})
    finally:
        s.stop()


if __name__ == "__main__":
    main()
