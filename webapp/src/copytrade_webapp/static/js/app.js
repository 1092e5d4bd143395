// @ts-check
import { get, handle, page, useSession } from "./api.js";
import { mountAccounts } from "./components/accounts.js";
import { openAddAccount } from "./components/account_dialog.js";
import { mountBottom } from "./components/bottom.js";
import { askForToken } from "./components/fresh.js";
import { mountGuide } from "./components/guide.js";
import { mountLeader } from "./components/leader.js";
import { mountStrips } from "./components/strips.js";
import { mountTopbar } from "./components/topbar.js";
import { lang, useCatalogue, useKinds } from "./i18n.js";
import { byId } from "./lib/dom.js";
import { follow } from "./live.js";
import { mountNotifications } from "./notify.js";
import { show } from "./prefs.js";
import { mountPwa } from "./pwa.js";
import { store } from "./store.js";
import { allWords } from "./words.js";

const toLogin = () => location.assign("/login");
const ended = () => location.assign("/login#ended=1");

async function start() {
  show();
  const [catalogue, session] = await Promise.all([page(`/i18n/${lang}.json`), get("/session")]);
  useCatalogue(catalogue);
  if (!session.logged_in) return toLogin();
  useSession(session);
  handle({ reauthenticate: askForToken, onLoggedOut: ended });
  await loadKinds();
  mountTopbar();
  byId("who").textContent = [session.name, session.device?.name].filter(Boolean).join(" · ");
  mountStrips();
  mountLeader();
  mountGuide();
  mountAccounts();
  const tabs = mountBottom();
  mountNotifications(() => tabs.open("todo"));
  store.when(["engine", "snapshot"], loadExchanges);
  openAsked(tabs);
  follow(ended);
  mountPwa().catch((error) => console.info("no service worker:", error.message));
}

/** What a shortcut of the installed app asks for. @param {any} tabs */
function openAsked(tabs) {
  const view = new URLSearchParams(location.search).get("view");
  if (location.search) history.replaceState(null, "", "/");
  if (view === "todo" || view === "events") tabs.open(view);
  if (view === "add") store.addEventListener("exchanges", openAddAccount, { once: true });
}

async function loadKinds() {
  try {
    const { kinds } = await get(`/kinds?lang=${lang}`);
    useKinds(kinds, allWords());
  } catch {
    useKinds({}, allWords()); // the server's own sentences stand
  }
}

/** The plug-ins' forms; they may change with the engine. */
async function loadExchanges() {
  if (!store.engine.connected) return;
  try {
    const { items } = await get("/exchanges");
    if (JSON.stringify(items) === JSON.stringify(store.exchanges)) return;
    store.exchanges = items;
    store.touch("exchanges");
    store.dispatchEvent(new Event("exchanges"));
  } catch (error) {
    console.info("the exchanges are not known:", error);
  }
}

start();
