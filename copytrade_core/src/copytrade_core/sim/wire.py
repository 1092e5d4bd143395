"""Misbehaviour below the level of an exchange's protocol: what gateways, proxies and networks do to replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import WSMsgType, web

from .faults import WIRE_FAULTS, Fault
from .world import World

GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n"
    "<body>\r\n<center><h1>{status} {reason}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    403: "Forbidden",
    404: "Not Found",
    410: "Gone",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


def page(status: int, **headers: str) -> web.Response:
    """Return a gateway's HTML page with *status*."""
    text = GATEWAY_PAGE.format(status=status, reason=REASONS.get(status, "Error"))
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)


def abort(request: web.BaseRequest) -> web.Response:
    """Cut the connection at once; what is returned is for the server's bookkeeping and never leaves."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def stay_silent(world: World, request: web.BaseRequest, seconds: float) -> web.Response:
    """Answer nothing until the client leaves, *seconds* are over or the simulators stop; then cut."""
    try:
        async with asyncio.timeout(seconds):
            while request.transport is not None and not request.transport.is_closing() and not world.stopping.is_set():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    return abort(request)


async def misbehave(
    world: World, request: web.BaseRequest, fault: Fault, reply: web.Response | None
) -> web.StreamResponse:
    """Do *fault* to the reply. ``reply`` is ``None`` where nothing was carried out (`Fault.executed`).

    A dialect takes a fault among `WIRE_FAULTS` before it carries a request out, carries it out only if
    ``fault.executed``, and returns what this returns.
    """
    name = fault.name
    if name not in WIRE_FAULTS:
        raise ValueError(name)
    if name.startswith("reply_lost"):
        return abort(request)
    if name.startswith("no_answer"):
        return await stay_silent(world, request, fault.number("seconds", 60))
    if name.startswith("http_5xx"):
        status = int(fault.number("status", 504))
        return page(status) if fault.params.get("body", "html") == "html" else web.Response(status=status)
    if name == "redirect":
        location = str(fault.params.get("location", f"http://127.0.0.1:9{request.rel_url}"))
        return page(int(fault.number("status", 307)), Location=location)
    if name == "html_200":
        return page(200)
    if name == "empty_200":
        return web.Response()
    if name == "wrong_shape_200":
        return web.Response(text='{"ok":true,"data":[null]}', content_type="application/json")
    if name == "garbage":
        return raw(request, b"\x15\x03\x01\x00\x02\x02\x46\x00\xff\r\n\r\n")
    body = _body(reply)
    if name == "late_answer":
        await asyncio.sleep(fault.number("seconds", 11))
        return reply or page(504)
    if name == "short_body":
        return raw(request, _head(len(body)) + body[: len(body) // 2])
    if name == "closed_after_reply":
        return raw(request, _head(len(body)) + body)
    slow = fault.number("seconds_per_byte", 1 if name == "drip" else 0.002)
    return await drip(request, body, size=1 if name == "drip" else 7, pause=slow)


async def drip(request: web.BaseRequest, body: bytes, *, size: int, pause: float) -> web.StreamResponse:
    """Send *body* in slices of *size* bytes with *pause* seconds between them."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    try:
        await response.prepare(request)
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await asyncio.sleep(pause)
    except ConnectionError:
        pass  # the client had enough, which is what this is for
    return response


def raw(request: web.BaseRequest, data: bytes) -> web.Response:
    """Write *data* past the HTTP layer and close the connection."""
    if request.transport is not None:
        request.transport.write(data)
        request.transport.close()
    return web.Response()


def _head(length: int) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n"
        f"Content-Length: {length}\r\nConnection: keep-alive\r\n\r\n"
    ).encode()


def _body(reply: web.Response | None) -> bytes:
    body = reply.body if reply is not None else None
    return bytes(body) if isinstance(body, (bytes, bytearray)) else b"{}"


class Connection:
    """One client's WebSocket: frames leave in order through one writer, and it can be made to die in several ways."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request = request
        self.socket = socket
        self.frozen = False
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._timers: set[asyncio.TimerHandle] = set()
        self._writer = asyncio.get_running_loop().create_task(self._write())

    def send(self, text: str) -> None:
        """Queue a text frame."""
        if not self.frozen:
            self._outgoing.put_nowait(text)

    def ping(self, payload: bytes) -> None:
        """Queue a ping frame."""
        if not self.frozen:
            self._outgoing.put_nowait(payload)

    def later(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Run *action* after *delay_ms*, unless the connection ends before."""
        self.at(asyncio.get_running_loop().time() + delay_ms / 1000, action)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run *action* at *when* by the loop's clock; of two times the earlier is first, however close they are."""
        if self._writer.done():
            return

        def run() -> None:
            self._timers.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_at(when, run)
        self._timers.add(handle)

    def abort(self) -> None:
        """Reset the connection: no close frame."""
        if self.request.transport is not None:
            self.request.transport.abort()

    def freeze(self) -> None:
        """Go half-open: the connection stays, nothing comes any more, neither frames nor pongs nor a FIN."""
        self.frozen = True

    def send_half_a_frame(self, text: str) -> None:
        """Announce a text frame, send half of it, and fall silent."""
        data = text.encode()
        if self.request.transport is not None:
            head = bytes([0x81, 126]) + len(data).to_bytes(2, "big")
            self.request.transport.write(head + data[: len(data) // 2])
        self.freeze()

    async def close(self, code: int = 1000) -> None:
        """Close properly, with *code*."""
        await self.socket.close(code=code)

    async def finish(self) -> None:
        """Stop the writer and the timers; called by the handler when its read loop has ended."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._outgoing.put_nowait(None)
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self) -> None:
        while (frame := await self._outgoing.get()) is not None:
            try:
                if isinstance(frame, str):
                    await self.socket.send_str(frame)
                else:
                    await self.socket.ping(frame)
            except ConnectionError:
                return  # the read loop sees it too and ends the connection


TEXT, PING, PONG = WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG
