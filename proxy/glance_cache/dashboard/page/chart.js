/**
 * A chart of what the cache saved: bytes as bars, and the part of answers that were hits as a line.
 */

import { draw, make, mark, say } from "./dom.js";
import { bytes, clock, moment, percent, weekday, whole } from "./format.js";

const HEIGHT = 220;
const LABEL_WIDTH = 64;
/** After how many minutes, or hours, a time is written under the chart: the first that leaves room. */
const ROUND_STEPS = { minute: [5, 10, 15, 30, 60], hour: [6, 12, 24, 48] };
const MARGIN = { top: 14, right: 52, bottom: 26, left: 64 };

export class Chart {
  /**
   * @param {Element} place Where it is drawn.
   * @param {Element} reading Where the values under the pointer are told.
   * @param {HTMLTableElement} table Where all values are told.
   */
  constructor(place, reading, table) {
    this.place = place;
    this.reading = reading;
    this.table = table;
    this.points = [];
    this.at = null;
    this.svg = draw("svg", {
      role: "img",
      tabindex: "0",
      onpointermove: (event) => this.#point(event),
      onpointerleave: () => this.#choose(null),
      onkeydown: (event) => this.#key(event),
      onblur: () => this.#choose(null),
    });
    place.append(this.svg);
    new ResizeObserver(() => this.#draw()).observe(place);
  }

  /**
   * Show these values.
   *
   * @param {Array<{at: number, bytes: number, hits: number, ratio: ?number}>} points One for each step, in order.
   * @param {string} step "minute" or "hour".
   */
  show(points, step) {
    this.points = points;
    this.step = step;
    this.#draw();
    this.#tell();
  }

  #draw() {
    const width = this.place.clientWidth;
    if (width === 0) return;
    const inner = { width: Math.max(1, width - MARGIN.left - MARGIN.right), height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const top = ceiling(Math.max(1, ...this.points.map((point) => point.bytes)));
    const step = inner.width / Math.max(1, this.points.length);
    const x = (index) => MARGIN.left + index * step;
    const y = (part) => MARGIN.top + inner.height * (1 - part);
    this.scale = { x, step, inner };
    mark(this.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    mark(this.svg, "width", width);
    mark(this.svg, "height", HEIGHT);
    this.svg.replaceChildren(
      ...this.#grid(width, top, y),
      ...this.#bars(x, y, step, top),
      ...this.#line(x, y, step),
      ...this.#times(x, step),
    );
    this.cursor = draw("line", { class: "cursor", y1: MARGIN.top, y2: MARGIN.top + inner.height, visibility: "hidden" });
    this.svg.append(this.cursor);
    this.#choose(this.at);
  }

  #grid(width, top, y) {
    const hasRatio = this.points.some((point) => point.ratio !== null);
    return [0, 0.5, 1].flatMap((part) => [
      draw("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(part), y2: y(part) }),
      draw("text", { class: "axis", x: MARGIN.left - 8, y: y(part) + 4, "text-anchor": "end" }, bytes(top * part)),
      hasRatio ? draw("text", { class: "axis ratio", x: width - MARGIN.right + 8, y: y(part) + 4 }, percent(part)) : null,
    ]).filter((element) => element !== null);
  }

  #bars(x, y, step, top) {
    const gap = step > 6 ? 2 : step > 3 ? 1 : 0;
    return this.points.map((point, index) => {
      const height = y(0) - y(point.bytes / top);
      return draw("rect", { class: "saved", x: x(index) + gap / 2, y: y(0) - height, width: Math.max(0.5, step - gap), height, rx: Math.min(2, step / 4) });
    });
  }

  #line(x, y, step) {
    let path = "";
    const dots = [];
    this.points.forEach((point, index) => {
      if (point.ratio === null) return;
      const joined = index > 0 && this.points[index - 1].ratio !== null;
      path += `${joined ? "L" : "M"}${x(index) + step / 2} ${y(point.ratio)}`;
      // A point without neighbors would be a line without a length.
      if (!joined && (this.points[index + 1]?.ratio ?? null) === null) {
        dots.push(draw("circle", { class: "ratio", cx: x(index) + step / 2, cy: y(point.ratio), r: 2.5 }));
      }
    });
    return [draw("path", { class: "ratio", d: path || "M0 0" }), ...dots];
  }

  #times(x, step) {
    const unit = this.step === "minute" ? 60 : 3600;
    const room = Math.max(1, Math.floor(this.scale.inner.width / LABEL_WIDTH));
    const every = (ROUND_STEPS[this.step].find((steps) => this.points.length / steps <= room) ?? this.points.length) * unit;
    return this.points.flatMap((point, index) => {
      // By the reader's own clock: midnight is where he has it.
      const local = point.at - new Date(point.at * 1000).getTimezoneOffset() * 60;
      if (local % every !== 0) return [];
      const text = this.step === "minute" ? clock(point.at, false) : weekday(point.at);
      return [draw("text", { class: "axis", x: x(index) + step / 2, y: HEIGHT - 8, "text-anchor": "middle" }, text)];
    });
  }

  #time(point) {
    return this.step === "minute" ? clock(point.at, false) : moment(point.at);
  }

  #describe(point) {
    const ratio = point.ratio === null ? "" : `, ${percent(point.ratio)} of answers were hits`;
    return `${this.#time(point)}: ${bytes(point.bytes)} saved by ${whole(point.hits)} ${point.hits === 1 ? "hit" : "hits"}${ratio}`;
  }

  #tell() {
    const sum = this.points.reduce((all, point) => all + point.bytes, 0);
    mark(this.svg, "aria-label", `Bytes saved and hit ratio, ${this.points.length} ${this.step}s: ${bytes(sum)} saved in all. Arrow keys read single values.`);
    if (this.table.closest("details").open || this.table.rows.length === 0) this.#fillTable();
    this.table.closest("details").ontoggle = () => this.#fillTable();
  }

  #fillTable() {
    const heads = ["Time", "Bytes saved", "Hits", "Hit ratio"].map((text) => make("th", { scope: "col" }, text));
    const rows = this.points.toReversed().map((point) =>
      make("tr", {}, make("th", { scope: "row" }, this.#time(point)), make("td", {}, bytes(point.bytes)), make("td", {}, whole(point.hits)),
        make("td", {}, point.ratio === null ? "–" : percent(point.ratio))));
    this.table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  }

  #point(event) {
    const { left } = this.svg.getBoundingClientRect();
    const index = Math.floor((event.clientX - left - MARGIN.left) / this.scale.step);
    this.#choose(index >= 0 && index < this.points.length ? index : null);
  }

  #key(event) {
    const last = this.points.length - 1;
    const to = { ArrowLeft: (this.at ?? last + 1) - 1, ArrowRight: (this.at ?? -1) + 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.#choose(Math.min(last, Math.max(0, to)), true);
  }

  #choose(index, aloud = false) {
    const point = index === null ? undefined : this.points[index];
    this.at = point === undefined ? null : index;
    mark(this.cursor, "visibility", point === undefined ? "hidden" : "visible");
    // Read out for who asked by key, and not for a pointer that passes.
    mark(this.reading, "aria-live", aloud ? "polite" : "off");
    if (point === undefined) {
      say(this.reading, "");
      return;
    }
    const middle = this.scale.x(index) + this.scale.step / 2;
    mark(this.cursor, "x1", middle);
    mark(this.cursor, "x2", middle);
    say(this.reading, this.#describe(point));
  }
}

/** The next round number of bytes. */
function ceiling(value) {
  let unit = 1;
  while (unit * 1024 <= value) unit *= 1024;
  for (const times of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]) if (times * unit >= value) return times * unit;
  return 1024 * unit;
}

/** Make points of the minutes that a node tells, with those between that brought nothing. */
export function minutePoints(minutes, count, now) {
  const known = new Map(minutes.map((minute) => [minute.at, minute]));
  const last = now - (now % 60);
  return Array.from({ length: count }, (_, index) => {
    const at = last - 60 * (count - 1 - index);
    const minute = known.get(at);
    const ratio = minute === undefined || minute.answers === 0 ? null : Math.min(1, minute.hits / minute.answers);
    return { at, bytes: minute?.hit_bytes ?? 0, hits: minute?.hits ?? 0, ratio };
  });
}

/** Make points of the hours that the index has. */
export function hourPoints(byHour, count, now) {
  const last = now - (now % 3600);
  return Array.from({ length: count }, (_, index) => {
    const at = last - 3600 * (count - 1 - index);
    const sum = byHour[new Date(at * 1000).toISOString().slice(0, 13)];
    return { at, bytes: sum?.bytes_sent ?? 0, hits: sum?.hits ?? 0, ratio: null };
  });
}
