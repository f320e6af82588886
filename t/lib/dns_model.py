"""What a DNS server should answer about a catalog, reckoned from what the HTTP API says: a model to compare it with.

It is written from the description of the answers, and knows nothing of how dnsd makes them. check() returns None,
or says in which way a reply is not among those that are allowed.
"""

import http.client
import ipaddress
import json
import socket

from dns_strict import TYPES, lower, to_wire, wire_len

A, NS, CNAME, SOA, TXT, AAAA, SRV, ANY = (TYPES[x] for x in ("A", "NS", "CNAME", "SOA", "TXT", "AAAA", "SRV", "ANY"))
KEYWORDS = {b"service", b"node", b"addr", b"query", b"connect", b"ingress", b"virtual"}


class Http:
    """The API of one node."""

    def __init__(self, ip, port):
        self.conn = http.client.HTTPConnection(ip, port, timeout=60)

    def ask(self, method, path, body=None):
        self.conn.request(method, path, None if body is None else json.dumps(body))
        r = self.conn.getresponse()
        data = r.read()
        if r.status != 200:
            raise RuntimeError("%s %s: %d %s" % (method, path, r.status, data[:200]))
        return json.loads(data) if data.strip() else None


def split(text):
    """A name in text as labels, or None when it is no DNS name."""
    labels = [x.encode() for x in text.rstrip(".").split(".")]
    if any(not 1 <= len(x) <= 63 for x in labels) or wire_len(labels) > 255:
        return None
    return labels


def ip_of(text):
    """('A' or 'AAAA', canonical text), or None for what is no address."""
    try:
        a = ipaddress.ip_address(text)
    except ValueError:
        return None
    if a.version == 6 and a.ipv4_mapped is not None:
        a = a.ipv4_mapped
    return spelled(a.packed)


def spelled(packed):
    """An address's type and its text, as the decoder spells it."""
    if len(packed) == 4:
        return A, socket.inet_ntop(socket.AF_INET, packed)
    return AAAA, socket.inet_ntop(socket.AF_INET6, packed)


def escape(key, value):
    """RFC 1464: a backquote before what would end the key or blur it."""
    key, value = key.encode(), value.encode()
    first = len(key) - len(key.lstrip(b" "))
    last = len(key.rstrip(b" "))
    out = b""
    for i, c in enumerate(key):
        if c in b"`=" or (c == 0x20 and (i < first or i >= last)):
            out += b"`"
        out += bytes([c])
    return out + b"=" + value.replace(b"`", b"``")


def meta_texts(meta):
    return [v.encode() if k[:8].lower() == "rfc1035-" else escape(k, v) for k, v in (meta or {}).items()]


class Instance:
    """One service instance, or a node alone."""

    def __init__(self, node, service=None, checks=()):
        tagged = node.get("TaggedAddresses") or {}
        self.node, self.meta, self.node_addr = node["Node"], meta_texts(node.get("Meta")), node["Address"]
        addr, v4, v6 = node["Address"], tagged.get("lan_ipv4"), tagged.get("lan_ipv6")
        # Who asks for no family gets the tagged addresses first, too.
        self.any, self.v4, self.v6 = v6 or v4 or addr, v4 or addr, v6 or addr
        self.own = ip_of(self.any) is not None and self.any != addr
        self.tags, self.port, self.weight = [], 0, 1
        states = [c["Status"] for c in checks]
        self.critical = "critical" in states
        self.passing = all(s == "passing" for s in states)
        if service is not None:
            self.read_service(service, states)

    def read_service(self, service, states):
        tagged = {k: v["Address"] for k, v in (service.get("TaggedAddresses") or {}).items()}
        addr = service["Address"]
        v4, v6 = tagged.get("lan_ipv4"), tagged.get("lan_ipv6")
        if v6 or v4 or addr:
            self.any, self.own = v6 or v4 or addr, True
        self.v4 = v4 or addr or self.v4
        self.v6 = v6 or addr or self.v6
        self.tags, self.port = [t.lower() for t in service["Tags"] or []], service["Port"]
        weights = service.get("Weights") or {"Passing": 1, "Warning": 1}
        self.weight = weights["Passing"] if self.passing else weights["Warning"] if set(states) <= {"passing", "warning"} else 1

    def preferred(self, qtype):
        return self.v4 if qtype == A else self.v6 if qtype == AAAA else self.any


class Expected:
    """What a reply may be: rcode, and the sections of which it may be made."""

    def __init__(self, rcode=0, aa=True, soa=False):
        self.rcode, self.aa, self.soa, self.ra = rcode, aa, soa, False
        self.records = []		# candidates of ANSWER: (owner, type, ttl, data)
        self.extras = {}		# of ADDITIONAL: by record; the set of (owner, type, ttl, data)
        self.common = set()		# extras that belong to all
        self.of_service = False		# the limits hold
        self.cnames = set()		# one of these must stand first
        self.optional = set()		# what may follow it
        self.weights = {}		# of SRV: by port and target
        self.servers = None		# SOA and NS: the candidates


class World:
    def __init__(self, api, config):
        """config: domain, alt_domain, dc, and dns_config as it was written."""
        self.api = api
        self.dc = config["dc"]
        self.domain = split(config["domain"])
        self.alt = split(config["alt_domain"]) if config.get("alt_domain") else None
        self.set(config.get("dns_config", {}))
        self.services, self.nodes = {}, {}

    def set(self, dns_config):
        c = {"only_passing": False, "udp_answer_limit": 3, "a_record_limit": 0, "enable_truncate": False,
             "disable_compression": False, "enable_additional_node_meta_txt": True, "node_ttl": "0s", "service_ttl": {},
             "udp_fill": False, "combine_tags": True}
        c.update(dns_config)
        self.c = c
        self.node_ttl = int(c["node_ttl"].rstrip("s"))
        self.min_ttl = c.get("soa", {}).get("min_ttl", 0)

    def load(self):
        self.services = {}
        for name in self.api.ask("GET", "/v1/catalog/services"):
            entries = self.api.ask("GET", "/v1/health/service/" + "".join("%%%02x" % b for b in name.encode()))
            self.services[name.lower().encode()] = [Instance(e["Node"], e["Service"], e["Checks"]) for e in entries]
        self.nodes = {n["Node"].lower().encode(): Instance(n) for n in self.api.ask("GET", "/v1/catalog/nodes")}

    # ---- names

    def ttl_of(self, service):
        rows = self.c["service_ttl"]
        name = service.decode("latin-1")
        best = None
        if name in rows:
            best = rows[name]
        else:
            for k in sorted((k for k in rows if k.endswith("*")), key=len):
                if name.startswith(k[:-1]):
                    best = rows[k]
        return int(best.rstrip("s")) if best is not None else 0

    def cut(self, labels):
        """The labels before our domain, or None outside of it."""
        for zone in (self.domain, self.alt):
            if zone is not None and len(labels) >= len(zone) and list(labels[len(labels) - len(zone):]) == zone:
                return labels[:len(labels) - len(zone)]
        return None

    def target(self, instance, addr):
        """The labels of a SRV record's target, None when there is no such name."""
        ip = ip_of(addr)
        if ip is None:
            return split(addr)
        if instance.own:
            packed = ipaddress.ip_address(ip[1]).packed
            return [packed.hex().encode(), b"addr", self.dc.encode()] + self.domain
        return self.node_name(instance.node)

    def node_name(self, node):
        labels = split(node)
        if labels is None:
            return None
        labels = labels + [b"node", self.dc.encode()] + self.domain
        return labels if wire_len(labels) <= 255 else None

    # ---- what is expected

    def expect(self, q):
        name = lower(q.labels)
        rest = self.cut(name)
        if rest is None:
            e = Expected(rcode=5, aa=False)
            return e
        if q.qtype in (SOA, NS):
            e = Expected()
            e.servers = True
            return e
        # The rightmost keyword; for SRV a label with an underscore, which is a part of the service, too.
        for i in range(len(rest) - 1, -1, -1):
            if rest[i] in KEYWORDS or (q.qtype == SRV and rest[i][:1] == b"_"):
                break
        else:
            return Expected(rcode=3, soa=True)
        kind = rest[i] if rest[i] in KEYWORDS else b"service"
        left, right = (rest[:i], rest[i + 1:]) if rest[i] in KEYWORDS else (rest[:i + 1], rest[i + 1:])
        if len(right) == 2 and right[1] == b"dc":
            right = right[:1]
        if not left or len(right) > 1:
            return Expected(rcode=3, soa=True)
        if kind == b"addr":
            return self.expect_addr(q, left)
        if kind == b"node" and q.qtype not in (A, AAAA, ANY, TXT):
            return Expected()
        if right and right[0].decode("latin-1") != self.dc:
            return Expected(rcode=3, soa=True)
        if kind == b"node":
            return self.expect_node(q, b".".join(left))
        if kind == b"service":
            return self.expect_service(q, left)
        return Expected(rcode=3, soa=True)

    def expect_addr(self, q, left):
        if len(left) != 1:
            return Expected(rcode=3, soa=True)
        # An odd digit at the end is passed over when the length is judged, not when the digits are read.
        if len(left[0]) // 2 not in (4, 16):
            return Expected()
        try:
            rtype, data = spelled(bytes.fromhex(left[0].decode()))
        except ValueError:
            return Expected(rcode=3, soa=True)
        e = Expected()
        e.records = [(lower(q.labels), rtype, self.node_ttl, data)]
        return e

    def expect_node(self, q, name):
        node = self.nodes.get(name)
        if node is None:
            return Expected(rcode=3, soa=True)
        e = Expected()
        owner = lower(q.labels)
        texts = {(owner, TXT, self.node_ttl, t) for t in node.meta}
        addr = node.preferred(q.qtype)
        ip = ip_of(addr)
        if q.qtype != TXT and ip is None and split(addr) is not None:
            self.expect_cname(e, owner, addr, self.node_ttl)
        elif q.qtype != TXT and ip is not None and q.qtype in (ip[0], ANY):
            e.records.append((owner, ip[0], self.node_ttl, ip[1]))
        if q.qtype in (ANY, TXT):
            e.records += sorted(texts)
        elif self.c["enable_additional_node_meta_txt"]:
            e.common = texts
        return e

    def expect_cname(self, e, owner, host, ttl):
        """The CNAME; behind it, if its target is one of ours, what stands there."""
        target = tuple(x.lower() for x in split(host))
        e.cnames = {(owner, CNAME, ttl, tuple(split(host)))}
        e.optional = self.addresses_of(target, ttl, 3)

    def addresses_of(self, name, ttl, depth):
        rest = self.cut(name)
        if rest is None or depth == 0:
            return set()
        out = set()
        if len(rest) >= 2 and rest[-1] == b"service":
            for i in self.services.get(rest[-2], []):
                addr, _ = self.reached(i, ANY, name)
                ip = ip_of(addr)
                if i.critical or (self.c["only_passing"] and not i.passing):
                    continue
                if ip is not None:
                    out.add((name, ip[0], ttl, ip[1]))
                elif split(i.any) is not None:
                    out.add((name, CNAME, ttl, tuple(split(i.any))))
                    out |= self.addresses_of(tuple(x.lower() for x in split(i.any)), ttl, depth - 1)
        elif len(rest) >= 2 and rest[-1] == b"node":
            node = self.nodes.get(b".".join(rest[:-1]))
            ip = ip_of(node.any) if node is not None else None
            if ip is not None:
                out.add((name, ip[0], ttl, ip[1]))
        elif len(rest) == 2 and rest[-1] == b"addr" and len(rest[0]) in (8, 32):
            ip = ip_of(str(ipaddress.ip_address(bytes.fromhex(rest[0].decode()))))
            out.add((name, ip[0], ttl, ip[1]))
        return out

    def tagged(self, left):
        """The instances that a name asks for, healthy or not, and the service's name."""
        if len(left) == 2 and left[0][:1] == b"_" and left[1][:1] == b"_":
            service, tags = left[0][1:], [] if left[1] == b"_tcp" else [left[1][1:]]
        else:
            service, tags = left[-1], list(left[:-1])
        # A label may have a dot inside, which joins labels in the same way.
        parts = b".".join(tags).split(b".") if tags else []
        whole = b".".join(tags).decode("latin-1")
        all_of = [i for i in self.services.get(service, []) if not i.critical and (i.passing or not self.c["only_passing"])]
        if not tags:
            return service, all_of
        some = [i for i in all_of if whole in i.tags]
        if not some and len(parts) > 1 and self.c["combine_tags"]:
            some = [i for i in all_of if all(p.decode("latin-1") in i.tags for p in parts)]
        return service, some

    def expect_service(self, q, left):
        service, found = self.tagged(left)
        ttl, owner = self.ttl_of(service), lower(q.labels)
        e = Expected()
        e.of_service = True
        if not found:
            return Expected(rcode=3, soa=True)
        if q.qtype == SRV:
            self.expect_srv(e, found, owner, ttl)
        else:
            self.expect_addresses(e, q, found, owner, ttl)
        return e if e.records or e.cnames else Expected(soa=True)

    def reached(self, i, qtype, owner):
        """A service whose address is the very name that is asked for means its node."""
        addr = i.preferred(qtype)
        host = split(addr) if ip_of(addr) is None else None
        if i.own and host is not None and lower(host) == owner and ip_of(i.node_addr) is not None:
            return i.node_addr, False
        return addr, i.own

    def expect_addresses(self, e, q, found, owner, ttl):
        wanted = {A: (A,), AAAA: (AAAA,), ANY: (A, AAAA), TXT: (A, AAAA)}.get(q.qtype, ())
        hosts = []
        for i in found:
            addr, _ = self.reached(i, q.qtype, owner)
            ip = ip_of(addr)
            if ip is None:
                hosts.append(addr)
            elif ip[0] in wanted and (owner, ip[0], ttl, ip[1]) not in e.records:
                e.records.append((owner, ip[0], ttl, ip[1]))
        hosts = [h for h in hosts if split(h) is not None]
        if not e.records and hosts:
            e.of_service = False
            # One of them alone; which, is not told.
            e.optional = set().union(*(self.addresses_of(lower(split(h)), ttl, 3) for h in hosts))
            e.cnames = {(owner, CNAME, ttl, tuple(split(h))) for h in hosts}

    def expect_srv(self, e, found, owner, ttl):
        for i in found:
            addr, own = self.reached(i, SRV, owner)
            ip = ip_of(addr)
            was, i.own = i.own, own
            target = self.target(i, addr)
            i.own = was
            if target is None:
                continue
            data = (1, i.weight, i.port, tuple(target))
            # Port and target make it the same; which weight is told is open.
            e.weights.setdefault(data[2:], set()).add(i.weight)
            if len(e.weights[data[2:]]) > 1 or any(r[3][2:] == data[2:] for r in e.records):
                continue
            record = (owner, SRV, ttl, data)
            e.records.append(record)
            extras = e.extras.setdefault(lower(target), set())
            if ip is not None:
                extras.add((lower(target), ip[0], ttl, ip[1]))
            else:
                e.optional = e.optional | self.addresses_of(lower(target), ttl, 3)
            node = self.node_name(i.node)
            if self.c["enable_additional_node_meta_txt"] and node is not None:
                extras.update((lower(node), TXT, ttl, t) for t in i.meta)

    # ---- comparing

    def check(self, q, r):
        e = self.expect(q)
        if r.rcode != e.rcode:
            return "rcode %d instead of %d" % (r.rcode, e.rcode)
        if ("aa" in r.flags) != e.aa:
            return "AA is %s" % ("missing" if e.aa else "set")
        if "ra" in r.flags:
            return "RA without recursors"
        if self.c["disable_compression"] and r.pointers:
            return "a compressed name"
        if r.opt is not None and r.opt["size"] != q.edns:
            return "OPT says %d" % r.opt["size"]
        for rr in () if e.servers else r.answer:
            if (rr.owner[:1] or [b""])[0] != (tuple(q.labels)[:1] or [b""])[0] and lower(rr.owner) == lower(q.labels):
                return "the owner is not spelled as it was asked"
        if e.servers:
            return self.check_servers(q, r)
        return self.check_sections(q, r, e)

    def check_servers(self, q, r):
        servers = [i for i in self.services.get(b"consul", []) if not i.critical]
        names = {lower(self.node_name(i.node)): i for i in servers}
        ns = r.answer if q.qtype == NS else r.authority
        if q.qtype == SOA:
            bad = self.check_soa(r.answer)
            if bad:
                return bad
        if len(ns) != min(3, len(names)) or any(x.type != NS or lower(x.data) not in names or x.ttl != self.node_ttl for x in ns):
            return "NS are %r" % ns
        if sorted(lower(x.owner) for x in r.additional) != sorted(lower(x.data) for x in ns):
            return "glue is %r" % r.additional
        return None

    def check_soa(self, section):
        if len(section) != 1 or section[0].type != SOA:
            return "%r instead of a SOA" % section
        soa = section[0]
        zone = tuple(self.domain)
        if lower(soa.owner) not in (zone, tuple(self.alt or zone)) or soa.ttl != self.min_ttl or soa.data[6] != self.min_ttl:
            return "SOA is %r" % soa
        return None

    def check_sections(self, q, r, e):
        if e.soa:
            bad = self.check_soa(r.authority)
            if bad:
                return bad
        elif r.authority:
            return "AUTHORITY is %r" % r.authority
        got = [(lower(x.owner), x.type, x.ttl, x.data) for x in r.answer]
        if e.cnames:
            return self.check_cname(q, r, e, got)
        wanted = {self.key(e, x) for x in e.records}
        strange = [x for x in got if self.key(e, x) not in wanted]
        if strange:
            return "ANSWER has %r" % strange[0].__repr__()
        for x in got:
            if x[1] == SRV and x[3][1] not in e.weights[x[3][2:]]:
                return "a weight is %d" % x[3][1]
        return self.check_counts(q, r, e, got)

    @staticmethod
    def key(e, record):
        """Records are the same whatever their weight."""
        return record if record[1] != SRV else record[:3] + (record[3][0], record[3][2], lower(record[3][3]))

    def check_cname(self, q, r, e, got):
        if not got or got[0] not in e.cnames:
            return "the answer begins with %r, not with one of %r" % (got[:1], sorted(e.cnames)[:2])
        more = [x for x in got[1:] if x not in e.records]
        lowered = {x if x[1] != CNAME else x[:3] + (lower(x[3]),) for x in e.optional}
        if any((x if x[1] != CNAME else x[:3] + (lower(x[3]),)) not in lowered for x in more):
            return "behind the CNAME stands %r" % more
        if len(e.cnames) == 1 and not more and any(q.qtype in (x[1], ANY) and x[1] in (A, AAAA) for x in e.optional):
            return "the CNAME's target is ours, and its addresses are missing"
        if q.edns is None and len(more) > 6:
            return "%d records behind a CNAME" % len(more)
        return None

    def limit(self, q, e):
        """How many records there may be: all, but for the limits of services."""
        n = len(e.records)
        if not e.of_service:
            return n
        if q.qtype != SRV and self.c["a_record_limit"]:
            n = min(n, self.c["a_record_limit"])
        if q.tcp:
            return min(n, 1024 if q.qtype == SRV else 4096)
        if max(512, q.edns or 0) == 512 and not self.c["udp_fill"]:
            return min(n, min(8, self.c["udp_answer_limit"]))
        return min(n, 1024 if q.qtype == SRV else 4096)

    def size_if_all(self, q, r, e, got):
        """What one more record would need at least, by the rule that cut the reply."""
        left = [x for x in e.records if self.key(e, x) not in {self.key(e, y) for y in got}]
        in_full = (not q.tcp and max(512, q.edns or 0) == 512) or self.c["disable_compression"]
        owner = len(to_wire(q.labels)) if in_full else 2
        return max((owner + self.record_size(e, x, in_full) for x in left), default=0)

    @staticmethod
    def texts(e, limit):
        """Bytes of all TXT in ADDITIONAL, which is more than a cut reply would have had."""
        return sum(wire_len(y[0]) + 11 + len(y[3]) for x in e.extras.values() for y in x if y[1] == TXT) if limit else 0

    def record_size(self, e, x, in_full):
        rdata = {A: 4, AAAA: 16}.get(x[1])
        if rdata is not None:
            return 10 + rdata
        if x[1] == SRV:
            target = lower(x[3][3])
            extras = [y for y in e.extras.get(target, ()) if y[1] != TXT]
            name = wire_len(target)
            return 10 + 6 + name + sum((name if in_full else 2) + 10 + (4 if y[1] == A else 16) for y in extras)
        return 10 + len(x[3]) + len(x[3]) // 255 + 1

    def uncompressed(self, q, r):
        n = 12 + len(r.question) + (11 if r.opt else 0)
        for rr in r.answer + r.additional:
            names = wire_len(rr.owner)
            n += names + 10 + {A: 4, AAAA: 16}.get(rr.type, 0)
            if rr.type == SRV:
                n += 6 + wire_len(rr.data[3])
            elif rr.type == TXT:
                n += len(rr.data) + len(rr.data) // 255 + 1
        return n

    def check_counts(self, q, r, e, got):
        limit = self.limit(q, e)
        if len(got) > limit:
            return "%d records, no more than %d may be" % (len(got), limit)
        size = 65523 if q.tcp else max(512, q.edns or 0)
        cut = len(got) < len(e.records)
        if len(got) < limit:
            if not got and e.of_service:
                return "not one record"
            have = self.uncompressed(q, r) if size == 512 else len(r.wire)
            # Once something had to go, because of TXT, too, one record at least does; what goes is decided without TXT.
            one_less = len(got) == limit - 1 and have + self.size_if_all(q, r, e, got) + self.texts(e, limit) > size - 7
            if not one_less and have + self.size_if_all(q, r, e, got) <= size - 7:
                return "cut to %d of %d records (%d bytes), where %d more bytes would fit in %d" % (
                    len(got), limit, have, self.size_if_all(q, r, e, got), size)
        if len(got) > 1 and len(r.wire) > size:
            return "%d bytes" % len(r.wire)
        by_limit = cut and len(got) == limit and q.qtype != SRV and self.c["a_record_limit"] and limit == self.c["a_record_limit"]
        tc = cut and (self.c["enable_truncate"] or not e.of_service) and not by_limit
        if ("tc" in r.flags) != bool(tc):
            return "TC is %s" % ("missing" if tc else "set")
        return self.check_extras(q, r, e, got, size, cut)

    def check_extras(self, q, r, e, got, size, cut):
        full = set(e.common)
        for x in got:
            if x[1] == SRV:
                full |= e.extras.get(lower(x[3][3]), set())
        addresses = {x for x in full if x[1] != TXT}
        have = {(lower(x.owner), x.type, x.ttl, x.data) for x in r.additional}
        strange = have - full - e.optional
        if strange:
            return "ADDITIONAL has %r" % sorted(strange)[0].__repr__()
        missing = full - have
        if not cut and not missing:
            return None
        if missing & addresses and len(got) > 1:
            return "targets without address: %r" % sorted(missing & addresses)[0].__repr__()
        # What was cut loses TXT; what is whole keeps all, if it fits.
        need = sum(2 + 10 + (len(x[3]) + len(x[3]) // 255 + 1 if x[1] == TXT else 16) for x in missing)
        if not cut and len(r.wire) + need <= size - 7 and size > 512:
            return "%d records of ADDITIONAL are missing" % len(missing)
        return None
