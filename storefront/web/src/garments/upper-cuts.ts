/** Other cuts of what is worn on the upper body. */
import type { Drawing } from "./drawing";
import { both, dots, pair, ribs, symmetric } from "./symmetric";

/** Narrow straps, to below the knee. */
export const longDress: Drawing = {
  cloth: [
    symmetric(
      "M100 66C112 60 120 54 124 44L138 56C142 66 146 74 148 82C144 104 140 116 138 130C142 164 147 200 152 234L100 236",
    ),
  ],
  cords: both("M126 50C125 38 122 28 118 18"),
  seams: `${both("M100 132C116 133 128 132 138 129")}${both("M124 138C127 170 130 205 132 233")}`,
  stitches: both("M100 229L151 227"),
  motif: [100, 98],
};

/** Sleeves, a collar, and buttons down the front. */
export const shirtDress: Drawing = {
  cloth: [
    symmetric(
      "M100 48L116 30L146 40C158 46 164 56 168 68L180 112L156 119L146 92C144 106 142 116 141 124C146 160 152 198 157 230C138 235 118 236 100 236",
    ),
  ],
  inside: symmetric("M100 36C107 36 112 34 116 30L100 48"),
  trim: `${pair("M100 48L114 28L126 32L118 60L100 48")}${symmetric("M100 122L141 120L142 132L100 134")}`,
  seams: `M95 54L95 235M105 54L105 235${both("M146 92C144 76 144 58 145 41")}`,
  stitches: both("M177 104L154 111"),
  buttons: dots([100, 70], [100, 94], [100, 152], [100, 178], [100, 204]),
  motif: [126, 92],
};

/** A V at the neck. */
export const tee: Drawing = {
  cloth: [
    symmetric(
      "M100 86L126 40L150 48C160 52 166 58 170 68L188 110L162 121L152 98C150 130 151 170 154 208C136 212 118 213 100 213",
    ),
  ],
  inside: symmetric("M100 46C112 46 121 44 126 40L100 86"),
  seams: both("M100 94L131 42") + both("M152 98C149 86 147 74 149 56"),
  stitches: both("M100 206C118 206 136 205 153 201") + both("M185 103L159 114"),
  motif: [100, 132],
};

/** Wrapped in front, with short sleeves. */
export const wrap: Drawing = {
  cloth: [
    symmetric(
      "M100 104L124 40L148 47C160 51 167 60 171 72L182 122L158 128L151 100C149 124 148 146 150 172C134 178 116 179 100 179",
    ),
  ],
  inside: symmetric("M100 46C110 46 119 44 124 40L100 104"),
  seams: `M124 40L62 158M76 40L110 114${both("M151 100C149 86 147 70 148 48")}${both("M100 165C118 165 134 164 149 160")}`,
  motif: [126, 128],
};

/** Narrow straps and a straight hem. */
export const singlet: Drawing = {
  cloth: [
    symmetric(
      "M100 82C112 78 122 70 127 56L134 58C138 72 146 84 156 92C152 130 152 168 154 206C138 209 118 210 100 210",
    ),
  ],
  cords: both("M130 58C129 48 127 40 124 32"),
  seams: both("M100 88C114 84 126 76 131 62"),
  stitches: both("M100 203C118 203 138 202 153 199"),
  motif: [100, 134],
};

/** A rolled collar. */
export const rollNeck: Drawing = {
  cloth: [
    symmetric(
      "M100 52C110 52 119 50 125 46L148 52C162 56 169 66 173 84L187 188L164 193L153 116C151 142 151 174 152 204L150 219C134 222 116 222 100 222",
    ),
  ],
  trim: symmetric("M100 26C110 26 118 27 123 30L126 50C119 57 110 60 100 60"),
  seams: `${ribs(80, 122, 30, 56)}${both("M153 116C150 96 148 76 150 54")}${both("M100 206C118 206 134 206 152 203")}${both("M185 174L162 179")}${ribs(54, 146, 208, 219)}`,
  motif: [100, 128],
};

/** A short jacket with a zip and ribbed bands. */
export const bomber: Drawing = {
  cloth: [
    symmetric(
      "M100 48L122 42L148 50C163 56 171 68 175 86L189 176L166 182L155 116C154 140 156 162 158 180L152 202L100 202",
    ),
  ],
  trim: `${symmetric("M100 52C110 50 118 44 120 34L128 38C128 50 116 60 100 62")}${symmetric("M100 188L154 186L152 203L100 203")}`,
  seams: `M100 56L100 203${both("M155 116C152 96 148 74 149 52")}${both("M187 164L164 170")}${ribs(54, 94, 190, 201)}${ribs(106, 148, 190, 201)}${both("M120 166L140 146")}`,
  stitches: "M104 60L104 186",
  motif: [128, 122],
};

/** A soft top of woven cloth: a round neck, gathered shoulders, and full sleeves. */
export const softBlouse: Drawing = {
  cloth: [
    symmetric(
      "M100 56C112 56 121 50 125 40L146 45C162 48 172 60 178 82C184 108 190 136 188 166C182 178 170 180 162 174C162 150 158 130 153 112C151 142 153 180 157 212C138 218 118 219 100 219",
    ),
  ],
  inside: symmetric("M100 46C110 46 119 44 125 40C121 50 112 56 100 56"),
  trim: symmetric("M100 56C112 56 121 50 125 40L131 42C127 56 116 65 100 65"),
  seams: `M100 65L100 108${both("M153 112C150 92 147 70 147 46")}${both("M150 52L160 62M152 60L164 74")}${both("M187 158C180 166 170 168 163 164")}`,
  stitches: both("M100 212C118 212 138 211 156 205"),
  buttons: dots([100, 74], [100, 88], [100, 102]),
  motif: [100, 138],
};
