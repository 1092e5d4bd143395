// @ts-check
import { _, format } from "../i18n.js";
import { busyWhile, byId, el, fillWith, icon } from "../lib/dom.js";
import { store } from "../store.js";
import { startCopying, stopCopying } from "./copying.js";
import { buildMenu } from "./menu.js";
import { prefer, preference } from "../prefs.js";

const THEMES = ["auto", "light", "dark"];

export function mountTopbar() {
  const button = byId("run-button");
  button.addEventListener("click", () => busyWhile(button, store.status?.running ? stopCopying : startCopying));
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(preference("theme")) + 1) % THEMES.length];
    prefer("theme", next);
    drawTheme();
  });
  drawTheme();
  buildMenu(byId("menu"));
  store.when(["status", "engine", "stream", "snapshot", "accounts"], draw);
}

function drawTheme() {
  const theme = preference("theme");
  const names = { auto: _("Light or dark: as the system"), light: _("Light"), dark: _("Dark") };
  const name = names[/** @type {"auto"} */ (theme)];
  const button = byId("theme");
  button.title = name;
  button.setAttribute("aria-label", name);
  fillWith(button, icon({ auto: "circle-half", light: "sun", dark: "moon-stars" }[theme] ?? "circle-half"));
}

function draw() {
  const { status, engine, stream } = store;
  const known = status && engine.connected && stream.open;
  const running = Boolean(status?.running); // as last known: the button keeps its word
  const halted = Boolean(known && status.halted);
  const state = byId("run-state");
  state.className = `state ${!known ? "muted" : halted ? "bad" : running ? "good" : "warn"}`;
  const since = known && running && !halted && status.copying_since;
  const word = !known ? _("Unknown") : halted ? _("Halted") : running ? _("Running") : _("Stopped");
  if (state.dataset.shown !== word + since) {
    state.dataset.shown = word + since;
    fillWith(
      state,
      el("span.dot"),
      el("span", {}, word),
      since ? el("span.since", {}, _("since %(time)s", { time: format.moment(since) })) : null,
    );
  }
  const button = byId("run-button");
  if (!button.classList.contains("busy")) {
    const ready = running || (status?.leader && store.accounts.size > 0);
    button.disabled = !known || !ready;
    button.title = known && !ready ? _("Set the leader and add a follower first.") : "";
    button.className = `btn ${running ? "btn-line" : "btn-good"}`;
    const label = running ? _("Stop copying") : _("Start copying");
    if (button.dataset.shown !== label) {
      button.dataset.shown = label;
      fillWith(button, icon(running ? "stop-fill" : "play-fill"), label);
    }
  }
  drawHealth();
}

function drawHealth() {
  const { status, engine, stream } = store;
  const leader = status?.leader;
  const chips = [
    ["window", _("Live figures"), stream.open, stream.since],
    ["cpu", _("Engine"), stream.open ? engine.connected : null, engine.since],
    [
      "broadcast",
      _("Leader"),
      stream.open && engine.connected ? (leader ? leader.connected : undefined) : null,
      leader?.gap_since,
    ],
  ];
  const health = byId("health");
  const key = JSON.stringify(chips);
  if (health.dataset.shown === key) return;
  health.dataset.shown = key;
  fillWith(
    health,
    chips.map(([symbol, name, good, since]) => {
      const tone = good === true ? "good" : good === false ? "bad" : "";
      const says =
        good === true
          ? _("connected")
          : good === false
            ? _("not connected")
            : good === undefined
              ? _("not set")
              : _("unknown");
      const title =
        good === false && since
          ? _("%(name)s: not connected since %(time)s", { name, time: format.full(since) })
          : `${name}${_(": ")}${says}`;
      return el(
        `span.pill${tone ? `.${tone}` : ""}`,
        { title },
        icon(String(symbol)),
        el("span.word", {}, name),
        el("span.visually-hidden", {}, says),
      );
    }),
  );
}

/** @param {number} count @param {() => void} open */
export function showTodo(count, open) {
  const button = byId("todo-button");
  button.hidden = count === 0;
  button.onclick = open;
  if (button.dataset.shown === String(count)) return;
  button.dataset.shown = String(count);
  const number = el("span.count.bad", {}, format.count(count));
  fillWith(button, icon("person-exclamation"), _("Needs you"), number);
}
