/** What stands in the catalogue is text, whatever is in it. */
import { expect, test } from "../servers.ts";
import { at, cards, expectNoSidewaysScroll, open } from "../shop.ts";

test("articles that are called markup are shown as they are called", async ({ page, hostile }) => {
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 800 });
    await open(page, hostile, hostile.customers[0] ?? "");
    await expectNoSidewaysScroll(page);
    const names = await cards(page).locator(".card-name").allInnerTexts();
    expect(names.filter((name) => /<script>|<img|<\/button>|&lt;b&gt;|constructor/.test(name)).length).toBeGreaterThan(0);
    await cards(page).first().locator(".card-open").click();
    await expect(page.getByRole("dialog")).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(page.getByRole("heading", { name: "Not a heading" })).toHaveCount(0);
    expect(await page.title()).toBe("For you · Hemline");
  }
  await page.goto(at(hostile, "/under-the-hood", hostile.customers[0]));
  await expect(page.getByTestId("bump")).toBeVisible();
  expect(await page.title()).toBe("Under the hood · Hemline");
});
