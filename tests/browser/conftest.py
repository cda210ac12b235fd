"""Notebooks in a real JupyterLab, looked at with a real browser. ``pytest -m browser`` runs them, `make test` does not.

It needs Playwright (``pip install playwright``) and a Chromium: Debian's (``apt-get install chromium``), the one that
``CHROMIUM`` names, or Playwright's own. Notebooks train here as they do for a reader: a few minutes in all.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WINDOW = {"width": 1366, "height": 768}  # a small laptop at 100 %
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: opens notebooks in JupyterLab and Chromium; run with -m browser")


def pytest_ignore_collect(collection_path, config):
    """These tests run when they are asked for, and are not collected otherwise."""
    asked = "browser" in (config.getoption("markexpr") or "")
    return None if asked or collection_path.suffix != ".py" else True


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Address of a JupyterLab on a copy of the notebooks."""
    home = tmp_path_factory.mktemp("lab")
    for folder in ("notebooks", "figures"):
        shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns(".*"))
    settings = home / "settings" / "@jupyterlab"
    for name, text in (
        ("notebook-extension/tracker", '{"windowingMode": "none"}'),  # all cells are in the page
        ("apputils-extension/notification", '{"fetchNews": "false"}'),  # nothing covers them
    ):
        (settings / name).parent.mkdir(parents=True)
        (settings / f"{name}.jupyterlab-settings").write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    private = {name: str(home / folder) for name, folder in (
        ("JUPYTER_CONFIG_DIR", "config"), ("JUPYTERLAB_SETTINGS_DIR", "settings"), ("IPYTHONDIR", "ipython"),
        ("JUPYTERLAB_WORKSPACES_DIR", "workspaces"), ("JUPYTER_RUNTIME_DIR", "runtime"), ("HNCSE_RUNS", "runs"),
    )}  # fmt: skip
    environment = os.environ | private | {"JUPYTER_PREFER_ENV_PATH": "1"}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
             "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={home}"],
            cwd=home, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):  # half a minute, or minutes on a busy machine
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail((home / "log").read_text())
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    tab = browser.new_page(viewport=WINDOW)
    tab.set_default_timeout(60_000)
    yield tab
    tab.close()
