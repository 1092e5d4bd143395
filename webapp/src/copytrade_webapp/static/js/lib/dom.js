// @ts-check

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element; text goes in as text, never as markup.
 * @param {string} tag with its classes: "button.btn.btn-line"
 * @param {Record<string, any>} [properties] `onclick`, `hidden` ... as properties; names with a dash as attributes
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  if (name === "button") element.setAttribute("type", "button");
  for (const [key, value] of Object.entries(properties)) {
    if (value == null) continue;
    if (key.includes("-") || key === "role" || key === "for" || key === "list")
      element.setAttribute(key, String(value));
    else /** @type {any} */ (element)[key] = value;
  }
  element.append(...present(children));
  return element;
}

/** Put new children in the place of the old. @param {Element} element @param {...(Child | Child[])} children */
export function fillWith(element, ...children) {
  element.replaceChildren(...present(children));
}

/** @param {string} name of Bootstrap Icons */
export function icon(name) {
  return el(`i.bi.bi-${name}`, { "aria-hidden": "true" });
}

/** Change a text only where it differs: a screen reader need not hear it again. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}

/** Show that a button works on it, and keep it from being pressed again. @param {any} button @param {() => Promise<any>} work */
export async function busyWhile(button, work) {
  if (button.disabled) return;
  button.disabled = true;
  button.classList.add("busy");
  try {
    await work();
  } finally {
    button.disabled = false;
    button.classList.remove("busy");
  }
}

/** @param {(Child | Child[])[]} children */
function present(children) {
  return children
    .flat()
    .filter((child) => child != null && child !== false)
    .map((child) => (typeof child === "number" ? String(child) : child));
}
