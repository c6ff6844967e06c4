/** Server-sent events, read from the body of any request: `EventSource` knows GET only. */

export interface ServerEvent {
  /** `message` where the server names none. */
  event: string;
  data: string;
  id?: string;
}

/**
 * Makes events of text that comes in pieces of any size, as the HTML standard reads an event stream: lines end with LF, CR or CRLF,
 * lines that begin with a colon are comments, several lines of data are joined, and an event without data is none.
 */
export class EventStreamParser {
  private rest = "";
  private endedWithCr = false;
  private begun = false;
  private event = "";
  private data: string[] = [];
  private id: string | undefined;

  /** The events that are complete with this piece. */
  push(piece: string): ServerEvent[] {
    let text = piece;
    if (!this.begun && text !== "") {
      this.begun = true;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    if (this.endedWithCr && text.startsWith("\n")) text = text.slice(1);
    if (text !== "" || piece !== "") this.endedWithCr = false;
    text = this.rest + text;
    const events: ServerEvent[] = [];
    let from = 0;
    for (let at = 0; at < text.length; at++) {
      const sign = text[at];
      if (sign !== "\n" && sign !== "\r") continue;
      const event = this.line(text.slice(from, at));
      if (event) events.push(event);
      if (sign === "\r") {
        // A CR at the end of a piece may be the first half of a CRLF.
        if (at + 1 === text.length) this.endedWithCr = true;
        else if (text[at + 1] === "\n") at++;
      }
      from = at + 1;
    }
    this.rest = text.slice(from);
    return events;
  }

  private line(line: string): ServerEvent | null {
    if (line === "") return this.dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id" && !value.includes("\0")) this.id = value;
    return null;
  }

  private dispatch(): ServerEvent | null {
    const data = this.data;
    const event = this.event || "message";
    this.data = [];
    this.event = "";
    if (data.length === 0) return null;
    return { event, data: data.join("\n"), ...(this.id === undefined ? {} : { id: this.id }) };
  }
}

/** The events of a body, as they come. What stands after the last blank line is an event that was cut off, and is left out. */
export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const parser = new EventStreamParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      yield* parser.push(done ? decoder.decode() : decoder.decode(value, { stream: true }));
      if (done) return;
    }
  } finally {
    // A caller that stops listening ends the request.
    await reader.cancel().catch(() => undefined);
  }
}
