// Small helpers. Text of the run only ever becomes text nodes and attribute values: nothing here parses HTML.

const byId = (id) => document.getElementById(id);

/** An element. Attributes with a function are event listeners; null, undefined and false are left out. */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const number = new Intl.NumberFormat("en");
const count = (value, one, many) => `${number.format(value)} ${value === 1 ? one : many || one + "s"}`;

/** Seconds for people. */
function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.0001) return "0";
  if (value < 1) return `${value < 0.01 ? (value * 1000).toFixed(1) : Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  const whole = Math.round(value);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? `${parts[0]} h ${parts[1]} min` : `${parts[1]} min ${parts[2]} s`;
}

const megabytes = (bytes) => `${number.format(Math.round(bytes / 1048576))} MiB`;

function debounce(work, wait) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
}

/** Quoted for a POSIX shell. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

function copyButton(text) {
  const button = el("button", { type: "button", click: copy }, "Copy");
  function copy() {
    const done = () => (button.textContent = "Copied");
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select);
    else select();
  }
  function select() {
    getSelection().selectAllChildren(button.previousElementSibling);
  }
  return button;
}

/** A list that shows a first part and a button for the next. */
function inParts(items, size, make, parent) {
  let shown = 0;
  const more = el("button", { type: "button", class: "more", click: next });
  parent.append(more);
  function next() {
    const part = items.slice(shown, shown + size).map(make);
    shown += part.length;
    more.before(...part);
    more.dataset.left = `… and ${number.format(items.length - shown)} more`; // on paper nobody can press it
    more.hidden = shown >= items.length;
    more.textContent = `Show ${number.format(Math.min(size, items.length - shown))} more of ${number.format(items.length - shown)}`;
  }
  next();
  return parent;
}
