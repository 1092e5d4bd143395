// @ts-check
// Beside each form for a key: where it is made, what to tick, and what never to tick.
import { _ } from "../i18n.js";
import { el, icon } from "../lib/dom.js";
import { keyPage } from "../lib/key_pages.js";
import { exchangeName, word } from "../words.js";

/** @param {any} exchange @param {string} env @param {boolean} leads */
export function keyHelp(exchange, env, leads) {
  const address = keyPage(exchange.id, env);
  const name = exchangeName([exchange], exchange.id);
  const tick = (/** @type {string} */ text) =>
    el("li", {}, el("i.bi.bi-check-square-fill.good", { "aria-hidden": "true" }), el("span", {}, text));
  const never = (/** @type {string} */ text) =>
    el("li", {}, el("i.bi.bi-x-square-fill.bad", { "aria-hidden": "true" }), el("span", {}, text));
  return el(
    "aside.help",
    {},
    el("h3", {}, _("Where the key is made")),
    address
      ? el(
          "p",
          {},
          el(
            "a",
            { href: address, target: "_blank", rel: "noopener noreferrer" },
            `${name} · ${word(env)} `,
            icon("box-arrow-up-right"),
          ),
        )
      : el("p", {}, _("In the API management of %(name)s.", { name })),
    ...where(exchange.id, env),
    el("h3", {}, _("Tick")),
    el(
      "ul",
      {},
      tick(_("Reading")),
      leads ? null : tick(_("Spot trading")),
      env === "prod" ? tick(_("Only from this server's IP address")) : null,
    ),
    el("h3", {}, _("Never tick")),
    el(
      "ul",
      {},
      never(_("Withdrawal")),
      never(_("Transfer")),
      leads ? never(_("Trading: the leader is only listened to")) : never(_("Futures, margin or loans")),
    ),
  );
}

/** @param {string} exchange @param {string} env @returns {any[]} */
function where(exchange, env) {
  /** @type {Record<string, string>} */
  const known = {
    "binance prod": _("Profile, API Management, Create API, System generated."),
    "binance test": _(
      "Log in with GitHub, then Generate HMAC-SHA-256 Key. Test money; everything is reset once a month.",
    ),
    "binance demo": _("Log in to Demo Trading, then API Management. A key of the real account does not work here."),
    "bitget prod": _("Profile, API Keys, Create API key. The passphrase is the one you choose there."),
    "bitget demo": _(
      "Switch to Demo trading first, then Profile, API Keys, Create demo API key. The passphrase is the one you choose there.",
    ),
  };
  const says = known[`${exchange} ${env}`];
  return says ? [el("p.muted", {}, says)] : [];
}
