"""Name servers: what a name is, and who asked for it."""

import itertools
import socket
import socketserver
import struct
import threading

A, TXT, AAAA = 1, 16, 28
KINDS = {A: "A", TXT: "TXT", AAAA: "AAAA"}
HERE, THERE = "198.18.0.1", "198.18.0.2"
HERE_V6, THERE_V6 = "2001:2::1", "2001:2::2"
SERVER, OTHER_SERVER = "198.18.0.53", "198.18.0.54"

# Answers of one name come in turn, one list for each question.
NAMES = {
    "allowed.example": {A: [[HERE]], AAAA: [[HERE_V6]], TXT: [["carried out"]]},
    "other.example": {A: [[THERE]], AAAA: [[THERE_V6]]},
    "six.example": {AAAA: [[HERE_V6]]},
    "*.wild.example": {A: [[HERE]]},
    "wild.example": {A: [[HERE]]},
    "github.com": {A: [[HERE]]},
    "api.github.com": {A: [[HERE]]},
    "pypi.org": {A: [[HERE]]},
    "dns.google": {A: [[HERE]]},
    "rebind.example": {A: [["127.0.0.1"]], AAAA: [["::1"]]},
    "private.example": {A: [["10.1.2.3"]], AAAA: [["fd00::1"]]},
    "metadata.example": {A: [["169.254.169.254"]], AAAA: [["fd00:ec2::254"]]},
    "link.example": {A: [["169.254.7.7"]], AAAA: [["fe80::2"]]},
    "wrapped.example": {A: [[]], AAAA: [["64:ff9b::c612:1", "2002:c612:1::", "::ffff:198.18.0.1", "2001::1"]]},
    "mixed.example": {A: [[HERE, "127.0.0.1"]], AAAA: [[HERE_V6, "::1"]]},
    "turning.example": {A: [[HERE], ["10.0.2.2"], ["127.0.0.1"]]},
}


class Names:
    """What name servers know, and what they were asked for."""

    def __init__(self):
        self.asked = []
        self.turns = {
            (name, kind): itertools.chain(answers[:-1], itertools.repeat(answers[-1]))
            for name, kinds in NAMES.items()
            for kind, answers in kinds.items()
        }
        self.lock = threading.Lock()

    def known_as(self, name):
        above = name.partition(".")[2]
        while name not in NAMES and above:
            if f"*.{above}" in NAMES:
                return f"*.{above}"
            above = above.partition(".")[2]
        return name

    def answer(self, question):
        """The answer to the bytes of a question."""
        name, end = name_of(question[12:])
        asked = question[12 : 12 + end + 4]
        (kind,) = struct.unpack(">H", asked[end : end + 2])
        known = self.known_as(name)
        with self.lock:
            self.asked.append(f"{name} {KINDS.get(kind, kind)}")
            values = next(self.turns.get((known, kind), itertools.repeat([])))
        records = b"".join(record(kind, value) for value in values)
        code = 0 if known in NAMES else 3
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(values), 0, 0)
        return head + asked + records


def record(kind, value):
    if kind == TXT:
        data = bytes([len(value)]) + value.encode()
    else:
        data = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, value)
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def name_of(question):
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("latin-1"))
        at += 1 + question[at]
    return ".".join(labels).lower(), at + 1


def servers(names):
    """Name servers at two addresses; the second also at ports that are used for names elsewhere."""

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self):
            data, answer_to = self.request
            answer_to.sendto(names.answer(data), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self):
            (length,) = struct.unpack(">H", self.rfile.read(2))
            answer = names.answer(self.rfile.read(length))
            self.wfile.write(struct.pack(">H", len(answer)) + answer)

    class Streams(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    for address, port in [(SERVER, 53), (OTHER_SERVER, 53), (OTHER_SERVER, 5353), (OTHER_SERVER, 853)]:
        yield socketserver.ThreadingUDPServer((address, port), Datagram)
        yield Streams((address, port), Stream)
