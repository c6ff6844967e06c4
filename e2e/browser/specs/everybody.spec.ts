/** The shop for everybody: on a small screen, by keyboard, with a screen reader, in the dark. */
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "../servers.ts";
import { at, CARDS, cards, expectNoSidewaysScroll, open, shown, toldOf } from "../shop.ts";

const PAGES = ["/", "/stylist", "/interactions", "/under-the-hood", "/nothing"];

for (const scheme of ["light", "dark"] as const) {
  test(`no page has a barrier that can be found, ${scheme}`, async ({ page, servers }) => {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    const faults = async (where: string) => {
      const { violations } = await new AxeBuilder({ page }).analyze();
      return violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map((node) => node.target).join(" ")}`);
    };
    const found: string[] = [];
    for (const customer of [undefined, servers.customers[0]])
      for (const path of PAGES) {
        await page.goto(at(servers, path, customer));
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForLoadState("networkidle").catch(() => undefined);
        found.push(...(await faults(`${path} ${customer ? "as a customer" : "as nobody"}`)));
      }
    await open(page, servers, servers.customers[0] ?? "");
    await cards(page).first().locator(".card-open").click();
    await expect(page.getByTestId("why")).toContainText("margin");
    found.push(...(await faults("details")));
    expect(found).toEqual([]);
  });
}

test("nothing is wider than a phone of 360 pixels", async ({ page, servers }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  for (const customer of [undefined, servers.customers[0]])
    for (const path of PAGES) {
      await page.goto(at(servers, path, customer));
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.waitForLoadState("networkidle").catch(() => undefined);
      await expectNoSidewaysScroll(page);
    }
  await open(page, servers, servers.customers[0] ?? "");
  await cards(page).first().locator(".card-open").click();
  await expect(page.getByTestId("why")).toContainText("margin");
  await expectNoSidewaysScroll(page);
});

test("all of it can be done by keyboard", async ({ page, servers }) => {
  const customer = servers.customers[0] ?? "";
  await page.goto(servers.shop);
  await page.getByRole("combobox").waitFor();
  const tabTo = async (what: string) => {
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press("Tab");
      const focused = page.locator(":focus");
      if ((await focused.count()) && (await focused.evaluate((element, selector) => element.matches(selector), what))) return;
    }
    throw new Error(`no way to ${what} by keyboard`);
  };
  await tabTo("[role=combobox]");
  await page.keyboard.type(customer.slice(0, 12));
  await page.getByRole("option").first().waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(cards(page)).toHaveCount(CARDS);
  const before = await shown(page);

  await tabTo(".card-open");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.locator(`[data-article="${before[0]}"] .card-open`)).toBeFocused();

  await tabTo(".buy");
  const known = toldOf(page, "purchase");
  await page.keyboard.press("Enter");
  await known;
  expect(await shown(page)).not.toContain(before[0]);
  // The focus stays where the card was.
  await expect(cards(page).first().locator(".card-open")).toBeFocused();
});
