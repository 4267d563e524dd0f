"""A web server: a word of greeting, ways elsewhere, an answer without an end, and files."""

import http.server
import json
import socket
import time

AWAY = {
    "/away": "http://other.example/",
    "/away-by-address": "http://198.18.0.2/",
    "/away-by-ipv6": "http://[2001:2::2]/",
    "/away-inside": "http://169.254.169.254/latest/meta-data/",
    "/home": "http://allowed.example/",
}


def server(address, names, folder):
    class Web(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *words):
            """Nobody reads it."""

        def do_GET(self):
            if self.path in AWAY:
                self.send_response(302)
                self.send_header("Location", AWAY[self.path])
                self.end_headers()
            elif self.path == "/":
                self.say(b"hello from outside\n")
            elif self.path == "/asked":
                self.say(json.dumps(names.asked).encode())
            elif self.path == "/long":
                self.send_response(200)
                self.end_headers()
                while True:
                    time.sleep(0.1)
                    self.wfile.write(b"tick\n")
            else:
                super().do_GET()

        def say(self, words):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(words)

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def handle_error(self, request, client_address):
            """A client that went away."""

    return Server((address, 80), Web)
