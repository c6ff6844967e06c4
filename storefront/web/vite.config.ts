import { defineConfig } from "vitest/config";
import { mockShop } from "./mock/plugin";

/** Where the storefront server listens; `HEMLINE_MOCK=1 npm run dev` needs none. */
const server = process.env.HEMLINE_STOREFRONT ?? "http://127.0.0.1:8090";

export default defineConfig({
  plugins: process.env.HEMLINE_MOCK ? [mockShop()] : [],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: process.env.HEMLINE_MOCK ? {} : { "/api": server, "/images": server } },
  build: {
    target: "es2022",
    // Nothing is inlined as data: the policy of the page allows scripts and styles from files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  test: { include: ["test/**/*.test.{ts,tsx}"] },
});
