"""Registered devices (APP_MODE=device_whitelist): enrolled by their own proof, approved by somebody."""

from __future__ import annotations

from typing import Any

from copytrade_core.clock import wall_text

from ..access.dpop import TOKEN_SEC
from ..access.guard import access_of, principal, require_approved, require_fresh
from ..access.limits import DEVICE_TOKENS, ENROLMENTS
from ..access.store import Device, DeviceKind, DeviceState
from ..problems import Problem
from ..schemas.access import DeviceName, DeviceRow, DeviceRows, DeviceToken, Enrolled, Enrolment
from .calls import Blueprint
from .documents import BODY, problems

blueprint = Blueprint("devices", __name__, url_prefix="/devices", description="Registered devices")


@blueprint.get("")
@problems(blueprint)
@blueprint.response(200, DeviceRows)
def list_devices() -> Any:
    """List the devices, with when each was last used and from where."""
    access = access_of()
    return {"items": [device_json(each) for each in access.store.list_devices()], "mode": access.settings.mode.value}


@blueprint.post("/enrol")
@blueprint.arguments(Enrolment)
@problems(blueprint, *BODY, 409)
@blueprint.response(200, Enrolled)
def enrol(given: dict[str, str]) -> Any:
    """Register this browser's key, proved in the header ``DPoP``; a good code approves it, else somebody must."""
    access, asker = access_of(), principal()
    access.limits.take("enrol", access.address, ENROLMENTS)
    thumbprint = access.proof()
    device = access.store.find_device(thumbprint)
    if device is not None and device.state is DeviceState.REVOKED:
        raise Problem(
            409, "device_revoked", "this device was revoked: clear the site's data in the browser to enrol anew"
        )
    if asker.bound_to:
        access.keep_to(asker, device.id if device else "")
    by = ""
    if code := given.get("code"):
        if not access.store.use_code("enrolment", code):
            raise Problem(422, "code_invalid", "this device code was used before, or is none", field="code")
        by = "device code"
    if device is None:
        device = access.store.add_device(DeviceKind.WEBCRYPTO, given["name"], thumbprint, approved_by=by)
        access.note("device_enrolled", device.name)
    if by and device.state is DeviceState.PENDING:
        device = access.store.approve_device(device.id, by)
    access.keep_to(asker, device.id)
    return {"id": device.id, "state": device.state.value}


@blueprint.post("/token")
@problems(blueprint)
@blueprint.response(200, DeviceToken)
def issue_token() -> Any:
    """Exchange this browser's proof for a token that its next calls show, for five minutes."""
    access, asker = access_of(), principal()
    # Each proof is remembered, also that of a key that nobody registered.
    access.limits.take("device token", asker.label, DEVICE_TOKENS)
    thumbprint = access.proof()
    device = access.store.find_device(thumbprint)
    if device is None:
        raise Problem(403, "device_unknown", "this device is not registered: enrol it first")
    require_approved(device)
    access.keep_to(asker, device.id)
    token = access.proofs.issue(device.id, thumbprint)
    return {"access_token": token, "token_type": "DPoP", "expires_in": TOKEN_SEC}


@blueprint.patch("/<device_id>")
@blueprint.arguments(DeviceName)
@problems(blueprint, *BODY, 404)
@blueprint.response(200, DeviceRow)
def rename_device(given: dict[str, str], device_id: str) -> Any:
    """Give a device another name."""
    require_fresh()
    access = access_of()
    device = access.store.rename_device(device_id, given["name"])
    access.note("device_renamed", device.name)
    return device_json(device)


@blueprint.post("/<device_id>/approve")
@problems(blueprint, 404)
@blueprint.response(200, DeviceRow)
def approve_device(device_id: str) -> Any:
    """Let a waiting device in."""
    require_fresh()
    access = access_of()
    device = access.store.approve_device(device_id, principal().by)
    access.note("device_approved", device.name)
    return device_json(device)


@blueprint.delete("/<device_id>")
@problems(blueprint, 404)
@blueprint.response(200, DeviceRow)
def revoke_device(device_id: str) -> Any:
    """Shut a device out for good: its sessions, tokens and live streams end at once."""
    require_fresh()
    access = access_of()
    name = access.store.get_device(device_id).name
    ended = access.store.revoke_device(device_id)
    access.end_streams(f"device:{device_id}", *(f"session:{each}" for each in ended))
    access.note("device_revoked", name)
    return device_json(access.store.get_device(device_id))


def device_json(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "kind": device.kind.value,
        "name": device.name,
        "thumbprint": device.thumbprint,
        "state": device.state.value,
        "created": wall_text(device.created_ms),
        "approved": None if device.approved_ms is None else wall_text(device.approved_ms),
        "approved_by": device.approved_by,
        "last_used": None if device.last_used_ms is None else wall_text(device.last_used_ms),
        "last_address": device.last_address,
    }
