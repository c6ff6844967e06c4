/** The recommender is away: a clear page, and no spinner. */
import { expect, test } from "../servers.ts";
import { at, CARDS, cards, open } from "../shop.ts";

test("without a recommender the shop says so, and opens when it is back", async ({ page, servers }) => {
  await servers.stop("transformer");
  try {
    await page.goto(at(servers, "/", servers.customers[0]));
    await expect(page.getByRole("alert")).toContainText("recommender");
    await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
  } finally {
    await servers.start("transformer");
  }
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(cards(page)).toHaveCount(CARDS);
});

test("a recommender that goes while people shop leaves what they see", async ({ page, servers }) => {
  await open(page, servers, servers.customers[0] ?? "");
  await servers.stop("transformer");
  try {
    await page.getByRole("button", { name: "New list" }).click();
    await expect(page.getByRole("alert")).toBeVisible();
    await expect(page.getByRole("heading", { name: "Picked for you" })).toBeVisible();
  } finally {
    await servers.start("transformer");
  }
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(cards(page)).toHaveCount(CARDS);
});
