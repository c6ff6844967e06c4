/** Drawings of what is worn on the upper body, and of what covers all of it. */
import type { Drawing } from "./drawing";
import { both, dots, pair, ribs, symmetric } from "./symmetric";

export { softBlouse as blouse, wrap as top } from "./upper-cuts";

const SLEEVE = "M152 98C149 86 147 74 149 56";
const LONG_SLEEVE = "M153 112C150 92 148 72 150 50";

export const tshirt: Drawing = {
  cloth: [
    symmetric(
      "M100 60C114 60 124 53 128 40L150 48C160 52 166 58 170 68L188 110L162 121L152 98C150 130 151 170 154 208C136 212 118 213 100 213",
    ),
  ],
  inside: symmetric("M100 46C112 46 122 44 128 40C124 53 114 60 100 60"),
  seams: both("M100 66C118 66 129 57 133 42") + both(SLEEVE),
  stitches: both("M100 206C118 206 136 205 153 201") + both("M185 103L159 114"),
  motif: [100, 122],
};

export const polo: Drawing = {
  ...tshirt,
  trim: pair("M100 58L114 36L130 40L122 64L108 70L100 58"),
  seams: `M94 62L94 104L106 104L106 62${both(SLEEVE)}`,
  buttons: dots([100, 76], [100, 92]),
  motif: [126, 96],
};

export const vest: Drawing = {
  cloth: [
    symmetric(
      "M100 86C116 86 124 74 126 38L140 38C141 66 146 82 160 92C154 130 154 170 158 210C138 214 118 215 100 215",
    ),
  ],
  inside: symmetric("M100 66C112 66 121 60 126 42C124 74 116 86 100 86"),
  seams: both("M100 92C120 92 130 76 131 40") + both("M136 40C137 68 142 86 158 98"),
  stitches: both("M100 208C118 208 138 207 157 203"),
  motif: [100, 136],
};

export const shirt: Drawing = {
  cloth: [
    symmetric(
      "M100 54L118 36L128 38L148 46C160 51 167 60 171 76L189 178L167 184L153 108C151 140 151 180 153 214C136 221 116 221 100 216",
    ),
  ],
  inside: symmetric("M100 42C108 42 114 40 118 36L100 54"),
  trim: pair("M100 54L117 34L128 38L120 70L100 54"),
  seams: `M95 60L95 216M105 60L105 217${both("M187 167L165 173")}${both("M153 108C150 88 148 68 149 47")}`,
  stitches: both("M105 211C120 214 138 213 152 209"),
  buttons: dots([100, 78], [100, 104], [100, 130], [100, 156], [100, 182]),
  motif: [127, 104],
};

export const sweater: Drawing = {
  cloth: [
    symmetric(
      "M100 58C112 58 121 52 125 41L148 48C162 52 169 62 173 80L187 186L164 190L153 112C151 140 151 172 152 202L150 217C134 220 116 220 100 220",
    ),
  ],
  inside: symmetric("M100 47C110 47 119 45 125 41C121 52 112 58 100 58"),
  seams:
    both("M100 67C117 67 128 58 133 44") +
    both(LONG_SLEEVE) +
    both("M100 204C118 204 134 204 152 201") +
    both("M185 172L162 176") +
    ribs(54, 146, 206, 217),
  motif: [100, 124],
};

export const cardigan: Drawing = {
  cloth: [
    symmetric(
      "M100 122L122 41L146 48C161 52 168 62 172 80L186 186L164 190L153 112C151 140 151 172 152 202L150 217C134 220 116 220 100 220",
    ),
  ],
  inside: symmetric("M100 50C110 50 118 47 122 41L100 122"),
  seams: `M100 122L100 220${both("M107 220L107 122L130 44")}${both(LONG_SLEEVE)}${both("M107 204L152 202")}${both("M184 172L162 176")}`,
  buttons: dots([103.5, 134], [103.5, 156], [103.5, 178], [103.5, 200]),
  motif: [130, 130],
};

export const hoodie: Drawing = {
  cloth: [
    symmetric("M100 20C128 20 142 38 138 54C130 68 114 76 100 80"),
    symmetric(
      "M100 78C116 72 129 64 135 48L151 53C164 57 171 67 175 85L188 188L165 192L154 114C152 140 152 172 153 204L151 219C134 222 116 222 100 222",
    ),
  ],
  inside: symmetric("M100 36C115 36 124 46 121 57C115 66 107 73 100 76"),
  seams: `${symmetric("M100 154L122 154L138 194L100 194")}${both(LONG_SLEEVE)}${both("M100 206L153 205")}${both("M186 174L163 178")}`,
  stitches: both("M109 76C111 88 108 98 109 110"),
  motif: [100, 126],
};

export const jacket: Drawing = {
  cloth: [
    symmetric(
      "M100 52L122 36L150 48C163 53 170 64 174 82L189 184L166 189L154 112C152 140 152 170 153 198L152 214L100 214",
    ),
  ],
  trim: pair("M101 56L101 40L120 31L131 41L124 64L101 56"),
  seams: `M100 44L100 214${both("M100 199L153 199")}${both("M187 170L164 174")}${both(LONG_SLEEVE)}${both("M120 172L138 146")}${both("M106 60C124 82 140 88 152 88")}`,
  stitches: "M104 60L104 198",
  motif: [128, 122],
};

export const blazer: Drawing = {
  cloth: [
    symmetric(
      "M100 138L122 38L150 46C163 51 170 62 174 80L188 190L166 194L155 112C153 145 154 184 158 216C142 223 124 222 110 214L100 198",
    ),
  ],
  inside: symmetric("M100 50C110 49 117 45 122 38L100 138"),
  trim: pair("M100 138L116 38L126 37L142 76L129 79L135 90L100 138"),
  seams: `M100 138L100 198${both("M120 170L148 167")}${both(LONG_SLEEVE)}M60 112L77 109`,
  buttons: dots([102, 150], [102, 174]),
  motif: null,
};

export const coat: Drawing = {
  cloth: [
    symmetric("M100 110L120 32L146 41C158 46 164 55 167 71L180 168L158 173L149 100C149 140 154 190 160 230L100 230"),
  ],
  inside: symmetric("M100 44C109 43 115 39 120 32L100 110"),
  trim: `${pair("M100 110L114 32L125 31L140 64L128 68L134 78L100 110")}${symmetric("M100 128L150 126L151 140L100 142")}`,
  seams: `M100 110L100 230${both("M122 172L144 160")}${both("M149 100C147 84 145 64 146 42")}${both("M178 154L156 159")}`,
  buttons: dots([88, 118], [112, 118], [88, 158], [112, 158]),
  motif: null,
};

export const waistcoat: Drawing = {
  cloth: [symmetric("M100 118L118 38L138 43C140 66 146 84 158 94C153 130 154 172 157 202L116 215L100 202")],
  inside: symmetric("M100 48C108 48 114 44 118 38L100 118"),
  seams: `M100 118L100 202${both("M106 118L124 40")}${both("M120 172L146 168")}`,
  buttons: dots([103, 130], [103, 150], [103, 170], [103, 190]),
  motif: null,
};

export const dress: Drawing = {
  cloth: [
    symmetric(
      "M100 76C113 76 119 62 121 32L133 32C134 58 139 70 151 78C146 96 140 108 138 122C145 160 158 196 170 224C148 233 122 235 100 235",
    ),
  ],
  inside: symmetric("M100 58C110 58 118 52 121 38C119 62 113 76 100 76"),
  seams: `${both("M100 127C116 127 128 126 138 122")}${both("M112 130C115 165 121 200 130 229")}${both("M126 128C133 160 142 195 152 221")}`,
  motif: [100, 102],
};

export const nightdress: Drawing = {
  cloth: [
    symmetric(
      "M100 80C112 68 121 58 123 48L137 54C140 66 145 74 150 82C146 116 152 180 160 216C142 223 118 225 100 225",
    ),
  ],
  cords: both("M125 52C124 42 122 34 118 24"),
  seams: `${both("M100 86C114 74 124 64 128 52")}${both("M112 100C114 145 118 190 124 222")}`,
  stitches: `${both("M100 215C120 215 142 213 158 206")}${both("M100 207C120 207 140 205 156 199")}`,
  motif: [100, 130],
};

export const robe: Drawing = {
  cloth: [
    symmetric("M100 132L118 32L143 40C159 46 167 58 173 80L192 164L160 175L149 108C149 142 155 190 161 230L100 230"),
  ],
  inside: symmetric("M100 46C108 45 114 40 118 32L100 132"),
  trim: `${pair("M100 146L114 32L126 35L109 140L108 230L100 230L100 146")}${symmetric("M100 130L151 128L152 142L100 144")}`,
  seams: `M104 144L96 198M96 144L86 192${both("M149 108C147 88 145 64 144 42")}${both("M188 152L157 163")}`,
  motif: [132, 96],
};

export const jumpsuit: Drawing = {
  cloth: [
    symmetric(
      "M100 72C112 72 120 60 122 30L136 32C138 56 142 68 153 76C148 92 142 104 140 118C147 150 152 190 153 230L113 231C111 195 107 168 100 150",
    ),
  ],
  inside: symmetric("M100 56C110 56 118 50 122 36C120 60 112 72 100 72"),
  seams: `${both("M100 123C116 123 130 122 140 118")}M100 123L100 150${both("M132 134C134 165 134 200 133 229")}${both("M139 134C134 142 126 142 120 126")}`,
  motif: [100, 98],
};

export const dungarees: Drawing = {
  cloth: [symmetric("M100 64L126 64L130 102L145 110C151 150 154 190 153 230L113 231C111 195 107 170 100 152")],
  trim: pair("M114 70L119 22L130 22L125 70L114 70"),
  seams: `M84 78L116 78L116 100L100 106L84 100L84 78${both("M100 122L147 120")}M100 122L100 152${both("M146 132C140 142 130 140 126 123")}`,
  stitches: both("M139 130C141 165 143 200 143 228"),
  buttons: dots([119, 74], [81, 74], [140, 128], [60, 128]),
  motif: [100, 92],
};

export const bodysuit: Drawing = {
  cloth: [
    symmetric(
      "M100 78C114 78 122 62 124 34L139 37C140 62 145 74 158 84C151 106 148 130 152 152C142 168 124 188 115 208L100 210",
    ),
  ],
  inside: symmetric("M100 62C111 62 120 55 124 40C122 62 114 78 100 78"),
  seams: `${both("M100 84C118 84 127 66 129 36")}${both("M148 156C138 170 122 188 112 206")}`,
  buttons: dots([94, 205], [106, 205]),
  motif: [100, 122],
};

export const swimsuit: Drawing = {
  cloth: [
    symmetric(
      "M100 94C113 91 121 72 124 32L134 32C136 66 145 84 156 92C148 110 146 128 153 148C140 162 122 184 112 208L100 210",
    ),
  ],
  inside: symmetric("M100 74C111 70 119 58 124 40C121 72 113 91 100 94"),
  seams: `${both("M100 101C117 97 126 76 128 34")}${both("M149 152C137 166 120 186 109 206")}${both("M154 98C142 106 122 110 100 110")}`,
  motif: [100, 142],
};

export const pyjamas: Drawing = {
  cloth: [
    symmetric("M100 138L135 138C142 170 145 202 144 234L112 234C110 208 106 190 100 176"),
    symmetric("M100 46L114 26L132 31C147 35 155 43 159 54L174 102L154 109L145 80L147 128L100 130"),
  ],
  inside: symmetric("M100 32C106 32 110 30 114 26L100 46"),
  trim: pair("M100 46L113 24L124 29L115 58L100 46"),
  seams: `M100 48L100 130${both("M172 94L152 101")}${both("M100 144L136 144")}${both("M128 152C131 180 131 208 130 232")}`,
  stitches: both("M143 226L112 226"),
  buttons: dots([104, 70], [104, 90], [104, 110]),
  motif: [122, 82],
};
