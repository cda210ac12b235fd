"""A Hugging Face hub for tests: a local server that hands out files, whole, cut or interrupted, and takes some.

with Hub({"owner/name": {"file.txt": b"..."}}) as hub:
    hub.url                    # for HF_ENDPOINT
    hub.asked                  # ["HEAD owner/name/file.txt", "GET owner/name/file.txt", ...]
    hub.datasets, hub.commits  # what was pushed, and the commits' messages; with the token "may write" alone
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATH = re.compile(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/(?:main|[0-9a-f]{40})/(.+)")  # datasets and models alike
_ABOUT = re.compile(r"/api/models/([^/]+/[^/]+)(/tree/.*)?")  # what transformers asks besides files
FAULTS = ("none", "cut", "damaged", "dropped once", "failing", "silent", "dripping", "busy")


class Hub:
    """Datasets (or models) by name, each a dictionary of files.

    fault: ``cut`` sends half of a file as if it were all of it, ``damaged`` changes a byte, ``dropped once`` hangs up
    in the middle of the first transfer, ``failing`` answers with a server error; ``silent`` describes a file and never
    sends it, ``dripping`` sends it a byte at a time, ``busy`` asks to come back in an hour.
    port: To listen at; 0 takes a free one.
    """

    def __init__(self, datasets: dict[str, dict[str, bytes]], fault: str = "none", port: int = 0):
        assert fault in FAULTS
        self.datasets, self.fault, self.port = datasets, fault, port
        self.asked: list[str] = []
        self.private: set[str] = set()
        self.commits: list[str] = []
        self.over = threading.Event()
        self.dropped = False

    def __enter__(self) -> Hub:
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub):
        self.hub = hub
        super().__init__(("127.0.0.1", hub.port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        if self.server.hub.port:  # the next hub at this port must not be asked through a connection to this one
            self.send_header("Connection", "close")
        super().end_headers()

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_POST(self) -> None:
        """What a push asks: make a repository, how to send each file (as it is), check a card, commit."""
        hub = self.server.hub
        lines = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
        hub.asked.append(f"POST {self.path}")
        given = json.loads(lines[0])
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        if self.headers.get("Authorization") != "Bearer may write":
            self.refuse(401, "")
        elif self.path == "/api/repos/create":
            repository = f"{given.get('organization') or 'me'}/{given['name']}"
            new = repository not in hub.datasets
            hub.datasets.setdefault(repository, {})
            if new and (given.get("private") or given.get("visibility") == "private"):
                hub.private.add(repository)
            self.say({"url": f"{hub.url}/{repository}"}, 200 if new else 409)
        elif self.path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif about and about[2] == "preupload":
            names = [file["path"] for file in given["files"]]
            self.say({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif about:
            self.commit(hub.datasets[about[1]], [json.loads(line) for line in lines])
            self.say({"commitUrl": f"{hub.url}/{about[1]}/commit/{self.sha}", "commitOid": self.sha})
        else:
            self.refuse(404, "")

    def commit(self, files: dict[str, bytes], lines: list[dict]) -> None:
        self.server.hub.commits.append(lines[0]["value"]["summary"])
        for line in lines[1:]:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            else:
                assert line["key"] == "deletedFile"
                del files[line["value"]["path"]]

    @property
    def sha(self) -> str:
        return f"{len(self.server.hub.commits):040x}"

    def answer(self, with_body: bool) -> None:
        hub = self.server.hub
        found = _PATH.fullmatch(self.path)
        repository, name = found.groups() if found else ("", "")
        hub.asked.append(f"{self.command} {repository}/{name}" if found else f"{self.command} {self.path}")
        about = _ABOUT.fullmatch(self.path)
        if hub.fault == "failing":
            self.refuse(503, "")
        elif hub.fault == "busy" and with_body:
            self.refuse(429, "")
        elif about and about[1] in hub.datasets:
            self.describe(about[1]) if not about[2] else self.refuse(404, "EntryNotFound")
        elif repository not in hub.datasets:
            self.refuse(404, "RepoNotFound")
        elif name not in hub.datasets[repository]:
            self.refuse(404, "EntryNotFound")
        else:
            self.send(hub.datasets[repository][name], with_body)

    def describe(self, repository: str) -> None:
        siblings = [{"rfilename": name} for name in self.server.hub.datasets[repository]]
        about = {"id": repository, "sha": self.sha, "siblings": siblings, "tags": []}
        self.say(about | {"private": repository in self.server.hub.private})

    def say(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if status == 429:
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, true: bytes, with_body: bool) -> None:
        hub, body, middle = self.server.hub, true, len(true) // 2
        if hub.fault == "cut":
            body = true[:middle]
        elif hub.fault == "damaged":
            body = true[:middle] + bytes([true[middle] ^ 1]) + true[middle + 1 :]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if hub.fault == "silent" and with_body:
            hub.over.wait()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", self.sha)
        self.send_header("ETag", f'"{hashlib.sha256(true).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(true)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if with_body and hub.fault == "dropped once" and not hub.dropped:
            hub.dropped = True
            self.wfile.write(body[:middle])
            self.close_connection = True  # the promised rest never comes
        elif with_body and hub.fault == "dripping":
            for byte in body[start:]:
                if hub.over.wait(0.01):
                    break
                self.wfile.write(bytes([byte]))
        elif with_body:
            self.wfile.write(body[start:])
