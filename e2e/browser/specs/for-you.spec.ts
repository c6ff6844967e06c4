/** A list for one person: what is bought or put away leaves it, and stays away. */
import { expect, test } from "../servers.ts";
import { at, CARDS, cards, open, ranker, shown, toldOf } from "../shop.ts";

test("a customer is searched for, chosen, and shown twelve articles in one round trip", async ({ page, servers }) => {
  const customer = servers.customers[0] ?? "";
  await page.goto(servers.shop);
  await page.getByRole("combobox", { name: "Shop as a customer" }).fill(customer.slice(0, 10));
  await page.getByRole("option").filter({ hasText: customer.slice(0, 8) }).first().waitFor();
  const asked: string[] = [];
  page.on("request", (request) => {
    if (request.url().includes("/api/recommendations")) asked.push(request.url());
  });
  await page.getByRole("option").filter({ hasText: customer.slice(0, 8) }).first().click();
  await expect(cards(page)).toHaveCount(CARDS);
  expect(asked).toHaveLength(1);
  for (const card of await cards(page).all()) {
    await expect(card.locator(".card-name")).not.toBeEmpty();
    await expect(card.getByText(/^Score/)).toBeVisible();
    await expect(card.getByRole("img").or(card.locator("img, svg")).first()).toBeVisible();
  }
  expect(new URL(page.url()).searchParams.get("customer")).toBe(customer);
});

test("what is bought is replaced at once, and known after a reload and a restart of all servers", async ({
  page,
  servers,
}) => {
  const before = await open(page, servers, servers.customers[1] ?? "");
  const known = toldOf(page, "purchase");
  await cards(page).nth(2).getByRole("button", { name: /^Buy/ }).click();
  await expect(cards(page)).toHaveCount(CARDS);
  const after = await shown(page);
  expect(after).not.toContain(before[2]);
  expect(after.filter((article) => !before.includes(article))).toHaveLength(1);
  await known;
  await page.reload();
  await expect(cards(page)).toHaveCount(CARDS);
  expect(await shown(page)).not.toContain(before[2]);
  await servers.restart();
  await page.reload();
  await expect(cards(page)).toHaveCount(CARDS);
  expect(await shown(page)).not.toContain(before[2]);
});

test("what is not wanted is replaced, and not offered again", async ({ page, servers }) => {
  const before = await open(page, servers, servers.customers[2] ?? "");
  const known = toldOf(page, "dismiss");
  await cards(page).first().getByRole("button", { name: /^Not for me/ }).click();
  await expect(cards(page)).toHaveCount(CARDS);
  expect(await shown(page)).not.toContain(before[0]);
  await known;
  await page.reload();
  await expect(cards(page)).toHaveCount(CARDS);
  expect(await shown(page)).not.toContain(before[0]);
});

test("details say what an article is, and why it is there", async ({ page, servers }) => {
  await open(page, servers, servers.customers[0] ?? "");
  const first = cards(page).first();
  const name = (await first.locator(".card-name").innerText()).trim();
  await first.locator(".card-open").click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("heading", { name }).first()).toBeVisible();
  await expect(dialog.getByTestId("why")).toContainText("margin");
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(first.locator(".card-open")).toBeFocused();
});

test("the ranker is switched to the language model and back", async ({ page, servers }) => {
  const trees = await open(page, servers, servers.customers[3] ?? "");
  await ranker(page, "llmranking").check();
  await expect(page.getByTestId("notes")).toContainText("llmranking", { timeout: 120_000 });
  await expect(cards(page)).toHaveCount(CARDS);
  await ranker(page, "ranking").check();
  await expect(page.getByTestId("notes")).toContainText("Ordered by ranking");
  expect((await shown(page)).toSorted()).toEqual(trees.toSorted());
});

test("who is new says an age, and has a list that is marked so", async ({ page, servers }) => {
  await page.goto(servers.shop);
  await page.getByLabel(/my age is/).fill("34");
  await page.getByRole("button", { name: "Come in" }).click();
  await expect(cards(page)).toHaveCount(CARDS);
  await expect(page.getByTestId("cold-start")).toBeVisible();
  const visitor = new URL(page.url()).searchParams.get("customer") ?? "";
  expect(visitor).toMatch(/^visitor-[0-9a-f-]{36}$/);
  const before = await shown(page);
  const known = toldOf(page, "purchase");
  await cards(page).first().getByRole("button", { name: /^Buy/ }).click();
  await known;
  await page.goto(at(servers, "/", visitor));
  await expect(cards(page)).toHaveCount(CARDS);
  expect(await shown(page)).not.toContain(before[0]);
});

test("a page that there is not says so, and shows the way", async ({ page, servers }) => {
  const answer = await page.goto(at(servers, "/nothing"));
  expect(answer?.status()).toBe(404);
  await page.getByRole("link", { name: "To your list" }).click();
  await expect(page.getByRole("combobox")).toBeVisible();
});
