// @ts-check
// Starting and stopping, from wherever it is asked.
import { _, ngettext } from "../i18n.js";
import { post } from "../api.js";
import { el } from "../lib/dom.js";
import { store } from "../store.js";
import { exchangeName, word } from "../words.js";
import { askOnce } from "./dialog.js";
import { say, sayProblem } from "./toasts.js";

export async function startCopying() {
  const count = { ACTIVE: 0, PAUSED: 0, DISABLED: 0, real: 0 };
  for (const row of store.accounts.values()) {
    count[/** @type {"ACTIVE"} */ (row.state)] += 1;
    if (row.state === "ACTIVE" && row.env === "prod") count.real += 1;
  }
  const { leader } = store.status;
  const { quote, base } = assets();
  const active = count.ACTIVE;
  const name = leader ? `${exchangeName(store.exchanges, leader.exchange)} ${word(leader.env)}` : "";
  const agreed = await askOnce({
    title: ngettext(
      "Start copying: %(num)s follower will trade",
      "Start copying: %(num)s followers will trade",
      active,
    ),
    text: el(
      "div.fields",
      {},
      el(
        "p",
        {},
        _(
          "From now on each follower places every market order of the leader (%(name)s) at once, with the same share of its own free %(quote)s or %(base)s.",
          { name, quote, base },
        ),
      ),
      count.real
        ? el(
            "p.note.warn",
            {},
            ngettext("%(num)s of them trades with real money.", "%(num)s of them trade with real money.", count.real),
          )
        : null,
      count.PAUSED + count.DISABLED
        ? el(
            "p.muted",
            {},
            _("Not taking part: %(paused)s paused, %(disabled)s disabled.", {
              paused: count.PAUSED,
              disabled: count.DISABLED,
            }),
          )
        : null,
      el("p.muted", {}, _("Orders placed before now are not copied.")),
    ),
    button: ngettext("Start copying for %(num)s follower", "Start copying for %(num)s followers", active),
    tone: "good",
  });
  if (!agreed) return;
  try {
    await post("/copy/start", {});
    say({ tone: "good", title: _("Copying has started") });
  } catch (error) {
    sayProblem(error, _("Copying has not started"));
  }
}

export async function stopCopying() {
  try {
    await post("/copy/stop", {});
    say({
      tone: "good",
      title: _("Copying has stopped"),
      text: _("No new order leaves. What was already sent is still followed to its end."),
    });
  } catch (error) {
    sayProblem(error, _("Copying could not be stopped"));
  }
}

export function assets() {
  const { base, quote } = /** @type {any} */ (document.getElementById("app")).dataset;
  return { base, quote };
}
