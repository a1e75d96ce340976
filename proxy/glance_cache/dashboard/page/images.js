/**
 * Images on the page: in the cache, on their way, in the queue, and those with most hits.
 */

import { Rows, byId, make, mark, say, show } from "./dom.js";
import { ago, bytes, clock, moment, percent, shortId, span, whole } from "./format.js";

const PAGE_ROWS = 25;
/** Of more images than that, only names that were shown before are searched: each is a question to the image service. */
const MOST_NAMED = 500;

/** An image by name and id; the name is whatever a tenant wrote. */
function makeLabel() {
  const name = make("span", { class: "name" });
  const id = make("code", { class: "id" });
  return {
    element: make("span", { class: "image" }, name, id),
    update(imageId, called) {
      say(name, called || "Image");
      mark(name, "data-known", called !== "");
      say(id, called ? shortId(imageId) : imageId);
      mark(id, "title", imageId);
    },
  };
}

function makeButton(text, act) {
  const button = make("button", { type: "button", class: "small", onclick: () => act(button) }, text);
  return button;
}

/** What a button is for, in full, for who does not see the row around it. */
function name(button, verb, imageId, called) {
  say(button, verb);
  mark(button, "aria-label", `${verb} ${called || imageId}`);
}

/** The table of what is cached. */
export class ImageTable {
  /**
   * @param {Names} names
   * @param {Actions} actions
   * @param {() => void} changed Called when another part of the table is wanted.
   */
  constructor(names, actions, changed) {
    this.names = names;
    this.actions = actions;
    this.page = 0;
    this.rows = new Rows(byId("images-rows"), (entry) => this.#row(entry));
    const again = () => {
      this.page = 0;
      changed();
    };
    byId("images-filter").addEventListener("input", again);
    byId("images-order").addEventListener("change", again);
    byId("images-back").addEventListener("click", () => this.#turn(-1, changed));
    byId("images-next").addEventListener("click", () => this.#turn(1, changed));
  }

  #turn(by, changed) {
    this.page += by;
    changed();
    byId("images-title").scrollIntoView({ block: "start" });
  }

  /** Show what is known. */
  update(model) {
    const part = byId("images-filter").value.trim().toLowerCase();
    const all = [...model.images.values()];
    const called = ({ image_id: imageId }) => (all.length > MOST_NAMED ? this.names.peek(imageId) : this.names.of(imageId));
    const found = all.filter((entry) => part === "" || entry.image_id.includes(part) || called(entry).toLowerCase().includes(part));
    found.sort(this.#order(called));
    const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const shown = found.slice(this.page * PAGE_ROWS, (this.page + 1) * PAGE_ROWS);
    this.now = model.now;
    this.rows.update(shown.map((entry) => [entry.image_id, entry]));
    say(byId("images-count"), whole(all.length));
    say(byId("images-none"), all.length === 0 ? "No image is here yet: the first client that asks for one brings it, or queue it above." : "No image here has that in its name or id.");
    show(byId("images-none"), found.length === 0);
    show(byId("images"), found.length > 0);
    show(byId("images-pages"), pages > 1);
    say(byId("images-page"), `Page ${this.page + 1} of ${pages}`);
    byId("images-back").disabled = this.page === 0;
    byId("images-next").disabled = this.page === pages - 1;
  }

  #order(called) {
    const wanted = byId("images-order").value;
    if (wanted === "used") return (a, b) => b.last_accessed - a.last_accessed;
    if (wanted === "size") return (a, b) => b.size - a.size;
    if (wanted === "name") return (a, b) => called(a).localeCompare(called(b)) || a.image_id.localeCompare(b.image_id);
    return (a, b) => b.hits - a.hits || b.last_accessed - a.last_accessed;
  }

  #row({ image_id: imageId }) {
    const label = makeLabel();
    const cell = (title, ...children) => make("td", { role: "cell", "data-title": title }, ...children);
    const [size, hits] = [cell("Size"), cell("Hits")];
    const used = cell("Last used");
    const badges = new Rows(make("span", { class: "badges" }), makeBadge);
    let entry;
    const pin = makeButton("Pin", (button) => this.actions.pin(entry, button));
    const verify = makeButton("Verify", (button) => this.actions.verify(imageId, button));
    const explain = makeButton("Explain", () => this.actions.explain(imageId));
    const evict = makeButton("Evict", (button) => this.actions.evict(entry, button));
    evict.classList.add("danger");
    for (const each of [size, hits]) each.classList.add("number");
    const element = make("tr", { role: "row", "data-image": imageId },
      make("th", { role: "rowheader", scope: "row" }, label.element), size, hits, used, cell("State", badges.parent),
      make("td", { role: "cell", class: "number actions" }, pin, verify, explain, evict));
    return {
      element,
      update: (latest) => {
        entry = latest;
        const called = this.names.of(imageId);
        label.update(imageId, called);
        say(size, bytes(entry.size));
        say(hits, whole(entry.hits));
        say(used, ago(entry.last_accessed, this.now));
        mark(used, "title", moment(entry.last_accessed));
        badges.update(badgesOf(entry).map((badge) => [badge.text, badge]));
        name(pin, entry.pinned ? "Unpin" : "Pin", imageId, called);
        name(verify, "Verify", imageId, called);
        name(explain, "Explain", imageId, called);
        name(evict, "Evict", imageId, called);
      },
    };
  }
}

function badgesOf(entry) {
  const found = [];
  if (entry.pinned) found.push({ text: "pinned", mood: "good" });
  if (!entry.verified) found.push({ text: "no hash", mood: "warn", title: "The image service has no hash of this image: only its length was checked" });
  if (entry.followers > 0) found.push({ text: `read by ${whole(entry.followers)}`, mood: "" });
  return found.length === 0 ? [{ text: "ready", mood: "" }] : found;
}

function makeBadge() {
  const element = make("span", { class: "badge" });
  return {
    element,
    update({ text, mood, title }) {
      say(element, text);
      mark(element, "data-mood", mood);
      mark(element, "title", title ?? null);
    },
  };
}

/** A bar with what is said of it. */
function makeBar() {
  const bar = make("progress", { max: "1" });
  const facts = make("span", { class: "facts" });
  return {
    elements: [bar, facts],
    update(imageId, called, progress, text) {
      mark(bar, "aria-label", `How much of ${called || imageId} is here`);
      bar.value = progress;
      say(facts, text);
    },
  };
}

/** Fills under way. */
export class FillList {
  constructor(names, actions) {
    this.names = names;
    this.actions = actions;
    this.rows = new Rows(byId("fills"), (fill) => this.#row(fill));
  }

  /** Show what is known. */
  update(model) {
    const fills = [...model.fills.values()];
    this.rows.update(fills.map((fill) => [fill.image_id, fill]));
    say(byId("fills-count"), fills.length === 0 ? "" : whole(fills.length));
    show(byId("fills-none"), fills.length === 0);
  }

  #row({ image_id: imageId }) {
    const label = makeLabel();
    const followers = make("span", { class: "badge" });
    const explain = makeButton("Explain", () => this.actions.explain(imageId));
    const bar = makeBar();
    const element = make("li", { "data-image": imageId }, make("div", { class: "title" }, label.element, followers, explain), ...bar.elements);
    return {
      element,
      update: (fill) => {
        const called = this.names.of(imageId);
        label.update(imageId, called);
        name(explain, "Explain", imageId, called);
        say(followers, fill.followers === 1 ? "1 client follows" : `${whole(fill.followers)} clients follow`);
        const left = fill.rate > 0 ? `, ${span((fill.size - fill.present_bytes) / fill.rate)} left` : "";
        const rate = fill.rate === null ? "" : ` at ${bytes(fill.rate)}/s${left}`;
        bar.update(imageId, called, fill.progress, `${percent(fill.progress)}: ${bytes(fill.present_bytes)} of ${bytes(fill.size)}${rate}`);
      },
    };
  }
}

/** The queue. */
export class JobList {
  constructor(names, actions) {
    this.names = names;
    this.actions = actions;
    this.rows = new Rows(byId("jobs"), (job) => this.#row(job));
  }

  /** Show what is known. */
  update(model) {
    const jobs = model.jobs === null ? [] : [...model.jobs.values()];
    const rank = { running: 0, queued: 1, failed: 2 };
    jobs.sort((a, b) => rank[a.state] - rank[b.state] || b.priority - a.priority || a.queued_at - b.queued_at);
    this.now = model.now;
    this.rows.update(jobs.slice(0, PAGE_ROWS).map((job) => [job.image_id, job]));
    say(byId("queue-count"), jobs.length === 0 ? "" : whole(jobs.length));
    const more = jobs.length - PAGE_ROWS;
    const nothing = model.jobs === null ? (model.indexProblem ?? "The queue is not known yet.") : "The queue is empty.";
    say(byId("jobs-none"), jobs.length === 0 ? nothing : more > 0 ? `${whole(more)} more wait behind these.` : "");
  }

  #row({ image_id: imageId }) {
    const label = makeLabel();
    const state = make("span", { class: "badge" });
    const again = makeButton("Try again", (button) => this.actions.queue(imageId, button));
    const remove = makeButton("Remove", (button) => this.actions.unqueue(imageId, button));
    const bar = makeBar();
    const element = make("li", { "data-image": imageId }, make("div", { class: "title" }, label.element, state, again, remove), ...bar.elements);
    return {
      element,
      update: (job) => {
        const called = this.names.of(imageId);
        label.update(imageId, called);
        say(state, job.state);
        mark(state, "data-mood", { running: "good", failed: "bad" }[job.state] ?? "");
        name(again, "Try again", imageId, called);
        show(again, job.state === "failed");
        name(remove, "Remove", imageId, called);
        bar.update(imageId, called, job.progress, this.#facts(job));
        show(bar.elements[0], job.state === "running");
      },
    };
  }

  #facts(job) {
    if (job.state === "running") {
      const rate = job.bytes_per_second === null ? "" : ` at ${bytes(job.bytes_per_second)}/s`;
      return `${percent(job.progress)}${job.size === null ? "" : ` of ${bytes(job.size)}`}${rate}`;
    }
    const tried = job.attempts === 0 ? "" : `, tried ${job.attempts === 1 ? "once" : `${job.attempts} times`}`;
    const later = job.not_before !== null && job.not_before > this.now ? `, again in ${span(job.not_before - this.now)}` : "";
    const error = job.last_error === null ? "" : `: ${job.last_error}`;
    return `priority ${job.priority}, queued ${ago(job.queued_at, this.now)}${tried}${later}${error}`;
  }
}

/** Images with most hits. */
export class TopList {
  /**
   * @param {string} id Of the list.
   * @param {(imageId: string) => boolean} missing Whether an image could be queued.
   */
  constructor(id, names, actions, missing) {
    this.id = id;
    this.names = names;
    this.actions = actions;
    this.missing = missing;
    this.rows = new Rows(byId(id), (image) => this.#row(image));
  }

  /** Show these; `null` while they are not known. */
  update(images, whyNone) {
    const known = images ?? [];
    this.most = Math.max(1, ...known.map((image) => image.hits));
    this.rows.update(known.map((image) => [image.image_id, image]));
    say(byId(`${this.id}-none`), whyNone);
    show(byId(`${this.id}-none`), known.length === 0);
  }

  #row({ image_id: imageId }) {
    const label = makeLabel();
    const facts = make("span", { class: "facts" });
    const bar = make("progress", { max: "1", "aria-hidden": "true" });
    const queue = makeButton("Queue", (button) => this.actions.queue(imageId, button));
    const element = make("li", { "data-image": imageId }, make("div", { class: "title" }, label.element, facts, queue), bar);
    return {
      element,
      update: (image) => {
        const called = this.names.of(imageId);
        label.update(imageId, called);
        say(facts, `${whole(image.hits)} ${image.hits === 1 ? "hit" : "hits"}, ${bytes(image.bytes_sent)}`);
        bar.value = image.hits / this.most;
        name(queue, "Queue", imageId, called);
        show(queue, this.missing(imageId));
      },
    };
  }
}

/** What happened, the newest first. */
export class ActivityList {
  constructor(names) {
    this.names = names;
    this.rows = new Rows(byId("activity"), () => this.#row());
  }

  /** Show what is known. */
  update(model) {
    this.rows.update(model.activity.map((event) => [event.key, event]));
    show(byId("activity-none"), model.activity.length === 0);
  }

  #row() {
    const time = make("time");
    const what = make("span");
    const element = make("li", {}, time, what);
    return {
      element,
      update: ({ at, what: text, imageId, mood }) => {
        say(time, clock(at));
        const subject = imageId === null ? "" : `${this.names.of(imageId) || shortId(imageId)} `;
        say(what, `${subject}${text}`);
        mark(element, "data-mood", mood);
      },
    };
  }
}
