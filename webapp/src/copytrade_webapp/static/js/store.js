// @ts-check
// What the page knows of the engine, kept up to date by the live stream; elements ask to be told what changed.
import { compareIds } from "./lib/undecided.js";

const EVENTS_KEPT = 50;
const FEED_KEPT = 200;

class Store extends EventTarget {
  /** @type {Map<string, any>} */
  accounts = new Map();
  /** @type {any[]} newest first */
  events = [];
  /** @type {any[]} */
  undecided = [];
  /** @type {any[]} newest first */
  feed = [];
  /** @type {any} */
  status = null;
  engine = { connected: false, since: "" };
  /** @type {{open: boolean, since: string, retrying: boolean}} */
  stream = { open: false, since: new Date().toISOString(), retrying: false };
  /** @type {any[]} what the plug-ins say about their exchanges */
  exchanges = [];
  isLoaded = false;
  /** @type {Set<string>} accounts of before the snapshot that it has not named yet */
  unconfirmed = new Set();
  /** @type {any[] | null} a snapshot's leader orders, until all its parts are there */
  arriving = null;
  #changed = new Set();
  #scheduled = false;

  /** Call *draw* once a frame at most, and only when one of *names* changed. @param {string[]} names @param {() => void} draw */
  when(names, draw) {
    this.addEventListener("change", (event) => {
      const changed = /** @type {CustomEvent} */ (event).detail;
      if (names.some((name) => changed.has(name))) draw();
    });
    if (this.isLoaded) draw();
  }

  /** @param {...string} names */
  touch(...names) {
    for (const name of names) this.#changed.add(name);
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A hidden page draws no frames, but its badge and notifications go on.
    const soon = document.hidden ? (/** @type {() => void} */ f) => setTimeout(f, 250) : requestAnimationFrame;
    soon(() => {
      this.#scheduled = false;
      const changed = this.#changed;
      this.#changed = new Set();
      this.dispatchEvent(new CustomEvent("change", { detail: changed }));
    });
  }

  /** @param {any} message one of the live stream */
  take(message) {
    const handler = HANDLERS[message.type];
    if (handler) handler(this, message);
  }

  /** @param {boolean} open */
  setStream(open) {
    if (open === this.stream.open && this.stream.retrying === !open) return;
    this.stream = { open, since: new Date().toISOString(), retrying: !open };
    this.touch("stream");
  }

  /** @param {any} account as a call answered it, sooner than the stream tells */
  putAccount(account) {
    this.accounts.set(account.id, { ...account, arrived: performance.now() });
    this.touch("accounts");
  }

  /** @param {string} id */
  dropAccount(id) {
    this.accounts.delete(id);
    this.touch("accounts");
  }

  /** @param {any} event */
  putEvent(event) {
    const { copies: _rows, ...summary } = event;
    this.events = [summary, ...this.events.filter((each) => each.id !== event.id)]
      .sort((a, b) => compareIds(b.id, a.id))
      .slice(0, EVENTS_KEPT);
    this.touch("events");
  }

  /** Whether what is shown is how it is now. */
  get isLive() {
    return this.stream.open && this.engine.connected;
  }

  /** How old a figure is now. @param {any} row @param {string} asset @returns {number | null} seconds */
  ageSec(row, asset) {
    const age = row[`free${asset}_age_sec`];
    return age == null ? null : Number(age) + (performance.now() - row.arrived) / 1000;
  }
}

/** @type {Record<string, (store: Store, message: any) => void>} */
const HANDLERS = {
  snapshot(store, message) {
    // The long lists follow in parts; until then what was there stands, so that nothing flickers.
    store.unconfirmed = new Set(store.accounts.keys());
    store.engine = message.engine;
    store.status = message.status;
    store.arriving = message.status ? [] : null;
    store.isLoaded = true;
    store.touch("snapshot", "status", "engine");
  },
  accounts(store, message) {
    const arrived = performance.now();
    for (const row of message.accounts) {
      store.accounts.set(row.id, { ...row, arrived });
      store.unconfirmed.delete(row.id);
    }
    store.touch("accounts");
  },
  removed(store, message) {
    for (const id of message.ids) store.accounts.delete(id);
    store.touch("accounts");
  },
  events(store, message) {
    if (store.arriving) store.arriving.push(...message.events);
    else for (const event of message.events) store.putEvent(event);
  },
  undecided(store, message) {
    // The panel has not heard the engine yet: its empty lists say nothing.
    if (!store.status) return;
    // In a snapshot this comes after all accounts and leader orders: what was not among them is gone.
    for (const id of store.unconfirmed) store.dropAccount(id);
    store.unconfirmed.clear();
    if (store.arriving) {
      store.events = [];
      for (const event of store.arriving) store.putEvent(event);
      store.arriving = null;
      store.touch("events");
    }
    store.undecided = message.undecided;
    store.touch("undecided");
  },
  feed(store, message) {
    // Numbers only rise for as long as a journal lives; another one's, from a backup say, begins lower.
    const times = new Map(store.feed.map((entry) => [entry.seq, entry.t]));
    const newest = store.feed[0]?.seq ?? 0;
    const isOfAnother = message.feed.some((/** @type {any} */ entry) =>
      times.has(entry.seq) ? times.get(entry.seq) !== entry.t : entry.seq < newest,
    );
    if (isOfAnother) store.feed = [];
    const fresh = message.feed.filter((/** @type {any} */ entry) => !store.feed.some((each) => each.seq === entry.seq));
    store.feed = [...fresh.reverse(), ...store.feed].slice(0, FEED_KEPT);
    store.touch("feed");
  },
  status(store, message) {
    store.status = message.status;
    store.touch("status");
  },
  engine(store, message) {
    store.engine = message.engine;
    store.touch("engine");
  },
};

export const store = new Store();
