// @ts-check
import { el } from "../lib/dom.js";

/**
 * Tabs as screen readers and keyboards know them. @param {any} list @param {any} panels
 * @param {{id: string, name: string, panel: any, tools?: any}[]} tabs
 */
export function mountTabs(list, panels, tabs) {
  const made = tabs.map(({ id, name, panel, tools }) => {
    const count = el("span.count", { hidden: true });
    const tab = el(
      "button",
      { role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, "aria-selected": "false", tabIndex: -1 },
      name,
      count,
    );
    const own = el("div", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, hidden: true }, panel);
    tab.addEventListener("click", () => open(id));
    return { id, tab, own, count, tools };
  });
  const toolRoom = el("div.tools");
  list.append(...made.map((each) => each.tab), toolRoom);
  panels.append(...made.map((each) => each.own));

  /** @param {string} id */
  function open(id) {
    for (const each of made) {
      const chosen = each.id === id;
      each.tab.setAttribute("aria-selected", String(chosen));
      each.tab.tabIndex = chosen ? 0 : -1;
      each.own.hidden = !chosen;
      if (chosen) toolRoom.replaceChildren(...(each.tools ? [each.tools] : []));
    }
  }
  list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[/** @type {"ArrowRight"} */ (event.key)];
    const at = made.findIndex((each) => each.tab === event.target);
    if (!step || at < 0) return;
    const next = made[(at + step + made.length) % made.length];
    open(next.id);
    next.tab.focus();
  });
  open(tabs[0].id);
  return {
    open,
    /** @param {string} id @param {number} number @param {string} [tone] */
    count: (id, number, tone = "") => {
      const found = made.find((each) => each.id === id);
      if (!found) return;
      found.count.hidden = number === 0;
      found.count.className = `count ${tone}`;
      found.count.textContent = String(number);
    },
  };
}
