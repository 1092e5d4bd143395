"""``copytrade devices``: which browsers may use the panel where only registered devices do."""

from __future__ import annotations

import click

from copytrade_core.cli.output import print_json, say
from copytrade_core.cli.session import Group, Session, as_json, pass_session

from ..api.devices import device_json
from .store import moment, panel_store


@click.group(cls=Group)
def devices() -> None:
    """Registered devices of the panel (APP_MODE=device_whitelist)."""


@devices.command("list")
@as_json
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the devices, their state, and when each was last used from where."""
    with panel_store(session) as (store, _):
        found = store.list_devices()
    if as_json:
        print_json({"devices": [device_json(device) for device in found]})
        return
    for device in found:
        used = moment(device.last_used_ms) + (f" from {device.last_address}" if device.last_address else "")
        say(f"{device.id}  {device.state:<8}  {device.kind:<11}  {device.name}; last used {used}")
    if not found:
        say("No device is registered; the first one needs a code: copytrade devices code")


@devices.command("approve")
@click.argument("device_id", metavar="ID")
@pass_session
def approve(session: Session, device_id: str) -> None:
    """Let the waiting device ID in."""
    with panel_store(session) as (store, _):
        device = store.approve_device(device_id, "command line")
        store.note("command line", "device_approved", device.name)
    say(f"{device.name} is approved.")


@devices.command("revoke")
@click.argument("device_id", metavar="ID")
@pass_session
def revoke(session: Session, device_id: str) -> None:
    """Shut the device ID out for good: its sessions end with their next call, its live figures within seconds."""
    with panel_store(session) as (store, _):
        name = store.get_device(device_id).name
        store.revoke_device(device_id)
        store.note("command line", "device_revoked", name)
    say(f"{name} is revoked.")


@devices.command("code")
@as_json
@pass_session
def code(session: Session, as_json: bool) -> None:
    """Print a code that registers one device without anybody's approval, once, within thirty days."""
    with panel_store(session) as (store, _):
        made = store.add_enrolment_code()
        store.note("command line", "enrolment_code_made")
    if as_json:
        print_json({"device_code": made})
    else:
        say(made)
