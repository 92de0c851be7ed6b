"""Open a notebook in JupyterLab in a real browser, run it, find its pictures on the page, take a screenshot.

    .ci/browser.py [--save]     --save also keeps the screenshot in docs/pictures

The browser is driven through the DevTools protocol, so it needs no driver program: Chromium, and the
WebSocket client that Jupyter brings along.
"""

import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import websocket

from tinytorch.course import building

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "00_quickstart.py"
SCREENSHOT = ROOT / "docs" / "pictures" / "jupyterlab.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = (1200, 900)
SECONDS = 110  # for everything
PICTURES = 2  # that the notebook draws

# What the page is asked. JupyterLab shows cells only where one looks, so what a cell has printed is asked of
# its model rather than of the page.
READY = """(() => {
    const context = [...window.jupyterapp.shell.widgets('main')][0].sessionContext;
    return context.isReady && context.session.kernel.status === 'idle';
})()"""
# Started and not waited for, so that a notebook that hangs is told apart from a page that does.
RUN = """window.jupyterapp.shell.activateById([...window.jupyterapp.shell.widgets('main')][0].id);
window.jupyterapp.commands.execute('notebook:run-all-cells')
    .finally(() => { window.finished = true; }); 0"""
OUTPUTS = """(() => {
    const notebook = [...window.jupyterapp.shell.widgets('main')][0].content;
    const cells = notebook.widgets.map(cell => cell.model.toJSON());
    return cells.flatMap(cell => cell.outputs || []).map(output => ({
        type: output.output_type, name: output.ename, value: output.evalue,
        picture: !!(output.data && output.data['image/png'])}));
})()"""
SHOW = """(() => {
    const notebook = [...window.jupyterapp.shell.widgets('main')][0].content;
    const cells = notebook.widgets.map(cell => (cell.model.toJSON().outputs || []));
    const last = cells.findLastIndex(outputs => outputs.some(o => o.data && o.data['image/png']));
    return notebook.scrollToItem(last, 'center').then(() => last);
})()"""
SEEN = """Array.from(document.querySelectorAll('.jp-OutputArea-output img')).filter(image => {
    const box = image.getBoundingClientRect();
    return image.complete && image.naturalWidth > 100 && box.top < innerHeight && box.bottom > 0;
}).length"""


class Page:
    """A page of a running browser."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict:
        """One DevTools command; returns its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def ask(self, script: str) -> Any:
        """What a piece of JavaScript comes to, promises waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")


def wait_for(what: str, ask: Any, deadline: float) -> Any:
    """The first answer that is true."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, RuntimeError):
            if answer := ask():
                return answer
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {SECONDS} s")


@contextlib.contextmanager
def process(command: list[str], log: Path, **options: Any) -> Iterator[None]:
    """A program that runs inside the block; what it says goes into a file."""
    with log.open("wb") as file:
        running = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.loads(answer.read())


def run(folder: Path, deadline: float) -> bytes:
    """Run the notebook in the browser; returns the screenshot."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"no browser: {' or '.join(BROWSERS)}; sudo apt-get install -y chromium")
    lab, tools, token = free_port(), free_port(), secrets.token_hex(16)
    environment = {
        **os.environ,
        "TINYTORCH_QUICK": "1",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
    }
    jupyter = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}",
        f"--ServerApp.port={lab}", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    chromium = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--remote-debugging-port={tools}", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={SIZE[0]},{SIZE[1]}", "about:blank",
    ]  # fmt: skip
    with (
        process(jupyter, folder / "jupyter.log", env=environment, cwd=folder),
        process(chromium, folder / "chromium.log", env=environment),
    ):
        wait_for("JupyterLab", lambda: get(f"http://127.0.0.1:{lab}/api?token={token}"), deadline)
        pages = wait_for("the browser", lambda: get(f"http://127.0.0.1:{tools}/json/list"), deadline)
        page = Page(next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"])
        page.call("Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1], deviceScaleFactor=1,
                  mobile=False)  # fmt: skip
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)  # else there is no current tab
        page.call("Page.navigate", url=f"http://127.0.0.1:{lab}/doc/tree/quickstart.ipynb?token={token}")
        wait_for("the notebook", lambda: page.ask(READY), deadline)
        page.ask(RUN)
        wait_for("the notebook's last cell", lambda: page.ask("!!window.finished"), deadline)
        outputs = page.ask(OUTPUTS)
        errors = [f"{out['name']}: {out['value']}" for out in outputs if out["type"] == "error"]
        if errors:
            raise AssertionError(f"the notebook raised {errors}")
        drawn = sum(out["picture"] for out in outputs)
        if drawn < PICTURES:
            raise AssertionError(f"{drawn} pictures among {len(outputs)} outputs; there should be {PICTURES}")
        page.ask(SHOW)
        wait_for("a picture on the page", lambda: page.ask(SEEN), deadline)
        return base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])


def prepare(folder: Path) -> None:
    """The solved notebook, and a JupyterLab that does not ask about news."""
    notebook = nbformat.from_dict(building.instructor_version(NOTEBOOK))
    nbformat.write(notebook, folder / "quickstart.ipynb")
    settings = folder / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )


def main(arguments: list[str]) -> int:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        prepare(folder)
        try:
            picture = run(folder, start + SECONDS)
        except (TimeoutError, AssertionError, RuntimeError):
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            raise
    target = SCREENSHOT if "--save" in arguments else ROOT / "build" / SCREENSHOT.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(picture)
    print(f"JupyterLab ran the notebook and shows its pictures: {time.monotonic() - start:.0f} s, {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
