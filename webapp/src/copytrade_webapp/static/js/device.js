// @ts-check
// This browser as a device: a key that never leaves it, and proofs of possession for each call (RFC 9449).

const DATABASE = "copytrade-device";
const STORE = "keys";
const RENEW_BEFORE_MS = 30_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };

let nonce = "";
/** @type {{token: string, until: number} | null} */
let held = null;
/** @type {Promise<string> | null} */
let renewing = null;

export const canBeADevice = () => Boolean(globalThis.crypto?.subtle && globalThis.indexedDB);

/** Forget the token: it belongs to a session that has ended. */
export function forgetToken() {
  held = null;
}

/** Keep the nonce that the server wants in the next proof. @param {Response} response */
export function noteNonce(response) {
  nonce = response.headers.get("DPoP-Nonce") ?? nonce;
}

/**
 * Return a token that is good for a while yet. @param {() => Promise<{access_token: string, expires_in: number}>} renew
 * @returns {Promise<string>}
 */
export async function accessToken(renew) {
  if (held && Date.now() < held.until - RENEW_BEFORE_MS) return held.token;
  renewing ??= renew()
    .then((answer) => {
      held = { token: answer.access_token, until: Date.now() + Number(answer.expires_in) * 1000 };
      return held.token;
    })
    .finally(() => {
      renewing = null;
    });
  return renewing;
}

/**
 * Prove that this browser holds its key, for one call. @param {string} method @param {string} url @param {string} token
 * @returns {Promise<string>} empty where the browser cannot have a key (a page without TLS)
 */
export async function deviceProof(method, url, token) {
  if (!canBeADevice()) return "";
  const keys = await deviceKeys();
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", keys.publicKey);
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } };
  const claims = {
    jti: base64url(crypto.getRandomValues(new Uint8Array(16))),
    htm: method,
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ...(nonce ? { nonce } : {}),
    ...(token ? { ath: base64url(await sha256(token)) } : {}),
  };
  const signed = `${base64url(text(JSON.stringify(header)))}.${base64url(text(JSON.stringify(claims)))}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, keys.privateKey, text(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** The short name under which an administrator finds this browser's key. @returns {Promise<string>} */
export async function thumbprint() {
  const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", (await deviceKeys()).publicKey);
  return base64url(await sha256(JSON.stringify({ crv, kty, x, y })));
}

/** @type {Promise<CryptoKeyPair> | null} */
let opening = null;

/** Return this browser's keys, made at first use. The private one cannot be read, not even by this page. */
function deviceKeys() {
  opening ??= open();
  return opening;
}

/** @returns {Promise<CryptoKeyPair>} */
async function open() {
  const database = await done(indexedDB.open(DATABASE, 1), (request) => request.result.createObjectStore(STORE));
  const kept = await done(database.transaction(STORE).objectStore(STORE).get("device"));
  if (kept) return kept;
  const keys = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
  await done(database.transaction(STORE, "readwrite").objectStore(STORE).put(keys, "device"));
  await navigator.storage?.persist?.();
  return keys;
}

/**
 * @param {any} request @param {(request: any) => void} [onUpgrade]
 * @returns {Promise<any>}
 */
function done(request, onUpgrade) {
  return new Promise((resolve, reject) => {
    if (onUpgrade) request.onupgradeneeded = () => onUpgrade(request);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const text = (/** @type {string} */ value) => new TextEncoder().encode(value);
const sha256 = async (/** @type {string} */ value) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", text(value)));

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
