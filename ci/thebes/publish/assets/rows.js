// A list of any length: only the rows in sight are in the document. The page itself scrolls.

class Rows {
  constructor(parent, length, make, label) {
    this.length = length;
    this.make = make;
    this.shown = new Map();
    this.box = el("div", { class: "rows", role: "table", "aria-label": label, "aria-rowcount": length });
    parent.append(this.box);
    this.draw = this.draw.bind(this);
    this.fit = this.fit.bind(this);
    addEventListener("scroll", this.draw, { passive: true });
    addEventListener("resize", this.fit);
    this.fit();
  }

  close() {
    removeEventListener("scroll", this.draw);
    removeEventListener("resize", this.fit);
  }

  fit() {
    this.height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 36;
    this.box.style.height = `${this.length * this.height}px`;
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.draw();
  }

  draw() {
    const top = -this.box.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.height) - 10);
    const last = Math.min(this.length, Math.ceil((top + innerHeight) / this.height) + 10);
    for (const [index, row] of this.shown) {
      if (index < first || index >= last) {
        row.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index++) if (!this.shown.has(index)) this.add(index);
  }

  add(index) {
    const row = this.make(index);
    row.setAttribute("aria-rowindex", index + 1);
    row.dataset.index = index;
    row.style.top = `${index * this.height}px`;
    const next = this.shown.get(index + 1);
    if (next) next.before(row);
    else this.box.append(row);
    this.shown.set(index, row);
  }

  /** Move the focus by `step` rows, scrolling as needed. */
  move(step) {
    const current = document.activeElement.closest?.(".row");
    const index = current ? Math.min(this.length - 1, Math.max(0, Number(current.dataset.index) + step)) : 0;
    const top = this.box.getBoundingClientRect().top + index * this.height;
    if (top < 0 || top + this.height > innerHeight) scrollBy(0, top - innerHeight / 2);
    this.draw();
    this.shown.get(index)?.focus({ preventScroll: true });
  }
}
