/** All drawings by family. */
import * as accessories from "./accessories";
import type { Drawing } from "./drawing";
import type { Family } from "./families";
import * as lower from "./lower";
import * as shoes from "./shoes";
import * as upper from "./upper";

export const DRAWINGS: Readonly<Record<Family, Drawing>> = { ...upper, ...lower, ...shoes, ...accessories };
