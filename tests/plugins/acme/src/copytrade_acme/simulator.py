"""The Acme exchange itself, on loopback: exact money, real signatures, and trouble on request."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

PAIR, BASE, QUOTE = "BTC-USDT", "BTC", "USDT"
LOT, CENT, SMALLEST = Decimal("0.00001"), Decimal("0.01"), Decimal("1")
FEE = Decimal("0.001")
EIGHT_PLACES = Decimal("0.00000001")
PAGE = 100
WINDOW_MS = 5000


class Refused(Exception):
    def __init__(self, status: int, word: str, retry_after: int | None = None) -> None:
        super().__init__(word)
        self.status, self.word, self.retry_after = status, word, retry_after


@dataclass
class Account:
    """One account: what it holds, and its orders as Acme shows them, oldest first."""

    owner: str
    key: str
    secret: str = field(repr=False)
    pin: str = field(repr=False)
    free: dict[str, Decimal]
    rights: list[str] = field(default_factory=lambda: ["read", "trade"])
    is_revoked: bool = False
    changed: int = 0
    orders: list[dict[str, Any]] = field(default_factory=list)


class AcmeServer:
    """The exchange. `start` it, trade with it, `stop` it. Everything it knows is under `lock`."""

    def __init__(self, price: Decimal = Decimal("64000.50")) -> None:
        self.lock = threading.Lock()
        self.price = price
        self.accounts: dict[str, Account] = {}
        self.skew_ms = 0
        self.next_order_trouble = ""  # drop_before, drop_after, garbage, slow_down
        self.read_trouble = ""  # drop_before, garbage
        self.retry_after = 1
        self._ids = 1000
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"acme": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="acme-exchange")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> AcmeServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def open_account(self, name: str, base: Decimal, quote: Decimal) -> dict[str, str]:
        """Open an account that holds *base* and *quote*; return its credentials."""
        with self.lock:
            account = Account(
                owner=f"owner-of-{name}",
                key=f"key-of-{name}",
                secret=hashlib.sha256(f"secret of {name}".encode()).hexdigest()[:40],
                pin="271828",
                free={BASE: base, QUOTE: quote},
                changed=self.now_ms(),
            )
            self.accounts[account.key] = account
        return {"api_key": account.key, "api_secret": account.secret, "pin": account.pin}

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew_ms

    # --- inside: called by the handlers, under the lock ---

    def answer(self, method: str, target: str, headers: Any, text: str) -> dict[str, Any]:
        path, _, query = target.partition("?")
        parts = path.strip("/").split("/")
        if parts == ["time"]:
            return {"now": self.now_ms()}
        if parts == ["pairs", PAIR]:
            return {"pair": PAIR, "lot": str(LOT), "cent": str(CENT), "smallest": str(SMALLEST)}
        account = self._signed_in(method, target, headers, text)
        if (method, parts) == ("GET", ["wallet"]):
            assets = {asset: {"free": format(free, "f"), "held": "0"} for asset, free in account.free.items()}
            return {"owner": account.owner, "assets": assets, "changed": account.changed, "rights": account.rights}
        if (method, parts) == ("POST", ["orders"]):
            return self._execute(account, json.loads(text))
        if (method, parts) == ("GET", ["orders"]):
            asked = {name: int(values[0]) for name, values in parse_qs(query).items()}
            found = [o for o in account.orders if o["created"] >= asked["since"] and o["id"] > asked["after"]]
            return {"orders": found[:PAGE]}
        if method == "GET" and parts[0] == "orders":
            for order in account.orders:
                if order["ref"] == parts[1]:
                    return order
            raise Refused(404, "no_such_order")
        raise Refused(404, "no_such_route")

    def _signed_in(self, method: str, target: str, headers: Any, text: str) -> Account:
        account = self.accounts.get(headers.get("Acme-Key", ""))
        if account is None or account.is_revoked:
            raise Refused(401, "bad_key")
        time_text = headers.get("Acme-Time", "")
        message = f"{time_text}{method}{target}{text}".encode()
        expected = hmac.new(account.secret.encode(), message, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, headers.get("Acme-Sign", "")):
            raise Refused(401, "bad_signature")
        if headers.get("Acme-Pin") != account.pin:
            raise Refused(401, "bad_pin")
        if not -1000 < self.now_ms() - int(time_text) <= WINDOW_MS:
            raise Refused(400, "stale")
        return account

    def _execute(self, account: Account, asked: dict[str, str]) -> dict[str, Any]:
        if "trade" not in account.rights:
            raise Refused(403, "no_trading")
        is_buy = asked["side"] == "buy"
        size, grid = (Decimal(asked["spend"]), CENT) if is_buy else (Decimal(asked["give"]), LOT)
        if size % grid:
            raise Refused(400, "bad_amount")
        if account.free[QUOTE if is_buy else BASE] < size:
            raise Refused(400, "no_funds")
        base = size // (self.price * LOT) * LOT if is_buy else size
        if base * self.price < SMALLEST:
            raise Refused(400, "too_small")
        now = self.now_ms()
        deals = []
        # Most of it at the price, the rest a little cheaper, so that no two fills are alike.
        first = base * 2 / 3 // LOT * LOT
        for part, price in ((first, self.price), (base - first, self.price - 1)):
            if part:
                gained = part if is_buy else part * price
                fee = (gained * FEE).quantize(EIGHT_PLACES)
                account.free[BASE] += part - fee if is_buy else -part
                account.free[QUOTE] += -part * price if is_buy else gained - fee
                deals.append(
                    {"id": self._next_id(), "price": str(price), "base": str(part), "quote": str(part * price)}
                )
                deals[-1] |= {"fee": format(fee, "f"), "fee_asset": BASE if is_buy else QUOTE, "time": now}
        account.changed = now
        order = {
            "id": self._next_id(),
            "ref": asked["ref"],
            "side": asked["side"],
            "kind": "market",
            "state": "done",
            "base": str(base),
            "quote": str(sum(Decimal(deal["quote"]) for deal in deals)),
            "created": now,
            "changed": now,
            "deals": deals,
        }
        account.orders.append(order)
        return order

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


class _Handler(BaseHTTPRequestHandler):
    acme: AcmeServer

    def do_GET(self) -> None:
        self._serve("")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _serve(self, text: str) -> None:
        acme = self.acme
        with acme.lock:
            trouble = ""
            if self.command == "POST":
                trouble, acme.next_order_trouble = acme.next_order_trouble, ""
            elif "Acme-Sign" in self.headers:
                trouble = acme.read_trouble
            status, extra, answer = 200, {}, {}
            try:
                if trouble == "slow_down":
                    raise Refused(429, "slow_down", acme.retry_after)
                if trouble != "drop_before":
                    answer = acme.answer(self.command, self.path, self.headers, text)
            except Refused as refused:
                status, answer = refused.status, {"error": refused.word}
                if refused.retry_after is not None:
                    extra = {"Retry-After": str(refused.retry_after)}
        if trouble in ("drop_before", "drop_after"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = b"<html>It works!</html>" if trouble == "garbage" else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: tests read what matters from `Account`."""
