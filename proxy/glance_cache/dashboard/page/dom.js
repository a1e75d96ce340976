/**
 * Elements, made and kept. Text is always text: nothing here reads markup.
 */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/**
 * Make an element.
 *
 * @param {string} tag Its name.
 * @param {object} facts `class`, attributes by their names, and listeners as `onclick`.
 * @param {...(Node|string|null)} children What is in it.
 */
export function make(tag, facts = {}, ...children) {
  return furnish(document.createElement(tag), facts, children);
}

/** Make an element of a drawing. */
export function draw(tag, facts = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), facts, children);
}

function furnish(element, facts, children) {
  for (const [name, value] of Object.entries(facts)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text, unless it is that already: who reads along hears of changes only. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide an element. */
export function show(element, wanted) {
  if (element.hidden === wanted) element.hidden = !wanted;
}

/** Set an attribute where it is another one; `null` removes it. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * A list on the page that is kept like one in memory. What stays is changed and not made anew, so that the keyboard's
 * place in it is not lost.
 */
export class Rows {
  /**
   * @param {Element} parent Whose children they are.
   * @param {(item: object) => {element: Element, update: (item: object) => void}} create Makes a row for a new item.
   */
  constructor(parent, create) {
    this.parent = parent;
    this.create = create;
    this.rows = new Map();
  }

  /**
   * Show these, in this order.
   *
   * @param {Array<[string, object]>} items By keys that stay.
   */
  update(items) {
    const focused = document.activeElement;
    const wanted = new Set(items.map(([key]) => key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
      const hadFocus = row.element.contains(focused);
      row.element.remove();
      this.rows.delete(key);
      // Whoever stood here goes on beside it, and not at the top of the page.
      if (hadFocus) (next?.querySelector("button") ?? byId("main")).focus({ preventScroll: true });
    }
    let place = this.parent.firstElementChild;
    for (const [key, item] of items) {
      let row = this.rows.get(key);
      if (row === undefined) {
        row = this.create(item);
        this.rows.set(key, row);
      }
      row.update(item);
      if (row.element === place) place = place.nextElementSibling;
      else this.parent.insertBefore(row.element, place);
    }
    if (focused?.isConnected && document.activeElement !== focused && this.parent.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }
}
