"""Questions to a DNS server, and its replies taken apart as strictly as the RFCs allow.

Two decoders read each reply: the walker below, which knows where every byte belongs (pointers go backward to the
start of a label that stood there before, no byte is left over), and dnspython, which is not ours.
"""

import random
import socket
import struct
import time

import dns.message
import dns.rdatatype
import dns.rdataclass

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43,
    "DNSKEY": 48, "HTTPS": 65, "AXFR": 252, "ANY": 255, "CAA": 257, "TYPE65280": 65280,
}
NAMES = {v: k for k, v in TYPES.items()}
OPT = 41
FLAGS = {"qr": 0x8000, "aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "z": 0x0040, "ad": 0x0020, "cd": 0x0010}


class Bad(Exception):
    """What is wrong with a reply."""


def labels_of(text):
    """The labels of a name given as text, dots between them."""
    return [part.encode() for part in text.split(".") if part]


def to_wire(labels):
    return b"".join(bytes([len(x)]) + x for x in labels) + b"\0"


def wire_len(labels):
    return sum(len(x) + 1 for x in labels) + 1


def lower(labels):
    return tuple(x.lower() for x in labels)


def random_case(rng, labels):
    return [bytes(c ^ 0x20 if 65 <= c & 0xDF <= 90 and rng.random() < 0.5 else c for c in x) for x in labels]


class Question:
    """One question; labels are bytes, qtype a number, edns the size told in OPT or None."""

    def __init__(self, labels, qtype, edns=None, tcp=False, flags=0x0100, qclass=1, options=b"", do=False):
        self.labels, self.qtype, self.edns, self.tcp = list(labels), qtype, edns, tcp
        self.flags, self.qclass, self.options, self.do = flags, qclass, options, do
        self.id = random.randrange(65536)

    def wire(self):
        p = struct.pack(">6H", self.id, self.flags, 1, 0, 0, 0 if self.edns is None else 1)
        p += to_wire(self.labels) + struct.pack(">HH", self.qtype, self.qclass)
        if self.edns is not None:
            ttl = 0x8000 if self.do else 0
            p += b"\0" + struct.pack(">HHIH", OPT, self.edns, ttl, len(self.options)) + self.options
        return p

    def __str__(self):
        name = b".".join(self.labels).decode("latin-1").encode("unicode_escape").decode() + "."
        return "%s %s %s" % (name, NAMES.get(self.qtype, self.qtype),
                             "tcp" if self.tcp else "udp") + ("" if self.edns is None else " edns %d" % self.edns)


class RR:
    def __init__(self, section, owner, rtype, rclass, ttl, data, size):
        self.section, self.owner, self.type, self.rclass, self.ttl, self.data = section, owner, rtype, rclass, ttl, data
        self.size = size

    def __repr__(self):
        return "%s %d %s %r" % (b".".join(self.owner).decode("latin-1"), self.ttl, NAMES.get(self.type, self.type), self.data)


class Reply:
    """A reply taken apart; Bad when a rule of the wire format is broken."""

    def __init__(self, wire):
        self.wire, self.at, self.pointers = wire, 0, 0
        self.starts = set()
        if len(wire) < 12:
            raise Bad("shorter than a header")
        self.id, self.bits, qd, an, ns, ar = struct.unpack(">6H", wire[:12])
        self.flags = {k for k, v in FLAGS.items() if self.bits & v}
        self.rcode, self.opcode = self.bits & 15, self.bits >> 11 & 15
        self.at = 12
        if qd > 1:
            raise Bad("%d questions" % qd)
        self.question = None
        if qd:
            start = self.at
            self.qname = self.name(compress=False)
            self.qtype, self.qclass = struct.unpack(">HH", self.take(4))
            self.question = wire[start:self.at]
        self.opt = None
        self.answer = self.section("answer", an)
        self.authority = self.section("authority", ns)
        self.additional = self.section("additional", ar)
        if self.at != len(wire):
            raise Bad("%d bytes behind the last record" % (len(wire) - self.at))
        self.second_opinion(an + ns + ar)

    def take(self, n):
        if self.at + n > len(self.wire):
            raise Bad("a record is longer than the reply")
        self.at += n
        return self.wire[self.at - n:self.at]

    def name(self, compress=True):
        """The labels of the name here; a pointer leads backward to where a label starts that was read before."""
        labels, here, end, at, begin = [], [], None, self.at, self.at
        while True:
            if at >= len(self.wire):
                raise Bad("a name runs out of the reply")
            n = self.wire[at]
            if n & 0xC0 == 0xC0:
                if not compress:
                    raise Bad("a compressed name where none is allowed")
                if at + 1 >= len(self.wire):
                    raise Bad("half a pointer")
                to = struct.unpack(">H", self.wire[at:at + 2])[0] & 0x3FFF
                if to >= (begin if end is None else at):
                    raise Bad("a pointer at %d leads forward to %d" % (at, to))
                if to not in self.starts:
                    raise Bad("a pointer at %d leads to %d, where no label starts" % (at, to))
                self.pointers += 1
                end = at + 2 if end is None else end
                at = to
                continue
            if n & 0xC0:
                raise Bad("a label of type %d" % (n >> 6))
            if end is None:
                here.append(at)
            if n == 0:
                at += 1
                break
            labels.append(self.wire[at + 1:at + 1 + n])
            at += 1 + n
        if wire_len(labels) > 255:
            raise Bad("a name of %d bytes" % wire_len(labels))
        # A pointer to a root alone would be one byte longer than the root.
        self.starts.update(x for x in here if self.wire[x] != 0)
        self.at = at if end is None else end
        return tuple(labels)

    def section(self, section, count):
        out = []
        for _ in range(count):
            start = self.at
            owner = self.name()
            rtype, rclass, ttl, length = struct.unpack(">HHIH", self.take(10))
            end = self.at + length
            if rtype == OPT:
                self.read_opt(section, owner, rclass, ttl, length)
                continue
            rr = RR(section, owner, rtype, rclass, ttl, self.data(rtype, length), 0)
            rr.size = self.at - start
            if self.at != end:
                raise Bad("a %s record of %d bytes says that it has %d" % (NAMES.get(rtype, rtype), self.at - end + length, length))
            if rclass != 1:
                raise Bad("a record of class %d" % rclass)
            if ttl > 0x7FFFFFFF:
                raise Bad("a negative TTL")
            out.append(rr)
        return out

    def read_opt(self, section, owner, size, ttl, length):
        if section != "additional" or owner or self.opt:
            raise Bad("an OPT record that is misplaced")
        self.opt = {"size": size, "version": ttl >> 16 & 255, "do": bool(ttl & 0x8000), "z": ttl & 0x7FFF, "options": []}
        self.rcode |= ttl >> 24 << 4
        data, at = self.take(length), 0
        while at < len(data):
            if at + 4 > len(data):
                raise Bad("half an EDNS option")
            code, n = struct.unpack(">HH", data[at:at + 4])
            if at + 4 + n > len(data):
                raise Bad("an EDNS option that is too long")
            self.opt["options"].append((code, data[at + 4:at + 4 + n]))
            at += 4 + n

    def data(self, rtype, length):
        name = NAMES.get(rtype)
        if name == "A":
            return socket.inet_ntop(socket.AF_INET, self.take(4))
        if name == "AAAA":
            return socket.inet_ntop(socket.AF_INET6, self.take(16))
        if name in ("NS", "CNAME", "PTR"):
            return self.name()
        if name == "SRV":
            numbers = struct.unpack(">HHH", self.take(6))
            # RFC 2782: not to be compressed.
            return numbers + (self.name(compress=False),)
        if name == "SOA":
            mname, rname = self.name(), self.name()
            return (mname, rname) + struct.unpack(">5I", self.take(20))
        if name == "TXT":
            end, out = self.at + length, []
            if length == 0:
                raise Bad("a TXT record without a string")
            while self.at < end:
                out.append(self.take(self.take(1)[0]))
            return b"".join(out)
        raise Bad("a record of type %d, which nobody gives" % rtype)

    def second_opinion(self, count):
        """dnspython has to find the same records."""
        try:
            m = dns.message.from_wire(self.wire, one_rr_per_rrset=True, raise_on_truncation=False)
        except Exception as e:
            raise Bad("dnspython: %s: %s" % (type(e).__name__, e)) from e
        theirs = [rr for s in (m.answer, m.authority, m.additional) for rrset in s for rr in rrset]
        ours = self.answer + self.authority + self.additional
        if len(theirs) != len(ours) or len(ours) + (self.opt is not None) != count:
            raise Bad("dnspython sees %d records, we %d" % (len(theirs), len(ours)))
        for a, b in zip(theirs, ours):
            if a.rdtype != b.type or (b.type in (1, 28) and a.address != b.data):
                raise Bad("dnspython reads %s, we %r" % (a, b))


class Client:
    """Asks a server, by UDP from a new port each time, by TCP over a connection that is kept."""

    def __init__(self, ip, port, patience=10.0):
        self.ip, self.port, self.patience, self.conn = ip, port, patience, None

    def udp(self, q):
        wire = q.wire()
        for _ in range(3):
            s = socket.socket(socket.AF_INET6 if ":" in self.ip else socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(self.patience)
            s.connect((self.ip, self.port))
            s.send(wire)
            try:
                got = s.recv(65536)
            except socket.timeout:
                continue
            finally:
                s.close()
            return got
        raise Bad("no reply")

    def read_exactly(self, n):
        b = b""
        while len(b) < n:
            part = self.conn.recv(n - len(b))
            if not part:
                raise ConnectionError("closed")
            b += part
        return b

    def tcp_send(self, wire):
        if self.conn is None:
            self.conn = socket.create_connection((self.ip, self.port), timeout=self.patience * 3)
        self.conn.sendall(struct.pack(">H", len(wire)) + wire)

    def tcp_recv(self):
        return self.read_exactly(struct.unpack(">H", self.read_exactly(2))[0])

    def tcp(self, q):
        for _ in range(2):
            try:
                self.tcp_send(q.wire())
                return self.tcp_recv()
            except (ConnectionError, socket.timeout):
                self.close()
        raise Bad("no reply over TCP")

    def close(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def ask(self, q):
        """The reply to q, checked for what holds for every reply."""
        return check(q, self.tcp(q) if q.tcp else self.udp(q))

    def pipeline(self, questions):
        """All in one write over a connection of its own; the replies in the questions' order, whatever theirs was."""
        ids = list(range(len(questions)))
        random.shuffle(ids)
        for q, i in zip(questions, ids):
            q.id = i
        self.close()
        self.conn = socket.create_connection((self.ip, self.port), timeout=self.patience * 3)
        self.conn.sendall(b"".join(struct.pack(">H", len(w)) + w for w in (q.wire() for q in questions)))
        got = {}
        for _ in questions:
            wire = self.tcp_recv()
            i = struct.unpack(">H", wire[:2])[0]
            if i in got:
                raise Bad("two replies with the id %d" % i)
            got[i] = wire
        self.close()
        return [check(q, got[q.id]) for q in questions]


def check(q, wire):
    """What holds for every reply (RFC 1035, 4.1; RFC 6891, 6.1; RFC 2181, 9)."""
    r = Reply(wire)
    if r.id != q.id:
        raise Bad("another id")
    if "qr" not in r.flags:
        raise Bad("no response")
    if r.opcode != q.flags >> 11 & 15:
        raise Bad("another opcode")
    if ("rd" in r.flags) != bool(q.flags & 0x0100):
        raise Bad("RD is not that of the question")
    if r.flags & {"z", "ad"}:
        raise Bad("Z or AD is set")
    asked = to_wire(q.labels) + struct.pack(">HH", q.qtype, q.qclass)
    if r.question != asked:
        raise Bad("the question is not repeated as it was, case included")
    if (r.opt is not None) != (q.edns is not None):
        raise Bad("OPT %s" % ("is lost" if q.edns is not None else "that nobody asked for"))
    if r.opt is not None and (r.opt["version"] != 0 or r.opt["z"] != 0):
        raise Bad("OPT has another version, or bits that mean nothing")
    seen = set()
    for rr in r.answer + r.authority + r.additional:
        key = (rr.section, lower(rr.owner), rr.type, rr.data)
        if key in seen:
            raise Bad("%r twice in %s" % (rr, rr.section))
        seen.add(key)
    if not q.tcp and len(r.answer) > 1 and len(wire) > max(512, q.edns or 0):
        raise Bad("%d bytes" % len(wire))
    return r


def wait_until(code, seconds=30.0):
    """Poll until code() is true; whether it was."""
    end = time.monotonic() + seconds
    while not code():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
