// @ts-check
// The only `fetch`: proves who asks, names each action once, and turns answers into values or a Problem.
import { accessToken, deviceProof, forgetToken, noteNonce } from "./device.js";
import { parseExact } from "./lib/exact_json.js";
import { Problem } from "./lib/problem.js";

const API = "/api/v1";
const LONGEST_MS = 30_000;
// Calls that make a device known, and so cannot show the token that only a known device has.
const WITHOUT_TOKEN = ["/session", "/devices/enrol", "/devices/token"];
// What a second try with another proof mends.
const PROVE_AGAIN = ["use_dpop_nonce", "device_token_invalid"];
// What only the login page mends.
const SHUT_OUT = [
  "login_required",
  "device_proof_required",
  "device_unknown",
  "device_pending",
  "device_revoked",
  "device_token_invalid",
];

let csrf = "";
let provesDevice = false;
/** @type {(problem: Problem) => Promise<boolean>} shows the dialog that asks for the token again */
let reauthenticate = async () => false;
/** @type {() => void} */
let onLoggedOut = () => location.assign("/login");

/** @param {{reauthenticate?: typeof reauthenticate, onLoggedOut?: typeof onLoggedOut}} handlers */
export function handle(handlers) {
  reauthenticate = handlers.reauthenticate ?? reauthenticate;
  onLoggedOut = handlers.onLoggedOut ?? onLoggedOut;
}

/** @param {any} session the answer of the calls on /session */
export function useSession(session) {
  csrf = session.csrf ?? csrf;
  provesDevice = session.mode === "device_whitelist";
  return session;
}

export const get = (/** @type {string} */ path) => ask("GET", path);
export const post = (/** @type {string} */ path, /** @type {any} */ body) => ask("POST", path, body);
export const put = (/** @type {string} */ path, /** @type {any} */ body) => ask("PUT", path, body);
export const patch = (/** @type {string} */ path, /** @type {any} */ body) => ask("PATCH", path, body);
export const remove = (/** @type {string} */ path) => ask("DELETE", path);

/** A part of the page itself, not of the API. @param {string} path */
export const page = async (path) => (await send(path, {})).json();

/**
 * Return the address from which a file of the API can be saved. A link carries the session but no device's proof:
 * where one is wanted the file is fetched first, and its address is to be revoked.
 * @param {string} path @returns {Promise<string>} @throws {Problem}
 */
export async function fileAddress(path) {
  if (!provesDevice) return API + path;
  // It may take long: it ends when it is there, or the connection does.
  return URL.createObjectURL(await ask("GET", path, undefined, { signal: null, take: file }));
}

/** What an answer carries, all of it. @param {Promise<any>} body */
const whole = (body) =>
  body.catch(() => {
    throw Problem.unreachable();
  });

/** @param {Response} response */
const file = (response) => whole(response.blob());

/** Whether the panel answers at all. */
export async function isThere() {
  try {
    return (await send("/livez", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/**
 * @param {string} method @param {string} path below /api/v1 @param {any} [body]
 * @param {any} [options] of `fetch`, and *take*: what becomes of a good answer
 * @returns {Promise<any>} @throws {Problem}
 */
async function ask(method, path, body, options) {
  // One name for one action of a person: however often it is sent, it is done once.
  let problem = await once(method, path, body, uniqueName(), options);
  if (problem instanceof Problem && problem.kind === "reauthenticate" && (await reauthenticate(problem))) {
    problem = await once(method, path, body, uniqueName(), options);
  }
  if (!(problem instanceof Problem)) return problem;
  if (SHUT_OUT.includes(problem.kind)) onLoggedOut();
  throw problem;
}

/**
 * @param {string} method @param {string} path @param {any} body @param {string} name @param {any} [options]
 * @returns {Promise<any>}
 */
async function once(method, path, body, name, { take = read, ...options } = {}) {
  try {
    let answer;
    for (let tries = 0; tries < 3; tries += 1) {
      const response = await send(API + path, { ...(await request(method, path, body, name)), ...options });
      noteNonce(response);
      answer = await (response.ok ? take : read)(response);
      if (!(answer instanceof Problem) || !PROVE_AGAIN.includes(answer.kind)) break;
      if (answer.kind === "device_token_invalid") forgetToken();
    }
    return answer;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

/** @param {string} method @param {string} path @param {any} body @param {string} name */
async function request(method, path, body, name) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") {
    if (csrf) headers["X-CSRF-Token"] = csrf;
    headers["Idempotency-Key"] = name;
  }
  if (provesDevice) Object.assign(headers, await proof(method, path));
  return { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
}

/** @param {string} method @param {string} path @returns {Promise<Record<string, string>>} */
async function proof(method, path) {
  const url = location.origin + API + path.split("?")[0];
  const token = WITHOUT_TOKEN.includes(path) ? "" : await accessToken(newToken);
  const dpop = await deviceProof(method, url, token);
  return { ...(dpop ? { DPoP: dpop } : {}), ...(token ? { Authorization: `DPoP ${token}` } : {}) };
}

/** Ask for a token by this browser's key; empty where the device is known by its certificate instead. */
async function newToken() {
  const answer = await once("POST", "/devices/token", undefined, uniqueName());
  if (answer instanceof Problem && answer.kind !== "device_unknown") throw answer;
  return answer instanceof Problem ? { access_token: "", expires_in: 0 } : answer;
}

/** @param {string} url @param {any} options */
async function send(url, options) {
  try {
    return await fetch(url, { credentials: "same-origin", signal: AbortSignal.timeout(LONGEST_MS), ...options });
  } catch {
    throw Problem.unreachable();
  }
}

/** @param {Response} response @returns {Promise<any>} a value, or a Problem (returned, not thrown) */
async function read(response) {
  const text = await whole(response.text());
  let value = null;
  try {
    value = text ? parseExact(text) : null;
  } catch {
    return new Problem(response.status, { kind: "unavailable" });
  }
  return response.ok ? value : new Problem(response.status, value);
}

/** Not `crypto.randomUUID`, which a page without TLS does not have. */
function uniqueName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
