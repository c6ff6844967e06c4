/** What people do, as numbers; and a request, taken apart. */
import { expect, test } from "../servers.ts";
import { at, cards, open, toldOf } from "../shop.ts";

test("what is done in the shop is counted as it happens", async ({ page, context, servers }) => {
  const counts = await context.newPage();
  await counts.goto(at(servers, "/interactions"));
  const bought = counts.getByTestId("total-purchase").locator("strong");
  const before = Number(await bought.innerText());
  await open(page, servers, servers.customers[4] ?? "");
  const known = toldOf(page, "purchase");
  await cards(page).first().getByRole("button", { name: /^Buy/ }).click();
  await known;
  await counts.bringToFront();
  await expect(bought).toHaveText(`${before + 1}`);
  await expect(counts.getByRole("heading", { name: "Conversion by ranker" })).toBeVisible();
});

test("a request is taken apart: its steps' times, and its candidates before and after ranking", async ({ page, servers }) => {
  await page.goto(at(servers, "/under-the-hood", servers.customers[0]));
  await expect(page.getByTestId("waterfall")).toContainText("infer");
  await expect(page.getByTestId("bump")).toBeVisible();
  await page.getByText("All candidates as a table").click();
  const rows = page.getByTestId("candidates").locator("tbody tr");
  expect(await rows.count()).toBeGreaterThan(12);
});
