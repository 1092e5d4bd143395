// @ts-check
import { _, remedy, sentence } from "../i18n.js";
import { get, patch, post, remove } from "../api.js";
import { busyWhile, el } from "../lib/dom.js";
import { Problem } from "../lib/problem.js";
import { store } from "../store.js";
import { exchangeName, word } from "../words.js";
import { askOnce, openDialog } from "./dialog.js";
import { keyForm } from "./key_form.js";
import { say, sayProblem } from "./toasts.js";

export function openAddAccount() {
  open({
    title: _("Add a follower"),
    button: _("Add and verify"),
    form: { named: true },
    send: async ({ name, exchange, env, credentials }) =>
      (await post("/accounts", { name, exchange, env, ...credentials })).account,
    done: added,
  });
}

/** @param {any} account @param {any} [note] shown above the form */
export function openEditAccount(account, note) {
  open({
    title: _("Change %(name)s", { name: account.name }),
    button: _("Save"),
    form: {
      named: true,
      name: account.name,
      exchange: account.exchange,
      env: account.env,
      fixed: true,
      hint: _("replaced all together, or leave all empty to keep them"),
      note,
    },
    send: async ({ name, credentials }) => {
      const given = Object.keys(credentials).length ? { credentials } : {};
      const changed = name === account.name ? {} : { name };
      return patch(`/accounts/${account.id}`, { version: account.version, ...changed, ...given });
    },
    done: (changed, { credentials }) => {
      if (Object.keys(credentials).length) added(changed);
      else say({ tone: "good", title: _("Saved") });
    },
    onConflict: async () => openEditAccount(await get(`/accounts/${account.id}`), conflictNote()),
  });
}

/** @param {any} account */
export async function deleteAccount(account) {
  const agreed = await askOnce({
    title: _("Delete %(name)s?", { name: account.name }),
    text: el(
      "div.fields",
      {},
      el(
        "p",
        {},
        _(
          "%(exchange)s, %(env)s. It no longer follows, and its key is removed from this system. Nothing changes at the exchange.",
          { exchange: exchangeName(store.exchanges, account.exchange), env: word(account.env) },
        ),
      ),
      el(
        "p.muted",
        {},
        _("What it has copied stays in the history. Copies that are under way are still followed to their end."),
      ),
    ),
    button: _("Delete %(name)s", { name: account.name }),
    tone: "bad",
  });
  if (!agreed) return;
  try {
    await remove(`/accounts/${account.id}`);
    store.dropAccount(account.id);
    say({ tone: "good", title: _("%(name)s was deleted", { name: account.name }) });
  } catch (error) {
    sayProblem(error, _("%(name)s was not deleted", { name: account.name }));
  }
}

/** @param {any} account */
function added(account) {
  if (account.state !== "DISABLED") {
    say({
      tone: "good",
      title: _("%(name)s is ready", { name: account.name }),
      text: _("The exchange has accepted its key."),
    });
    return;
  }
  // The key can be put right at once, while it is still in the person's clipboard.
  openEditAccount(
    account,
    el(
      "div.note.bad",
      { role: "alert" },
      el(
        "p",
        {},
        _("Saved, but it cannot trade: %(reason)s", {
          reason: sentence(account.error_kind, { reason: account.error }),
        }),
      ),
      el("p.muted", {}, remedy(account.error_kind)),
    ),
  );
}

function conflictNote() {
  return el("p.note.warn", {}, _("Somebody changed this account a moment ago. Here is how it is now."));
}

/**
 * @param {{title: string, button: string, form: any, send: (values: any) => Promise<any>,
 *   done: (account: any, values: any) => void, onConflict?: () => Promise<void>}} wish
 */
function open({ title, button, form: own, send, done, onConflict }) {
  if (!store.exchanges.length)
    return say({
      tone: "warn",
      title: _("No exchange is installed"),
      text: _("The engine has to run, with at least one exchange's plug-in."),
    });
  const submit = () =>
    form.isComplete() &&
    busyWhile(save, async () => {
      const values = form.values();
      try {
        const account = await send(values);
        form.clear();
        store.putAccount(account);
        dialog.close();
        done(account, values);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (error.status === 409 && error.kind === "conflict" && onConflict) {
          dialog.close();
          return onConflict();
        }
        form.showProblem(error);
      }
    });
  const form = keyForm({ exchanges: store.exchanges, onSubmit: submit, ...own });
  const save = el("button.btn.btn-primary", { onclick: submit, id: "save-account" }, button);
  const dialog = openDialog({
    title,
    size: "wide",
    body: el("div.sheet-body", {}, form.element),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), save],
  });
}
