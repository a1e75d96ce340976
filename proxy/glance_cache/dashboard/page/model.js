/**
 * What is known of the node by now, and what events change of it.
 */

const REMEMBERED_EVENTS = 40;

export class Model {
  constructor() {
    /** The answer to `GET /v2/cache/node`. */
    this.node = null;
    /** The answer to `GET /v2/cache/stats`, which needs the index. */
    this.stats = null;
    /** Entries by image id; those that are complete. */
    this.images = new Map();
    /** Jobs by image id; `null` until they are known. */
    this.jobs = null;
    /** Fills by image id. */
    this.fills = new Map();
    /** What happened, the newest first. */
    this.activity = [];
    /** When what needs the index was last read, and why it cannot be read now. */
    this.indexReadAt = null;
    this.indexProblem = null;
    /** By how much the node's clock is ahead of this machine's, in seconds. */
    this.ahead = 0;
  }

  /** The time by the node's clock, in seconds since the epoch. */
  get now() {
    return Date.now() / 1000 + this.ahead;
  }

  /** Take in `GET /v2/cache/node`. */
  takeNode(node) {
    this.node = node;
    this.ahead = node.at - Date.now() / 1000;
    const running = new Set(node.fills.map((fill) => fill.image_id));
    for (const imageId of this.fills.keys()) if (!running.has(imageId)) this.fills.delete(imageId);
    for (const fill of node.fills) this.#fill(fill, node.at);
  }

  /** Take in `GET /v2/cache`. */
  takeList(list) {
    this.images = new Map(list.cached_images.map((entry) => [entry.image_id, entry]));
  }

  /** Take in `GET /v2/cache/{image_id}`. */
  takeEntry(imageId, entry) {
    if (entry !== null && entry.state === "complete") this.images.set(imageId, entry);
    else this.images.delete(imageId);
  }

  /** Take in `GET /v2/cache/jobs`. */
  takeJobs(document) {
    this.jobs = new Map(document.jobs.map((job) => [job.image_id, job]));
  }

  /**
   * Take in an event.
   *
   * @returns {Array<string>} What has to be read anew: "node", "jobs", or an image id.
   */
  takeEvent({ kind, facts }) {
    switch (kind) {
      case "fill":
        this.#fill(facts, facts.at);
        return [];
      case "entry":
        return this.#entry(facts);
      case "job":
        return this.#job(facts);
      case "evicted":
        this.note(facts.at, "evicted to make room", facts.image_id);
        return ["node"];
      case "damaged":
        this.note(facts.at, "found damaged, and removed", facts.image_id, "bad");
        return ["node"];
      case "health":
        return this.#health(facts);
      default:
        return ["node"];
    }
  }

  /** Remember that something happened. */
  note(at, what, imageId = null, mood = "") {
    this.activity.unshift({ key: `${at}-${what}-${imageId}`, at, what, imageId, mood });
    this.activity.length = Math.min(this.activity.length, REMEMBERED_EVENTS);
  }

  #fill(facts, at) {
    const before = this.fills.get(facts.image_id);
    const fill = { followers: 0, rate: null, ...before, ...facts, at };
    if (before !== undefined && at > before.at) {
      const rate = Math.max(0, facts.present_bytes - before.present_bytes) / (at - before.at);
      // Looks come at odd moments: what is shown is a running mean of some seconds.
      fill.rate = before.rate === null ? rate : before.rate + (rate - before.rate) * Math.min(1, (at - before.at) / 4);
    }
    this.fills.set(facts.image_id, fill);
  }

  #entry({ at, image_id: imageId, state }) {
    if (state !== "filling") this.fills.delete(imageId);
    if (state === "gone") {
      if (this.images.delete(imageId)) this.note(at, "left the cache", imageId);
      return ["node"];
    }
    const what = { complete: "is here, whole", filling: "is being fetched", partial: "was left unfinished", damaged: "is damaged, and is being repaired" }[state];
    this.note(at, what ?? state, imageId, state === "complete" ? "good" : "");
    return state === "complete" ? [imageId, "node"] : ["node"];
  }

  #job(job) {
    if (job.state === "fetched") {
      this.jobs?.delete(job.image_id);
    } else {
      this.jobs?.set(job.image_id, job);
      if (job.state === "failed") this.note(job.at, `could not be fetched: ${job.last_error}`, job.image_id, "bad");
    }
    return ["jobs"];
  }

  #health({ at, index_reachable: reachable }) {
    if (this.node !== null && reachable !== undefined) {
      const index = this.node.health.index;
      if (index.reachable !== reachable) {
        this.note(at, `${indexName(index.kind)} ${reachable ? "answers again" : "does not answer"}`, null, reachable ? "good" : "bad");
      }
      index.reachable = reachable;
    }
    return ["node", "jobs", "stats"];
  }
}

/** What people call the index. */
export const indexName = (kind) => (kind === "redis" ? "Redis" : "The index");
