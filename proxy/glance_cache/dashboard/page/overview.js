/**
 * How the node does, at a glance: numbers, and the health of what it depends on.
 */

import { Rows, byId, make, mark, say } from "./dom.js";
import { bytes, clock, percent, whole } from "./format.js";
import { indexName } from "./model.js";

export class Overview {
  constructor() {
    this.tiles = new Rows(byId("tiles"), makeTile);
    this.health = new Rows(byId("health"), makeHealth);
    this.banners = new Rows(byId("banners"), makeBanner);
  }

  /** Show what is known. */
  update(model) {
    const { node, stats } = model;
    if (node === null) return;
    this.tiles.update(tiles(node, stats, model.jobs).map((tile) => [tile.name, tile]));
    this.health.update(conditions(node, model).map((each) => [each.key, each]));
    this.banners.update(banners(model).map((text) => [text.key, text]));
  }
}

function tiles(node, stats, jobs) {
  const { disk } = node;
  const waiting = jobs === null ? null : [...jobs.values()];
  const count = (state) => waiting.filter((job) => job.state === state).length;
  return [
    {
      name: "Hit ratio",
      value: node.hit_ratio === null ? "–" : percent(node.hit_ratio),
      meter: node.hit_ratio,
      note: `${whole(sum(node.answers))} answers since the start`,
    },
    {
      name: "Bytes saved",
      value: bytes(node.hits.bytes_since_start),
      note: stats === null ? "since the start" : `since the start; ${bytes(stats.all_nodes.bytes_sent)} by all nodes, ever`,
    },
    {
      name: "Now",
      value: `${bytes(node.rates.hit_bytes)}/s`,
      note: `${node.rates.answers.toFixed(1)} answers a second, over a minute`,
    },
    {
      name: "Disk",
      value: percent(disk.max_bytes === 0 ? 0 : (disk.used_bytes + disk.reserved_bytes) / disk.max_bytes),
      meter: disk.max_bytes === 0 ? 0 : (disk.used_bytes + disk.reserved_bytes) / disk.max_bytes,
      mood: node.health.disk_full ? "bad" : "",
      note: `${bytes(disk.used_bytes)} of ${bytes(disk.max_bytes)}; the disk has ${bytes(disk.free_bytes)} free`,
    },
    {
      name: "Images",
      value: whole(disk.complete),
      note: `${whole(disk.pinned)} pinned, ${whole(disk.partial)} unfinished`,
    },
    {
      name: "Queue",
      value: waiting === null ? "–" : whole(count("queued") + count("running")),
      mood: waiting !== null && count("failed") > 0 ? "warn" : "",
      note: waiting === null ? "not known" : `${whole(count("running"))} running, ${whole(count("failed"))} failed`,
    },
  ];
}

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function conditions(node, { indexReadAt }) {
  const { health } = node;
  const found = health.upstreams.map((upstream) => ({
    key: `upstream ${upstream.url}`,
    name: "Upstream",
    detail: upstream.url,
    mood: upstream.well ? "good" : "bad",
    state: upstream.well ? "works" : "does not answer",
    note: upstreamNote(upstream),
  }));
  const unsent = health.index.unsent === 0 ? "" : `hits of ${whole(health.index.unsent)} images wait for it; none is lost`;
  found.push({
    key: "index",
    name: health.index.kind === "redis" ? "Redis" : "Index",
    detail: health.index.kind === "redis" ? "hits of all nodes, queue" : "a file of this node: no other nodes are known",
    mood: health.index.reachable ? "good" : "bad",
    state: health.index.reachable ? "answers" : "does not answer",
    note: health.index.reachable ? "" : [unsent, indexReadAt === null ? "" : `last read at ${clock(indexReadAt)}`].filter(Boolean).join("; "),
  });
  if (health.changes_heard !== null) {
    found.push({
      key: "changes",
      name: "Changes to images",
      detail: "withdrawn permissions count at once",
      mood: health.changes_heard ? "good" : "warn",
      state: health.changes_heard ? "are heard of" : "are not heard of",
      note: health.changes_heard ? "" : "permissions end after grant_ttl",
    });
  }
  found.push({
    key: "disk",
    name: "Disk",
    detail: "room for what is to come",
    mood: health.disk_full ? "bad" : "good",
    state: health.disk_full ? "is full" : "has room",
    note: health.disk_full ? "images are passed on, and not kept" : "",
  });
  found.push({
    key: "prefetch",
    name: "Prefetching",
    detail: "fetches the queue",
    mood: node.prefetch.possible ? "good" : "warn",
    state: !node.prefetch.possible ? "is not set up" : node.prefetch.may_begin ? "is on" : "waits for its time of day",
    note: node.prefetch.possible ? "" : "set [service_user], or [cache] prefetch_token",
  });
  return found;
}

function upstreamNote(upstream) {
  if (upstream.failures === 0) return "";
  const times = `began to fail ${whole(upstream.failures)} ${upstream.failures === 1 ? "time" : "times"}`;
  return upstream.last_error === null ? times : `${times}; at ${clock(upstream.last_error_at)}: ${upstream.last_error}`;
}

function banners(model) {
  const found = [];
  const { health } = model.node;
  if (!health.index.reachable) {
    const when = model.indexReadAt === null ? "" : ` What is shown of them is from ${clock(model.indexReadAt)}.`;
    found.push({ key: "index", text: `${indexName(health.index.kind)} does not answer: images are served, and hits kept, but queue and numbers of all nodes stand still.${when}` });
  }
  if (health.offline_since !== null) {
    found.push({ key: "offline", text: `Offline since ${clock(health.offline_since)}: no upstream can be reached. Images that are here are served to whoever was permitted to have them; nothing else can be fetched.` });
  } else if (health.upstreams.length > 0 && health.upstreams.every((upstream) => !upstream.well)) {
    found.push({ key: "upstreams", text: "No upstream answers: what is not here cannot be fetched." });
  }
  if (health.disk_full) found.push({ key: "disk", text: "The disk has no room for fills: images are passed on, and not kept." });
  return found;
}

function makeTile() {
  const name = make("dt");
  const value = make("dd", { class: "value" });
  const meter = make("progress", { max: "1", "aria-hidden": "true" });
  const meterPlace = make("dd", { class: "meter", "aria-hidden": "true" }, meter);
  const note = make("dd", { class: "note" });
  const element = make("div", { class: "tile" }, name, value, meterPlace, note);
  return {
    element,
    update(tile) {
      say(name, tile.name);
      say(value, tile.value);
      say(note, tile.note);
      mark(element, "data-mood", tile.mood ?? "");
      meterPlace.hidden = tile.meter === undefined || tile.meter === null;
      meter.value = Math.min(1, tile.meter ?? 0);
    },
  };
}

function makeHealth() {
  const name = make("strong");
  const detail = make("span", { class: "detail" });
  const state = make("span", { class: "state" });
  const note = make("span", { class: "note" });
  const element = make("li", {}, make("span", { class: "dot", "aria-hidden": "true" }), make("span", { class: "what" }, name, " ", state, detail, note));
  return {
    element,
    update(condition) {
      mark(element, "data-mood", condition.mood);
      mark(element, "data-key", condition.key.split(" ")[0]);
      say(name, condition.name);
      say(detail, condition.detail);
      say(state, condition.state);
      say(note, condition.note);
      note.hidden = condition.note === "";
    },
  };
}

function makeBanner() {
  const element = make("p", { class: "banner bad" });
  return { element, update: (banner) => say(element, banner.text) };
}
