/** One browser, one test at a time: the servers behind it are shared, and some tests take them away. */
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "specs",
  workers: 1,
  retries: 0,
  forbidOnly: true,
  reporter: "list",
  // A small LLM on a few cores writes for a while; nothing else waits as long.
  timeout: 180_000,
  expect: { timeout: 20_000 },
  use: {
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    trace: "off",
    launchOptions: {
      executablePath: process.env.HEMLINE_CHROMIUM || undefined,
      // As root, as in a container, Chromium can't sandbox itself; it only sees this machine's pages.
      chromiumSandbox: process.getuid?.() !== 0,
      args: ["--disable-dev-shm-usage"],
    },
  },
});
