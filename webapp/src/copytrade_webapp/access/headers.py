"""What every answer says about itself: what its page may load, who may frame it, and that the API is not kept."""

from __future__ import annotations

from flask import Flask, Response, request

from ..settings import PanelSettings

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
ONE_YEAR_SEC = 31_536_000


def init_headers(app: Flask, settings: PanelSettings) -> None:
    """Add the headers to every answer, errors included."""

    @app.after_request
    def add(response: Response) -> Response:
        headers = response.headers
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"
        if settings.url.startswith("https:"):
            headers["Strict-Transport-Security"] = f"max-age={ONE_YEAR_SEC}"
        if request.path.startswith("/api/"):
            headers["Cache-Control"] = "no-store"
        return response
