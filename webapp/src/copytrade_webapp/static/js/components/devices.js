// @ts-check
import { _, explain, format } from "../i18n.js";
import { get, patch, post, remove } from "../api.js";
import { canBeADevice, thumbprint } from "../device.js";
import { busyWhile, el, fillWith, icon } from "../lib/dom.js";
import { askOnce, openDialog } from "./dialog.js";
import { say, sayProblem } from "./toasts.js";

const LOOK_AGAIN_MS = 5000;

export async function openDevices() {
  const list = el("div.list");
  const own = canBeADevice() ? await thumbprint().catch(() => "") : "";
  const load = async () => {
    try {
      const { items, mode } = await get("/devices");
      fillWith(
        list,
        items.length
          ? items.map((/** @type {any} */ device) => row(device, device.thumbprint === own, load))
          : el(
              "p.quiet",
              {},
              mode === "open"
                ? _("No device is registered. Anybody with an access token gets in (APP_MODE=open).")
                : _("No device is registered."),
            ),
      );
    } catch (error) {
      fillWith(list, el("p.quiet", {}, explain(error)));
    }
  };
  const again = setInterval(() => document.hidden || list.contains(document.activeElement) || load(), LOOK_AGAIN_MS);
  openDialog({
    title: _("Devices"),
    onClose: () => clearInterval(again),
    size: "wide",
    body: el(
      "div.sheet-body",
      {},
      el("p.muted", {}, _("A revoked device is shut out at once: its sessions and live figures end.")),
      list,
    ),
  });
  await load();
}

/** @param {any} device @param {boolean} isThis @param {() => Promise<void>} reload */
function row(device, isThis, reload) {
  const state = {
    PENDING: ["warn", _("waits for approval")],
    APPROVED: ["good", _("approved")],
    REVOKED: ["", _("revoked")],
  }[/** @type {"PENDING"} */ (device.state)] ?? ["", device.state];
  const act = (/** @type {() => Promise<any>} */ work, /** @type {string} */ failure) => async () => {
    try {
      await work();
      await reload();
    } catch (error) {
      sayProblem(error, failure);
    }
  };
  const approve = el(
    "button.btn.btn-primary.btn-small",
    {
      onclick: () =>
        busyWhile(
          approve,
          act(() => post(`/devices/${device.id}/approve`, {}), _("The device was not approved")),
        ),
    },
    _("Approve"),
  );
  const rename = el(
    "button.icon-button",
    {
      title: _("Rename %(name)s", device),
      "aria-label": _("Rename %(name)s", device),
      onclick: () => openRename(device, reload),
    },
    icon("pencil"),
  );
  const revoke = el(
    "button.btn.btn-line.btn-small",
    {
      onclick: () =>
        busyWhile(
          revoke,
          act(() => askAndRevoke(device, isThis), _("The device was not revoked")),
        ),
    },
    _("Revoke…"),
  );
  const last = device.last_used
    ? _("last used %(time)s from %(address)s", {
        time: format.full(device.last_used),
        address: device.last_address || "–",
      })
    : _("never used");
  return el(
    "div.list-row",
    {},
    icon(device.kind === "certificate" ? "patch-check" : "pc-display"),
    el(
      "div.about",
      {},
      el("strong", {}, device.name, isThis ? ` (${_("this one")})` : ""),
      el("small", {}, last),
      // As the waiting page shows it: the name is what the other side typed.
      el("small.mono", { title: device.thumbprint }, device.id),
    ),
    el(`span.pill${state[0] ? `.${state[0]}` : ""}`, {}, state[1]),
    device.state === "PENDING" ? approve : null,
    device.state === "REVOKED" ? null : rename,
    device.state === "REVOKED" ? null : revoke,
  );
}

/** @param {any} device @param {boolean} isThis */
async function askAndRevoke(device, isThis) {
  const agreed = await askOnce({
    title: _("Revoke %(name)s?", device),
    text: isThis
      ? _("This is the device that you are using: you will be logged out at once.")
      : _("It is logged out at once, and its key or certificate never gets in again."),
    button: _("Revoke %(name)s", device),
    tone: "bad",
  });
  if (!agreed) return;
  await remove(`/devices/${device.id}`);
  say({ tone: "good", title: _("%(name)s is revoked", device) });
}

/** @param {any} device @param {() => Promise<void>} reload */
function openRename(device, reload) {
  const name = el("input.form-control", {
    id: "field-name",
    name: "name",
    value: device.name,
    maxLength: 64,
    "aria-label": _("Name"),
    autocomplete: "off",
  });
  const save = async () => {
    try {
      await patch(`/devices/${device.id}`, { name: name.value.trim() });
      dialog.close();
      await reload();
    } catch (error) {
      sayProblem(error, _("The device was not renamed"));
    }
  };
  const dialog = openDialog({
    title: _("Rename %(name)s", device),
    body: el("form.sheet-body", { onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), save()) }, name),
    foot: [
      el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")),
      el("button.btn.btn-primary", { onclick: save }, _("Save")),
    ],
  });
}
