// @ts-check
// A table of any length: only the rows that are seen exist, so that a thousand live ones scroll smoothly.
import { el, icon } from "../lib/dom.js";
import { visibleRows } from "../lib/window.js";

const SETTLED_MS = 300;

/**
 * @typedef {{key: string, title: string, className?: string, sortable?: boolean}} Column
 * @typedef {{
 *   columns: Column[], label: string, empty: string,
 *   makeRow: () => any, drawRow: (row: any, item: any) => void,
 *   onSort?: (key: string) => void, onOpen?: (item: any) => void,
 * }} Options
 */

export class VirtualTable {
  #options;
  #items = /** @type {any[]} */ ([]);
  /** @type {Map<number, any>} index in the list -> the element that shows it */
  #shown = new Map();
  /** @type {any[]} */
  #spare = [];
  #rowHeight = 0;
  #height = 0;
  #scheduled = false;
  #selected = "";
  #settling = 0;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.head = el(
      "div.grid-head",
      { role: "row" },
      options.columns.map((column) => this.#headCell(column)),
    );
    this.room = el("div.grid-room", { role: "rowgroup" });
    this.empty = el("p.grid-empty", { hidden: true }, options.empty);
    this.scroll = el("div.grid-scroll", { tabIndex: 0 }, this.empty, this.room);
    this.element = el("div.grid", { role: "table", "aria-label": options.label }, this.head, this.scroll);
    this.scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(this.scroll);
    if (options.onOpen) this.#listen(options.onOpen);
  }

  /** @param {any[]} items @param {string} [empty] what to say where there are none */
  show(items, empty) {
    this.#items = items;
    if (empty) this.empty.textContent = empty;
    this.empty.hidden = items.length > 0;
    this.element.setAttribute("aria-rowcount", String(items.length + 1));
    this.room.style.blockSize = `${items.length * this.#rowHeight}px`;
    this.schedule();
  }

  /** @param {string} id */
  select(id) {
    this.#selected = id;
    this.schedule();
  }

  /** @param {string} key @param {boolean} descending */
  markSorted(key, descending) {
    for (const cell of this.head.children) {
      const own = cell.dataset.key === key;
      if (own) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
      const mark = cell.querySelector("i");
      if (mark) mark.className = `bi bi-${own ? (descending ? "caret-down-fill" : "caret-up-fill") : ""}`;
    }
  }

  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #measure() {
    const before = this.#rowHeight;
    this.#rowHeight = parseFloat(getComputedStyle(this.scroll).getPropertyValue("--row")) || 36;
    // Another width has rows of another height: those that are shown stand where the old ones stood.
    if (before !== this.#rowHeight) for (const [index, row] of this.#shown) this.#place(row, index);
    this.#height = this.scroll.clientHeight;
    this.room.style.blockSize = `${this.#items.length * this.#rowHeight}px`;
    this.#draw();
  }

  #draw() {
    if (!this.#rowHeight) return;
    const view = {
      scrollTop: this.scroll.scrollTop,
      height: this.#height,
      rowHeight: this.#rowHeight,
      count: this.#items.length,
    };
    const { first, last } = visibleRows(view);
    for (const [index, row] of this.#shown) {
      if (index >= first && index < last) continue;
      this.#shown.delete(index);
      this.#spare.push(row);
    }
    for (let index = first; index < last; index += 1) this.#drawOne(index);
    // What is left over waits out of sight: to hide it would cost a new layout when it is wanted again.
    for (const row of this.#spare) {
      row.style.transform = "translateY(-1000px)";
      row.inert = true;
    }
  }

  #scrolled() {
    this.#draw();
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#putInOrder(), SETTLED_MS);
  }

  /** Rows are used again wherever they are wanted; who goes through them by keyboard meets them in order. */
  #putInOrder() {
    if (this.room.contains(document.activeElement)) return;
    const inOrder = [...this.#shown].sort(([a], [b]) => a - b).map(([, row]) => row);
    this.room.append(...inOrder);
  }

  /** @param {number} index */
  #drawOne(index) {
    let row = this.#shown.get(index);
    if (!row) {
      row = this.#spare.pop() ?? this.room.appendChild(this.#options.makeRow());
      row.inert = false;
      this.#place(row, index);
      row.setAttribute("aria-rowindex", String(index + 2));
      this.#shown.set(index, row);
    }
    const item = this.#items[index];
    row.item = item;
    if (this.#options.onOpen) row.setAttribute("aria-selected", String(item.id === this.#selected));
    this.#options.drawRow(row, item);
  }

  /** @param {any} row @param {number} index */
  #place(row, index) {
    row.style.transform = `translateY(${index * this.#rowHeight}px)`;
  }

  /** @param {Column} column */
  #headCell({ key, title, className = "", sortable }) {
    const cell = el("div", { role: "columnheader", className, "data-key": key });
    if (sortable) cell.append(el("button", { onclick: () => this.#options.onSort?.(key) }, title, icon("")));
    else cell.append(title);
    return cell;
  }

  /** @param {(item: any) => void} open */
  #listen(open) {
    this.room.addEventListener("click", (/** @type {any} */ event) => {
      const row = event.target.closest(".grid-row");
      if (row && !event.target.closest("button, a")) open(row.item);
    });
    this.room.addEventListener("keydown", (/** @type {any} */ event) => {
      if (!event.target.classList.contains("grid-row")) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[/** @type {"ArrowDown"} */ (event.key)];
      if (event.key === "Enter" || event.key === " ") open(event.target.item);
      else if (step) this.#focus(this.#items.indexOf(event.target.item) + step);
      else return;
      event.preventDefault();
    });
  }

  /** @param {number} index */
  #focus(index) {
    if (index < 0 || index >= this.#items.length) return;
    const top = index * this.#rowHeight;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    if (top + this.#rowHeight > this.scroll.scrollTop + this.#height)
      this.scroll.scrollTop = top + this.#rowHeight - this.#height;
    this.#draw();
    this.#shown.get(index)?.focus();
  }
}
