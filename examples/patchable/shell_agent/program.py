"""Stands for a program in any language that reads its file again on SIGHUP and knows nothing of Agent Servicing."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = {}


def read(*_):
    with Path(os.environ["SERVICING_CONFIG_FILE"]).open(encoding="utf-8") as file:
        CONFIG.update(json.load(file))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{CONFIG.get('greeting', 'Hello')}, world!".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


read()
signal.signal(signal.SIGHUP, read)
ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
