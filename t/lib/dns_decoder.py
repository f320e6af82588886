"""Hundreds of questions, made up from a seed, whose replies are decoded strictly and compared with a model.

	dns_decoder.py fill|ask CONFIG	CONFIG: JSON with ip, dns, http, dc, domain, alt_domain, seed, count, dns_config

Writes one line per fault ("question: fault") and, last, how many questions were asked of which kind.
"""

import json
import random
import sys
from collections import Counter

from dns_model import Http, World
from dns_strict import TYPES, Bad, Client, Question, labels_of, random_case

TAGS = ["rails", "t1", "master", "v1.2", "x.y.z", "Blue", "a_b"]
KINDS = ["A"] * 8 + ["AAAA"] * 4 + ["SRV"] * 8 + ["ANY"] * 3 + ["TXT"] * 3 + [
    "MX", "CNAME", "PTR", "DS", "HTTPS", "CAA", "TYPE65280", "DNSKEY", "NS", "SOA"]
EDNS = [None] * 6 + [0, 100, 512, 513, 600, 800, 1000, 1220, 1232, 1400, 2048, 4096, 8192, 65535]


# ---- the catalog

def address(rng, six=0.2):
    if rng.random() < six:
        return "2001:db8::%x:%x" % (rng.randrange(65536), rng.randrange(1, 65536))
    return "10.%d.%d.%d" % (rng.randrange(256), rng.randrange(256), rng.randrange(1, 255))


def meta(rng):
    return rng.choice([{}, {}, {"k": "v"}, {"rfc1035-raw": "v=spf1 x", "plain": "a=b"}, {"tick": "`a`=", "empty": ""},
                       {"long": "x" * 300, "k%d" % rng.randrange(9): "y" * rng.randrange(60)}])


class Filler:
    def __init__(self, api, rng):
        self.api, self.rng, self.ops = api, rng, 0

    def register(self, node, addr, service=None, status=None, **more):
        body = dict(Node=node, Address=addr, **more)
        if service is not None:
            body["Service"] = service
            if status is not None:
                sid = service.get("ID", service["Service"])
                body["Check"] = {"Node": node, "CheckID": "c-" + sid, "Name": "c", "ServiceID": sid, "Status": status}
        self.api.ask("PUT", "/v1/catalog/register", body)
        self.ops += 1

    def many(self, name, n, **o):
        """A service of n instances, each on a node of its own."""
        rng = self.rng
        for i in range(n):
            node = "%s-n%d" % (name[:20], i)
            service = {"Service": name, "Port": rng.randrange(65536), "Tags": rng.sample(TAGS, rng.randrange(4))}
            if o.get("own") and rng.random() < o["own"]:
                service["Address"] = address(rng, o.get("six", 0.2))
            if o.get("weights"):
                service["Weights"] = {"Passing": rng.randrange(1, 65536), "Warning": rng.randrange(0, 65536)}
            if o.get("tagged") and rng.random() < 0.5:
                service["TaggedAddresses"] = {"lan_ipv4": {"Address": address(rng, 0), "Port": 1},
                                              "lan_ipv6": {"Address": address(rng, 1), "Port": 1}}
            status = rng.choice(["passing", "passing", "warning", "critical", None]) if o.get("health") else None
            self.register(node, address(rng, o.get("six", 0.2)), service, status,
                          NodeMeta=meta(rng) if o.get("meta") else {})

    def fill(self):
        rng = self.rng
        for n in (1, 2, 3, 4, 8, 9, 20):
            self.many("svc%d" % n, n, own=0.3, meta=True)
        self.many("big", 60, meta=True, six=0)
        self.many("huge", 300, own=0.2, six=0.1)
        self.many("health", 25, health=True, weights=True, meta=True)
        self.many("tagged", 12, tagged=True, own=0.5)
        self.many("six", 6, six=1)
        self.many("dead", 0)
        self.register("dead-n", "10.66.0.1", {"Service": "dead", "Port": 1}, "critical")
        self.many("MixedCase", 3)
        self.many("odd_svc", 3)
        self.many("l" * 63, 5, meta=True)
        self.hosts()
        self.long_names()
        # Many instances with the same address, or on one node.
        for i in range(12):
            self.register("crowd", "10.77.0.1", {"Service": "crowd", "ID": "crowd%d" % i, "Port": 1000 + i // 2})
        return self.ops

    def hosts(self):
        """Host names where addresses might be: strangers' and our own."""
        self.register("h1", "10.5.0.1", {"Service": "host", "Port": 80, "Address": "www.example.com"})
        self.register("h2", "10.5.0.2", {"Service": "mixed", "Port": 80, "Address": "www.example.com"})
        self.register("h3", "10.5.0.3", {"Service": "mixed", "Port": 80})
        self.register("h4", "10.5.0.4", {"Service": "inside", "Port": 80, "Address": "svc2.service.consul"})
        self.register("h5", "10.5.0.5", {"Service": "inner", "Port": 80, "Address": "inside.service.consul"})
        self.register("h6", "10.5.0.6", {"Service": "self", "Port": 80, "Address": "self.service.consul"})
        self.register("h7", "db.example.net", {"Service": "onname", "Port": 80}, NodeMeta={"k": "v"})
        self.register("h8", "h3.node.consul")
        self.register("h9", "10.5.0.9", {"Service": "badhost", "Port": 80, "Address": "not..a.name"})

    def long_names(self):
        """Names at the limits of DNS, and beyond: they are told where they can be."""
        for n in (63, 64):
            self.register("n" * n, "10.6.0.%d" % n, {"Service": "long", "ID": "l%d" % n, "Port": n})
        # With ".node.dc1.consul." the first has 255 bytes, the second 256.
        for n in (238, 239):
            dots = ".".join(("p" * 59 + "." + "q" * 59 + "." + "r" * 59 + "." + "s" * 59)[:n].split("."))
            self.register(dots, "10.6.1.%d" % (n - 200), {"Service": "long", "ID": "d%d" % n, "Port": n}, NodeMeta={"k": "v"})


# ---- questions

class Asker:
    def __init__(self, world, rng):
        self.w, self.rng = world, rng

    def domain(self):
        return self.w.alt if self.w.alt is not None and self.rng.random() < 0.15 else self.w.domain

    def dc(self):
        r = self.rng.random()
        return [] if r < 0.6 else [self.w.dc.encode()] if r < 0.9 else \
            [self.w.dc.encode(), b"dc"] if r < 0.95 else [b"nodc"]

    def service(self):
        rng = self.rng
        name = rng.choice(sorted(self.w.services) + [b"nope", b"n" * 63])
        r = rng.random()
        tags = [t.encode() for t in rng.sample(TAGS, 2)]
        if r < 0.15 and len(name) < 63:
            return [b"_" + name, rng.choice([b"_tcp", b"_tcp", b"_udp", b"_rails"])] + rng.choice([[b"service"], []]) + self.dc()
        if r < 0.35:
            return tags[0].split(b".") + [name, b"service"] + self.dc()
        if r < 0.45:
            return tags[0].split(b".") + tags[1].split(b".") + [name, b"service"] + self.dc()
        return [name, b"service"] + self.dc()

    def node(self):
        name = self.rng.choice(sorted(self.w.nodes) + [b"nope", b"no.pe"])
        return [x for x in name.split(b".") if len(x) < 64] + [b"node"] + self.dc()

    def addr(self):
        rng = self.rng
        n = rng.choice([4, 4, 16, 16, 3, 5])
        text = bytes(rng.randrange(256) for _ in range(n)).hex().encode()[:-1 if rng.random() < 0.1 else None]
        if rng.random() < 0.2:
            text = text[:-1] + b"g"
        return [text, b"addr"] + self.dc()

    def odd(self):
        """Bytes that no host name has, keywords in strange places, the longest of names."""
        rng = self.rng
        kind = rng.randrange(7)
        if kind == 0:
            return [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64))) for _ in range(rng.randrange(1, 3))]
        if kind == 1:
            return [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20))), b"service"]
        if kind == 2:
            return [rng.choice([b"service", b"node", b"addr", b"x", b"dc", b"_x", b"_tcp"]) for _ in range(rng.randrange(1, 7))]
        if kind == 3:
            left = 255 - len(b"\7service\6consul\0")
            out = []
            while left > 1:
                n = min(63, left - 1)
                out.append(b"z" * n)
                left -= n + 1
            return out + [b"service"]
        if kind == 4:
            return [b"a"] * rng.randrange(1, 118) + [b"huge", b"service"]
        if kind == 5:
            return [b"x\0y", b"node"]
        return [b"*", b"service"]

    def name(self):
        r = self.rng.random()
        if r < 0.05:
            return labels_of(self.rng.choice(["www.example.org", "consul.example", "notconsul", "xconsul", "example", "com"]))
        if r < 0.08:
            return list(self.domain())
        maker = self.service if r < 0.65 else self.node if r < 0.8 else self.addr if r < 0.87 else self.odd
        return maker() + self.domain()

    def question(self):
        rng = self.rng
        while True:
            labels = self.name()
            if sum(len(x) + 1 for x in labels) + 1 <= 255:
                break
        if rng.random() < 0.5:
            labels = random_case(rng, labels)
        # RD or not; CD and AD are a resolver's business.
        flags = rng.choice([0x0100, 0x0100, 0x0100, 0, 0x0110, 0x0120])
        return Question(labels, TYPES[rng.choice(KINDS)], edns=rng.choice(EDNS), tcp=rng.random() < 0.25, flags=flags,
                        do=rng.random() < 0.1)


def ask_all(config, world, rng):
    client = Client(config["ip"], config["dns"])
    asker = Asker(world, rng)
    counts, faults = Counter(), []

    def judge(q, r):
        fault = world.check(q, r)
        if fault:
            faults.append("%s: %s" % (q, fault))
        counts["tcp" if q.tcp else "edns" if q.edns is not None else "plain"] += 1
        counts["rcode %d" % r.rcode] += 1
        counts["records"] += len(r.answer) + len(r.authority) + len(r.additional)

    for _ in range(config["count"]):
        q = asker.question()
        try:
            judge(q, client.ask(q))
        except Bad as e:
            faults.append("%s: %s" % (q, e))
    client.close()
    # The same over one connection, all at once.
    questions = []
    while len(questions) < config["count"] // 4:
        q = asker.question()
        q.tcp = True
        questions.append(q)
    for i in range(0, len(questions), 50):
        part = questions[i:i + 50]
        try:
            for q, r in zip(part, client.pipeline(part)):
                judge(q, r)
        except Bad as e:
            faults.append("50 questions in one write: %s" % e)
    return faults, counts


def main():
    with open(sys.argv[2], encoding="utf-8") as f:
        config = json.load(f)
    rng = random.Random(config["seed"])
    random.seed(config["seed"])
    api = Http(config["ip"], config["http"])
    world = World(api, config)
    if sys.argv[1] == "fill":
        print("registered %d" % Filler(api, rng).fill())
        return
    world.load()
    faults, counts = ask_all(config, world, rng)
    for line in faults:
        print("fault: " + line)
    print("asked: " + " ".join("%s=%d" % (k.replace(" ", ""), v) for k, v in sorted(counts.items())))


main()
