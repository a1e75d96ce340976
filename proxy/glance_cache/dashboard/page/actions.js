/**
 * What an operator can do: each is one request, and what came of it is told.
 */

import { byId, make, say, show } from "./dom.js";
import { bytes, percent, span, whole } from "./format.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const TOLD_SECONDS = 8;

export class Actions {
  /**
   * @param {CacheNode} node
   * @param {Names} names
   * @param {(...what: Array<string>) => void} reread Called with what an action changed.
   */
  constructor(node, names, reread) {
    this.node = node;
    this.names = names;
    this.reread = reread;
    this.timer = null;
    byId("queue-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#queueForm(event.submitter);
    });
    byId("explain-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.explain(byId("explain-image").value.trim().toLowerCase());
    });
    byId("explanation-close").addEventListener("click", () => byId("explanation").close());
  }

  /** Have an image fetched. */
  async queue(imageId, button) {
    await this.#do(button, async () => {
      await this.node.ask("PUT", `v2/cache/${imageId}`);
      return `${this.#called(imageId)} is queued.`;
    }, "jobs");
  }

  /** Take an image out of the queue. */
  async unqueue(imageId, button) {
    await this.#do(button, async () => {
      await this.node.ask("DELETE", `v2/queued_images/${imageId}`);
      return `${this.#called(imageId)} is not in the queue any more.`;
    }, "jobs");
  }

  /** Keep an image from eviction, or end that. */
  async pin({ image_id: imageId, pinned }, button) {
    await this.#do(button, async () => {
      await this.node.ask(pinned ? "DELETE" : "PUT", `v2/cache/${imageId}/pin`);
      return `${this.#called(imageId)} ${pinned ? "may be evicted again" : "is pinned: it stays, whatever comes"}.`;
    }, imageId, "node");
  }

  /** Read all of an image anew. */
  async verify(imageId, button) {
    await this.#do(button, async () => {
      const { right } = await this.node.ask("POST", `v2/cache/${imageId}/verify`);
      if (!right) throw new Error(`${this.#called(imageId)} was damaged, and is removed.`);
      return `${this.#called(imageId)} is right, to the last byte.`;
    }, imageId, "node");
  }

  /** Remove an image, once that is confirmed. */
  async evict({ image_id: imageId, size }, button) {
    const sure = await confirm(`Evict ${this.#called(imageId)}?`, `${bytes(size)} are freed. The next client that asks for the image has it fetched again.`, "Evict");
    if (!sure) return;
    await this.#do(button, async () => {
      await this.node.ask("DELETE", `v2/cache/${imageId}`);
      return `${this.#called(imageId)} is evicted.`;
    }, imageId, "node", "jobs");
  }

  /** Say what a download would come to. */
  async explain(imageId) {
    await this.#do(null, async () => {
      const found = await this.node.ask("GET", `v2/cache/${imageId}/explain`);
      this.#showExplanation(imageId, found);
      return null;
    });
  }

  /** Tell the operator something. */
  tell(text, mood = "") {
    const place = byId("said");
    place.replaceChildren(make("p", { class: mood === "bad" ? "bad" : "" }, text));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => place.replaceChildren(), (mood === "bad" ? 2 : 1) * TOLD_SECONDS * 1000);
  }

  async #queueForm(button) {
    const text = byId("queue-image").value.trim();
    const priority = Number(byId("queue-priority").value);
    const wanted = UUID.test(text) ? { image_ids: [text.toLowerCase()] } : { filter: { name: text } };
    await this.#do(button, async () => {
      const { image_ids: found, added, cached } = await this.node.ask("POST", "v2/cache/jobs", { ...wanted, priority });
      if (found.length === 0 && cached === 0) throw new Error(`No active image is called ${text}.`);
      byId("queue-image").value = "";
      if (found.length === 0) return "It is here already.";
      return added === 0 ? "It is queued already." : `${whole(added)} ${added === 1 ? "image is" : "images are"} queued.`;
    }, "jobs");
  }

  #showExplanation(imageId, found) {
    const { caller, entry, job, room } = found;
    const facts = [
      ["A download would be", `a ${found.outcome}: ${found.why}`],
      ["You", caller.may_download ? `may download it; that is remembered for ${span(caller.permission_seconds_left)}` : `may not download it: ${caller.refusal}`],
      ["In the cache", entry === null ? "nothing of it" : `${entry.state}, ${percent(entry.progress)} of ${bytes(entry.size)}${entry.pinned ? ", pinned" : ""}`],
      ["In the queue", job === null ? "no" : `${job.state}, tried ${whole(job.attempts)} times${job.last_error === null ? "" : `: ${job.last_error}`}`],
      ["It waits for", found.waits_for],
      ["Room", room === null ? null : roomText(room)],
    ].filter(([, text]) => text !== null);
    say(byId("explanation-title"), this.#called(imageId));
    byId("explanation-body").replaceChildren(
      make("p", { class: "outcome", "data-outcome": found.outcome }, found.outcome),
      make("p", {}, make("code", { class: "id" }, imageId)),
      make("dl", { class: "facts" }, ...facts.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)])),
    );
    const queue = byId("explanation-queue");
    show(queue, found.outcome === "fill" && job === null);
    queue.onclick = async () => {
      byId("explanation").close();
      await this.queue(imageId, null);
    };
    if (!byId("explanation").open) byId("explanation").showModal();
  }

  #called(imageId) {
    return this.names.of(imageId) || imageId;
  }

  async #do(button, work, ...changed) {
    if (button !== null) {
      if (button.getAttribute("aria-busy") === "true") return;
      // Not disabled: that would take the keyboard's place in the page away.
      button.setAttribute("aria-busy", "true");
    }
    try {
      const done = await work();
      if (done !== null) this.tell(done);
    } catch (error) {
      this.tell(error.message, "bad");
    } finally {
      button?.removeAttribute("aria-busy");
      if (changed.length > 0) this.reread(...changed);
    }
  }
}

function roomText(room) {
  if (!room.fits) return `${bytes(room.needed_bytes)} are needed, and not to be had: ${room.why_not}`;
  const going = room.would_go.length === 0 ? "there is room" : `${whole(room.would_go.length)} ${room.would_go.length === 1 ? "image" : "images"} would go for it`;
  return `${bytes(room.needed_bytes)} are needed; ${going}`;
}

function confirm(title, text, verb) {
  const dialog = byId("ask");
  say(byId("ask-title"), title);
  say(byId("ask-text"), text);
  say(byId("ask-yes"), verb);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
