"""A client of Bitget that shares no code with the plug-in: standard library HTTP, its own signatures, raw sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import websocket


class Reply(NamedTuple):
    status: int
    code: str
    data: Any
    words: str
    headers: dict[str, str]
    text: str


def signed(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


class WireClient:
    """One key. ``headers`` override what is sent; ``None`` leaves a header out."""

    def __init__(self, rest: str, keys: dict[str, str], *, demo: bool = True) -> None:
        self.rest = urlsplit(rest).netloc
        self.keys = dict(keys)
        self.demo = demo
        self.unified = keys.get("mode") == "unified"

    def get(self, path: str, query: str = "", *, sent_query: str | None = None, **headers: str | None) -> Reply:
        return self.call("GET", path, query, "", sent_query=sent_query, **headers)

    def post(self, path: str, body: dict[str, Any] | str, **headers: str | None) -> Reply:
        return self.call("POST", path, "", body if isinstance(body, str) else json.dumps(body), **headers)

    def call(
        self, method: str, path: str, query: str, body: str, *, sent_query: str | None = None, **headers: str | None
    ) -> Reply:
        target = path + (f"?{query}" if query else "")
        stamp = headers.pop("stamp", None) or str(int(time.time() * 1000))
        send = {
            "ACCESS-KEY": self.keys["api_key"],
            "ACCESS-SIGN": signed(self.keys["api_secret"], f"{stamp}{method}{target}{body}"),
            "ACCESS-TIMESTAMP": stamp,
            "ACCESS-PASSPHRASE": self.keys["passphrase"],
            "Content-Type": "application/json",
            "paptrading": "1" if self.demo else None,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.rest, timeout=10)
        try:
            sent = path + (f"?{sent_query}" if sent_query is not None else f"?{query}" if query else "")
            given = {name: value for name, value in send.items() if value is not None}
            connection.request(method, sent, body.encode() or None, given)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        found = json.loads(text)
        return Reply(answer.status, found["code"], found.get("data"), found["msg"], dict(answer.headers), text)

    # -- the two families under one name ------------------------------------------------------------------------------

    def ticket(self, side: str, size: str, client_id: str = "", **more: str) -> dict[str, str]:
        ticket = {"symbol": "BTCUSDT", "side": side, "orderType": "market"}
        ticket |= {"category": "SPOT", "qty": size} if self.unified else {"force": "gtc", "size": size}
        return ticket | ({"clientOid": client_id} if client_id else {}) | more

    def place(self, side: str, size: str, client_id: str = "", **more: str) -> Reply:
        path = "/api/v3/trade/place-order" if self.unified else "/api/v2/spot/trade/place-order"
        return self.post(path, self.ticket(side, size, client_id, **more))

    def look_up(self, query: str) -> Reply:
        return self.get("/api/v3/trade/order-info" if self.unified else "/api/v2/spot/trade/orderInfo", query)

    def found(self, query: str) -> dict[str, Any] | None:
        """Return the order's row, or ``None`` where the exchange says in one of its ways that there is none."""
        reply = self.look_up(query)
        if reply.code in ("40109", "43001", "25204"):
            return None
        assert reply.code == "00000", reply
        return reply.data if self.unified else (reply.data[0] if reply.data else None)

    def final(self, query: str, timeout_sec: float = 10) -> dict[str, Any]:
        return wait_until(lambda: (row := self.found(query)) and _is_final(row) and row, timeout_sec)

    def free(self, coin: str) -> str:
        if self.unified:
            rows = self.get("/api/v3/account/assets").data["assets"]
        else:
            rows = self.get("/api/v2/spot/account/assets").data
        return next(row["available"] for row in rows if row["coin"] == coin)


def _is_final(row: dict[str, Any]) -> bool:
    return row.get("status", row.get("orderStatus")) in ("filled", "cancelled")


def wait_until(look: Callable[[], Any], timeout_sec: float = 10) -> Any:
    """Return the first true value of *look*; fail when none comes in time."""
    deadline = time.monotonic() + timeout_sec
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


class WireSocket:
    """One private socket, frame by frame."""

    def __init__(self, ws: str, path: str, keys: dict[str, str]) -> None:
        self.keys = keys
        self.unified = path.startswith("/v3")
        self.socket = websocket.create_connection(ws + path, timeout=5)

    def send(self, frame: dict[str, Any] | str) -> None:
        self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    def receive(self, timeout_sec: float = 5) -> Any:
        """Return the next frame, parsed unless it is ``pong``; ``None`` when the exchange closed or reset."""
        self.socket.settimeout(timeout_sec)
        try:
            text = self.socket.recv()
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return None
        if text == "":
            return None
        return text if text == "pong" else json.loads(text)

    def close(self) -> None:
        """Close without a word; also when the exchange closed first, after which the library leaves the socket open."""
        self.socket.shutdown()

    def is_quiet(self) -> bool:
        """Say whether nothing comes for a while; the socket stays open."""
        return not list(self.frames_until_quiet())

    def frames_until_quiet(self, quiet_sec: float = 0.3) -> Iterator[Any]:
        while True:
            try:
                frame = self.receive(quiet_sec)
            except websocket.WebSocketTimeoutException:
                return
            assert frame is not None, "the exchange closed"
            yield frame

    def login(self, stamp: str | None = None, **changes: str) -> Any:
        stamp = stamp or str(int(time.time()))
        arg = {
            "apiKey": self.keys["api_key"],
            "passphrase": self.keys["passphrase"],
            "timestamp": stamp,
            "sign": signed(self.keys["api_secret"], f"{stamp}GET/user/verify"),
        } | changes
        self.send({"op": "login", "args": [arg]})
        return self.receive()

    def subscribe(self, *channels: str) -> list[Any]:
        """Subscribe and return the acknowledgements."""
        args = []
        for channel in channels:
            if self.unified:
                args.append({"instType": "UTA", "topic": channel})
            else:
                scope = "coin" if channel == "account" else "instId"
                args.append({"instType": "SPOT", "channel": channel, scope: "default"})
        self.send({"op": "subscribe", "args": args})
        answers = []
        while len(answers) < len(args):
            frame = self.receive()
            if "event" in frame:
                answers.append(frame)
            else:
                self.first = frame
        return answers

    def pushes(self, channel: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Collect a channel's pushed rows until *enough* of them came."""
        rows: list[Any] = []
        while not enough(rows):
            frame = self.receive()
            assert frame is not None, "the exchange closed"
            if "data" in frame and channel in (frame["arg"].get("channel"), frame["arg"].get("topic")):
                rows += frame["data"]
        return rows


@contextmanager
def signed_in(ws: str, keys: dict[str, str], *channels: str, path: str | None = None) -> Any:
    """Open a socket of the key's family, sign in and subscribe."""
    path = path or ("/v3/ws/private" if keys["mode"] == "unified" else "/v2/ws/private")
    client = WireSocket(ws, path, keys)
    try:
        answer = client.login()
        assert answer["event"] == "login", answer
        if channels:
            client.subscribe(*channels)
        yield client
    finally:
        client.close()
