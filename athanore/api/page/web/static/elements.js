// Elements of the page. What people and agents wrote is only ever set as text.

export const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function button(text, className, action) {
  const element = make("button", `button ${className || ""}`.trim(), text);
  element.type = "button";
  element.addEventListener("click", async () => {
    element.disabled = true;
    try {
      await action(element);
    } finally {
      element.disabled = false;
    }
  });
  return element;
}

export function outside(text, url) {
  const link = make("a", "", text);
  link.href = url;
  link.target = "_blank";
  link.rel = "noopener";
  return link;
}

// Has elements stand in a list in this order. What stands right is not touched: moving an element
// takes the focus from it, in the middle of a word, where the browser cannot move it in one step.
export function arrange(list, elements) {
  const wanted = new Set(elements);
  let at = list.firstElementChild;
  for (const element of wanted) {
    while (at && !wanted.has(at)) at = at.nextElementSibling;
    if (element === at) at = at.nextElementSibling;
    else if (list.moveBefore && element.isConnected) list.moveBefore(element, at);
    else list.insertBefore(element, at);
  }
}
