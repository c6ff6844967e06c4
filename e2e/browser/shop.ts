/** The shop as people use it: by what they see and by what it is called. */
import { expect, type Locator, type Page } from "@playwright/test";
import type { Servers } from "./servers.ts";

export const CARDS = 12;

/** The path of a page, as a customer if one is named. */
export const at = (servers: Servers, path: string, customer?: string) =>
  `${servers.shop}${path}${customer ? `?customer=${customer}` : ""}`;

export const cards = (page: Page) => page.getByTestId("recommendations").getByTestId("card");

/** The articles on the counter, in their order. */
export const shown = async (page: Page) =>
  cards(page).evaluateAll((all) => all.map((card) => card.getAttribute("data-article") ?? ""));

/** Opens the list of a customer, and waits until it is there. */
export async function open(page: Page, servers: Servers, customer: string): Promise<string[]> {
  await page.goto(at(servers, "/", customer));
  await expect(cards(page)).toHaveCount(CARDS);
  return shown(page);
}

export const ranker = (page: Page, name: string): Locator =>
  page.getByTestId("ranker-switch").locator(`input[value="${name}"]`);

/** Asks the stylist something. */
export async function ask(page: Page, words: string): Promise<void> {
  await page.getByLabel("Tell the stylist what it is for").fill(words);
  await page.getByRole("button", { name: "Ask the stylist" }).click();
}

/** Waits for the shop to be told of what is done on the page. */
export const told = (page: Page) =>
  page.waitForResponse((answer) => answer.url().endsWith("/api/events") && answer.status() === 202);

/** Waits for the shop to be told of one kind of thing: a purchase, say. */
export const toldOf = (page: Page, kind: string) =>
  page.waitForResponse(
    (answer) =>
      answer.url().endsWith("/api/events") &&
      answer.status() === 202 &&
      (answer.request().postData() ?? "").includes(`"${kind}"`),
  );

/** That nothing is wider than the page. */
export async function expectNoSidewaysScroll(page: Page): Promise<void> {
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(width[0]).toBeLessThanOrEqual(width[1] ?? 0);
}
