// @ts-check
// Lets a browser in: by token or one-time link, and, where only devices get in, as a registered one.
import { get, handle, page, post, remove, useSession } from "./api.js";
import { canBeADevice } from "./device.js";
import { _, explain, lang, useCatalogue } from "./i18n.js";
import { busyWhile, byId } from "./lib/dom.js";
import { show } from "./prefs.js";

const LOOK_AGAIN_MS = 3000;
const NOT_REGISTERED = ["device_unknown", "device_proof_required", "device_token_invalid"];
/** @type {Record<string, () => string>} */
const REASONS = {
  token_invalid: () => _("This access token is not valid."),
  code_invalid: () => _("This link or code is wrong, was used before, or is too old. Ask for a new one."),
  too_many_requests: () => _("Too many tries. Wait a few minutes."),
  device_revoked: () => _("This device was revoked. To register it again, clear this site's data in the browser."),
  device_clock: () => _("The clock of this computer is wrong by more than five minutes. Set it right."),
};
const SECTIONS = ["waiting", "with-token", "enrol", "pending"];

async function start() {
  show();
  handle({ onLoggedOut: () => {} }); // this is where one would be sent
  const asked = takeHash();
  useCatalogue(await page(`/i18n/${lang}.json`));
  byId("login-form").addEventListener(
    "submit",
    (/** @type {Event} */ event) => (event.preventDefault(), busyWhile(byId("login-button"), logIn)),
  );
  byId("enrol-form").addEventListener(
    "submit",
    (/** @type {Event} */ event) => (event.preventDefault(), busyWhile(byId("enrol-button"), enrol)),
  );
  byId("log-out").addEventListener("click", logOut);
  // A link that is opened in this tab changes nothing but what stands behind the #.
  addEventListener("hashchange", () => {
    const { code } = takeHash();
    if (code) enter(() => post("/session", { code }));
  });
  const { code, ended } = asked;
  if (code) return enter(() => post("/session", { code }));
  await enter(() => get("/session"));
  if (ended && byId("entry-error").hidden && !byId("with-token").hidden)
    fail(_("Your login has ended. Open a new login link, or show your access token again."));
}

/** The code is good for one use, and must not stay in the address line or the history. */
function takeHash() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return { code: said.get("code"), ended: said.has("ended") };
}

/** @param {() => Promise<any>} ask */
async function enter(ask) {
  byId("entry-error").hidden = true;
  try {
    const session = useSession(await ask());
    if (!session.logged_in) return open("with-token");
    byId("log-out").hidden = false;
    if (session.mode === "device_whitelist") return await enterByDevice();
    location.assign("/");
  } catch (error) {
    open("with-token");
    fail(reason(error));
  }
}

/** Where only registered devices get in: this one is known, or waits, or has to be registered. */
async function enterByDevice() {
  try {
    await get("/devices");
    location.assign("/");
  } catch (error) {
    const { kind, document } = /** @type {any} */ (error);
    if (kind === "device_pending") return wait(document.device_id);
    if (!NOT_REGISTERED.includes(kind)) throw error;
    if (!canBeADevice())
      return fail(
        _("This page has no secure connection, so the browser cannot make a device key. Open it over https."),
      );
    open("enrol");
    byId("device-name").value ||= deviceName();
  }
}

/** What went wrong, without the table of kinds, which only those who are in may read. @param {any} error */
function reason(error) {
  return REASONS[error.kind]?.() ?? explain(error);
}

async function logIn() {
  const input = byId("token");
  const text = byId("token-error");
  const show_ = (/** @type {string} */ message) => {
    input.classList.toggle("is-invalid", Boolean(message));
    text.textContent = message;
    if (message) input.focus();
  };
  show_("");
  byId("entry-error").hidden = true;
  if (!input.value.trim()) return show_(_("Fill this in."));
  try {
    const session = await post("/session", { token: input.value.trim() });
    input.value = "";
    await enter(async () => session);
  } catch (error) {
    show_(reason(error));
  }
}

async function enrol() {
  const error_ = byId("enrol-error");
  error_.hidden = true;
  const code = byId("device-code").value.trim();
  try {
    const device = await post("/devices/enrol", { name: byId("device-name").value.trim(), ...(code ? { code } : {}) });
    if (device.state === "APPROVED") return location.assign("/");
    wait(device.id);
  } catch (error) {
    error_.textContent = reason(error);
    error_.hidden = false;
  }
}

/** @param {string} id */
function wait(id) {
  open("pending");
  byId("approve-command").textContent = `copytrade devices approve ${id}`;
  const look = async () => {
    const answer = await get("/devices").then(
      () => "APPROVED",
      (error) => error.kind,
    );
    if (answer === "APPROVED") return location.assign("/");
    if (answer === "device_revoked" || answer === "login_required") return location.reload();
    setTimeout(look, LOOK_AGAIN_MS);
  };
  setTimeout(look, LOOK_AGAIN_MS);
}

async function logOut() {
  await remove("/session").catch(() => {});
  location.reload();
}

/** @param {string} name */
function open(name) {
  for (const each of SECTIONS) byId(each).hidden = each !== name;
  byId(name).querySelector("input")?.focus();
}

/** @param {string} text */
function fail(text) {
  byId("waiting").hidden = true;
  byId("entry-error").textContent = text;
  byId("entry-error").hidden = false;
}

function deviceName() {
  const { userAgent } = navigator;
  const browser = /Edg\//.test(userAgent)
    ? "Edge"
    : /Firefox\//.test(userAgent)
      ? "Firefox"
      : /Chrome\//.test(userAgent)
        ? "Chrome"
        : "Safari";
  const system = /Windows/.test(userAgent)
    ? "Windows"
    : /Android/.test(userAgent)
      ? "Android"
      : /iPhone|iPad/.test(userAgent)
        ? "iOS"
        : /Mac OS/.test(userAgent)
          ? "macOS"
          : "Linux";
  return `${browser}, ${system}`;
}

start();
