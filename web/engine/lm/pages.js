/**
 * The pages of a KV cache: who holds which, and which prefixes are kept for the next prompt. Pure bookkeeping, runs anywhere.
 * A page is in exactly one place: free, owned by one lease, or a node of a radix tree over (key, token ids), which leases share and nobody
 * writes. Only a node that no lease holds is ever evicted, leaves first, the one used longest ago before the others.
 */

/**
 * One page of the tree: the tokens whose keys and values it holds, after those of its parents. A page that is not full is a leaf: it is
 * copied, never shared.
 */
class Node {
  leases = 0;
  used = 0;
  /** @type {Map<string, Node>} by their tokens */ children = new Map();

  /** @param {Node | null} parent @param {number[]} tokens @param {number} page */
  constructor(parent, tokens, page) {
    this.parent = parent;
    this.tokens = tokens;
    this.page = page;
  }
}

const nameOf = (/** @type {number[]} */ tokens) => tokens.join(" ");

export class Pages {
  /** @type {number[]} pages that hold nothing */ free;
  /** @type {Set<Node>} */ nodes = new Set();
  /** @type {Set<Lease>} */ leases = new Set();
  /** @type {Map<string, Node>} key → root, which has no page */ #roots = new Map();
  #clock = 0;

  /**
   * @param {{pages: number, page: number, copy: (from: number, to: number) => void}} options `pages` in all, `page` tokens in each; `copy`
   *   copies all layers of one page to another
   */
  constructor({ pages, page, copy }) {
    this.total = pages;
    this.page = page;
    this.copy = copy;
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /**
   * A lease over the longest kept prefix of `tokens`, never all of them: the last must be run for its logits. Whole pages are shared;
   * what goes on inside a page is copied.
   * @param {string} key what the numbers depend on beside the tokens: weights and adapters @param {number[]} tokens
   */
  open(key, tokens) {
    const lease = new Lease(this, this.#root(key));
    const most = tokens.length - 1;
    for (let node; (node = this.#next(lease, tokens, most)); ) lease.share(node);
    this.#copyPart(lease, tokens.slice(lease.length, most));
    this.leases.add(lease);
    return lease;
  }

  /** @param {string} key */
  #root(key) {
    const known = this.#roots.get(key);
    if (known) return known;
    this.#dropRoots(); // every adapter and scale makes one
    const root = new Node(null, [], -1);
    this.#roots.set(key, root);
    return root;
  }

  /** Roots that nothing hangs on. */
  #dropRoots() {
    for (const [key, root] of this.#roots) if (!root.children.size && ![...this.leases].some((lease) => lease.root === root)) this.#roots.delete(key);
  }

  /** How many keys something is kept or held under. */
  get keys() { return this.#roots.size; }

  /** @param {Lease} lease @param {number[]} tokens @param {number} most */
  #next({ tip, length }, tokens, most) {
    return length + this.page > most ? undefined : tip.children.get(nameOf(tokens.slice(length, length + this.page)));
  }

  /** @param {Lease} lease @param {number[]} rest */
  #copyPart(lease, rest) {
    const [count, source] = longest(lease.tip, rest);
    if (!count || !source) return;
    source.leases++; // it must outlive the search for a page
    const page = this.take();
    source.leases--;
    if (page === null) return;
    this.copy(source.page, page);
    this.touch(source);
    lease.begin(page, rest.slice(0, count));
  }

  /** A page to write in: a free one, else the kept one used longest ago. Null when live leases hold all. */
  take() {
    if (!this.free.length) this.#evict();
    return this.free.pop() ?? null;
  }

  #evict() {
    /** @type {Node | null} */ let oldest = null;
    for (const node of this.nodes) {
      if (!node.leases && !node.children.size && (!oldest || node.used < oldest.used)) oldest = node;
    }
    if (oldest) this.#remove(oldest);
  }

  /** @param {Node} node */
  #remove(node) {
    node.parent?.children.delete(nameOf(node.tokens));
    this.nodes.delete(node);
    this.free.push(node.page);
  }

  /** @param {Node} node */
  touch(node) {
    node.used = ++this.#clock;
  }

  /**
   * Puts a written page into the tree. When the same tokens are there already, computed by somebody else, that page is kept and this one freed.
   * @param {Node} parent @param {number[]} tokens @param {number} page
   */
  publish(parent, tokens, page) {
    const known = parent.children.get(nameOf(tokens));
    if (known) this.free.push(page);
    const node = known ?? new Node(parent, tokens, page);
    parent.children.set(nameOf(tokens), node);
    this.nodes.add(node);
    this.touch(node);
    return node;
  }

  /** The last, partial page of a lease that ends: kept unless a page that is kept says as much; shorter ones that it contains go. */
  publishPart(/** @type {Node} */ parent, /** @type {number[]} */ tokens, /** @type {number} */ page) {
    for (const child of [...parent.children.values()]) {
      if (common(child.tokens, tokens) === tokens.length) return void this.free.push(page);
      if (child.tokens.length < this.page && common(child.tokens, tokens) === child.tokens.length) this.#remove(child);
    }
    this.publish(parent, tokens, page);
  }

  /** Pages that can be had: free ones and those that nobody holds. */
  get available() {
    return this.free.length + [...this.nodes].filter((node) => !node.leases).length;
  }

  /** Drops all that is kept and not in use. */
  clear() {
    for (let before = -1; before !== this.nodes.size; ) {
      before = this.nodes.size;
      for (const node of [...this.nodes]) if (!node.leases && !node.children.size) this.#remove(node);
    }
    this.#dropRoots();
  }

  /** `used`: hold something; `shared`: read by more than one request now. */
  get figures() {
    return { total: this.total, used: this.total - this.free.length, shared: [...this.nodes].filter((node) => node.leases > 1).length };
  }
}

/** What one request holds: shared pages first, then its own. It ends with `close`. */
export class Lease {
  /** @type {Node[]} */ #shared = [];
  /** @type {number[]} tokens computed in own pages */ #part = [];
  /** @type {number[]} page numbers in the order of positions */ pages = [];

  /** @param {Pages} owner @param {Node} root */
  constructor(owner, root) {
    this.owner = owner;
    this.root = root;
  }

  /** Tokens whose keys and values are there. */
  get length() { return this.#shared.length * this.owner.page + this.#part.length; }

  get tip() { return this.#shared.at(-1) ?? this.root; }

  /** @param {Node} node */
  share(node) {
    node.leases++;
    this.owner.touch(node);
    this.pages[this.#shared.length] = node.page;
    this.#shared.push(node);
  }

  /** @param {number} page a copy @param {number[]} tokens that it holds */
  begin(page, tokens) {
    this.pages.push(page);
    this.#part = tokens;
  }

  /** Whether there are pages for `count` tokens in all; takes what lacks. @param {number} count */
  reserve(count) {
    while (this.pages.length * this.owner.page < count) {
      const page = this.owner.take();
      if (page === null) return false;
      this.pages.push(page);
    }
    return true;
  }

  /** These tokens were computed, into pages reserved before. Full pages become readable for others. @param {number[]} tokens */
  advance(tokens) {
    for (const token of tokens) {
      this.#part.push(token);
      if (this.#part.length < this.owner.page) continue;
      this.share(this.owner.publish(this.tip, this.#part, this.pages[this.#shared.length]));
      this.#part = [];
    }
  }

  /** Gives everything back; what was computed stays for the next prompt until its room is needed. */
  close() {
    const [part, ...spare] = this.pages.slice(this.#shared.length);
    if (this.#part.length) this.owner.publishPart(this.tip, this.#part, part);
    else if (part !== undefined) spare.push(part);
    this.owner.free.push(...spare);
    for (const node of this.#shared) {
      node.leases--;
      this.owner.touch(node);
    }
    this.owner.leases.delete(this);
    this.#shared = [];
    this.#part = [];
    this.pages = [];
  }
}

/** How many tokens two lists begin with in common. @param {number[]} a @param {number[]} b */
function common(a, b) {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** The child that has most of `tokens` at its beginning. @param {Node} parent @param {number[]} tokens @returns {[number, Node | null]} */
function longest(parent, tokens) {
  /** @type {[number, Node | null]} */ let best = [0, null];
  for (const child of parent.children.values()) {
    const count = common(child.tokens, tokens);
    if (count > best[0]) best = [count, child];
  }
  return best;
}
