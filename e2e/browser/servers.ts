/** The real servers behind the shop, as `servers.py` starts them, and a page that nothing went wrong on. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test as base, expect, type Page } from "@playwright/test";

export interface Servers {
  /** Where the shop is. */
  shop: string;
  /** The last day of the data. */
  day: string;
  /** Some customers who bought lately. */
  customers: string[];
  stop(name: Name): Promise<void>;
  start(name: Name): Promise<void>;
  restart(): Promise<void>;
}

export type Name = "transformer" | "predictor-gbdt" | "predictor-llm" | "storefront";

/** Starts them all; `close` ends them. Fails with what they said where they do not start. */
async function started(flags: string[]): Promise<{ servers: Servers; close: () => Promise<void> }> {
  const python = process.env.HEMLINE_PYTHON ?? "python3";
  const child = spawn(python, ["servers.py", ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async () => {
    const { done, value } = await lines.next();
    if (done) throw new Error("the servers ended: their words are above");
    return JSON.parse(value);
  };
  const told = async (line: string) => {
    child.stdin.write(`${line}\n`);
    expect(await said()).toEqual({ done: line });
  };
  const { shop, day, customers } = await said();
  const servers: Servers = {
    shop,
    day,
    customers,
    stop: (name) => told(`stop ${name}`),
    start: (name) => told(`start ${name}`),
    restart: () => told("restart"),
  };
  return { servers, close: () => closed(child, ended) };
}

async function closed(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.stdin?.end();
  await ended;
}

/** What the page complained of: errors in its console, and failures that nobody caught. */
function complaints(page: Page): string[] {
  const heard: string[] = [];
  page.on("pageerror", (error) => heard.push(error.message));
  page.on("console", (message) => {
    // That an answer is a refusal is told by the page, which is what tests look at.
    const isAnswer = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isAnswer) heard.push(message.text());
  });
  return heard;
}

export const test = base.extend<{ quiet: string[] }, { servers: Servers; hostile: Servers }>({
  servers: [
    async ({}, use) => {
      const { servers, close } = await started([]);
      await use(servers);
      await close();
    },
    { scope: "worker", timeout: 300_000 },
  ],
  hostile: [
    async ({}, use) => {
      const { servers, close } = await started(["--hostile"]);
      await use(servers);
      await close();
    },
    { scope: "worker", timeout: 300_000 },
  ],
  quiet: [
    async ({ page }, use) => {
      const heard = complaints(page);
      await use(heard);
      expect(heard).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };
