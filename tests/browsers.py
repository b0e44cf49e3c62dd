"""Browsers that sign in on web pages: one of plain requests, and a real one."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Page:
    """A page in a browser."""

    url: str
    status: int
    text: str


@dataclass
class _Form(HTMLParser):
    """The form on a page; `asked` has the names of its visible inputs."""

    found: bool = False
    action: str = ""
    values: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    buttons: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found, self.action = True, known.get("action", "")
        elif tag == "input" and known.get("name"):
            self.values[known["name"]] = known.get("value", "")
            if known.get("type") != "hidden":
                self.asked.add(known["name"])
        elif tag == "button" and known.get("name"):
            self.buttons.add(known["name"])


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_rest: object) -> None:
        return None


class PlainBrowser:
    """A browser without scripts that fills in and submits every form of one site."""

    def __init__(self, site: str, ca_file: str, user: str | None, *, allow: bool) -> None:
        self._site = site
        self._user = user
        self._allow = allow
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
        self._opener = urllib.request.build_opener(
            trust, urllib.request.HTTPCookieProcessor(), urllib.request.ProxyHandler({}), _NoRedirects
        )

    def submit_code(self, url: str, code: str) -> Page:
        """Enter a code into the form at a URL and continue to the last page."""
        page, _headers = self._fetch(url)
        form = self._form(page)
        return self._go(urllib.parse.urljoin(url, form.action), {**form.values, "user_code": code})

    def until_redirect(self, url: str) -> str:
        """Continue until the site redirects to another one. Returns that URL."""
        end = self._go(url, stop=True)
        assert not end.url.startswith(self._site), end
        return end.url

    def visit(self, url: str) -> Page:
        """Continue to a page without a form, or with one that asks for more than a user, on any site."""
        return self._go(url)

    def _go(self, url: str, data: dict[str, str] | None = None, *, stop: bool = False) -> Page:
        for _step in range(30):
            if stop and not url.startswith(self._site):
                return Page(url, 0, "")
            page, headers = self._fetch(url, data)
            location = headers.get("Location")
            if page.status in _REDIRECTS and location:
                url, data = urllib.parse.urljoin(url, location), None
                continue
            form = self._form(page)
            if not form.found or form.asked - {"login"} or page.status != 200 or not url.startswith(self._site):
                return page
            url, data = urllib.parse.urljoin(url, form.action), self._filled(form)
        raise AssertionError(f"no end of pages: {url}")

    def _filled(self, form: _Form) -> dict[str, str]:
        values = dict(form.values)
        if "login" in values and self._user is not None:
            values["login"] = self._user
        if "decision" in form.buttons:
            values["decision"] = "allow" if self._allow else "deny"
        if "abort" in form.buttons and not self._allow:
            values["abort"] = "yes"
        return values

    def _form(self, page: Page) -> _Form:
        form = _Form()
        form.feed(page.text)
        return form

    def _fetch(self, url: str, data: dict[str, str] | None = None) -> tuple[Page, Message]:
        request = urllib.request.Request(
            url, None if data is None else urllib.parse.urlencode(data).encode(), {"Accept": "text/html"}
        )
        try:
            with self._opener.open(request, timeout=30) as response:
                return Page(url, response.status, response.read().decode()), response.headers
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(url, answer.code, answer.read().decode()), answer.headers


_LOOK = (
    "JSON.stringify([location.href, document.readyState, document.body ? document.body.innerText : '', "
    "!!document.querySelector('form')])"
)
_PRESS = """
(user => {
  const login = document.querySelector('input[name=login]');
  if (login && user !== null) login.value = user;
  const button = document.querySelector('button');
  if (button && !window.pressed) { window.pressed = true; button.click(); }
})
"""


class Chromium:
    """A headless Chromium, controlled over the pipe of its DevTools protocol."""

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir()
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # it reads commands on descriptor 3 and writes answers to 4
        script = f'exec "$@" 3<&{commands} 4>&{answers}'
        bash = shutil.which("bash") or "bash"
        switches = (
            f"--user-data-dir={directory}/profile --headless --remote-debugging-pipe --disable-gpu --no-first-run"
        )
        self._process = subprocess.Popen(
            [
                bash,
                "-c",
                script,
                "bash",
                "chromium",
                *switches.split(),
                "--disable-dev-shm-usage",
                *options,
                "about:blank",
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands, answers),
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self.requested: list[str] = []
        """The URLs that pages asked for since the first `show`."""

    def __enter__(self) -> Self:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return self

    def __exit__(self, *_rest: object) -> None:
        self._session = None
        try:
            self._call("Browser.close")
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait(10)
            os.close(self._commands)
            os.close(self._answers)

    def open(self, url: str) -> None:
        """Load a URL; raises AssertionError where that fails, for example for an untrusted certificate."""
        problem = self._call("Page.navigate", url=url).get("errorText")
        assert not problem, f"{url}: {problem}"

    def show(self, url: str, width: int, *, dark: bool) -> None:
        """Load a page into a window of a width in pixels, for somebody who prefers dark or light colours."""
        for domain in ("Network", "Page"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self.open(url)
        end = time.monotonic() + 30
        while self.evaluate("document.readyState") != "complete":
            assert time.monotonic() < end, f"{url} is still loading"
            time.sleep(0.02)

    def sign_in(self, url: str, user: str | None = None, seconds: float = 30.0) -> Page:
        """Open a URL, sign in and press the first button of every form. Returns the first page without a form.

        With user None, the form keeps the user that `login_hint` suggested.
        """
        self.open(url)
        end = time.monotonic() + seconds
        while True:
            address, state, text, form = self._see()
            if state == "complete" and not form and address != "about:blank":
                return Page(address, 0, text)
            if state == "complete":
                self.evaluate(f"{_PRESS}({json.dumps(user)})")
            assert time.monotonic() < end, f"no end of pages: {address}: {text}"
            time.sleep(0.05)

    def _see(self) -> tuple[str, str, str, bool]:
        seen = self.evaluate(_LOOK)
        return tuple(json.loads(seen)) if seen else ("", "loading", "", False)

    def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript gives on the page; nothing while the page is left."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True).get("result", {}).get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        session = {} if self._session is None else {"sessionId": self._session}
        os.write(
            self._commands,
            json.dumps({"id": self._last, "method": method, "params": parameters, **session}).encode() + b"\0",
        )
        while True:
            message = self._message()
            if message.get("id") == self._last:
                result: dict[str, Any] = message.get("result", {})  # missing where the page was left meanwhile
                return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._answers, 65536)
            assert data, "Chromium has ended"
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        if parsed.get("method") == "Network.requestWillBeSent":
            self.requested.append(parsed["params"]["request"]["url"])
        return parsed
