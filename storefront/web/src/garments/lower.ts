/** Drawings of trousers, skirts, underwear and what is worn on the legs. */
import type { Drawing } from "./drawing";
import { both, dots, moved, pair, ribs, symmetric } from "./symmetric";

export const skirt: Drawing = {
  cloth: [symmetric("M100 62L142 62C150 108 164 160 176 204C152 215 126 217 100 217")],
  trim: symmetric("M100 48L140 48L142 63L100 63"),
  seams: `${both("M112 68C115 120 121 170 128 214")}${both("M127 68C134 115 144 165 154 208")}`,
  stitches: both("M100 210C126 210 152 207 174 197"),
  motif: null,
};

export const trousers: Drawing = {
  cloth: [symmetric("M100 26L141 26L144 44C151 100 155 160 155 228L113 230C111 180 108 130 100 98")],
  seams: `${both("M100 41L143 41")}M100 41L100 98${both("M142 56C136 66 128 62 124 42")}${both("M132 68C135 120 135 175 134 229")}`,
  buttons: dots([100, 33.5]),
  motif: null,
};

export const jeans: Drawing = {
  cloth: [symmetric("M100 26L142 26L145 44C150 100 151 160 146 228L113 230C111 180 108 130 100 100")],
  seams: `${both("M100 42L144 42")}M100 42L100 100${both("M144 62C130 66 122 58 120 42")}`,
  stitches: `M94 44C94 66 95 78 100 84${both("M140 66C144 110 146 170 142 226")}${both("M143 66C129 71 118 62 116 44")}${both("M146 221L113 223")}${both("M100 30L142 30")}`,
  buttons: dots([100, 34.5]),
  motif: null,
};

export const shorts: Drawing = {
  cloth: [symmetric("M100 54L146 54L148 70C157 102 164 136 168 170L113 176L100 126")],
  seams: `${both("M100 70L148 70")}M100 70L100 126${both("M150 84C142 94 134 90 130 71")}`,
  stitches: both("M166 162L112 168"),
  buttons: dots([100, 62]),
  motif: null,
};

export const leggings: Drawing = {
  cloth: [symmetric("M100 24L135 24C142 58 144 90 140 120C137 160 133 198 129 232L110 232C110 190 108 132 100 100")],
  seams: `${both("M100 36L137 36")}M100 36L100 100${both("M131 225L110 225")}`,
  motif: null,
};

export const tights: Drawing = {
  cloth: [
    symmetric(
      "M100 22L133 22C141 58 142 90 138 120C135 150 131 180 129 204C134 212 143 218 147 226C140 235 122 235 112 230C110 190 108 130 100 98",
    ),
  ],
  seams: `${both("M100 32L135 32")}M100 32L100 98${both("M134 222C128 228 120 229 112 227")}`,
  motif: null,
};

export const bra: Drawing = {
  cloth: [pair("M102 132C102 104 122 88 142 86C154 98 162 114 164 134C146 152 118 154 102 132")],
  trim: symmetric("M100 128C108 144 126 154 146 148C158 142 166 134 178 130L178 148C152 164 124 168 100 158"),
  cords: both("M142 88C148 68 146 52 138 36"),
  seams: both("M104 130C116 122 136 118 160 122"),
  motif: null,
};

export const briefs: Drawing = {
  cloth: [symmetric("M100 92L160 86L162 102C144 114 128 136 117 164L100 166")],
  seams: `${both("M100 104C122 103 142 101 161 97")}${both("M158 106C140 118 124 140 114 164")}${both("M100 148C106 148 112 150 118 154")}`,
  motif: null,
};

export const boxers: Drawing = {
  cloth: [symmetric("M100 82L150 82C156 110 161 142 163 172L112 178L100 138")],
  trim: symmetric("M100 66L149 66L151 83L100 83"),
  seams: "M92 84C90 110 92 130 100 138M100 84L100 138",
  stitches: both("M162 164L112 170"),
  motif: null,
};

export const bikini: Drawing = {
  cloth: [pair("M106 138L136 82L165 136C148 145 122 146 106 138")],
  cords: `${both("M136 82C138 62 130 46 116 32")}${both("M165 136C172 136 180 132 186 126")}M94 138L106 138`,
  seams: both("M112 136L136 92L158 134"),
  motif: null,
};

const SOCK =
  "M64 44L100 44L100 136C100 150 94 158 86 168L62 196C50 208 32 202 31 186C31 176 40 168 50 158C60 148 64 142 64 130Z";

export const socks: Drawing = {
  cloth: [moved(SOCK, 68, -6), moved(SOCK, 8, 8)],
  seams: `M72 70L108 70M132 56L168 56${ribs(78, 104, 54, 68, 6)}${ribs(138, 164, 40, 54, 6)}M39 186C46 180 58 182 66 196M72 138C82 144 94 148 104 156`,
  motif: null,
};

/** Trousers with wide legs. */
const WIDE = "M100 26L140 26L143 44C152 100 164 160 172 228L116 231C113 180 109 130 100 100";

/** Trousers that are narrow at the foot. */
const TAPERED = "M100 26L142 26L147 48C156 100 150 160 138 226L112 228C110 180 107 130 100 100";

export const wide: Drawing = {
  cloth: [symmetric(WIDE)],
  seams: `${both("M100 41L142 41")}M100 41L100 100${both("M122 44L118 74")}${both("M130 70C138 120 142 175 145 229")}`,
  motif: null,
};

export const tapered: Drawing = {
  cloth: [symmetric(TAPERED)],
  trim: symmetric("M100 25L142 25L144 42L100 42"),
  seams: `M100 42L100 100${both("M148 62C138 66 132 58 129 43")}${both("M130 62C133 120 130 180 125 226")}`,
  stitches: both("M138 219L112 221"),
  motif: null,
};

export const pencil: Drawing = {
  cloth: [symmetric("M100 56L140 56C148 84 151 110 149 140C147 168 144 192 142 216C128 219 114 220 100 220")],
  trim: symmetric("M100 42L139 42L141 57L100 57"),
  seams: `M100 57L100 100${both("M124 57L120 84")}M112 220L113 186`,
  stitches: both("M100 212C116 212 130 211 142 209"),
  motif: null,
};
