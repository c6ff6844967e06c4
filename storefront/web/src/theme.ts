/** Light, dark, or as the device is set. */
import { effect, signal } from "@preact/signals";
import { remember, remembered } from "./memory";

export type Theme = "device" | "light" | "dark";

const THEMES: readonly Theme[] = ["device", "light", "dark"];

export const theme = signal<Theme>(THEMES.find((each) => each === remembered("theme")) ?? "device");

/** Follows the switch: the style sheet reads `data-theme` of the root. */
export function followTheme(): void {
  effect(() => {
    const root = document.documentElement;
    if (theme.value === "device") delete root.dataset.theme;
    else root.dataset.theme = theme.value;
    remember("theme", theme.value);
  });
}

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "device";
}
