/** Pictures of each page for the manual: only with UPDATE_SCREENSHOTS=1. */
import { mkdirSync } from "node:fs";
import { expect, test } from "../servers.ts";
import { ask, at, cards, open } from "../shop.ts";

const FOLDER = "../../docs/screenshots";
const LOOKS = [
  { name: "desktop", width: 1280, height: 900, scheme: "light" },
  { name: "phone", width: 360, height: 740, scheme: "light" },
  { name: "dark", width: 1280, height: 900, scheme: "dark" },
] as const;

test.skip(!process.env.UPDATE_SCREENSHOTS, "UPDATE_SCREENSHOTS=1 draws them anew");

for (const { name, width, height, scheme } of LOOKS)
  test(`each page, ${name}`, async ({ page, servers }) => {
    test.setTimeout(300_000);
    mkdirSync(FOLDER, { recursive: true });
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    const picture = (of: string) => page.screenshot({ path: `${FOLDER}/${of}-${name}.png`, animations: "disabled" });
    const customer = servers.customers[0] ?? "";
    await page.goto(servers.shop);
    await page.getByText("They were here lately").waitFor();
    await picture("window");
    await open(page, servers, customer);
    await page.waitForLoadState("networkidle");
    await picture("for-you");
    await cards(page).first().locator(".card-open").click();
    await expect(page.getByTestId("why")).toContainText("margin");
    await picture("details");
    await page.goto(at(servers, "/stylist", customer));
    await ask(page, "I have a formal winter wedding next month. What should I wear?");
    await page.getByTestId("summary").waitFor({ timeout: 200_000 });
    await page.evaluate(() => scrollTo(0, 0));
    await picture("stylist");
    await page.goto(at(servers, "/interactions"));
    await page.getByTestId("totals").waitFor();
    await picture("interactions");
    await page.goto(at(servers, "/under-the-hood", customer));
    await page.getByTestId("bump").waitFor();
    await picture("under-the-hood");
  });
