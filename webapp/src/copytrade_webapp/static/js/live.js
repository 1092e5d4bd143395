// @ts-check
// The only WebSocket: keeps the store up to date, and begins anew with a snapshot whenever something was missed.
import { post } from "./api.js";
import { delayMs } from "./lib/backoff.js";
import { Problem } from "./lib/problem.js";
import { store } from "./store.js";

const REVOKED = 4401;
const RESTARTING = 1012;
const SILENT_MS = 75_000; // more than two heartbeats

let attempt = 0;
let ended = false;
/** @type {WebSocket | null} */
let socket = null;

/** Follow the engine for as long as the page lives. @param {() => void} onRevoked */
export async function follow(onRevoked) {
  while (!ended) {
    const code = await connectOnce();
    store.setStream(false);
    if (code === REVOKED) return onRevoked();
    await pause(code === RESTARTING ? Math.min(1000, delayMs(attempt)) : delayMs(attempt));
    attempt += 1;
  }
}

/** Let go, for good. */
export function leave() {
  ended = true;
  socket?.close();
}

/** @returns {Promise<number>} the code with which the stream was closed */
async function connectOnce() {
  let ticket = "";
  try {
    ({ ticket } = await post("/stream/ticket", {}));
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return REVOKED;
    return 0;
  }
  return new Promise((resolve) => {
    const url = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/v1/stream`;
    const opened = new WebSocket(url, ["ct.v1", `ticket.${ticket}`]);
    socket = opened;
    let last = 0;
    let silence = setTimeout(() => opened.close(), SILENT_MS);
    opened.onmessage = ({ data }) => {
      clearTimeout(silence);
      silence = setTimeout(() => opened.close(), SILENT_MS);
      const message = JSON.parse(data);
      if (message.type !== "beat" && message.seq !== last + 1) return opened.close(4000, "missed some");
      last = message.seq;
      attempt = 0;
      store.setStream(true);
      store.take(message);
    };
    opened.onclose = ({ code }) => {
      clearTimeout(silence);
      resolve(code);
    };
  });
}

/** Wait, but not while the browser says that the network is back. @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener("online", over);
      resolve(undefined);
    };
    const timer = setTimeout(over, ms);
    addEventListener("online", over);
  });
}
