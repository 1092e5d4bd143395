// @ts-check
// The installed app: its service worker, its updates, and the button that installs it.
import { byId } from "./lib/dom.js";
import { offerUpdate } from "./components/strips.js";
import { store } from "./store.js";

/** @type {any} */
let installPrompt = null;

export async function mountPwa() {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    installPrompt = event;
    byId("install").hidden = false;
  });
  addEventListener("appinstalled", () => (byId("install").hidden = true));
  byId("install").addEventListener("click", () => {
    byId("menu").hidePopover();
    installPrompt?.prompt();
  });
  if (!("serviceWorker" in navigator)) return;
  const registration = await navigator.serviceWorker.register("/sw.js", { updateViaCache: "none" });
  const offer = () =>
    registration.waiting && navigator.serviceWorker.controller && offerUpdate(useNewVersion(registration));
  offer();
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => worker.state === "installed" && offer());
  });
  // The stream ends when the panel is restarted, and with it may come a new version.
  store.addEventListener("change", (event) => {
    if (/** @type {CustomEvent} */ (event).detail.has("stream") && store.stream.open)
      registration.update().catch(() => {});
  });
}

/** @param {ServiceWorkerRegistration} registration */
function useNewVersion(registration) {
  return () => {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
    registration.waiting?.postMessage("use-new-version");
  };
}
