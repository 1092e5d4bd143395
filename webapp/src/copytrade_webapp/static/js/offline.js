// @ts-check
import { isThere } from "./api.js";

const EVERY_MS = 4000;

async function look() {
  if (await isThere()) location.replace(location.pathname === "/offline" ? "/" : location.href);
}

document.getElementById("retry")?.addEventListener("click", look);
addEventListener("online", look);
setInterval(look, EVERY_MS);
