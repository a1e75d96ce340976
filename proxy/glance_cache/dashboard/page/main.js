/**
 * The page: who may see the node, what is read of it and when, and where that is shown.
 */

import { ActivityList, FillList, ImageTable, JobList, TopList } from "./images.js";
import { Actions } from "./actions.js";
import { Chart, hourPoints, minutePoints } from "./chart.js";
import { CacheNode, Refused } from "./node.js";
import { Model } from "./model.js";
import { Names } from "./names.js";
import { Overview } from "./overview.js";
import { byId, mark, say, show } from "./dom.js";

/** How often each is read, in seconds; events have it read sooner. */
const PACE = { node: 2, jobs: 10, stats: 15, list: 60 };
const LONGEST_PAUSE = 10;

class Page {
  constructor() {
    this.node = new CacheNode();
    this.due = new Set();
    this.readAt = {};
    this.reading = false;
    this.names = new Names(this.node, () => this.#show());
    this.actions = new Actions(this.node, this.names, (...what) => this.#want(...what));
    this.overview = new Overview();
    this.chart = new Chart(byId("chart"), byId("chart-reading"), byId("chart-table"));
    this.images = new ImageTable(this.names, this.actions, () => this.#show());
    this.fills = new FillList(this.names, this.actions);
    this.jobs = new JobList(this.names, this.actions);
    this.topNode = new TopList("top-node", this.names, this.actions, (imageId) => this.#couldBeQueued(imageId));
    this.topAll = new TopList("top-all", this.names, this.actions, (imageId) => this.#couldBeQueued(imageId));
    this.activity = new ActivityList(this.names);
    this.#forget();
    byId("sign-in").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn(byId("token").value.trim());
    });
    byId("sign-out").addEventListener("click", () => this.#leave("", true));
    byId("chart-range").addEventListener("change", () => this.#show());
    document.addEventListener("visibilitychange", () => this.#want());
  }

  /** Begin: a node that asks nobody for a token is shown at once. */
  async start() {
    await this.#enter(null);
  }

  async #signIn(token) {
    byId("token").value = "";
    await this.#enter(token);
  }

  async #enter(token) {
    this.node.use(token);
    try {
      this.model.takeNode(await this.node.ask("GET", "v2/cache/node"));
    } catch (error) {
      this.node.use(null);
      const nobodyAsked = token === null && error instanceof Refused && error.status === 401;
      this.#refuse(nobodyAsked ? "" : problemText(error));
      return;
    }
    show(byId("gate"), false);
    show(byId("board"), true);
    show(byId("sign-out"), token !== null);
    say(byId("node-name"), this.model.node.node);
    document.title = `${this.model.node.node} – glance-cache`;
    // Whoever typed the token goes on from the top of what he asked for.
    if (token !== null) byId("main").focus();
    this.running = new AbortController();
    this.#want("jobs", "stats", "list");
    this.timer = setInterval(() => this.#tick(), 1000);
    this.#follow(this.running.signal);
  }

  #refuse(text) {
    show(byId("board"), false);
    show(byId("sign-out"), false);
    show(byId("gate"), true);
    say(byId("gate-problem"), text);
    this.#link("off", "not signed in");
    byId("token").focus();
  }

  #leave(text, forgetting) {
    this.running?.abort();
    clearInterval(this.timer);
    this.node.use(null);
    if (forgetting) this.#forget();
    this.#refuse(text);
  }

  #forget() {
    this.model = new Model();
    this.names.known.clear();
    this.due.clear();
    this.readAt = {};
    say(byId("node-name"), "");
    document.title = "glance-cache";
  }

  #link(state, text) {
    mark(byId("link"), "data-state", state);
    say(byId("link-text"), text);
  }

  // What happens, as it does.

  async #follow(signal) {
    for (let pause = 1; !signal.aborted; pause = Math.min(LONGEST_PAUSE, 2 * pause)) {
      try {
        for await (const event of this.node.follow(signal)) {
          if (pause > 0) {
            // What happened while nobody listened is in the lists.
            this.#want("node", "jobs", "stats", "list");
            this.#link("on", "live");
            pause = 0;
          }
          this.#want(...this.model.takeEvent(event));
          this.#show();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (this.#isRefusal(error)) return;
      }
      if (signal.aborted) return;
      pause = Math.max(1, pause);
      this.#link("trouble", "connection lost; trying again");
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
  }

  #isRefusal(error) {
    if (!(error instanceof Refused) || ![401, 403].includes(error.status)) return false;
    this.#leave(`The node does not take this token any more: ${error.message}`, false);
    return true;
  }

  // What is read.

  #tick() {
    const now = Date.now() / 1000;
    if (!document.hidden) {
      for (const [what, seconds] of Object.entries(PACE)) if (now - (this.readAt[what] ?? 0) >= seconds) this.due.add(what);
    }
    this.#want();
    this.#show();
  }

  #want(...what) {
    for (const each of what) this.due.add(each);
    if (!this.reading && this.due.size > 0 && this.running?.signal.aborted === false) this.#read();
  }

  async #read() {
    this.reading = true;
    const model = this.model;
    try {
      while (this.due.size > 0 && model === this.model) {
        const [what] = this.due;
        this.due.delete(what);
        await this.#readOne(what, model);
        this.#show();
      }
    } finally {
      this.reading = false;
    }
  }

  async #readOne(what, model) {
    this.readAt[what] = Date.now() / 1000;
    const needsIndex = ["jobs", "stats", "list"].includes(what);
    try {
      if (what === "node") model.takeNode(await this.node.ask("GET", "v2/cache/node"));
      else if (what === "jobs") model.takeJobs(await this.node.ask("GET", "v2/cache/jobs"));
      else if (what === "stats") model.stats = await this.node.ask("GET", "v2/cache/stats");
      else if (what === "list") model.takeList(await this.node.ask("GET", "v2/cache"));
      else model.takeEntry(what, (await this.node.ask("GET", `v2/cache/${what}`)).entry);
      if (needsIndex) {
        model.indexReadAt = model.now;
        model.indexProblem = null;
      }
    } catch (error) {
      if (model !== this.model || this.#isRefusal(error)) return;
      if (needsIndex) model.indexProblem = problemText(error);
      else if (error instanceof Refused && error.status === 404) model.takeEntry(what, null);
    }
  }

  // What is shown.

  #couldBeQueued(imageId) {
    const { images, jobs, fills, node } = this.model;
    return node.prefetch.possible && !images.has(imageId) && !fills.has(imageId) && !jobs?.has(imageId);
  }

  #show() {
    // However much happens at once, the page is changed once for each picture.
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.model.node !== null) this.#showAll(this.model);
    });
  }

  #showAll(model) {
    const range = document.querySelector("#chart-range :checked").value;
    if (range === "week") this.chart.show(hourPoints(model.stats?.by_hour ?? {}, 7 * 24, model.now), "hour");
    else this.chart.show(minutePoints(model.node.minutes, range === "hour" ? 60 : 180, model.now), "minute");
    this.overview.update(model);
    this.fills.update(model);
    this.jobs.update(model);
    this.images.update(model);
    this.topNode.update(model.node.top_images, "No hits were counted yet.");
    this.topAll.update(model.stats?.top_images ?? null, model.stats === null ? (model.indexProblem ?? "Not known yet.") : "No hits were counted yet.");
    this.activity.update(model);
  }
}

function problemText(error) {
  return error instanceof Refused ? error.message : "The node cannot be reached.";
}

new Page().start();
