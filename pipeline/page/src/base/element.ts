// Makes and updates elements. Text only ever goes in as text: names of files are not to be trusted.

type Child = Node | string | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: never) => void);

function fill(node: Element, attributes: Record<string, Value>, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') node.addEventListener(name.replace(/^on/, ''), value as EventListener);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) node.append(child);
}

/** An HTML element. `tag` may carry classes: `p.hint.small`. Functions become listeners. */
export function el<T extends keyof HTMLElementTagNameMap>(tag: T | `${T}.${string}`, attributes: Record<string, Value> = {}, ...children: Child[]): HTMLElementTagNameMap[T] {
  const [name, ...classes] = tag.split('.');
  const node = document.createElement(name as T);
  if (classes.length > 0) node.className = classes.join(' ');
  fill(node, attributes, children);
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg<T extends keyof SVGElementTagNameMap>(tag: T, attributes: Record<string, Value> = {}, ...children: Child[]): SVGElementTagNameMap[T] {
  const node = document.createElementNS(SVG, tag) as SVGElementTagNameMap[T];
  fill(node, attributes, children);
  return node;
}

/** Says a text only when it differs, so that screen readers and the layout are left alone otherwise. */
export function say(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function mark(node: Element, name: string, value: string | null): void {
  if (node.getAttribute(name) === value) return;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** Keeps the children of a node in step with a list: one child a key, updated in place, moved only where needed. */
export class Keyed<Item> {
  private readonly shown = new Map<string, { node: HTMLElement; update: (item: Item) => void }>();

  constructor(
    private readonly parent: HTMLElement,
    private readonly keyOf: (item: Item) => string,
    private readonly make: (item: Item) => { node: HTMLElement; update: (item: Item) => void },
  ) {}

  get size(): number {
    return this.shown.size;
  }

  show(items: readonly Item[]): void {
    const wanted = new Set(items.map(this.keyOf));
    for (const [key, row] of this.shown) {
      if (wanted.has(key)) continue;
      row.node.remove();
      this.shown.delete(key);
    }
    let place: ChildNode | null = this.parent.firstChild;
    for (const item of items) {
      const key = this.keyOf(item);
      let row = this.shown.get(key);
      if (!row) {
        row = this.make(item);
        this.shown.set(key, row);
      }
      row.update(item);
      if (row.node === place) place = place.nextSibling;
      else this.parent.insertBefore(row.node, place);
    }
  }

  updateOne(item: Item): boolean {
    const row = this.shown.get(this.keyOf(item));
    row?.update(item);
    return row !== undefined;
  }
}

/** A name from outside: isolated, in its own direction, with the whole of it to be read where it is cut. */
export function nameOf(shown: string, whole: string): HTMLElement {
  return el('bdi', { dir: 'auto', class: 'name', title: shown === whole ? null : whole.slice(0, 1_000) }, shown);
}
