// Makes elements of the page and of drawings. Text is only ever set as text, and never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element of the page, with its attributes and children; a string is text. */
export function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Let these be the children, in this order. Those that stay are not moved, so that they keep the focus. */
export function arrange(parent, wanted) {
  const staying = new Set(wanted);
  for (const child of [...parent.children]) {
    if (!staying.has(child)) child.remove();
  }
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

/** Set the text of an element of the page, only where it is another one: a screen reader hears of changes. */
export function say(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}
