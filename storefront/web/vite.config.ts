import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";
import { mockShop } from "./mock/plugin.ts";

/** Where the storefront server listens; `HEMLINE_MOCK=1 npm run dev` needs none. */
const server = process.env.HEMLINE_STOREFRONT ?? "http://127.0.0.1:8090";

/** Puts a `.br` and a `.gz` beside every text, for the server to send as they are. */
function compressed(): Plugin {
  let folder = "dist";
  return {
    name: "compressed",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    closeBundle() {
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const text = readFileSync(path);
        writeFileSync(`${path}.gz`, gzipSync(text, { level: 9 }));
        writeFileSync(`${path}.br`, brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
      }
    },
  };
}

export default defineConfig({
  plugins: [compressed(), ...(process.env.HEMLINE_MOCK ? [mockShop()] : [])],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: process.env.HEMLINE_MOCK ? {} : { "/api": server, "/images": server } },
  build: {
    target: "es2022",
    // Nothing is inlined as data: the policy of the page allows scripts and styles from files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: { include: ["test/**/*.test.ts"] },
});
