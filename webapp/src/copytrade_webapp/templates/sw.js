// Keeps the offline page and static files whose address names their content; never anything of the API.
const KEPT = "copytrade-{{ version }}";
const OFFLINE = "/offline";
const STATIC = "/static/{{ version }}/";
const PARTS = ["css/offline.css", "icons/icon-32.png", "icons/icon-192.png", "js/offline.js", "js/api.js", "js/device.js", "js/lib/exact_json.js", "js/lib/problem.js"];
const FILES = [OFFLINE, ...PARTS.map((part) => STATIC + part)];

addEventListener("install", (event) => event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(FILES))));

addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith("copytrade-") && name !== KEPT;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name)))));
  event.waitUntil(clients.claim());
});

addEventListener("message", (event) => {
  if (event.data === "use-new-version") skipWaiting();
});

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  } else if (new URL(request.url).pathname.startsWith(STATIC)) {
    event.respondWith(caches.match(request).then((kept) => kept ?? fetchAndKeep(request)));
  }
});

async function fetchAndKeep(request) {
  const response = await fetch(request);
  if (response.ok) (await caches.open(KEPT)).put(request, response.clone());
  return response;
}

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(clients.matchAll({ type: "window" }).then(([open]) => (open ? open.focus() : clients.openWindow("/?view=todo"))));
});
