import { expect, test } from "vitest";
import { APPEARANCES, lookOf } from "../src/garments/appearances";
import { COLOURS, colourOf, inkOf, luminance, MASTERS, seamOf, wallOf } from "../src/garments/colours";
import { DRAWINGS } from "../src/garments/drawings";
import { FAMILIES, type Family, familyOf, GROUPS, TYPE_NAMES } from "../src/garments/families";
import { both, moved, pair, symmetric } from "../src/garments/symmetric";
import { cutsOf, drawingOf } from "../src/garments/variants";
import { APPEARANCE_NAMES, COLOUR_GROUPS, GROUP_NAMES, MASTER_COLOURS, PRODUCT_TYPES } from "./names";

const HEX = /^#[0-9a-f]{6}$/;

/** Types that say nothing of a shape: their group has a drawing. */
const SHAPELESS = ["Unknown", "Other accessories", "Accessories set"];

test.each(COLOUR_GROUPS)("the colour group %s has a colour", (name) => {
  expect(COLOURS[name]).toMatch(HEX);
});

test.each(MASTER_COLOURS)("the master colour %s has a colour", (name) => {
  expect(MASTERS[name]).toMatch(HEX);
});

test.each(APPEARANCE_NAMES)("the appearance %s has a look", (name) => {
  expect(APPEARANCES).toHaveProperty([name]);
});

test.each(GROUP_NAMES)("the group %s has a drawing", (name) => {
  expect(DRAWINGS).toHaveProperty([GROUPS[name] ?? ""]);
});

test.each(PRODUCT_TYPES.filter((type) => !SHAPELESS.includes(type)))("the type %s has a drawing of its own", (type) => {
  expect(TYPE_NAMES.map((name) => name.toLowerCase())).toContain(type.toLowerCase());
  expect(familyOf(type, "")).not.toBe("generic");
});

test("types that say nothing of a shape, and those that nobody has heard of, have the drawing of their group", () => {
  expect(familyOf("Unknown", "Shoes")).toBe("sneakers");
  expect(familyOf("Space suit", "Garment Full body")).toBe("dress");
  expect(familyOf("Space suit", "Spacecraft")).toBe("generic");
});

test("trousers of denim are jeans", () => {
  expect(familyOf("Trousers", "Garment Lower body", "Denim")).toBe("jeans");
  expect(familyOf("Trousers", "Garment Lower body", "Solid")).toBe("trousers");
});

/** All cuts of a family: enough seeds find each. */
const cuts = (family: Family) => new Set(Array.from({ length: 64 }, (_, seed) => drawingOf(family, seed << 8)));

test.each(FAMILIES)("every cut of %s is seen, and a product is always cut the same", (family) => {
  expect(cuts(family).size).toBe(cutsOf(family));
  expect(drawingOf(family, 12_345)).toBe(drawingOf(family, 12_345));
});

test("an article whose words tell of a cut is drawn so", () => {
  const tapered = drawingOf("trousers", 0, "Kaj tapered");
  expect(tapered).not.toBe(DRAWINGS.trousers);
  for (const seed of [0, 256, 512]) expect(drawingOf("trousers", seed, "Trousers with TAPERED legs.")).toBe(tapered);
  expect(drawingOf("sweater", 0, "Fine-knit polo-neck jumper")).not.toBe(DRAWINGS.sweater);
  expect(drawingOf("trousers", 0, "Ulla slacks")).toBe(DRAWINGS.trousers);
});

test("no type stands at two drawings", () => {
  expect(new Set(TYPE_NAMES).size).toBe(TYPE_NAMES.length);
});

test("names that every object has are names like others", () => {
  for (const name of ["constructor", "__proto__", "toString"]) {
    expect(colourOf(name, name)).toMatch(HEX);
    expect(lookOf(name)).toBe("plain");
    expect(familyOf(name, name)).toBe("generic");
  }
});

test("an unknown colour group has its master colour", () => {
  expect(colourOf("Neon Sunrise", "Orange")).toBe(MASTERS.Orange);
});

test.each(Object.entries(COLOURS))(
  "what is %s is seen before its wall, and its seams and prints on it",
  (_, colour) => {
    const contrast = (one: string, other: string) => {
      const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
      return (light + 0.05) / (dark + 0.05);
    };
    const seen = Math.max(contrast(colour, wallOf(colour)), contrast(seamOf(colour), wallOf(colour)));
    expect(seen).toBeGreaterThan(1.5);
    expect(contrast(seamOf(colour), colour)).toBeGreaterThan(1.3);
    expect(contrast(inkOf(colour), colour)).toBeGreaterThan(1.8);
  },
);

test.each(FAMILIES)("the drawing %s is made of path data", (family) => {
  for (const { cloth, inside, trim, seams, stitches, buttons, cords, hardware = [] } of cuts(family)) {
    const all = [...cloth, inside, trim, seams, stitches, buttons, cords, ...hardware.map(({ d }) => d)];
    expect(cloth.length).toBeGreaterThan(0);
    for (const path of all) if (path !== undefined) expect(path).toMatch(/^M[-\d.\sMLCHVhvaZ]+$/);
  }
});

test("a half and its mirror image make a closed outline", () => {
  expect(symmetric("M100 10L150 20C160 30 160 40 150 50L100 60")).toBe(
    "M100 10L150 20C160 30 160 40 150 50L100 60L100 60L50 50C40 40 40 30 50 20L100 10Z",
  );
});

test("lines and shapes are mirrored and moved as they are", () => {
  expect(both("M110 10L120 20")).toBe("M110 10L120 20M90 10L80 20");
  expect(pair("M110 10L120 20L110 30")).toBe("M110 10L120 20L110 30ZM90 10L80 20L90 30Z");
  expect(moved("M10 10C20 20 30 30 40 40Z", 5, -5)).toBe("M15 5C25 15 35 25 45 35Z");
});
