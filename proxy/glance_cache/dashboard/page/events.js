/**
 * Server-sent events, read from the body of an answer: an EventSource could send no token.
 */

/**
 * Read events.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} alive Called whenever something comes, if it is no event.
 * @yields {{kind: string, facts: object}}
 */
export async function* readEvents(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event !== null) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let kind = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length === 0 ? null : { kind, facts: JSON.parse(data.join("\n")) };
}
