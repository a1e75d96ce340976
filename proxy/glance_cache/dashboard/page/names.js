/**
 * The names of images, which the image service knows and the cache does not. Asked with the caller's own token, a few at
 * a time, and only of images that are shown.
 */

const AT_ONCE = 4;
const RETRY_SECONDS = 60;

export class Names {
  /**
   * @param {CacheNode} node
   * @param {() => void} learned Called when there are new ones.
   */
  constructor(node, learned) {
    this.node = node;
    this.learned = learned;
    this.known = new Map();
    this.wanted = new Set();
    this.running = 0;
  }

  /** Tell the name of an image, or "" while it is not known, or there is none. */
  of(imageId) {
    const found = this.known.get(imageId);
    if (found === undefined || (found.retryAt !== null && Date.now() / 1000 > found.retryAt)) {
      this.wanted.add(imageId);
      this.#more();
    }
    return found?.name ?? "";
  }

  /** Tell a name that is known already. */
  peek(imageId) {
    return this.known.get(imageId)?.name ?? "";
  }

  #more() {
    for (const imageId of this.wanted) {
      if (this.running >= AT_ONCE) return;
      this.wanted.delete(imageId);
      this.running += 1;
      this.#find(imageId).finally(() => {
        this.running -= 1;
        this.#more();
      });
    }
  }

  async #find(imageId) {
    try {
      const image = await this.node.ask("GET", `v2/images/${imageId}`);
      this.known.set(imageId, { name: image?.name ?? "", retryAt: null });
    } catch {
      // Deleted, hidden from this caller, or the image service is away: the id has to do, for a while.
      const name = this.known.get(imageId)?.name ?? "";
      this.known.set(imageId, { name, retryAt: Date.now() / 1000 + RETRY_SECONDS });
    }
    this.learned();
  }
}
